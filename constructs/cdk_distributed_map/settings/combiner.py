"""Combine: one answer from all results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map.settings import kinds
from cdk_distributed_map.settings.bundling import Bundling, Wheels
from cdk_distributed_map.settings.functions import PythonFunction
from cdk_distributed_map.settings.handlers import Role

_DEFAULT_MEMORY_MB = 1024


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Combiner:
    """A function that runs after the map and gets the location of its manifest: use the factories.

    It gets :class:`distmap.wire.CombineEvent`; the runtime's ``combine_results`` streams every result from it.

    .. versionadded:: 0.1.0
    """

    declared: PythonFunction | None = None
    existing: lambda_.IFunction | None = None

    def __post_init__(self) -> None:
        if self.existing is None and self.declared is None:
            raise ValueError("a combiner needs a function: use Combiner.python(...) or Combiner.function(...)")

    @staticmethod
    @kinds.checked
    def python(
        folder: str,
        *,
        handler: str,
        runtime: lambda_.Runtime | None = None,
        architecture: lambda_.Architecture | None = None,
        memory_size: int | None = None,
        ephemeral_storage: Size | None = None,
        timeout: Duration | None = None,
        environment: Mapping[str, str] | None = None,
        layers: Sequence[lambda_.ILayerVersion] | None = None,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
        exclude: Sequence[str] | None = None,
        bundling: Bundling | None = None,
    ) -> Combiner:
        """Your Python function, built from a folder, with the runtime put in.

        The arguments are those of :meth:`Worker.python`, but the memory's default is 1,024 MB and the timeout's
        15 minutes.
        """
        return Combiner(
            declared=PythonFunction(
                folder=folder,
                handler=handler,
                role=Role.COMBINE,
                runtime=runtime,
                architecture=architecture,
                memory_size=_DEFAULT_MEMORY_MB if memory_size is None else memory_size,
                ephemeral_storage=ephemeral_storage,
                timeout=Duration.minutes(15) if timeout is None else timeout,
                environment=environment,
                layers=() if layers is None else layers,
                vpc=vpc,
                vpc_subnets=vpc_subnets,
                security_groups=security_groups,
                exclude=() if exclude is None else exclude,
                bundling=Wheels() if bundling is None else bundling,
            )
        )

    @staticmethod
    @kinds.checked
    def function(function: lambda_.IFunction) -> Combiner:
        """An existing function. It gets permission to read the results if its role is known."""
        return Combiner(existing=function)
