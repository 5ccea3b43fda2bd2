"""Lambda functions that a pipeline builds from a folder of Python code, and the runtime layer they share."""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Size, Stack, Stage, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

import distmap
from cdk_distributed_map import _checks, _code, _handlers, _permissions
from cdk_distributed_map._handlers import Role
from distmap import limits

DEFAULT_RUNTIME = lambda_.Runtime.PYTHON_3_13
DEFAULT_MEMORY_MB = 512
RUNTIME_LAYER_ID = "DistmapRuntime"
_OLDEST_PYTHON = 11
_RESERVED_VARIABLES = frozenset(
    {
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)

# What Lambda needs to attach a function to a VPC; EC2 has no resource-level permissions for it.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
_VPC_ACTIONS = [
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


@dataclass(frozen=True, kw_only=True)
class PythonFunction:
    """A function to be built from a folder, checked when it is declared."""

    folder: str
    handler: str
    role: Role
    runtime: lambda_.Runtime | None = None
    architecture: lambda_.Architecture | None = None
    memory_size: int = DEFAULT_MEMORY_MB
    ephemeral_storage: Size | None = None
    timeout: Duration | None = None
    environment: Mapping[str, str] | None = None
    layers: Sequence[lambda_.ILayerVersion] = ()
    vpc: ec2.IVpc | None = None
    vpc_subnets: ec2.SubnetSelection | None = None
    security_groups: Sequence[ec2.ISecurityGroup] | None = None
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        runtime = DEFAULT_RUNTIME if self.runtime is None else self.runtime
        file = _handlers.check(self.folder, self.handler, role=self.role, python=_python_of(runtime))
        # Found from where the program is now: Node, which reads the folder later, may have been started elsewhere.
        object.__setattr__(self, "folder", str(Path(self.folder).resolve()))
        _code.check_shipped(self.folder, self.exclude, file.resolve())
        _code.check_size(self.folder, self.exclude)
        _check_environment(self.environment or {})
        _checks.whole_number(
            "memory_size",
            self.memory_size,
            least=limits.MIN_FUNCTION_MEMORY_MB,
            most=limits.MAX_FUNCTION_MEMORY_MB,
            unit="MB",
        )
        seconds = self.timeout_seconds
        if seconds is not None:
            _checks.whole_number(
                "timeout",
                seconds,
                least=1,
                most=limits.MAX_FUNCTION_SECONDS,
                unit="seconds",
                remedy="Lambda stops there; split the items, or run longer work as a chain of states",
            )
        if len(self.layers) >= limits.MAX_LAYERS:
            raise ValueError(
                f"layers must be at most {limits.MAX_LAYERS - 1}, got {len(self.layers)}: a function takes "
                f"{limits.MAX_LAYERS} and the pipeline adds the distmap runtime"
            )

    @property
    def timeout_seconds(self) -> float | None:
        """Timeout in seconds, or ``None`` where it is known only at deployment."""
        timeout = Duration.seconds(60) if self.timeout is None else self.timeout
        return None if timeout.is_unresolved() else timeout.to_seconds()

    def build(
        self,
        scope: Construct,
        id: str,
        *,
        settings: FunctionSettings,
        reserved_concurrency: float | None = None,
        description: str | None = None,
    ) -> lambda_.Function:
        """Make the function, its role and its log group."""
        log_group = logs.LogGroup(
            scope,
            f"{id}Logs",
            retention=settings.log_retention,
            removal_policy=settings.removal_policy,
            encryption_key=settings.encryption_key,
        )
        function = lambda_.Function(
            scope,
            id,
            runtime=DEFAULT_RUNTIME if self.runtime is None else self.runtime,
            architecture=lambda_.Architecture.ARM_64 if self.architecture is None else self.architecture,
            code=_code.asset(self.folder, self.exclude),
            handler=self.handler,
            memory_size=self.memory_size,
            ephemeral_storage_size=self.ephemeral_storage,
            timeout=Duration.seconds(60) if self.timeout is None else self.timeout,
            environment=dict(self.environment) if self.environment is not None else None,
            environment_encryption=settings.encryption_key if self.environment else None,
            layers=[runtime_layer(scope), *self.layers],
            vpc=self.vpc,
            vpc_subnets=self.vpc_subnets,
            security_groups=list(self.security_groups) if self.security_groups is not None else None,
            reserved_concurrent_executions=reserved_concurrency,
            role=_role(scope, f"{id}Role", log_group=log_group, in_vpc=self.vpc is not None),
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE if settings.tracing else lambda_.Tracing.DISABLED,
            description=description,
        )
        if self.environment and settings.encryption_key is not None:
            # Sources differ on whether Lambda's own grant on the key is enough, so the role may do it as well.
            context = {"kms:EncryptionContext:aws:lambda:FunctionArn": function.function_arn}
            decrypting = _permissions.decrypt(settings.encryption_key, conditions={"StringEquals": context})
            _permissions.add(_permissions.policy_for(scope, id, function), [decrypting])
        return function


def _python_of(runtime: lambda_.Runtime) -> tuple[int, int]:
    """Return the version of Python of a runtime.

    Raises:
        ValueError: It is no Python, or one without a current boto3.
    """
    version = re.fullmatch(r"python3\.(\d+)", runtime.name)
    if version is None or int(version[1]) < _OLDEST_PYTHON:
        raise ValueError(f"runtime must be Python 3.{_OLDEST_PYTHON} or later, got {runtime.name!r}")
    return 3, int(version[1])


def _check_environment(environment: Mapping[str, str]) -> None:
    """Check environment variables.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    for name in environment:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", name) and not Token.is_unresolved(name):
            raise ValueError(
                f"environment has the name {name!r}: a name begins with a letter, has at least two characters, and "
                "only letters, digits and '_'"
            )
        if name in _RESERVED_VARIABLES:
            raise ValueError(f"environment must not set {name!r}, which Lambda sets itself: use another name")
    known = [text for pair in environment.items() for text in pair if not Token.is_unresolved(text)]
    size = sum(len(text.encode()) for text in known)
    if size > limits.MAX_ENVIRONMENT_BYTES:
        raise ValueError(
            f"environment must have at most {limits.MAX_ENVIRONMENT_BYTES:,} bytes in all, got {size:,}: put what is "
            "large into S3 or a parameter, and its name here"
        )


def _role(scope: Construct, id: str, *, log_group: logs.LogGroup, in_vpc: bool) -> iam.Role:
    """Role that may write to its own log group: AWSLambdaBasicExecutionRole would allow every log group."""
    role = iam.Role(scope, id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(
        iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group.log_group_arn])
    )
    if in_vpc:
        role.add_to_policy(iam.PolicyStatement(actions=_VPC_ACTIONS, resources=["*"]))
    return role


def known_timeout(function: lambda_.IFunction) -> float | None:
    """Timeout of a function in seconds where its definition is in this app, else ``None``."""
    timeout = getattr(_definition(function), "timeout", None)
    if not isinstance(timeout, int | float) or Token.is_unresolved(timeout):
        return 3 if isinstance(_definition(function), lambda_.CfnFunction) and timeout is None else None
    return timeout


def known_reservation(function: lambda_.IFunction) -> float | None:
    """Reserved concurrency of a function where its definition is in this app, else ``None``."""
    reserved = getattr(_definition(function), "reserved_concurrent_executions", None)
    return None if reserved is None or Token.is_unresolved(reserved) else float(reserved)


def _definition(function: lambda_.IFunction) -> object:
    # An alias or a version knows the function behind it.
    return getattr(function, "lambda_", function).node.default_child


def runtime_layer(scope: Construct) -> lambda_.LayerVersion:
    """Return the layer that holds the module ``distmap``: one for each stack.

    A layer rather than a copy in each asset: the user's folder stays exactly what was tested, its asset hash
    doesn't move with our version, and all functions of a stack share one upload.
    """
    stack = Stack.of(scope)
    existing = stack.node.try_find_child(RUNTIME_LAYER_ID)
    if isinstance(existing, lambda_.LayerVersion):
        return existing
    return lambda_.LayerVersion(
        stack,
        RUNTIME_LAYER_ID,
        code=_code.asset(str(_layer_folder(stack))),
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
