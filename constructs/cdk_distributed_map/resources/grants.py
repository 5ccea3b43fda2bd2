"""Who may do what: the state machine's role, and the grants to others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from aws_cdk import ArnFormat, Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.permissions import states_arn
from cdk_distributed_map.settings import synthesis_warnings
from distmap import wire


def state_machine_role(scope: Construct) -> iam.Role:
    """Make the state machine's role, trusted for this account alone.

    The trust has ``aws:SourceAccount`` and no ``aws:SourceArn``: with the latter, tasks of Express children were
    seen to fail with "not authorized to assume the provided role", whatever ARN of the state machine it named.
    """
    return role_of(scope, "Role", "states.amazonaws.com")


def role_of(scope: Construct, id: str, service: str) -> iam.Role:
    """Make a role of a service, which it may assume for this account alone."""
    principal = iam.ServicePrincipal(service, conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}})
    return iam.Role(scope, id, assumed_by=principal)


def usable_role(scope: Construct, role: iam.IRole) -> iam.IRole:
    """Return a given role as one that takes the rights of this stack's state machine.

    The rights of a role of another stack would be part of that stack, which then depended on this one, and this one on
    the role. An import of it keeps them here.

    Raises:
        ValueError: Such a role has a path, which the import would take for its name.
    """
    if not isinstance(role, iam.Role) or Stack.of(role).node.path == Stack.of(scope).node.path:
        return role
    cfn_role = role.node.default_child
    if isinstance(cfn_role, iam.CfnRole) and cfn_role.path not in (None, "/"):
        raise ValueError(
            f"role {role.node.path!r} is in another stack and has the path {cfn_role.path!r}, which would be taken for "
            "its name there: make the role in the pipeline's stack, or leave its path out"
        )
    return iam.Role.from_role_arn(scope, "GivenRole", role.role_arn)


def trusting(role: iam.IRole) -> iam.IRole:
    """Return a given role whose trust isn't known to leave Step Functions out.

    Raises:
        ValueError: Step Functions can't assume it.
    """
    policy = role.assume_role_policy if isinstance(role, iam.Role) else None
    if policy is None:
        return role
    statements = Stack.of(role).resolve(policy.to_json()).get("Statement", [])
    principals = [statement.get("Principal") for statement in statements if statement.get("Effect", "Allow") == "Allow"]
    services = [
        service
        for principal in principals
        if isinstance(principal, dict)
        for service in _listed(principal.get("Service"))
    ]
    anybody = any(principal in ("*", {"AWS": "*"}) for principal in principals)
    # Step Functions has one name in every Region and partition; what isn't a text is known only at deployment.
    if any(not isinstance(service, str) or service.startswith("states.") for service in services) or anybody:
        return role
    trusted = ", ".join(services) or "no service"
    raise ValueError(
        f"role {role.node.path!r} trusts {trusted}, so Step Functions can't assume it: give it "
        "assumed_by=ServicePrincipal('states.amazonaws.com') before it is given to the pipeline, or leave role out"
    )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def allow_logs(scope: Construct, key: kms.IKey) -> None:
    """Let CloudWatch Logs use a key for the log groups of this account.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    """
    stack = Stack.of(scope)
    groups = stack.format_arn(
        service="logs", resource="log-group", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
    statement = iam.PolicyStatement(
        sid="DistmapLogs",
        # Unlike other services, Logs has the suffix of the partition in its name.
        principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.{Aws.URL_SUFFIX}")],
        actions=["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
        resources=["*"],
        conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
    )
    if key.add_to_resource_policy(statement).statement_added:
        return
    # The state machine's logs are delivered by a service of their own, which the L2 would let use the key.
    delivery = iam.PolicyStatement(
        principals=[iam.ServicePrincipal("delivery.logs.amazonaws.com")], actions=["kms:Decrypt*"], resources=["*"]
    )
    synthesis_warnings.warn(
        scope,
        synthesis_warnings.KEY_LACKS_PERMISSIONS,
        "the policy of the imported encryption_key can't be changed from here; log groups can't be made unless it has "
        f"these statements: {_rendered(scope, [statement, delivery])}",
    )


def grant_put_items(bucket: s3.IBucket, payload_prefix: str, grantee: iam.IGrantable) -> iam.Grant:
    """Let a principal write item files."""
    patterns = [
        permissions.runs(payload_prefix, wire.ITEMS_FILE),
        f"{payload_prefix}{wire.ITEM_FILES_FOLDER}/*",
    ]
    return permissions.add(grantee, permissions.write_objects(bucket, *patterns))


def grant_read_results(
    payload: s3.IBucket, results: s3.IBucket | None, payload_prefix: str, grantee: iam.IGrantable
) -> iam.Grant:
    """Let a principal read and list the files of runs and the item files that runs were started on."""
    kept_files = f"{payload_prefix}{wire.ITEM_FILES_FOLDER}/"
    runs = f"{payload_prefix}{wire.RUNS_FOLDER}/"
    statements = [
        *permissions.read_objects(payload, permissions.runs(payload_prefix), f"{kept_files}*"),
        *permissions.list_objects(payload, [runs, kept_files]),
    ]
    if results is not None:
        statements += permissions.read_objects(results, permissions.runs(payload_prefix))
        statements += permissions.list_objects(results, [runs])
    return permissions.add(grantee, statements)


def taker(
    scope: Construct,
    grantee: iam.IGrantable,
    *,
    roles: tuple[iam.IRole, iam.IRole],
    functions: Sequence[tuple[Construct, str, lambda_.IFunction]],
    flow: Construct,
    statements: Sequence[iam.PolicyStatement],
) -> iam.IGrantable:
    """Return what takes a grant to a principal: a policy of the pipeline's own, for the functions that it calls.

    See :func:`permissions.policy_for`; functions that the user's states call, and the state machine's own role, are in
    the same position.

    Args:
        scope: The pipeline.
        grantee: Who is granted something.
        roles: The state machine's role as it was given, and as the state machine has it: see :func:`usable_role`.
        functions: The pipeline's functions, each with the scope and the id that its rights are under.
        flow: The pipeline's states.
        statements: What these need of a role.
    """
    place = _place(grantee)
    if place is not None and place in map(_place, roles):
        return permissions.policy_of_role(scope, "Own", roles[1])
    for own_scope, name, function in functions:
        if place is not None and place == _place(function):
            return permissions.policy_for(own_scope, name, function)
    arn = getattr(grantee, "function_arn", None)
    if arn is None:
        return grantee
    stack = Stack.of(scope)
    calls = [statement for statement in statements if "lambda:InvokeFunction" in statement.actions]
    if stack.resolve(arn) not in stack.resolve([resource for call in calls for resource in call.resources]):
        return grantee
    return permissions.policy_for(flow, f"Calls{grantee.node.addr}", grantee)  # type: ignore[attr-defined, arg-type]  # it has a function's ARN


def _place(grantee: iam.IGrantable) -> str | None:
    node = getattr(grantee.grant_principal, "node", None)
    return None if node is None else str(node.path)


def grant_operate(
    machine_arn: str,
    arn: Callable[[str, str], str],
    labels: Sequence[str],
    grantee: iam.IGrantable,
    *,
    encryption_key: kms.IKey | None,
    combine_arn: str | None,
) -> iam.Grant:
    """Let a principal operate runs: each action on the ARN type that AWS checks for it.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html

    Args:
        machine_arn: ARN of the state machine.
        arn: Makes the ARN of a kind of resource whose name is the state machine's and what follows it.
        labels: Labels of the maps, or a pattern of them.
        grantee: Who is granted it.
        encryption_key: The state machine's key.
        combine_arn: ARN of the combine function.
    """
    map_runs = [arn("mapRun", f"/{label}:*") for label in labels]
    children = [arn("execution", f"/{label}:*") for label in labels]
    express = [arn("express", f"/{label}:*") for label in labels]
    statements = [
        iam.PolicyStatement(actions=["states:DescribeStateMachine", "states:ListExecutions"], resources=[machine_arn]),
        iam.PolicyStatement(
            actions=[
                "states:DescribeExecution",
                "states:DescribeStateMachineForExecution",
                "states:GetExecutionHistory",
                "states:ListMapRuns",
                "states:RedriveExecution",
                "states:StopExecution",
            ],
            resources=[arn("execution", ":*")],
        ),
        iam.PolicyStatement(
            actions=["states:DescribeMapRun", "states:UpdateMapRun", "states:ListExecutions"], resources=map_runs
        ),
        iam.PolicyStatement(
            # ListMapRuns of a child tells the maps inside it.
            actions=["states:DescribeExecution", "states:GetExecutionHistory", "states:ListMapRuns"],
            resources=children,
        ),
        iam.PolicyStatement(actions=["states:DescribeExecution"], resources=express),
    ]
    if encryption_key is not None:
        # Who describes a run reads its definition, input and history, all encrypted with the state machine's key.
        # https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
        context = {"kms:EncryptionContext:aws:states:stateMachineArn": machine_arn}
        statements.append(
            iam.PolicyStatement(
                actions=["kms:Decrypt"], resources=[encryption_key.key_arn], conditions={"StringEquals": context}
            )
        )
    if combine_arn is not None:
        statements.append(permissions.invoke(combine_arn))
    return permissions.add(grantee, statements)


def check_role(
    scope: Construct,
    *,
    statements: Sequence[iam.PolicyStatement],
    labels: Sequence[str],
    machine: sfn.StateMachine,
    encryption: Sequence[iam.PolicyStatement] = (),
    logging: bool = True,
    tracing: bool = False,
) -> None:
    """Say what a given role that can't be changed from here lacks."""
    if _takes_policies(machine):
        return
    needed = [*_required(scope, statements, machine, labels), *encryption]
    if logging:
        # CloudWatch Logs has no resource-level permissions for the delivery of logs.
        needed.append(iam.PolicyStatement(actions=LOG_DELIVERY_ACTIONS, resources=["*"]))
    if tracing:
        needed.append(iam.PolicyStatement(actions=TRACING_ACTIONS, resources=["*"]))
    synthesis_warnings.warn(
        scope,
        synthesis_warnings.ROLE_LACKS_PERMISSIONS,
        f"the given role can't be changed from here; runs fail unless it has these permissions: "
        f"{_rendered(scope, needed)}",
    )


