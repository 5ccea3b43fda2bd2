"""The account function: what it may do, what it is told, and the rule for runs that fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import (
    Accounting,
    Batching,
    Capture,
    ItemSource,
    Rerun,
    Results,
    Transformation,
    Worker,
)

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Allowed = Callable[["Lab", Any], set[tuple[str, str, str]]]

BUCKET = "${PPayloadBucket1048A6C5.Arn}"
MAP_RUN = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:mapRun"
LISTING = json.dumps({"StringLike": {"s3:prefix": ["runs/*"]}})
NULL = "{% null %}"
"""How null is written in a state's arguments."""
WRITTEN = ("ledger.json", "failures.jsonl", "account/*", "rounds/*/items.jsonl")


def always(bucket: str = BUCKET, prefix: str = "") -> set[tuple[str, str, str]]:
    """What every account function may do."""
    listing = LISTING.replace("runs/", f"{prefix}runs/")
    return {
        ("logs:CreateLogStream", "${PAccountLogs1D3BE672.Arn}", ""),
        ("logs:PutLogEvents", "${PAccountLogs1D3BE672.Arn}", ""),
        ("s3:GetObject", f"{bucket}/{prefix}runs/*", ""),
        ("s3:GetObject", f"{bucket}/{prefix}items/*", ""),
        ("s3:ListBucket", bucket, listing),
        *(
            (action, f"{bucket}/{prefix}runs/*/{name}", "")
            for action in ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
            for name in WRITTEN
        ),
    }


def describing(*labels: str, machine: str = "${PStateMachineD7DE3D71.Name}") -> set[tuple[str, str, str]]:
    return {("states:DescribeMapRun", f"{MAP_RUN}:{machine}/{label}:*", "") for label in labels}


def told(lab: Lab) -> dict[str, Any]:
    """Return what the function is told by its environment, tokens by their names."""
    variables = lab.resources("AWS::Lambda::Function")["PAccount6610957E"]["Properties"]["Environment"]["Variables"]
    return {name: json.loads(plain(value)) for name, value in variables.items()}


def plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "".join(
        piece if isinstance(piece, str) else f"<{next(iter(piece.values()))}>" for piece in value["Fn::Join"][1]
    )


# -- rights


