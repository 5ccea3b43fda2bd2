"""Running again exactly what did not succeed, each item under its own identity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import (
    InputError,
    ResultFilesError,
    RunFailedError,
    RunStateError,
    UnavailableItemsError,
)
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import item_files, item_states, scan
from cdk_distributed_map.runs.find.names import check_name, retry_name
from cdk_distributed_map.runs.start import start_spooled
from distmap._errors import ResultsError
from distmap._export import File
from distmap._item_lines import ChangedError, ItemLines
from distmap._outcomes import Reader
from distmap.limits import MAX_ITEM_BYTES

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.ledger.of_run import Ledger

_EXAMPLES: Final = 5


def retry(
    run: RunHandle,
    ledger: Ledger,
    *,
    name: str | None = None,
    input: dict[str, Any] | None = None,
    nested: bool = False,
    include_missing: bool = False,
) -> str | None:
    """Start a run of the items that did not succeed, and return its name: see :meth:`Run.retry`."""
    root = chain_module.root_of(run)
    links = chain_module.links_of(root)
    _refuse_running(root, [root, *(link.run for link in links)])
    _check_known(root, ledger, include_missing=include_missing)
    around = ledger.around_unsuccessful if nested else set()
    wanted = ledger.unsuccessful + len(around)
    if wanted == 0:
        return None
    chosen = retry_name(root.name, len(links) + 1) if name is None else check_name(name)
    described = root.describe_if_known()
    enveloped = root.pipeline.definition.item_file.enveloped
    if root.pipeline.definition.item_file.input_type != "JSONL":
        raise InputError(
            f"the pipeline reads item files as {root.pipeline.definition.item_file.input_type}, and a retry's are JSON "
            "Lines: let its capture write JSON Lines"
        )
    spooled = _spooled(root, _Values(root, links, ledger, described, around), wanted, enveloped=enveloped)
    rest = input if input is not None else described.input if described is not None else {}
    rest = {key: value for key, value in rest.items() if key != "items"} if isinstance(rest, dict) else {}
    key = chain_module.retry_key(root, chosen)
    first_run = _first_run(root, described) if enveloped else None
    start_spooled(root.pipeline, chosen, rest, spooled, key=key, first_run=first_run)
    return chosen


def _check_known(root: RunHandle, ledger: Ledger, *, include_missing: bool) -> None:
    """Refuse a retry where it isn't known which items did not succeed."""
    if (
        ledger.run_error is not None
        and ledger.captured_from != "item file"
        and (not include_missing or not ledger.captured)
    ):
        raise RunFailedError(
            f"there is nothing to retry, because nobody knows which items there were: "
            f"{ledger.run_error.rstrip('.')}; mend that, "
            "and start a new run (`distmap run`)"
        )
    if ledger.problems and not ledger.unidentified and not include_missing:
        raise UnavailableItemsError(
            f"the account of {root.name!r} doesn't add up, so what to run again isn't certain: {ledger.problems[0]}; "
            "see `distmap ledger`. With --include-missing, what is missing there is run again, though it may have been "
            "done"
        )


def _spooled(root: RunHandle, values: _Values, wanted: int, *, enveloped: bool) -> item_files.SpooledItems:
    """Return the items of a retry, all of them."""
    with errors(f"reading the items of {root.name!r}"):
        try:
            spooled = item_files.SpooledItems(values.lines(enveloped=enveloped), largest=MAX_ITEM_BYTES)
        except ChangedError as error:
            # The inputs of children still say what those of them were that were tried.
            values.spoil(str(error))
            spooled = item_files.SpooledItems(values.lines(enveloped=enveloped), largest=MAX_ITEM_BYTES)
    if spooled.count != wanted:
        spooled.close()
        raise UnavailableItemsError(values.unavailable(wanted, spooled.count))
    return spooled


def _first_run(root: RunHandle, described: RunDescription | None) -> str:
    """Return the ARN of the run that had the items first: a run may have been started on a retry's file by hand."""
    run_input = None if described is None else described.input
    items = run_input.get("items") if isinstance(run_input, dict) else None
    first_run = items.get("firstRun") if isinstance(items, dict) and items.get("enveloped") is True else None
    return first_run if isinstance(first_run, str) else root.arn


