"""Workers: what processes the items."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration, Size
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.settings import checks, kinds
from cdk_distributed_map.settings.batching import AutomaticBatching, Batching, SingleItems
from cdk_distributed_map.settings.bundling import Bundling, Wheels
from cdk_distributed_map.settings.combiner import Combiner
from cdk_distributed_map.settings.concurrency import (
    DEFAULT_NESTED_CONCURRENCY,
    ReservedConcurrency,
    check_max_concurrency,
)
from cdk_distributed_map.settings.functions import DEFAULT_MEMORY_MB, PythonFunction
from cdk_distributed_map.settings.handlers import Role
from cdk_distributed_map.settings.images import ImageFunction
from cdk_distributed_map.settings.jobs import BatchJob, Container, DurableFunction, EcsTask, ItemBy, container_of
from cdk_distributed_map.settings.readings import ItemReading
from cdk_distributed_map.settings.results import Results
from cdk_distributed_map.settings.retry import RetryPolicy
from cdk_distributed_map.settings.sources import ItemSource
from distmap import limits


class ItemShape(enum.Enum):
    """What a worker gets for an item.

    .. versionadded:: 0.1.0
    """

    ENVELOPE = "envelope"
    """The item with its identity: :class:`distmap.wire.Envelope`, which the runtime takes."""
    BARE = "bare"
    """The item as the source has it. Its identity is then only its place in the run's input."""


