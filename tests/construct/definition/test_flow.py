"""What the rendered states do with inputs, by a JSONata library that knows nothing of the construct."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map import Batching, Capture, Combiner, FileFormat, ItemSource, Worker

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Evaluate = Callable[[Any, Mapping[str, Any]], Any]
States = Callable[[str], dict[str, Any]]

BUCKET = "${PPayloadBucket1048A6C5}"
CONTEXT = {"Execution": {"Id": "arn:aws:states:eu-west-1:1:execution:m:e1", "Name": "e1", "Input": {}}}
RUN = {
    "id": CONTEXT["Execution"]["Id"],
    "firstRun": CONTEXT["Execution"]["Id"],
    "name": "e1",
    "bucket": BUCKET,
    "prefix": "runs/e1",
    "path": "",
}


@pytest.fixture(scope="module")
def over_array(new_lab: Callable[..., Lab]) -> Callable[[str], dict[str, Any]]:
    """States, by the ends of their names, of a pipeline over an array of its input."""
    lab = new_lab()
    pipeline = lab.pipeline()
    return lambda name: lab.state(pipeline, name)


@pytest.fixture(scope="module")
def over_ranges(new_lab: Callable[..., Lab]) -> Callable[[str], dict[str, Any]]:
    """States of a pipeline over captured ranges."""
    lab = new_lab()
    pipeline = lab.pipeline(items=ItemSource.captured(Capture.ranges()))
    return lambda name: lab.state(pipeline, name)


@pytest.fixture(scope="module")
def over_array_at(new_lab: Callable[..., Lab]) -> Callable[[str], dict[str, Any]]:
    """How items are found by a pipeline over an array at a path of its input, each rendered once."""

    @functools.cache
    def choice(path: str) -> dict[str, Any]:
        lab = new_lab()
        return lab.state(lab.pipeline(items=ItemSource.state_array(path)), "find items")

    return choice


@pytest.fixture(scope="module")
def over_own_capture(new_lab: Callable[..., Lab]) -> Callable[[str], dict[str, Any]]:
    """States of a pipeline with a capture and a combine function of the user's."""
    lab = new_lab()
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
        combine=Combiner.function(lab.function("CombineFunction")),
    )
    return lambda name: lab.state(pipeline, name)


def item_context(index: int, value: Any) -> dict[str, Any]:
    return {**CONTEXT, "Map": {"Item": {"Index": index, "Value": value}}}


def next_state(choice: Mapping[str, Any], evaluate: Evaluate, given: Any) -> str:
    """Return where a Choice goes."""
    for rule in choice["Choices"]:
        result = evaluate(rule["Condition"], {"input": given, "context": CONTEXT})
        assert isinstance(result, bool), "Step Functions refuses a condition that is neither true nor false"
        if result:
            return str(rule["Next"])
    return str(choice["Default"])


# -- find items

NO_FILE = [{}, {"number": 10, "chunk": 5}, [], [{"items": {"key": "runs/a"}}], [1, 2], "text", 7, None]
OWN_ITEMS = [{"items": []}, {"items": [{"key": "runs/a"}]}, {"items": {}}, {"items": {"bucket": BUCKET}}]
WRONG_ITEMS = [
    {"items": {"key": None}},
    {"items": {"key": 5}},
    {"items": {"key": ["runs/a"]}},
    {"items": None},
    {"items": 5},
    {"items": False},
    {"items": "runs/a/items.jsonl"},
    {"items": {"key": "runs/a", "enveloped": "true"}},
    {"items": {"key": "runs/a", "bucket": None}},
]
GOOD_FILE = [
    {"items": {"bucket": BUCKET, "key": "runs/old/items.jsonl"}},
    {"items": {"key": "runs/old/items.jsonl"}},
    {"items": {"key": "items/mine.jsonl", "enveloped": True, "count": 3}},
    {"items": {"key": "items/mine.jsonl", "enveloped": False}},
    {"items": {"key": "items/mine.jsonl"}, "number": 10},
]
BAD_FILE = [
    {"items": {"bucket": "foreign", "key": "runs/old/items.jsonl"}},
    {"items": {"bucket": BUCKET, "key": "other/items.jsonl"}},
    {"items": {"key": "run/items.jsonl"}},
    {"items": {"key": "runs"}},
    {"items": {"key": ""}},
    {"items": {"key": "/runs/a"}},
]


