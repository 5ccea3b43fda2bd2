"""Logs of the state machine: where they go, and under which name.

https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html
"""

from __future__ import annotations

from typing import Final

from aws_cdk import Aws, Fn, RemovalPolicy, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.settings import synthesis_warnings

_VENDED: Final = "/aws/vendedlogs/"
"""Log groups of any other name are added, each of them, to one resource policy of the account, which has 5,120
characters in all: when it is full, no state machine with logs can be deployed any more."""


def destination(
    scope: Construct,
    *,
    level: sfn.LogLevel,
    execution_data: bool,
    existing: logs.ILogGroup | None,
    retention: logs.RetentionDays,
    removal_policy: RemovalPolicy,
    encryption_key: kms.IKey | None,
) -> logs.ILogGroup | None:
    """Return where a state machine logs to: the given log group, or one made under ``scope``.

    Returns:
        ``None`` where nothing is logged.

    Raises:
        TypeError: The given log group isn't one.
        ValueError: Nothing is logged, but something is said about it.
    """
    if existing is not None:
        _check_group(existing)
    if level == sfn.LogLevel.OFF:
        if existing is not None or execution_data:
            what = "log_execution_data" if existing is None else "log_group"
            raise ValueError(f"{what} is given but log_level is OFF, which logs nothing: take out one of them")
        return None
    if existing is None:
        return _new_group(scope, retention, removal_policy, encryption_key)
    _warn_of_name(scope, existing)
    return existing


def _new_group(
    scope: Construct, retention: logs.RetentionDays, removal_policy: RemovalPolicy, encryption_key: kms.IKey | None
) -> logs.LogGroup:
    group = logs.LogGroup(
        scope, "LogGroup", retention=retention, removal_policy=removal_policy, encryption_key=encryption_key
    )
    cfn_group = group.node.default_child
    assert isinstance(cfn_group, logs.CfnLogGroup)  # noqa: S101 - narrows the type
    # A log group outlives its stack by default, and a stack of the same name that is made anew must not meet it.
    stack_id = Fn.select(2, Fn.split("/", Aws.STACK_ID))
    cfn_group.log_group_name = f"{_VENDED}states/{Aws.STACK_NAME}-{cfn_group.logical_id}-{stack_id}"
    return group


def _check_group(log_group: object) -> None:
    if not hasattr(log_group, "log_group_arn"):
        raise TypeError(
            f"log_group must be a log group, got {log_group!r}: import an existing one with "
            "LogGroup.from_log_group_name(...)"
        )


def _warn_of_name(scope: Construct, group: logs.ILogGroup) -> None:
    cfn_group = group.node.default_child
    name = cfn_group.log_group_name if isinstance(cfn_group, logs.CfnLogGroup) else group.log_group_name
    text = Stack.of(scope).resolve(name)
    if isinstance(text, dict) and list(text) == ["Fn::Join"]:
        text = text["Fn::Join"][1][0]
    # Where the name is left to CloudFormation it begins with the stack's.
    if text is None or (isinstance(text, str) and not text.startswith(_VENDED)):
        synthesis_warnings.warn(
            scope,
            synthesis_warnings.LOG_GROUP_NAME,
            f"log_group has {'a name made by CloudFormation' if text is None else f'the name {text!r}'}, and Step "
            "Functions adds log groups outside /aws/vendedlogs/ to a resource policy of the account with 5,120 "
            "characters in all; deployments fail when it is full: begin the name with '/aws/vendedlogs/states/'",
        )