def encryption_statements(
    scope: Construct, key: kms.IKey, *, machine_name: str, logging: bool
) -> list[iam.PolicyStatement]:
    """What a role needs of the key of its own state machine and log group.

    https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
    """
    machine = states_arn(scope, "stateMachine", machine_name)
    logs = Stack.of(scope).format_arn(service="logs", resource="*", arn_format=ArnFormat.NO_RESOURCE_NAME)
    own = iam.PolicyStatement(
        actions=["kms:Decrypt", "kms:GenerateDataKey"],
        resources=[key.key_arn],
        conditions={"StringEquals": {"kms:EncryptionContext:aws:states:stateMachineArn": machine}},
    )
    delivery = iam.PolicyStatement(
        actions=["kms:GenerateDataKey"],
        resources=[key.key_arn],
        conditions={"StringEquals": {"kms:EncryptionContext:SourceArn": logs}},
    )
    return [own, delivery] if logging else [own]


def _rendered(scope: Construct, statements: Sequence[iam.PolicyStatement]) -> str:
    """Return statements as JSON, for a warning."""
    document = iam.PolicyDocument(statements=[statement.copy() for statement in statements])
    return json.dumps(Stack.of(scope).resolve(document)["Statement"], sort_keys=True)


def _takes_policies(machine: sfn.StateMachine) -> bool:
    # An immutable role pretends to take every policy; only what was rendered tells.
    policy = machine.node.find_child("DistributedMapPolicy").node.default_child
    return isinstance(policy, iam.CfnPolicy) and bool(Stack.of(machine).resolve(policy.roles))


def _redrive(scope: Construct, machine: sfn.StateMachine, labels: Sequence[str]) -> iam.PolicyStatement:
    name = machine.state_machine_name
    arns = [states_arn(scope, "execution", f"{name}/{label}:*") for label in labels]
    return iam.PolicyStatement(actions=["states:RedriveExecution"], resources=arns)


def _required(
    scope: Construct, statements: Sequence[iam.PolicyStatement], machine: sfn.StateMachine, labels: Sequence[str]
) -> list[iam.PolicyStatement]:
    """Return everything the state machine's role needs."""
    name = machine.state_machine_name
    return [
        *statements,
        iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine.state_machine_arn]),
        iam.PolicyStatement(
            actions=["states:DescribeExecution", "states:StopExecution"],
            resources=[states_arn(scope, "execution", f"{name}:*")],
        ),
        _redrive(scope, machine, labels),
    ]


LOG_DELIVERY_ACTIONS = [
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
]
"""What a state machine with logging needs: https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html."""

TRACING_ACTIONS = [
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
]
"""What X-Ray needs, for any resource: https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html."""
