"""What a map needs beside its states: functions, their permissions, and where a run's files are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.names import item_file_label, label_from
from cdk_distributed_map.resources.functions import (
    FunctionSettings,
    build_function,
    known_reservation,
    known_timeout,
)
from cdk_distributed_map.resources.task_files import TaskFiles
from cdk_distributed_map.settings import checks, synthesis_warnings
from cdk_distributed_map.settings.accounting import Accounting
from cdk_distributed_map.settings.captures import Capture
from cdk_distributed_map.settings.combiner import Combiner
from cdk_distributed_map.settings.concurrency import check_reservation
from cdk_distributed_map.settings.expressions import quote, wrap
from cdk_distributed_map.settings.jobs import Container, DurableFunction, EcsTask
from cdk_distributed_map.settings.readings import CapturedItems
from cdk_distributed_map.settings.workers import (
    FunctionWorker,
    ImageWorker,
    JobWorker,
    MapSettings,
    NestedWorker,
    PythonWorker,
    Worker,
)
from distmap import wire
from distmap.limits import MAX_FUNCTION_SECONDS, MAX_LABEL_LENGTH

_OF_RETRY = (
    '$type($states.input) = "object" and $type($states.input.items) = "object" '
    'and $states.input.items.enveloped = true and $type($states.input.items.firstRun) = "string"'
)
"""JSONata: whether the input is a retry's, which says whose items it runs again."""


@dataclass(frozen=True, kw_only=True)
class RunLocation:
    """Where a run's files are and how a state says which run it belongs to."""

    bucket: s3.IBucket
    payload_prefix: str
    run: Any
    """Rendered :class:`distmap.wire.Run`: an object of expressions, or one expression."""
    folder: str
    """JSONata: where the files of this map belong."""
    nested: bool


@dataclass(kw_only=True)
class WorkerResources:
    """What a worker needs, made once."""

    worker: Worker
    function: lambda_.IFunction | None = None
    """The Lambda function, where it calls one: for a nested map that of the innermost."""
    inner: MapResources | None = None
    """What the inner map needs, where the worker is one."""
    inner_location: RunLocation | None = None
    """Where the files of the inner map are."""
    job: DurableFunction | Container | None = None
    """What is run for an item, where it is neither a function nor states."""
    files: TaskFiles | None = None
    """Where a container's item and result are."""
    security_groups: Sequence[ec2.ISecurityGroup] | None = None
    """Those of a task of ECS: one group for however many states run it; None where its network has none."""
    states_used: bool = False
    """Whether the user's own states, which can be in one state machine only, are in one."""

    @property
    def innermost(self) -> WorkerResources:
        """The worker of the innermost map."""
        return self if self.inner is None else self.inner.worker.innermost

    @property
    def observed(self) -> lambda_.IFunction | None:
        """The function whose metrics are the worker's, which may be a durable one."""
        worker = self.innermost
        return worker.job.function if isinstance(worker.job, DurableFunction) else worker.function

    def timeout_seconds(self) -> float | None:
        """Return the longest a child's work can take, where it is known: of an inner map it isn't."""
        return None if self.function is None or self.inner is not None else known_timeout(self.function)


@dataclass(frozen=True, kw_only=True)
class AccountResources:
    """The account function, and the settings that it gets."""

    function: lambda_.Function
    accounting: Accounting
    settings: dict[str, Any]
    """:class:`distmap.wire.AccountSettings` without the tolerance, which may come from a run's input."""


@dataclass(frozen=True, kw_only=True)
class MapResources:
    """What a map needs, made once however many state machines it is used in."""

    scope: Construct
    """Where they were made."""
    map: MapSettings
    label: str
    worker: WorkerResources
    results_bucket: s3.IBucket
    capture: lambda_.IFunction | None = None
    combine: lambda_.IFunction | None = None
    account: AccountResources | None = None
    """What accounts for a run: at the outermost map alone."""

    @property
    def inner(self) -> MapResources | None:
        """What the map inside each child needs, where there is one."""
        return self.worker.inner

    @property
    def has_item_file_map(self) -> bool:
        """Whether an item file needs a map of its own: its reader or its selector differs from the source's."""
        own_reader = not isinstance(self.map.items, CapturedItems)
        return own_reader or (self.map.item_selector is not None and not self.map.enveloped)

    @property
    def has_express_children(self) -> bool:
        """Whether the children of any of its maps are Express executions."""
        return self.map.express or (self.inner is not None and self.inner.has_express_children)

    def root_labels(self) -> list[str]:
        """Return the labels of the outermost maps."""
        return [self.label, item_file_label(self.label)] if self.has_item_file_map else [self.label]

    def inner_labels(self) -> list[str]:
        """Return the labels of the maps nested in it."""
        return [] if self.inner is None else [self.inner.label, *self.inner.inner_labels()]

    def copied_labels(self) -> list[str]:
        """Return the labels of nested maps that are copies of others, in the map over an item file."""
        return [item_file_label(label) for label in self.inner_labels()] if self.has_item_file_map else []

    def functions(self) -> list[tuple[Construct, str, lambda_.IFunction]]:
        """Return each function of all its maps, with the scope and the id that its rights are under."""
        own = {"Capture": self.capture, "Combine": self.combine}
        if self.account is not None:
            own["Account"] = self.account.function
        if self.inner is None:
            own["Worker"] = self.worker.function
        functions_here = [(self.scope, name, function) for name, function in own.items() if function is not None]
        return functions_here if self.inner is None else [*functions_here, *self.inner.functions()]

    def all_inner(self) -> list[MapResources]:
        """Return what the maps nested in it need, outer before inner."""
        return [] if self.inner is None else [self.inner, *self.inner.all_inner()]

    def results_buckets(self) -> list[s3.IBucket]:
        """Return the buckets that the results of all its maps are exported to."""
        return [resources.results_bucket for resources in (self, *self.all_inner())]

    def nested_settings(self) -> list[wire.NestedMapSettings]:
        """Return what the account function must know of the maps nested in it."""
        if self.inner is None:
            return []
        inner = self.inner
        return [
            {
                "label": inner.label,
                "batched": inner.map.batches is not None,
                "resultsBucket": inner.results_bucket.bucket_name,
                "nested": inner.nested_settings(),
            }
        ]

    def labels(self) -> list[str]:
        """Return the labels of all its maps."""
        return [*self.root_labels(), *self.inner_labels(), *self.copied_labels()]


