"""Lambda functions that a pipeline builds, of Python code or of an image, and the runtime layer they share."""

from __future__ import annotations

import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import Duration, RemovalPolicy, Stack, Stage
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

import distmap
from cdk_distributed_map import permissions
from cdk_distributed_map.resources.code_size import check_code_size
from cdk_distributed_map.resources.function_code import code_of
from cdk_distributed_map.resources.function_image import image_of
from cdk_distributed_map.settings import checks, code_folder, kinds
from cdk_distributed_map.settings.functions import DEFAULT_ARCHITECTURE, DEFAULT_RUNTIME, PythonFunction
from cdk_distributed_map.settings.images import ImageFunction

RUNTIME_LAYER_ID = "DistmapRuntime"

# What Lambda needs to attach a function to a VPC; EC2 has no resource-level permissions for it.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
VPC_ACTIONS = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]


@dataclass(frozen=True, kw_only=True)
class FunctionSettings:
    """What the pipeline, not the function's author, decides for every function it builds."""

    log_retention: logs.RetentionDays
    removal_policy: RemovalPolicy
    encryption_key: kms.IKey | None
    tracing: bool


def build_function(
    scope: Construct,
    id: str,
    declared: PythonFunction | ImageFunction,
    *,
    settings: FunctionSettings,
    reserved_concurrency: float | None = None,
    default_timeout: Duration | None = None,
    description: str | None = None,
) -> lambda_.Function:
    """Make the function, its role and its log group."""
    default_timeout = Duration.seconds(60) if default_timeout is None else default_timeout
    log_group = logs.LogGroup(
        scope,
        f"{id}Logs",
        retention=settings.log_retention,
        removal_policy=settings.removal_policy,
        encryption_key=settings.encryption_key,
    )
    role = _role(scope, f"{id}Role", log_group=log_group, in_vpc=declared.vpc is not None)
    shared = {
        **_of_any_code(declared, settings),
        "timeout": default_timeout if declared.timeout is None else declared.timeout,
        "reserved_concurrent_executions": reserved_concurrency,
        "role": role,
        "log_group": log_group,
        "description": description,
    }
    function: lambda_.Function
    if isinstance(declared, ImageFunction):
        code = image_of(scope, declared, runtime=Path(distmap.__file__).parent)
        function = lambda_.DockerImageFunction(scope, id, code=code, **shared)
    else:
        layers = [runtime_layer(scope), *declared.layers]
        function = lambda_.Function(
            scope,
            id,
            runtime=DEFAULT_RUNTIME if declared.runtime is None else declared.runtime,
            code=code_of(scope, declared),
            handler=declared.handler,
            layers=layers,
            **shared,
        )
        check_code_size(function, layers)
    if declared.environment and settings.encryption_key is not None:
        # Sources differ on whether Lambda's own grant on the key is enough, so the role may do it as well.
        context = {"kms:EncryptionContext:aws:lambda:FunctionArn": function.function_arn}
        decrypting = permissions.decrypt(settings.encryption_key, conditions={"StringEquals": context})
        permissions.add(permissions.policy_for(scope, id, function), [decrypting])
    return function


def _of_any_code(declared: PythonFunction | ImageFunction, settings: FunctionSettings) -> dict[str, Any]:
    """Return what was declared of a function, whatever its code is."""
    return {
        "architecture": DEFAULT_ARCHITECTURE if declared.architecture is None else declared.architecture,
        "memory_size": declared.memory_size,
        "ephemeral_storage_size": declared.ephemeral_storage,
        "environment": dict(declared.environment) if declared.environment is not None else None,
        "environment_encryption": settings.encryption_key if declared.environment else None,
        "vpc": declared.vpc,
        "vpc_subnets": declared.vpc_subnets,
        "security_groups": list(declared.security_groups) if declared.security_groups is not None else None,
        "tracing": lambda_.Tracing.ACTIVE if settings.tracing else lambda_.Tracing.DISABLED,
    }


def _role(scope: Construct, id: str, *, log_group: logs.LogGroup, in_vpc: bool) -> iam.Role:
    """Role that may write to its own log group: AWSLambdaBasicExecutionRole would allow every log group."""
    role = iam.Role(scope, id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(
        iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group.log_group_arn])
    )
    if in_vpc:
        role.add_to_policy(iam.PolicyStatement(actions=VPC_ACTIONS, resources=["*"]))
    return role


def timeout(function: lambda_.IFunction) -> float | None:
    """Timeout of a function in seconds where its definition is in this app, maybe as a token, else ``None``."""
    definition = _definition(function)
    seconds = getattr(definition, "timeout", None)
    if not isinstance(seconds, int | float):
        return 3 if isinstance(definition, lambda_.CfnFunction) and seconds is None else None
    return seconds


def known_timeout(function: lambda_.IFunction) -> float | None:
    """Timeout of a function in seconds where its definition is in this app and says it, else ``None``."""
    seconds = timeout(function)
    return None if checks.is_token(seconds) else seconds


def reservation(function: lambda_.IFunction) -> float | None:
    """Reserved concurrency of a function where its definition is in this app, maybe as a token, else ``None``."""
    reserved = getattr(_definition(function), "reserved_concurrent_executions", None)
    return reserved if isinstance(reserved, int | float) else None


def known_reservation(function: lambda_.IFunction) -> float | None:
    """Reserved concurrency of a function where its definition is in this app and says it, else ``None``."""
    reserved = reservation(function)
    return None if reserved is None or checks.is_token(reserved) else float(reserved)


def _definition(function: lambda_.IFunction) -> object:
    # An alias or a version knows the function behind it.
    return getattr(function, "lambda_", function).node.default_child


@kinds.checked
def runtime_layer(scope: Construct) -> lambda_.LayerVersion:
    """Return the layer that holds the module ``distmap``, for functions that are built elsewhere: one for each stack.

    A layer rather than a copy in each asset: the user's folder stays exactly what was tested, its asset hash
    doesn't move with our version, and all functions of a stack share one upload.

    Args:
        scope: The stack of the function, or anything in it.

    Raises:
        ValueError: The stack is in no app.

    .. versionadded:: 0.1.0
    """
    stack = Stack.of(scope)
    existing = stack.node.try_find_child(RUNTIME_LAYER_ID)
    if isinstance(existing, lambda_.LayerVersion):
        return existing
    return lambda_.LayerVersion(
        stack,
        RUNTIME_LAYER_ID,
        code=code_folder.asset(str(_layer_folder(stack))),
        description="distmap: runtime of the functions of Distributed Map pipelines",
    )


def _layer_folder(stack: Stack) -> Path:
    """Lay the package out as a layer wants it, ``python/distmap``, in a folder that is there while the program runs.

    Bundling would do the same, but says so on the terminal at every synthesis. The folder isn't in what is synthesized
    into: a relative ``outdir`` begins where Node was started, which Python can't know once it has gone elsewhere.
    """
    if Stage.of(stack) is None:
        raise ValueError(
            f"stack {stack.node.path!r} has no App or Stage above it, so its functions have no place for code"
        )
    folder = Path(_layers().name)
    if stack.node.try_get_context("aws:cdk:disable-asset-staging"):
        # The folder isn't copied then, but named to whoever deploys, and must outlast the program.
        folder = Path(tempfile.mkdtemp(prefix="distmap-runtime-"))
    target = folder / "python" / "distmap"
    if not target.is_dir():
        source = Path(distmap.__file__).resolve().parent
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return folder


@functools.cache
def _layers() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the layer, which is removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix="distmap-runtime-")
