"""The states after the map: the account of the run, and the way back to the map for another round.

```
map ──▶ account ──▶ accounted? ──▶ done (or combine)
 ▲                    │  │
 │                    │  └──▶ account again, where one invocation doesn't suffice
 └── wait before round ◀┘
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.definition import tolerance
from cdk_distributed_map.resources.map_resources import AccountResources, MapResources
from cdk_distributed_map.settings import expressions
from cdk_distributed_map.settings.expressions import quote, wrap
from distmap import limits, wire

_INPUT: Final = "$distmapInput"
_TOLERANCE: Final = "$distmapTolerance"
_WAIT: Final = "$distmapWait"
_ANSWER: Final = "$states.result.Payload"
_SMALLER: Final = 10
_FIRST_BATCH: Final = 1_000
"""Where bytes alone bound a batch, nothing tells how many items it had: the first round's have a tenth of this."""

ROUND: Final = "$distmapRound"
"""JSONata: the number of the round whose items the map gets, 0 where they are the run's own."""


OUTER_ROUND: Final = "($exists($states.input.run.round) ? $states.input.run.round : 0)"
"""JSONata in the children of a map: the same of the round that they are in."""


def first_variables(declared: Mapping[str, float | str]) -> dict[str, Any]:
    """Return what the first state assigns. The maps of rounds get the input of the run, as that of a retry does."""
    variables = {_INPUT[1:]: wrap("$states.input"), ROUND[1:]: 0}
    return {**variables, _TOLERANCE[1:]: wrap("null")} if tolerance.from_input(declared) else variables


def results_prefix(folder: str) -> str:
    """Return JSONata for where a map's results belong whose items may be those of a round."""
    rounds, results = quote(f"/{wire.ROUNDS_FOLDER}/"), quote(f"/{wire.RESULTS_FOLDER}")
    return f'{folder} & ({ROUND} > 0 ? {rounds} & $string({ROUND}) : "") & {results}'


def smaller_batches(batcher: Mapping[str, Any], number: str) -> dict[str, Any]:
    """Return ItemBatcher with batches that are a tenth as large in each round as in the one before it.

    What makes a batch crash, or what takes longest, is then soon alone, and the others of its batch are done.

    Args:
        batcher: As it is in the first map.
        number: JSONata of the number of the round.
    """
    most = batcher.get("MaxItemsPerBatch")
    if most == 1:
        return dict(batcher)
    if most is None:
        size = f"{number} > 0 ? $max([1, $floor({_FIRST_BATCH} / $power({_SMALLER}, {number}))]) : {limits.MAX_ITEMS}"
    else:
        size = f"$max([1, $floor({expressions.number_text(most)} / $power({_SMALLER}, {number}))])"
    return {**batcher, "MaxItemsPerBatch": wrap(size)}


def map_variables(declared: Mapping[str, float | str]) -> dict[str, Any]:
    """Return what a map assigns: a tolerance that comes from the input, which is that of the first map."""
    if not tolerance.from_input(declared):
        return {}
    own = ", ".join(f'"{kind}": {expressions.number_text(value)}' for kind, value in declared.items())
    return {_TOLERANCE[1:]: wrap(f"{ROUND} > 0 ? {_TOLERANCE} : {{{own}}}")}


class AccountStates:
    """The states from a map's end to the end of the run.

    Args:
        scope: Parent of the states.
        account: The account function.
        resources: What was made for the map.
        name: Makes a state's name.
        task: Makes a task of a function.
        run: Rendered :class:`distmap.wire.Run`.
        rounds_map: The map that rounds run in.
    """

    def __init__(
        self,
        scope: Construct,
        account: AccountResources,
        *,
        resources: MapResources,
        name: Callable[[str], str],
        task: Callable[..., sfn.TaskStateBase],
        run: Any,
        rounds_map: sfn.IChainable,
    ) -> None:
        declared = tolerance.rendered(scope, resources.map)
        self.account = task(
            "Account",
            "account",
            account.function,
            payload={
                "run": run,
                **{key: wrap(f"$states.input.{key}") for key in ("items", "results", "mapRunArn")},
                "redriveCount": wrap("$states.context.Execution.RedriveCount"),
                "account": {**account.settings, **_tolerance(declared), "nested": tolerance.of_nested(resources)},
                "continuation": wrap("$exists($states.input.continuation) ? $states.input.continuation : null"),
            },
            output=wrap(_ANSWER),
        )
        self.done = sfn.Pass(scope, "Done", state_name=name("done"), query_language=sfn.QueryLanguage.JSONATA)
        wait = sfn.Wait(
            scope,
            "WaitBeforeRound",
            state_name=name("wait before round"),
            query_language=sfn.QueryLanguage.JSONATA,
            time=sfn.WaitTime.seconds(wrap(_WAIT)),
        )
        wait.next(rounds_map)
        accounted = sfn.Choice(
            scope, "Accounted", state_name=name("accounted"), query_language=sfn.QueryLanguage.JSONATA
        )
        accounted.when(
            sfn.Condition.jsonata(wrap("$exists($states.input.again)")),
            wait,
            assign={
                ROUND[1:]: wrap("$states.input.again.items.round"),
                _WAIT[1:]: wrap("$states.input.again.waitSeconds"),
            },
            outputs=wrap(
                f'$merge([$type({_INPUT}) = "object" ? {_INPUT} : {{}}, {{"items": $states.input.again.items}}])'
            ),
        )
        accounted.when(sfn.Condition.jsonata(wrap("$exists($states.input.continuation)")), self.account)
        accounted.otherwise(self.done)
        self.account.next(accounted)


def _tolerance(declared: Mapping[str, float | str]) -> dict[str, Any]:
    if tolerance.from_input(declared):
        of: dict[str, Any] = {kind: wrap(f"{_TOLERANCE} = null ? null : {_TOLERANCE}.{kind}") for kind in declared}
    else:
        of = {**declared}
    return tolerance.as_wire(of)
