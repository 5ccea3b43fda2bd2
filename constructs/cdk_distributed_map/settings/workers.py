"""What is run for the items."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.settings import checks, kinds
from cdk_distributed_map.settings.batching import Batching
from cdk_distributed_map.settings.combiner import Combiner
from cdk_distributed_map.settings.concurrency import (
    DEFAULT_NESTED_CONCURRENCY,
    ReservedConcurrency,
    check_max_concurrency,
)
from cdk_distributed_map.settings.functions import DEFAULT_MEMORY_MB, PythonFunction
from cdk_distributed_map.settings.handlers import Role
from cdk_distributed_map.settings.results import Results
from cdk_distributed_map.settings.retry import RetryPolicy
from cdk_distributed_map.settings.sources import ItemSource
from distmap import limits


class ItemShape(enum.Enum):
    """What a worker gets for an item."""

    ENVELOPE = "envelope"
    """The item with its identity: :class:`distmap.wire.Envelope`, which the runtime takes."""
    BARE = "bare"
    """The item as the source has it. Its identity is then only its place in the run's input."""


class Worker:
    """What is run for each item or batch of items: use the factories."""

    item_shape: ItemShape = ItemShape.ENVELOPE

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
        reserved_concurrency: ReservedConcurrency | None = None,
        retry: RetryPolicy | None = None,
    ) -> Worker:
        """Your Python function, built from a folder, with the module ``distmap`` put in.

        Args:
            folder: Folder of the code; it becomes the function's root.
            handler: ``<module>.<function>`` in it, decorated with ``process_items``.
            runtime: Default: Python 3.13.
            architecture: Default: arm64.
            memory_size: Memory in MB, which decides the CPU too. Default: 512.
            ephemeral_storage: Size of ``/tmp``. Default: 512 MB.
            timeout: Up to 15 minutes. Default: 60 seconds.
            environment: Environment variables. Default: none.
            layers: Up to four layers beside the runtime's. Default: none.
            vpc: VPC to attach to. Default: none.
            vpc_subnets: Which of its subnets. Default: the private ones.
            security_groups: Default: a new one for the function.
            exclude: What of the folder isn't shipped, in the grammar of ``.gitignore``, such as ``tests/``; ``!name``
                takes back what is left out without being told, such as ``.env``, ``.git/``, ``.venv/``,
                ``__pycache__/``, ``node_modules/`` and caches of tools. A ``.lambdaignore`` and a ``.dockerignore`` in
                the folder count too. Default: nothing more.
            reserved_concurrency: Default: as much as the map may run at once.
            retry: Errors of your own to retry. Default: none; Lambda's own and throttling always are.

        Raises:
            ValueError: The folder or the handler's file isn't there, or a number is out of bounds.
        """
        declared = PythonFunction(
            folder=folder,
            handler=handler,
            role=Role.WORKER,
            runtime=runtime,
            architecture=architecture,
            memory_size=DEFAULT_MEMORY_MB if memory_size is None else memory_size,
            ephemeral_storage=ephemeral_storage,
            timeout=timeout,
            environment=environment,
            layers=() if layers is None else layers,
            vpc=vpc,
            vpc_subnets=vpc_subnets,
            security_groups=security_groups,
            exclude=() if exclude is None else exclude,
        )
        reserved = ReservedConcurrency.match_max_concurrency() if reserved_concurrency is None else reserved_concurrency
        return PythonWorker(declared=declared, reserved=reserved, retry=retry)

    @staticmethod
    @kinds.checked
    def function(
        function: lambda_.IFunction,
        *,
        item_shape: ItemShape | None = None,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
    ) -> Worker:
        """A function made elsewhere, or one of its versions or aliases.

        Args:
            function: What to invoke.
            item_shape: ``ENVELOPE`` for handlers that use the runtime, ``BARE`` for any other. Default: ``ENVELOPE``.
            retry: Errors of your own to retry. Default: none; Lambda's own and throttling always are.
            timeout: Timeout of the task. Default: the function's own and a minute.
        """
        return FunctionWorker(given=function, item_shape=_shape(item_shape), retry=retry, timeout=timeout)

    @staticmethod
    @kinds.checked
    def states(
        chain: sfn.IChainable | Callable[[Construct], sfn.IChainable],
        *,
        item_shape: ItemShape | None = None,
    ) -> Worker:
        """Any chain of states, such as SDK integrations or several steps.

        Args:
            chain: The states; or a function that makes them under the construct it gets, which is needed where the
                same pipeline is used as a ``fragment`` too, since a state belongs to one state machine.
            item_shape: What the first state gets. Default: ``ENVELOPE``.
        """
        return StatesWorker(given=chain, item_shape=_shape(item_shape))

    @staticmethod
    @kinds.checked
    def nested(
        *,
        items: ItemSource,
        worker: Worker,
        max_concurrency: float | str | None = None,
        batching: Batching | None = None,
        child_type: sfn.StateMachineType | None = None,
        tolerated_failure_count: float | str | None = None,
        tolerated_failure_percentage: float | str | None = None,
        item_selector: Mapping[str, Any] | None = None,
        results: Results | None = None,
        combine: Combiner | None = None,
        label: str | None = None,
    ) -> Worker:
        """A map inside the map: each item of the outer one is the input of a map of its own.

        The outer children must be Standard and unbatched, and the items around it from one file, a listing or the
        input. Items of the inner map can come from the outer item, for
        instance ``ItemSource.state_array("$.value.rows")``. Every child knows the root run by ``run`` in its
        envelope or batch input, and where it is nested by ``run.path``. The arguments are those of
        :class:`DistributedMapPipeline`, but the default of ``max_concurrency`` is 10 for each outer child.
        """
        return NestedWorker(
            map=MapSettings(
                items=items,
                worker=worker,
                max_concurrency=DEFAULT_NESTED_CONCURRENCY if max_concurrency is None else max_concurrency,
                batching=batching,
                child_type=sfn.StateMachineType.STANDARD if child_type is None else child_type,
                tolerated_failure_count=tolerated_failure_count,
                tolerated_failure_percentage=tolerated_failure_percentage,
                item_selector=item_selector,
                results=Results() if results is None else results,
                combine=combine,
                label=label,
            )
        )


