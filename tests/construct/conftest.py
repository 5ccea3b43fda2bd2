"""What the tests of the construct share: an app with fixed feature flags, and one example of everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Annotations, Match, Template
from constructs import Construct
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from cdk_distributed_map import (
    Batching,
    Capture,
    Combiner,
    CsvDelimiter,
    DistributedMapPipeline,
    FileFormat,
    ItemSource,
    ReservedConcurrency,
    RetryPolicy,
    Worker,
)
from cdk_distributed_map.definition.check import parse
from cdk_distributed_map.definition.map_state import walk
from cdk_distributed_map.testing import masked

WRITER_FLAG = "@aws-cdk/aws-stepfunctions:useDistributedMapResultWriterV2"

# Flags that change a resource in these templates, each as a new project gets it; the writer's flag is left unset.
FLAGS: dict[str, Any] = {
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-lambda:createNewPoliciesWithAddToRolePolicy": False,
    "@aws-cdk/aws-lambda:recognizeLayerVersion": True,
    "@aws-cdk/aws-lambda:recognizeVersionProps": True,
    "@aws-cdk/aws-s3:createDefaultLoggingPolicy": True,
    "@aws-cdk/aws-kms:aliasNameRef": True,
    "@aws-cdk/core:enablePartitionLiterals": False,
    "aws:cdk:enable-path-metadata": False,
}

HANDLER = "def handler(event, context):\n    return event\n"
ANY_HANDLER = "from elsewhere import handler\n"
"""One that may do for a worker, a capture and a combiner alike: the construct can't know what it is."""


