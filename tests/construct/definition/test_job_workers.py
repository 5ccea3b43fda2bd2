"""Workers that aren't plain functions: what they are given, what comes back, who may what, and what is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_batch as batch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Batching, DistributedMapPipeline, ItemBy, RetryPolicy, Worker
from tests.construct.evaluation import evaluated
from tests.construct.job_workers import JOB_WORKERS, batch_worker, durable_worker, ecs_worker
from tests.construct.lab import Lab

RUN = {
    "id": "arn:aws:states:us-east-1:123456789012:execution:P:nightly.1",
    "name": "nightly.1",
    "bucket": "payload",
    "prefix": "runs/nightly.1",
    "path": "",
}
CHILD = {"Execution": {"Name": "child-1", "RedriveCount": 0}}


def states_of(index: int = 7, **changes: Any) -> dict[str, Any]:
    item = {"index": index, "value": {"n": 1}, "run": RUN, **changes}
    return {"input": item, "context": CHILD}


KINDS = JOB_WORKERS


def process(lab: Lab, pipeline: DistributedMapPipeline) -> dict[str, Any]:
    return lab.state(pipeline, "process")


def rights(lab: Lab, role_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the statements of a role by action: the CDK merges those that may be."""
    found: dict[str, list[dict[str, Any]]] = {}
    for statement in lab.statements(role_id):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            found.setdefault(action, []).append(statement)
    return found


def own_rights(lab: Lab, pipeline: DistributedMapPipeline) -> dict[str, list[dict[str, Any]]]:
    return rights(lab, lab.role_id(pipeline.role))


# -- a durable function


def test_a_durable_execution_has_a_name_by_run_and_index(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=durable_worker(lab))
    state = process(lab, pipeline)

    assert state["Resource"].endswith(":states:::aws-sdk:lambda:invoke")
    assert state["Arguments"]["FunctionName"].endswith(":durable:3")
    name = evaluated(state["Arguments"]["DurableExecutionName"], states_of())
    assert re.fullmatch(r"nightly-1-7-[0-9a-f]{32}", name)


def test_a_name_is_the_same_again_only_for_the_same_attempt_at_the_same_item(lab: Lab) -> None:
    state = process(lab, lab.pipeline(worker=durable_worker(lab)))

    def name(**changes: Any) -> str:
        found: str = evaluated(state["Arguments"]["DurableExecutionName"], {**states_of(), **changes})
        return found

    longest = {**RUN, "name": "n" * 80, "path": "/99999999"}
    others = [
        name(input=states_of(8)["input"]),
        name(input=states_of(source="s3://a/b")["input"]),
        name(input=states_of(run={**RUN, "path": "/1"})["input"]),
        name(input=states_of(run={**RUN, "id": RUN["id"] + "x"})["input"]),
        name(context={"Execution": {"Name": "child-2", "RedriveCount": 0}}),
        name(context={"Execution": {"Name": "child-1", "RedriveCount": 1}}),
    ]
    assert name() == name()
    assert len({name(), *others}) == 7
    assert len(name(input=states_of(99_999_999, run=longest)["input"])) <= 64


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"Payload": '{"square": 4}'}, {"square": 4}),
        (
            {"Payload": '{"errorType": "ValueError", "errorMessage": "no"}', "FunctionError": "Unhandled"},
            {
                "batchItemResults": [],
                "batchItemFailures": [{"itemIdentifier": "7", "error": "ValueError", "cause": "no"}],
                "batchItemsUnprocessed": [],
            },
        ),
    ],
    ids=["result", "failure"],
)
def test_what_a_durable_function_answers_is_the_outcome_of_the_item(
    lab: Lab, result: dict[str, Any], expected: Any
) -> None:
    state = process(lab, lab.pipeline(worker=durable_worker(lab)))

    assert evaluated(state["Output"], {**states_of(), "result": result}) == expected