def test_role_of_the_account_function(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline()

    assert pipeline.account is not None
    assert allowed(lab, pipeline.account.role) == always() | describing("P", "P-ItemFile")


def test_role_of_the_account_function_of_a_captured_source_with_a_prefix(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(items=ItemSource.captured(Capture.ranges()), payload_prefix="team/")

    assert pipeline.account is not None
    assert allowed(lab, pipeline.account.role) == always(prefix="team/") | describing("P")


def test_results_elsewhere_are_read_there(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(results=Results(bucket=lab.bucket("Results")))
    elsewhere = "arn:${AWS::Partition}:s3:::results"

    assert pipeline.account is not None
    assert allowed(lab, pipeline.account.role) == always() | describing("P", "P-ItemFile") | {
        ("s3:GetObject", f"{elsewhere}/runs/*", ""),
        ("s3:ListBucket", elsewhere, LISTING),
    }


def test_maps_of_a_fragment_are_described_in_any_machine(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline()
    sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(pipeline.fragment))

    assert pipeline.account is not None
    wanted = describing("P", "P-ItemFile") | describing("P", "P-ItemFile", machine="*")
    assert allowed(lab, pipeline.account.role) == always() | wanted


def test_role_of_an_account_function_that_tells_of_failed_items(lab: Lab, allowed: Allowed) -> None:
    key = kms.Key(lab.stack, "Key")
    queue = sqs.Queue(lab.stack, "Queue", encryption_master_key=key)
    bus = events.EventBus(lab.stack, "Bus")
    pipeline = lab.pipeline(on_items_failed=[queue, bus])

    assert pipeline.account is not None
    names = {each.node.id: lab.stack.get_logical_id(each.node.default_child) for each in (key, queue, bus)}  # type: ignore[arg-type]  # L1s
    more = allowed(lab, pipeline.account.role) - always() - describing("P", "P-ItemFile")
    assert more == {
        ("sqs:SendMessage", f"${{{names['Queue']}.Arn}}", ""),
        ("kms:GenerateDataKey", f"${{{names['Key']}.Arn}}", ""),
        ("kms:Decrypt", f"${{{names['Key']}.Arn}}", ""),
        ("events:PutEvents", f"${{{names['Bus']}.Arn}}", ""),
    }


# -- what it is told


def test_the_function_is_told_of_the_map(lab: Lab) -> None:
    lab.pipeline(payload_prefix="team/")

    assert told(lab) == {
        "DISTMAP_RUNS": {"bucket": "<PPayloadBucket1048A6C5>", "prefix": "team/"},
        "DISTMAP_ACCOUNT": {
            "pipeline": "<AWS::StackName>/P",
            "rounds": 10,
            "rerun": None,
            "waitSeconds": 1,
            "backoffRate": 2,
            "maxWaitSeconds": 300,
            "metrics": True,
            "enveloped": True,
            "batched": False,
            "selects": False,
            "resultsBucket": "<PPayloadBucket1048A6C5>",
            "nested": [],
            "targets": [],
            "toleratedFailureCount": None,
            "toleratedFailurePercentage": None,
        },
    }


def test_the_function_is_told_everything(lab: Lab) -> None:
    queue = sqs.Queue(lab.stack, "Queue")
    lab.pipeline(
        batching=Batching(max_items=10),
        item_selector={"id.$": "$$.Map.Item.Value.id"},
        accounting=Accounting(rounds=2, metrics=False),
        rerun=Rerun(
            rounds=5,
            errors=["States.Timeout", "Slow"],
            permanent_errors=["Bad"],
            wait=cdk.Duration.minutes(1),
            backoff_rate=1.5,
            max_wait=cdk.Duration.hours(1),
        ),
        on_items_failed=queue,
    )
    account = told(lab)["DISTMAP_ACCOUNT"]

    assert account["targets"][0]["kind"] == "queue"
    assert {key: account[key] for key in ("rounds", "rerun", "waitSeconds", "backoffRate", "maxWaitSeconds")} == {
        "rounds": 2,
        "rerun": {"rounds": 5, "errors": ["States.Timeout", "Slow"], "permanentErrors": ["Bad"]},
        "waitSeconds": 60,
        "backoffRate": 1.5,
        "maxWaitSeconds": 3600,
    }
    assert (account["metrics"], account["batched"], account["selects"]) == (False, True, True)


def test_states_and_rule_tell_the_function_the_same(lab: Lab) -> None:
    pipeline = lab.pipeline(rerun=Rerun(), batching=Batching(max_items=10))
    by_states = lab.state(pipeline, "account")["Arguments"]["Payload"]["account"]
    by_rule = told(lab)["DISTMAP_ACCOUNT"]

    assert by_states.keys() == by_rule.keys()
    same = ("rounds", "waitSeconds", "backoffRate", "maxWaitSeconds", "metrics", "enveloped", "batched", "selects")
    assert {key: by_states[key] for key in same} == {key: by_rule[key] for key in same}


def test_nested_maps_are_told(lab: Lab, workers: dict[str, Any]) -> None:
    lab.pipeline(worker=workers["smallest"]["nested"](lab))

    (nested,) = told(lab)["DISTMAP_ACCOUNT"]["nested"]
    assert nested == {"label": "P-Nested", "batched": False, "resultsBucket": "<PPayloadBucket1048A6C5>", "nested": []}


def nested_worker(lab: Lab, **options: Any) -> Worker:
    rows = ItemSource.state_array("$.value.rows")
    return Worker.nested(items=rows, worker=lab.python_worker(), batching=Batching(max_items=10), **options)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, (NULL, NULL)),
        ({"tolerated_failure_count": 3}, (3, NULL)),
        ({"tolerated_failure_count": 1, "tolerated_failure_percentage": 2.5}, (1, 2.5)),
    ],
    ids=["none", "count", "both"],
)
def test_the_states_tell_the_tolerance_of_nested_maps(lab: Lab, options: dict[str, Any], kept: tuple[Any, Any]) -> None:
    pipeline = lab.pipeline(worker=nested_worker(lab, **options))

    (nested,) = lab.state(pipeline, "account")["Arguments"]["Payload"]["account"]["nested"]
    count, percentage = kept
    assert nested["tolerance"] == {"toleratedFailureCount": count, "toleratedFailurePercentage": percentage}


