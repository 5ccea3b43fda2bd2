"""The states of workers that aren't plain functions: a durable function, a task of ECS, a job of AWS Batch.

What a container answers comes back as a file of the run, ``<run>/tasks/<index>/<attempt>.json``: ECS and Batch tell no
more of it than its exit code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsii
from aws_cdk import ArnFormat, Duration, IStableListProducer, Lazy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.resources.map_resources import WorkerResources
from cdk_distributed_map.settings import checks
from cdk_distributed_map.settings import retry as retry_module
from cdk_distributed_map.settings.expressions import quote, wrap
from cdk_distributed_map.settings.jobs import BatchJob, Container, DurableFunction, EcsTask, ItemBy
from distmap import limits, wire

ENVIRONMENT_CHARACTERS = 6_000
"""Of an item in the environment, as text inside JSON, where a quote is two. ECS takes 8,192 of overrides in all.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html"""

_FEW_ATTEMPTS = 5
"""For errors that are also what a service says to who may not."""
_UNCLEAR_ATTEMPTS = 8
"""They take a minute and a half on average, which outlasts a throttled EC2 and is soon over for a wrong parameter."""
_NO_RESULT = "Distmap.NoResult"
_UNREADABLE = ("S3.NoSuchKeyException", "S3.S3Exception", "States.QueryEvaluationError", "States.DataLimitExceeded")
"""What reading a result meets that isn't there, is no JSON or is too large: S3 says that something isn't there only to
who may list the bucket, and denies it to everybody else."""

_INPUT = "$states.input"
_RUN = f"{_INPUT}.run"
_SOURCE = f'($type({_INPUT}.source) = "string" ? {_INPUT}.source : "")'
_ATTEMPT = '$states.context.Execution.Name & "-" & $string($states.context.Execution.RedriveCount)'
"""What is another one in every round and redrive, and the same when a call is tried again."""
_IDENTITY = f'{_RUN}.id & {_RUN}.path & "/" & $string({_INPUT}.index) & "#" & {_SOURCE}'
_NAME = (
    f'$replace($substring({_RUN}.name, 0, 20), /[^A-Za-z0-9_-]/, "-") & "-" & $string({_INPUT}.index) & "-" & '
    f'$substring($hash({_IDENTITY} & "/" & {_ATTEMPT}, "SHA-256"), 0, 32)'
)
"""At most 63 characters, of which 64 are taken: run and index for people, and a checksum of what identifies both."""
_RESULT = f'{_RUN}.prefix & "/{wire.TASKS_FOLDER}" & {_RUN}.path & "/" & $string({_INPUT}.index) & "/" & {_NAME}'


class DurableTask(tasks.CallAwsService):
    """An invocation of a durable function, under a name that makes it idempotent.

    The optimized integration can't give a durable execution its name. An error of the function is, to the SDK
    integration, an answer as any other; it becomes the failure of the item here.
    """

    def __init__(self, scope: Construct, id: str, *, state_name: str, declared: DurableFunction, express: bool) -> None:
        own = None if declared.timeout is None else declared.timeout.to_seconds()
        longest = limits.MAX_EXPRESS_SECONDS if express else limits.MAX_FUNCTION_SECONDS + 60
        super().__init__(
            scope,
            id,
            state_name=state_name,
            query_language=sfn.QueryLanguage.JSONATA,
            service="lambda",
            action="invoke",
            parameters={
                "FunctionName": declared.function.function_arn,
                "DurableExecutionName": wrap(_NAME),
                "Payload": wrap(_INPUT),
            },
            iam_resources=[declared.function.function_arn],
            outputs=wrap(_durable_output()),
            task_timeout=sfn.Timeout.duration(Duration.seconds(longest if own is None else own)),
        )
        self._exact = [permissions.invoke(declared.function.function_arn)]
        retry_module.add_lambda_retry(self, budget=60 if express else None)
        if not express:
            retry_module.add_service_retry(self, errors=retry_module.SDK_LAMBDA_ERRORS, attempts=_FEW_ATTEMPTS)
        if declared.retry is not None:
            declared.retry.add_to(self)

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        """Statements the state machine's role gets for this task."""
        return self._exact