class Lab:
    """An app with one stack, what pipelines are made of, and a look at what comes out."""

    def __init__(
        self, folder: Path, *, context: Mapping[str, Any] | None = None, env: cdk.Environment | None = None
    ) -> None:
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "handler.py").write_text(ANY_HANDLER)
        self.app = cdk.App(
            analytics_reporting=False, outdir=str(folder / "cdk.out"), context={**FLAGS, **(context or {})}
        )
        self.stack = self.new_stack("Stack", env=env)
        self._templates: dict[str, dict[str, Any]] = {}

    def new_stack(self, id: str, *, scope: Construct | None = None, env: cdk.Environment | None = None) -> cdk.Stack:
        synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
        return cdk.Stack(self.app if scope is None else scope, id, env=env, synthesizer=synthesizer)

    # -- parts

    def bucket(self, id: str = "Data", **attributes: Any) -> s3.IBucket:
        """Return a bucket of that name in lower case, the same one for the same id."""
        existing = self.stack.node.try_find_child(id)
        if existing is not None:
            return existing  # type: ignore[return-value]  # made below
        return s3.Bucket.from_bucket_attributes(self.stack, id, bucket_name=id.lower(), **attributes)

    def function(self, id: str = "Function", **options: Any) -> lambda_.Function:
        existing = self.stack.node.try_find_child(id)
        if isinstance(existing, lambda_.Function):
            return existing
        return lambda_.Function(
            self.stack,
            id,
            **{
                "runtime": lambda_.Runtime.PYTHON_3_13,
                "handler": "index.handler",
                "code": lambda_.Code.from_inline(HANDLER),
                "timeout": cdk.Duration.seconds(30),
                **options,
            },
        )

    def number_parameter(self, id: str) -> cdk.CfnParameter:
        return cdk.CfnParameter(self.stack, id, type="Number")

    def text_parameter(self, id: str) -> cdk.CfnParameter:
        return cdk.CfnParameter(self.stack, id)

    def python_worker(self, **options: Any) -> Worker:
        return Worker.python(str(self.code), handler="handler.handler", **options)

    def pipeline(self, id: str = "P", *, scope: Construct | None = None, **options: Any) -> DistributedMapPipeline:
        """Return a pipeline; the smallest one, where nothing is said: items in the input, a function made elsewhere."""
        if "items" not in options:
            options["items"] = ItemSource.state_array()
        if "worker" not in options:
            options["worker"] = Worker.function(self.function())
        return DistributedMapPipeline(self.stack if scope is None else scope, id, **options)

    # -- what comes out

    def template(self, stack: cdk.Stack | None = None) -> dict[str, Any]:
        """Return a template; the app is synthesized once."""
        stack = self.stack if stack is None else stack
        path = stack.node.path
        if path not in self._templates:
            self._templates[path] = dict(Template.from_stack(stack).to_json())
        return self._templates[path]

    def masked_template(self) -> dict[str, Any]:
        return masked(self.template())

    def definition(self, machine: DistributedMapPipeline | sfn.StateMachine) -> dict[str, Any]:
        """Return the rendered definition of a pipeline's own, or of another state machine."""
        machine = machine.state_machine if isinstance(machine, DistributedMapPipeline) else machine
        stack = cdk.Stack.of(machine)
        logical_id = stack.get_logical_id(machine.node.default_child)  # type: ignore[arg-type]  # a CfnStateMachine
        return parse(self.template(stack)["Resources"][logical_id]["Properties"]["DefinitionString"])

    def state(self, pipeline: DistributedMapPipeline, name: str) -> dict[str, Any]:
        """Return a rendered state by the end of its name, at any depth."""
        found = [state for key, state in walk(self.definition(pipeline)) if key == f"{pipeline.label} {name}"]
        assert len(found) == 1, f"{len(found)} states named {pipeline.label} {name}"
        return found[0]

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type, by logical id."""
        return {key: each for key, each in self.template()["Resources"].items() if each["Type"] == kind}

    def statements(self, role_id: str) -> list[dict[str, Any]]:
        """Return every statement of the policies attached to a role, in a stable order."""
        found: list[dict[str, Any]] = []
        for policy in self.resources("AWS::IAM::Policy").values():
            if {"Ref": role_id} in policy["Properties"].get("Roles", []):
                found += policy["Properties"]["PolicyDocument"]["Statement"]
        return sorted(found, key=lambda statement: json.dumps(statement, sort_keys=True))

    def role_id(self, role: Any) -> str:
        return cdk.Stack.of(role).get_logical_id(role.node.default_child)

    def warnings(self, id: str, path: str = "*") -> list[str]:
        """Return the texts of the warnings with an id."""
        found = Annotations.from_stack(self.stack).find_warning(path, Match.string_like_regexp(rf"\[ack: {id}\]"))
        return [str(entry.entry.data) for entry in found]


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lab]:
    """Makes labs with context or an environment of their own."""
    return lambda **options: Lab(tmp_path_factory.mktemp("lab"), **options)


@pytest.fixture
def lab(new_lab: Callable[..., Lab]) -> Lab:
    return new_lab()


@pytest.fixture
def json_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """A snapshot in a JSON file of its own for each test; `make snapshots` writes them anew."""
    return snapshot.use_extension(JSONSnapshotExtension)


# -- one example of each source and each worker

SMALLEST_SOURCES: dict[str, Callable[[Lab], ItemSource]] = {
    "captured-ranges": lambda _: ItemSource.captured(Capture.ranges()),
    "captured-listing": lambda lab: ItemSource.captured(Capture.s3_listing(lab.bucket())),
    "captured-python": lambda lab: ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler")),
    "captured-function": lambda lab: ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
    "s3-objects": lambda lab: ItemSource.s3_objects(lab.bucket()),
    "s3-objects-json": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.json()),
    "s3-objects-json-lines": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.json_lines()),
    "s3-objects-csv": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.csv()),
    "s3-objects-parquet": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.parquet()),
    "json": lambda lab: ItemSource.json(lab.bucket(), "in/items.json"),
    "json-lines": lambda lab: ItemSource.json_lines(lab.bucket(), "in/items.jsonl"),
    "csv": lambda lab: ItemSource.csv(lab.bucket(), "in/items.csv"),
    "parquet": lambda lab: ItemSource.parquet(lab.bucket(), "in/items.parquet"),
    "inventory": lambda lab: ItemSource.inventory(lab.bucket(), "inv/data/all/2026-09-01T01-00Z/manifest.json"),
    "athena-manifest": lambda lab: ItemSource.athena_manifest(
        lab.bucket(), "athena/q-manifest.csv", format=FileFormat.parquet(), data_prefix="unload/"
    ),
    "from-execution-input": lambda lab: ItemSource.from_execution_input(
        buckets=[lab.bucket()], format=FileFormat.json()
    ),
    "state-array": lambda _: ItemSource.state_array(),
}

FULL_SOURCES: dict[str, Callable[[Lab], ItemSource]] = {
    "captured-ranges": lambda _: ItemSource.captured(
        Capture.ranges(number=100_000, chunk="$.size", memory_size=1024), max_items="$.limit"
    ),
    "captured-listing": lambda lab: ItemSource.captured(
        Capture.s3_listing(
            lab.bucket(),
            prefixes=["a/", "b/"],
            suffix=".json",
            min_bytes=10,
            max_bytes="$.most",
            modified_after="2026-01-01T00:00:00Z",
            modified_before="2026-09-01T00:00:00Z",
            min_age=cdk.Duration.minutes(5),
            max_age=cdk.Duration.days(30),
            memory_size=1024,
        ),
        max_items=5_000,
    ),
    "captured-python": lambda lab: ItemSource.captured(
        Capture.python(
            str(lab.code),
            handler="handler.handler",
            memory_size=2048,
            timeout=cdk.Duration.minutes(10),
            environment={"TABLE": "orders"},
        ),
        max_items="{% $states.input.limit %}",
    ),
    "captured-function": lambda lab: ItemSource.captured(
        Capture.function(lab.function("CaptureFunction")), max_items=1_000
    ),
    "s3-objects": lambda lab: ItemSource.s3_objects(lab.bucket(), prefix="in/", max_items=1_000),
    "s3-objects-json": lambda lab: ItemSource.s3_objects(
        lab.bucket(), prefix="in/", load=FileFormat.json(), max_items="$.limit"
    ),
    "s3-objects-json-lines": lambda lab: ItemSource.s3_objects(
        lab.bucket(), prefix="in/", load=FileFormat.json_lines(), max_items="$.limit"
    ),
    "s3-objects-csv": lambda lab: ItemSource.s3_objects(
        lab.bucket(),
        prefix="in/",
        load=FileFormat.csv(headers=["id", "name"], delimiter=CsvDelimiter.TAB),
        max_items="$.limit",
    ),
    "s3-objects-parquet": lambda lab: ItemSource.s3_objects(
        lab.bucket(), prefix="in/", load=FileFormat.parquet(), max_items="$.limit"
    ),
    "json": lambda lab: ItemSource.json(
        lab.bucket(),
        "in/items.json",
        items_pointer="/data/rows",
        version_id="v1",
        expected_bucket_owner="111122223333",
        max_items="$.limit",
    ),
    "json-lines": lambda lab: ItemSource.json_lines(
        lab.bucket(), "in/items.jsonl", version_id="v1", expected_bucket_owner="111122223333", max_items=5
    ),
    "csv": lambda lab: ItemSource.csv(
        lab.bucket(),
        "in/items.csv",
        headers=["id", "name"],
        delimiter=CsvDelimiter.PIPE,
        version_id="v1",
        expected_bucket_owner="111122223333",
        max_items=5,
    ),
    "parquet": lambda lab: ItemSource.parquet(
        lab.bucket(), "in/items.parquet", expected_bucket_owner="111122223333", max_items=5
    ),
    "inventory": lambda lab: ItemSource.inventory(
        lab.bucket(),
        "inv/data/all/2026-09-01T01-00Z/manifest.json",
        data_bucket=lab.bucket("Reports"),
        data_prefix="reports/",
        max_items=5,
    ),
    "athena-manifest": lambda lab: ItemSource.athena_manifest(
        lab.bucket(),
        "athena/q-manifest.csv",
        format=FileFormat.csv(headers=["id", "name"]),
        data_prefix="unload/",
        data_bucket=lab.bucket("Unloads"),
        max_items=5,
    ),
    "from-execution-input": lambda lab: ItemSource.from_execution_input(
        buckets=[lab.bucket(), lab.bucket("More")],
        format=FileFormat.csv(),
        bucket_path="$.map_input_s3_bucket",
        key_path="$$.Execution.Input.map_input_s3_key",
        key_prefix="in/",
        max_items="$.limit",
    ),
    "state-array": lambda _: ItemSource.state_array("$.orders.open"),
}

SMALLEST_WORKERS: dict[str, Callable[[Lab], Worker]] = {
    "python": lambda lab: lab.python_worker(),
    "function": lambda lab: Worker.function(lab.function()),
    "states": lambda _: Worker.states(lambda scope: sfn.Pass(scope, "Work")),
    "nested": lambda lab: Worker.nested(
        items=ItemSource.state_array("$.value.rows"), worker=Worker.function(lab.function())
    ),
}

FULL_WORKERS: dict[str, Callable[[Lab], Worker]] = {
    "python": lambda lab: lab.python_worker(
        runtime=lambda_.Runtime.PYTHON_3_12,
        architecture=lambda_.Architecture.X86_64,
        memory_size=2048,
        ephemeral_storage=cdk.Size.gibibytes(2),
        timeout=cdk.Duration.minutes(5),
        environment={"TABLE": "orders"},
        layers=[
            lambda_.LayerVersion.from_layer_version_arn(lab.stack, "Layer", "arn:aws:lambda:eu-west-1:1:layer:a:1")
        ],
        reserved_concurrency=ReservedConcurrency.fixed(500),
        retry=RetryPolicy(errors=["ConnectionError"], max_attempts=5, interval=cdk.Duration.seconds(5)),
    ),
    "function": lambda lab: Worker.function(
        lab.function(),
        retry=RetryPolicy(errors=["States.ALL"], backoff_rate=1.5, max_delay=cdk.Duration.minutes(2)),
        timeout=cdk.Duration.minutes(2),
    ),
    "states": lambda _: Worker.states(
        lambda scope: sfn.Pass(scope, "Prepare", parameters={"id.$": "$.value.id"}).next(
            sfn.Choice(scope, "Is it there?")
            .when(sfn.Condition.is_present("$.id"), sfn.Succeed(scope, "Done"))
            .otherwise(sfn.Fail(scope, "Missing", error="NoId"))
        )
    ),
    "nested": lambda lab: Worker.nested(
        items=ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler")),
        worker=lab.python_worker(),
        max_concurrency=5,
        batching=Batching(max_items=10),
        child_type=sfn.StateMachineType.EXPRESS,
        tolerated_failure_count=1,
        tolerated_failure_percentage=5,
        combine=Combiner.function(lab.function("CombineFunction")),
        label="Inner",
    ),
}


# Formats that differ in one word of the reader, which the tests of the readers compare.
_ALIKE = {"s3-objects-json", "s3-objects-json-lines", "s3-objects-parquet"}


@pytest.fixture(params=[kind for kind in SMALLEST_SOURCES if kind not in _ALIKE])
def source_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of source in turn."""
    return str(request.param)


@pytest.fixture(params=SMALLEST_WORKERS)
def worker_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of worker in turn."""
    return str(request.param)


@pytest.fixture
def sources() -> dict[str, dict[str, Callable[[Lab], ItemSource]]]:
    """Examples of sources: the smallest and the everything-on one of each kind."""
    return {"smallest": SMALLEST_SOURCES, "full": FULL_SOURCES}


@pytest.fixture
def workers() -> dict[str, dict[str, Callable[[Lab], Worker]]]:
    """Examples of workers, likewise."""
    return {"smallest": SMALLEST_WORKERS, "full": FULL_WORKERS}
