"""What is known only at deployment passes; what is legal and risky is said, and can be acknowledged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import Annotations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import (
    Accounting,
    Batching,
    Capture,
    DistributedMapPipeline,
    FileFormat,
    ItemSource,
    ReservedConcurrency,
    Results,
    RetryPolicy,
    Transformation,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.construct.lab import Lab


def raw_definition(lab: Lab) -> str:
    (machine,) = lab.resources("AWS::StepFunctions::StateMachine").values()
    return json.dumps(machine["Properties"]["DefinitionString"])


def test_numbers_known_only_at_deployment_pass_everywhere(lab: Lab) -> None:
    def number(id: str) -> float:
        return lab.number_parameter(id).value_as_number

    lab.pipeline(
        items=ItemSource.captured(
            Capture.ranges(number=number("Number"), chunk=number("Chunk")), max_items=number("N")
        ),
        worker=lab.python_worker(
            memory_size=number("Memory"),
            timeout=cdk.Duration.seconds(number("Timeout")),
            reserved_concurrency=ReservedConcurrency.fixed(number("Reserved")),
        ),
        max_concurrency=number("Concurrency"),
        batching=Batching(max_items=number("BatchItems"), max_bytes=number("BatchBytes")),
        tolerated_failure_count=number("Count"),
        tolerated_failure_percentage=number("Percentage"),
    )
    definition = raw_definition(lab)

    names = ["Number", "Chunk", "N", "Concurrency", "BatchItems", "BatchBytes", "Count", "Percentage"]
    assert not [name for name in names if f'{{"Ref": "{name}"}}' not in definition]
    functions = json.dumps(lab.resources("AWS::Lambda::Function"))
    assert not [name for name in ("Memory", "Timeout", "Reserved") if f'{{"Ref": "{name}"}}' not in functions]


def test_a_concurrency_known_only_at_deployment_is_reserved_for_the_worker(lab: Lab) -> None:
    concurrency = lab.number_parameter("Concurrency").value_as_number
    lab.pipeline(worker=lab.python_worker(), max_concurrency=concurrency, accounting=Accounting.none())

    (function,) = lab.resources("AWS::Lambda::Function").values()
    assert function["Properties"]["ReservedConcurrentExecutions"] == {"Ref": "Concurrency"}


def test_names_known_only_at_deployment_pass_everywhere(lab: Lab) -> None:
    def text(id: str) -> str:
        return lab.text_parameter(id).value_as_string

    bucket = s3.Bucket.from_bucket_name(lab.stack, "Named", text("BucketName"))
    lab.pipeline(
        "Csv",
        items=ItemSource.csv(
            bucket,
            text("Key"),
            headers=[text("Header"), "b"],
            version_id=text("Version"),
            expected_bucket_owner=text("Owner"),
        ),
        payload_prefix=text("Prefix"),
        state_machine_name=text("Name"),
        item_selector={"region": lab.stack.region, "text": text("Selected")},
    )
    lab.pipeline("List", items=ItemSource.s3_objects(bucket, prefix=text("ListPrefix")))
    lab.pipeline(
        "Listing",
        items=ItemSource.captured(
            Capture.s3_listing(bucket, prefixes=[text("First")], suffix=text("Suffix"), modified_after=text("After"))
        ),
    )
    lab.pipeline("Inventory", items=ItemSource.inventory(bucket, text("Manifest"), data_prefix=text("DataPrefix")))
    lab.pipeline("Pointer", items=ItemSource.json(bucket, "k", items_pointer=text("JsonPointer")))
    lab.pipeline(
        "Athena",
        items=ItemSource.athena_manifest(bucket, text("M"), format=FileFormat.parquet(), data_prefix=text("D")),
    )  # fmt: skip

    template = json.dumps(lab.template())
    assert "${Token[" not in template
    parameters = set(lab.template()["Parameters"])
    assert not [name for name in parameters if f'{{"Ref": "{name}"}}' not in template]


def test_a_payload_prefix_known_only_at_deployment_is_where_item_files_are(lab: Lab) -> None:
    pipeline = lab.pipeline(payload_prefix=lab.text_parameter("Prefix").value_as_string)

    condition = lab.state(pipeline, "find items")["Choices"][0]["Condition"]
    assert '$length("${Prefix}runs/")) = "${Prefix}runs/"' in condition


def test_times_known_only_at_deployment_pass(lab: Lab) -> None:
    seconds = cdk.Duration.seconds(lab.number_parameter("Seconds").value_as_number)
    days = cdk.Duration.days(lab.number_parameter("Days").value_as_number)
    lab.pipeline("Own", worker=lab.python_worker(timeout=seconds))
    lab.pipeline("Given", worker=Worker.function(lab.function("Timed", timeout=seconds), timeout=seconds))
    lab.pipeline("Expiring", expire_runs_after=days, timeout=seconds)
    lab.pipeline(
        "Retried",
        worker=Worker.function(lab.function(), retry=RetryPolicy(errors=["A"], interval=seconds, max_delay=seconds)),
    )
    lab.pipeline("Aged", items=ItemSource.captured(Capture.s3_listing(lab.bucket(), min_age=seconds, max_age=seconds)))

    assert "${Token[" not in json.dumps(lab.template())


def test_times_known_only_at_deployment_pass_in_express_children(lab: Lab) -> None:
    seconds = cdk.Duration.seconds(lab.number_parameter("Seconds").value_as_number)
    attempts = int(lab.number_parameter("Attempts").value_as_number)
    express = sfn.StateMachineType.EXPRESS
    lab.pipeline("Own", worker=lab.python_worker(timeout=seconds), child_type=express)
    lab.pipeline("Given", worker=Worker.function(lab.function(), timeout=seconds), child_type=express)
    policy = RetryPolicy(errors=["A"], interval=seconds, max_attempts=attempts)
    lab.pipeline("Retried", worker=Worker.function(lab.function(), retry=policy), child_type=express)

    assert "${Token[" not in json.dumps(lab.template())


# -- warnings


def a_worker_of_one_second(lab: Lab) -> Worker:
    return Worker.function(lab.function(timeout=cdk.Duration.seconds(1)))


SOURCE_ARN = {"ArnLike": {"AWS:SourceArn": "arn:aws:states:*:*:stateMachine:*"}}


def trusting(lab: Lab, id: str, conditions: dict[str, Any]) -> iam.Role:
    return iam.Role(lab.stack, id, assumed_by=iam.ServicePrincipal("states.amazonaws.com", conditions=conditions))


def in_a_machine(lab: Lab, pipeline: DistributedMapPipeline, **options: Any) -> DistributedMapPipeline:
    """Return a pipeline whose fragment is in a state machine of the user's, whose role the CDK makes."""
    body = sfn.DefinitionBody.from_chainable(pipeline.fragment)
    sfn.StateMachine(lab.stack, "Own", definition_body=body, **options)
    return pipeline


