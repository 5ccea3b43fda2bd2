"""What accounts for a run: its function, the rights of that, and the rule for runs that fail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jsii
from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.resources.functions import FunctionSettings, build_function
from cdk_distributed_map.resources.map_resources import AccountResources, MapResources
from cdk_distributed_map.settings import code_folder, synthesis_warnings
from cdk_distributed_map.settings.accounting import DEFAULT_MEMORY_MB, DEFAULT_ROUNDS, Accounting, Rerun
from cdk_distributed_map.settings.functions import PythonFunction
from cdk_distributed_map.settings.handlers import Role
from cdk_distributed_map.settings.results import Transformation
from distmap import limits, wire

_TIMEOUT = Duration.minutes(15)
_WAIT_SECONDS, _BACKOFF_RATE, _MAX_WAIT_SECONDS = 1, 2, 300
_RERUN_WAIT_SECONDS, _RERUN_MAX_WAIT_SECONDS = 10, 900
_RERUN_ROUNDS = 3
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_MADE_NAME_BYTES = 100
"""About how much longer a name that AWS makes is than the token that stands for it, such as the URL of a queue."""


def create_account(
    scope: Construct,
    accounting: Accounting | None,
    *,
    rerun: Rerun | None,
    failed_items: Sequence[sqs.IQueue | events.IEventBus],
    functions: FunctionSettings,
    maps: MapResources,
    payload: s3.IBucket,
    prefix: str,
) -> AccountResources | None:
    """Make the account function under ``scope`` and give it what it needs of files and targets.

    Args:
        scope: The pipeline.
        accounting: Which parts are on. Default: all of them, where the results allow an account.
        rerun: Which failed items run again.
        failed_items: Who gets a message for each item that did not succeed.
        functions: What the pipeline decides for every function.
        maps: The maps.
        payload: The payload bucket.
        prefix: The payload prefix.

    Returns:
        What was made; None where runs aren't accounted for.

    Raises:
        ValueError: Something that needs an account is asked for without one.
    """
    why_not = _why_not(accounting, maps)
    if why_not is not None:
        requested = {
            "rerun": rerun is not None,
            "on_items_failed": len(failed_items) > 0,
            "accounting": accounting is not None and accounting.is_on,
        }
        for name in (name for name, is_requested in requested.items() if is_requested):
            raise ValueError(f"{name} needs the account of a run, and there is none: {why_not}")
        if accounting is None:
            synthesis_warnings.warn(
                scope, synthesis_warnings.NO_ACCOUNT, f"runs don't account for their items: {why_not}"
            )
        return None
    accounting = Accounting() if accounting is None else accounting
    settings = _settings(scope, accounting, rerun, failed_items, maps)
    # Not by the stack's own to_json_string, on whose way through jsii what is null would vanish.
    of_rule = {**settings, "toleratedFailureCount": None, "toleratedFailurePercentage": None}
    environment = {
        "DISTMAP_ACCOUNT": json.dumps(of_rule),
        "DISTMAP_RUNS": json.dumps({"bucket": payload.bucket_name, "prefix": prefix}),
    }
    _check_environment(environment, failed_items)
    declared = PythonFunction(
        folder=str(code_folder.built_in("account_run")),
        handler="handler.handler",
        role=Role.COMBINE,
        memory_size=DEFAULT_MEMORY_MB if accounting.memory_size is None else accounting.memory_size,
        timeout=_TIMEOUT,
        environment=environment,
    )
    function = build_function(
        scope, "Account", declared, settings=functions, description="distmap: accounts for the items of a run"
    )
    statements = _statements(payload, maps.results_buckets(), prefix)
    for target in failed_items:
        statements += _sending(target)
    permissions.add(permissions.policy_for(scope, "Account", function), statements)
    return AccountResources(function=function, accounting=accounting, settings=settings)


def _settings(
    scope: Construct,
    accounting: Accounting,
    rerun: Rerun | None,
    failed_items: Sequence[sqs.IQueue | events.IEventBus],
    maps: MapResources,
) -> dict[str, Any]:
    """Return :class:`distmap.wire.AccountSettings` without the tolerance, which may come from a run's input."""
    return {
        "pipeline": f"{Aws.STACK_NAME}/{path_in_stack(scope)}",
        **_rounds(accounting, rerun),
        "enveloped": maps.map.enveloped,
        "batched": maps.map.batches is not None,
        "selects": maps.map.item_selector is not None,
        "resultsBucket": maps.results_bucket.bucket_name,
        "nested": maps.nested_settings(),
        "targets": [_target(target) for target in failed_items],
    }


