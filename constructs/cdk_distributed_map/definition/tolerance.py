"""What Step Functions is told to tolerate: the declared tolerance where there is no account, else an early stop alone.

To Step Functions a batch succeeds or fails as a whole, so the account holds the run to the declared tolerance, item by
item, after the last round. What the map has beside it only ends a run early that goes all wrong:

| the number of items | what the map has |
|---|---|
| known before the map (captured, an item file) | the tolerance and 25 points, at least 100 items, or 10 batches |
| not known (the map lists, or reads, the source itself) | a count: the tolerance, of 100 million items, and 250,000 |
| not known, and items have no identity, hence no rounds | 50 %, or the tolerance and 25 points |
| of items with a map of their own | 100 %: these maps end early by themselves, and rounds may heal their items |
| in a round | 100 %: a round that brings nothing ends the rounds, and no run |

A percentage would end a short run of unknown length for one batch that crashed, whose items a round heals.

https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html#maprun-fail-threshold
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final, TypeGuard

from constructs import Construct

from cdk_distributed_map.resources.map_resources import MapResources
from cdk_distributed_map.settings import checks, expressions, synthesis_warnings
from cdk_distributed_map.settings.expressions import quote, wrap
from cdk_distributed_map.settings.workers import MapSettings
from distmap.limits import (
    EARLY_STOP_MIN_BATCHES,
    EARLY_STOP_MIN_ITEMS,
    EARLY_STOP_SLACK_ITEMS,
    EARLY_STOP_SLACK_POINTS,
    MAX_ITEMS,
    MOSTLY_LOST_POINTS,
)

_BATCH_ITEMS: Final = 100
"""How many items a batch is taken to have whose size isn't known."""
_COUNT: Final = "$states.input.items.count"
_BOUNDS: Final = {
    "count": ("{0} < 0 or $floor({0}) != {0}", "a whole number from 0"),
    "percentage": ("{0} < 0 or {0} > 100", "a number from 0 to 100"),
}
"""What is wrong with tolerances that come from the input, as JSONata, and what they must be."""


def rendered(scope: Construct, settings: MapSettings) -> dict[str, float | str]:
    """Return the tolerances as they are declared, by ``count`` and ``percentage``, those that are given."""
    values = {"count": settings.tolerated_failure_count, "percentage": settings.tolerated_failure_percentage}
    return {
        kind: expressions.number(scope, value, name=f"tolerated_failure_{kind}")
        for kind, value in values.items()
        if value is not None
    }


def declared(scope: Construct, settings: MapSettings) -> dict[str, Any]:
    """Return the declared tolerances as fields of the map state.

    Where both are given and one turns out to be 0, both are: AWS takes 0 for not set.
    """
    tolerances = rendered(scope, settings)
    if len(tolerances) == 2:
        count, percentage = tolerances["count"], tolerances["percentage"]
        tolerances = {"count": _zero_with(count, percentage), "percentage": _zero_with(percentage, count)}
    return {f"ToleratedFailure{kind.title()}": value for kind, value in tolerances.items()}


def of_nested(resources: MapResources) -> list[dict[str, Any]]:
    """Return what the account gets to know of the maps inside the children, each with the tolerance that it keeps.

    One that comes from the input of an inner map is in no file of the run, so only Step Functions has it.
    """
    inner = resources.inner
    if inner is None:
        return []
    (nested,) = resources.nested_settings()
    tolerances = rendered(inner.scope, inner.map)
    if from_input(tolerances):
        synthesis_warnings.tolerance_of_children(inner.scope, inner.label, batched=inner.map.batches is not None)
    tolerance = None if from_input(tolerances) else as_wire(tolerances)
    return [{**nested, "tolerance": tolerance, "nested": of_nested(inner)}]


def from_input(tolerances: Mapping[str, float | str]) -> bool:
    """Whether a rendered tolerance comes from the input, which the map alone has."""
    return any(map(expressions.is_jsonata, tolerances.values()))