RISKY: dict[str, tuple[str, Callable[[Lab], Any], list[str]]] = {
    "one-item-per-child-of-many": (
        "distmap:OneItemPerChild",
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), max_items=10_001)),
        ["10,001 items", "cost about 0.500 USD", "batching=Batching.automatic()", "process_items"],
    ),
    "one-item-per-child-of-unknown": (
        "distmap:OneItemPerChild",
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket())),
        ["unknown number", "1,000,000 of them cost about 50 USD", "2.8 h to 4.6 h", "60 to 100 a second"],
    ),
    "standard-dispatch": (
        "distmap:DispatchRate",
        lambda lab: lab.pipeline(worker=a_worker_of_one_second(lab), max_concurrency=101),
        ["max_concurrency 101 can't be reached", "Standard", "100 a second", "1 s", "at most 100 run"],
    ),
    "express-dispatch": (
        "distmap:DispatchRate",
        lambda lab: lab.pipeline(
            worker=a_worker_of_one_second(lab), max_concurrency=1_001, child_type=sfn.StateMachineType.EXPRESS
        ),
        ["1,001", "Express", "1,000 a second"],
    ),
    "all-failures": (
        "distmap:AllFailuresTolerated",
        lambda lab: lab.pipeline(tolerated_failure_percentage=100),
        ["100", "every item fails succeeds"],
    ),
    "large-reservation": (
        "distmap:LargeReservation",
        lambda lab: lab.pipeline(worker=lab.python_worker(), max_concurrency=901),
        ["901", "1,000", "raise the quota"],
    ),
    "open-map-runs": (
        "distmap:OpenMapRuns",
        lambda lab: lab.pipeline(
            worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=Worker.function(lab.function())),
            max_concurrency=1_000,
        ),
        ["1,000 nested maps", "1,000 open Map Runs", "lower the outer"],
    ),
    "role": (
        "distmap:RoleLacksPermissions",
        lambda lab: lab.pipeline(
            role=iam.Role.from_role_arn(lab.stack, "R", "arn:aws:iam::111122223333:role/r", mutable=False)
        ),
        ["can't be changed from here", "states:StartExecution"],
    ),
    "zero-count": (
        "distmap:ToleranceOfZero",
        lambda lab: lab.pipeline(tolerated_failure_count=0, tolerated_failure_percentage="$.percent"),
        ["tolerated_failure_count is 0", "no failure is tolerated", "tolerated_failure_percentage", "'$.percent'"],
    ),
    "zero-percentage": (
        "distmap:ToleranceOfZero",
        lambda lab: lab.pipeline(tolerated_failure_count="$.count", tolerated_failure_percentage=0),
        ["tolerated_failure_percentage is 0", "'$.count'"],
    ),
    "nested-tolerance-from-its-input": (
        "distmap:ToleranceOfChildren",
        lambda lab: lab.pipeline(
            worker=Worker.nested(
                items=ItemSource.state_array("$.value.rows"),
                worker=lab.python_worker(),
                batching=Batching(max_items=10),
                tolerated_failure_count="$.value.tolerated",
            )
        ),
        ["P-Nested", "a batch succeeds or fails as a whole", "fail no run", "give the tolerance as a number"],
    ),
    "compact-results": (
        "distmap:ResultsWithoutItems",
        lambda lab: lab.pipeline(results=Results(transformation=Transformation.COMPACT)),
        ["exported with COMPACT", "only answers of process_items", "leave transformation out"],
    ),
    "flattened-results-of-a-nested-map": (
        "distmap:ResultsWithoutItems",
        lambda lab: lab.pipeline(
            worker=Worker.nested(
                items=ItemSource.state_array("$.value"),
                worker=Worker.function(lab.function()),
                results=Results(transformation=Transformation.FLATTEN),
            )
        ),
        ["exported with FLATTEN"],
    ),
    "early-expiry": (
        "distmap:RunsExpireEarly",
        lambda lab: lab.pipeline(expire_runs_after=cdk.Duration.days(13)),
        ["after 13 days", "until 14 days after its end", "Duration.days(14)"],
    ),
    "expiry-of-long-runs": (
        "distmap:RunsExpireEarly",
        lambda lab: lab.pipeline(timeout=cdk.Duration.days(20)),
        ["after 30 days", "a run may take 20 days", "Duration.days(34)"],
    ),
    "log-group-of-cloudformation": (
        "distmap:LogGroupName",
        lambda lab: lab.pipeline(log_group=logs.LogGroup(lab.stack, "Group")),
        ["a name made by CloudFormation", "5,120 characters", "'/aws/vendedlogs/states/'"],
    ),
    "log-group-of-another-name": (
        "distmap:LogGroupName",
        lambda lab: lab.pipeline(log_group=logs.LogGroup.from_log_group_name(lab.stack, "Group", "/team/runs")),
        ["the name '/team/runs'"],
    ),
    "express-trust": (
        "distmap:ExpressRoleTrust",
        lambda lab: lab.pipeline(role=trusting(lab, "Role", SOURCE_ARN), child_type=sfn.StateMachineType.EXPRESS),
        ["the role 'Stack/Role'", "aws:SourceArn", "aws:SourceAccount alone"],
    ),
    "express-trust-of-the-users-machine": (
        "distmap:ExpressRoleTrust",
        lambda lab: in_a_machine(lab, lab.pipeline(child_type=sfn.StateMachineType.EXPRESS)),
        ["'Stack/Own/Role'", "the state machine 'Stack/Own/Resource'"],
    ),
    "express-trust-of-nested-children": (
        "distmap:ExpressRoleTrust",
        lambda lab: in_a_machine(
            lab,
            lab.pipeline(
                worker=Worker.nested(
                    items=ItemSource.state_array("$.value"),
                    worker=Worker.function(lab.function()),
                    child_type=sfn.StateMachineType.EXPRESS,
                )
            ),
        ),
        ["'Stack/Own/Role'"],
    ),
}  # fmt: skip