def _durable_output() -> str:
    identifier = f'({_SOURCE} = "" ? "" : {_SOURCE} & "#") & $string({_INPUT}.index)'
    text = '$type($answer.errorMessage) = "string" ? $answer.errorMessage : $string($answer)'
    return (
        "($answer := $exists($states.result.Payload) ? $parse($states.result.Payload) : null; "
        "$exists($states.result.FunctionError) ? "
        '{"batchItemResults": [], "batchItemFailures": [{'
        f'"itemIdentifier": {identifier}, '
        '"error": $type($answer.errorType) = "string" ? $answer.errorType : $states.result.FunctionError, '
        f'"cause": {text}'
        '}], "batchItemsUnprocessed": []} : $answer)'
    )


def job_states(resources: WorkerResources, scope: Construct, *, name: str, express: bool) -> sfn.IChainable:
    """Return the states of such a worker."""
    declared = resources.job
    if isinstance(declared, DurableFunction):
        return DurableTask(scope, "Process", state_name=f"{name} process", declared=declared, express=express)
    assert isinstance(declared, Container)  # noqa: S101 - there are no others
    assert resources.files is not None  # noqa: S101 - such a worker has them
    run: sfn.TaskStateBase = (
        EcsRun(
            scope,
            "Process",
            state_name=f"{name} process",
            declared=declared,
            security_groups=resources.security_groups,
        )
        if isinstance(declared, EcsTask)
        else BatchRun(scope, "Process", state_name=f"{name} process", declared=declared)  # type: ignore[arg-type]  # as above
    )
    first: sfn.IChainable = run
    if declared.item is ItemBy.FILE:
        put = FileTask(
            scope,
            "PutItem",
            state_name=f"{name} put item",
            action="putObject",
            parameters={
                "Bucket": wrap(f"{_RUN}.bucket"),
                "Key": wrap(f'{_RESULT} & "/item.json"'),
                "Body": wrap(_INPUT),
                "ContentType": "application/json",
            },
            output=wrap(_INPUT),
            statements=resources.files.putting(),
        )
        first = put.next(run)
    if declared.writes_result:
        read_result = FileTask(
            scope,
            "ReadResult",
            state_name=f"{name} read result",
            action="getObject",
            parameters={"Bucket": wrap(f"{_INPUT}.bucket"), "Key": wrap(f"{_INPUT}.key")},
            output=wrap("$parse($states.result.Body)"),
            statements=resources.files.reading(),
        )
        read_result.add_catch(_no_result(scope, name), errors=list(_UNREADABLE), outputs=_of_unreadable())
        run.next(read_result)
    return first


def _of_unreadable() -> str:
    return wrap(f'{{"place": "s3://" & {_INPUT}.bucket & "/" & {_INPUT}.key, "why": $states.errorOutput}}')


def _no_result(scope: Construct, name: str) -> sfn.Fail:
    """Return the state that says what to do about a result that the container didn't write."""
    remedy = quote(
        ": write it, as JSON text that fits into 256 KiB with its quotes counted twice, to the key in "
        "DISTMAP_RESULT_KEY of the bucket in DISTMAP_RESULT_BUCKET before the container ends, or say "
        "writes_result=False; reading it gave "
    )
    why = f'{_INPUT}.why.Error & ($exists({_INPUT}.why.Cause) ? ": " & {_INPUT}.why.Cause : "")'
    return sfn.Fail(
        scope,
        "NoResult",
        state_name=f"{name} no result",
        query_language=sfn.QueryLanguage.JSONATA,
        error=_NO_RESULT,
        cause=wrap(f'"the item has no result in " & {_INPUT}.place & {remedy} & {why}'),
    )