def as_wire(tolerances: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rendered tolerance under the names that it has for the account."""
    return {f"toleratedFailure{kind.title()}": tolerances.get(kind) for kind in ("count", "percentage")}


def early_stop(
    scope: Construct, settings: MapSettings, chosen: float | str | None, *, counted: bool, number_of_round: str | None
) -> dict[str, Any]:
    """Return when Step Functions is to stop the map early, as a field of the map state.

    Args:
        scope: Where tokens are resolved.
        settings: The map.
        chosen: What the user chose. Default: by the table above.
        counted: Whether the input may have the number of items.
        number_of_round: JSONata of the number of the round, where rounds run in this map.
    """
    tolerances, bindings = _checked(rendered(scope, settings))
    if chosen is None and not counted and not settings.nests and settings.enveloped:
        return {"ToleratedFailureCount": _stop_of_unknown(tolerances, bindings)}
    stop: float | str
    if chosen is not None:
        stop = expressions.number(scope, chosen, name="early_stop_percentage")
    elif settings.nests:
        stop = 100
    else:
        stop = _stop(tolerances, settings) if counted else _stop_of_unidentified(tolerances)
    if bindings:
        stop = wrap(f"({bindings}{expressions.number_text(stop)})")
    if number_of_round is None or stop == 100:
        return {"ToleratedFailurePercentage": stop}
    return {"ToleratedFailurePercentage": wrap(f"{number_of_round} > 0 ? 100 : {expressions.number_text(stop)}")}


def _checked(tolerances: Mapping[str, float | str]) -> tuple[dict[str, float | str], str]:
    """Return tolerances, and JSONata that binds those from the input, or fails where one is none.

    The map evaluates it before it begins: the account would find the mistake when all items are done.
    """
    bound, bindings = dict(tolerances), ""
    for kind, (wrong, expected) in _BOUNDS.items():
        value = tolerances.get(kind)
        if value is None or not expressions.is_jsonata(value):
            continue
        variable, message = f"${kind[0]}", quote(f"tolerated_failure_{kind} must be {expected}, got ")
        bindings += (
            f"{variable} := {expressions.source_text(value)}; "
            f'($type({variable}) = "number" ? ({wrong.format(variable)}) : true) ? '
            f"$error({message} & $string({variable})); "
        )
        bound[kind] = wrap(variable)
    return bound, bindings


def _stop_of_unknown(tolerances: Mapping[str, float | str], bindings: str) -> float | str:
    """Return how many items may fail of a number that isn't known, which is the most that a map reads at most."""
    count, percentage = tolerances.get("count", 0), tolerances.get("percentage", 0)
    if _is_number(count) and _is_number(percentage):
        return min(MAX_ITEMS, EARLY_STOP_SLACK_ITEMS + ceil(max(count, percentage * MAX_ITEMS / 100)))
    share = f"$ceil({expressions.number_text(percentage)} * {MAX_ITEMS // 100})"
    tolerated = f"$max([{expressions.number_text(count)}, {share}])"
    return wrap(f"({bindings}$min([{MAX_ITEMS}, {EARLY_STOP_SLACK_ITEMS} + {tolerated}]))")


def _stop_of_unidentified(tolerances: Mapping[str, float | str]) -> float | str:
    """Return the share of items that nobody can tell apart: without rounds, a redrive needs a map that has failed."""
    percentage = tolerances.get("percentage", 0)
    if _is_number(percentage):
        return min(100, max(MOSTLY_LOST_POINTS, percentage + EARLY_STOP_SLACK_POINTS))
    return wrap(
        f"$min([100, $max([{MOSTLY_LOST_POINTS}, {expressions.number_text(percentage)} + {EARLY_STOP_SLACK_POINTS}])])"
    )


def _is_number(value: float | str) -> TypeGuard[float]:
    return not isinstance(value, str) and not checks.is_token(value)


def _stop(tolerances: Mapping[str, float | str], settings: MapSettings) -> float | str:
    tolerated = expressions.number_text(tolerances.get("percentage", 0))
    if "count" in tolerances:
        share = f"{expressions.number_text(tolerances['count'])} * 100 / {_COUNT}"
        tolerated = share if "percentage" not in tolerances else f"$max([{tolerated}, {share}])"
    stop = f"$min([100, $max([{tolerated} + {EARLY_STOP_SLACK_POINTS}, {_least_items(settings)} * 100 / {_COUNT}])])"
    unknown = 100 if settings.enveloped else expressions.number_text(_stop_of_unidentified(tolerances))
    return wrap(f'($type({_COUNT}) = "number" ? {_COUNT} : 0) > 0 ? {stop} : {unknown}')


def _least_items(settings: MapSettings) -> int:
    if settings.batches is None:
        return EARLY_STOP_MIN_ITEMS
    most = settings.batches.max_items
    size = int(most) if checks.is_known(most) and not isinstance(most, str) and most is not None else _BATCH_ITEMS
    return max(EARLY_STOP_MIN_ITEMS, EARLY_STOP_MIN_BATCHES * size)


def _zero_with(value: float | str, other: float | str) -> float | str:
    """Return a tolerance, or what makes it 0 where the other one is."""
    if 0 in (value, other):
        return 0
    if not expressions.is_jsonata(other) or checks.is_token(value):
        return value
    return wrap(f"{expressions.number_text(other)} = 0 ? 0 : {expressions.number_text(value)}")
