"""What the state machine's role may do, exactly: every action, resource and condition."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks

from cdk_distributed_map import Accounting, Capture, Combiner, DistributedMapPipeline, ItemSource, Results, Worker

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Allowed = Callable[["Lab", Any], set[tuple[str, str, str]]]

PAYLOAD = "PPayloadBucket1048A6C5"


def on(resource: str, *actions: str, condition: str = "") -> set[tuple[str, str, str]]:
    return {(action, resource, condition) for action in actions}


WRITER = ("s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")
LOGS = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)
EXECUTION = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${Name}"
DATA = "arn:${AWS::Partition}:s3:::data"


def always(*labels: str) -> set[tuple[str, str, str]]:
    """What every pipeline's role has, that of invoking the account function included."""
    children = {("states:RedriveExecution", f"{EXECUTION}/{label}:*", "") for label in labels}
    return {
        *on("*", *LOGS),
        *invoke("PAccount6610957E"),
        *on(f"${{{PAYLOAD}.Arn}}/runs/*/results/*", *WRITER),
        *on(f"${{{PAYLOAD}.Arn}}/runs/*", "s3:GetObject"),
        *on(f"${{{PAYLOAD}.Arn}}/items/*", "s3:GetObject"),
        *on("${PStateMachineD7DE3D71}", "states:StartExecution"),
        *on(f"{EXECUTION}:*", "states:DescribeExecution", "states:StopExecution"),
        *children,
    }


def invoke(*functions: str) -> set[tuple[str, str, str]]:
    return {("lambda:InvokeFunction", f"${{{function}.Arn}}", "") for function in functions}


def listing(prefix: str | None) -> set[tuple[str, str, str]]:
    condition = "" if prefix is None else json.dumps({"StringLike": {"s3:prefix": [f"{prefix}*"]}})
    return on(DATA, "s3:ListBucket", condition=condition)


def read(*patterns: str, version: bool = False) -> set[tuple[str, str, str]]:
    actions = ["s3:GetObject", "s3:GetObjectVersion"] if version else ["s3:GetObject"]
    return {entry for pattern in patterns for entry in on(f"arn:${{AWS::Partition}}:s3:::{pattern}", *actions)}


SMALLEST: dict[str, set[tuple[str, str, str]]] = {
    "s3-objects": listing(None),
    "s3-objects-json": listing(None) | read("data/*"),
    "json": read("data/in/items.json"),
    "json-lines": read("data/in/items.jsonl"),
    "csv": read("data/in/items.csv"),
    "parquet": read("data/in/items.parquet"),
    "inventory": read("data/inv/data/all/2026-09-01T01-00Z/manifest.json", "data/inv/data/all/data/*"),
    "athena-manifest": read("data/athena/q-manifest.csv", "data/unload/*"),
    "from-execution-input": read("data/*"),
    "state-array": set(),
}
FULL: dict[str, set[tuple[str, str, str]]] = {
    "s3-objects": listing("in/"),
    "s3-objects-csv": listing("in/") | read("data/in/*"),
    "json": read("data/in/items.json", version=True),
    "json-lines": read("data/in/items.jsonl", version=True),
    "csv": read("data/in/items.csv", version=True),
    "parquet": read("data/in/items.parquet"),
    "inventory": read("data/inv/data/all/2026-09-01T01-00Z/manifest.json", "reports/reports/*"),
    "athena-manifest": read("data/athena/q-manifest.csv", "unloads/unload/*"),
    "from-execution-input": read("data/in/*", "more/in/*"),
}


@pytest.mark.parametrize(
    ("size", "kind"),
    [*(("smallest", kind) for kind in SMALLEST), *(("full", kind) for kind in FULL)],
    ids=str,
)
def test_role_of_a_source(lab: Lab, allowed: Allowed, sources: dict[str, Any], size: str, kind: str) -> None:
    pipeline = lab.pipeline(items=sources[size][kind](lab))
    wanted = (SMALLEST if size == "smallest" else FULL)[kind]

    assert allowed(lab, pipeline.role) == always("P", "P-ItemFile") | invoke("Function76856677") | wanted


