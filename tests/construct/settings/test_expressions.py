"""JSONPath becomes JSONata that selects the same, by a walker of reference paths of our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdk_distributed_map.settings import expressions

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Evaluate = Callable[[Any, Mapping[str, Any]], Any]

NAMES = st.one_of(
    st.sampled_from(["a", "b", "and", "or", "in", "true", "null", "function", "a-b", "größe", "a b", "$x", "1", "_"]),
    st.text(st.characters(exclude_characters="'\\`", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
)
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1000, 1000), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)
PLAIN = re.compile(r"[A-Za-z_]\w*\Z")


@st.composite
def documents_with_a_path(draw: st.DrawFn) -> tuple[Any, str, Any]:
    """A document, a path into it and what a reference path selects there."""
    document = draw(st.dictionaries(NAMES, DOCUMENTS, min_size=1, max_size=3))
    path, at = "", document
    for _ in range(draw(st.integers(0, 4))):
        if isinstance(at, dict) and at:
            name = draw(st.sampled_from(sorted(at)))
            dotted = PLAIN.match(name) and name.isascii() and draw(st.booleans())
            path, at = path + (f".{name}" if dotted else f"['{name}']"), at[name]
        elif isinstance(at, list) and at:
            index = draw(st.integers(-len(at), len(at) - 1))
            path, at = f"{path}[{index}]", at[index]
        else:
            break
    return document, path, at


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=documents_with_a_path())
def test_a_path_selects_the_same_in_jsonata(evaluate: Evaluate, case: tuple[Any, str, Any]) -> None:
    document, path, selected = case
    translated = expressions.wrap(expressions.from_json_path(f"${path}", name="path"))

    assert evaluate(translated, {"input": document}) == selected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=documents_with_a_path())
def test_a_context_path_selects_the_same_in_jsonata(evaluate: Evaluate, case: tuple[Any, str, Any]) -> None:
    document, path, selected = case
    translated = expressions.wrap(expressions.from_json_path(f"$${path}", name="path"))

    assert evaluate(translated, {"context": document}) == selected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(DOCUMENTS, max_size=4))
def test_all_elements_of_an_array_are_the_array(evaluate: Evaluate, items: list[Any]) -> None:
    translated = expressions.wrap(expressions.from_json_path("$.items[*]", name="path"))

    assert evaluate(translated, {"input": {"items": items}}) == items


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=DOCUMENTS)
def test_a_rendered_template_means_the_same_as_one_expression(evaluate: Evaluate, value: Any) -> None:
    # What looks like JSONata or a path is something else in a template.
    template = _quoted(value)

    assert evaluate(expressions.wrap(expressions.source_text(template)), {}) == template


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    return f"text {value}" if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("path", "jsonata"),
    [
        ("$", "$states.input"),
        ("$$", "$states.context"),
        ("$.a", "$states.input.a"),
        ("$['a']", "$states.input.a"),
        ('$["a b"]', "$states.input.`a b`"),
        ("$.a-b[0]", "$states.input.`a-b`[0]"),
        ("$.order", "$states.input.order"),
        ("$.or", "$states.input.`or`"),
        ("$.a[-1].b", "$states.input.a[-1].b"),
        ("$.a[*]", "$states.input.a"),
        ("$$.Map.Item.Value", "$states.context.Map.Item.Value"),
        ("$$.Execution.Input.größe", "$states.context.Execution.Input.`größe`"),
    ],
    ids=str,
)
def test_a_path_becomes_jsonata_that_selects_the_same(path: str, jsonata: str) -> None:
    assert expressions.from_json_path(path, name="path") == jsonata


@pytest.mark.parametrize(
    "path",
    ["$..a", "$.a[1:2]", "$.a[?(@.b)]", "$.a[0,1]", "$a", "$.", "$.a[", "$.a.length()", "$.*", "$.a[*].b", "$.a[*][0]"],
    ids=str,
)
def test_fails_when_a_path_has_no_exact_translation(path: str) -> None:
    with pytest.raises(ValueError, match=r"my_path has the path .* can't be translated.*\{% \.\.\. %\}"):
        expressions.from_json_path(path, name="my_path")


def test_fails_when_a_name_has_a_back_quote() -> None:
    with pytest.raises(ValueError, match=r"my_path .*back quote.*JSONata"):
        expressions.from_json_path("$['a`b']", name="my_path")


@pytest.mark.parametrize("value", ["bucket", "", "%$.a%", "{%", "{% a"], ids=repr)
def test_fails_when_a_path_is_neither_jsonpath_nor_jsonata(lab: Lab, value: str) -> None:
    with pytest.raises(ValueError, match=r"my_path got .*JSONPath such as .*JSONata"):
        expressions.expression(lab.stack, value, name="my_path")


@pytest.mark.parametrize("text", ["$.a", "$$.Execution.Name", "$[0]", "$", "$$"], ids=str)
def test_fails_when_a_bare_string_of_a_template_looks_like_a_path(lab: Lab, text: str) -> None:
    with pytest.raises(ValueError, match=r"batch_input\['x'\]\[1\] got the text .*JsonPath.string_at"):
        expressions.template(lab.stack, {"x": [1, text]}, name="batch_input")


@pytest.mark.parametrize("text", ["$5.00", "costs $.5", "a$.b", "$price", "100 %"], ids=str)
def test_text_that_only_has_a_dollar_stays_text(lab: Lab, text: str) -> None:
    assert expressions.template(lab.stack, {"x": text}, name="batch_input") == {"x": text}


def test_fails_when_a_key_that_ends_in_a_path_sign_holds_no_path(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"ends in '\.\$' and must hold a path, got 5"):
        expressions.template(lab.stack, {"x.$": 5}, name="batch_input")


def test_fails_when_a_key_is_no_string(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"key 5, which must be a string"):
        expressions.template(lab.stack, {5: "x"}, name="batch_input")


def test_fails_when_two_keys_become_the_same(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"batch_input has both 'x' and 'x\.\$'"):
        expressions.template(lab.stack, {"x": 1, "x.$": "$.a"}, name="batch_input")


def test_fails_when_a_value_is_not_json(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"batch_input\['x'\] must be JSON, got .*Duration"):
        expressions.template(lab.stack, {"x": cdk.Duration.seconds(1)}, name="batch_input")


def test_tokens_of_the_app_stay_and_tokens_of_the_input_are_read(lab: Lab) -> None:
    parameter = lab.number_parameter("N")
    rendered = expressions.template(
        lab.stack,
        {"app": parameter.value_as_number, "input": sfn.JsonPath.number_at("$.n"), "name": lab.stack.stack_name},
        name="batch_input",
    )

    assert rendered["input"] == "{% $states.input.n %}"
    assert lab.stack.resolve(rendered["app"]) == {"Ref": "N"}
    assert lab.stack.resolve(rendered["name"]) == "Stack"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(DOCUMENTS, min_size=1, max_size=3))
def test_what_expressions_yield_is_kept_whole_in_a_list(evaluate: Evaluate, items: list[Any]) -> None:
    template = [f"{{% $states.input.`{at}` %}}" for at in range(len(items))]
    text = expressions.wrap(expressions.source_text({"all": ["first", *template, [1]]}))

    found = evaluate(text, {"input": {str(at): item for at, item in enumerate(items)}})
    assert found == {"all": ["first", *items, [1]]}