def test_a_nested_tolerance_that_is_known_at_deployment_is_told_too(lab: Lab) -> None:
    percentage = lab.number_parameter("Percentage").value_as_number
    lab.pipeline(worker=nested_worker(lab, tolerated_failure_percentage=percentage))

    # The map, its copy over an item file, and the account.
    assert json.dumps(lab.resources("AWS::StepFunctions::StateMachine")).count('{"Ref": "Percentage"}') == 3


def test_a_nested_tolerance_from_its_input_is_left_to_step_functions(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=nested_worker(lab, tolerated_failure_percentage="$.value.tolerated"))

    (nested,) = lab.state(pipeline, "account")["Arguments"]["Payload"]["account"]["nested"]
    assert nested["tolerance"] == NULL


def test_fails_when_more_errors_are_named_than_an_environment_has_room_for(lab: Lab) -> None:
    many = [f"Store.ErrorOfTheKind{number:03}" for number in range(150)]
    told = r"take about 4,\d{3} bytes of the environment of the account function, which has 4,096: name fewer errors"
    with pytest.raises(ValueError, match=told):
        lab.pipeline(rerun=Rerun(errors=many))


def test_rerun_for_every_error_names_none(lab: Lab) -> None:
    lab.pipeline(rerun=Rerun(errors=["States.ALL"]))

    assert told(lab)["DISTMAP_ACCOUNT"]["rerun"] == {"rounds": 3, "errors": None, "permanentErrors": []}


# -- the rule


def test_runs_that_fail_call_the_function(lab: Lab) -> None:
    lab.pipeline()
    ((rule_id, rule),) = lab.resources("AWS::Events::Rule").items()
    (permission,) = lab.resources("AWS::Lambda::Permission").values()
    function = {"Fn::GetAtt": ["PAccount6610957E", "Arn"]}

    assert rule["Properties"]["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": [{"Ref": "PStateMachineD7DE3D71"}],
            "$or": [
                {"status": ["FAILED", "TIMED_OUT", "ABORTED"]},
                {"status": ["SUCCEEDED"], "redriveCount": [{"numeric": [">", 0]}]},
            ],
        },
    }
    (target,) = rule["Properties"]["Targets"]
    assert target["Arn"] == function
    assert permission["Properties"] == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": function,
        "Principal": "events.amazonaws.com",
        "SourceArn": {"Fn::GetAtt": [rule_id, "Arn"]},
    }


def test_runs_of_a_machine_with_the_fragment_are_accounted_for_where_they_are_asked_to_be(lab: Lab) -> None:
    pipeline = lab.pipeline()
    own = sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(pipeline.fragment))
    pipeline.account_for_failed_runs_of("OfOwn", own)

    watched = [
        each["Properties"]["EventPattern"]["detail"]["stateMachineArn"]
        for each in lab.resources("AWS::Events::Rule").values()
    ]
    assert len(watched) == len(lab.resources("AWS::Lambda::Permission")) == 2
    assert watched[0] != watched[1]


# -- parts that are off


def test_without_an_account_there_is_none(lab: Lab) -> None:
    pipeline = lab.pipeline(accounting=Accounting.none(), tolerated_failure_percentage=5)

    assert pipeline.account is None
    assert "account" not in json.dumps(lab.template()).lower().replace("aws::accountid", "").replace(
        "sourceaccount", ""
    )
    assert lab.state(pipeline, "map")["ToleratedFailurePercentage"] == 5


def test_runs_that_fail_are_not_accounted_for_where_that_is_off(lab: Lab) -> None:
    pipeline = lab.pipeline(accounting=Accounting(failed_runs=False))

    assert pipeline.account is not None
    assert lab.resources("AWS::Events::Rule") == {}


