"""The fields of the map and of its tasks beside the reader, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import (
    Accounting,
    Batching,
    Capture,
    Combiner,
    ItemShape,
    ItemSource,
    OutputType,
    Results,
    RetryPolicy,
    Transformation,
    Worker,
)
from cdk_distributed_map.graphs import walk

if TYPE_CHECKING:
    from tests.construct.lab import Lab

RUN = {
    "id": "{% $states.context.Execution.Id %}",
    "firstRun": '{% $type($states.input) = "object" and $type($states.input.items) = "object" and '
    "$states.input.items.enveloped = true and "
    '$type($states.input.items.firstRun) = "string" ? $states.input.items.firstRun : $states.context.Execution.Id %}',
    "name": "{% $states.context.Execution.Name %}",
    "bucket": "${PPayloadBucket1048A6C5}",
    "prefix": '{% ("runs/" & $states.context.Execution.Name) %}',
    "path": "",
}
INDEX, VALUE = "{% $states.context.Map.Item.Index %}", "{% $states.context.Map.Item.Value %}"
LAMBDA_ERRORS = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]
THROTTLING = {
    "ErrorEquals": LAMBDA_ERRORS,
    "IntervalSeconds": 1,
    "MaxAttempts": 25,
    "BackoffRate": 2,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}
WAKING = {
    "ErrorEquals": [
        "Lambda.CodeArtifactUserPendingException",
        "Lambda.CodeArtifactUserDeletedException",
        "Lambda.ResourceNotReadyException",
        "Lambda.ENINotReadyException",
        "Lambda.EC2ThrottledException",
        "Lambda.EC2UnexpectedException",
        "Lambda.SnapStartNotReadyException",
        "Lambda.SnapStartRegenerationFailureException",
        "Lambda.ResourceConflictException",
    ],
    "IntervalSeconds": 5,
    "MaxAttempts": 10,
    "BackoffRate": 2,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}


def longest(retry: dict[str, Any]) -> Any:
    """All delays of a retrier together, before jitter."""
    most = retry.get("MaxDelaySeconds", 10**6)
    return sum(min(most, retry["IntervalSeconds"] * 2**attempt) for attempt in range(retry["MaxAttempts"]))


# -- ItemSelector


def test_an_unbatched_child_gets_index_value_and_run(lab: Lab) -> None:
    assert lab.state(lab.pipeline(), "map")["ItemSelector"] == {"index": INDEX, "value": VALUE, "run": RUN}


def test_a_batched_child_gets_the_run_once(lab: Lab) -> None:
    rendered = lab.state(lab.pipeline(batching=Batching(max_items=10)), "map")

    assert rendered["ItemSelector"] == {"index": INDEX, "value": VALUE}
    assert rendered["ItemBatcher"] == {"MaxItemsPerBatch": 10, "BatchInput": {"distmap": {"run": RUN}}}


def test_a_worker_that_wants_the_bare_item_gets_no_envelope(lab: Lab) -> None:
    worker = Worker.function(lab.function(), item_shape=ItemShape.BARE)
    rendered = lab.state(lab.pipeline(worker=worker, batching=Batching(max_items=10)), "map")

    assert "ItemSelector" not in rendered
    assert rendered["ItemBatcher"] == {"MaxItemsPerBatch": 10}


def test_an_own_selector_is_the_value_of_the_envelope(lab: Lab) -> None:
    selector = {"id.$": "$$.Map.Item.Value.id", "day": sfn.JsonPath.string_at("$.day"), "fixed": [1, None, "x"]}
    rendered = lab.state(lab.pipeline(item_selector=selector), "map")

    assert rendered["ItemSelector"]["value"] == {
        "id": "{% $states.context.Map.Item.Value.id %}",
        "day": "{% $states.input.day %}",
        "fixed": [1, None, "x"],
    }


def test_an_own_selector_is_the_whole_item_of_a_worker_that_wants_it_bare(lab: Lab) -> None:
    worker = Worker.function(lab.function(), item_shape=ItemShape.BARE)
    rendered = lab.state(lab.pipeline(worker=worker, item_selector={"id.$": "$$.Map.Item.Value.id"}), "map")

    assert rendered["ItemSelector"] == {"id": "{% $states.context.Map.Item.Value.id %}"}


# -- ItemBatcher


@pytest.mark.parametrize(
    ("batching", "fields"),
    [
        (Batching(max_items=1), {"MaxItemsPerBatch": 1}),
        (Batching(max_bytes=262_144), {"MaxInputBytesPerBatch": 262_144}),
        (Batching(max_items="$.n", max_bytes="$$.Execution.Input.b"), {
            "MaxItemsPerBatch": "{% $states.input.n %}",
            "MaxInputBytesPerBatch": "{% $states.context.Execution.Input.b %}",
        }),
        (Batching(max_items="{% $states.input.n * 2 %}"), {"MaxItemsPerBatch": "{% $states.input.n * 2 %}"}),
    ],
    ids=["items", "bytes", "paths", "jsonata"],
)  # fmt: skip
def test_batching_from_literals_and_from_the_input(lab: Lab, batching: Batching, fields: dict[str, Any]) -> None:
    worker = Worker.function(lab.function(), item_shape=ItemShape.BARE)

    assert lab.state(lab.pipeline(worker=worker, batching=batching), "map")["ItemBatcher"] == fields


def test_paths_in_the_batch_input_are_read_and_not_taken_literally(lab: Lab) -> None:
    batching = Batching(
        max_items=2,
        batch_input={
            "token": sfn.JsonPath.string_at("$.a"),
            "number": sfn.JsonPath.number_at("$.n"),
            "key.$": "$$.Execution.Name",
            "jsonata": "{% 1 + 1 %}",
            "deep": {"list": [sfn.JsonPath.string_at("$.b"), True, None, 0]},
        },
    )
    worker = Worker.function(lab.function(), item_shape=ItemShape.BARE)
    rendered = lab.state(lab.pipeline(worker=worker, batching=batching), "map")

    assert rendered["ItemBatcher"]["BatchInput"] == {
        "token": "{% $states.input.a %}",
        "number": "{% $states.input.n %}",
        "key": "{% $states.context.Execution.Name %}",
        "jsonata": "{% 1 + 1 %}",
        "deep": {"list": ["{% $states.input.b %}", True, None, 0]},
    }


# -- concurrency and tolerance


def test_tolerance_and_concurrency_that_are_not_given(lab: Lab) -> None:
    rendered = lab.state(lab.pipeline(accounting=Accounting.none()), "map")

    assert rendered["MaxConcurrency"] == 100
    assert not {key for key in rendered if key.startswith("Tolerated")}


def test_a_tolerance_of_zero_is_rendered(lab: Lab) -> None:
    rendered = lab.state(
        lab.pipeline(tolerated_failure_count=0, tolerated_failure_percentage=0, accounting=Accounting.none()), "map"
    )

    assert rendered["ToleratedFailureCount"] == 0
    assert rendered["ToleratedFailurePercentage"] == 0


def test_tolerance_and_concurrency_from_the_input(lab: Lab) -> None:
    pipeline = lab.pipeline(
        max_concurrency="$.parallel",
        tolerated_failure_count=sfn.JsonPath.number_at("$.count"),
        tolerated_failure_percentage="{% $states.input.percent %}",
        accounting=Accounting.none(),
    )
    rendered = lab.state(pipeline, "map")

    assert "$n := $states.input.parallel; " in rendered["MaxConcurrency"]
    assert rendered["ToleratedFailureCount"] == "{% ($states.input.percent) = 0 ? 0 : ($states.input.count) %}"
    assert rendered["ToleratedFailurePercentage"] == "{% ($states.input.count) = 0 ? 0 : ($states.input.percent) %}"
    # JSONata has expressions in the plain fields, and refuses these.
    assert not {key for key in rendered if key.endswith("Path")}


def test_one_tolerance_from_the_input_stands_as_it_is(lab: Lab) -> None:
    rendered = lab.state(lab.pipeline(tolerated_failure_percentage="$.percent", accounting=Accounting.none()), "map")

    assert rendered["ToleratedFailurePercentage"] == "{% $states.input.percent %}"


@pytest.mark.parametrize(
    ("count", "percentage", "rendered"),
    [
        (5, "$.p", ("{% ($states.input.p) = 0 ? 0 : 5 %}", "{% $states.input.p %}")),
        ("$.c", 2.5, ("{% $states.input.c %}", "{% ($states.input.c) = 0 ? 0 : 2.5 %}")),
        (0, "$.p", (0, 0)),
        ("$.c", 0, (0, 0)),
        (0, 0, (0, 0)),
        (3, 2, (3, 2)),
    ],
    ids=["percentage", "count", "no-failures", "no-percent", "neither", "both"],
)
def test_a_tolerance_that_turns_out_to_be_0_takes_the_other_with_it(
    lab: Lab, count: Any, percentage: Any, rendered: tuple[Any, Any]
) -> None:
    pipeline = lab.pipeline(
        tolerated_failure_count=count, tolerated_failure_percentage=percentage, accounting=Accounting.none()
    )
    found = lab.state(pipeline, "map")

    assert (found["ToleratedFailureCount"], found["ToleratedFailurePercentage"]) == rendered


def test_a_fractional_percentage_is_kept(lab: Lab) -> None:
    pipeline = lab.pipeline(tolerated_failure_percentage=0.5, accounting=Accounting.none())

    assert lab.state(pipeline, "map")["ToleratedFailurePercentage"] == 0.5


# -- ResultWriter


def test_results_are_exported_by_default_as_the_client_reads_them_best(lab: Lab) -> None:
    assert lab.state(lab.pipeline(), "map")["ResultWriter"] == {
        "Resource": "arn:${AWS::Partition}:states:::s3:putObject",
        "Arguments": {
            "Bucket": "${PPayloadBucket1048A6C5}",
            "Prefix": '{% ("runs/" & $states.context.Execution.Name) & "/results" %}',
        },
        "WriterConfig": {"Transformation": "NONE", "OutputType": "JSONL"},
    }


@pytest.mark.parametrize("transformation", list(Transformation), ids=lambda each: str(each.value))
@pytest.mark.parametrize("output_type", list(OutputType), ids=lambda each: str(each.value))
def test_results_can_be_chosen(lab: Lab, transformation: Transformation, output_type: OutputType) -> None:
    results = Results(transformation=transformation, output_type=output_type, bucket=lab.bucket("Results"))
    rendered = lab.state(lab.pipeline(results=results, payload_prefix="team/"), "map")["ResultWriter"]

    assert rendered["Arguments"]["Bucket"] == "results"
    assert rendered["Arguments"]["Prefix"].startswith('{% ("team/runs/" &')
    assert rendered["WriterConfig"] == {
        "Transformation": transformation.value,
        "OutputType": output_type.value,
    }


def test_both_maps_of_a_pipeline_export(lab: Lab) -> None:
    pipeline = lab.pipeline()
    own, of_file = (lab.state(pipeline, name)["ResultWriter"] for name in ("map", "map item file"))
    prefixes = [each["Arguments"].pop("Prefix") for each in (own, of_file)]

    assert own == of_file
    folder = '("runs/" & $states.context.Execution.Name)'
    of_round = '($distmapRound > 0 ? "/rounds/" & $string($distmapRound) : "")'
    assert prefixes == [f'{{% {folder} & "/results" %}}', f'{{% {folder} & {of_round} & "/results" %}}']


# -- Retry


def test_every_lambda_task_retries_throttling_and_no_map_retries(lab: Lab, workers: dict[str, Any]) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
        worker=workers["full"]["nested"](lab),
    )
    states = dict(walk(lab.definition(pipeline)))
    tasks = [state for state in states.values() if state["Type"] == "Task"]
    maps = [state for state in states.values() if state["Type"] == "Map"]

    assert len(tasks) == 5
    assert all(task["Retry"][0]["ErrorEquals"] == LAMBDA_ERRORS for task in tasks)
    assert all(task["Retry"][0]["JitterStrategy"] == "FULL" for task in tasks)
    assert all(task["Retry"][1]["ErrorEquals"] == WAKING["ErrorEquals"] for task in tasks)
    assert len(maps) == 2
    assert not any("Retry" in each or "Catch" in each for each in maps)


def test_throttling_is_outlasted_for_ten_minutes(lab: Lab) -> None:
    throttling, _ = lab.state(lab.pipeline(), "process")["Retry"]

    assert throttling == THROTTLING
    # Full jitter waits half of each delay on average.
    assert longest(throttling) / 2 >= 600


def test_a_function_that_was_idle_for_weeks_is_waited_for(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()), combine=Combiner.function(lab.function("CombineFunction"))
    )

    assert {name: lab.state(pipeline, name)["Retry"][1] for name in ("capture", "process", "combine")} == dict.fromkeys(
        ("capture", "process", "combine"), WAKING
    )


def test_a_process_of_the_runs_own_that_ends_is_tried_again_and_a_workers_is_not(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()), combine=Combiner.function(lab.function("CombineFunction"))
    )

    for name in ("capture", "account", "combine"):
        assert lab.state(pipeline, name)["Retry"][2:] == [
            {
                "ErrorEquals": ["Runtime.ExitError", "Lambda.Unknown"],
                "IntervalSeconds": 1,
                "MaxAttempts": 3,
                "BackoffRate": 2,
                "MaxDelaySeconds": 60,
                "JitterStrategy": "FULL",
            }
        ]
    # Its items run again in a round, in smaller batches.
    assert len(lab.state(pipeline, "process")["Retry"]) == 2


@pytest.mark.parametrize(
    ("seconds", "waking"), [(30, 6), (134, 5), (135, 4), (230, 3), (264, 1), (265, 0), (299, 0)], ids=str
)
def test_the_retries_of_an_express_child_fit_its_five_minutes(lab: Lab, seconds: int, waking: int) -> None:
    worker = Worker.function(lab.function(timeout=cdk.Duration.seconds(seconds)))
    pipeline = lab.pipeline(worker=worker, child_type=sfn.StateMachineType.EXPRESS)
    throttling, *others = lab.state(pipeline, "process")["Retry"]

    assert [each["MaxAttempts"] for each in others] == ([waking] if waking else [])
    assert throttling["MaxAttempts"] >= (5 if waking else 1)
    assert seconds + sum(longest(each) for each in (throttling, *others)) <= 300


def test_own_errors_are_retried_beside_those_of_lambda(lab: Lab) -> None:
    policy = RetryPolicy(
        errors=["ConnectionError"], max_attempts=0, interval=cdk.Duration.seconds(7), backoff_rate=1.5,
        max_delay=cdk.Duration.minutes(5),
    )  # fmt: skip
    pipeline = lab.pipeline(worker=Worker.function(lab.function(), retry=policy))

    assert lab.state(pipeline, "process")["Retry"] == [
        THROTTLING,
        WAKING,
        {
            "ErrorEquals": ["ConnectionError"],
            "IntervalSeconds": 7,
            "MaxAttempts": 0,
            "BackoffRate": 1.5,
            "MaxDelaySeconds": 300,
            "JitterStrategy": "FULL",
        },
    ]


# -- the task


def test_the_task_of_the_worker(lab: Lab) -> None:
    assert lab.state(lab.pipeline(), "process") == {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": "arn:${AWS::Partition}:states:::lambda:invoke",
        "Arguments": {"FunctionName": "${Function76856677.Arn}", "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "TimeoutSeconds": 90,
        "Retry": [THROTTLING, WAKING],
        "End": True,
    }


@pytest.mark.parametrize(
    ("given", "express", "seconds"),
    [
        (None, False, 90),
        (cdk.Duration.minutes(7), False, 420),
        (None, True, 90),
    ],
    ids=["function-and-a-minute", "given", "express"],
)
def test_timeout_of_the_task(lab: Lab, given: cdk.Duration | None, express: bool, seconds: int) -> None:  # noqa: FBT001 - a case
    pipeline = lab.pipeline(
        worker=Worker.function(lab.function(), timeout=given),
        child_type=sfn.StateMachineType.EXPRESS if express else sfn.StateMachineType.STANDARD,
    )

    assert lab.state(pipeline, "process")["TimeoutSeconds"] == seconds


def test_the_timeout_of_a_function_that_is_not_known_here_is_lambdas_longest(lab: Lab) -> None:
    from aws_cdk import aws_lambda as lambda_

    imported = lambda_.Function.from_function_name(lab.stack, "Imported", "elsewhere")
    pipeline = lab.pipeline(worker=Worker.function(imported))

    assert lab.state(pipeline, "process")["TimeoutSeconds"] == 960


@pytest.mark.parametrize("child_type", [sfn.StateMachineType.STANDARD, sfn.StateMachineType.EXPRESS], ids=str)
def test_children_are_of_the_type_that_is_set(lab: Lab, child_type: sfn.StateMachineType) -> None:
    rendered = lab.state(lab.pipeline(child_type=child_type), "map")

    assert rendered["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": child_type.value}