# The role that the CDK makes has the condition since 2.274.
ROLES_OF_THE_CDK = {"express-trust-of-the-users-machine", "express-trust-of-nested-children"}
# What is told at the end of the synthesis: an older CDK takes an acknowledgement only of warnings that are there.
TOLD_LATE = {"express-trust", *ROLES_OF_THE_CDK}


def cases(newer: set[str]) -> list[Any]:
    """All risky settings, of which some can't be tried on the oldest CDK."""
    return [pytest.param(case, marks=pytest.mark.newer_cdk if case in newer else ()) for case in RISKY]


@pytest.mark.parametrize("case", cases(ROLES_OF_THE_CDK))
def test_a_risky_setting_is_a_warning(lab: Lab, case: str) -> None:
    warning, make, words = RISKY[case]
    make(lab)
    found = lab.warnings(warning)

    assert found
    assert not [word for word in words if word not in found[0]], found


@pytest.mark.parametrize("case", cases(TOLD_LATE))
def test_a_warning_can_be_acknowledged(lab: Lab, case: str) -> None:
    warning, make, _ = RISKY[case]
    Annotations.of(make(lab)).acknowledge_warning(warning, "known")

    assert lab.warnings(warning) == []


SAFE: dict[str, tuple[str, Callable[[Lab], Any]]] = {
    "few-items": (
        "distmap:OneItemPerChild",
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), max_items=10_000)),
    ),
    "batched": (
        "distmap:OneItemPerChild",
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket()), batching=Batching(max_items=100)),
    ),
    "express": (
        "distmap:OneItemPerChild",
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket()), child_type=sfn.StateMachineType.EXPRESS),
    ),
    "reachable": (
        "distmap:DispatchRate",
        lambda lab: lab.pipeline(worker=a_worker_of_one_second(lab), max_concurrency=100),
    ),
    "unknown-worker": (
        "distmap:DispatchRate",
        lambda lab: lab.pipeline(
            worker=Worker.function(lambda_.Function.from_function_name(lab.stack, "F", "f")), max_concurrency=10_000
        ),
    ),
    "some-failures": ("distmap:AllFailuresTolerated", lambda lab: lab.pipeline(tolerated_failure_percentage=99.9)),
    "reservable": (
        "distmap:LargeReservation",
        lambda lab: lab.pipeline(worker=lab.python_worker(), max_concurrency=900),
    ),
    "nested": (
        "distmap:OpenMapRuns",
        lambda lab: lab.pipeline(
            worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=Worker.function(lab.function())),
            max_concurrency=999,
        ),
    ),
    "no-tolerance": (
        "distmap:ToleranceOfZero",
        lambda lab: lab.pipeline(tolerated_failure_count=0, tolerated_failure_percentage=0),
    ),
    "nested-tolerance-as-a-number": (
        "distmap:ToleranceOfChildren",
        lambda lab: lab.pipeline(
            worker=Worker.nested(
                items=ItemSource.state_array("$.value.rows"), worker=lab.python_worker(), tolerated_failure_count=3
            )
        ),
    ),
    "whole-results": (
        "distmap:ResultsWithoutItems",
        lambda lab: lab.pipeline(results=Results(transformation=Transformation.NONE)),
    ),
    "late-expiry": ("distmap:RunsExpireEarly", lambda lab: lab.pipeline(expire_runs_after=cdk.Duration.days(14))),
    "bucket-of-ones-own": (
        "distmap:RunsExpireEarly",
        lambda lab: lab.pipeline(payload_bucket=s3.Bucket(lab.stack, "Made"), timeout=cdk.Duration.days(90)),
    ),
    "log-group-made-here": ("distmap:LogGroupName", lambda lab: lab.pipeline()),
    "log-group-of-the-right-name": (
        "distmap:LogGroupName",
        lambda lab: lab.pipeline(
            log_group=logs.LogGroup(lab.stack, "Group", log_group_name=f"/aws/vendedlogs/{lab.stack.region}")
        ),
    ),
    "log-group-of-a-name-known-at-deployment": (
        "distmap:LogGroupName",
        lambda lab: lab.pipeline(
            log_group=logs.LogGroup.from_log_group_name(lab.stack, "Group", lab.text_parameter("Name").value_as_string)
        ),
    ),
    "express-trust-of-ours": (
        "distmap:ExpressRoleTrust",
        lambda lab: lab.pipeline(child_type=sfn.StateMachineType.EXPRESS),
    ),
    "express-trust-by-account": (
        "distmap:ExpressRoleTrust",
        lambda lab: in_a_machine(
            lab,
            lab.pipeline(child_type=sfn.StateMachineType.EXPRESS),
            role=trusting(lab, "Role", {"StringEquals": {"aws:SourceAccount": "111122223333"}}),
        ),
    ),
    "standard-trust": ("distmap:ExpressRoleTrust", lambda lab: in_a_machine(lab, lab.pipeline())),
    "own-role": ("distmap:RoleLacksPermissions", lambda lab: lab.pipeline()),
}


