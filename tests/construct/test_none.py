"""None means the default, for every optional argument of everything public: shown over the signatures themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import aws_stepfunctions as sfn

import cdk_distributed_map as distmap_package
from cdk_distributed_map import (
    Accounting,
    Alarms,
    Batching,
    Bundling,
    Capture,
    Combiner,
    DistributedMapPipeline,
    FileFormat,
    ItemSource,
    Rerun,
    ReservedConcurrency,
    Results,
    RetryPolicy,
    Worker,
)
from tests.construct.job_workers import batch_worker, durable_worker, ecs_worker

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Options = dict[str, Any]


def worker(lab: Lab) -> Worker:
    return Worker.function(lab.function())


def inventory(lab: Lab, **options: Any) -> ItemSource:
    return ItemSource.inventory(lab.bucket(), "a/b/manifest.json", **options)


def athena(lab: Lab, **options: Any) -> ItemSource:
    return ItemSource.athena_manifest(lab.bucket(), "m.csv", format=FileFormat.parquet(), data_prefix="d/", **options)


def nested(lab: Lab, **options: Any) -> Worker:
    return Worker.nested(items=ItemSource.state_array("$.value"), worker=worker(lab), **options)


def csv_with_format(lab: Lab, **options: Any) -> ItemSource:
    return ItemSource.from_execution_input(buckets=[lab.bucket()], format=FileFormat.csv(**options))


def json_with_format(lab: Lab, **options: Any) -> ItemSource:
    return ItemSource.from_execution_input(buckets=[lab.bucket()], format=FileFormat.json(**options))


def image_folder(lab: Lab) -> str:
    (lab.code / "Dockerfile").write_text("FROM public.ecr.aws/lambda/python:3.13\n")
    return str(lab.code)


PUBLIC: dict[str, tuple[Callable[..., Any], Callable[[Lab, Options], Options]]] = {
    "DistributedMapPipeline": (DistributedMapPipeline.__init__, lambda _, given: given),
    "Worker.python": (Worker.python, lambda lab, given: {"worker": lab.python_worker(**given)}),
    "Worker.image": (Worker.image, lambda lab, given: {"worker": Worker.image(image_folder(lab), **given)}),
    "Worker.function": (Worker.function, lambda lab, given: {"worker": Worker.function(lab.function(), **given)}),
    "Worker.states": (
        Worker.states,
        lambda _, given: {"worker": Worker.states(lambda scope: sfn.Pass(scope, "Work"), **given)},
    ),
    "Worker.nested": (Worker.nested, lambda lab, given: {"worker": nested(lab, **given)}),
    "Worker.durable_function": (
        Worker.durable_function,
        lambda lab, given: {"worker": durable_worker(lab, **given)},
    ),
    "Worker.ecs_task": (Worker.ecs_task, lambda lab, given: {"worker": ecs_worker(lab, **given)}),
    "Worker.batch_job": (Worker.batch_job, lambda lab, given: {"worker": batch_worker(lab, **given)}),
    "Capture.ranges": (Capture.ranges, lambda _, given: {"items": ItemSource.captured(Capture.ranges(**given))}),
    "Capture.s3_listing": (
        Capture.s3_listing,
        lambda lab, given: {"items": ItemSource.captured(Capture.s3_listing(lab.bucket(), **given))},
    ),
    "Capture.python": (
        Capture.python,
        lambda lab, given: {
            "items": ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler", **given))
        },
    ),
    "Combiner.python": (
        Combiner.python,
        lambda lab, given: {"combine": Combiner.python(str(lab.code), handler="handler.handler", **given)},
    ),
    "ItemSource.captured": (
        ItemSource.captured,
        lambda _, given: {"items": ItemSource.captured(Capture.ranges(), **given)},
    ),
    "ItemSource.s3_objects": (
        ItemSource.s3_objects,
        lambda lab, given: {"items": ItemSource.s3_objects(lab.bucket(), **given)},
    ),
    "ItemSource.json": (ItemSource.json, lambda lab, given: {"items": ItemSource.json(lab.bucket(), "k", **given)}),
    "ItemSource.json_lines": (
        ItemSource.json_lines,
        lambda lab, given: {"items": ItemSource.json_lines(lab.bucket(), "k", **given)},
    ),
    "ItemSource.csv": (ItemSource.csv, lambda lab, given: {"items": ItemSource.csv(lab.bucket(), "k", **given)}),
    "ItemSource.parquet": (
        ItemSource.parquet,
        lambda lab, given: {"items": ItemSource.parquet(lab.bucket(), "k", **given)},
    ),
    "ItemSource.inventory": (ItemSource.inventory, lambda lab, given: {"items": inventory(lab, **given)}),
    "ItemSource.athena_manifest": (ItemSource.athena_manifest, lambda lab, given: {"items": athena(lab, **given)}),
    "ItemSource.from_execution_input": (
        ItemSource.from_execution_input,
        lambda lab, given: {
            "items": ItemSource.from_execution_input(buckets=[lab.bucket()], format=FileFormat.json(), **given)
        },
    ),
    "ItemSource.state_array": (ItemSource.state_array, lambda _, given: {"items": ItemSource.state_array(**given)}),
    "FileFormat.csv": (FileFormat.csv, lambda lab, given: {"items": csv_with_format(lab, **given)}),
    "FileFormat.json": (FileFormat.json, lambda lab, given: {"items": json_with_format(lab, **given)}),
    "Batching": (Batching, lambda _, given: {"batching": Batching(**{"max_items": 5, "max_bytes": 9, **given})}),
    "Batching.automatic": (Batching.automatic, lambda _, given: {"batching": Batching.automatic(**given)}),
    "Results": (Results, lambda _, given: {"results": Results(**given)}),
    "RetryPolicy": (
        RetryPolicy,
        lambda lab, given: {"worker": Worker.function(lab.function(), retry=RetryPolicy(errors=["A"], **given))},
    ),
    "Alarms": (Alarms, lambda _, given: {"alarms": Alarms(**given)}),
    "Accounting": (Accounting, lambda _, given: {"accounting": Accounting(**given)}),
    "Rerun": (Rerun, lambda _, given: {"rerun": Rerun(**given)}),
}
"""Everything public that takes optional arguments, and the pipeline that is made with some of them."""

NO_OPTIONS = {
    "Batching.none",
    "Bundling.command",
    "Bundling.none",
    "Accounting.none",
    "Capture.function",
    "Combiner.function",
    "FileFormat.json_lines",
    "FileFormat.parquet",
    "ReservedConcurrency.match_max_concurrency",
    "ReservedConcurrency.matching",
    "ReservedConcurrency.of",
    "ReservedConcurrency.none",
    "ReservedConcurrency.fixed",
}
MADE_BOTH_WAYS = {"Accounting", "Batching"}
"""Classes that are called themselves though they have factories."""
COMPARED = {"Bundling.docker", "Bundling.wheels"}
"""What is compared as it is, for it takes packages or Docker to synthesize with it."""
TRIED_ELSEWHERE = {"ImportedPipeline", "NagAcknowledgements"}
"""What no pipeline is made with: tried in test_imported.py, and with cdk-nag itself."""
CHOICES = {"CsvDelimiter", "ItemBy", "ItemShape", "OutputType", "Overlap", "Transformation"}


def optional(makes: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(makes).parameters.values()
    return [each.name for each in parameters if each.default is not inspect.Parameter.empty]


def factories(kind: type) -> list[str]:
    return [name for name, made in vars(kind).items() if isinstance(made, staticmethod)]


@pytest.mark.parametrize("name", PUBLIC)
def test_none_is_the_default(new_lab: Callable[..., Lab], outdir: Path, name: str) -> None:
    makes, pipeline = PUBLIC[name]
    names = optional(makes)
    assert names
    untouched, with_none = new_lab(outdir=outdir), new_lab(outdir=outdir)
    untouched.pipeline(**pipeline(untouched, {}))
    # One of Batching's limits must be given: each takes its turn below.
    all_none = {} if name == "Batching" else dict.fromkeys(names)
    with_none.pipeline(**pipeline(with_none, all_none))

    assert with_none.masked_template() == untouched.masked_template()


@pytest.mark.parametrize(("argument", "field"), [("max_items", "MaxItems"), ("max_bytes", "MaxInputBytes")])
def test_none_is_no_limit_of_a_batch(lab: Lab, argument: str, field: str) -> None:
    given: Options = {"max_items": 5, "max_bytes": 9, "batch_input": None, argument: None}
    pipeline = lab.pipeline(batching=Batching(**given))

    assert f"{field}PerBatch" not in lab.state(pipeline, "map")["ItemBatcher"]


@pytest.mark.parametrize("name", PUBLIC)
def test_none_is_what_the_signature_has(name: str) -> None:
    parameters = inspect.signature(PUBLIC[name][0]).parameters

    assert {parameters[each].default for each in optional(PUBLIC[name][0])} == {None}


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_none_is_the_default_of_bundling(name: str) -> None:
    factory = getattr(Bundling, name.partition(".")[2])

    assert factory(**dict.fromkeys(optional(factory))) == factory()


def test_everything_public_is_tried() -> None:
    found = set()
    for name in distmap_package.__all__:
        kind = getattr(distmap_package, name)
        if not isinstance(kind, type):
            assert optional(kind) == []
            continue
        made = factories(kind)
        found |= {f"{name}.{each}" for each in made}
        found |= {name} if not made or name in MADE_BOTH_WAYS else set()

    assert found == set(PUBLIC) | NO_OPTIONS | COMPARED | CHOICES | TRIED_ELSEWHERE
    for kind, _, factory in (name.partition(".") for name in NO_OPTIONS):
        assert optional(getattr(getattr(distmap_package, kind), factory)) == []


def test_a_reservation_is_none_only_where_it_is_said(lab: Lab) -> None:
    lab.pipeline(
        "Default",
        worker=lab.python_worker(reserved_concurrency=None),
        max_concurrency=None,
        accounting=Accounting.none(),
    )
    lab.pipeline(
        "Nothing",
        worker=lab.python_worker(reserved_concurrency=ReservedConcurrency.none()),
        accounting=Accounting.none(),
    )
    functions = lab.resources("AWS::Lambda::Function")
    reserved = [each["Properties"].get("ReservedConcurrentExecutions") for each in functions.values()]

    assert reserved == [100, None]
