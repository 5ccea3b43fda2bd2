"""Rules of EventBridge: whom their targets reach, under whose permission, and what is said where they don't."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from tests.local.assemblies import Writer, allow, function, role

HERE = "us-east-1:000000000000"
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass
class Lab:
    """Queues, rules, roles and state machines of a local AWS, each with a name of its own."""

    local: LocalAws
    caplog: pytest.LogCaptureFixture

    @staticmethod
    def name() -> str:
        """Return a new name."""
        return f"n{uuid.uuid4().hex[:12]}"

    def queue(self, *, allowed: str | None = None, name: str | None = None, **attributes: str) -> str:
        """Make a queue, which lets EventBridge send for the rules of an ARN, and return its own."""
        sqs, named = self.local.client("sqs"), name or self.name()
        arn = f"arn:aws:sqs:{HERE}:{named}"
        if allowed is not None:
            policy = {
                **allow("sqs:SendMessage", arn),
                "Principal": {"Service": "events.amazonaws.com"},
                "Condition": {"ArnLike": {"aws:SourceArn": allowed}},
            }
            attributes["Policy"] = document(policy)
        sqs.create_queue(QueueName=named, Attributes=attributes)
        return arn

    def rule(self, pattern: dict[str, Any], *targets: dict[str, Any] | str, bus: str = "default") -> str:
        """Make a rule and return its ARN."""
        events, name = self.local.client("events"), self.name()
        made = events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
        given = [each if isinstance(each, dict) else {"Arn": each} for each in targets]
        numbered = [{"Id": str(number), **each} for number, each in enumerate(given)]
        assert events.put_targets(Rule=name, EventBusName=bus, Targets=numbered)["FailedEntryCount"] == 0
        arn: str = made["RuleArn"]
        return arn

    def role(self, *statements: dict[str, Any], service: str = "events.amazonaws.com") -> str:
        """Make a role that a service may assume."""
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
        iam, name = self.local.client("iam"), self.name()
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
        return arn

    def machine(self, definition: dict[str, Any], *statements: dict[str, Any]) -> str:
        """Make a state machine under a role that may do what is stated."""
        made = self.local.client("stepfunctions").create_state_machine(
            name=self.name(),
            definition=json.dumps(definition),
            roleArn=self.role(*statements, service="states.amazonaws.com"),
        )
        arn: str = made["stateMachineArn"]
        return arn

    def put(self, detail: Any, *, source: str = "test", bus: str = "default") -> None:
        """Put an event, as a program of a user's does."""
        entry = {"Source": source, "DetailType": "told", "Detail": json.dumps(detail), "EventBusName": bus}
        assert self.local.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    def messages(self, queue: str, count: int = 1) -> list[dict[str, Any]]:
        """Return the messages of a queue once there are so many."""
        sqs = self.local.client("sqs")
        url = sqs.get_queue_url(QueueName=queue.rsplit(":", 1)[-1])["QueueUrl"]
        found: list[dict[str, Any]] = []
        while len(found) < count:
            asked = {"QueueUrl": url, "WaitTimeSeconds": 20, "MaxNumberOfMessages": 10}
            got = sqs.receive_message(**asked, MessageAttributeNames=["All"]).get("Messages", [])
            assert got, f"only {len(found)} of {count} messages came: {self.caplog.text}"
            found += got
        return found

    def bodies(self, queue: str, count: int = 1) -> list[Any]:
        """Return the JSON of the messages of a queue once there are so many."""
        return [json.loads(each["Body"]) for each in self.messages(queue, count)]

    def said(self, what: str) -> str:
        """Return the log once something is said in it."""
        give_up = time.monotonic() + 20
        while what not in self.caplog.text:
            assert time.monotonic() < give_up, f"{what!r} wasn't said: {self.caplog.text}"
            time.sleep(0.01)
        return self.caplog.text


@pytest.fixture
def lab(local: LocalAws, caplog: pytest.LogCaptureFixture) -> Lab:
    """What rules need."""
    return Lab(local, caplog)


# -- events of executions


