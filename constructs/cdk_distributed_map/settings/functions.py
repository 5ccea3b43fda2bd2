"""A Lambda function that is to be built from a folder of Python code, as it is declared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map.settings import checks, code_folder, handlers
from cdk_distributed_map.settings.bundling import Bundling, Wheels
from cdk_distributed_map.settings.handlers import Role
from distmap import limits

DEFAULT_RUNTIME = lambda_.Runtime.PYTHON_3_13
DEFAULT_ARCHITECTURE = lambda_.Architecture.ARM_64
DEFAULT_MEMORY_MB = 512
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
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """Not in the repr: it may hold secrets."""
    layers: Sequence[lambda_.ILayerVersion] = ()
    vpc: ec2.IVpc | None = None
    vpc_subnets: ec2.SubnetSelection | None = None
    security_groups: Sequence[ec2.ISecurityGroup] | None = None
    exclude: Sequence[str] = ()
    bundling: Bundling = field(default_factory=Wheels)
    beside: str = field(default="", init=False)
    """Folder of the handler's file, in the folder of the code."""
    is_decorated: bool = field(default=False, init=False)
    """Whether its source shows that the handler is decorated for its role."""

    def __post_init__(self) -> None:
        runtime = DEFAULT_RUNTIME if self.runtime is None else self.runtime
        file = handlers.check(self.folder, self.handler, role=self.role, python=python_of(runtime))
        object.__setattr__(self, "is_decorated", handlers.is_decorated(file, self.handler, role=self.role))
        # Found from where the program is now: Node, which reads the folder later, may have been started elsewhere.
        place = file.parent.relative_to(self.folder)
        object.__setattr__(self, "folder", str(Path(self.folder).resolve()))
        object.__setattr__(self, "beside", str(Path(self.folder, place)))
        code_folder.check_shipped(self.folder, self.exclude, file.resolve())
        code_folder.check_size(self.folder, self.exclude)
        check_function(environment=self.environment, memory_size=self.memory_size, timeout=self.timeout)
        if len(self.layers) >= limits.MAX_LAYERS:
            raise ValueError(
                f"layers must be at most {limits.MAX_LAYERS - 1}, got {len(self.layers)}: a function takes "
                f"{limits.MAX_LAYERS} and the pipeline adds the distmap runtime"
            )


def check_function(*, environment: Mapping[str, str] | None, memory_size: int, timeout: Duration | None) -> None:
    """Check what every function declares, however its code is packed.

    Raises:
        ValueError: Something is out of Lambda's bounds.
    """
    _check_environment(environment or {})
    checks.whole_number(
        "memory_size",
        memory_size,
        least=limits.MIN_FUNCTION_MEMORY_MB,
        most=limits.MAX_FUNCTION_MEMORY_MB,
        unit="MB",
    )
    if timeout is not None and not timeout.is_unresolved():
        checks.whole_number(
            "timeout",
            timeout.to_seconds(),
            least=1,
            most=limits.MAX_FUNCTION_SECONDS,
            unit="seconds",
            remedy="Lambda stops there; split the items, or run longer work as a chain of states",
        )


def is_arm(architecture: lambda_.Architecture | None) -> bool:
    """Tell whether a function runs on arm64, as it does where nothing else is declared."""
    return architecture is None or architecture.name == DEFAULT_ARCHITECTURE.name


def python_of(runtime: lambda_.Runtime) -> tuple[int, int]:
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
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", name) and not checks.is_token(name):
            raise ValueError(
                f"environment has the name {name!r}: a name begins with a letter, has at least two characters, and "
                "only letters, digits and '_'"
            )
        if name in _RESERVED_VARIABLES:
            raise ValueError(f"environment must not set {name!r}, which Lambda sets itself: use another name")
    texts = [text for pair in environment.items() for text in pair if not checks.is_token(text)]
    size = sum(len(text.encode()) for text in texts)
    if size > limits.MAX_ENVIRONMENT_BYTES:
        raise ValueError(
            f"environment must have at most {limits.MAX_ENVIRONMENT_BYTES:,} bytes in all, got {size:,}: put what is "
            "large into S3 or a parameter, and its name here"
        )
