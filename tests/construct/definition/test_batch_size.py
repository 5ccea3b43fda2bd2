"""The size of automatic batches, as rendered and as the engine computes it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdk_distributed_map import Batching, Capture, ItemSource, ReservedConcurrency, Worker
from cdk_distributed_map.graphs import walk
from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.errors import StateError
from cdk_distributed_map.local.states.number_rules import NumberField
from cdk_distributed_map.plan import batch_size, express_children, standard_children
from distmap import limits

if TYPE_CHECKING:
    from tests.construct.lab import Lab

MILLION = 1_000_000
STANDARD, EXPRESS = CHILD_TYPES = (sfn.StateMachineType.STANDARD, sfn.StateMachineType.EXPRESS)
COUNT = "{% ($n := $states.input.items.count; "


def batcher(lab: Lab, *, state: str = "map", **options: Any) -> dict[str, Any]:
    options.setdefault("worker", lab.python_worker())
    options.setdefault("batching", Batching.automatic())
    return dict(lab.state(lab.pipeline(**options), state)["ItemBatcher"])


def computed(fields: dict[str, Any], input: Any) -> int:
    """MaxItemsPerBatch as the engine computes it."""
    field = NumberField("map", fields, "MaxItemsPerBatch", "JSONata")
    return int(field.get(EvaluationContext(input, {"Execution": {"Input": input}}, {"distmapRound": 0})))


def captured(count: int) -> dict[str, Any]:
    return {"items": {"key": "runs/r/items.jsonl", "count": count}}


# -- what is rendered


def test_a_captured_count_is_shared_out(lab: Lab) -> None:
    found = batcher(lab, items=ItemSource.captured(Capture.ranges()))

    count = COUNT.removeprefix("{% ")
    expected = f'{count}$type($n) = "number" ? $max([1, $min([200, $ceil($n / 200)])]) : 200)'
    # A round's are a tenth as large.
    assert found["MaxItemsPerBatch"] == f"{{% $max([1, $floor(({expected}) / $power(10, $distmapRound))]) %}}"
    assert "run" in found["BatchInput"]["distmap"]


def test_a_source_that_does_not_tell_its_count_has_a_fixed_size_and_its_item_file_another(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.csv(lab.bucket(), "k"), worker=lab.python_worker(), batching=Batching.automatic()
    )

    assert lab.state(pipeline, "map")["ItemBatcher"]["MaxItemsPerBatch"] == 200
    over_file = lab.state(pipeline, "map item file")["ItemBatcher"]
    assert [computed(over_file, captured(count)) for count in (1, 200, 201, 10_000, MILLION)] == [1, 1, 2, 50, 200]
    assert computed(over_file, {"items": {"key": "items/by-hand"}}) == 200


@pytest.fixture(scope="module")
def counted(new_lab: Callable[..., Lab]) -> dict[str, Any]:
    """The batcher of a pipeline over an array of its input."""
    return batcher(new_lab(), items=ItemSource.state_array("$.rows"))


@pytest.fixture(scope="module")
def told(new_lab: Callable[..., Lab]) -> dict[str, Any]:
    """The batcher of a pipeline whose input tells the count."""
    lab = new_lab()
    return batcher(lab, items=ItemSource.csv(lab.bucket(), "k"), batching=Batching.automatic(item_count="$.rows"))


@pytest.mark.parametrize(
    ("items", "size"),
    [([], 1), ([7], 1), ([[1, 2]], 1), (list(range(401)), 3), ({}, 1), ({str(n): n for n in range(401)}, 3)],
    ids=["none", "one", "one-list", "list", "empty-object", "object"],
)
def test_items_in_the_input_are_counted(counted: dict[str, Any], items: Any, size: int) -> None:
    assert computed(counted, {"rows": items}) == size


@pytest.mark.parametrize(
    ("most", "concurrency", "size"),
    [(50, 100, 1), (1_000, 10, 50), (MILLION, 100, 200)],
    ids=["few", "some", "many"],
)
def test_most_items_bound_a_batch_of_an_unknown_number(lab: Lab, most: int, concurrency: int, size: int) -> None:
    items = ItemSource.csv(lab.bucket(), "k", max_items=most)

    assert batcher(lab, items=items, max_concurrency=concurrency)["MaxItemsPerBatch"] == size


def test_most_items_may_come_from_the_input(lab: Lab) -> None:
    found = batcher(lab, items=ItemSource.csv(lab.bucket(), "k", max_items="$.most"))

    assert [computed(found, {"most": most}) for most in (1, 1_000, MILLION)] == [1, 5, 200]


def test_a_count_that_is_told_serves_the_source_alone(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.csv(lab.bucket(), "k", max_items=500),
        worker=lab.python_worker(),
        batching=Batching.automatic(item_count="$.rows"),
    )
    source, over_file = (lab.state(pipeline, name)["ItemBatcher"] for name in ("map", "map item file"))

    assert [computed(source, {"rows": rows}) for rows in (0, 300, MILLION)] == [1, 2, 3]
    assert computed(over_file, {"rows": 3, "items": {"key": "items/by-hand"}}) == 200


def test_a_count_that_is_told_stands_in_for_one_that_capture_does_not_answer(lab: Lab) -> None:
    items = ItemSource.captured(Capture.function(lab.function()))
    found = batcher(lab, items=items, batching=Batching.automatic(item_count=1_000))

    assert computed(found, {"items": {"key": "k"}}) == 5
    assert computed(found, captured(10_000)) == 50


@pytest.mark.parametrize("count", [None, -1, 2.5, "many", 100_000_001], ids=str)
def test_fails_when_a_count_from_the_input_is_none(told: dict[str, Any], count: Any) -> None:
    with pytest.raises(StateError, match="batching item_count must be a whole number between 0 and 100,000,000"):
        computed(told, {} if count is None else {"rows": count})


# -- time


@pytest.mark.parametrize(
    ("timeout", "item_seconds", "size"),
    [
        (60, 0.05, 1_100),  # 55 s
        (60, None, 200),
        (10, None, 36),  # 9 s of a quarter each
        (2, None, 7),
        (1, 0.9, 1),
        (900, 1, 895),
        (300, 0.001, 10_000),  # the share of a child in 2 million items
    ],
    ids=str,
)
def test_a_batch_fits_the_timeout_of_the_function(
    lab: Lab, timeout: int, item_seconds: float | None, size: int
) -> None:
    worker = lab.python_worker(timeout=cdk.Duration.seconds(timeout))
    items = ItemSource.captured(Capture.ranges())
    found = batcher(lab, items=items, worker=worker, batching=Batching.automatic(item_seconds=item_seconds))

    assert computed(found, captured(2 * MILLION)) == size


def test_a_batch_fits_five_minutes_of_an_express_child(lab: Lab) -> None:
    worker = Worker.function(lab.function(timeout=cdk.Duration.minutes(15)), timeout=cdk.Duration.minutes(4))
    found = batcher(
        lab,
        worker=worker,
        child_type=EXPRESS,
        batching=Batching.automatic(item_seconds=1),
        items=ItemSource.state_array(),
    )

    assert computed(found, {"items": list(range(MILLION // 10))}) == 235


def test_an_own_chain_of_states_has_five_minutes_in_express_children_and_any_time_else(lab: Lab) -> None:
    options: dict[str, Any] = {
        "worker": Worker.states(lambda scope: sfn.Pass(scope, "Work")),
        "batching": Batching.automatic(item_seconds=10),
        "max_concurrency": 1,
        "items": ItemSource.captured(Capture.ranges()),
    }
    express = lab.pipeline("Express", child_type=EXPRESS, **options)
    standard = lab.pipeline("Standard", **options)

    sizes = [computed(lab.state(each, "map")["ItemBatcher"], captured(MILLION)) for each in (express, standard)]
    assert sizes == [29, limits.MAX_BATCH_BYTES // 2]


def test_the_timeout_of_another_apps_function_is_taken_for_a_minute(lab: Lab) -> None:
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:theirs"
    worker = Worker.function(cdk.aws_lambda.Function.from_function_arn(lab.stack, "Theirs", arn))
    found = batcher(lab, worker=worker, items=ItemSource.csv(lab.bucket(), "k"))

    assert found["MaxItemsPerBatch"] == 200


def test_seconds_of_an_item_may_come_from_the_input(lab: Lab) -> None:
    found = batcher(
        lab, items=ItemSource.captured(Capture.ranges()), batching=Batching.automatic(item_seconds="$.seconds")
    )

    sizes = [computed(found, {**captured(MILLION), "seconds": seconds}) for seconds in (0.05, 1, 55, 56)]
    assert sizes == [1_100, 55, 1, 1]
    for wrong in (0, -1, "fast"):
        with pytest.raises(StateError, match="batching item_seconds must be a number over 0, got"):
            computed(found, {**captured(MILLION), "seconds": wrong})


def test_fails_when_not_even_one_item_fits(lab: Lab) -> None:
    message = "item_seconds is 56, but a child has 60 s, .* at most 5 s, .* raise the function's timeout"
    with pytest.raises(ValueError, match=message):
        batcher(lab, batching=Batching.automatic(item_seconds=56))


# -- concurrency


def test_the_lesser_of_two_concurrencies_counts(lab: Lab) -> None:
    worker = lab.python_worker(reserved_concurrency=ReservedConcurrency.fixed(20))
    found = batcher(lab, worker=worker, max_concurrency="$.children", items=ItemSource.state_array("$.rows"))

    rows = list(range(1_000))
    assert [computed(found, {"rows": rows, "children": children}) for children in (5, 20, 10_000)] == [100, 25, 25]
    with pytest.raises(StateError, match="max_concurrency must be a whole number between 1 and 10,000, got 0"):
        computed(found, {"rows": rows, "children": 0})


def test_numbers_of_a_deployment_stand_in_the_definition(lab: Lab) -> None:
    numbers = {name: lab.number_parameter(name).value_as_number for name in ("Children", "Reserved", "Seconds")}
    found = batcher(
        lab,
        items=ItemSource.captured(Capture.ranges()),
        max_concurrency=numbers["Children"],
        worker=lab.python_worker(
            timeout=cdk.Duration.seconds(numbers["Seconds"]),
            reserved_concurrency=ReservedConcurrency.fixed(numbers["Reserved"]),
        ),
    )
    text = str(found["MaxItemsPerBatch"])
    for name, value in {"Children": 1_000, "Reserved": 300, "Seconds": 30}.items():
        assert f"${{{name}}}" in text
        text = text.replace(f"${{{name}}}", str(value))

    assert computed({"MaxItemsPerBatch": text}, captured(60_000)) == 100
    assert computed({"MaxItemsPerBatch": text}, captured(MILLION)) == 108  # 27 s of a quarter each


def test_an_inner_map_counts_what_is_in_the_outer_item(lab: Lab) -> None:
    worker = Worker.nested(
        items=ItemSource.state_array("$.value.rows"), worker=lab.python_worker(), batching=Batching.automatic()
    )
    pipeline = lab.pipeline(worker=worker, max_concurrency=3)
    states = walk(lab.definition(pipeline))
    inner = next(state for _, state in states if state.get("Label") == f"{pipeline.label}-Nested")

    assert computed(inner["ItemBatcher"], {"index": 0, "value": {"rows": list(range(100))}}) == 5
    assert "ItemBatcher" not in lab.state(pipeline, "map")


# -- the user's own words


def test_most_items_replace_what_is_assumed(lab: Lab) -> None:
    automatic = Batching.automatic(max_items=1_000, max_bytes=9_999, batch_input={"day.$": "$.day"})
    found = batcher(lab, items=ItemSource.captured(Capture.ranges()), batching=automatic)

    assert [computed(found, captured(count)) for count in (1, MILLION)] == [1, 1_000]
    assert computed(found, {"items": {"key": "k"}}) == 1_000
    assert found["MaxInputBytesPerBatch"] == 9_999
    assert found["BatchInput"]["day"] == "{% $states.input.day %}"


def test_single_items_can_be_told(lab: Lab) -> None:
    rendered = lab.state(lab.pipeline(worker=lab.python_worker(), batching=Batching.none()), "map")

    assert "ItemBatcher" not in rendered
    assert "run" in rendered["ItemSelector"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"item_seconds": 0}, "batching item_seconds must be over 0 seconds, got 0"),
        ({"item_seconds": -1.5}, "got -1.5"),
        ({"item_seconds": float("nan")}, "must be a number, got nan"),
        ({"item_count": 2.5}, "batching item_count must be a whole number, got 2.5"),
        ({"item_count": -1}, "between 0 and 100,000,000, got -1"),
        ({"max_items": 0}, "batching max_items must be between 1 and 100,000,000, got 0"),
        ({"max_bytes": 262_145}, "batching max_bytes must be between 1 and 262,144 bytes"),
        ({"batch_input": {"distmap": 1}}, "batch_input must not use the key 'distmap'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_fails_when_a_number_is_out_of_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batching.automatic(**options)


# -- who gets them where nothing is said


HANDLER = "from distmap import process_items\n\n\n@process_items\ndef handler(item):\n    return item\n"


@pytest.fixture
def ours(lab: Lab) -> Callable[..., Worker]:
    """Makes workers whose source shows that they take batches."""
    (lab.code / "ours.py").write_text(HANDLER)
    return lambda **options: Worker.python(str(lab.code), handler="ours.handler", **options)


def seconds_of(lab: Lab) -> set[int]:
    functions = lab.resources("AWS::Lambda::Function").items()
    return {each["Properties"]["Timeout"] for name, each in functions if not name.startswith("PAccount")}


def test_a_worker_of_ours_gets_batches_and_the_time_for_them(lab: Lab, ours: Callable[..., Worker]) -> None:
    found = lab.state(lab.pipeline(worker=ours(), items=ItemSource.csv(lab.bucket(), "k")), "map")

    assert found["ItemBatcher"]["MaxItemsPerBatch"] == 200
    assert seconds_of(lab) == {900}
    assert not lab.warnings("distmap:OneItemPerChild")


@pytest.mark.parametrize(
    ("options", "worker", "seconds"),
    [
        ({}, {"timeout": cdk.Duration.seconds(30)}, 30),
        ({"child_type": EXPRESS}, {}, 60),
        ({"batching": Batching.automatic(item_seconds=1)}, {}, 60),
        ({"batching": Batching.automatic(max_items=10)}, {}, 60),
        ({"batching": Batching(max_items=10)}, {}, 60),
        ({"batching": Batching.none()}, {}, 60),
    ],
    ids=["own", "express", "seconds-told", "items-told", "size-told", "single"],
)
def test_the_longer_time_is_for_batches_of_unknown_work_alone(
    lab: Lab, ours: Callable[..., Worker], options: dict[str, Any], worker: dict[str, Any], seconds: int
) -> None:
    lab.pipeline(worker=ours(**worker), **options)

    assert seconds_of(lab) == {seconds}


@pytest.mark.parametrize(
    "make",
    [
        lambda lab, _: lab.python_worker(),
        lambda lab, _: Worker.function(lab.function()),
        lambda _, __: Worker.states(lambda scope: sfn.Pass(scope, "Work")),
        lambda _, ours: Worker.nested(items=ItemSource.state_array("$.value"), worker=ours()),
    ],
    ids=["other-python", "function", "states", "nested"],
)
def test_any_other_worker_gets_single_items(
    lab: Lab, ours: Callable[..., Worker], make: Callable[[Lab, Callable[..., Worker]], Worker]
) -> None:
    assert "ItemBatcher" not in lab.state(lab.pipeline(worker=make(lab, ours)), "map")


def test_the_innermost_of_nested_maps_gets_batches(lab: Lab, ours: Callable[..., Worker]) -> None:
    pipeline = lab.pipeline(worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=ours()))
    batched = {state["Label"] for _, state in walk(lab.definition(pipeline)) if "ItemBatcher" in state}

    assert batched == {f"{pipeline.label}-Nested", f"{pipeline.label}-Nested-ItemFile"}


# -- the promise


@pytest.fixture(scope="module")
def sizes(new_lab: Callable[..., Lab]) -> dict[sfn.StateMachineType, dict[str, Any]]:
    """ItemBatcher whose numbers all come from the input, for each type of children."""
    return {
        child_type: batcher(
            new_lab(),
            items=ItemSource.captured(Capture.ranges()),
            max_concurrency="$.children",
            child_type=child_type,
            batching=Batching.automatic(item_seconds="$.seconds"),
        )
        for child_type in CHILD_TYPES
    }


LOADS = {
    "count": st.integers(1, 100_000_000),
    "children": st.integers(1, 10_000),
    "seconds": st.floats(0.001, 100, allow_subnormal=False),
}
MORE, TYPES = st.sampled_from(sorted(LOADS)), st.sampled_from(CHILD_TYPES)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    child_type=st.sampled_from(CHILD_TYPES), load=st.fixed_dictionaries(LOADS), which=MORE, factor=st.integers(2, 50)
)
def test_a_batch_fits_uses_the_concurrency_and_grows_as_it_should(
    sizes: dict[sfn.StateMachineType, dict[str, Any]],
    child_type: sfn.StateMachineType,
    load: dict[str, Any],
    which: str,
    factor: int,
) -> None:
    def of(load: dict[str, Any]) -> int:
        return computed(sizes[child_type], {**captured(load["count"]), **load})

    size = of(load)

    told = {"timeout": 60, "item_seconds": load["seconds"], "express": child_type is EXPRESS}
    assert size == batch_size(load["count"], concurrency=load["children"], **told)
    assert size >= 1
    assert size * load["seconds"] <= 55 or size == 1
    assert math.ceil(load["count"] / size) >= min(load["count"], load["children"])
    more = {**load, which: load[which] * factor}
    if more["count"] <= limits.MAX_ITEMS and more["children"] <= limits.MAX_CONCURRENT_CHILDREN:
        # More items never make batches smaller, more children and slower items never larger.
        assert of(more) >= size if which == "count" else of(more) <= size


@pytest.mark.parametrize("batching", [Batching.automatic(item_seconds=0.05), Batching.automatic()], ids=["told", "not"])
@pytest.mark.parametrize("children", [100, 1_000], ids=str)
@pytest.mark.parametrize("child_type", CHILD_TYPES, ids=["standard", "express"])
def test_a_million_items_of_50_ms_cost_half_a_dollar_at_most_and_start_within_a_minute(
    lab: Lab, child_type: sfn.StateMachineType, children: int, batching: Batching
) -> None:
    found = batcher(
        lab,
        items=ItemSource.captured(Capture.ranges()),
        max_concurrency=children,
        child_type=child_type,
        batching=batching,
    )
    for size in (computed(found, captured(MILLION)), computed(found, {"items": {"key": "count-not-told"}})):
        batches = math.ceil(MILLION / size)
        rate, cost = limits.STANDARD_DISPATCH_PER_SECOND, standard_children(batches)
        if child_type is EXPRESS:
            rate, cost = limits.EXPRESS_DISPATCH_PER_SECOND, express_children(batches, seconds=size * 0.05)

        assert cost.step_functions <= 0.50
        assert batches / rate <= 60
        assert batches >= children


def test_seconds_of_an_item_are_taken_from_the_ledger_of_a_former_run(tmp_path: Path) -> None:
    ledger = tmp_path / "june.json"
    ledger.write_text(json.dumps({"run": "june", "itemSeconds": 0.25}))
    assert Batching.automatic(ledger=str(ledger)) == Batching.automatic(item_seconds=0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read: No such file"),
        ("no JSON", "is no JSON"),
        ("[]", "doesn't tell how long an item took, got None"),
        ('{"itemSeconds": null}', "doesn't tell how long an item took, got None"),
        ('{"itemSeconds": true}', "doesn't tell how long an item took, got True"),
        ('{"itemSeconds": 0}', "doesn't tell how long an item took, got 0"),
        ('{"itemSeconds": NaN}', "doesn't tell how long an item took, got nan"),
    ],
    ids=["missing", "no JSON", "list", "null", "boolean", "zero", "NaN"],
)
def test_fails_when_a_ledger_does_not_tell_the_seconds(tmp_path: Path, text: str | None, message: str) -> None:
    ledger = tmp_path / "ledger.json"
    if text is not None:
        ledger.write_text(text)
    with pytest.raises(ValueError, match=f"{message}.*distmap ledger RUN --json"):
        Batching.automatic(ledger=str(ledger))


def test_fails_when_both_seconds_and_a_ledger_are_given() -> None:
    with pytest.raises(ValueError, match=r"item_seconds or ledger, got 1 and 'june\.json'"):
        Batching.automatic(item_seconds=1, ledger="june.json")