@pytest.mark.parametrize("kind", ["captured-ranges", "captured-listing", "captured-python", "captured-function"])
def test_role_of_a_captured_source_may_only_invoke_the_capture(
    lab: Lab, allowed: Allowed, sources: dict[str, Any], kind: str
) -> None:
    pipeline = lab.pipeline(items=sources["smallest"][kind](lab))
    capture = lab.stack.get_logical_id(pipeline.capture.node.default_child)  # type: ignore[union-attr, arg-type]  # a CfnFunction

    assert allowed(lab, pipeline.role) == always("P") | invoke("Function76856677", capture)


def test_role_of_a_python_worker(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(worker=lab.python_worker())
    worker = lab.stack.get_logical_id(pipeline.worker.node.default_child)  # type: ignore[arg-type]  # a CfnFunction

    assert allowed(lab, pipeline.role) == always("P", "P-ItemFile") | invoke(worker)


@pytest.mark.parametrize("kind", ["version", "alias"])
def test_role_of_a_version_or_alias_may_invoke_it_alone(lab: Lab, allowed: Allowed, kind: str) -> None:
    version = lambda_.Version(lab.stack, "V1", lambda_=lab.function())
    alias = lambda_.Alias(lab.stack, "Live", alias_name="live", version=version)
    pipeline = lab.pipeline(
        worker=Worker.function(version if kind == "version" else alias), accounting=Accounting.none()
    )

    resources = {resource for action, resource, _ in allowed(lab, pipeline.role) if action.startswith("lambda:")}
    assert len(resources) == 1
    assert resources < {"${V1A67E2D69}", "${LiveD07A44CE}", *resources}
    assert "Function76856677.Arn" not in "".join(resources)


def test_role_of_states_has_what_the_states_need(lab: Lab, allowed: Allowed) -> None:
    def chain(scope: Any) -> sfn.IChainable:
        put = tasks.CallAwsService(
            scope,
            "Put",
            service="dynamodb",
            action="putItem",
            iam_resources=["arn:aws:dynamodb:eu-west-1:111122223333:table/orders"],
            parameters={"TableName": "orders"},
        )
        return put.add_catch(sfn.Pass(scope, "Caught"))

    pipeline = lab.pipeline(worker=Worker.states(chain))

    assert allowed(lab, pipeline.role) == always("P", "P-ItemFile") | on(
        "arn:aws:dynamodb:eu-west-1:111122223333:table/orders", "dynamodb:putItem"
    )


def test_role_of_nested_maps(lab: Lab, allowed: Allowed) -> None:
    nested = Worker.nested(
        items=ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
        worker=Worker.function(lab.function()),
        combine=Combiner.function(lab.function("CombineFunction")),
        label="Inner",
    )
    pipeline = lab.pipeline(worker=nested)
    extra = {
        *invoke("Function76856677", "CaptureFunction1C7BF9A0", "CombineFunction22DE42A8"),
        *on(f"${{{PAYLOAD}.Arn}}/runs/*/nested/*/items.jsonl", "s3:GetObject"),
    }
    found = allowed(lab, pipeline.role)
    functions = {entry for entry in found if entry[0] == "lambda:InvokeFunction"}

    assert len(functions) == 4
    assert found - functions == (
        {entry for entry in always("P", "P-ItemFile", "Inner", "Inner-ItemFile") if entry not in functions}
        | {entry for entry in extra if entry[0] != "lambda:InvokeFunction"}
    )


def test_role_of_the_users_machine_may_redrive_every_map_of_a_fragment(
    lab: Lab, allowed: Allowed, workers: dict[str, Any]
) -> None:
    innermost = Worker.nested(items=ItemSource.state_array("$.value"), worker=Worker.function(lab.function()))
    pipeline = lab.pipeline(worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=innermost))
    machine = sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(pipeline.fragment))
    redriven = {resource for action, resource, _ in allowed(lab, machine.role) if action == "states:RedriveExecution"}

    assert len(pipeline.labels) == 6
    assert redriven == {f"{EXECUTION}/{label}:*" for label in pipeline.labels}