def test_a_rule_gets_the_executions_that_its_pattern_matches(lab: Lab) -> None:
    queue = lab.queue(allowed="*")
    fails, succeeds = (
        lab.machine({"StartAt": "S", "States": {"S": state}})
        for state in (
            {"Type": "Fail", "Error": "No"},
            {"Type": "Succeed"},
        )
    )
    detail = {"stateMachineArn": [fails], "status": ["FAILED", "ABORTED", "TIMED_OUT"]}
    rule = lab.rule({"source": ["aws.states"], "detail": detail}, queue)
    lab.local.run(succeeds).check()
    ended = lab.local.run(fails, {"a": 1})
    (event,) = lab.bodies(queue)
    assert rule
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert event["resources"] == [ended.arn]
    assert (event["account"], event["region"], event["version"]) == ("000000000000", "us-east-1", "0")
    told = event["detail"]
    assert (told["status"], told["error"], told["input"]) == ("FAILED", "No", '{"a":1}')


def test_events_reach_a_target_in_their_order(lab: Lab) -> None:
    queue, machine = lab.queue(allowed="*"), lab.machine(PASS)
    lab.rule({"source": ["aws.states"], "detail": {"stateMachineArn": [machine]}}, queue)
    lab.local.run(machine).check()
    assert [each["detail"]["status"] for each in lab.bodies(queue, 2)] == ["RUNNING", "SUCCEEDED"]


def test_fails_when_somebody_else_puts_an_event_as_aws(lab: Lab) -> None:
    entry = {"Source": "aws.states", "DetailType": "Step Functions Execution Status Change", "Detail": "{}"}
    (refused,) = lab.local.client("events").put_events(Entries=[entry])["Entries"]
    assert refused["ErrorCode"] == "NotAuthorizedForSourceException"


# -- events of users


def test_an_event_of_a_task_reaches_rules(lab: Lab) -> None:
    queue, name = lab.queue(allowed="*"), lab.name()
    lab.rule({"source": [name]}, {"Arn": queue, "InputPath": "$.detail"})
    entry = {"Source": name, "DetailType": "told", "Detail": {"n": 1}}
    task = {"Type": "Task", "Resource": "arn:aws:states:::events:putEvents", "Parameters": {"Entries": [entry]}}
    bus = f"arn:aws:events:{HERE}:event-bus/default"
    machine = lab.machine({"StartAt": "T", "States": {"T": {**task, "End": True}}}, allow("events:PutEvents", bus))
    lab.local.run(machine).check()
    assert lab.bodies(queue) == [{"n": 1}]


# -- queues


def test_a_target_gets_the_input_that_is_made_for_it(lab: Lab) -> None:
    queue, name = lab.queue(allowed="*"), lab.name()
    transformer = {"InputPathsMap": {"f": "$.detail.n"}, "InputTemplate": '{"n":<f>}'}
    lab.rule({"source": [name]}, {"Arn": queue, "InputTransformer": transformer})
    lab.put({"n": [1]}, source=name)
    assert lab.bodies(queue) == [{"n": [1]}]


def test_a_fifo_queue_gets_the_group_of_its_target(lab: Lab) -> None:
    queue = lab.queue(allowed="*", name=f"{lab.name()}.fifo", FifoQueue="true")
    name = lab.name()
    lab.rule({"source": [name]}, {"Arn": queue, "SqsParameters": {"MessageGroupId": "g"}})
    lab.put({"n": 1}, source=name)
    assert lab.bodies(queue)[0]["detail"] == {"n": 1}


def test_fails_when_no_policy_lets_eventbridge_send_and_the_event_is_kept(lab: Lab) -> None:
    queue, dead, name = lab.queue(), lab.queue(allowed="*"), lab.name()
    rule = lab.rule({"source": [name]}, {"Arn": queue, "DeadLetterConfig": {"Arn": dead}})
    lab.put({"n": 1}, source=name)
    (message,) = lab.messages(dead)
    kept = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    assert kept.pop("ERROR_MESSAGE").startswith(f"the policy of {queue} does not allow sqs:SendMessage to events.amaz")
    assert kept == {"RULE_ARN": rule, "TARGET_ARN": queue, "ERROR_CODE": "NO_PERMISSIONS"}
    assert f"what {rule} matches does not reach {queue}: the policy of" in lab.caplog.text
    assert "grant it, as an AWS::SQS::QueuePolicy does" in lab.caplog.text