class Worker:
    """Processes each item or batch of items: use the factories.

    .. versionadded:: 0.1.0
    """

    item_shape: ItemShape = ItemShape.ENVELOPE

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    takes_single_items: bool = False
    """Whether it can't take a batch."""

    @property
    def takes_batches(self) -> bool:
        """Whether it is known to take each item of a batch on its own, so that it gets batches by default."""
        return False

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
        reserved_concurrency: ReservedConcurrency | None = None,
        retry: RetryPolicy | None = None,
    ) -> Worker:
        """Your Python function, built from a folder, with the module ``distmap`` put in.

        Where its source shows that the handler is decorated with ``process_items``, the pipeline's default for batching
        is :meth:`Batching.automatic`; any other worker gets single items where nothing is said.

        Args:
            folder: Folder of the code; it becomes the function's root.
            handler: ``<module>.<function>`` in it, decorated with ``process_items``.
            runtime: Default: Python 3.13.
            architecture: Default: arm64.
            memory_size: Memory in MB, which decides the CPU too. Default: 512.
            ephemeral_storage: Size of ``/tmp``. Default: 512 MB.
            timeout: Up to 15 minutes. Default: 60 seconds; 15 minutes where Standard children get automatic batches and
                neither ``item_seconds`` nor ``max_items`` is set, so that each item may take 4 seconds.
            environment: Environment variables. Default: none.
            layers: Up to four layers beside the runtime's. Default: none.
            vpc: VPC to attach to. Default: none.
            vpc_subnets: Which of its subnets. Default: the private ones.
            security_groups: Default: a new one for the function.
            exclude: What of the folder isn't shipped, in the grammar of ``.gitignore``, such as ``tests/``; ``!name``
                takes back what is left out without being told, such as ``.env``, ``.git/``, ``.venv/``,
                ``__pycache__/``, ``node_modules/``, a ``tests/`` at its top and caches of tools. A ``.lambdaignore``
                and a ``.dockerignore`` in the folder count too. Default: nothing more.
            bundling: How the packages that the folder asks for, as by a ``requirements.txt``, come into the code.
                Default: ``Bundling.wheels()`` where it asks for any, for the function's own Python and architecture.
            reserved_concurrency: Default: as much as the map may run at once.
            retry: Errors of your own to retry. Default: none; Lambda's own and throttling always are.

        Raises:
            ValueError: The folder or the handler's file isn't there, or a number is out of bounds; or the packages it
                asks for can't be bundled, which the pipeline finds out.
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
            bundling=Wheels() if bundling is None else bundling,
        )
        reserved = ReservedConcurrency.match_max_concurrency() if reserved_concurrency is None else reserved_concurrency
        return PythonWorker(declared=declared, reserved=reserved, retry=retry)

    @staticmethod
    @kinds.checked
    def image(
        image: str | lambda_.DockerImageCode,
        *,
        architecture: lambda_.Architecture | None = None,
        memory_size: int | None = None,
        ephemeral_storage: Size | None = None,
        timeout: Duration | None = None,
        environment: Mapping[str, str] | None = None,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
        item_shape: ItemShape | None = None,
        reserved_concurrency: ReservedConcurrency | None = None,
        retry: RetryPolicy | None = None,
    ) -> Worker:
        """A function that runs a container image of up to 10 GB.

        Where a folder is given, the module ``distmap`` is put beside its Dockerfile, and the line
        ``COPY distmap ${LAMBDA_TASK_ROOT}/distmap`` takes it in. Nobody reads the handler in an image: items come one
        at a time where ``batching`` isn't said. Images don't run locally.

        Args:
            image: The folder of a Dockerfile, which is built for ``architecture``; or an image, such as
                ``DockerImageCode.from_ecr(repository, tag_or_digest="sha256:...")``.
            architecture: What the image is for. Default: arm64.
            memory_size: Memory in MB, which decides the CPU too. Default: 512.
            ephemeral_storage: Size of ``/tmp``. Default: 512 MB.
            timeout: Up to 15 minutes. Default: 60 seconds; 15 minutes where Standard children get automatic batches and
                neither ``item_seconds`` nor ``max_items`` is set, so that each item may take 4 seconds.
            environment: Environment variables. Default: none.
            vpc: VPC to attach to. Default: none.
            vpc_subnets: Which of its subnets. Default: the private ones.
            security_groups: Default: a new one for the function.
            item_shape: ``ENVELOPE`` for handlers that use the runtime, ``BARE`` for any other. Default: ``ENVELOPE``.
            reserved_concurrency: Default: as much as the map may run at once.
            retry: Errors of your own to retry. Default: none; Lambda's own and throttling always are.

        Raises:
            ValueError: The folder has no Dockerfile, or one of the numbers is out of bounds.

        .. versionadded:: 0.1.0
        """
        declared = ImageFunction(
            image=image,
            architecture=architecture,
            memory_size=DEFAULT_MEMORY_MB if memory_size is None else memory_size,
            ephemeral_storage=ephemeral_storage,
            timeout=timeout,
            environment=environment,
            vpc=vpc,
            vpc_subnets=vpc_subnets,
            security_groups=security_groups,
        )
        reserved = ReservedConcurrency.match_max_concurrency() if reserved_concurrency is None else reserved_concurrency
        return ImageWorker(declared=declared, item_shape=_shape(item_shape), reserved=reserved, retry=retry)

    @staticmethod
    @kinds.checked
    def function(
        function: lambda_.IFunction,
        *,
        item_shape: ItemShape | None = None,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
    ) -> Worker:
        """An existing function, or one of its versions or aliases.

        Args:
            function: What to invoke.
            item_shape: ``ENVELOPE`` for handlers that use the runtime, ``BARE`` for any other. Default: ``ENVELOPE``.
            retry: Errors of your own to retry. Default: none; Lambda's own and throttling always are.
            timeout: Timeout of the task. Default: the function's own and a minute.
        """
        return FunctionWorker(existing=function, item_shape=_shape(item_shape), retry=retry, timeout=timeout)

    @staticmethod
    @kinds.checked
    def durable_function(
        function: lambda_.IFunction, *, timeout: Duration | None = None, retry: RetryPolicy | None = None
    ) -> Worker:
        """A Lambda durable function, whose execution for an item is named by the run and the item's index.

        A call that is tried again finds the same execution; a round or a redrive begins a new one. What it returns is
        the item's result, and what it raises the item's failure.

        Args:
            function: A version or an alias. Its executions may take 15 minutes: they are invoked synchronously.
            timeout: Timeout of the task. Default: 16 minutes; the child's five minutes in Express children.
            retry: Errors of your own to retry. Default: none; Lambda's own and throttling always are.

        Raises:
            ValueError: It is unqualified, isn't durable, or its executions may take longer.
        """
        return JobWorker(job=DurableFunction(function=function, timeout=timeout, retry=retry))

    @staticmethod
    @kinds.checked
    def ecs_task(
        cluster: ecs.ICluster,
        task_definition: ecs.TaskDefinition,
        *,
        container: str | None = None,
        item: ItemBy | None = None,
        writes_result: bool | None = None,
        subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
        assign_public_ip: bool | None = None,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
    ) -> Worker:
        """A task of ECS for each item, on Fargate where its definition can, else on the cluster's instances.

        The container finds the item in ``DISTMAP_ITEM`` and writes its result, JSON text that fits into 256 KiB with
        its quotes counted twice, to ``DISTMAP_RESULT_KEY`` of ``DISTMAP_RESULT_BUCKET``. A task that ends with another
        exit code than 0 is the item's failure. Children must be Standard, and get single items.

        Args:
            cluster: Where it runs.
            task_definition: What runs; its role may then write results.
            container: Name of the container that gets the item. Default: the first one.
            item: How it gets it. Default: in the environment.
            writes_result: Whether it writes a result; else that of every item is null. Default: it does.
            subnets: Default: the cluster's private ones.
            security_groups: Default: a new one.
            assign_public_ip: Default: none.
            timeout: Longest that a task may take. Default: none.
            retry: Errors of your own to retry. Default: none; throttling and missing capacity always are.
        """
        return JobWorker(
            job=EcsTask(
                cluster=cluster,
                task_definition=task_definition,
                container=container_of(task_definition, container),
                item=ItemBy.ENVIRONMENT if item is None else item,
                writes_result=writes_result is not False,
                subnets=subnets,
                security_groups=security_groups,
                assign_public_ip=assign_public_ip is True,
                timeout=timeout,
                retry=retry,
            )
        )

    @staticmethod
    @kinds.checked
    def batch_job(
        job_definition: batch.IJobDefinition,
        job_queue: batch.IJobQueue,
        *,
        job_role: iam.IRole | None = None,
        item: ItemBy | None = None,
        writes_result: bool | None = None,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
    ) -> Worker:
        """A job of AWS Batch for each item, named by the run and the item's index; see :meth:`ecs_task`.

        Args:
            job_definition: What runs, with a single container.
            job_queue: Where it waits.
            job_role: Role of the container, which may then write results. Default: that of the definition.
            item: How the container gets the item. Default: in the environment.
            writes_result: Whether it writes a result; else that of every item is null. Default: it does.
            timeout: Longest that a job may wait and take. Default: none.
            retry: Errors of your own to retry. Default: none; throttling always is.
        """
        return JobWorker(
            job=BatchJob(
                job_definition=job_definition,
                job_queue=job_queue,
                job_role=job_role,
                item=ItemBy.ENVIRONMENT if item is None else item,
                writes_result=writes_result is not False,
                timeout=timeout,
                retry=retry,
            )
        )

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
        return StatesWorker(chain=chain, item_shape=_shape(item_shape))

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
        :class:`DistributedMapPipeline`, but the default of ``max_concurrency`` is 10 for each outer child. The
        tolerance is one of each inner map: where more of its items did not succeed, the run fails, batched or not.
        Where that would be for items that were left or lost for no fault of their own, the outer item runs again first,
        with its whole inner map. A tolerance that comes from the outer item (``$.value.tolerance``) is kept by Step
        Functions alone, which takes a batch as a whole.
        """
        return NestedWorker(
            map=MapSettings(
                items=items.reading,
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


def _shape(shape: ItemShape | None) -> ItemShape:
    return ItemShape.ENVELOPE if shape is None else shape


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """One map: its items, its worker and its limits. Checked when it is declared."""

    items: ItemReading
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
        elif self.worker.takes_single_items and self.batches is not None:
            raise ValueError(
                f"batching can't be combined with {self.worker!r}, which takes one item at a time: leave it out, or "
                "use Batching.none()"
            )

    def _check_outer(self) -> None:
        if self.express:
            raise ValueError(
                "child_type is EXPRESS but the worker is a nested map, which an Express child can't run: use STANDARD"
            )
        if self.batches is not None:
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
    def batches(self) -> Batching | None:
        """How items are grouped, by default where nothing is said; None where each child gets a single item."""
        if self.batching is None:
            return AutomaticBatching() if self.worker.takes_batches else None
        return None if isinstance(self.batching, SingleItems) else self.batching

    @property
    def assumes_seconds(self) -> bool:
        """Whether Standard children get batches that were sized without knowing the seconds of an item."""
        batches = self.batches
        assumed = isinstance(batches, AutomaticBatching) and batches.item_seconds is None and batches.max_items is None
        return assumed and not self.express

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

    @property
    def takes_batches(self) -> bool:
        """Whether its source shows that ``process_items`` gives it its items."""
        return self.declared.is_decorated


@dataclass(frozen=True, kw_only=True)
class ImageWorker(Worker):
    """A function the pipeline makes of an image."""

    declared: ImageFunction
    item_shape: ItemShape
    reserved: ReservedConcurrency
    retry: RetryPolicy | None


@dataclass(frozen=True, kw_only=True)
class FunctionWorker(Worker):
    """An existing function."""

    existing: lambda_.IFunction
    item_shape: ItemShape
    retry: RetryPolicy | None
    timeout: Duration | None


@dataclass(frozen=True, kw_only=True)
class StatesWorker(Worker):
    """The user's own states."""

    chain: sfn.IChainable | Callable[[Construct], sfn.IChainable]
    item_shape: ItemShape


@dataclass(frozen=True, kw_only=True)
class JobWorker(Worker):
    """A durable function, or a container of ECS or AWS Batch."""

    job: DurableFunction | Container
    takes_single_items: bool = True

    def __repr__(self) -> str:
        return f"a worker of the kind {type(self.job).__name__}"


@dataclass(frozen=True, kw_only=True)
class NestedWorker(Worker):
    """A map inside the map."""

    map: MapSettings
