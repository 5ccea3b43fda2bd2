"""``ecs:runTask.sync`` and ``batch:submitJob.sync``: what Step Functions does about a container's run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from cdk_distributed_map import arns
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import TASK_FAILED, StateError, UnsupportedError, runtime
from cdk_distributed_map.local.execution.services import ContainerJob, JobError
from cdk_distributed_map.local.tasks.integration import Call, Integration, fitting, unusable

_FORMS: Final = {"ecs": "runTask.sync", "batch": "submitJob.sync"}
_RULES: Final = {"ecs": "StepFunctionsGetEventsForECSTaskRule", "batch": "StepFunctionsGetEventsForBatchJobsRule"}
_DENIED: Final = {"ecs": "ECS.AmazonECSException", "batch": "Batch.AWSBatchException"}
_MOST_REASON: Final = 1_000
_MOST_CHARACTERS: Final = 8_192
"""Of overrides: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html."""


class RunContainer(Integration):
    """A task of ECS or a job of AWS Batch that is waited for.

    Args:
        service: ``ecs`` or ``batch``.
        action: Action, which must be the one with ``.sync``.
    """

    def __init__(self, service: str, action: str) -> None:
        super().__init__(action, service)
        if action != _FORMS[service]:
            raise UnsupportedError(
                f"the local engine has no integration {service}:{action}: use {service}:{_FORMS[service]}"
            )

    def check(self, arguments: Json) -> None:
        """Check that the arguments are an object that names what runs."""
        field = "TaskDefinition" if self.resource_type == "ecs" else "JobDefinition"
        if not isinstance(arguments, Mapping) or not isinstance(arguments.get(field), str):
            raise unusable(arguments, f"{field} is missing")

    async def run(self, arguments: Json, call: Call) -> Json:
        """Run it to its end.

        Raises:
            StateError: The role may not, it ended with another exit code than 0, or nothing stands for it here.
        """
        services = call.frame.services
        client = services.clients.client(self.resource_type)
        try:
            job = await services.blocking(
                lambda: _task(client, arguments) if self.resource_type == "ecs" else _job(client, arguments)
            )
        except ClientError as error:
            raise StateError(_DENIED[self.resource_type], str(error)) from error
        self._check_rights(job, arguments, call)
        characters = len(dumps(arguments.get("Overrides", arguments.get("ContainerOverrides", {}))))
        if characters > _MOST_CHARACTERS:
            cause = f"Container Overrides length must be at most {_MOST_CHARACTERS}, got {characters}"
            raise StateError("ECS.InvalidParameterException", cause)
        call.submitted({"Name": job.name})
        if services.containers is None:
            raise runtime("The local engine runs containers behind a local AWS alone")
        try:
            with services.clock.real():
                code = await services.containers.run(job)
        except JobError as error:
            raise runtime(str(error)) from error
        described = {"Name": job.name, "Id": str(uuid.uuid4()), "Containers": [{"ExitCode": code}]}
        if code != 0:
            # AWS has what it wrote in its log; here there is none but this.
            described["Containers"] = [{"ExitCode": code, "Reason": job.output[-_MOST_REASON:]}]
            raise StateError(TASK_FAILED, dumps({**described, "StoppedReason": "Essential container in task exited"}))
        return fitting(self, described)

    def _check_rights(self, job: ContainerJob, arguments: Mapping[str, Any], call: Call) -> None:
        """Ask IAM what AWS asks.

        Raises:
            StateError: The role may not.
        """
        services = call.frame.services
        if self.resource_type == "ecs":
            cluster = str(arguments.get("Cluster", "default"))
            arn = cluster if arns.is_arn(cluster) else services.arn("ecs", f"cluster/{cluster}")
            asked = [("ecs:RunTask", job.arn, {"ecs:cluster": arn})]
            asked += [("iam:PassRole", role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}) for role in job.passed]
        else:
            asked = [("batch:SubmitJob", each, {}) for each in (job.arn, str(arguments.get("JobQueue")))]
        rule = services.arn("events", f"rule/{_RULES[self.resource_type]}")
        asked += [(f"events:{name}", rule, {}) for name in ("DescribeRule", "PutRule", "PutTargets")]
        for action, resource, keys in asked:
            denied = call.denied(action, resource, keys)
            if denied is not None:
                raise StateError(_DENIED[self.resource_type], denied)


def _variables(*lists: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in lists:
        for variable in each or ():
            named = {key.lower(): value for key, value in variable.items()}
            found[str(named["name"])] = str(named["value"])
    return found


def _task(client: Any, arguments: Mapping[str, Any]) -> ContainerJob:
    definition = client.describe_task_definition(taskDefinition=arguments["TaskDefinition"])["taskDefinition"]
    (container, *_) = definition["containerDefinitions"]
    overrides = arguments.get("Overrides", {}).get("ContainerOverrides", [])
    own = [each.get("Environment") for each in overrides if each.get("Name") == container["name"]]
    if overrides and not own:
        named = {each["name"]: each for each in definition["containerDefinitions"]}
        container = named.get(overrides[0].get("Name"), container)
        own = [overrides[0].get("Environment")]
    roles = [definition.get(name) for name in ("taskRoleArn", "executionRoleArn")]
    return ContainerJob(
        name=definition["family"],
        arn=definition["taskDefinitionArn"],
        role=definition.get("taskRoleArn"),
        passed=[role for role in roles if role],
        environment=_variables(container.get("environment"), *own),
    )


def _job(client: Any, arguments: Mapping[str, Any]) -> ContainerJob:
    arn = arguments["JobDefinition"]
    asked = {"jobDefinitions": [arn]}
    found = client.describe_job_definitions(**asked)["jobDefinitions"]
    if not found:
        raise StateError(_DENIED["batch"], f"there is no job definition {arn}")
    definition, container = found[0], found[0].get("containerProperties") or {}
    return ContainerJob(
        name=definition["jobDefinitionName"],
        arn=definition["jobDefinitionArn"],
        role=container.get("jobRoleArn"),
        passed=[],
        environment=_variables(
            container.get("environment"), arguments.get("ContainerOverrides", {}).get("Environment")
        ),
    )