@pytest.mark.parametrize("given", [*NO_FILE, *OWN_ITEMS], ids=repr)
def test_without_an_item_file_the_source_is_used(over_array: States, evaluate: Evaluate, given: Any) -> None:
    assert next_state(over_array("find items"), evaluate, given) == "P map"


@pytest.mark.parametrize("given", NO_FILE, ids=repr)
def test_without_an_item_file_items_are_captured(over_ranges: States, evaluate: Evaluate, given: Any) -> None:
    assert next_state(over_ranges("find items"), evaluate, given) == "P capture"


@pytest.mark.parametrize("given", GOOD_FILE, ids=repr)
def test_an_item_file_in_the_payload_bucket_is_used_instead_of_the_source(
    over_array: States, evaluate: Evaluate, given: Any
) -> None:
    assert next_state(over_array("find items"), evaluate, given) == "P map item file"


@pytest.mark.parametrize("given", GOOD_FILE, ids=repr)
def test_an_item_file_skips_capture(over_ranges: States, evaluate: Evaluate, given: Any) -> None:
    assert next_state(over_ranges("find items"), evaluate, given) == "P map"


@pytest.mark.parametrize("path", ["$.items", "$.items.rows", "$.items[0]", "{% $lookup($states.input, 'items') %}"])
@pytest.mark.parametrize("given", OWN_ITEMS, ids=repr)
def test_items_of_the_input_may_be_the_source_itself(
    over_array_at: States, evaluate: Evaluate, path: str, given: Any
) -> None:
    assert next_state(over_array_at(path), evaluate, given) == "P map"


@pytest.mark.parametrize("path", ["$", "$.rows", "$.my_items", "{% $states.input.rows[[0..9]] %}"])
def test_fails_when_items_of_the_input_are_not_where_the_source_is(
    over_array_at: States, evaluate: Evaluate, path: str
) -> None:
    for given in OWN_ITEMS:
        assert next_state(over_array_at(path), evaluate, given) == "P item file refused"


@pytest.mark.parametrize("given", [*WRONG_ITEMS, *OWN_ITEMS], ids=repr)
def test_fails_when_items_of_the_input_name_no_file(over_ranges: States, evaluate: Evaluate, given: Any) -> None:
    assert next_state(over_ranges("find items"), evaluate, given) == "P item file refused"
    cause = evaluate(over_ranges("item file refused")["Cause"], {"input": given, "context": CONTEXT})

    got = evaluate("{% $string($states.input.items) %}", {"input": given})
    assert cause == (
        "items in the input must name a file of them in the payload bucket, under runs/ or items/, as "
        f'{{"bucket": "{BUCKET}", "key": "items/..."}}, got {got}'
        ": copy the file there, or leave items out to use the pipeline's own source"
    )


@pytest.mark.parametrize("given", WRONG_ITEMS, ids=repr)
def test_fails_when_items_of_the_input_are_neither_items_nor_a_file(
    over_array: States, evaluate: Evaluate, given: Any
) -> None:
    assert next_state(over_array("find items"), evaluate, given) == "P item file refused"
    cause = evaluate(over_array("item file refused")["Cause"], {"input": given, "context": CONTEXT})

    assert "must be an array of items, an object of them without the field key, or name a file" in cause
    assert cause.endswith("copy the file there, or give the items themselves")


def test_a_wrong_input_is_shown_in_part_where_it_is_long(over_ranges: States, evaluate: Evaluate) -> None:
    given = {"items": ["x" * 200_000]}
    cause = evaluate(over_ranges("item file refused")["Cause"], {"input": given, "context": CONTEXT})

    assert len(cause) < 2_000


@pytest.mark.parametrize("given", BAD_FILE, ids=repr)
def test_an_item_file_elsewhere_is_refused_in_words(over_array: States, evaluate: Evaluate, given: Any) -> None:
    refused = next_state(over_array("find items"), evaluate, given)
    fail = over_array("item file refused")

    assert refused == "P item file refused"
    assert fail["Error"] == "Distmap.ItemFileRefused"
    cause = evaluate(fail["Cause"], {"input": given, "context": CONTEXT})
    assert "runs/ or items/" in cause
    assert given["items"]["key"] in cause


def test_the_folders_of_item_files_follow_the_payload_prefix(lab: Lab, evaluate: Evaluate) -> None:
    choice = lab.state(lab.pipeline(payload_prefix="team/"), "find items")

    assert next_state(choice, evaluate, {"items": {"key": "team/runs/a"}}) == "P map item file"
    assert next_state(choice, evaluate, {"items": {"key": "runs/a"}}) == "P item file refused"