@pytest.mark.parametrize("case", SAFE)
def test_a_safe_setting_is_no_warning(lab: Lab, case: str) -> None:
    warning, make = SAFE[case]
    make(lab)

    assert lab.warnings(warning) == []


def test_items_in_the_input_are_too_few_for_a_warning(lab: Lab) -> None:
    # The whole input has 256 KiB.
    lab.pipeline(items=ItemSource.state_array())

    assert lab.warnings("distmap:OneItemPerChild") == []


def test_items_that_are_maps_of_their_own_cannot_be_batched_and_need_no_warning(lab: Lab) -> None:
    inner = Worker.nested(items=ItemSource.state_array("$.value"), worker=Worker.function(lab.function()))
    lab.pipeline(items=ItemSource.json(lab.bucket(), "outer.json"), worker=inner)

    assert lab.warnings("distmap:OneItemPerChild") == []


# -- a state machine that is replaced

KEY, NAME, ANOTHER = "key", {"state_machine_name": "orders"}, {"state_machine_name": "orders-2"}


def synthesized_again(folder: Path, *given: Any) -> list[str]:
    """Synthesize the same pipeline into the same folder with arguments in turn; return what the last one warns of."""
    found: list[str] = []
    for options in given:
        app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
        stack = cdk.Stack(app, "Stack")
        DistributedMapPipeline(
            stack,
            "P",
            items=ItemSource.state_array(),
            worker=Worker.states(lambda scope: sfn.Pass(scope, "Work")),
            **({"encryption_key": kms.Key(stack, "Key")} if options == KEY else options),
        )
        assembly = app.synth()
        messages = assembly.get_stack_by_name("Stack").messages
        found = [str(each.entry.data) for each in messages if "distmap:StateMachineReplaced" in str(each.entry.data)]
    return found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (({}, NAME), ["one made by CloudFormation", "'orders' now"]),
        ((NAME, ANOTHER), ["was 'orders'", "'orders-2' now"]),
        ((NAME, {}), ["was 'orders'", "is one made by CloudFormation"]),
        (({}, KEY), ["was one made by CloudFormation", "encryption_key gives one"]),
        ((KEY, {}), ["is one made by CloudFormation"]),
    ],
    ids=["named", "renamed", "unnamed", "encrypted", "decrypted"],
)
def test_a_state_machine_that_will_be_replaced_is_a_warning(tmp_path: Path, given: Any, words: list[str]) -> None:
    (text,) = synthesized_again(tmp_path, *given)

    assert not [word for word in words if word not in text], text


