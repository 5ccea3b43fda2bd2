"""A pipeline in another app: by its attributes, or by a parameter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Template

from cdk_distributed_map import Accounting, Combiner, DistributedMapPipeline, ImportedPipeline

if TYPE_CHECKING:
    from tests.construct.lab import Lab

ARN = "arn:aws-cn:states:cn-north-1:123456789012:stateMachine:Squares"
NAME = "/pipelines/squares"
GRANTS = ("grant_start_execution", "grant_put_items", "grant_read_results", "grant_operate")
RUN_METRICS = ("started", "succeeded", "failed", "timed_out", "aborted")
ITEM_METRICS = ("captured", "succeeded", "failed", "unprocessed", "pending", "missing", "recovered", "duplicated")


@pytest.fixture
def other() -> cdk.Stack:
    """The stack of another app."""
    return cdk.Stack(cdk.App(analytics_reporting=False), "Other")


def imported(stack: cdk.Stack, **options: Any) -> ImportedPipeline:
    given = {"state_machine_arn": ARN, "payload_bucket": "payload", **options}
    return DistributedMapPipeline.from_attributes(stack, "Squares", **given)


def grant_all(pipeline: DistributedMapPipeline | ImportedPipeline, stack: cdk.Stack) -> None:
    role = iam.Role(stack, "Operator", assumed_by=iam.AccountRootPrincipal())
    for grant in GRANTS:
        getattr(pipeline, grant)(role).assert_success()


def allowed(stack: cdk.Stack) -> dict[str, set[str]]:
    """The resources that the operator's policy names, as texts, by action."""
    found: dict[str, set[str]] = {}
    (policy,) = (
        policy
        for name, policy in Template.from_stack(stack).find_resources("AWS::IAM::Policy").items()
        if name.startswith("OperatorDefaultPolicy")
    )
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            texts = resources if isinstance(resources, list) else [resources]
            found.setdefault(action, set()).update(json.dumps(each) for each in texts)
    return found


def test_an_imported_pipeline_makes_no_resources_and_has_its_l2s(other: cdk.Stack) -> None:
    bucket = s3.Bucket.from_bucket_name(other, "Payload", "payload")
    pipeline = imported(other, payload_bucket=bucket)

    assert isinstance(pipeline, ImportedPipeline)
    assert pipeline.payload_bucket is bucket
    assert pipeline.results_bucket is bucket
    assert pipeline.state_machine.state_machine_arn == ARN
    assert repr(pipeline) == "<ImportedPipeline 'Other/Squares'>"
    assert "Resources" not in Template.from_stack(other).to_json()


def test_an_imported_pipeline_grants_what_the_pipeline_itself_does(lab: Lab, other: cdk.Stack) -> None:
    made = lab.pipeline(combine=Combiner.function(lab.function("Combine")))
    grant_all(made, lab.stack)
    grant_all(
        imported(
            other,
            payload_prefix="squares/",
            results_bucket="results",
            combine=lambda_.Function.from_function_name(other, "Combine", "combine"),
        ),
        other,
    )
    found = allowed(other)

    assert found.keys() == allowed(lab.stack).keys()
    start = "arn:aws-cn:states:cn-north-1:123456789012"
    assert found["states:StartExecution"] == {f'"{ARN}"'}
    # In the Region and the partition of the state machine, not in those of the stack; of all its maps.
    assert found["states:RedriveExecution"] == {f'"{start}:execution:Squares:*"'}
    assert found["states:UpdateMapRun"] == {f'"{start}:mapRun:Squares/*:*"'}
    assert f'"{start}:express:Squares/*:*"' in found["states:DescribeExecution"]
    assert {text.rpartition(":s3:::")[2] for text in found["s3:PutObject"]} == {
        'payload/squares/runs/*/items.jsonl"]]}',
        'payload/squares/items/*"]]}',
    }
    assert {text.rpartition(":s3:::")[2] for text in found["s3:ListBucket"]} == {'payload"]]}', 'results"]]}'}
    (function,) = found["lambda:InvokeFunction"]
    assert function.endswith(':function:combine"]]}')


