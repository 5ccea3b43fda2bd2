"""Wrong settings of a map fail when they are made, with the value, the limit and the remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdk_distributed_map import (
    Accounting,
    Alarms,
    Batching,
    FileFormat,
    ItemSource,
    ReservedConcurrency,
    Results,
    RetryPolicy,
    Worker,
)
from cdk_distributed_map.names import label_from
from cdk_distributed_map.settings import checks
from distmap import limits

if TYPE_CHECKING:
    from tests.construct.lab import Lab

EXPRESS = sfn.StateMachineType.EXPRESS


def named(options: dict[str, Any]) -> str:
    """A test's id, the same in every process: an object's own text may hold its address."""
    return "-".join(
        f"{key}={f'{value.to_seconds():g}s' if isinstance(value, cdk.Duration) else value}"
        for key, value in options.items()
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_concurrency": 0}, ["max_concurrency", "between 1 and 10,000", "got 0", "0 means just that"]),
        ({"max_concurrency": -5}, ["max_concurrency", "got -5"]),
        ({"max_concurrency": 10_001}, ["max_concurrency", "10,000", "got 10,001"]),
        ({"max_concurrency": 1.5}, ["max_concurrency", "whole number", "got 1.5"]),
        ({"max_concurrency": float("nan")}, ["max_concurrency", "got nan"]),
        ({"max_concurrency": float("inf")}, ["max_concurrency", "got inf"]),
        ({"tolerated_failure_count": -3}, ["tolerated_failure_count", "between 0", "got -3"]),
        ({"tolerated_failure_count": 1.5}, ["tolerated_failure_count", "whole number of items", "got 1.5"]),
        ({"tolerated_failure_percentage": -0.1}, ["tolerated_failure_percentage", "0 and 100 percent", "got -0.1"]),
        ({"tolerated_failure_percentage": 100.5}, ["tolerated_failure_percentage", "got 100.5"]),
        ({"label": ""}, ["label", "must not be empty", "leave it out"]),
        ({"label": "x" * 41}, ["label", "at most 40 characters", "got 41"]),
        ({"label": "a/b"}, ["label", "must not hold '/'", "'a/b'", "letters, digits"]),
        ({"label": "größe"}, ["label", "ASCII", "CloudWatch"]),
        ({"payload_prefix": "team"}, ["payload_prefix", "end in a slash", "'team'"]),
        ({"payload_prefix": f"{'é' * 120}/"}, ["payload_prefix", "at most 240 bytes", "got 241"]),
        ({"payload_prefix": "/team/"}, ["payload_prefix", "not begin with one", "'/team/'"]),
        ({"timeout": cdk.Duration.seconds(0)}, ["timeout", "between 1 and 31,536,000 seconds", "got 0"]),
        ({"timeout": cdk.Duration.days(366)}, ["timeout", "31,536,000 seconds", "got 31,622,400"]),
        ({"expire_runs_after": cdk.Duration.hours(12)}, ["expire_runs_after", "whole number of days", "got 0.5"]),
        ({"expire_runs_after": cdk.Duration.days(0)}, ["expire_runs_after", "between 1 and", "got 0"]),
    ],
    ids=lambda case: named(case) if isinstance(case, dict) else "",
)
def test_fails_when_a_setting_is_out_of_bounds(lab: Lab, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        lab.pipeline(**options)

    message = str(error.value)
    assert not [word for word in words if word not in message], message
    assert not message.endswith(".")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_concurrency": True}, ["max_concurrency must be a number", "'$.limit'", "got True"]),
        ({"max_concurrency": "many"}, ["max_concurrency", "got 'many'"]),
        ({"tolerated_failure_percentage": "5"}, ["tolerated_failure_percentage", "got '5'"]),
        ({"label": 5}, ["label must be a string", "got 5"]),
        ({"items": "s3://data/items.json"}, ["items must be an ItemSource", "ItemSource.json", "s3://data"]),
        ({"worker": "arn:aws:lambda"}, ["worker must be a Worker", "Worker.function"]),
        ({"batching": 10}, ["batching must be a Batching", "Batching(max_items=100)", "got 10"]),
        ({"combine": "function"}, ["combine must be a Combiner", "got 'function'"]),
        ({"results": "bucket"}, ["results must be a Results", "got 'bucket'"]),
        ({"item_selector": "$.x"}, ["item_selector must be a mapping", "got '$.x'"]),
        ({"payload_bucket": "data"}, ["payload_bucket must be a bucket", "'data'", "Bucket.from_bucket_name"]),
    ],
    ids=lambda case: "-".join(case) if isinstance(case, dict) else "",
)
def test_fails_when_a_setting_is_of_the_wrong_kind(lab: Lab, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(TypeError, match=re.escape(words[0])) as error:
        lab.pipeline(**options)

    assert not [word for word in words if word not in str(error.value)], str(error.value)


def test_fails_when_an_expiry_is_given_for_a_bucket_made_elsewhere(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"expire_runs_after .*lifecycle rule on the given payload_bucket"):
        lab.pipeline(payload_bucket=lab.bucket("Payload"), expire_runs_after=cdk.Duration.days(3))


def test_fails_when_the_label_is_known_only_at_deployment(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"label must be known at synthesis"):
        lab.pipeline(label=lab.text_parameter("Label").value_as_string)


# -- batching


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["max_items, max_bytes or both", "got neither"]),
        ({"batch_input": {"a": 1}}, ["max_items, max_bytes or both"]),
        ({"max_items": 0}, ["batching max_items", "between 1 and 100,000,000", "got 0"]),
        ({"max_items": -1}, ["batching max_items", "got -1"]),
        ({"max_items": 2.5}, ["batching max_items", "whole number", "got 2.5"]),
        ({"max_bytes": 0}, ["batching max_bytes", "between 1 and 262,144 bytes", "got 0"]),
        ({"max_bytes": 262_145}, ["batching max_bytes", "262,144 bytes", "got 262,145", "256 KiB", "into S3"]),
        ({"max_bytes": 999_999_999}, ["batching max_bytes", "got 999,999,999"]),
        ({"max_items": 5, "batch_input": {"distmap": 1}}, ["batch_input", "'distmap'", "the runtime's"]),
        ({"max_items": 5, "batch_input": {"x": "y" * 262_144}}, ["batch_input has 262,", "262,144", "into S3"]),
    ],
    ids=lambda case: "-".join(case) or "nothing" if isinstance(case, dict) else "",
)
def test_fails_when_batching_is_wrong(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        Batching(**options)

    assert not [word for word in words if word not in str(error.value)], str(error.value)


def test_fails_when_the_batch_input_is_no_mapping() -> None:
    with pytest.raises(TypeError, match=r"batch_input must be a mapping, got \[1\]"):
        Batching(max_items=5, batch_input=[1])  # type: ignore[arg-type]  # what is tested


def test_fails_when_the_batch_input_has_jsonata_with_spaces_outside(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"batch_input\['x'\] got ' \{% 1 %\}'.*without spaces outside"):
        lab.pipeline(batching=Batching(max_items=5, batch_input={"x": " {% 1 %}"}))


# -- concurrency of the worker


def test_fails_when_the_concurrency_is_over_what_the_worker_reserves(lab: Lab) -> None:
    worker = lab.python_worker(reserved_concurrency=ReservedConcurrency.fixed(5))
    with pytest.raises(ValueError, match=r"max_concurrency is 6 .*reserved concurrency of 5.*lower .*reserve more"):
        lab.pipeline(worker=worker, max_concurrency=6)


@pytest.mark.parametrize("kind", ["function", "alias", "version"])
def test_fails_when_the_concurrency_is_over_what_a_given_function_reserves(lab: Lab, kind: str) -> None:
    function = lab.function(reserved_concurrent_executions=5)
    given: lambda_.IFunction = function
    if kind == "version":
        given = function.current_version
    if kind == "alias":
        given = lambda_.Alias(lab.stack, "Live", alias_name="live", version=function.current_version)
    with pytest.raises(ValueError, match=r"max_concurrency is 100 .*reserved concurrency of 5"):
        lab.pipeline(worker=Worker.function(given))


def test_fails_when_nested_maps_together_are_over_what_the_worker_reserves(lab: Lab) -> None:
    inner = Worker.function(lab.function(reserved_concurrent_executions=99))
    worker = Worker.nested(items=ItemSource.state_array("$.value"), worker=inner, max_concurrency=10)
    with pytest.raises(ValueError, match=r"max_concurrency is 100 .*reserved concurrency of 99"):
        lab.pipeline(worker=worker, max_concurrency=10)


@pytest.mark.parametrize("amount", [0, -1, 10_001, 2.5], ids=str)
def test_fails_when_a_reservation_is_out_of_bounds(amount: float) -> None:
    with pytest.raises(ValueError, match=r"reserved concurrency must be .*got"):
        ReservedConcurrency.fixed(amount)


@pytest.mark.parametrize(
    ("former", "now", "arguments"),
    [("of", "fixed", (5,)), ("matching", "match_max_concurrency", ())],
    ids=["of", "matching"],
)
def test_former_names_of_reservations_work_and_warn(former: str, now: str, arguments: tuple[int, ...]) -> None:
    with pytest.warns(DeprecationWarning, match=rf"ReservedConcurrency\.{former} is now .*{now}") as told:
        made = getattr(ReservedConcurrency, former)(*arguments)
    assert made == getattr(ReservedConcurrency, now)(*arguments)
    assert told[0].filename == __file__


def test_a_concurrency_from_the_input_reserves_nothing(lab: Lab) -> None:
    lab.pipeline(worker=lab.python_worker(), max_concurrency="$.parallel", accounting=Accounting.none())

    (function,) = lab.resources("AWS::Lambda::Function").values()
    assert "ReservedConcurrentExecutions" not in function["Properties"]


@pytest.mark.parametrize(
    ("reserved", "amount"),
    [
        (None, 40),
        (ReservedConcurrency.match_max_concurrency(), 40),
        (ReservedConcurrency.fixed(80), 80),
        (ReservedConcurrency.none(), None),
    ],
    ids=["default", "matching", "of", "none"],
)
def test_reservation_of_a_worker(lab: Lab, reserved: ReservedConcurrency | None, amount: int | None) -> None:
    lab.pipeline(
        worker=lab.python_worker(reserved_concurrency=reserved), max_concurrency=40, accounting=Accounting.none()
    )

    (function,) = lab.resources("AWS::Lambda::Function").values()
    assert function["Properties"].get("ReservedConcurrentExecutions") == amount


# -- retry, alarms, results


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"errors": []}, ["errors must name at least one"]),
        ({"errors": [""]}, ["errors must not be empty"]),
        ({"errors": ["A", "States.ALL"]}, ["'States.ALL' alone", "'A'"]),
        ({"errors": ["A"], "max_attempts": -1}, ["max_attempts", "got -1"]),
        ({"errors": ["A"], "max_attempts": 1.5}, ["max_attempts", "got 1.5"]),
        ({"errors": ["A"], "max_attempts": 100_000_000}, ["max_attempts", "99,999,999"]),
        ({"errors": ["A"], "interval": cdk.Duration.seconds(0)}, ["interval", "got 0"]),
        ({"errors": ["A"], "interval": cdk.Duration.seconds(60)}, ["max_delay must be longer than interval", "60 s"]),
        ({"errors": ["A"], "max_delay": cdk.Duration.days(366)}, ["max_delay", "31,622,399"]),
        ({"errors": ["A"], "backoff_rate": 0.5}, ["backoff_rate must be at least 1", "got 0.5"]),
        ({"errors": ["A"], "backoff_rate": float("nan")}, ["backoff_rate", "got nan"]),
    ],
    ids=lambda case: named(case) if isinstance(case, dict) else "",
)
def test_fails_when_a_retry_is_wrong(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        RetryPolicy(**options)

    assert not [word for word in words if word not in str(error.value)], str(error.value)


@pytest.mark.parametrize("throttles", [0, -1, 0.5], ids=str)
def test_fails_when_an_alarm_would_always_be_raised(throttles: float) -> None:
    with pytest.raises(ValueError, match=r"throttles must be .*got"):
        Alarms(throttles=throttles)  # type: ignore[arg-type]  # what is tested


def test_fails_when_a_transformation_is_unknown(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"transformation must be a Transformation, one of .*COMPACT.*, got 'SQUASH'"):
        lab.pipeline(results=Results(transformation="SQUASH"))  # type: ignore[arg-type]  # what is tested


def test_fails_when_the_map_is_told_to_retry(lab: Lab) -> None:
    pipeline = lab.pipeline()
    the_map = pipeline.node.find_child("Flow").node.find_child("Map")
    with pytest.raises(ValueError, match=r"Retry on a Distributed Map .*redrive"):
        the_map.add_retry()  # type: ignore[attr-defined]  # an ItemMap


# -- Express children


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda scope: sfn.Wait(scope, "W", time=sfn.WaitTime.duration(cdk.Duration.minutes(5))), ["'W' waits 300 s"]),
        (
            lambda scope: tasks.StepFunctionsStartExecution(
                scope, "W", integration_pattern=sfn.IntegrationPattern.RUN_JOB,
                state_machine=sfn.StateMachine.from_state_machine_name(scope, "Other", "other"),
            ),
            ["'W' runs a job with .sync"],
        ),
        (
            lambda scope: tasks.StepFunctionsInvokeActivity(scope, "W", activity=sfn.Activity(scope, "Activity")),
            ["'W' is an activity"],
        ),
        (
            lambda scope: tasks.LambdaInvoke(
                scope, "W", integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
                payload=sfn.TaskInput.from_object({"token": sfn.JsonPath.task_token}),
                lambda_function=lambda_.Function.from_function_name(scope, "Imported", "elsewhere"),
            ),
            ["'W' waits for a task token"],
        ),
        (lambda scope: sfn.DistributedMap(scope, "W").item_processor(sfn.Pass(scope, "X")), ["is a Distributed Map"]),
        (
            lambda scope: sfn.Parallel(scope, "P").branch(
                sfn.Wait(scope, "W", time=sfn.WaitTime.duration(cdk.Duration.hours(1)))
            ),
            ["'W' waits 3600 s"],
        ),
        (
            lambda scope: tasks.LambdaInvoke(
                scope, "W", task_timeout=sfn.Timeout.duration(cdk.Duration.minutes(15)),
                lambda_function=lambda_.Function.from_function_name(scope, "Imported", "elsewhere"),
            ),
            ["'W' has a timeout of 900 s", "300 s"],
        ),
    ],
    ids=["wait", "sync", "activity", "callback", "distributed-map", "in-parallel", "timeout"],
)  # fmt: skip
def test_fails_when_an_express_child_cannot_run_a_state(lab: Lab, state: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        lab.pipeline(worker=Worker.states(state), child_type=EXPRESS)

    assert "Standard children" in str(error.value)
    assert not [word for word in words if word not in str(error.value)], str(error.value)


@pytest.mark.parametrize(
    ("timeout", "retry"),
    [
        (cdk.Duration.minutes(6), None),
        (cdk.Duration.minutes(5), None),
        (cdk.Duration.minutes(1), RetryPolicy(errors=["A"], max_attempts=4)),
    ],
    ids=["timeout-over", "no-room", "retries"],
)
def test_fails_when_timeout_and_retries_exceed_an_express_child(
    lab: Lab, timeout: cdk.Duration, retry: RetryPolicy | None
) -> None:
    worker = lab.python_worker(timeout=timeout, retry=retry)
    with pytest.raises(ValueError, match=r"Express child ends after 300 s.*shorten them, or use Standard children"):
        lab.pipeline(worker=worker, child_type=EXPRESS)


def test_fails_when_express_children_are_to_run_nested_maps(lab: Lab, workers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"child_type is EXPRESS .*nested map.*use STANDARD"):
        lab.pipeline(worker=workers["smallest"]["nested"](lab), child_type=EXPRESS)


def test_fails_when_batches_are_to_run_nested_maps(lab: Lab, workers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"batching can't be combined with a nested map.*batch the inner map"):
        lab.pipeline(worker=workers["smallest"]["nested"](lab), batching=Batching(max_items=5))


@pytest.mark.parametrize("kind", ["load", "inventory", "athena"])
def test_fails_when_nested_maps_are_inside_a_source_of_several_files(
    lab: Lab, workers: dict[str, Any], kind: str
) -> None:
    bucket, rows = lab.bucket(), FileFormat.json_lines()
    items = {
        "load": lambda: ItemSource.s3_objects(bucket, prefix="rows/", load=rows),
        "inventory": lambda: ItemSource.inventory(bucket, "inventory/manifest.json"),
        "athena": lambda: ItemSource.athena_manifest(bucket, "manifest.csv", format=rows, data_prefix="data/"),
    }[kind]()
    with pytest.raises(ValueError, match=r"nested map can't be inside a source of several files.*ItemSource.captured"):
        lab.pipeline(items=items, worker=workers["smallest"]["nested"](lab))


@pytest.mark.parametrize(
    ("count", "percentage", "words"),
    [
        (0, 5, ["tolerated_failure_count is 0", "tolerated_failure_percentage of 5", "not set"]),
        (3, 0, ["tolerated_failure_percentage is 0", "tolerated_failure_count of 3"]),
        (0, 0.5, ["tolerated_failure_count is 0", "of 0.5"]),
        (1, 0.0, ["tolerated_failure_percentage is 0", "of 1,"]),
    ],
    ids=["count", "percentage", "fraction", "zero-point-zero"],
)
def test_fails_when_a_tolerance_of_0_is_beside_one_that_is_not(
    lab: Lab, count: int, percentage: float, words: list[str]
) -> None:
    tolerances: dict[str, Any] = {"tolerated_failure_count": count, "tolerated_failure_percentage": percentage}
    with pytest.raises(ValueError, match="take it out, or the other one to tolerate nothing") as error:
        lab.pipeline(**tolerances)

    assert not [word for word in words if word not in str(error.value)], str(error.value)

    worker = lab.python_worker()
    with pytest.raises(ValueError, match=re.escape(str(error.value))):
        Worker.nested(items=ItemSource.state_array("$.value"), worker=worker, **tolerances)


# -- properties


def passes(check: Callable[..., None], *arguments: object, **options: object) -> bool:
    try:
        check(*arguments, **options)
    except ValueError:
        return False
    return True


WRONG_LABEL = re.compile(r"""[\s?*<>{}\[\]:;,\\|^~$#%&`"/]|[^\x21-\x7e]""")


@settings(max_examples=300, deadline=None)
@given(label=st.text(max_size=45))
def test_a_label_passes_only_if_aws_takes_it(label: str) -> None:
    acceptable = 0 < len(label) <= limits.MAX_LABEL_LENGTH and not WRONG_LABEL.search(label)

    assert passes(checks.label, label) == acceptable


@settings(max_examples=200, deadline=None)
@given(construct_id=st.text(min_size=1, max_size=80))
def test_every_construct_id_makes_a_label(construct_id: str) -> None:
    checks.label(label_from(construct_id))


NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=300, deadline=None)
@given(value=NUMBERS, least=st.integers(0, 5), most=st.integers(6, 10**8))
def test_a_whole_number_passes_only_within_its_bounds(value: float, least: int, most: int) -> None:
    acceptable = math.isfinite(value) and value == int(value) and least <= value <= most

    assert passes(checks.whole_number, "number", value, least=least, most=most) == acceptable


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=NUMBERS)
def test_a_percentage_passes_only_from_0_to_100(value: float) -> None:
    assert passes(checks.percentage, "percentage", value) == (0 <= value <= 100)


def test_fails_when_the_timeout_of_a_task_is_nothing(lab: Lab) -> None:
    worker = Worker.function(lab.function(), timeout=cdk.Duration.seconds(0))
    with pytest.raises(ValueError, match=r"timeout must be between 1 and .* got 0"):
        lab.pipeline(worker=worker)


def test_fails_when_a_worker_outlasts_an_express_child_and_says_its_own_timeout(lab: Lab) -> None:
    worker = lab.python_worker(timeout=cdk.Duration.minutes(6))
    with pytest.raises(ValueError, match="the worker's timeout of 360 s"):
        lab.pipeline(worker=worker, child_type=EXPRESS)
