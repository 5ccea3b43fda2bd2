"""The states after the map: the account, the way back for another round, and what the map itself tolerates."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Accounting, Batching, Capture, ItemShape, ItemSource, Worker

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Evaluate = Callable[[Any, Mapping[str, Any]], Any]


def captured() -> ItemSource:
    return ItemSource.captured(Capture.ranges())


# -- states


@pytest.mark.parametrize("source", ["captured", "listed"])
def test_after_the_map_come_the_account_and_perhaps_another_round(lab: Lab, source: str) -> None:
    items = captured() if source == "captured" else ItemSource.s3_objects(lab.bucket())
    states = lab.definition(lab.pipeline(items=items))["States"]
    again = "P map" if source == "captured" else "P map item file"

    assert {states[name]["Next"] for name in states if states[name]["Type"] == "Map"} == {"P account"}
    assert states["P account"]["Next"] == "P accounted"
    assert [choice["Next"] for choice in states["P accounted"]["Choices"]] == ["P wait before round", "P account"]
    assert states["P accounted"]["Default"] == "P done"
    assert states["P wait before round"]["Next"] == again
    if source == "captured":
        assert states["P no items"]["Next"] == "P account"


def test_an_account_adds_four_states(lab: Lab) -> None:
    first, second = lab.pipeline("A"), lab.pipeline("B", accounting=Accounting.none())
    with_account, without = lab.definition(first)["States"], lab.definition(second)["States"]

    added = {name.removeprefix("A ") for name in with_account} - {name.removeprefix("B ") for name in without}
    assert added == {"account", "accounted", "wait before round", "done"}


def test_no_map_has_a_retry_or_a_catch(lab: Lab) -> None:
    states = lab.definition(lab.pipeline(items=captured()))["States"]

    assert not [name for name, state in states.items() if state["Type"] == "Map" and {"Retry", "Catch"} & state.keys()]


@pytest.mark.parametrize(
    "own", [{"day": "monday"}, {"items": {"key": "items/a.jsonl"}, "day": "monday"}, ["a"], "text"]
)
def test_a_round_gets_the_input_of_the_run_and_its_own_items(lab: Lab, evaluate: Evaluate, own: Any) -> None:
    states = lab.definition(lab.pipeline(items=captured()))["States"]
    items = {"key": "runs/e1/rounds/2/items.jsonl", "round": 2, "enveloped": True}
    answer = {"again": {"items": items, "waitSeconds": 7}}
    rule = states["P accounted"]["Choices"][0]
    assigned = evaluate(states["P find items"]["Assign"], {"input": own})

    assert assigned == {"distmapInput": own, "distmapRound": 0}
    assert evaluate(rule["Condition"], {"input": answer}) is True
    output = evaluate(rule["Output"], {"input": answer, "variables": assigned})
    assert output == {**(own if isinstance(own, dict) else {}), "items": items}
    assert evaluate(rule["Assign"], {"input": answer}) == {"distmapRound": 2, "distmapWait": 7}
    assert states["P wait before round"]["Seconds"] == "{% $distmapWait %}"


def test_every_way_into_a_map_begins_with_round_0(lab: Lab) -> None:
    find = lab.state(lab.pipeline(), "find items")
    ways = [find, *(rule for rule in find["Choices"] if rule["Next"] != "P item file refused")]

    assert len(ways) == 2
    assert [way["Assign"]["distmapRound"] for way in ways] == [0, 0]


def test_nested_maps_have_no_account_of_their_own(lab: Lab, workers: dict[str, Any]) -> None:
    definition = lab.definition(lab.pipeline(worker=workers["smallest"]["nested"](lab)))
    children = definition["States"]["P map"]["ItemProcessor"]["States"]

    assert not [name for name in children if "account" in name]
    assert "distmapRound" not in str(children)


# -- what a round's map does otherwise


@pytest.mark.parametrize(
    ("batching", "sizes"),
    [
        (Batching(max_items=100), [100, 10, 1, 1]),
        (Batching(max_items=2_500), [2_500, 250, 25, 2]),
        (Batching(max_items=1), [1, 1, 1, 1]),
        (Batching(max_items="$.size"), [30, 3, 1, 1]),
        (Batching(max_bytes=9_000), [100_000_000, 100, 10, 1]),
    ],
    ids=["hundred", "thousands", "single", "from-input", "bytes"],
)
def test_batches_are_smaller_in_each_round(lab: Lab, evaluate: Evaluate, batching: Batching, sizes: list[int]) -> None:
    batcher = lab.state(lab.pipeline(items=captured(), batching=batching), "map")["ItemBatcher"]
    size = batcher["MaxItemsPerBatch"]

    assert [
        evaluate(size, {"input": {"size": 30}, "variables": {"distmapRound": number}}) for number in range(4)
    ] == sizes


def test_batches_of_inner_maps_are_smaller_in_each_round(lab: Lab, evaluate: Evaluate) -> None:
    code: Any = {"worker": Worker.function(lab.function()), "items": ItemSource.state_array("$.value")}
    outer = lab.state(
        lab.pipeline(items=captured(), worker=Worker.nested(**code, batching=Batching(max_items=30))), "map"
    )
    (inner,) = [each for each in outer["ItemProcessor"]["States"].values() if each["Type"] == "Map"]
    number = outer["ItemSelector"]["run"]["round"]
    sizes = []
    for items in ({"key": "runs/r/items.jsonl"}, {"round": 1}, {"round": 2}):
        run = {"round": evaluate(number, {"input": {"items": items}})}
        sizes.append(evaluate(inner["ItemBatcher"]["MaxItemsPerBatch"], {"input": {"run": run}}))

    assert sizes == [30, 3, 1]
    # A run that began before its pipeline had rounds of nested maps, and one without an account, tell no round.
    assert evaluate(inner["ItemBatcher"]["MaxItemsPerBatch"], {"input": {"run": {}}}) == 30


def test_each_round_exports_to_a_folder_of_its_own(lab: Lab, evaluate: Evaluate) -> None:
    prefix = lab.state(lab.pipeline(items=captured()), "map")["ResultWriter"]["Arguments"]["Prefix"]
    context = {"Execution": {"Name": "e1"}}

    assert [evaluate(prefix, {"context": context, "variables": {"distmapRound": number}}) for number in (0, 3)] == [
        "runs/e1/results",
        "runs/e1/rounds/3/results",
    ]


# -- tolerance


def stop(lab: Lab, evaluate: Evaluate, state: str, count: int | None, number: int = 0, **options: Any) -> Any:
    rendered = lab.state(lab.pipeline(**options), state)
    assert "ToleratedFailureCount" not in rendered
    items = {"key": "k", **({} if count is None else {"count": count})}
    given = {"input": {"items": items, "p": 10, "c": 30}, "variables": {"distmapRound": number}}
    return evaluate(rendered["ToleratedFailurePercentage"], given)


@pytest.mark.parametrize(
    ("options", "count", "percentage"),
    [
        ({}, 50, 100),
        ({}, 200, 50),
        ({}, 1_000_000, 25),
        ({"tolerated_failure_percentage": 5}, 1_000_000, 30),
        ({"tolerated_failure_percentage": "$.p"}, 1_000_000, 35),
        ({"tolerated_failure_percentage": 90}, 1_000_000, 100),
        ({"tolerated_failure_count": 100}, 1_000, 35),
        ({"tolerated_failure_count": "$.c"}, 1_000, 28),
        ({"tolerated_failure_count": 100, "tolerated_failure_percentage": 5}, 1_000, 35),
        ({"batching": Batching(max_items=1_000)}, 20_000, 50),
        ({"batching": Batching(max_bytes=1_000)}, 2_000, 50),
        ({"accounting": Accounting(early_stop_percentage=3)}, 1_000_000, 3),
        ({"accounting": Accounting(early_stop_percentage="$.p")}, 1_000_000, 10),
    ],
    ids=str,
)
def test_step_functions_only_stops_early_what_goes_all_wrong(
    lab: Lab, evaluate: Evaluate, options: dict[str, Any], count: int, percentage: float
) -> None:
    assert stop(lab, evaluate, "map", count, items=captured(), **options) == percentage


@pytest.mark.parametrize("number", [1, 5])
def test_no_round_is_stopped_early(lab: Lab, evaluate: Evaluate, number: int) -> None:
    assert stop(lab, evaluate, "map", 1_000_000, number, items=captured()) == 100


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 250_000),
        ({"tolerated_failure_percentage": 4.5}, 4_750_000),
        ({"tolerated_failure_percentage": 100}, 100_000_000),
        ({"tolerated_failure_count": 1_000}, 251_000),
        ({"tolerated_failure_count": 1_000, "tolerated_failure_percentage": 1}, 1_250_000),
        ({"tolerated_failure_percentage": "$.p"}, 10_250_000),
        ({"tolerated_failure_percentage": "$.p", "tolerated_failure_count": "$.c"}, 10_250_000),
        ({"tolerated_failure_count": "$.c"}, 250_030),
    ],
    ids=str,
)
def test_a_source_that_nobody_counted_stops_after_a_number_of_items(
    lab: Lab, evaluate: Evaluate, options: dict[str, Any], count: int
) -> None:
    rendered = lab.state(lab.pipeline(items=ItemSource.s3_objects(lab.bucket()), **options), "map")

    assert "ToleratedFailurePercentage" not in rendered
    assert evaluate(rendered["ToleratedFailureCount"], {"input": {"p": 10, "c": 30}}) == count


def test_a_tolerance_of_the_stack_counts_where_nobody_counted_the_items(lab: Lab, evaluate: Evaluate) -> None:
    percentage = lab.number_parameter("Tolerated").value_as_number
    items = ItemSource.s3_objects(lab.bucket())
    rendered = lab.state(lab.pipeline(items=items, tolerated_failure_percentage=percentage), "map")

    assert evaluate(rendered["ToleratedFailureCount"].replace("${Tolerated}", "3"), {"input": {}}) == 3_250_000


@pytest.mark.parametrize(
    ("options", "percentage"),
    [({}, 50), ({"tolerated_failure_percentage": 40}, 65), ({"tolerated_failure_percentage": "$.p"}, 50)],
    ids=str,
)
def test_items_without_identity_that_nobody_counted_stop_at_half(
    lab: Lab, evaluate: Evaluate, options: dict[str, Any], percentage: float
) -> None:
    items = ItemSource.s3_objects(lab.bucket())
    worker = Worker.function(lab.function(), item_shape=ItemShape.BARE)

    assert stop(lab, evaluate, "map", None, items=items, worker=worker, **options) == percentage


def test_items_with_maps_of_their_own_are_not_stopped_early(
    lab: Lab, evaluate: Evaluate, workers: dict[str, Any]
) -> None:
    worker = workers["smallest"]["nested"](lab)
    assert stop(lab, evaluate, "map", 1_000_000, items=captured(), worker=worker) == 100


@pytest.fixture(scope="module")
def tolerance_from_input(new_lab: Callable[..., Lab]) -> Callable[[float | None], Any]:
    """The tolerance that is rendered where the input tells it, by the percentage of an early stop."""

    @functools.cache
    def rendered(early: float | None) -> Any:
        lab = new_lab()
        pipeline = lab.pipeline(
            items=ItemSource.s3_objects(lab.bucket()),
            tolerated_failure_percentage="$.p",
            tolerated_failure_count="$.c",
            accounting=None if early is None else Accounting(early_stop_percentage=early),
        )
        return lab.state(pipeline, "map")[f"ToleratedFailure{'Count' if early is None else 'Percentage'}"]

    return rendered


@pytest.mark.parametrize("early", [None, 60], ids=["default", "early-stop-told"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"p": 101, "c": 1}, "tolerated_failure_percentage must be a number from 0 to 100, got 101"),
        ({"p": "5", "c": 1}, "tolerated_failure_percentage must be a number from 0 to 100, got 5"),
        ({"c": 1}, "tolerated_failure_percentage must be a number from 0 to 100, got "),
        ({"p": 5, "c": -1}, "tolerated_failure_count must be a whole number from 0, got -1"),
        ({"p": 5, "c": 1.5}, "tolerated_failure_count must be a whole number from 0, got 1.5"),
    ],
    ids=["over", "text", "missing", "negative", "fraction"],
)
def test_fails_when_a_tolerance_from_the_input_is_none_before_the_map_begins(
    tolerance_from_input: Callable[[float | None], Any],
    evaluate: Evaluate,
    given: dict[str, Any],
    said: str,
    early: float | None,
) -> None:
    field = tolerance_from_input(early)

    assert evaluate(field, {"input": {"p": 5, "c": 1}}) == (5_250_000 if early is None else early)
    with pytest.raises(Exception, match=re.escape(said)):
        evaluate(field, {"input": given})


def test_an_item_file_without_a_count_is_not_stopped_early(lab: Lab, evaluate: Evaluate) -> None:
    percentage = lab.state(lab.pipeline(), "map item file")["ToleratedFailurePercentage"]
    given = [{"key": "k"}, {"key": "k", "count": 0}, {"key": "k", "count": "many"}, {"key": "k", "count": 1_000_000}]

    assert [evaluate(percentage, {"input": {"items": items}, "variables": {"distmapRound": 0}}) for items in given] == [
        100,
        100,
        100,
        25,
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (None, None)),
        ({"tolerated_failure_count": 3}, (3, None)),
        ({"tolerated_failure_percentage": 2.5}, (None, 2.5)),
        ({"tolerated_failure_count": "$.c", "tolerated_failure_percentage": 5}, (30, 5)),
        ({"tolerated_failure_percentage": sfn.JsonPath.number_at("$.p")}, (None, 10)),
    ],
    ids=["default", "count", "percentage", "count-from-input", "percentage-from-input"],
)
def test_the_account_is_told_the_declared_tolerance(
    lab: Lab, evaluate: Evaluate, options: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    pipeline = lab.pipeline(items=captured(), **options)
    first, variables = lab.state(pipeline, "find items")["Assign"], lab.state(pipeline, "map").get("Assign", {})
    known = evaluate(first, {"input": {}})
    known |= evaluate(variables, {"input": {"p": 10, "c": 30}, "variables": known})
    known["distmapRound"] = 1
    # A round has what the run had, whatever its own input says.
    known |= evaluate(variables, {"input": {"p": 99, "c": 99}, "variables": known})
    told = lab.state(pipeline, "account")["Arguments"]["Payload"]["account"]
    given = {"input": {}, "variables": known}

    names = ("toleratedFailureCount", "toleratedFailurePercentage")
    assert tuple(evaluate(told[name], given) for name in names) == expected


def test_a_run_without_items_has_no_tolerance_from_the_input(lab: Lab, evaluate: Evaluate) -> None:
    pipeline = lab.pipeline(items=captured(), tolerated_failure_count="$.c")
    known = evaluate(lab.state(pipeline, "find items")["Assign"], {"input": {}})
    told = lab.state(pipeline, "account")["Arguments"]["Payload"]["account"]

    assert evaluate(told["toleratedFailureCount"], {"input": {}, "variables": known}) is None


def test_the_account_gets_what_the_map_gave(lab: Lab, evaluate: Evaluate) -> None:
    payload = lab.state(lab.pipeline(worker=Worker.function(lab.function())), "account")["Arguments"]["Payload"]
    after = {"items": None, "results": {"bucket": "b", "key": "k"}, "mapRunArn": "arn", "run": "ignored"}
    execution = {"Id": "arn:1", "Name": "e1", "RedriveCount": 2}
    got = evaluate(payload, {"input": after, "context": {"Execution": execution}})

    assert {key: got[key] for key in ("items", "results", "mapRunArn", "redriveCount", "continuation")} == {
        "items": None,
        "results": {"bucket": "b", "key": "k"},
        "mapRunArn": "arn",
        "redriveCount": 2,
        "continuation": None,
    }
    assert got["run"]["name"] == "e1"