def root_location(bucket: s3.IBucket, payload_prefix: str) -> RunLocation:
    """Return the location of a root run."""
    folder = f"({quote(payload_prefix + wire.RUNS_FOLDER + '/')} & $states.context.Execution.Name)"
    run = {
        "id": wrap("$states.context.Execution.Id"),
        "firstRun": wrap(f"{_OF_RETRY} ? $states.input.items.firstRun : $states.context.Execution.Id"),
        "name": wrap("$states.context.Execution.Name"),
        "bucket": bucket.bucket_name,
        "prefix": wrap(folder),
        "path": "",
    }
    return RunLocation(bucket=bucket, payload_prefix=payload_prefix, run=run, folder=folder, nested=False)


def nested_location(bucket: s3.IBucket, payload_prefix: str, label: str) -> RunLocation:
    """Return the location of a map inside the outer one's children: they know the run by their envelope."""
    path = '$states.input.run.path & "/" & $string($states.input.index)'
    run = wrap(f'$merge([$states.input.run, {{"path": {path}}}])')
    folder = f"($states.input.run.prefix & {quote(f'/{wire.NESTED_FOLDER}/{label}')} & {path})"
    return RunLocation(bucket=bucket, payload_prefix=payload_prefix, run=run, folder=folder, nested=True)


def create_map_resources(
    scope: Construct,
    settings: MapSettings,
    *,
    default_label: str,
    bucket: s3.IBucket,
    payload_prefix: str,
    functions: FunctionSettings,
    outer_concurrency: float | str = 1,
    nested: bool = False,
) -> MapResources:
    """Make the functions of a map under ``scope`` and give them what they need."""
    settings.items.validate(scope)
    results_bucket = bucket if settings.results.bucket is None else settings.results.bucket
    if results_bucket is not bucket:
        checks.same_region(scope, results_bucket, name="the bucket of the results")
        checks.same_account(scope, results_bucket, name="the bucket of the results")
    folders = [(bucket, f"{payload_prefix}{kind}/") for kind in (wire.RUNS_FOLDER, wire.ITEM_FILES_FOLDER)]
    folders.append((results_bucket, f"{payload_prefix}{wire.RUNS_FOLDER}/"))
    synthesis_warnings.lists_runs(scope, settings.items.listed(), folders)
    concurrency = _product(outer_concurrency, settings.max_concurrency)
    label = label_from(default_label) if settings.label is None else settings.label
    context = _Context(
        scope=scope,
        concurrency=concurrency,
        functions=functions,
        bucket=bucket,
        payload_prefix=payload_prefix,
        label=label,
        timeout=Duration.seconds(MAX_FUNCTION_SECONDS) if settings.assumes_seconds else None,
    )
    worker = _worker_resources(settings.worker, context)
    if worker.function is not None and settings.enveloped and worker.inner is None:
        spilling = permissions.write_objects(bucket, _spill(payload_prefix))
        permissions.add(permissions.policy_for(scope, "Worker", worker.function), spilling)
    capture = None
    if isinstance(settings.items, CapturedItems):
        capture = _capture_function(context, settings.items, nested=nested)
    combine = None
    if settings.combine is not None:
        combine = _function(scope, "Combine", settings.combine, functions, "combines the results of a run")
        needed = _combine_statements(bucket, results_bucket, payload_prefix)
        permissions.add(permissions.policy_for(scope, "Combine", combine), needed)
    return MapResources(
        scope=scope,
        map=settings,
        label=label,
        worker=worker,
        results_bucket=results_bucket,
        capture=capture,
        combine=combine,
    )


