"""Pipelines by the names people know them by, and what their deployed definitions say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdk_distributed_map.runs import AmbiguousNameError, Client, InputError, NotFoundError
from cdk_distributed_map.runs.find.definition import read_definition
from cdk_distributed_map.runs.find.pipelines import logical_id


def test_logical_id_is_the_one_the_cdk_makes() -> None:
    import aws_cdk as cdk
    from aws_cdk import aws_stepfunctions as sfn
    from constructs import Construct

    stack = cdk.Stack(cdk.App(), "Stack")
    for path in ("Squares", "Team/Squares", "Team/Team", "With-dash_and.dot", "Team/Default"):
        scope: Construct = stack
        for part in path.split("/"):
            scope = scope.node.try_find_child(part) or Construct(scope, part)  # type: ignore[assignment] # constructs
        machine = sfn.StateMachine(
            scope, "StateMachine", definition_body=sfn.DefinitionBody.from_chainable(sfn.Pass(scope, "Pass"))
        )
        assert stack.get_logical_id(machine.node.default_child) == logical_id(path)  # type: ignore[arg-type] # an L1


@pytest.mark.parametrize(
    "name",
    [
        "Squares",
        "Stack/Squares",
        "SquaresStateMachineDAFB6C68-x7Yz",
        "arn:aws:states:us-east-1:123456789012:stateMachine:SquaresStateMachineDAFB6C68-x7Yz",
    ],
    ids=["construct", "stack and construct", "state machine", "ARN"],
)
def test_pipeline_is_found_by(name: str, client: Client, states: Any, definitions: dict[str, str]) -> None:
    logical = logical_id("Squares")
    for number in range(5):  # more than a page
        states.add_machine(f"Other{number}", "{}")
    physical = f"{logical}-x7Yz"
    arn = states.add_machine(physical, definitions["Squares"], stack="Stack", logical=logical)
    pipeline = client.pipeline(name.replace("SquaresStateMachineDAFB6C68", logical))
    assert pipeline.arn == arn
    assert pipeline.definition.source.label == "Squares"


def test_stack_with_a_single_pipeline_names_it(client: Client, states: Any, definitions: dict[str, str]) -> None:
    arn = states.add_machine("abc", definitions["Squares"], stack="Nightly", logical="AnythingStateMachine12345678")
    assert client.pipeline("Nightly").arn == arn


def test_fails_when_no_pipeline_has_the_name(client: Client, states: Any) -> None:
    states.add_machine("Billing", "{}")
    with pytest.raises(NotFoundError, match=r"no pipeline 'Squares'.*are: Billing\. Name it by 'Stack/Construct'"):
        client.pipeline("Squares")


def test_fails_when_two_pipelines_have_the_name(client: Client, states: Any) -> None:
    logical = logical_id("Squares")
    states.add_machine(f"{logical}-aaa", "{}")
    states.add_machine(f"{logical}-bbb", "{}")
    with pytest.raises(AmbiguousNameError, match=rf"2 pipelines are called 'Squares': {logical}-aaa, {logical}-bbb"):
        client.pipeline("Squares")


def test_stack_with_other_machines_beside_its_pipeline_names_that(client: Client, states: Any) -> None:
    arn = states.add_machine("abc", "{}", stack="Nightly", logical="AnythingStateMachine12345678")
    states.add_machine("def", "{}", stack="Nightly", logical="Billing12345678")
    assert client.pipeline("Nightly").arn == arn


def test_fails_when_a_stack_has_several_pipelines(client: Client, states: Any) -> None:
    for name in ("Cubes", "Squares"):
        states.add_machine(name.lower(), "{}", stack="Stack", logical=f"{name}StateMachine12345678")
    with pytest.raises(AmbiguousNameError, match=r"the stack 'Stack' has 2 .*: say which, as in 'Stack/Construct'"):
        client.pipeline("Stack")
    with pytest.raises(AmbiguousNameError):  # and no run is looked for
        client.run("Stack")
    assert states.calls["DescribeExecution"] == 0


@pytest.mark.parametrize("kind", ["stateMachine:Squares", "execution:Squares:first"], ids=["pipeline", "run"])
def test_fails_when_an_arn_is_of_another_region(kind: str, client: Client) -> None:
    with pytest.raises(InputError, match=r"is of eu-west-1, and not of us-east-1: give --region eu-west-1"):
        client.run(f"arn:aws:states:eu-west-1:123456789012:{kind}")


def test_fails_when_a_name_is_empty(client: Client, states: Any, definitions: dict[str, str]) -> None:
    arn = states.add_machine("Squares", definitions["Squares"])
    states.add_run(arn, "first")
    with pytest.raises(InputError, match="the run's name is empty"):
        client.run("Squares", "")
    with pytest.raises(InputError, match="the pipeline's name is empty"):
        client.run("")


def test_fails_when_the_name_of_a_construct_is_wrong_without_looking_for_a_run(client: Client, states: Any) -> None:
    states.add_machine("one", "{}", stack="Stack", logical="CubesStateMachine12345678")
    with pytest.raises(
        NotFoundError, match=r"no pipeline 'Squares'.*give the path of the construct below the stack\nsee"
    ):
        client.run("Stack/Squares")
    assert states.calls["DescribeExecution"] == 0


def test_fails_when_the_state_machine_is_an_express_one(client: Client, states: Any) -> None:
    arn = states.add_machine("Quick", "{}")
    states.machines[arn]["type"] = "EXPRESS"
    with pytest.raises(NotFoundError, match="'Quick' is an Express one, which can hold no pipeline"):
        _ = client.pipeline(arn).definition


def test_fails_when_the_stack_has_no_such_construct(client: Client, states: Any) -> None:
    states.add_machine("one", "{}", stack="Stack", logical="CubesStateMachine12345678")
    with pytest.raises(NotFoundError, match=r"no pipeline 'Squares'.*are CubesStateMachine12345678"):
        client.pipeline("Stack/Squares")
    with pytest.raises(NotFoundError, match="no state machine, or there is no such stack"):
        client.pipeline("Elsewhere/Squares")


def test_definition_tells_where_everything_is(definitions: dict[str, str]) -> None:
    squares = read_definition(definitions["Squares"], machine="m")
    assert squares.source is squares.item_file
    assert (squares.source.bucket, squares.source.runs_prefix) == ("payload", "runs/")
    assert squares.source.enveloped
    assert squares.source.batched
    assert not squares.source.selects
    assert (squares.source.transformation, squares.source.output_type) == ("NONE", "JSONL")
    listed = read_definition(definitions["Listed"], machine="m")
    assert (listed.source.label, listed.item_file.label) == ("Listed", "Listed-ItemFile")
    assert listed.source.payload_prefix == "team a/"
    assert listed.source.selects
    assert listed.item_file.selects
    assert listed.source.transformation == "COMPACT"
    outer = read_definition(definitions["Outer"], machine="m")
    assert (outer.source.nested, outer.item_file.nested) == (("Outer-Nested",), ("Outer-Nested-ItemFile",))
    assert not outer.source.batched


def test_fails_when_the_state_machine_holds_no_pipeline(client: Client, states: Any) -> None:
    arn = states.add_machine("Billing", '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}')
    with pytest.raises(NotFoundError, match="'Billing' has no map of a DistributedMapPipeline in it"):
        _ = client.pipeline(arn).definition


def test_distributed_maps_of_the_users_own_are_told_apart(definitions: dict[str, str]) -> None:
    foreign = {
        "Type": "Map",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED"},
            "StartAt": "P",
            "States": {"P": {"Type": "Pass"}},
        },
    }

    def added(graph: Any) -> Any:
        for state in list(graph["States"].values()):
            if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
                state["ItemProcessor"]["States"]["Theirs"] = foreign
            for branch in state.get("Branches", []):
                added(branch)
        return graph

    squares = read_definition(definitions["Squares"], machine="m")
    assert squares.item_file.foreign_maps == ()
    changed = read_definition(json.dumps(added(json.loads(definitions["Squares"]))), machine="m")
    assert changed.item_file.foreign_maps == ("Theirs",)
    outer = read_definition(definitions["Outer"], machine="m")
    assert outer.item_file.foreign_maps == ()
