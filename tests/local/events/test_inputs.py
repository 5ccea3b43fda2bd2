"""What a target of a rule is sent of an event, as EventBridge documents it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdk_distributed_map.local.events.inputs import InputError, text

RULE = {"name": "ended", "arn": "arn:aws:events:us-east-1:000000000000:rule/ended"}
EVENT = {
    "id": "1-2",
    "detail-type": "Step Functions Execution Status Change",
    "resources": ["arn:one", "arn:two"],
    "detail": {
        "status": "FAILED",
        "name": "nightly",
        "cause": 'it said "no"',
        "count": 3,
        "error": None,
        "at": {"x": [1]},
    },
}


def transformed(template: str, **paths: str) -> str:
    return text({"InputTransformer": {"InputTemplate": template, "InputPathsMap": paths}}, RULE, EVENT)


def test_a_target_without_an_input_gets_the_event() -> None:
    assert json.loads(text({}, RULE, EVENT)) == EVENT


def test_a_constant_is_sent_as_it_is() -> None:
    assert text({"Input": '{"a": 1}'}, RULE, EVENT) == '{"a": 1}'


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("$.detail.status", "FAILED"),
        ("$.detail-type", EVENT["detail-type"]),
        ("$.resources[1]", "arn:two"),
        ("$.detail.at", {"x": [1]}),
        ("$", EVENT),
    ],
    ids=["text", "dash", "index", "object", "whole"],
)
def test_a_path_takes_a_part_of_the_event(path: str, sent: Any) -> None:
    assert json.loads(text({"InputPath": path}, RULE, EVENT)) == sent


def test_fails_when_a_path_leads_nowhere() -> None:
    with pytest.raises(InputError, match=r"its InputPath \$.detail.output leads nowhere in the event"):
        text({"InputPath": "$.detail.output"}, RULE, EVENT)


@pytest.mark.parametrize(
    ("template", "paths", "sent"),
    [
        # As the CDK's RuleTargetInput.from_object writes it: without quotes, whatever the value is.
        ('{"status":<f>}', {"f": "$.detail.status"}, '{"status":"FAILED"}'),
        ('{"status":"<f>"}', {"f": "$.detail.status"}, '{"status":"FAILED"}'),
        (
            '{"n":<f>,"at":<g>,"e":<h>}',
            {"f": "$.detail.count", "g": "$.detail.at", "h": "$.detail.error"},
            '{"n":3,"at":{"x": [1]},"e":null}',
        ),
        ('"<f> is <g>"', {"f": "$.detail.name", "g": "$.detail.status"}, '"nightly is FAILED"'),
        ("<f> is <g>", {"f": "$.detail.name", "g": "$.detail.status"}, "nightly is FAILED"),
        ('{"first":<f>}', {"f": "$.resources[0]"}, '{"first":"arn:one"}'),
        ('{"inside":"at <f>"}', {"f": "$.detail.at"}, '{"inside":"at {x: [1]}"}'),
        ('{"missing":<f>}', {"f": "$.detail.output"}, '{"missing":""}'),
        ("<f>", {"f": "$.detail.at"}, '{"x": [1]}'),
        ('{"rule":"<aws.events.rule-name>"}', {}, '{"rule":"ended"}'),
        ('{"text":"<unknown> stays"}', {}, '{"text":"<unknown> stays"}'),
    ],
    ids=[
        "value",
        "quoted",
        "kinds",
        "JSON text",
        "plain text",
        "index",
        "in text",
        "missing",
        "alone",
        "rule",
        "unknown",
    ],
)
def test_a_template_is_filled_in(template: str, paths: dict[str, str], sent: str) -> None:
    assert transformed(template, **paths) == sent


def test_a_template_may_have_the_event_whole_or_without_its_detail() -> None:
    sent = json.loads(transformed('{"all":<aws.events.event.json>,"head":<aws.events.event>}'))
    assert sent == {"all": EVENT, "head": {name: value for name, value in EVENT.items() if name != "detail"}}


def test_nothing_is_escaped_in_text() -> None:
    assert transformed('"<f>"', f="$.detail.cause") == '"it said "no""'
