"""ARNs of another region or account: there is one of each here, and a task that goes elsewhere must not stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from cdk_distributed_map.local.asl.express import states_of
from cdk_distributed_map.local.errors import UnsupportedError

_CALLED: Final = ("FunctionName", "StateMachineArn")


class Place(Protocol):
    """Where the engine is."""

    partition: str
    region: str
    account: str


def elsewhere(arn: str, place: Place, *, accounts: bool = True) -> str | None:
    """Return in what an ARN is elsewhere and the remedy, None where it is here or says nothing of it.

    Args:
        arn: The ARN; any other text is here.
        place: Where the engine is.
        accounts: Whether another account is elsewhere too.
    """
    parts = arn.split(":", 5)
    if parts[0] != "arn" or len(parts) < 6:
        return None
    _, partition, _, region, account, _ = parts
    if (partition, region, account) == (place.partition, place.region, place.account):
        return None
    for what, given, own in (
        ("partition", partition, place.partition),
        ("region", region, place.region),
        ("account", account if accounts else "", place.account),
    ):
        if given and given != own:
            return f"it is in the {what} {given!r}, and the local AWS in {own!r}: use an ARN of that one"
    return None


def refuse_elsewhere(definition: Mapping[str, Any], place: Place) -> None:
    """Check the ARNs that are written out in a definition.

    Raises:
        UnsupportedError: One is of another partition, region or account.
    """
    for name, state in states_of(definition):
        for field, arn in _arns(state):
            wrong = elsewhere(arn, place)
            if wrong is not None:
                raise UnsupportedError(f"state {name!r} has {field} {arn!r}: {wrong}")


def _arns(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = {"": state, "ItemReader/": state.get("ItemReader", {}), "ResultWriter/": state.get("ResultWriter", {})}
    for prefix, part in parts.items():
        if isinstance(part.get("Resource"), str):
            yield f"{prefix}Resource", part["Resource"]
    for field in ("Parameters", "Arguments"):
        given = state.get(field)
        for key in _CALLED:
            if isinstance(given, dict) and isinstance(given.get(key), str):
                yield f"{field}/{key}", given[key]
