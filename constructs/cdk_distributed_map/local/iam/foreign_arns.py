"""ARNs of another region or account: there is one of each here, and a task that goes elsewhere must not stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from cdk_distributed_map import arns
from cdk_distributed_map.graphs import walk
from cdk_distributed_map.local.errors import UnsupportedError

_CALLED: Final = ("FunctionName", "StateMachineArn")


class Location(Protocol):
    """Where the engine is."""

    partition: str
    region: str
    account: str


def elsewhere(arn: str, here: Location, *, accounts: bool = True) -> str | None:
    """Return in what an ARN is elsewhere and the remedy, None where it is here or says nothing of it.

    Args:
        arn: The ARN; any other text is here.
        here: Where the engine is.
        accounts: Whether another account is elsewhere too.
    """
    parsed = arns.split(arn)
    if parsed is None:
        return None
    for what, named, own in (
        ("partition", parsed.partition, here.partition),
        ("region", parsed.region, here.region),
        ("account", parsed.account if accounts else "", here.account),
    ):
        if named and named != own:
            return f"it is in the {what} {named!r}, and the local AWS in {own!r}: use an ARN of that one"
    return None


def refuse_elsewhere(definition: Mapping[str, Any], here: Location) -> None:
    """Check the ARNs that are written out in a definition.

    Raises:
        UnsupportedError: One is of another partition, region or account.
    """
    for name, state in walk(definition):
        for field, arn in _arns(state):
            wrong = elsewhere(arn, here)
            if wrong is not None:
                raise UnsupportedError(f"state {name!r} has {field} {arn!r}: {wrong}")


def _arns(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = {"": state, "ItemReader/": state.get("ItemReader", {}), "ResultWriter/": state.get("ResultWriter", {})}
    for prefix, part in parts.items():
        if isinstance(part.get("Resource"), str):
            yield f"{prefix}Resource", part["Resource"]
    for field in ("Parameters", "Arguments"):
        arguments = state.get(field)
        for key in _CALLED:
            if isinstance(arguments, dict) and isinstance(arguments.get(key), str):
                yield f"{field}/{key}", arguments[key]
