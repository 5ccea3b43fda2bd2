"""What is run for the items."""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import _checks, _kinds, _warnings
from cdk_distributed_map._batching import Batching
from cdk_distributed_map._combine import Combiner
from cdk_distributed_map._concurrency import (
    DEFAULT_NESTED_CONCURRENCY,
    ReservedConcurrency,
    check_max_concurrency,
    check_reservation,
)
from cdk_distributed_map._functions import (
    DEFAULT_MEMORY_MB,
    FunctionSettings,
    PythonFunction,
    known_reservation,
    known_timeout,
)
from cdk_distributed_map._handlers import Role
from cdk_distributed_map._results import Results
from cdk_distributed_map._retry import RetryPolicy
from cdk_distributed_map._sources import ItemSource
from cdk_distributed_map._tasks import LambdaTask
from distmap import limits

if TYPE_CHECKING:
    from cdk_distributed_map._parts import Parts


class ItemShape(enum.Enum):
    """What a worker gets for an item."""

    ENVELOPE = "envelope"
    """The item with its identity: :class:`distmap.wire.Envelope`, which the runtime takes."""
    BARE = "bare"
    """The item as the source has it. Its identity is then only its place in the run's input."""


@dataclass(frozen=True, kw_only=True)
class WorkerPlace:
    """Where a worker is put to work."""

    concurrency: float | str
    """How many of it can run at once: the product over all levels of nesting, where it is known."""
    settings: FunctionSettings
    bucket: s3.IBucket
    payload_prefix: str
    label: str
    """Label of the map that runs it."""


class BoundWorker(abc.ABC):
    """A worker in its place: makes its chain of states as often as it is asked to."""

    function: lambda_.IFunction | None = None
    """The Lambda function, where the worker is one."""
    inner: Parts | None = None
    """What the inner map is made of, where the worker is one."""

    @abc.abstractmethod
    def chain(self, scope: Construct, *, name: str, express: bool) -> sfn.IChainable:
        """Return new states under ``scope``; their names begin with ``name``."""

    def timeout_seconds(self) -> float | None:
        """Return the longest a child's work can take, where it is known."""
        return None if self.function is None else known_timeout(self.function)


class Worker(abc.ABC):
    """What is run for each item or batch of items: use the factories."""

    item_shape: ItemShape = ItemShape.ENVELOPE

    @staticmethod
    @_kinds.checked
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
        reserved = ReservedConcurrency.matching() if reserved_concurrency is None else reserved_concurrency
        return PythonWorker(declared=declared, reserved=reserved, retry=retry)

    @staticmethod
    @_kinds.checked
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
    @_kinds.checked
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
    @_kinds.checked
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

        The outer children must be Standard and unbatched. Items of the inner map can come from the outer item, for
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

    @abc.abstractmethod
    def bind(self, scope: Construct, *, place: WorkerPlace) -> BoundWorker:
        """Make what the worker needs, once, under ``scope``.

        Raises:
            ValueError: The map would run more of it than it may.
        """


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
        _checks.whole_number(
            "tolerated_failure_count", self.tolerated_failure_count, least=0, most=limits.MAX_ITEMS, unit="items"
        )
        _checks.percentage("tolerated_failure_percentage", self.tolerated_failure_percentage)
        _checks.tolerances(self.tolerated_failure_count, self.tolerated_failure_percentage)
        if self.label is not None:
            _checks.label(self.label)
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

    def bind(self, scope: Construct, *, place: WorkerPlace) -> BoundWorker:
        """Build the function."""
        reserved = self.reserved.resolve(place.concurrency)
        if not isinstance(place.concurrency, str):
            check_reservation(place.concurrency, reserved, what="the worker")
        _warnings.large_reservation(scope, reserved)
        function = self.declared.build(
            scope,
            "Worker",
            settings=place.settings,
            reserved_concurrency=reserved,
            description="processes the items of a Distributed Map",
        )
        return BoundFunction(function=function, retry=self.retry, timeout=None)


@dataclass(frozen=True, kw_only=True)
class FunctionWorker(Worker):
    """A function made elsewhere."""

    given: lambda_.IFunction
    item_shape: ItemShape
    retry: RetryPolicy | None
    timeout: Duration | None

    def bind(self, scope: Construct, *, place: WorkerPlace) -> BoundWorker:
        """Check its reservation."""
        del scope
        if not isinstance(place.concurrency, str):
            reserved = known_reservation(self.given)
            check_reservation(place.concurrency, reserved, what=f"the function {self.given.node.path!r}")
        return BoundFunction(function=self.given, retry=self.retry, timeout=self.timeout)


@dataclass(frozen=True, kw_only=True)
class BoundFunction(BoundWorker):
    """A worker that is one Lambda task."""

    function: lambda_.IFunction
    retry: RetryPolicy | None
    timeout: Duration | None

    def chain(self, scope: Construct, *, name: str, express: bool) -> sfn.IChainable:
        """Return a new task."""
        return LambdaTask(
            scope,
            "Process",
            state_name=f"{name} process",
            function=self.function,
            retry=self.retry,
            timeout=self.timeout,
            express=express,
        )


@dataclass(frozen=True, kw_only=True)
class StatesWorker(Worker):
    """The user's own states."""

    given: sfn.IChainable | Callable[[Construct], sfn.IChainable]
    item_shape: ItemShape

    def bind(self, scope: Construct, *, place: WorkerPlace) -> BoundWorker:
        """Make nothing: the states are made with the map."""
        del scope, place
        return _BoundStates(self.given)


class _BoundStates(BoundWorker):
    def __init__(self, given: sfn.IChainable | Callable[[Construct], sfn.IChainable]) -> None:
        self._given = given
        self._used = False

    def chain(self, scope: Construct, *, name: str, express: bool) -> sfn.IChainable:
        del name, express
        if callable(self._given):
            made = self._given(scope)
            if not hasattr(made, "start_state"):
                raise TypeError(f"the function of Worker.states must return a chain of states, got {made!r}")
            return made
        if self._used:
            raise ValueError(
                "the worker's states are in the pipeline's own state machine already: give Worker.states a function "
                "that makes the chain, as in Worker.states(lambda scope: ...), so that the fragment gets its own"
            )
        self._used = True
        return self._given


@dataclass(frozen=True, kw_only=True)
class NestedWorker(Worker):
    """A map inside the map."""

    map: MapSettings

    def bind(self, scope: Construct, *, place: WorkerPlace) -> BoundWorker:
        """Make what the inner map needs under ``<scope>/Nested``."""
        from cdk_distributed_map._flow import bind_nested  # noqa: PLC0415 - a map holds a worker holds a map

        return bind_nested(scope, self.map, place=place)