# -- item identity

SHAPES: list[Any] = [
    None,
    0,
    "",
    "text",
    True,
    [],
    [5],
    [[5]],
    [[]],
    [None],
    {},
    {"a": None},
    {"a": [1]},
    {"a": [[1]], "b": []},
    {"index": 99, "value": "not an envelope"},
]


@pytest.mark.parametrize("value", SHAPES, ids=repr)
def test_an_item_keeps_its_shape_and_gets_its_index(over_array: States, evaluate: Evaluate, value: Any) -> None:
    selector = over_array("map")["ItemSelector"]

    assert evaluate(selector, {"input": {"items": [value]}, "context": item_context(7, value)}) == {
        "index": 7,
        "value": value,
        "run": RUN,
    }


@pytest.mark.parametrize("value", SHAPES, ids=repr)
@pytest.mark.parametrize("captured", [True, False], ids=["captured", "item-file-map"])
def test_an_enveloped_file_keeps_index_and_value(
    over_array: States, over_ranges: States, evaluate: Evaluate, value: Any, *, captured: bool
) -> None:
    selector = (over_ranges("map") if captured else over_array("map item file"))["ItemSelector"]
    line = {"index": 4_000_000, "value": value}
    states = {"input": {"items": {"key": "runs/a/items.jsonl", "enveloped": True}}, "context": item_context(0, line)}

    assert evaluate(selector, states) == {**line, "run": RUN}


@pytest.mark.parametrize("enveloped", [{}, {"enveloped": False}, {"enveloped": None}], ids=repr)
@pytest.mark.parametrize("value", SHAPES, ids=repr)
def test_a_file_without_envelopes_numbers_its_items(
    over_array: States, evaluate: Evaluate, value: Any, enveloped: dict[str, Any]
) -> None:
    selector = over_array("map item file")["ItemSelector"]
    states = {"input": {"items": {"key": "items/a.jsonl", **enveloped}}, "context": item_context(3, value)}

    assert evaluate(selector, states) == {"index": 3, "value": value, "run": RUN}


def test_an_own_selector_makes_the_value_unless_the_file_has_it_already(lab: Lab, evaluate: Evaluate) -> None:
    own = {"id.$": "$$.Map.Item.Value.id", "all": ["{% $states.input.day %}", None, 'say "hi"'], "deep": {"n": 1}}
    selector = lab.state(lab.pipeline(item_selector=own), "map item file")["ItemSelector"]
    made = {"id": [1], "all": ["mon", None, 'say "hi"'], "deep": {"n": 1}}
    fresh = {"input": {"day": "mon", "items": {"key": "items/a"}}, "context": item_context(0, {"id": [1]})}
    retried = {
        "input": {"day": "tue", "items": {"key": "items/a", "enveloped": True}},
        "context": item_context(0, {"index": 9, "value": made}),
    }

    assert evaluate(selector, fresh) == {"index": 0, "value": made, "run": RUN}
    assert evaluate(selector, retried) == {"index": 9, "value": made, "run": RUN}


@pytest.fixture(scope="module")
def batched(new_lab: Callable[..., Lab]) -> dict[str, Any]:
    """The ItemBatcher of a pipeline over an array of its input."""
    lab = new_lab()
    found: dict[str, Any] = lab.state(lab.pipeline(batching=Batching(max_items=9)), "map")["ItemBatcher"]
    return found


def test_a_batch_gets_the_run(lab: Lab, evaluate: Evaluate) -> None:
    batcher = lab.state(lab.pipeline(batching=Batching(max_items=2)), "map")["ItemBatcher"]

    assert evaluate(batcher["BatchInput"], {"input": [1], "context": CONTEXT}) == {"distmap": {"run": RUN}}


@pytest.mark.parametrize(
    ("items", "first"),
    [
        ({"enveloped": True, "firstRun": "arn:first"}, "arn:first"),
        ({"enveloped": False, "firstRun": "arn:first"}, RUN["id"]),
        ({"enveloped": True, "firstRun": None}, RUN["id"]),
        ({"enveloped": True}, RUN["id"]),
        ([{"enveloped": True, "firstRun": "arn:first"}], RUN["id"]),
        ("text", RUN["id"]),
    ],
    ids=["retry", "not-enveloped", "null", "older-client", "array", "text"],
)
def test_a_retry_says_which_run_had_its_items_first(
    batched: dict[str, Any], evaluate: Evaluate, items: Any, first: str
) -> None:
    told = evaluate(batched["BatchInput"], {"input": {"items": items}, "context": CONTEXT})
    assert told == {"distmap": {"run": {**RUN, "firstRun": first}}}


