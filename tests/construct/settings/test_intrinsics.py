"""Every function of the CDK's JsonPath: as JSONata it gives what the engine's intrinsic function gives."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import Fn, Token
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Batching
from cdk_distributed_map.local.asl.intrinsics import compile_intrinsic
from cdk_distributed_map.local.asl.jsonata import compile_expression
from cdk_distributed_map.settings import expressions

if TYPE_CHECKING:
    from tests.construct.lab import Lab

J = sfn.JsonPath
INPUT = {
    "text": "it's a,b;;c", "json": '{"a": [1, null]}', "half": 1.5, "minus": -1.5, "whole": 3, "encoded": "w7w=",
    "list": [1, 1, 2, "1", [3], {"k": 1}], "object": {"a": 1, "b": {"c": 2}}, "other": {"b": 3}, "none": [],
    "plain": "ascii",
}  # fmt: skip

CALLS: dict[str, Callable[[], Any]] = {
    "array": lambda: J.array(J.string_at("$.text"), "it's", J.string_at("$.list")),
    "array_contains": lambda: J.array_contains(J.list_at("$.list"), 2),
    "array_contains-not": lambda: J.array_contains(J.list_at("$.list"), "2"),
    "array_contains-none": lambda: J.array_contains(J.list_at("$.none"), 2),
    "array_get_item": lambda: J.array_get_item(J.list_at("$.list"), 2),
    "array_get_item-array": lambda: J.array_get_item(J.list_at("$.list"), 4),
    "array_length": lambda: J.array_length(J.list_at("$.list")),
    "array_partition": lambda: J.array_partition(J.list_at("$.list"), 4),
    "array_range": lambda: J.array_range(1, 9, 2),
    "array_unique": lambda: J.array_unique(J.list_at("$.list")),
    "base64_decode": lambda: J.base64_decode("YXNjaWk="),
    "base64_encode": lambda: J.base64_encode(J.string_at("$.plain")),
    "format": lambda: J.format("a {}, {} and \\{\\} of {}", J.string_at("$.text"), J.string_at("$.whole"), "it's"),
    "format-nested": lambda: J.format("{}", J.array_length(J.list_at("$.list"))),
    "hash": lambda: J.hash(J.string_at("$.plain"), "SHA-256"),
    "json_merge": lambda: J.json_merge(J.object_at("$.object"), J.object_at("$.other")),
    "json_to_string": lambda: J.json_to_string(J.object_at("$.object")),
    "json_to_string-text": lambda: J.json_to_string(J.object_at("$.plain")),
    "math_add": lambda: J.math_add(J.number_at("$.half"), J.number_at("$.minus")),
    "string_split": lambda: J.string_split(J.string_at("$.text"), ",;"),
    "string_split-one": lambda: J.string_split("whole", "-]"),
    "string_to_json": lambda: J.string_to_json(J.string_at("$.json")),
    "list_at": lambda: J.list_at("$.list"),
    "number_at": lambda: J.number_at("$.half"),
    "object_at": lambda: J.object_at("$.object"),
    "string_at": lambda: J.string_at("$.text"),
}
OTHERS = {"math_random", "uuid", "is_encoded_json_path"}


def evaluated(rendered: str) -> Any:
    return compile_expression(rendered).value({"states": {"input": INPUT, "context": {}}}, "ItemSelector")


@pytest.mark.parametrize("case", CALLS)
def test_a_function_does_in_jsonata_what_it_did(lab: Lab, case: str) -> None:
    value = CALLS[case]()
    written = lab.stack.resolve(value)
    if written.startswith("States."):
        expected = compile_intrinsic(written)(SimpleNamespace(root=INPUT, context={}, variables={}))
    else:
        expected = INPUT[written.removeprefix("$.")]

    assert evaluated(expressions.template(lab.stack, {"x": value}, name="item_selector")["x"]) == expected


def test_every_function_of_the_cdk_is_tried() -> None:
    functions = {key for key, each in vars(J).items() if not key.startswith("_") and inspect.isroutine(each)}
    functions |= {key for key, each in vars(J).items() if isinstance(each, classmethod | staticmethod)}

    assert functions - OTHERS <= {case.split("-")[0] for case in CALLS}


@pytest.mark.parametrize("_", range(20))
def test_random_numbers_are_within_their_bounds(lab: Lab, _: int) -> None:
    rendered = expressions.template(lab.stack, {"x": J.math_random(3, 5), "u": J.uuid()}, name="item_selector")

    assert evaluated(rendered["x"]) in {3, 4}
    assert re.fullmatch(r"[0-9a-f-]{36}", evaluated(rendered["u"]))


def test_functions_reach_the_template(lab: Lab) -> None:
    pipeline = lab.pipeline(
        item_selector={"m": J.string_to_json(J.string_at("$$.Map.Item.Value")), "l.$": "States.ArrayLength($.rows)"},
        batching=Batching(max_items=2, batch_input={"name": J.format("{}!", J.string_at("$.name"))}),
    )
    state = lab.state(pipeline, "map")

    assert state["ItemSelector"]["value"] == {
        "m": "{% $parse($states.context.Map.Item.Value) %}",
        "l": "{% $count($states.input.rows) %}",
    }
    assert state["ItemBatcher"]["BatchInput"]["name"] == '{% ("" & $string($states.input.name) & "!") %}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("States.Nothing(1)", "calls States.Nothing, which isn't known"),
        ("States.UUID(1)", "calls States.UUID with 1 arguments"),
        ("States.Format($.t, 1)", "must be a literal: write JSONata with '&'"),
        ("States.Format('{}')", "has 1 places and 0 values"),
        ("States.StringSplit('a', $.s)", "must be literal: write JSONata with $split"),
        ("States.JsonMerge($.a, $.b, true)", "give false as its third argument"),
        ("States.UUID() + 1", "goes on after the call"),
        ("States.Array('a", "can't be read from"),
        ("States.Array($.a[?(@.b)])", "can't be translated"),
    ],
)  # fmt: skip
def test_fails_when_a_call_has_no_jsonata(lab: Lab, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        expressions.template(lab.stack, {"x.$": text}, name="item_selector")

    assert "item_selector['x.$']" in str(error.value)


# -- what goes through jsii comes out as it went in

VALUES: dict[str, Any] = {
    "null": None, "nulls": [None, {"n": None}], "empty": {}, "no-items": [], "text": "", "false": False, "zero": 0,
    "largest": 2**53 - 1, "smallest": -(2**53) + 1, "fraction": 0.1, "huge": 1e300, "tiny": 1e-300,
    "unicode": "\u2028\x00é😀", "quotes": "\"'\\${x}", "lookalike": {"Ref": "x"}, "get": {"Fn::GetAtt": ["a", "b"]},
    "names": {"constructor": 1, "toString": 2, "resolve": 3, "toJSON": 4, "length": 5}, "digits": {"2": 1, "1": 2},
    "tuple": (1, 2),
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_json_comes_out_as_it_went_in(lab: Lab, value: str) -> None:
    given = {"x": VALUES[value]}
    pipeline = lab.pipeline(item_selector=given, batching=Batching(max_items=2, batch_input=given))
    expected = list(VALUES[value]) if isinstance(VALUES[value], tuple) else VALUES[value]
    state, copy = lab.state(pipeline, "map"), lab.state(pipeline, "map item file")

    assert state["ItemSelector"]["value"] == {"x": expected}
    assert state["ItemBatcher"]["BatchInput"]["x"] == expected
    assert copy["ItemBatcher"]["BatchInput"]["x"] == expected
    kept = compile_expression(copy["ItemSelector"]["value"])
    states = {"input": {"items": {}}, "context": {"Map": {"Item": {"Value": 1, "Index": 0}}}}
    assert kept.value({"states": states}, "ItemSelector") == {"x": expected}


def test_nulls_of_the_users_own_states_stay(lab: Lab) -> None:
    from cdk_distributed_map import Worker

    def chain(scope: Any) -> sfn.IChainable:
        state = {"Type": "Pass", "Result": {"a": 1}, "ResultPath": J.DISCARD}
        return sfn.CustomState(scope, "Custom", state_json=state).next(
            sfn.Pass(scope, "Work", result_path=J.DISCARD, result=sfn.Result.from_object({"a": 1}))
        )

    pipeline = lab.pipeline(worker=Worker.states(chain))
    states = lab.state(pipeline, "map")["ItemProcessor"]["States"]

    assert {name: state["ResultPath"] for name, state in states.items()} == {"Custom": None, "Work": None}


@pytest.mark.parametrize("where", ["item_selector", "batch_input"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**53, "within 9,007,199,254,740,991, which a double holds exactly, got 9007199254740992: give"),
        (2**60 + 1, "got 1152921504606846977"),
        (-(2**53), "got -9007199254740992"),
        ([{"deep": 2**60}], "[0]['deep'] must be a number"),
        (float("nan"), "must be JSON, got nan"),
        (float("inf"), "must be JSON, got inf"),
        ("half \ud800", "must be text"),
        ({"__proto__": 1}, "means something else to jsii"),
        ({"$jsii.byref": "x"}, "means something else to jsii"),
    ],
    ids=["first", "large", "negative", "inside", "nan", "inf", "surrogate", "proto", "jsii"],
)  # fmt: skip
def test_fails_when_json_would_come_out_as_something_else(lab: Lab, where: str, value: Any, words: str) -> None:
    given = {"x": value}
    options: dict[str, Any] = {"item_selector": given}
    with pytest.raises(ValueError, match=re.escape(words)):  # noqa: PT012 - either may refuse it
        if where == "batch_input":
            options = {"batching": Batching(max_items=2, batch_input=given)}
        lab.pipeline(**options)


NO_JSON: dict[str, tuple[Callable[[], Any], str]] = {
    "bytes": (lambda: b"x", "must be JSON, got b'x'"),
    "set": (lambda: {1}, "must be JSON, got {1}"),
    "decimal": (lambda: Decimal("1.5"), "must be JSON, got Decimal('1.5')"),
    "date": (lambda: date(2026, 1, 1), "must be JSON, got datetime.date(2026, 1, 1)"),
    "object-token": (lambda: Token.as_any({"a": 1}), 'is a token of {"a": 1}, which would not come out of jsii'),
    "reference": (lambda: [Token.as_any({"Ref": "AWS::Region"})], '[0] is a token of {"Ref": "AWS::Region"}'),
    "discard": (lambda: J.DISCARD, "got JsonPath.DISCARD, which only the paths of states have: give None"),
}


@pytest.mark.parametrize("case", NO_JSON)
def test_fails_when_a_template_holds_what_is_no_json(lab: Lab, case: str) -> None:
    make, words = NO_JSON[case]
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        expressions.template(lab.stack, {"x": make()}, name="given")


def test_fails_when_a_list_of_the_deployment_is_to_stand_in_an_expression(lab: Lab) -> None:
    value = {"zones": Fn.get_azs()}
    with pytest.raises(ValueError, match=r"known only at deployment can't stand in item_selector.* Fn.select"):
        lab.pipeline(item_selector=value)


@pytest.mark.parametrize("key", ["distmap", "distmap.$"])
def test_fails_when_batch_input_uses_the_key_of_the_runtime(key: str) -> None:
    with pytest.raises(ValueError, match=r"batch_input must not use the key 'distmap', which is the runtime's"):
        Batching(max_items=2, batch_input={key: "$.x"})
