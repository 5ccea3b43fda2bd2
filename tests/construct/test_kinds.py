"""Every public argument refuses what is of another kind: by its name, with what it got and what to give instead."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import jsii
import pytest
from aws_cdk import aws_batch as batch
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns

import cdk_distributed_map
from cdk_distributed_map import (
    Alarms,
    Batching,
    Capture,
    CsvDelimiter,
    DistributedMapPipeline,
    FileFormat,
    ItemSource,
    Results,
    RetryPolicy,
    Worker,
)
from cdk_distributed_map.settings import kinds

if TYPE_CHECKING:
    from tests.construct.lab import Lab

# Made by their factories alone, or without arguments.
ABSTRACT = {
    *("Bundling", "Capture", "Combiner", "FileFormat", "ItemSource", "NagAcknowledgements", "ReservedConcurrency"),
    "Worker",
}

INTERNAL = {
    *("add_to", "bind", "create", "event_settings", "known_count", "longest_seconds", "render", "resolve"),
    *("statements", "validate", "visit"),
}

# What of the palette an annotation takes, by the words in it; whatever isn't named is wrong.
PALETTE: dict[str, Any] = {
    "text": "text",
    "number": 7,
    "truth": True,
    "list": [["nested"]],
    "dict": {"k": {}},
    "object": object(),
    "bytes": b"x",
    "class": s3.Bucket,
}
TAKEN = {"bool": "truth", "float": "number", "int": "number", "str": "text", "Any": "dict"}

REQUIRED: dict[str, Callable[[Lab], Any]] = {
    "amount": lambda _: 5,
    "bucket": lambda lab: lab.bucket(),
    "buckets": lambda lab: [lab.bucket()],
    "capture": lambda _: Capture.ranges(),
    "cluster": lambda lab: made(lab, "Cluster"),
    "chain": lambda _: lambda scope: scope,
    "data_prefix": lambda _: "data/",
    "errors": lambda _: ["ConnectionError"],
    "event_pattern": lambda _: events.EventPattern(source=["orders"]),
    "folder": lambda lab: str(lab.code),
    "format": lambda _: FileFormat.json_lines(),
    "function": lambda lab: lab.function(),
    "grantee": lambda lab: iam.Role(lab.stack, "Grantee", assumed_by=iam.AccountRootPrincipal()),
    "handler": lambda _: "handler.handler",
    "id": lambda _: "Id",
    "image": lambda lab: image_folder(lab),  # noqa: PLW0108 - defined below
    "items": lambda _: ItemSource.state_array(),
    "item_seconds": lambda _: 0.05,
    "job_definition": lambda lab: made(lab, "JobDefinition"),
    "job_queue": lambda lab: made(lab, "JobQueue"),
    "key": lambda _: "in/items",
    "manifest_key": lambda _: "inv/2026-09-01T01-00Z/manifest.json",
    "parameter_name": lambda _: "/pipelines/squares",
    "payload_bucket": lambda lab: lab.bucket(),
    "schedule": lambda _: scheduler.ScheduleExpression.rate(cdk.Duration.hours(1)),
    "scope": lambda lab: lab.stack,
    "state_machine": lambda lab: lab.machine(),
    "state_machine_arn": lambda _: "arn:aws:states:us-east-1:123456789012:stateMachine:Squares",
    "task_definition": lambda lab: made(lab, "TaskDefinition"),
    "worker": lambda lab: Worker.function(lab.function()),
}
COUNTED = {"plan"}
"""What takes items by their number."""


def image_folder(lab: Lab) -> str:
    (lab.code / "Dockerfile").write_text("FROM public.ecr.aws/lambda/python:3.13\n")
    return str(lab.code)


def made(lab: Lab, id: str) -> Any:
    """Return what a container needs, made once in a lab."""
    found = lab.stack.node.try_find_child(id)
    if found is not None:
        return found
    if id == "Cluster":
        zones = {"availability_zones": ["eu-west-1a"], "private_subnet_ids": ["subnet-1"]}
        return ecs.Cluster(lab.stack, id, vpc=ec2.Vpc.from_vpc_attributes(lab.stack, "Vpc", vpc_id="vpc-1", **zones))  # type: ignore[arg-type]  # as above
    if id == "TaskDefinition":
        definition = ecs.FargateTaskDefinition(lab.stack, id)
        definition.add_container("main", image=ecs.ContainerImage.from_registry("squares"))
        return definition
    arn = "arn:aws:batch:eu-west-1:123456789012:job-"
    if id == "JobQueue":
        return batch.JobQueue.from_job_queue_arn(lab.stack, id, f"{arn}queue/squares")
    return batch.EcsJobDefinition.from_job_definition_arn(lab.stack, id, f"{arn}definition/squares:1")


def members(name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public way to give arguments to a public class."""
    public = getattr(cdk_distributed_map, name)
    if not isinstance(public, type) or issubclass(public, Enum):
        return
    if name not in ABSTRACT:
        yield "__init__", public.__init__
    # What both kinds of pipelines have is tried on the one that is made.
    parts = public.__mro__ if public is DistributedMapPipeline else (public,)
    ours = [part for part in reversed(parts) if part.__module__.startswith("cdk_distributed_map.")]
    for key, member in {key: member for part in ours for key, member in vars(part).items()}.items():
        function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        # What the pipeline itself calls on its parts takes no argument of the user's.
        internal = key in INTERNAL
        if not key.startswith("_") and inspect.isfunction(function) and not internal:
            yield key, function