def test_a_durable_function_is_invoked_by_its_version_alone(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=durable_worker(lab))

    resources = json.dumps([each["Resource"] for each in own_rights(lab, pipeline)["lambda:InvokeFunction"]])
    assert '"arn:aws:lambda:eu-west-1:123456789012:function:durable:3"' in resources
    assert ":*" not in resources


def test_fails_when_a_durable_function_is_unqualified(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"unqualified: give function\.current_version"):
        Worker.durable_function(lab.function())


def test_an_unnamed_answer_of_lambda_is_tried_again_a_few_times(lab: Lab) -> None:
    """It is also what the SDK integration makes of a refusal."""
    state = process(lab, lab.pipeline(worker=durable_worker(lab)))

    attempts = {error: each["MaxAttempts"] for each in state["Retry"] for error in each["ErrorEquals"]}
    assert attempts["Lambda.LambdaException"] == 5 < attempts["Lambda.TooManyRequestsException"]


def test_a_job_definition_without_a_revision_may_run_in_any(lab: Lab) -> None:
    arn = "arn:aws:batch:eu-west-1:123456789012:job-definition/squares"
    definition = batch.EcsJobDefinition.from_job_definition_arn(lab.stack, "Named", arn)
    queue = batch.JobQueue.from_job_queue_arn(lab.stack, "Q", "arn:aws:batch:eu-west-1:123456789012:job-queue/q")
    pipeline = lab.pipeline(worker=Worker.batch_job(definition, queue, writes_result=False))

    (submitting,) = own_rights(lab, pipeline)["batch:SubmitJob"]
    assert {arn, f"{arn}:*"} < set(submitting["Resource"])


@pytest.mark.newer_cdk  # older ones know of no durable functions
def test_fails_when_a_function_is_not_durable_or_takes_too_long(lab: Lab) -> None:
    with pytest.raises(ValueError, match="isn't durable: make it with durable_config="):
        Worker.durable_function(lab.function().current_version)
    slow = lab.function("Slow", durable_config=lambda_.DurableConfig(execution_timeout=cdk.Duration.hours(1)))
    with pytest.raises(ValueError, match=r"execution timeout of 3600 s.* ends after 900 s"):
        Worker.durable_function(slow.current_version)


# -- containers


def variables(state: dict[str, Any], index: int = 7, **changes: Any) -> dict[str, str]:
    arguments = state["Arguments"]
    (override,) = (
        arguments["Overrides"]["ContainerOverrides"] if "Overrides" in arguments else [arguments["ContainerOverrides"]]
    )
    return {each["Name"]: evaluated(each["Value"], states_of(index, **changes)) for each in override["Environment"]}


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_a_container_gets_its_item_and_where_its_result_belongs(lab: Lab, kind: str) -> None:
    pipeline = lab.pipeline(worker=KINDS[kind](lab))
    state = process(lab, pipeline)
    given = variables(state)

    assert json.loads(given["DISTMAP_ITEM"]) == states_of()["input"]
    assert (given["DISTMAP_RUN"], given["DISTMAP_INDEX"]) == (RUN["id"], "7")
    assert given["DISTMAP_RESULT_BUCKET"] == "payload"
    assert re.fullmatch(r"runs/nightly\.1/tasks/7/nightly-1-7-[0-9a-f]{32}/result\.json", given["DISTMAP_RESULT_KEY"])
    place = {"bucket": "payload", "key": given["DISTMAP_RESULT_KEY"]}
    assert evaluated(state["Output"], states_of()) == place
    read = lab.state(pipeline, "read result")
    assert evaluated(read["Arguments"], {"input": place}) == {"Bucket": "payload", "Key": place["key"]}