def test_fails_when_the_policy_is_for_another_rule(lab: Lab) -> None:
    queue, name = lab.queue(allowed=f"arn:aws:events:{HERE}:rule/other"), lab.name()
    rule = lab.rule({"source": [name]}, queue)
    lab.put({}, source=name)
    assert f"to events.amazonaws.com for {rule}" in lab.said(f"what {rule} matches does not reach {queue}")


def test_fails_when_the_key_of_a_queue_is_not_for_eventbridge(lab: Lab) -> None:
    key = lab.local.client("kms").create_key()["KeyMetadata"]["Arn"]
    queue, name = lab.queue(allowed="*", KmsMasterKeyId=key), lab.name()
    lab.rule({"source": [name]}, queue)
    lab.put({}, source=name)
    lab.said(f"the policy of {key} does not allow kms:GenerateDataKey to events.amazonaws.com")


def test_fails_when_the_dead_letter_queue_takes_nothing_either(lab: Lab) -> None:
    queue, dead, name = lab.queue(), lab.queue(), lab.name()
    lab.rule({"source": [name]}, {"Arn": queue, "DeadLetterConfig": {"Arn": dead}})
    lab.put({}, source=name)
    lab.said(f"does not reach {dead}")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"Arn": f"arn:aws:logs:{HERE}:log-group:/aws/events/x"}, "the local AWS delivers to Lambda functions, SQS"),
        ({"Arn": f"arn:aws:sqs:{HERE}:nobody"}, "NonExistentQueue"),
        ({"Arn": "arn:aws:sqs:eu-west-1:000000000000:q"}, "it is in the region 'eu-west-1'"),
        ({"Arn": f"arn:aws:states:{HERE}:stateMachine:x"}, "the target has no role"),
        ({"Arn": f"arn:aws:events:{HERE}:event-bus/default"}, "the target has no role"),
        ({"Arn": f"arn:aws:lambda:{HERE}:function:x"}, "grant it, as an AWS::Lambda::Permission does"),
        ({"Arn": f"arn:aws:sqs:{HERE}:q", "InputPath": "$.no"}, "its InputPath $.no leads nowhere in the event"),
    ],
    ids=["kind", "missing", "region", "machine without role", "bus without role", "function", "path"],
)
def test_fails_when_a_target_cannot_be_reached_and_says_so(lab: Lab, target: dict[str, Any], reason: str) -> None:
    name = lab.name()
    if target["Arn"].endswith(":nobody"):
        target = {**target, "RoleArn": lab.role(allow("sqs:SendMessage", "*"))}
    rule = lab.rule({"source": [name]}, target)
    lab.put({}, source=name)
    assert reason in lab.said(f"what {rule} matches does not reach {target['Arn']}: ")


# -- buses


def test_an_event_goes_to_another_bus_and_no_further(lab: Lab) -> None:
    events, name = lab.local.client("events"), lab.name()
    second, third = (events.create_event_bus(Name=lab.name())["EventBusArn"] for _ in range(2))
    queue, source = lab.queue(allowed="*"), lab.name()
    sender = lab.role(allow("events:PutEvents", "*"))
    lab.rule({"source": [source]}, {"Arn": second, "RoleArn": sender})
    last = lab.rule({"source": [source]}, queue, {"Arn": third, "RoleArn": sender}, bus=second.rsplit("/", 1)[-1])
    lab.put({"n": name}, source=source)
    (event,) = lab.bodies(queue)
    assert (event["source"], event["detail"]) == (source, {"n": name})
    assert "it comes from another bus already" in lab.said(f"what {last} matches does not reach {third}")