def _shape(given: ItemShape | None) -> ItemShape:
    return ItemShape.ENVELOPE if given is None else given


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """One map: its items, its worker and its limits. Checked when it is declared."""

    items: ItemSource
    worker: Worker
    max_concurrency: float | str
    batching: Batching | None
    child_type: sfn.StateMachineType
    tolerated_failure_count: float | str | None
    tolerated_failure_percentage: float | str | None
    item_selector: Mapping[str, Any] | None
    results: Results
    combine: Combiner | None
    label: str | None

    def __post_init__(self) -> None:
        check_max_concurrency(self.max_concurrency)
        checks.whole_number(
            "tolerated_failure_count", self.tolerated_failure_count, least=0, most=limits.MAX_ITEMS, unit="items"
        )
        checks.percentage("tolerated_failure_percentage", self.tolerated_failure_percentage)
        checks.tolerances(self.tolerated_failure_count, self.tolerated_failure_percentage)
        if self.label is not None:
            checks.label(self.label)
        if self.nests:
            self._check_outer()

    def _check_outer(self) -> None:
        if self.express:
            raise ValueError(
                "child_type is EXPRESS but the worker is a nested map, which an Express child can't run: use STANDARD"
            )
        if self.batching is not None:
            raise ValueError(
                "batching can't be combined with a nested map: each item of the outer map starts an inner one, so "
                "batch the inner map instead"
            )
        if self.items.reads_several_files:
            # The folder of an inner run is named by the index of its outer item. Named by its file as well, paths into
            # runs would hold keys of the user's.
            raise ValueError(
                "a nested map can't be inside a source of several files (load=, an inventory, an Athena manifest): AWS "
                "may number their items file by file, and inner runs of one number would share a folder; write the "
                "items into one file first with ItemSource.captured(...)"
            )

    @property
    def express(self) -> bool:
        """Whether the children are Express executions."""
        return self.child_type == sfn.StateMachineType.EXPRESS

    @property
    def nests(self) -> bool:
        """Whether each item is the input of a map of its own."""
        return isinstance(self.worker, NestedWorker)

    @property
    def enveloped(self) -> bool:
        """Whether children get items with their identity."""
        return self.worker.item_shape is ItemShape.ENVELOPE


@dataclass(frozen=True, kw_only=True)
class PythonWorker(Worker):
    """A function the pipeline builds."""

    declared: PythonFunction
    reserved: ReservedConcurrency
    retry: RetryPolicy | None


@dataclass(frozen=True, kw_only=True)
class FunctionWorker(Worker):
    """A function made elsewhere."""

    given: lambda_.IFunction
    item_shape: ItemShape
    retry: RetryPolicy | None
    timeout: Duration | None


@dataclass(frozen=True, kw_only=True)
class StatesWorker(Worker):
    """The user's own states."""

    given: sfn.IChainable | Callable[[Construct], sfn.IChainable]
    item_shape: ItemShape


@dataclass(frozen=True, kw_only=True)
class NestedWorker(Worker):
    """A map inside the map."""

    map: MapSettings