def _capture_function(context: _Context, items: CapturedItems, *, nested: bool) -> lambda_.IFunction:
    """Make the function that writes the item file, which a nested map has in the folder of its own run."""
    scope, capture = context.scope, items.capture
    function = _function(scope, "Capture", capture, context.functions, capture.description)
    below_run = (wire.NESTED_FOLDER, "*", wire.ITEMS_FILE) if nested else (wire.ITEMS_FILE,)
    writing = permissions.write_objects(
        context.bucket,
        permissions.runs(context.payload_prefix, *below_run),
        also=["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
    )
    permissions.add(permissions.policy_for(scope, "Capture", function), [*writing, *capture.statements()])
    return function


@dataclass(frozen=True, kw_only=True)
class _Context:
    """Where a worker is put to work."""

    scope: Construct
    concurrency: float | str
    """How many of it can run at once: the product over all levels of nesting, where it is known."""
    functions: FunctionSettings
    bucket: s3.IBucket
    payload_prefix: str
    label: str
    """Label of the map that runs it."""
    timeout: Duration | None
    """Timeout of a function that we build and nobody gave one; None for the usual one."""


def _worker_resources(worker: Worker, context: _Context) -> WorkerResources:
    """Make what a worker needs.

    Raises:
        ValueError: The map would run more of it than it may.
    """
    concurrency = context.concurrency
    match worker:
        case (
            PythonWorker(declared=declared, reserved=reservation) | ImageWorker(declared=declared, reserved=reservation)
        ):
            reserved = reservation.resolve(concurrency)
            if not isinstance(concurrency, str):
                check_reservation(concurrency, reserved, what="the worker")
            synthesis_warnings.large_reservation(context.scope, reserved)
            function = build_function(
                context.scope,
                "Worker",
                declared,
                settings=context.functions,
                reserved_concurrency=reserved,
                default_timeout=context.timeout,
                description="processes the items of a Distributed Map",
            )
            return WorkerResources(worker=worker, function=function)
        case FunctionWorker(existing=existing):
            if not isinstance(concurrency, str):
                check_reservation(concurrency, known_reservation(existing), what=f"the function {existing.node.path!r}")
            return WorkerResources(worker=worker, function=existing)
        case NestedWorker(map=settings):
            return _nested_resources(worker, settings, context)
        case JobWorker(job=job):
            files = TaskFiles(bucket=context.bucket, payload_prefix=context.payload_prefix)
            if isinstance(job, Container):
                files.allow(context.scope, job)
            groups = _security_groups(context.scope, job) if isinstance(job, EcsTask) else None
            return WorkerResources(worker=worker, job=job, files=files, security_groups=groups)
        case _:
            # The states of users are made with the map.
            return WorkerResources(worker=worker)


def _security_groups(scope: Construct, task: EcsTask) -> Sequence[ec2.ISecurityGroup] | None:
    if task.security_groups is not None or task.task_definition.network_mode != ecs.NetworkMode.AWS_VPC:
        return task.security_groups
    return [ec2.SecurityGroup(scope, "TaskSecurityGroup", vpc=task.cluster.vpc)]


def _nested_resources(worker: Worker, settings: MapSettings, context: _Context) -> WorkerResources:
    scope = Construct(context.scope, "Nested")
    synthesis_warnings.open_map_runs(scope, context.concurrency)
    inner = create_map_resources(
        scope,
        settings,
        default_label=f"{label_from(context.label)[: MAX_LABEL_LENGTH - len('-Nested')]}-Nested",
        bucket=context.bucket,
        payload_prefix=context.payload_prefix,
        functions=context.functions,
        outer_concurrency=context.concurrency,
        nested=True,
    )
    location = nested_location(context.bucket, context.payload_prefix, inner.label)
    return WorkerResources(worker=worker, function=inner.worker.function, inner=inner, inner_location=location)


def _function(
    scope: Construct, id: str, setting: Capture | Combiner, functions: FunctionSettings, description: str
) -> lambda_.IFunction:
    """Return the function of a capture or a combiner, made under ``scope`` where it isn't given."""
    if setting.existing is not None:
        return setting.existing
    assert setting.declared is not None  # noqa: S101 - one of the two is there
    return build_function(scope, id, setting.declared, settings=functions, description=description)


def _product(outer: float | str, own: float | str) -> float | str:
    """Concurrency over all levels; one that comes from the input makes the product unknown."""
    if isinstance(outer, str) or isinstance(own, str):
        return own if outer == 1 else "$"
    if outer == 1:
        return own
    if not (checks.is_known(outer) and checks.is_known(own)):
        return "$"
    return outer * own


def _spill(payload_prefix: str) -> str:
    return permissions.runs(payload_prefix, wire.SPILL_FOLDER, "*")


def _combine_statements(bucket: s3.IBucket, results: s3.IBucket, payload_prefix: str) -> list[iam.PolicyStatement]:
    everything = permissions.runs(payload_prefix)
    folder = f"{payload_prefix}{wire.RUNS_FOLDER}/"
    reading = [*permissions.read_objects(bucket, everything), *permissions.list_objects(bucket, [folder])]
    if results is not bucket:
        reading += [*permissions.read_objects(results, everything), *permissions.list_objects(results, [folder])]
    return [*reading, *permissions.write_objects(bucket, _spill(payload_prefix))]
