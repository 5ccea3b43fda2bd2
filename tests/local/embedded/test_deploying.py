"""Deploying assemblies to a real CloudFormation API on loopback."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cdk_distributed_map.local.embedded.assembly import AssemblyError
from cdk_distributed_map.local.embedded.errors import DeployError
from cdk_distributed_map.local.server import LocalAws
from tests.local.assemblies import function

QUEUE = {"Type": "AWS::SQS::Queue"}


def test_outputs_are_returned_and_progress_is_told(local: LocalAws, assembly: Any) -> None:
    assembly.stack("Told", {"Queue": QUEUE}, Outputs={"Url": {"Value": {"Ref": "Queue"}}})
    lines: list[str] = []
    outputs = local.deploy(assembly.write(), progress=lines.append)
    assert local.client("sqs").get_queue_attributes(QueueUrl=outputs["Told"]["Url"])
    assert "Told: create complete: AWS::SQS::Queue Queue" in lines
    assert re.fullmatch(r"Told: create complete in \d+\.\d s", lines[-1])


def test_deploying_again_changes_nothing_and_then_what_has_changed(local: LocalAws, assembly: Any) -> None:
    folder = assembly.stack("Again", {"Queue": QUEUE}).write()
    local.deploy(folder)
    lines: list[str] = []
    local.deploy(folder, progress=lines.append)
    assert lines == ["Again: nothing to change"]
    assembly.stack("Again", {"Queue": QUEUE, "Other": QUEUE})
    local.deploy(assembly.write(), progress=lines.append)
    assert "Again: update complete: AWS::SQS::Queue Other" in lines


def test_a_reservation_leaves_a_hundred_for_other_functions(local: LocalAws, assembly: Any) -> None:
    def deploy(reserved: int) -> None:
        again = type(assembly)(assembly.folder)
        local.deploy(again.stack("Reserving", {"F": function("echo", ReservedConcurrentExecutions=reserved)}).write())

    functions = local.client("lambda")
    deploy(10)
    left = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] - 100 + 10
    deploy(left)
    with pytest.raises(DeployError) as caught:
        deploy(left + 1)

    assert (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100]."
    ) in str(caught.value)
    assert f"reserve at most {left}" in str(caught.value)
    stack = local.client("cloudformation").describe_stack_resources(StackName="Reserving")["StackResources"]
    name = next(each["PhysicalResourceId"] for each in stack if each["LogicalResourceId"] == "F")
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="below its minimum value"):
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=left + 1)
    assert functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == left
    deploy(1)


def test_fails_when_a_new_function_reserves_all_there_is(local: LocalAws, assembly: Any) -> None:
    resources = {"F": function("echo", FunctionName="takes-it-all", ReservedConcurrentExecutions=1_000)}
    with pytest.raises(DeployError, match=r"below its minimum value of \[100\]"):
        local.deploy(assembly.stack("TakesAll", resources).write())
    functions = local.client("lambda")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName="takes-it-all")


def test_chosen_stacks_bring_those_they_depend_on(local: LocalAws, assembly: Any) -> None:
    assembly.stack("Base", {"Queue": QUEUE}).stack("Above", {"Queue": QUEUE}, after=("Base",)).stack(
        "Beside", {"Queue": QUEUE}
    )
    assert set(local.deploy(assembly.write(), "Abo*")) == {"Base", "Above"}


def test_stages_are_deployed(local: LocalAws, assembly: Any) -> None:
    assembly.nested("Stage").stack("InStage", {"Queue": QUEUE}).write()
    assert set(local.deploy(assembly.write())) == {"InStage"}


# The embedded AWS refuses little; a layer that isn't there is refused.
REFUSED = {
    "Bad": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": "none", "S3Key": "none"},
            "Runtime": "python3.13",
            "Handler": "app.handler",
            "Role": "arn:aws:iam::000000000000:role/none",
            "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:none:1"],
        },
    }
}


def test_fails_when_a_resource_is_refused(local: LocalAws, assembly: Any) -> None:
    with pytest.raises(DeployError, match=r"the stack Refused could not be deployed:\n  Bad \(AWS::Lambda::Function\)"):
        local.deploy(assembly.stack("Refused", REFUSED).write())


def test_a_stack_that_failed_can_be_deployed_once_it_is_right(local: LocalAws, assembly: Any) -> None:
    with pytest.raises(DeployError):
        local.deploy(assembly.stack("Mended", REFUSED).write())
    assembly.stack("Mended", {"Queue": QUEUE})
    assert local.deploy(assembly.write()) == {"Mended": {}}


def test_fails_when_there_is_no_such_stack(local: LocalAws, assembly: Any) -> None:
    with pytest.raises(AssemblyError, match="has no stack 'Nope'; it has A, B"):
        local.deploy(assembly.stack("A", {}).stack("B", {}).write(), "Nope")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("aws://111122223333/unknown-region", "account 111122223333, but this is 000000000000"),
        ("aws://unknown-account/eu-west-1", "region eu-west-1, but this is us-east-1"),
    ],
    ids=["account", "region"],
)
def test_fails_when_a_stack_is_for_somewhere_else(local: LocalAws, assembly: Any, environment: str, words: str) -> None:
    with pytest.raises(AssemblyError, match=words):
        local.deploy(assembly.stack("Elsewhere", {"Queue": QUEUE}, environment=environment).write())


def test_another_account_and_region_can_be_chosen(assembly: Any) -> None:
    assembly.stack(
        "There",
        {"Queue": QUEUE},
        environment="aws://111122223333/eu-west-1",
        Outputs={"Arn": {"Value": {"Fn::GetAtt": ["Queue", "Arn"]}}},
    )
    with LocalAws(account="111122223333", region="eu-west-1") as aws:
        outputs = aws.deploy(assembly.write())
    assert outputs["There"]["Arn"].startswith("arn:aws:sqs:eu-west-1:111122223333:")
