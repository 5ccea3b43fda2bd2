"""The engine beside another interpreter of the Amazon States Language, moto's, on machines that are made up.

Where both give the same, neither has read AWS's documentation in a way of its own.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moto import mock_aws

if TYPE_CHECKING:
    from tests.local.bench import Bench

GIVE_UP_SECONDS = 30
ROLE = "arn:aws:iam::123456789012:role/r"
# One way of seeing the outcome of both: status, output, error.
Outcome = tuple[str, Any, str | None]
State = dict[str, Any]

WORDS = st.text(alphabet="abXYZ ,-09", max_size=8)
SCALARS = st.one_of(st.integers(-50, 50), WORDS, st.booleans(), st.none())
INPUTS = st.fixed_dictionaries(
    {
        "n": st.integers(-100, 100),
        "m": st.integers(-100, 100),
        "s": WORDS,
        "t": st.booleans(),
        # Two at least, for ArrayGetItem: where it fails, moto says States.Runtime and not States.IntrinsicFailure.
        "list": st.lists(st.one_of(st.integers(-5, 5), WORDS.filter(bool)), min_size=2, max_size=5),
        "o": st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3),
        "p": st.dictionaries(st.sampled_from("bcd"), SCALARS, max_size=3),
    }
)
EXPRESSIONS = st.one_of(
    st.sampled_from(
        [
            "$.n",
            "$.list",
            "$.o",
            "$.list[0:2]",
            "$.list[*]",
            "States.Format('{} and {}', $.s, $.n)",
            "States.Array($.n, $.s, $.o)",
            "States.Array(States.Array(), 1, 'x', true, null)",
            "States.ArrayLength($.list)",
            "States.ArrayContains($.list, $.n)",
            "States.ArrayUnique($.list)",
            "States.ArrayGetItem($.list, 0)",
            "States.ArrayGetItem($.list, 1)",
            "States.MathAdd($.n, $.m)",
            "States.StringSplit($.s, ',')",
            "States.StringSplit($.s, ', -')",
            "States.StringToJson(States.JsonToString($.o))",
            "States.JsonMerge($.o, $.p, false)",
            "States.Base64Encode($.s)",
            "States.Base64Decode(States.Base64Encode($.s))",
            "States.Hash($.s, 'SHA-256')",
            "States.Hash($.s, 'MD5')",
            "States.Format('\\'{}\\' and {}', $.n, $.t)",
            "States.ArrayLength($.list[*])",
            "States.JsonToString($.list)",
            "States.ArrayPartition(States.ArrayRange(1, 6, 1), 4)",
            "$.list[-1]",
            "$['o']",
        ]
    ),
    st.integers(1, 4).map(lambda size: f"States.ArrayPartition($.list, {size})"),
    # moto knows no negative steps; AWS is documented to.
    st.tuples(st.integers(-9, 0), st.integers(1, 9), st.integers(1, 3)).map(
        lambda ends: "States.ArrayRange({}, {}, {})".format(*ends)
    ),
)
SIMPLE_RULES = st.one_of(
    st.tuples(
        st.sampled_from(["Equals", "LessThan", "GreaterThan", "LessThanEquals", "GreaterThanEquals"]),
        st.integers(-50, 50),
    ).map(lambda rule: {"Variable": "$.n", f"Numeric{rule[0]}": rule[1]}),
    st.sampled_from(["Equals", "LessThan", "GreaterThanEquals"]).map(
        lambda how: {"Variable": "$.n", f"Numeric{how}Path": "$.m"}
    ),
    st.tuples(st.sampled_from(["Equals", "LessThan", "GreaterThan"]), WORDS).map(
        lambda rule: {"Variable": "$.s", f"String{rule[0]}": rule[1]}
    ),
    st.sampled_from(["*", "a*", "*b", "*,*", "a*Z"]).map(lambda like: {"Variable": "$.s", "StringMatches": like}),
    st.booleans().map(lambda value: {"Variable": "$.t", "BooleanEquals": value}),
    st.tuples(st.sampled_from(["$.o.a", "$.p.d", "$.none"]), st.booleans()).map(
        lambda rule: {"Variable": rule[0], "IsPresent": rule[1]}
    ),
    st.tuples(st.sampled_from(["IsString", "IsNumeric", "IsBoolean", "IsNull"]), st.booleans()).map(
        lambda rule: {"Variable": "$.s", rule[0]: rule[1]}
    ),
)
RULES = st.one_of(
    SIMPLE_RULES,
    SIMPLE_RULES.map(lambda rule: {"Not": rule}),
    st.tuples(st.sampled_from(["And", "Or"]), st.lists(SIMPLE_RULES, min_size=1, max_size=3)).map(
        lambda rule: {rule[0]: rule[1]}
    ),
)


def passing(parameters: dict[str, str], result_path: str | None) -> State:
    return {
        "Type": "Pass",
        "Parameters": {f"{name}.$": value for name, value in parameters.items()} | {"fixed": [1]},
        "ResultPath": result_path,
    }


def mapping(parameters: dict[str, str], at_once: int) -> State:
    inner = {"Type": "Pass", "End": True, "Parameters": {"got.$": "$", "there.$": "States.Format('{}', $.i)"}}
    return {
        "Type": "Map",
        "ItemsPath": "$.list",
        "MaxConcurrency": at_once,
        "ItemSelector": {
            "i.$": "$$.Map.Item.Index",
            "v.$": "$$.Map.Item.Value",
            **{f"{name}.$": value for name, value in parameters.items()},
        },
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "In", "States": {"In": inner}},
        "ResultPath": "$.mapped",
    }


def parallel(expressions: list[str]) -> State:
    return {
        "Type": "Parallel",
        "Branches": [
            {"StartAt": "B", "States": {"B": {"Type": "Pass", "End": True, "Parameters": {"b.$": expression}}}}
            for expression in expressions
        ],
        # moto makes an array of "$[0].b"; AWS is understood to give the value.
        "ResultSelector": {"all.$": "$", "fixed": 1},
        "ResultPath": "$.both",
    }


PARAMETERS = st.dictionaries(st.sampled_from("xyz"), EXPRESSIONS, max_size=2)
STEPS = st.one_of(
    st.builds(passing, PARAMETERS, st.sampled_from(["$.r", "$.deep.er", None])),
    st.just({"Type": "Wait", "Seconds": 0}),
    st.lists(RULES, min_size=1, max_size=3).map(lambda rules: {"Type": "Choice", "Choices": rules}),
    st.builds(mapping, PARAMETERS, st.integers(0, 3)),
    st.builds(parallel, st.lists(EXPRESSIONS, min_size=1, max_size=3)),
)
LAST = st.one_of(
    st.just({"Type": "Succeed"}),
    st.sampled_from(["$", "$.list", "$.o", "$.nowhere"]).map(lambda path: {"Type": "Succeed", "OutputPath": path}),
    # Not a text: moto's output is then no JSON.
    st.sampled_from(["$.o", "$.list"]).map(lambda path: {"Type": "Pass", "End": True, "InputPath": path}),
    st.just({"Type": "Fail", "Error": "Mine", "Cause": "because"}),
)


def named(step: State, number: int) -> State:
    """Give the states inside a step names that no other step has."""
    if step["Type"] == "Map":
        inner = step["ItemProcessor"]
        name = f"S{number}In"
        return {**step, "ItemProcessor": {**inner, "StartAt": name, "States": {name: inner["States"]["In"]}}}
    if step["Type"] == "Parallel":
        branches = [branch["States"]["B"] for branch in step["Branches"]]
        names = [f"S{number}B{at}" for at in range(len(branches))]
        made = [{"StartAt": name, "States": {name: state}} for name, state in zip(names, branches, strict=True)]
        return {**step, "Branches": made}
    return step


def machine(steps: list[State], last: State) -> dict[str, Any]:
    """Chain steps; each rule of a choice leads by a state of its own, which leaves a mark, to the next step."""
    states: dict[str, State] = {}
    for number, given_ in enumerate(steps):
        step = named(given_, number)
        after = f"S{number + 1}"
        if step["Type"] != "Choice":
            states[f"S{number}"] = {**step, "Next": after}
            continue
        ways = [f"S{number}W{way}" for way in range(len(step["Choices"]) + 1)]
        for way in ways:
            states[way] = {"Type": "Pass", "Result": way, "ResultPath": f"$.went{number}", "Next": after}
        rules = [{**rule, "Next": way} for rule, way in zip(step["Choices"], ways, strict=False)]
        states[f"S{number}"] = {"Type": "Choice", "Choices": rules, "Default": ways[-1]}
    return {"StartAt": "S0", "States": {**states, f"S{len(steps)}": last}}


MACHINES = st.builds(machine, st.lists(STEPS, max_size=4), LAST)


def outcome(described: dict[str, Any]) -> Outcome:
    output = described.get("output")
    return described["status"], None if output is None else json.loads(output), described.get("error")


def by_moto(definition: dict[str, Any], given: Any) -> Outcome:
    # Endpoints in the environment would lead past it.
    endpoint = os.environ.pop("AWS_ENDPOINT_URL", None)
    try:
        with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
            client = boto3.client("stepfunctions", region_name="us-east-1")
            arn = client.create_state_machine(name="m", definition=json.dumps(definition), roleArn=ROLE)
            execution = client.start_execution(stateMachineArn=arn["stateMachineArn"], input=json.dumps(given))
            give_up = time.monotonic() + GIVE_UP_SECONDS
            while True:
                described = client.describe_execution(executionArn=execution["executionArn"])
                if described["status"] != "RUNNING":
                    return outcome(described)
                assert time.monotonic() < give_up, "moto didn't end it"
                time.sleep(0.005)
    finally:
        if endpoint is not None:
            os.environ["AWS_ENDPOINT_URL"] = endpoint


@pytest.mark.slow
# Always the same machines: what moto does otherwise than AWS is left out above, and more shouldn't be met by chance.
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(definition=MACHINES, given_=INPUTS)
def test_both_interpreters_give_the_same(bench: Bench, definition: dict[str, Any], given_: dict[str, Any]) -> None:
    assert outcome(bench.run(definition, given_)) == by_moto(definition, given_)


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
def test_the_comparison_sees_a_difference(bench: Bench, status: str) -> None:
    last = {"Type": "Succeed"} if status == "SUCCEEDED" else {"Type": "Fail", "Error": "E"}
    given_ = {"n": 1}
    ours, theirs = outcome(bench.run(machine([], last), given_)), by_moto(machine([], last), {"n": 2})
    assert ours[0] == theirs[0] == status
    assert (ours == theirs) == (status == "FAILED")
