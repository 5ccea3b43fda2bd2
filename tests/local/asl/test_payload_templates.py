"""Payload templates and intrinsic functions where a path leads nowhere or an argument does not fit, as on AWS."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.templates import json_path_template
from cdk_distributed_map.local.errors import StateError
from cdk_distributed_map.local.states.comparisons import COMPARISONS

INPUT = {"items": [1, 2], "other": 1, "text": "a", "nul": None}
CONTEXT = {"State": {"Name": "P"}}
SHOWN = '{"items":[1,2],"other":1,"text":"a","nul":null}'


def resolved(expression: str) -> Any:
    return json_path_template({"v.$": expression})(EvaluationContext(INPUT, CONTEXT, {}))["v"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$.items[5]", None),
        ("$.items[-3]", None),
        ("$.nul", None),
        ("$.items[*].none", []),
        ("States.Format('{}', $.nul)", "null"),
        ("States.ArrayLength($.items[*].none)", 0),
        ("States.Base64Decode('YWI')", "ab"),
        ("States.Base64Decode('YWI=')", "ab"),
        ("States.JsonToString($$)", '{"State":{"Name":"P"}}'),
    ],
)
def test_what_is_not_there_may_be_null_or_empty(expression: str, value: Any) -> None:
    assert resolved(expression) == value


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("$.none", f"The JSONPath '$.none' specified for the field 'v.$' could not be found in the input '{SHOWN}'"),
        (
            "$.other.x",
            f"The JSONPath '$.other.x' specified for the field 'v.$' could not be found in the input '{SHOWN}'",
        ),
        (
            "$.items[5].x",
            f"The JSONPath '$.items[5].x' specified for the field 'v.$' could not be found in the input '{SHOWN}'",
        ),
        (
            "$$.Nope.Deep",
            (
                "The JSONPath '$.Nope.Deep' specified for the field 'v.$' could not be found in the input "
                '\'{"State":{"Name":"P"}}\''
            ),
        ),
        (
            "States.Format('{}', $.items[5])",
            (
                "The function 'States.Format('{}', $.items[5])' had the following error: The JsonPath argument for the "
                f"field '$.items[5]' could not be found in the input '{SHOWN}'"
            ),
        ),
        (
            "States.Format('{}', States.Format('{}', $.none))",
            (
                "The function 'States.Format('{}', States.Format('{}', $.none))' had the following error: The JsonPath "
                f"argument for the field '$.none' could not be found in the input '{SHOWN}'"
            ),
        ),
        (
            "States.Format('{}', $$.Nope.Deep)",
            (
                "The function 'States.Format('{}', $$.Nope.Deep)' had the following error: The JsonPath argument for "
                f"the field '$.Nope.Deep' could not be found in the input '{SHOWN}'"
            ),
        ),
        (
            "States.Format('{}', $.other[0])",
            (
                "The function 'States.Format('{}', $.other[0])' had the following error: Filter: [0] can only be "
                "applied to arrays. Current context is: 1"
            ),
        ),
    ],
)
def test_fails_when_a_path_leads_nowhere(expression: str, told: str) -> None:
    with pytest.raises(StateError) as failed:
        resolved(expression)
    assert (failed.value.error, failed.value.cause) == ("States.Runtime", told)


@pytest.mark.parametrize(
    "expression",
    [
        "States.Base64Decode('!!!')",
        "States.Base64Decode('YW\nI=')",
        "States.UUID(1)",
        "States.Format()",
        "States.ArrayGetItem($.items)",
        "States.Base64Encode($.text, $.text)",
        "States.JsonMerge($, $, true)",
    ],
)
def test_fails_when_an_argument_does_not_fit(expression: str) -> None:
    with pytest.raises(StateError) as failed:
        resolved(expression)
    assert failed.value.error == "States.IntrinsicFailure"
    assert "lambda" not in str(failed.value.cause)
    assert "positional" not in str(failed.value.cause)


@pytest.mark.parametrize(
    ("name", "value", "wanted", "holds"),
    [
        ("StringLessThan", "\U0001f600", "\uffee", True),
        ("StringGreaterThanEquals", "\uffee", "\U0001f600", True),
        ("StringLessThan", "B", "a", True),
        ("StringEquals", "\U0001f600", "\U0001f600", True),
        ("StringLessThan", 1, "a", False),
    ],
)
def test_texts_are_ordered_by_their_units_as_in_java(name: str, value: Any, wanted: str, *, holds: bool) -> None:
    assert COMPARISONS[name](value, wanted) == holds
