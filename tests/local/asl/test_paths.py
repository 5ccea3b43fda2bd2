"""What of JSONPath is read as AWS reads it, and what is refused because AWS hasn't it or the library hasn't."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.paths import NotFoundError, compile_path


@pytest.mark.parametrize(
    "text",
    [
        *("$.a.length()", "$.a.min()", "$.a.max()", "$.a.avg()", "$.a.sum()", "$.a.stddev()", "$.a.keys()"),
        *("$.a.first()", "$.a.last()", "$.a.index(1)", "$.a.append(1)", "$.a.concat($.b)", "$.a[(@.length-1)]"),
        *("$.a[?(@.b.length() > 1)]", "$.a[?length(@.b) > 1]", "$.a[?match(@.b, 'x')]"),
    ],
)
def test_fails_when_a_path_calls_a_function(text: str) -> None:
    with pytest.raises(ValueError, match="calls a function: use JSONata"):
        compile_path(text)


@pytest.mark.parametrize("text", ["$.a[?(@.b)] | $.c", "$.a[?(@.b)] & $.c", "$.a.*~", "$..a.^"])
def test_fails_when_a_path_is_not_of_the_language_of_aws(text: str) -> None:
    with pytest.raises(ValueError, match="AWS's paths haven't: use JSONata"):
        compile_path(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$.a[?(@.b == 'f(x) | y')].b", ["f(x) | y"]),
        ("$.a[?(@.b =~ /f\\(.*/)].b", ["f(x) | y"]),
        ("$.a[?(@.n == 1 || @.n == 2)].n", [1, 2]),
        ("$.a[?(@.n in [2])].n", [2]),
    ],
    ids=["text", "expression", "or", "in"],
)
def test_filters_may_have_parentheses_in_texts(text: str, found: list[Any]) -> None:
    assert compile_path(text).walk({"a": [{"b": "f(x) | y", "n": 1}, {"b": "g", "n": 2}]}) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$.none", "No results for path: $['none']"),
        ("$.none.b", "Missing property in path $['none']"),
        ("$.list[5]", "No results for path: $['list'][5]"),
        ("$.object[0]", 'Filter: [0] can only be applied to arrays. Current context is: {"k":1}'),
        ("$.null[0]", "The path $['null'] is null"),
    ],
)
def test_fails_when_a_path_leads_nowhere_as_jayway_says(text: str, told: str) -> None:
    evaluation = EvaluationContext({"list": [1], "object": {"k": 1}, "null": None}, {}, {})
    with pytest.raises(NotFoundError) as failed:
        compile_path(text).get(evaluation)
    assert str(failed.value) == told