def test_role_writes_results_to_their_own_bucket(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(results=Results(bucket=lab.bucket("Results")), payload_prefix="team/")
    written = {resource for action, resource, _ in allowed(lab, pipeline.role) if action == "s3:PutObject"}

    assert written == {"arn:${AWS::Partition}:s3:::results/team/runs/*/results/*"}


def test_a_role_may_write_traces_where_tracing_is_on(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(tracing=True)
    extra = allowed(lab, pipeline.role) - always("P", "P-ItemFile") - invoke("Function76856677")

    assert extra == on(
        "*", "xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"
    )


def test_it_is_said_what_a_role_lacks_for_the_states_after_a_failure(lab: Lab) -> None:
    role = iam.Role.from_role_arn(lab.stack, "R", "arn:aws:iam::111122223333:role/r", mutable=False)
    lab.pipeline(role=role, on_failure=tasks.LambdaInvoke(lab.stack, "Tell", lambda_function=lab.function("Told")))

    (text,) = lab.warnings("distmap:RoleLacksPermissions")
    assert '"Told' in text


def test_role_of_the_users_machine_gets_what_the_fragment_needs(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(items=ItemSource.json(lab.bucket(), "in/items.json"))
    machine = sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(pipeline.fragment))
    found = allowed(lab, machine.role)

    assert read("data/in/items.json") | invoke("Function76856677") < found
    assert on(f"${{{PAYLOAD}.Arn}}/runs/*/results/*", *WRITER) < found
    assert {entry for entry in found if entry[0] == "states:RedriveExecution"} == {
        ("states:RedriveExecution", f"{EXECUTION}/{label}:*", "") for label in ("P", "P-ItemFile")
    }


# -- trust


def test_trust_names_the_account_and_no_state_machine(lab: Lab) -> None:
    pipeline = lab.pipeline()
    role = lab.resources("AWS::IAM::Role")[lab.role_id(pipeline.role)]["Properties"]

    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Action": "sts:AssumeRole",
            "Effect": "Allow",
            "Principal": {"Service": "states.amazonaws.com"},
            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        }
    ]
    assert "ManagedPolicyArns" not in role


# -- a given role


def test_a_given_role_gets_everything(lab: Lab, allowed: Allowed) -> None:
    role = iam.Role(lab.stack, "Given", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
    pipeline = lab.pipeline(role=role)

    assert pipeline.role is role
    assert allowed(lab, role) == always("P", "P-ItemFile") | invoke("Function76856677")
    assert lab.warnings("distmap:RoleLacksPermissions") == []


@pytest.mark.parametrize("kind", ["imported", "frozen"])
def test_a_role_that_cannot_be_changed_is_told_all_it_lacks(
    new_lab: Callable[[], Lab], workers: dict[str, Any], allowed: Allowed, singled: Callable[[Any], Any], kind: str
) -> None:
    def pipeline(lab: Lab, role: iam.IRole | None) -> DistributedMapPipeline:
        return lab.pipeline(
            items=ItemSource.json(lab.bucket(), "in/items.json"),
            worker=workers["full"]["nested"](lab),
            role=role,
            tracing=True,
            encryption_key=kms.Key(lab.stack, "Key"),
        )

    lab, twin = new_lab(), new_lab()
    role = iam.Role.from_role_arn(lab.stack, "Given", "arn:aws:iam::111122223333:role/given", mutable=False)
    if kind == "frozen":
        own = iam.Role(lab.stack, "Own", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        role = own.without_policy_updates()
    pipeline(lab, role)
    (text,) = lab.warnings("distmap:RoleLacksPermissions")
    told = singled(json.loads(text[text.index("[{") : text.rindex("]", 0, text.index(" [ack")) + 1]))

    # The name of the state machine is written in two ways for the same value.
    name = "${PStateMachineD7DE3D71.Name}"
    told = {(action, resource.replace(name, "${Name}"), condition) for action, resource, condition in told}
    got = {
        (action, resource.replace(name, "${Name}"), condition)
        for action, resource, condition in allowed(twin, pipeline(twin, None).role)
    }
    assert told == got


def test_a_user_cannot_be_surprised_by_another_partition(lab: Lab, sources: dict[str, Any], source_kind: str) -> None:
    lab.pipeline(items=sources["full"][source_kind](lab), worker=lab.python_worker())

    assert "arn:aws:" not in json.dumps(lab.template())