@pytest.mark.parametrize("lossy", [Transformation.COMPACT, Transformation.FLATTEN])
@pytest.mark.parametrize("where", ["outer", "nested"])
def test_results_that_do_not_tell_items_apart_are_warned_of(lab: Lab, lossy: Transformation, where: str) -> None:
    results = Results(transformation=lossy)
    inner = Worker.nested(
        items=ItemSource.state_array("$.value"), worker=Worker.function(lab.function()), results=results
    )
    pipeline = lab.pipeline(**({"results": results} if where == "outer" else {"worker": inner}))

    assert pipeline.account is None
    (text,) = lab.warnings("distmap:NoAccount")
    assert f"with the transformation {lossy.value} don't tell which item each is of" in text


def test_no_account_that_is_wanted_is_not_warned_of(lab: Lab) -> None:
    lab.pipeline(accounting=Accounting.none(), results=Results(transformation=Transformation.FLATTEN))

    assert lab.warnings("distmap:NoAccount") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accounting": Accounting.none(), "rerun": Rerun()}, "rerun needs the account of a run, .*Accounting.none"),
        ({"results": Results(transformation=Transformation.FLATTEN), "rerun": Rerun()}, "rerun needs .*FLATTEN"),
        (
            {"results": Results(transformation=Transformation.COMPACT), "accounting": Accounting(rounds=2)},
            "accounting needs .*COMPACT",
        ),
    ],
    ids=["none", "flatten", "compact"],
)
def test_fails_when_something_needs_an_account_and_there_is_none(lab: Lab, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lab.pipeline(**options)


def test_fails_when_failed_items_are_to_be_told_without_an_account(lab: Lab) -> None:
    with pytest.raises(ValueError, match="on_items_failed needs the account of a run"):
        lab.pipeline(accounting=Accounting.none(), on_items_failed=sqs.Queue(lab.stack, "Queue"))


def test_fails_when_runs_of_another_machine_are_to_be_accounted_for_without_an_account(lab: Lab) -> None:
    pipeline = lab.pipeline(accounting=Accounting.none())
    with pytest.raises(ValueError, match="'Stack/P' doesn't account for its runs"):
        pipeline.account_for_failed_runs_of("Own", pipeline.state_machine)


# -- wrong settings


@pytest.mark.parametrize(
    ("makes", "words"),
    [
        (lambda: Accounting(rounds=-1), r"accounting rounds must be between 0 and 1,000, got -1"),
        (lambda: Accounting(rounds=2.5), r"rounds must be a"),  # type: ignore[arg-type]  # on purpose
        (lambda: Accounting(early_stop_percentage=101), r"early_stop_percentage must be between 0 and 100.*got 101"),
        (lambda: Accounting(memory_size=128), r"memory_size must be between 256 and 10,240 MB, got 128"),
        (lambda: Rerun(rounds=0), r"rerun rounds must be between 1 and 1,000, got 0"),
        (lambda: Rerun(errors=[]), r"rerun errors must be a list of at least one name"),
        (lambda: Rerun(errors=[""]), r"an error in rerun errors must not be empty"),
        (lambda: Rerun(errors=["A"], permanent_errors=["A"]), r"has 'A' among errors and permanent_errors"),
        (lambda: Rerun(backoff_rate=0.5), r"backoff_rate must be at least 1, got 0.5"),
        (lambda: Rerun(wait=cdk.Duration.millis(500)), r"rerun wait must be a whole number of seconds, got 0.5"),
        (lambda: Rerun(max_wait=cdk.Duration.days(400)), r"rerun max_wait must be between 0 and 31,536,000 seconds"),
        (lambda: Accounting(rounds="many"), r"rounds must be a number"),  # type: ignore[arg-type]  # on purpose
        (lambda: Rerun(errors="A"), r"errors must be"),
    ],
    ids=[
        "negative-rounds", "half-rounds", "percentage", "memory", "no-rounds", "no-errors", "empty-error", "both",
        "backoff", "half-second", "long-wait", "text", "one-text",
    ],
)  # fmt: skip
def test_fails_when_a_setting_is_wrong(makes: Callable[[], object], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        makes()
