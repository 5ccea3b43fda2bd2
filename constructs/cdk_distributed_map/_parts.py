"""What a map needs beside its states: functions, their permissions, and the place of a run's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map import _checks, _permissions, _warnings
from cdk_distributed_map._expressions import quote, wrap
from cdk_distributed_map._functions import FunctionSettings
from cdk_distributed_map._map import item_file_label
from cdk_distributed_map._sources import CapturedItems
from cdk_distributed_map._workers import BoundWorker, MapSettings, WorkerPlace
from distmap import wire

_OF_RETRY = (
    '$type($states.input.items) = "object" and $states.input.items.enveloped = true '
    'and $type($states.input.items.firstRun) = "string"'
)
"""JSONata: whether the input is a retry's, which says whose items it runs again."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run's files are and how a state says which run it belongs to."""

    bucket: s3.IBucket
    payload_prefix: str
    run: Any
    """Rendered :class:`distmap.wire.Run`: an object of expressions, or one expression."""
    folder: str
    """JSONata: where the files of this map belong."""
    nested: bool


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a map needs, made once however many state machines it is used in."""

    scope: Construct
    """Where they were made."""
    map: MapSettings
    label: str
    worker: BoundWorker
    results_bucket: s3.IBucket
    capture: lambda_.IFunction | None = None
    combine: lambda_.IFunction | None = None
    inner: Parts | None = None

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
        if self.inner is None:
            own["Worker"] = self.worker.function
        found = [(self.scope, name, function) for name, function in own.items() if function is not None]
        return found if self.inner is None else [*found, *self.inner.functions()]

    def labels(self) -> list[str]:
        """Return the labels of all its maps."""
        return [*self.root_labels(), *self.inner_labels(), *self.copied_labels()]


def root_place(bucket: s3.IBucket, payload_prefix: str) -> Place:
    """Return the place of a root run."""
    folder = f"({quote(payload_prefix + wire.RUNS_FOLDER + '/')} & $states.context.Execution.Name)"
    run = {
        "id": wrap("$states.context.Execution.Id"),
        "firstRun": wrap(f"{_OF_RETRY} ? $states.input.items.firstRun : $states.context.Execution.Id"),
        "name": wrap("$states.context.Execution.Name"),
        "bucket": bucket.bucket_name,
        "prefix": wrap(folder),
        "path": "",
    }
    return Place(bucket=bucket, payload_prefix=payload_prefix, run=run, folder=folder, nested=False)


def nested_place(bucket: s3.IBucket, payload_prefix: str, label: str) -> Place:
    """Return the place of a map inside the outer one's children: they know the run by their envelope."""
    path = '$states.input.run.path & "/" & $string($states.input.index)'
    run = wrap(f'$merge([$states.input.run, {{"path": {path}}}])')
    folder = f"($states.input.run.prefix & {quote(f'/{wire.NESTED_FOLDER}/{label}')} & {path})"
    return Place(bucket=bucket, payload_prefix=payload_prefix, run=run, folder=folder, nested=True)


def bind_parts(
    scope: Construct,
    settings: MapSettings,
    *,
    default_label: str,
    bucket: s3.IBucket,
    payload_prefix: str,
    functions: FunctionSettings,
    outer_concurrency: float | str = 1,
    nested: bool = False,
) -> Parts:
    """Make the functions of a map under ``scope`` and give them what they need."""
    settings.items.validate(scope)
    results_bucket = bucket if settings.results.bucket is None else settings.results.bucket
    _checks.same_region(scope, results_bucket, name="the bucket of the results")
    _checks.same_account(scope, results_bucket, name="the bucket of the results")
    folders = [(bucket, f"{payload_prefix}{kind}/") for kind in (wire.RUNS_FOLDER, wire.ITEM_FILES_FOLDER)]
    folders.append((results_bucket, f"{payload_prefix}{wire.RUNS_FOLDER}/"))
    _warnings.lists_runs(scope, settings.items.listed(), folders)
    concurrency = _product(outer_concurrency, settings.max_concurrency)
    label = _checks.label_from(default_label) if settings.label is None else settings.label
    place = WorkerPlace(
        concurrency=concurrency, settings=functions, bucket=bucket, payload_prefix=payload_prefix, label=label
    )
    worker = settings.worker.bind(scope, place=place)
    if worker.function is not None and settings.enveloped and worker.inner is None:
        spilling = _permissions.write_objects(bucket, _spill(payload_prefix))
        _permissions.add(_permissions.policy_for(scope, "Worker", worker.function), spilling)
    capture = None
    if isinstance(settings.items, CapturedItems):
        capture = settings.items.capture.bind(scope, "Capture", settings=functions)
        kind = (wire.NESTED_FOLDER, "*", wire.ITEMS_FILE) if nested else (wire.ITEMS_FILE,)
        writing = _permissions.write_objects(
            bucket,
            _permissions.runs(payload_prefix, *kind),
            also=["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
        )
        needed = [*writing, *settings.items.capture.statements()]
        _permissions.add(_permissions.policy_for(scope, "Capture", capture), needed)
    combine = None
    if settings.combine is not None:
        combine = settings.combine.bind(scope, settings=functions)
        needed = _combine_statements(bucket, results_bucket, payload_prefix)
        _permissions.add(_permissions.policy_for(scope, "Combine", combine), needed)
    return Parts(
        scope=scope,
        map=settings,
        label=label,
        worker=worker,
        results_bucket=results_bucket,
        capture=capture,
        combine=combine,
        inner=worker.inner,
    )


def _product(outer: float | str, own: float | str) -> float | str:
    """Concurrency over all levels; one that comes from the input makes the product unknown."""
    if isinstance(outer, str) or isinstance(own, str):
        return own if outer == 1 else "$"
    if outer == 1:
        return own
    if not (_checks.is_known(outer) and _checks.is_known(own)):
        return "$"
    return outer * own


def _spill(payload_prefix: str) -> str:
    return _permissions.runs(payload_prefix, wire.SPILL_FOLDER, "*")


def _combine_statements(bucket: s3.IBucket, results: s3.IBucket, payload_prefix: str) -> list[iam.PolicyStatement]:
    everything = _permissions.runs(payload_prefix)
    folder = f"{payload_prefix}{wire.RUNS_FOLDER}/"
    reading = [*_permissions.read_objects(bucket, everything), *_permissions.list_objects(bucket, [folder])]
    if results is not bucket:
        reading += [*_permissions.read_objects(results, everything), *_permissions.list_objects(results, [folder])]
    return [*reading, *_permissions.write_objects(bucket, _spill(payload_prefix))]
