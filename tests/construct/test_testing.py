"""The helpers for the tests of users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from hypothesis import given
from hypothesis import strategies as st

from cdk_distributed_map import Batching, Capture, ItemSource, Worker
from cdk_distributed_map.graphs import parse
from cdk_distributed_map.testing import definitions, masked, masked_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.construct.lab import Lab


def test_a_masked_template_does_not_move_with_the_code(new_lab: Callable[..., Lab]) -> None:
    found = []
    for text in ("from one import handler\n", "from two import handler\n"):
        lab = new_lab()
        Path(lab.code, "handler.py").write_text(text)
        lab.pipeline(items=ItemSource.captured(Capture.ranges()), worker=lab.python_worker())
        found.append((masked_template(lab.stack), lab.template()))

    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_functions_that_share_code_share_the_name_of_the_asset(lab: Lab) -> None:
    lab.pipeline("First", worker=lab.python_worker())
    lab.pipeline("Second", worker=lab.python_worker())
    lab.pipeline("Third", items=ItemSource.captured(Capture.ranges()))
    functions = [
        each["Properties"]["Code"]["S3Key"]
        for each in masked_template(lab.stack)["Resources"].values()
        if each["Type"] == "AWS::Lambda::Function" and "S3Key" in each["Properties"]["Code"]
    ]

    # Two workers, one capture and three accounts.
    assert len(functions) == 6
    assert len(set(functions)) == 3
    assert all(key.startswith("asset-") and key.endswith(".zip") for key in functions)


def test_versions_are_masked(new_lab: Callable[..., Lab]) -> None:
    found = []
    for memory in (512, 1024):
        lab = new_lab()
        worker = lab.pipeline(worker=lab.python_worker(memory_size=memory)).worker
        assert isinstance(worker, lambda_.Function)
        cdk.CfnOutput(lab.stack, "Version", value=worker.current_version.function_arn)
        found.append({key for key in masked_template(lab.stack)["Resources"] if "CurrentVersion" in key})

    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_a_masked_template_shows_definitions_to_read(lab: Lab) -> None:
    concurrency = lab.number_parameter("Concurrency").value_as_number
    lab.pipeline(max_concurrency=concurrency)
    (machine,) = [
        each
        for each in masked_template(lab.stack)["Resources"].values()
        if each["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    definition = machine["Properties"]["DefinitionString"]

    assert definition["States"]["P map"]["MaxConcurrency"] == "${Concurrency}"
    process = definition["States"]["P map"]["ItemProcessor"]["States"]["P process"]
    assert process["Arguments"]["FunctionName"] == "${Function76856677.Arn}"
    assert process["Resource"] == "arn:${AWS::Partition}:states:::lambda:invoke"


def test_a_template_is_left_as_it_is(lab: Lab) -> None:
    lab.pipeline(worker=lab.python_worker())
    before = json.dumps(lab.template())
    masked(lab.template())

    assert json.dumps(lab.template()) == before


def test_definitions_of_a_template_are_valid(lab: Lab) -> None:
    lab.pipeline(max_concurrency=lab.number_parameter("Concurrency").value_as_number)
    lab.pipeline("Second", batching=Batching(max_items=5))
    found = definitions(lab.template())

    assert set(found) == set(lab.resources("AWS::StepFunctions::StateMachine"))
    assert [each["StartAt"] for each in found.values()] == ["P find items", "Second find items"]
    # A number that is known only at deployment stays a number.
    assert found["PStateMachineD7DE3D71"]["States"]["P map"]["MaxConcurrency"] == 0


def test_a_template_without_state_machines_has_no_definitions() -> None:
    assert definitions({}) == {}
    assert masked({"Outputs": {"A": {"Value": 1}}}) == {"Outputs": {"A": {"Value": 1}}}


@pytest.mark.parametrize(
    "definition",
    [
        {"Ref": "Parameter"},
        {"Fn::Sub": "{}"},
        None,
        "[]",
        "{",
        {"Fn::Join": ["", ['{"a":', {"Ref": "A", "B": 1}, "}"]]},
    ],
    ids=["reference", "sub", "none", "list", "broken", "no-function"],
)
def test_fails_when_a_definition_is_not_in_the_template(definition: Any) -> None:
    template = {
        "Resources": {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": definition}}}
    }
    with pytest.raises(ValueError, match=r"definition must be|Expecting"):
        definitions(template)


def test_fails_when_the_app_cannot_be_synthesized(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=Worker.states(lambda scope: sfn.Pass(scope, "Work")))
    machine = pipeline.state_machine.node.default_child
    assert isinstance(machine, sfn.CfnStateMachine)
    machine.definition_string = "{}"
    with pytest.raises(RuntimeError, match="definition"):
        masked_template(lab.stack)


TEXTS = st.text(max_size=6)


@given(
    values=st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.none(), st.lists(TEXTS, max_size=2)), max_size=4)
)
def test_a_definition_in_pieces_is_read_as_it_was(values: dict[str, Any]) -> None:
    text = json.dumps({"States": {}, "all": values, "number": 0, "text": "MARK"})
    before, after = text.split("MARK")
    start, end = before.rsplit("0", 1)
    pieces = [start, {"Ref": "Number"}, end, {"Fn::GetAtt": ["Function", "Arn"]}, after]

    assert parse({"Fn::Join": ["", pieces]}) == {"States": {}, "all": values, "number": 0, "text": "${Function.Arn}"}
    named = parse({"Fn::Join": ["", pieces]}, name_numbers=True)
    assert named == {"States": {}, "all": values, "number": "${Number}", "text": "${Function.Arn}"}