def arguments() -> Iterator[Any]:
    for name in cdk_distributed_map.__all__:
        for member, function in members(name):
            for parameter in inspect.signature(function).parameters.values():
                if (
                    parameter.name in {"cls", "self"}
                    or parameter.kind is parameter.VAR_KEYWORD
                    or not parameter.annotation
                ):
                    continue
                for kind, value in PALETTE.items():
                    words = set(re.findall(r"\w+", str(parameter.annotation)))
                    if kind in {TAKEN[word] for word in words & set(TAKEN)}:
                        continue
                    where = f"{name}.{member}-{parameter.name}-{kind}"
                    yield pytest.param(name, member, parameter.name, value, id=where)


@pytest.fixture(scope="module")
def module_lab(new_lab: Callable[..., Lab]) -> Lab:
    return new_lab()


@pytest.fixture(scope="module")
def pipeline(module_lab: Lab) -> DistributedMapPipeline:
    return module_lab.pipeline()


@pytest.mark.parametrize(("name", "member", "argument", "value"), list(arguments()))
def test_fails_when_an_argument_is_of_another_kind(
    pipeline: DistributedMapPipeline, module_lab: Lab, *, name: str, member: str, argument: str, value: Any
) -> None:
    public = getattr(cdk_distributed_map, name)
    declared = inspect.signature(dict(members(name))[member]).parameters
    of_pipeline = public is DistributedMapPipeline
    function = public if member == "__init__" else getattr(pipeline if of_pipeline else public, member)
    required = {
        key: 5 if key == "items" and member in COUNTED else REQUIRED[key](module_lab)
        for key, parameter in declared.items()
        if parameter.default is parameter.empty and key not in {"cls", "self", argument}
    }

    with pytest.raises(TypeError, match=rf"^(a name in )?{argument}\b.* must be ") as error:
        function(**{**required, argument: value})

    message = str(error.value)
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    assert any(f"got {each!r}" in message for each in [value, *inside]), message
    assert re.search(r"such as|one of|: \w+", message), f"no remedy in: {message}"
    assert not message.endswith(".")


def test_every_public_way_in_is_checked() -> None:
    unchecked = [
        f"{name}.{member}"
        for name in cdk_distributed_map.__all__
        for member, function in members(name)
        if not member.startswith("metric_")
        and any(key not in {"cls", "self"} for key in inspect.signature(function).parameters)
        and not hasattr(function, "__wrapped__")
    ]

    assert unchecked == []


ACCIDENTS: dict[str, tuple[Callable[[Lab], Any], str]] = {
    "timeout-of-a-worker": (lambda lab: lab.python_worker(timeout=900), "timeout must be a Duration, such as Duration"),
    "timeout-of-a-task": (lambda lab: Worker.function(lab.function(), timeout=30), "timeout must be a Duration"),  # type: ignore[arg-type]  # what is tested
    "timeout-of-a-run": (lambda lab: lab.pipeline(timeout=30), "timeout must be a Duration"),
    "expiry": (lambda lab: lab.pipeline(expire_runs_after=30), "expire_runs_after must be a Duration"),
    "runtime": (
        lambda lab: lab.python_worker(runtime="python3.12"),
        "runtime must be a Runtime, such as Runtime.PYTHON_3_13, got 'python3.12'",
    ),
    "retry": (lambda lab: lab.python_worker(retry=3), "retry must be a RetryPolicy, such as RetryPolicy(errors=["),
    "alarms": (lambda lab: lab.pipeline(alarms=True), "alarms must be an Alarms, such as Alarms(actions=[SnsAction"),
    "actions": (
        lambda lab: Alarms(actions=[sns.Topic(lab.stack, "Topic")]),  # type: ignore[list-item]  # what is tested
        "actions[0] must be an alarm action, got <aws_cdk.aws_sns.Topic",
    ),
    "encryption-key": (
        lambda lab: lab.pipeline(encryption_key="arn"),
        "encryption_key must be a KMS key, got 'arn': import an existing one with Key.from_key_arn(...)",
    ),
    "results-bucket": (lambda _: Results(bucket="x"), "bucket must be a bucket, got 'x'"),  # type: ignore[arg-type]  # what is tested
    "one-bucket": (
        lambda lab: ItemSource.from_execution_input(buckets=lab.bucket(), format=FileFormat.json()),  # type: ignore[arg-type]  # what is tested
        ": put it into a list",
    ),
    "memory": (
        lambda lab: lab.python_worker(memory_size="512"),
        "memory_size must be a number, got '512': write it without quotes",
    ),
    "headers": (lambda _: FileFormat.csv(headers="a,b"), "headers must be a list, got 'a,b'"),
    "errors": (lambda _: RetryPolicy(errors="ConnectionError"), "got 'ConnectionError': put it into a list"),
    "environment": (
        lambda lab: lab.python_worker(environment={"SIZE": 5}),
        "environment['SIZE'] must be a string, got 5: write it in quotes",
    ),
    "batch-input": (lambda _: Batching(max_items=1, batch_input=[1]), "batch_input must be a mapping, got [1]"),  # type: ignore[arg-type]  # what is tested
    "on-failure": (lambda lab: lab.pipeline(on_failure="Fail"), "on_failure must be a chain of states, got 'Fail'"),
    "role": (lambda lab: lab.pipeline(role="arn:aws:iam::1:role/r"), "role must be a role, got 'arn:aws:iam"),
}


