"""The account of maps inside the children of a run: see :mod:`distmap._nested_reading`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import RunsError
from cdk_distributed_map.runs.files.item_states import ItemStates
from distmap._nested_account import NestedAccount
from distmap._nested_reading import RunFiles, nested_accounts
from distmap.wire import NestedMapSettings

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.definition import NestedMap
    from cdk_distributed_map.runs.find.handles import RunHandle

__all__ = ["NestedAccount", "accounts"]


def accounts(runs: Sequence[RunHandle], states: ItemStates, *, ended: Mapping[str, bool]) -> tuple[NestedAccount, ...]:
    """Return the account of every nested map, outer before inner; nothing where no map is nested.

    Args:
        runs: The run and its retries, in this order.
        states: What became of the items of the outermost map.
        ended: Whether each run has ended, by name.

    Raises:
        AwsError: AWS refused a call.
    """
    root = runs[0]
    definition = root.pipeline.definition.item_file

    def describe(arn: str) -> int | None:
        try:
            return root.describe_map_run(arn).items.total
        except RunsError:
            return None  # AWS forgets Map Runs after 90 days

    files = [
        RunFiles(run.name, definition.bucket, run.prefix.removesuffix("/"), ended.get(run.name, True)) for run in runs
    ]
    nested = [_settings(nested_map) for nested_map in definition.nested_maps]
    with errors(f"reading the results of the maps nested in {root.name!r}"):
        return nested_accounts(root.aws.s3(), files, nested, states, describe=describe)


def _settings(nested: NestedMap) -> NestedMapSettings:
    return {
        "label": nested.folder,
        "batched": nested.batched,
        "resultsBucket": nested.results_bucket,
        "nested": [_settings(each) for each in nested.nested],
    }
