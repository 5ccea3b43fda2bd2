"""Workers that aren't plain functions, and what they need of a stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map import Worker
from tests.construct.lab import Lab


def vpc(lab: Lab) -> ec2.IVpc:
    return ec2.Vpc.from_vpc_attributes(
        lab.stack, "Vpc", vpc_id="vpc-1", availability_zones=["eu-west-1a"], private_subnet_ids=["subnet-1"]
    )


def ecs_worker(lab: Lab, **options: Any) -> Worker:
    cluster = ecs.Cluster(lab.stack, "Cluster", vpc=vpc(lab))
    definition = ecs.FargateTaskDefinition(lab.stack, "Task", family="squares")
    definition.add_container("main", image=ecs.ContainerImage.from_registry("squares"))
    return Worker.ecs_task(cluster, definition, **options)


def batch_worker(lab: Lab, *, role: bool = True, **options: Any) -> Worker:
    principal = iam.ServicePrincipal("ecs-tasks.amazonaws.com")
    container = batch.EcsFargateContainerDefinition(
        lab.stack,
        "Container",
        image=ecs.ContainerImage.from_registry("squares"),
        cpu=0.25,
        memory=cdk.Size.mebibytes(512),
        job_role=iam.Role(lab.stack, "JobRole", assumed_by=principal) if role else None,
    )
    definition = batch.EcsJobDefinition(lab.stack, "Job", container=container)
    queue = batch.JobQueue.from_job_queue_arn(
        lab.stack, "Queue", "arn:aws:batch:eu-west-1:123456789012:job-queue/squares"
    )
    return Worker.batch_job(definition, queue, **options)


def durable_worker(lab: Lab, **options: Any) -> Worker:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:durable:3"
    function = lambda_.Function.from_function_attributes(lab.stack, "Durable", function_arn=arn, same_environment=True)
    return Worker.durable_function(function, **options)


JOB_WORKERS: dict[str, Callable[..., Worker]] = {"ecs": ecs_worker, "batch": batch_worker, "durable": durable_worker}