class FileTask(tasks.CallAwsService):
    """A read or a write of a file of the run, exactly granted."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_name: str,
        action: str,
        parameters: Mapping[str, Any],
        output: str,
        statements: Sequence[iam.PolicyStatement],
    ) -> None:
        super().__init__(
            scope,
            id,
            state_name=state_name,
            query_language=sfn.QueryLanguage.JSONATA,
            service="s3",
            action=action,
            parameters=parameters,
            iam_resources=["*"],
            outputs=output,
        )
        self._exact = list(statements)
        retry_module.add_service_retry(self, errors=retry_module.S3_ERRORS, attempts=_FEW_ATTEMPTS)

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        """Statements the state machine's role gets for this task."""
        return self._exact


def _variables(declared: Container) -> dict[str, str]:
    """Return what a container gets in its environment."""
    text = f"$string({_INPUT})"
    escaped = f"$length($string([{text}])) - 4"  # a text in an array, whose brackets and outer quotes don't count
    too_long = quote(
        f" characters, quotes counted twice, of which {ENVIRONMENT_CHARACTERS} fit into an environment: use "
        "item=ItemBy.FILE"
    )
    item = {
        "DISTMAP_ITEM": wrap(
            f"({escaped}) > {ENVIRONMENT_CHARACTERS} ? "
            f'$error("the item has " & $string({escaped}) & {too_long}) : {text}'
        )
    }
    if declared.item is ItemBy.FILE:
        item = {"DISTMAP_ITEM_BUCKET": wrap(f"{_RUN}.bucket"), "DISTMAP_ITEM_KEY": wrap(f'{_RESULT} & "/item.json"')}
    variables = {**item, "DISTMAP_RUN": wrap(f"{_RUN}.id"), "DISTMAP_INDEX": wrap(f"$string({_INPUT}.index)")}
    if declared.writes_result:
        variables |= {
            "DISTMAP_RESULT_BUCKET": wrap(f"{_RUN}.bucket"),
            "DISTMAP_RESULT_KEY": wrap(f'{_RESULT} & "/result.json"'),
        }
    return variables


def _output(declared: Container) -> Any:
    if declared.writes_result:
        return {"bucket": wrap(f"{_RUN}.bucket"), "key": wrap(f'{_RESULT} & "/result.json"')}
    return wrap("null")


def _watching(scope: Construct, rule: str) -> iam.PolicyStatement:
    """Statement to be told of the end of a job, by the rule that Step Functions manages.

    https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html
    """
    arn = Stack.of(scope).format_arn(service="events", resource="rule", resource_name=rule)
    return iam.PolicyStatement(actions=["events:PutTargets", "events:PutRule", "events:DescribeRule"], resources=[arn])


class EcsRun(tasks.EcsRunTask):
    """A task of ECS that is waited for, whose rights name the family of its definition and its cluster."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_name: str,
        declared: EcsTask,
        security_groups: Sequence[ec2.ISecurityGroup] | None,
    ) -> None:
        launch: tasks.IEcsLaunchTarget = (
            tasks.EcsFargateLaunchTarget(platform_version=ecs.FargatePlatformVersion.LATEST)
            if declared.task_definition.is_fargate_compatible
            else tasks.EcsEc2LaunchTarget()
        )
        environment = [
            tasks.TaskEnvironmentVariable(name=key, value=value) for key, value in _variables(declared).items()
        ]
        override = tasks.ContainerOverride(container_definition=declared.container, environment=environment)
        super().__init__(
            scope,
            id,
            state_name=state_name,
            query_language=sfn.QueryLanguage.JSONATA,
            cluster=declared.cluster,
            task_definition=declared.task_definition,
            launch_target=launch,
            container_overrides=[override],
            subnets=declared.subnets,
            security_groups=security_groups,
            assign_public_ip=declared.assign_public_ip or None,
            integration_pattern=sfn.IntegrationPattern.RUN_JOB,
            task_timeout=None if declared.timeout is None else sfn.Timeout.duration(declared.timeout),
            outputs=_output(declared),
        )
        self._exact = _ecs_statements(self, declared)
        retry_module.add_service_retry(self, errors=retry_module.ECS_ERRORS)
        retry_module.add_service_retry(self, errors=retry_module.ECS_UNCLEAR_ERRORS, attempts=_UNCLEAR_ATTEMPTS)
        if declared.retry is not None:
            declared.retry.add_to(self)

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        """Statements the state machine's role gets for this task."""
        return self._exact