def _check_environment(environment: Mapping[str, str], failed_items: Sequence[object]) -> None:
    """Check that the function's settings fit into its environment, names that AWS makes included.

    Raises:
        ValueError: It hasn't.
    """
    texts = sum(len(name) + len(value.encode()) for name, value in environment.items())
    size, most = texts + _MADE_NAME_BYTES * (3 + len(failed_items)), limits.MAX_ENVIRONMENT_BYTES
    if size > most:
        raise ValueError(
            f"rerun, on_items_failed and payload_prefix take about {size:,} bytes of the environment of the account "
            f"function, which has {most:,}: name fewer errors in rerun (States.TaskFailed is every one but timeouts), "
            "or fewer targets"
        )


def _rounds(accounting: Accounting, rerun: Rerun | None) -> dict[str, Any]:
    """Return the settings of the account function for rounds and metrics."""
    wait, backoff, most = (None, None, None) if rerun is None else (rerun.wait, rerun.backoff_rate, rerun.max_wait)
    default_wait = _WAIT_SECONDS if rerun is None else _RERUN_WAIT_SECONDS
    default_most = _MAX_WAIT_SECONDS if rerun is None else _RERUN_MAX_WAIT_SECONDS
    return {
        "rounds": DEFAULT_ROUNDS if accounting.rounds is None else accounting.rounds,
        "rerun": None if rerun is None else _rerun(rerun),
        "waitSeconds": default_wait if wait is None else wait.to_seconds(),
        "backoffRate": _BACKOFF_RATE if backoff is None else backoff,
        "maxWaitSeconds": default_most if most is None else most.to_seconds(),
        "metrics": accounting.emits_metrics,
    }


def _rerun(rerun: Rerun) -> wire.RerunSettings:
    return {
        "rounds": _RERUN_ROUNDS if rerun.rounds is None else rerun.rounds,
        "errors": None if rerun.errors is None or "States.ALL" in rerun.errors else list(rerun.errors),
        "permanentErrors": [] if rerun.permanent_errors is None else list(rerun.permanent_errors),
    }


def _why_not(accounting: Accounting | None, maps: MapResources) -> str | None:
    """Return why runs can't be accounted for, in words; None where they can."""
    if accounting is not None and not accounting.is_on:
        return "accounting is Accounting.none(); leave it out, or give Accounting(...)"
    transformations = {resources.map.results.transformation for resources in (maps, *maps.all_inner())}
    lossy = sorted(
        transformation.value
        for transformation in transformations - {None, Transformation.NONE}
        if transformation is not None
    )
    if lossy:
        return (
            f"results exported with the transformation {lossy[0]} don't tell which item each is of; leave the "
            "transformation out"
        )
    return None