def test_names_of_buckets_stand_for_buckets_with_the_key_of_the_pipeline(other: cdk.Stack) -> None:
    key = kms.Key.from_key_arn(other, "Key", "arn:aws:kms:us-east-1:123456789012:key/1234abcd")
    grant_all(imported(other, encryption_key=key), other)
    found = allowed(other)

    assert found["kms:Decrypt"] == found["kms:GenerateDataKey"] == {'"arn:aws:kms:us-east-1:123456789012:key/1234abcd"'}


def test_an_imported_pipeline_has_the_metrics_of_its_runs_and_items(lab: Lab, other: cdk.Stack) -> None:
    made = lab.pipeline()
    pipeline = imported(other, metrics_name="Stack/P")
    for name in RUN_METRICS:
        metric = getattr(pipeline, f"metric_{name}")(period=cdk.Duration.hours(1))
        assert other.resolve(metric.dimensions) == {"StateMachineArn": ARN}
        assert metric.period.to_hours() == 1
        assert metric.metric_name == getattr(made, f"metric_{name}")().metric_name
    for own, found in (
        (getattr(made, f"metric_{name}")(), getattr(pipeline, f"metric_{name}")())
        for name in [*(f"items_{each}" for each in ITEM_METRICS), "rounds"]
    ):
        assert found.dimensions == own.dimensions == {"Pipeline": "Stack/P"}
        assert (found.namespace, found.metric_name) == (own.namespace, own.metric_name)


def test_fails_when_metrics_of_items_are_asked_for_without_their_name(other: cdk.Stack) -> None:
    with pytest.raises(ValueError, match=r"'Other/Squares' has no metrics of items here: give metrics_name="):
        imported(other).metric_items_failed()


def test_none_is_the_default_of_each_attribute() -> None:
    optional = ("payload_prefix", "results_bucket", "combine", "metrics_name", "encryption_key")
    found = []
    for given in ({}, dict.fromkeys(optional)):
        stack = cdk.Stack(cdk.App(analytics_reporting=False), "Other")
        grant_all(imported(stack, **given), stack)
        found.append(Template.from_stack(stack).to_json())

    assert found[0] == found[1]