def _refuse_running(root: RunHandle, chain: list[RunHandle]) -> None:
    for each in chain:
        described = each.describe_if_known()
        if described is not None and not described.ended:
            what = "it" if each.name == root.name else f"its retry {each.name!r}"
            raise RunStateError(
                f"{root.name!r} can't be retried while {what} is {described.status}: wait for it (`distmap watch`) or "
                "stop it (`distmap stop`)"
            )


class _Values:
    """The items that did not succeed, as their children get them."""

    def __init__(
        self,
        root: RunHandle,
        links: list[chain_module.Link],
        ledger: Ledger,
        described: RunDescription | None,
        around: set[int],
    ) -> None:
        self._root = root
        self._links = links
        self._ledger = ledger
        self._described = described
        self._s3 = root.aws.s3()
        self._around = around
        self._made = self._new_lines()
        self._spoilt: str | None = None
        """Why the item file is not to be used; None where it is."""

    def _new_lines(self) -> ItemLines:
        return ItemLines(self._s3, numbers=self._ledger.numbers, wanted=self._is_wanted)

    def spoil(self, why: str) -> None:
        """Begin again without the item file."""
        self._spoilt, self._made = why, self._new_lines()

    def lines(self, *, enveloped: bool) -> Iterator[bytes]:
        """Yield them as lines of an item file."""
        if not enveloped:
            yield from self._unidentified()
            return
        definition = self._root.pipeline.definition
        file = chain_module.item_file_of(self._root, self._described)
        # What a selector made of an item is only in the inputs of its children.
        selects = definition.source.selects or definition.item_file.selects
        usable = file is not None and not selects and self._spoilt is None
        try:
            yield from self._lines_of(file) if usable and file is not None else self._from_children()
        except ResultsError as error:
            raise ResultFilesError(str(error)) from error

    def unavailable(self, wanted: int, found: int) -> str:
        """Return what to say of items whose values can't be had."""
        if found > wanted:
            return (
                f"{self._root.name!r} has {found:,} items that did not succeed, and its ledger {wanted:,}: some of "
                "them can't be distinguished. Start a run on an item file of your own (`distmap run --items`)"
            )
        missing = ", ".join(map(str, self._ledger.states.indexes(item_states.MISSING, most=_EXAMPLES)))
        about = f", such as those with the indexes {missing}" if missing else ""
        why = self._spoilt or "a source that isn't captured can't be read again here"
        return (
            f"{wanted - found:,} of the {wanted:,} items to run again are nowhere in the files of "
            f"{self._root.name!r}{about}: {why}. Redrive the run, or start one on an item file of your own (`distmap "
            "run --items`)"
        )

    def _is_wanted(self, index: int) -> bool:
        return index in self._around or not self._ledger.states.succeeded(index)

    def _was_enveloped(self) -> bool:
        run_input = None if self._described is None else self._described.input
        items = run_input.get("items") if isinstance(run_input, dict) else None
        return isinstance(items, dict) and items.get("enveloped") is True

    def _lines_of(self, file: chain_module.ItemFileLocation) -> Iterator[bytes]:
        """Yield what the run's item file has: its children got it as it is there."""
        if self._was_enveloped():
            return self._made.of_envelopes(file.bucket, file.key)
        items: Any = {"bucket": file.bucket, "key": file.key}
        if file.sha256 is not None:
            items["sha256"] = file.sha256
        return self._made.of_file(items, self._ledger.captured)

    def _from_children(self) -> Iterator[bytes]:
        for run in [self._root, *(link.run for link in self._links)]:
            # The ledger lists what can't be read, and asks about it.
            for reader, file in self._files(run):
                yield from self._made.of_children(reader, file, well=bool(self._around))

    def _unidentified(self) -> Iterator[bytes]:
        """Yield unidentified items: those that the last run of the chain left."""
        last = self._links[-1].run if self._links else self._root
        for reader, file in self._files(last):
            for outcomes in reader.read(file):
                yield from (_encode(other.item) for other in outcomes.others if other.has_item)

    def _files(self, run: RunHandle) -> Iterator[tuple[Reader, File]]:
        for place in [*scan.places(run), *(place for each in scan.rounds(run) for place in each.places)]:
            reader = scan.reader(run, place, report=lambda _: None, numbers=self._ledger.numbers)
            for file in scan.files(reader):
                yield reader, file


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