@pytest.mark.parametrize("given", [({},), (NAME, NAME), (KEY, KEY), ({}, {"comment": "x"})], ids=str)
def test_a_state_machine_that_keeps_its_name_is_no_warning(tmp_path: Path, given: Any) -> None:
    assert synthesized_again(tmp_path, *given) == []


# -- two pipelines in one bucket


def test_two_pipelines_in_the_same_place_are_a_warning(lab: Lab) -> None:
    # The same bucket by name, imported twice.
    for name in ("First", "Second"):
        lab.pipeline(name, payload_bucket=s3.Bucket.from_bucket_name(lab.stack, f"{name}Import", "shared"))

    (text,) = lab.warnings("distmap:SharedPrefix")
    assert "payload_prefix" in text


def test_two_pipelines_in_one_bucket_made_here_and_the_same_place_are_a_warning(lab: Lab) -> None:
    made = s3.Bucket(lab.stack, "Made")
    lab.pipeline("First", payload_bucket=made)
    lab.pipeline("Second", payload_bucket=made)

    assert len(lab.warnings("distmap:SharedPrefix")) == 1


def test_two_pipelines_in_places_of_their_own_are_no_warning(lab: Lab) -> None:
    made = s3.Bucket(lab.stack, "Made")
    lab.pipeline("First", payload_bucket=made)
    lab.pipeline("Second", payload_bucket=made, payload_prefix="second/")
    lab.pipeline("Third")
    lab.pipeline("Fourth", payload_bucket=lab.bucket("Other"))

    assert lab.warnings("distmap:SharedPrefix") == []