def test_fails_when_the_role_may_not_send_to_the_bus(lab: Lab) -> None:
    bus = lab.local.client("events").create_event_bus(Name=lab.name())["EventBusArn"]
    name = lab.name()
    rule = lab.rule({"source": [name]}, {"Arn": bus, "RoleArn": lab.role()})
    lab.put({}, source=name)
    assert "is not authorized to perform: events:PutEvents" in lab.said(f"what {rule} matches does not reach {bus}")


# -- state machines


def test_a_rule_starts_a_state_machine_under_its_role(lab: Lab) -> None:
    queue, name = lab.queue(), lab.name()
    sent = {"QueueUrl": f"http://localhost/000000000000/{queue.rsplit(':', 1)[-1]}", "MessageBody.$": "$"}
    task = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": sent, "End": True}
    machine = lab.machine({"StartAt": "T", "States": {"T": task}}, allow("sqs:SendMessage", queue))
    started = lab.role(allow("states:StartExecution", machine))
    lab.rule({"source": [name]}, {"Arn": machine, "RoleArn": started, "InputPath": "$.detail"})
    lab.put({"n": 1}, source=name)
    assert lab.bodies(queue) == [{"n": 1}]
    (execution,) = lab.local.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    assert len(execution["name"]) == len(str(uuid.uuid4())) * 2 + 1


@pytest.mark.parametrize(
    ("service", "grants", "reason"),
    [
        ("events.amazonaws.com", False, "is not authorized to perform: states:StartExecution"),
        ("lambda.amazonaws.com", True, "or its trust does not let events.amazonaws.com assume it"),
    ],
    ids=["permission", "trust"],
)
def test_fails_when_the_role_may_not_start_it(lab: Lab, service: str, *, grants: bool, reason: str) -> None:
    machine, name = lab.machine(PASS), lab.name()
    statements = [allow("states:StartExecution", machine)] if grants else []
    rule = lab.rule({"source": [name]}, {"Arn": machine, "RoleArn": lab.role(*statements, service=service)})
    lab.put({}, source=name)
    assert reason in lab.said(f"what {rule} matches does not reach {machine}")


# -- functions, deployed


def test_a_deployed_rule_invokes_a_function_and_lambda_tries_again(
    lab: Lab, assembly: Writer, physical: Callable[[str, str], str]
) -> None:
    told = lab.queue()
    to_queue = {"OnSuccess": {"Destination": told}, "OnFailure": {"Destination": told}}
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "DefinitionString": json.dumps({"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "No"}}}),
        },
    }
    resources: dict[str, Any] = {"Role": role(allow("sqs:SendMessage", told)), "Machine": machine}
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [{"Ref": "Machine"}], "status": ["FAILED"]}}
    targets = []
    for handler in ("echo", "fail"):
        resources[handler] = function(handler)
        arn = {"Fn::GetAtt": [handler, "Arn"]}
        resources[f"{handler}May"] = {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": arn,
                "Principal": "events.amazonaws.com",
                "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
            },
        }
        resources[f"{handler}Tells"] = {
            "Type": "AWS::Lambda::EventInvokeConfig",
            "Properties": {"FunctionName": {"Ref": handler}, "Qualifier": "$LATEST", "DestinationConfig": to_queue},
        }
        targets.append({"Id": handler, "Arn": arn, "InputPath": "$.detail"})
    resources["Rule"] = {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": targets}}
    lab.local.deploy(assembly.stack("RuleOfFunctions", resources).write())
    ended = lab.local.run(physical("RuleOfFunctions", "Machine"))

    by_condition = {each["requestContext"]["condition"]: each for each in lab.bodies(told, 2)}
    succeeded, failed = by_condition["Success"], by_condition["RetriesExhausted"]
    assert succeeded["requestPayload"] == succeeded["responsePayload"] == failed["requestPayload"]
    assert succeeded["requestPayload"]["executionArn"] == ended.arn
    assert succeeded["requestContext"]["approximateInvokeCount"] == 1
    assert failed["requestContext"]["approximateInvokeCount"] == 3
    assert failed["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert failed["responsePayload"]["errorType"] == "ValueError"
    assert "was given up on for an event that nobody waits for (RetriesExhausted, 3 attempts" in lab.caplog.text