def test_items_that_are_the_whole_input_are_no_retry(lab: Lab, evaluate: Evaluate) -> None:
    pipeline = lab.pipeline(items=ItemSource.state_array("$"), batching=Batching(max_items=9))
    # JSONata finds a field of the only element of an array in the array itself.
    only = [{"items": {"enveloped": True, "firstRun": "arn:first"}}]

    told = evaluate(lab.state(pipeline, "map")["ItemBatcher"]["BatchInput"], {"input": only, "context": CONTEXT})
    assert told == {"distmap": {"run": RUN}}


# -- capture


@pytest.mark.parametrize("given", [{"number": 7, "chunk": [1]}, [1], "text", None, {}], ids=repr)
def test_capture_gets_the_input_as_it_is(over_own_capture: States, evaluate: Evaluate, given: Any) -> None:
    payload = over_own_capture("capture")["Arguments"]["Payload"]

    assert evaluate(payload, {"input": given, "context": CONTEXT}) == {
        "input": given,
        "run": RUN,
        "key": "runs/e1/items.jsonl",
        "capture": {},
        "continuation": None,
        "maxItems": None,
    }


@pytest.mark.parametrize(
    ("given", "number", "chunk"),
    [
        ({"number": 100_000, "chunk": 5}, 100_000, 5),
        ({"number": 7}, 7, 1),
        ({"chunk": 3}, 10, 3),
        ({}, 10, 1),
        ({"number": 0}, 0, 1),
        ({"number": None, "chunk": "5"}, None, "5"),
        ("any", 10, 1),
    ],
    ids=repr,
)
def test_ranges_have_defaults_for_what_the_input_leaves_out(
    over_ranges: States, evaluate: Evaluate, given: Any, number: Any, chunk: Any
) -> None:
    payload = over_ranges("capture")["Arguments"]["Payload"]

    assert evaluate(payload, {"input": given, "context": CONTEXT})["capture"] == {
        "kind": "ranges",
        "number": number,
        "chunk": chunk,
        "start": 0,
        "inclusive": False,
    }


def test_ranges_may_begin_elsewhere_and_include_their_ends(lab: Lab, evaluate: Evaluate) -> None:
    ranges = Capture.ranges(number="$.last", chunk=5, start="$.first", inclusive=True)
    payload = lab.state(lab.pipeline(items=ItemSource.captured(ranges)), "capture")["Arguments"]["Payload"]

    assert evaluate(payload, {"input": {"last": 10, "first": 1}, "context": CONTEXT})["capture"] == {
        "kind": "ranges",
        "number": 10,
        "chunk": 5,
        "start": 1,
        "inclusive": True,
    }