def _statements(payload: s3.IBucket, results: Sequence[s3.IBucket], prefix: str) -> list[iam.PolicyStatement]:
    everything, folder = permissions.runs(prefix), f"{prefix}{wire.RUNS_FOLDER}/"
    kept_files = f"{prefix}{wire.ITEM_FILES_FOLDER}/*"
    statements = [
        *permissions.read_objects(payload, everything, kept_files),
        *permissions.list_objects(payload, [folder]),
        *permissions.write_objects(
            payload,
            permissions.runs(prefix, wire.LEDGER_FILE),
            permissions.runs(prefix, wire.FAILURES_FILE),
            permissions.runs(prefix, wire.ACCOUNT_FOLDER, "*"),
            permissions.runs(prefix, wire.ROUNDS_FOLDER, "*", wire.ITEMS_FILE),
            # An upload that another attempt of the function began is gone on with.
            also=["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
        ),
    ]
    for bucket in results:
        if bucket is not payload:
            statements += [*permissions.read_objects(bucket, everything), *permissions.list_objects(bucket, [folder])]
    return statements


def _target(target: sqs.IQueue | events.IEventBus) -> wire.FailedItemsTarget:
    if _is_queue(target):
        return {"kind": "queue", "name": target.queue_url}  # type: ignore[union-attr]  # a queue has one
    return {"kind": "bus", "name": target.event_bus_arn}  # type: ignore[union-attr]  # likewise


def _sending(target: sqs.IQueue | events.IEventBus) -> list[iam.PolicyStatement]:
    """Statements to send to a target, and to encrypt for a queue with a key."""
    if not _is_queue(target):
        bus: events.IEventBus = target  # type: ignore[assignment]  # it is no queue
        return [iam.PolicyStatement(actions=["events:PutEvents"], resources=[bus.event_bus_arn])]
    queue: sqs.IQueue = target  # type: ignore[assignment]  # it has the ARN of one
    statements = [iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[queue.queue_arn])]
    if queue.encryption_master_key is not None:
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
        actions = ["kms:GenerateDataKey", "kms:Decrypt"]
        statements.append(iam.PolicyStatement(actions=actions, resources=[queue.encryption_master_key.key_arn]))
    return statements


def _is_queue(target: object) -> bool:
    return hasattr(target, "queue_arn")


def path_in_stack(scope: Construct) -> str:
    """Return the path of a construct from below its stack, with other characters than ASCII's as percent codes.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html takes no others.
    """
    return quote(scope.node.path.removeprefix(f"{Stack.of(scope).node.path}/"), safe=_PRINTABLE)


def dimension(scope: Construct) -> str:
    """Return the dimension of the metrics of a pipeline's items, which its account function is told.

    The function is told it by the stack's own pseudo parameter, so that the same pipeline in two stages has one
    template; this one holds in other stacks too.
    """
    return f"{Stack.of(scope).stack_name}/{path_in_stack(scope)}"


def allow_describing_map_runs(
    scope: Construct, account: AccountResources, *, machine_name: str, labels: Sequence[str]
) -> None:
    """Let the account function ask AWS how many items the maps of a run had.

    Args:
        scope: The pipeline.
        account: The account function.
        machine_name: Name of the state machine; ``*`` for those of users that have the fragment, whose names the
            pipeline doesn't know: the label tells its maps from others.
        labels: Labels of the maps.
    """
    arns = [permissions.states_arn(scope, "mapRun", f"{machine_name}/{label}:*") for label in labels]
    statement = iam.PolicyStatement(actions=["states:DescribeMapRun"], resources=arns)
    permissions.add(permissions.policy_for(scope, "Account", account.function), [statement])


@jsii.implements(events.IRuleTarget)
class _AccountTarget:
    """The account function as a target. The L2's has the path of the stage in the id of what it makes."""

    def __init__(self, function: lambda_.IFunction) -> None:
        self._function = function

    def bind(self, rule: Any, id: str | None = None) -> events.RuleTargetConfig:
        del rule, id
        return events.RuleTargetConfig(arn=self._function.function_arn)


def account_for_failed_runs(
    scope: Construct, id: str, account: AccountResources, machine: sfn.IStateMachine
) -> events.Rule:
    """Make the rule that has runs accounted for which fail, time out or are stopped.

    Of runs that succeed it takes those that were redriven: one that had failed after its account, as where combine
    did, has a ledger that says so.
    """
    ended = [
        {"status": ["FAILED", "TIMED_OUT", "ABORTED"]},
        {"status": ["SUCCEEDED"], "redriveCount": [{"numeric": [">", 0]}]},
    ]
    rule = events.Rule(
        scope,
        id,
        description="distmap: accounts for the items of runs that did not succeed, or did once they were redriven",
        event_pattern=events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={"stateMachineArn": [machine.state_machine_arn], "$or": ended},
        ),
        targets=[_AccountTarget(account.function)],
    )
    lambda_.CfnPermission(
        rule,
        "Invoke",
        action="lambda:InvokeFunction",
        function_name=account.function.function_arn,
        principal="events.amazonaws.com",
        source_arn=rule.rule_arn,
    )
    return rule
