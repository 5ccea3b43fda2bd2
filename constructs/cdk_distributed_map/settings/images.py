"""A Lambda function that runs a container image, as it is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map.settings.functions import DEFAULT_MEMORY_MB, check_function

RUNTIME_FOLDER = "distmap"
"""Name of the folder in the build's context that holds the module ``distmap``."""


@dataclass(frozen=True, kw_only=True)
class ImageFunction:
    """A function to be made of an image, checked when it is declared."""

    image: str | lambda_.DockerImageCode
    """The folder of a Dockerfile, or an image."""
    architecture: lambda_.Architecture | None = None
    memory_size: int = DEFAULT_MEMORY_MB
    ephemeral_storage: Size | None = None
    timeout: Duration | None = None
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    """Not in the repr: it may hold secrets."""
    vpc: ec2.IVpc | None = None
    vpc_subnets: ec2.SubnetSelection | None = None
    security_groups: Sequence[ec2.ISecurityGroup] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.image, str):
            object.__setattr__(self, "image", str(_checked_folder(self.image)))
        check_function(environment=self.environment, memory_size=self.memory_size, timeout=self.timeout)


def _checked_folder(name: str) -> Path:
    """Return the folder of a Dockerfile, from where the program is now.

    Raises:
        ValueError: It isn't one.
    """
    folder = Path(name).resolve()
    if not (folder / "Dockerfile").is_file():
        raise ValueError(
            f"image {name!r} has no Dockerfile: name the folder that holds it, or give an image of Amazon ECR with "
            "DockerImageCode.from_ecr(repository, tag_or_digest=...)"
        )
    if (folder / RUNTIME_FOLDER).exists():
        raise ValueError(
            f"image {name!r} holds {RUNTIME_FOLDER!r}, the name under which the runtime module is put beside the "
            "Dockerfile: give yours another name"
        )
    return folder