@pytest.mark.parametrize(
    ("answered", "after"),
    [
        ({"key": "k", "count": 11}, "P too many items"),
        ({"key": "k"}, "P too many items"),
        ({"key": "k", "count": 10}, "P map"),
        ({"key": "k", "count": 0}, "P no items"),
    ],
    ids=["too-many", "unknown", "all", "none"],
)
def test_capture_ends_at_the_most_items(lab: Lab, evaluate: Evaluate, answered: dict[str, Any], after: str) -> None:
    capture = Capture.function(lab.function("CaptureFunction"))
    pipeline = lab.pipeline(items=ItemSource.captured(capture, max_items="$.limit"))
    given: dict[str, Any] = {"limit": 10}

    payload = evaluate(lab.state(pipeline, "capture")["Arguments"]["Payload"], {"input": given, "context": CONTEXT})
    assert payload["maxItems"] == 10
    given["items"] = answered
    assert next_state(lab.state(pipeline, "captured all"), evaluate, given) == after
    cause = evaluate(lab.state(pipeline, "too many items")["Cause"], {"input": given, "context": CONTEXT})
    assert cause.startswith("max_items is 10 and the capture function answered {")
    # Neither a retry nor any other item file is cut short by it.
    assert lab.state(pipeline, "map")["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}


def test_the_settings_of_the_listing_are_whole(lab: Lab, evaluate: Evaluate) -> None:
    listing = Capture.s3_listing(lab.bucket(), prefixes=["a/", "$.day"], max_bytes="$.most")
    pipeline = lab.pipeline(items=ItemSource.captured(listing))
    payload = lab.state(pipeline, "capture")["Arguments"]["Payload"]
    states = {"input": {"day": "2026-09-01/", "most": 5}, "context": CONTEXT}

    assert evaluate(payload, states)["capture"] == {
        "kind": "s3Listing",
        "bucket": "data",
        "prefixes": ["a/", "2026-09-01/"],
        "suffix": None,
        "minBytes": 1,
        "maxBytes": 5,
        "modifiedAfter": None,
        "modifiedBefore": None,
        "minAgeSeconds": None,
        "maxAgeSeconds": None,
    }


def test_a_long_capture_goes_on_with_its_continuation(over_ranges: States, evaluate: Evaluate) -> None:
    capture, captured = over_ranges("capture"), over_ranges("captured all")
    half = {"bucket": BUCKET, "key": "runs/e1/items.jsonl", "continuation": {"position": [1]}}
    whole = {"bucket": BUCKET, "key": "runs/e1/items.jsonl", "count": 3}

    first = evaluate(capture["Output"], {"input": {"number": 5, "chunk": 2}, "result": {"Payload": half}})
    assert next_state(captured, evaluate, first) == "P capture"
    again = evaluate(capture["Arguments"]["Payload"], {"input": first, "context": CONTEXT})
    assert again["continuation"] == {"position": [1]}
    # It is there once: with the answer that the state before gave, the input would have it too.
    assert again["input"] == {"number": 5, "chunk": 2}
    assert again["capture"] == {"kind": "ranges", "number": 5, "chunk": 2, "start": 0, "inclusive": False}
    second = evaluate(capture["Output"], {"input": first, "result": {"Payload": whole}})
    assert next_state(captured, evaluate, second) == "P map"
    assert second == {"number": 5, "chunk": 2, "items": whole}


def test_a_long_capture_that_was_started_with_nothing_goes_on(over_ranges: States, evaluate: Evaluate) -> None:
    given = over_ranges("capture")["Arguments"]["Payload"]["input"]

    # JSONata's own $sift has no result where nothing is left, and Step Functions fails where there is none.
    assert "$merge([{}, $sift(" in given
    assert evaluate(given, {"input": {"items": {"continuation": {"position": [1]}}}}) == {}
    assert evaluate(given, {"input": {}}) == {}


@pytest.mark.parametrize("given", [[1, 2], "text", None, 5], ids=repr)
def test_an_input_that_is_no_object_is_replaced_by_the_captured_items(
    over_own_capture: States, evaluate: Evaluate, given: Any
) -> None:
    capture = over_own_capture("capture")

    assert evaluate(capture["Output"], {"input": given, "result": {"Payload": {"key": "k"}}}) == {"items": {"key": "k"}}


# -- output and combine

RESULT = {"MapRunArn": "arn:run", "ResultWriterDetails": {"Bucket": "b", "Key": "runs/e1/results/u/manifest.json"}}


@pytest.mark.parametrize(
    ("given", "items"),
    [
        ({"items": [1, 2]}, None),
        ([1, 2], None),
        (None, None),
        ({"items": {"key": "items/a", "count": 1}}, {"bucket": BUCKET, "key": "items/a", "count": 1}),
        ({"items": {"key": "items/a", "bucket": BUCKET}}, {"bucket": BUCKET, "key": "items/a"}),
    ],
    ids=["array", "bare-array", "null", "item-file", "item-file-with-bucket"],
)
def test_output_of_a_run(over_array: States, evaluate: Evaluate, given: Any, items: Any) -> None:
    output = over_array("map")["Output"]

    assert evaluate(output, {"input": given, "context": CONTEXT, "result": RESULT}) == {
        "run": RUN,
        "items": items,
        "results": {"bucket": "b", "key": "runs/e1/results/u/manifest.json"},
        "mapRunArn": "arn:run",
    }


def test_results_go_to_the_folder_of_the_run(lab: Lab, evaluate: Evaluate) -> None:
    writer = lab.state(lab.pipeline(payload_prefix="team/"), "map")["ResultWriter"]

    assert evaluate(writer["Arguments"], {"input": {}, "context": CONTEXT}) == {
        "Bucket": BUCKET,
        "Prefix": "team/runs/e1/results",
    }


@pytest.mark.parametrize("combined", [None, [1], [], {"total": 5}, "text"], ids=repr)
def test_combine_gets_the_output_of_the_map_and_adds_its_own(
    over_own_capture: States, evaluate: Evaluate, combined: Any
) -> None:
    after = {
        "run": RUN,
        "items": None,
        "results": {"bucket": "b", "key": "k"},
        "mapRunArn": "arn:run",
        "ledger": {"captured": 0},
    }
    combine = over_own_capture("combine")

    assert evaluate(combine["Arguments"]["Payload"], {"input": after, "context": CONTEXT}) == after
    output = evaluate(combine["Output"], {"input": after, "result": {"Payload": combined}})
    assert output == {**after, "combined": combined}


# -- nested maps


def test_a_nested_map_knows_the_root_run_and_its_own_place(lab: Lab, evaluate: Evaluate) -> None:
    inner_worker = Worker.nested(
        items=ItemSource.state_array("$.value.rows"),
        worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=Worker.function(lab.function())),
    )
    outer = lab.state(lab.pipeline(worker=inner_worker), "map")
    middle = outer["ItemProcessor"]["States"]["P-Nested map"]
    inner = middle["ItemProcessor"]["States"]["P-Nested-Nested map"]
    item = {"rows": [["a"], ["b", "c"]]}

    child = evaluate(outer["ItemSelector"], {"input": {}, "context": item_context(3, item)})
    assert evaluate(middle["Items"], {"input": child}) == [["a"], ["b", "c"]]
    grandchild = evaluate(middle["ItemSelector"], {"input": child, "context": item_context(1, ["b", "c"])})
    assert grandchild["run"] == {**RUN, "path": "/3"}
    assert evaluate(inner["Items"], {"input": grandchild}) == ["b", "c"]
    leaf = evaluate(inner["ItemSelector"], {"input": grandchild, "context": item_context(17, "c")})
    assert leaf == {"index": 17, "value": "c", "run": {**RUN, "path": "/3/1"}}
    writers = [
        evaluate(state["ResultWriter"]["Arguments"]["Prefix"], {"input": given, "context": CONTEXT})
        for state, given in ((middle, child), (inner, grandchild))
    ]
    assert writers == ["runs/e1/nested/P-Nested/3/results", "runs/e1/nested/P-Nested-Nested/3/1/results"]