def test_attributes_may_be_known_at_deployment_alone(other: cdk.Stack) -> None:
    values = {name: cdk.CfnParameter(other, name).value_as_string for name in ("Machine", "Bucket", "Prefix", "Name")}
    pipeline = imported(
        other,
        state_machine_arn=values["Machine"],
        payload_bucket=values["Bucket"],
        payload_prefix=values["Prefix"],
        metrics_name=values["Name"],
    )
    grant_all(pipeline, other)
    found = allowed(other)

    assert found["states:StartExecution"] == {'{"Ref": "Machine"}'}
    (redriven,) = found["states:RedriveExecution"]
    assert '{"Fn::Select": [3, {"Fn::Split": [":", {"Ref": "Machine"}]}]}' in redriven
    assert any('{"Ref": "Prefix"}, "runs/*/items.jsonl"' in text for text in found["s3:PutObject"])
    assert other.resolve(pipeline.metric_items_failed().dimensions) == {"Pipeline": {"Ref": "Name"}}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"state_machine_arn": "Squares"}, ValueError, r"state_machine_arn must be that of a state machine.*'Squares'"),
        ({"state_machine_arn": f"{ARN}:live"}, ValueError, "without a version or an alias"),
        ({"state_machine_arn": 5}, TypeError, r"state_machine_arn must be a string, got 5"),
        ({"payload_prefix": "squares"}, ValueError, "payload_prefix must end in a slash"),
        ({"payload_prefix": "a*/"}, ValueError, r"payload_prefix must not hold '\*'"),
        ({"payload_bucket": 5}, TypeError, "payload_bucket must be a bucket or a string, got 5"),
        ({"combine": "combine"}, TypeError, "combine must be a function, got 'combine'"),
    ],
    ids=["name", "alias", "number", "prefix", "pattern", "bucket", "combine"],
)
def test_fails_when_an_attribute_cannot_be_one(
    other: cdk.Stack, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        imported(other, **options)


@pytest.mark.parametrize("combines", [True, False], ids=["combine", "no-combine"])
def test_a_parameter_carries_a_pipeline_to_another_app(lab: Lab, other: cdk.Stack, *, combines: bool) -> None:
    combine = Combiner.function(lab.function("Combine")) if combines else None
    made = lab.pipeline(payload_prefix="squares/", combine=combine)
    made.export_to_parameter(NAME)
    (parameter,) = lab.resources("AWS::SSM::Parameter").values()
    assert parameter["Properties"]["Name"] == NAME
    joined = parameter["Properties"]["Value"]["Fn::Join"][1]
    fields = "".join(each if isinstance(each, str) else f"<{next(iter(each.values()))}>" for each in joined).split("|")
    machine, bucket = fields[:2]
    function = "<['Combine" if combines else machine
    assert machine.startswith("<PStateMachine")
    assert bucket.startswith("<PPayloadBucket")
    assert fields[2:4] == ["squares/", bucket]
    assert fields[4].startswith(function)
    assert fields[5] == "Stack/P"

    pipeline = DistributedMapPipeline.from_parameter(other, "Squares", NAME)
    grant_all(pipeline, other)
    template = Template.from_stack(other).to_json()
    ((name, read),) = ((key, each) for key, each in template["Parameters"].items() if each.get("Default") == NAME)
    assert read["Type"] == "AWS::SSM::Parameter::Value<String>"
    found = allowed(other)

    def field(at: int) -> str:
        return json.dumps({"Fn::Select": [at, {"Fn::Split": ["|", {"Ref": name}]}]})

    assert found["states:StartExecution"] == {field(0)}
    assert all(field(1) in text and field(2) in text for text in found["s3:PutObject"])
    assert found["lambda:InvokeFunction"] == {field(4)}
    assert json.dumps(other.resolve(pipeline.metric_items_failed().dimensions)) == f'{{"Pipeline": {field(5)}}}'


def test_a_parameter_comes_with_the_key_that_is_given(other: cdk.Stack) -> None:
    key = kms.Key.from_key_arn(other, "Key", "arn:aws:kms:us-east-1:123456789012:key/1234abcd")
    pipeline = DistributedMapPipeline.from_parameter(other, "Squares", NAME, encryption_key=key)
    grant_all(pipeline, other)

    assert allowed(other)["kms:Decrypt"] == {'"arn:aws:kms:us-east-1:123456789012:key/1234abcd"'}


def test_a_pipeline_may_be_exported_twice_and_without_an_account(lab: Lab) -> None:
    pipeline = lab.pipeline(accounting=Accounting.none())
    pipeline.export_to_parameter(NAME, id=None)
    pipeline.export_to_parameter("squares", id="Second")

    names = {each["Properties"]["Name"] for each in lab.resources("AWS::SSM::Parameter").values()}
    assert names == {NAME, "squares"}


@pytest.mark.parametrize("name", ["pipelines/squares", "/pipelines/", "with space", "", "/a//b", "{{resolve:ssm:a}}"])
def test_fails_when_no_parameter_can_have_the_name(lab: Lab, other: cdk.Stack, name: str) -> None:
    with pytest.raises(ValueError, match="parameter_name must be of letters, digits"):
        DistributedMapPipeline.from_parameter(other, "Squares", name)
    with pytest.raises(ValueError, match="give one such as '/pipelines/squares'"):
        lab.pipeline().export_to_parameter(name)


def test_fails_when_the_name_of_the_parameter_is_known_at_deployment_alone(lab: Lab, other: cdk.Stack) -> None:
    name = cdk.CfnParameter(other, "Name").value_as_string
    with pytest.raises(ValueError, match=r"known when the app is synthesized.*write it out in both apps"):
        DistributedMapPipeline.from_parameter(other, "Squares", name)
    with pytest.raises(ValueError, match="must be known when the app is synthesized"):
        lab.pipeline().export_to_parameter(lab.text_parameter("Name").value_as_string)
    with pytest.raises(TypeError, match="parameter_name must be a string, got 5"):
        DistributedMapPipeline.from_parameter(other, "Squares", 5)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("combines", [True, False], ids=["combine", "no-combine"])
def test_operators_may_call_the_combine_function_alone(lab: Lab, *, combines: bool) -> None:
    combine = Combiner.function(lab.function("Combine")) if combines else None
    grant_all(lab.pipeline(combine=combine), lab.stack)
    called = allowed(lab.stack).get("lambda:InvokeFunction", set())

    assert len(called) == int(combines)
    assert all('"Fn::GetAtt": ["Combine' in text for text in called)