@pytest.mark.parametrize("case", ACCIDENTS)
def test_fails_when_an_argument_is_what_people_write(lab: Lab, case: str) -> None:
    make, words = ACCIDENTS[case]
    with pytest.raises(TypeError, match=re.escape(words)):
        make(lab)


@pytest.mark.parametrize("member", CsvDelimiter, ids=lambda member: member.name)
@pytest.mark.parametrize("written", ["name", "character"])
def test_fails_when_a_delimiter_is_a_text(member: CsvDelimiter, written: str) -> None:
    text = member.name if written == "name" else member.character
    with pytest.raises(TypeError, match=r"^delimiter must be a CsvDelimiter, one of ") as error:
        FileFormat.csv(delimiter=text)  # type: ignore[arg-type]  # what is tested

    message = str(error.value)
    assert message.endswith(f"got {text!r}: use CsvDelimiter.{member.name}")
    assert not [each.name for each in CsvDelimiter if f"CsvDelimiter.{each.name}" not in message]


def test_objects_of_the_cdk_pass_wherever_they_come_from(lab: Lab) -> None:
    """Imported, made here, implemented in Python, or returned by a call to Node."""

    @jsii.implements(cloudwatch.IAlarmAction)
    class Nothing:
        def bind(self, _scope: Any, _alarm: Any) -> cloudwatch.AlarmActionConfig:
            return cloudwatch.AlarmActionConfig(alarm_action_arn="arn:aws:sns:eu-west-1:111122223333:t")

    made = s3.Bucket(lab.stack, "Made", encryption=s3.BucketEncryption.KMS)
    for bucket in (made, lab.bucket("Imported")):
        Results(bucket=bucket)
    assert made.encryption_key is not None
    for key in (made.encryption_key, kms.Key.from_key_arn(lab.stack, "Key", "arn:aws:kms:eu-west-1:1:key/k")):
        kinds.require("key", key, kms.IKey)
    Alarms(actions=[Nothing()])
    role = lab.function().role
    kinds.require("role", role, iam.IRole)
    kinds.require("grantee", lab.function(), iam.IGrantable)


def test_every_interface_in_a_signature_has_words() -> None:
    found = {
        word
        for name in cdk_distributed_map.__all__
        for _, function in members(name)
        for parameter in inspect.signature(function).parameters.values()
        for word in re.findall(r"\bI[A-Z]\w+", str(parameter.annotation))
    } - {"ItemSource", "ItemShape"}

    assert found <= set(kinds.INTERFACES)


@pytest.mark.parametrize(
    ("wrong", "anchor"),
    [
        (lambda: Batching(max_items=0), "settings-checks"),
        (lambda: ItemSource.json_lines("bucket", "key"), "settings-kinds"),  # type: ignore[arg-type] # that is the point
        (Batching, "settings-batching"),
    ],
    ids=["a bound", "a kind", "a combination"],
)
def test_an_error_names_the_page_that_describes_it(wrong: Any, anchor: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        wrong()

    assert raised.value.__notes__ == [f"what it means: docs/errors.md#{anchor}"]
    catalogue = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
    assert not catalogue.exists() or f'<a id="{anchor}"></a>' in catalogue.read_text(encoding="utf-8")


def test_an_error_of_the_user_is_left_as_it_is(lab: Lab) -> None:
    def states(scope: Any) -> Any:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as raised:
        lab.pipeline(worker=Worker.states(states))
    assert not hasattr(raised.value, "__notes__")