def test_capture_of_a_nested_map_writes_under_its_place(lab: Lab, evaluate: Evaluate) -> None:
    nested = Worker.nested(
        items=ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
        worker=Worker.function(lab.function()),
    )
    child = lab.state(lab.pipeline(worker=nested), "map")["ItemProcessor"]["States"]["P-Nested capture"]
    given = {"index": 3, "value": {"n": 1}, "run": RUN}

    payload = evaluate(child["Arguments"]["Payload"], {"input": given, "context": CONTEXT})
    assert payload["key"] == "runs/e1/nested/P-Nested/3/items.jsonl"
    assert payload["run"] == {**RUN, "path": "/3"}
    assert payload["input"] == given


# -- items of several files


def test_an_item_of_several_files_says_which_and_keeps_it_in_a_retry(lab: Lab, evaluate: Evaluate) -> None:
    source = ItemSource.s3_objects(lab.bucket(), prefix="in/", load=FileFormat.json_lines())
    pipeline = lab.pipeline(items=source, batching=Batching(max_items=2))
    context = item_context(3, {"n": 1})
    context["Map"]["Item"]["Source"] = "s3://b/in/a"
    first = lab.state(pipeline, "map")["ItemSelector"]
    assert evaluate(first, {"input": {}, "context": context}) == {
        "index": 3,
        "source": "s3://b/in/a",
        "value": {"n": 1},
    }

    selector = lab.state(pipeline, "map item file")["ItemSelector"]
    given = {"items": {"key": "runs/a", "enveloped": True}}
    for line in ({"index": 7, "source": "s3://b/in/a", "value": 5}, {"index": 7, "source": None, "value": 5}):
        assert evaluate(selector, {"input": given, "context": item_context(0, line)}) == line
    plain = {"input": {"items": {"key": "items/a"}}, "context": item_context(4, {"source": "of the user"})}
    assert evaluate(selector, plain) == {"index": 4, "source": None, "value": {"source": "of the user"}}