@jsii.implements(IStableListProducer)
class _Roles:
    """Roles of a task, as they are at the end: a container's logs and secrets make one for its execution."""

    def __init__(self, definition: ecs.TaskDefinition) -> None:
        self._definition = definition

    def produce(self) -> list[str]:
        """Return their ARNs."""
        roles = (self._definition.task_role, self._definition.execution_role)
        return [role.role_arn for role in roles if role is not None]


def _ecs_statements(scope: Construct, declared: EcsTask) -> list[iam.PolicyStatement]:
    """Return what running a task needs: https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html."""
    definition = declared.task_definition
    family = Stack.of(scope).format_arn(
        service="ecs", resource="task-definition", resource_name=f"{definition.family}:*"
    )
    running = Stack.of(scope).format_arn(
        service="ecs", resource="task", resource_name=f"{declared.cluster.cluster_name}/*"
    )
    of_cluster = {"ArnEquals": {"ecs:cluster": declared.cluster.cluster_arn}}
    return [
        iam.PolicyStatement(actions=["ecs:RunTask"], resources=[family], conditions=of_cluster),
        # The ids of tasks aren't known before, their cluster is.
        iam.PolicyStatement(actions=["ecs:StopTask", "ecs:DescribeTasks"], resources=[running], conditions=of_cluster),
        iam.PolicyStatement(
            actions=["iam:PassRole"],
            resources=Lazy.list(_Roles(definition)) or [],
            conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        _watching(scope, "StepFunctionsGetEventsForECSTaskRule"),
    ]


class BatchRun(tasks.BatchSubmitJob):
    """A job of AWS Batch that is waited for, whose rights name its definition and its queue."""

    def __init__(self, scope: Construct, id: str, *, state_name: str, declared: BatchJob) -> None:
        super().__init__(
            scope,
            id,
            state_name=state_name,
            query_language=sfn.QueryLanguage.JSONATA,
            job_definition_arn=declared.job_definition.job_definition_arn,
            job_queue_arn=declared.job_queue.job_queue_arn,
            job_name=wrap(_NAME),
            container_overrides=tasks.BatchContainerOverrides(environment=_variables(declared)),
            integration_pattern=sfn.IntegrationPattern.RUN_JOB,
            task_timeout=None if declared.timeout is None else sfn.Timeout.duration(declared.timeout),
            outputs=_output(declared),
        )
        self._exact = _batch_statements(self, declared)
        retry_module.add_service_retry(self, errors=retry_module.BATCH_ERRORS)
        if declared.retry is not None:
            declared.retry.add_to(self)

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        """Statements the state machine's role gets for this task."""
        return self._exact


def _batch_statements(scope: Construct, declared: BatchJob) -> list[iam.PolicyStatement]:
    """Return what running a job needs: https://docs.aws.amazon.com/step-functions/latest/dg/connect-batch.html."""
    jobs = Stack.of(scope).format_arn(
        service="batch", resource="job", resource_name="*", arn_format=ArnFormat.SLASH_RESOURCE_NAME
    )
    definition = declared.job_definition.job_definition_arn
    used = [definition, declared.job_queue.job_queue_arn]
    if not checks.is_token(definition) and not re.search(r":\d+$", definition):
        used.append(f"{definition}:*")  # without a revision, the newest one runs
    return [
        iam.PolicyStatement(actions=["batch:SubmitJob"], resources=used),
        # Batch has no resource-level permissions for what describes jobs, and their ids aren't known before.
        iam.PolicyStatement(actions=["batch:DescribeJobs"], resources=["*"]),
        iam.PolicyStatement(actions=["batch:TerminateJob"], resources=[jobs]),
        _watching(scope, "StepFunctionsGetEventsForBatchJobsRule"),
    ]