def test_a_job_has_a_name_by_run_and_index(lab: Lab) -> None:
    state = process(lab, lab.pipeline(worker=batch_worker(lab)))

    assert re.fullmatch(r"nightly-1-7-[0-9a-f]{32}", evaluated(state["Arguments"]["JobName"], states_of()))


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_an_item_too_large_for_an_environment_fails_with_the_remedy(lab: Lab, kind: str) -> None:
    state = process(lab, lab.pipeline(worker=KINDS[kind](lab)))

    with pytest.raises(Exception, match=r"twice, of which 6000 fit into an environment: use item=ItemBy\.FILE"):
        variables(state, value="x" * 6_000)


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_an_item_of_many_quotes_fits_as_it_is_sent(lab: Lab, kind: str) -> None:
    """ECS counts the characters of JSON, in which a quote of the item is two."""
    state = process(lab, lab.pipeline(worker=KINDS[kind](lab)))

    given = variables(state, value=["ab"] * 810)
    assert 5_800 < len(json.dumps(given["DISTMAP_ITEM"])) <= 6_002
    with pytest.raises(Exception, match=r"the item has 6\d\d\d characters, quotes counted twice"):
        variables(state, value=["ab"] * 900)


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_an_item_by_file_is_put_where_the_container_is_told(lab: Lab, kind: str) -> None:
    pipeline = lab.pipeline(worker=KINDS[kind](lab, item=ItemBy.FILE))
    put = lab.state(pipeline, "put item")
    given = variables(process(lab, pipeline), value="x" * 6_000)

    assert "DISTMAP_ITEM" not in given
    key = evaluated(put["Arguments"]["Key"], states_of(value="x" * 6_000))
    assert (given["DISTMAP_ITEM_BUCKET"], given["DISTMAP_ITEM_KEY"]) == ("payload", key)
    assert put["Output"] == "{% $states.input %}"


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_a_container_that_writes_nothing_has_null_for_a_result(lab: Lab, kind: str) -> None:
    pipeline = lab.pipeline(worker=KINDS[kind](lab, writes_result=False))
    state = process(lab, pipeline)

    assert state["End"] is True
    assert evaluated(state["Output"], states_of()) is None
    assert not [name for name in variables(state) if "RESULT" in name]


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_a_result_that_is_not_there_says_what_to_do(lab: Lab, kind: str) -> None:
    pipeline = lab.pipeline(worker=KINDS[kind](lab))
    (catch,) = lab.state(pipeline, "read result")["Catch"]
    failed = lab.state(pipeline, "no result")

    assert "S3.NoSuchKeyException" in catch["ErrorEquals"]
    place = {"bucket": "payload", "key": "runs/a/tasks/0/x/result.json"}
    for error in ({"Error": "S3.NoSuchKeyException", "Cause": "no key"}, {"Error": "S3.S3Exception"}):
        given = evaluated(catch["Output"], {"input": place, "errorOutput": error})
        cause = evaluated(failed["Cause"], {"input": given})
        assert cause.startswith(
            "the item has no result in s3://payload/runs/a/tasks/0/x/result.json: write it, as JSON"
        )
        assert cause.endswith(": ".join(error.values()))
    assert failed["Error"] == "Distmap.NoResult"


@pytest.mark.parametrize(("kind", "error"), [("ecs", "ECS.AmazonECSException"), ("batch", "Batch.AWSBatchException")])
def test_throttling_is_outlasted_with_jitter(lab: Lab, kind: str, error: str) -> None:
    worker = KINDS[kind](lab, retry=RetryPolicy(errors=["States.TaskFailed"], max_attempts=2))
    state = process(lab, lab.pipeline(worker=worker))

    throttling, *unclear, own = state["Retry"]
    # ECS makes this of a throttled EC2 too, and of wrong parameters, which are not to be tried for half an hour.
    assert [each["ErrorEquals"] for each in unclear] == ([["ECS.InvalidParameterException"]] if kind == "ecs" else [])
    assert all(each["MaxAttempts"] < throttling["MaxAttempts"] for each in unclear)
    assert error in throttling["ErrorEquals"]
    assert (throttling["JitterStrategy"], throttling["MaxDelaySeconds"]) == ("FULL", 60)
    assert own["ErrorEquals"] == ["States.TaskFailed"]


