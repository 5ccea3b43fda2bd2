"""Files by which containers get their items and give their results: ``runs/<run>/tasks/``."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.settings.jobs import BatchJob, Container, EcsTask, ItemBy
from distmap import wire


@dataclass(frozen=True, kw_only=True)
class TaskFiles:
    """Where the files of a pipeline's containers are."""

    bucket: s3.IBucket
    payload_prefix: str

    def putting(self) -> list[iam.PolicyStatement]:
        """Return what the state machine needs to put items."""
        return permissions.write_objects(self.bucket, self._pattern("item.json"), also=())

    def reading(self) -> list[iam.PolicyStatement]:
        """Return what the state machine needs to read results."""
        return permissions.read_objects(self.bucket, self._pattern("result.json"))

    def allow(self, scope: Construct, declared: Container) -> None:
        """Let a container read its item and write its result.

        Raises:
            ValueError: Its role isn't known.
        """
        statements: list[iam.PolicyStatement] = []
        if declared.item is ItemBy.FILE:
            statements += permissions.read_objects(self.bucket, self._pattern("item.json"))
        if declared.writes_result:
            statements += permissions.write_objects(self.bucket, self._pattern("result.json"))
        if not statements:
            return
        permissions.add(permissions.policy_of_role(scope, "Worker", _role(declared)), statements)

    def _pattern(self, name: str) -> str:
        return permissions.runs(self.payload_prefix, wire.TASKS_FOLDER, "*", name)


def _role(declared: Container) -> iam.IRole:
    role = None
    if isinstance(declared, EcsTask):
        role = declared.task_definition.task_role
    elif isinstance(declared, BatchJob):
        container = getattr(declared.job_definition, "container", None)
        role = declared.job_role if declared.job_role is not None else getattr(container, "job_role", None)
    if role is None:
        raise ValueError(
            "the role of the job isn't known, which must write results (and read items that are files): give the "
            "container's job_role, here or in its definition, or use writes_result=False and ItemBy.ENVIRONMENT"
        )
    task_role: iam.IRole = role
    return task_role