def test_a_task_has_exact_rights(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=ecs_worker(lab))
    found = own_rights(lab, pipeline)
    (running,), (stopping,), (passing,) = found["ecs:RunTask"], found["ecs:StopTask"], found["iam:PassRole"]
    (watching,) = found["events:PutRule"]

    assert ":task-definition/squares:*" in json.dumps(running["Resource"])
    assert running["Condition"] == stopping["Condition"]
    assert "ecs:cluster" in running["Condition"]["ArnEquals"]
    assert ":rule/StepFunctionsGetEventsForECSTaskRule" in json.dumps(watching["Resource"])
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert "TaskTaskRole" in json.dumps(passing["Resource"])
    assert ":task/" in json.dumps(stopping["Resource"])
    assert "Cluster" in json.dumps(stopping["Resource"])


def test_a_role_that_a_container_makes_later_may_be_passed_too(lab: Lab) -> None:
    worker = ecs_worker(lab)
    pipeline = lab.pipeline(worker=worker)
    worker.job.task_definition.obtain_execution_role()  # type: ignore[attr-defined]  # it is one of a task

    (passing,) = own_rights(lab, pipeline)["iam:PassRole"]
    assert "ExecutionRole" in json.dumps(passing["Resource"])


def test_a_job_has_exact_rights(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=batch_worker(lab))
    found = {
        action: [each["Resource"] for each in statements] for action, statements in own_rights(lab, pipeline).items()
    }

    (submitting,) = found["batch:SubmitJob"]
    assert "arn:aws:batch:eu-west-1:123456789012:job-queue/squares" in submitting
    assert len([each for each in submitting if isinstance(each, dict) and each["Ref"].startswith("Job")]) == 1
    assert len(submitting) == 2
    assert found["batch:DescribeJobs"] == ["*"]
    assert ":job/*" in json.dumps(found["batch:TerminateJob"])
    assert ":rule/StepFunctionsGetEventsForBatchJobsRule" in json.dumps(found["events:PutRule"])


@pytest.mark.parametrize(("kind", "role"), [("ecs", "TaskTaskRole"), ("batch", "JobRole")])
def test_a_container_may_write_results_and_read_items_and_nothing_else(lab: Lab, kind: str, role: str) -> None:
    lab.pipeline(worker=KINDS[kind](lab, item=ItemBy.FILE))
    (role_id,) = [key for key in lab.resources("AWS::IAM::Role") if key.startswith(role)]

    found = {action: json.dumps(statements) for action, statements in rights(lab, role_id).items()}
    assert set(found) == {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
    assert "/runs/*/tasks/*/item.json" in found["s3:GetObject"]
    assert "/runs/*/tasks/*/result.json" in found["s3:PutObject"]


def test_fails_when_a_jobs_role_is_not_known(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"role of the job isn't known.*job_role"):
        lab.pipeline(worker=batch_worker(lab, role=False))


def test_fails_when_a_task_has_no_such_container(lab: Lab) -> None:
    with pytest.raises(ValueError, match="has no container 'other'"):
        ecs_worker(lab, container="other")


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_fails_when_a_container_is_to_run_in_an_express_child(lab: Lab, kind: str) -> None:
    with pytest.raises(ValueError, match=r"runs a job with \.sync, which an Express child can't"):
        lab.pipeline(worker=KINDS[kind](lab), child_type=sfn.StateMachineType.EXPRESS)


@pytest.mark.parametrize("kind", KINDS)
def test_fails_when_what_takes_one_item_is_to_get_batches(lab: Lab, kind: str) -> None:
    with pytest.raises(ValueError, match="takes one item at a time: leave it out"):
        lab.pipeline(worker=KINDS[kind](lab), batching=Batching(max_items=2))
    lab.pipeline("Single", worker=Worker.function(lab.function()), batching=Batching.none())
