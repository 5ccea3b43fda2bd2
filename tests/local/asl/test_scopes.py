"""Scopes of variables, as AWS checks them when a state machine is made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdk_distributed_map.local import UnsupportedError
from cdk_distributed_map.local.program import compile_definition

State = dict[str, Any]


def passing(*names: str, **more: Any) -> State:
    assign = {"Assign": dict.fromkeys(names, 1)} if names else {}
    return {"Type": "Pass", **assign, **({"End": True} if "Next" not in more else {}), **more}


def graph(**states: State) -> State:
    return {"StartAt": next(iter(states)), "States": states}


def mapped(inner: State, mode: str = "INLINE", **more: Any) -> State:
    kind = {"ExecutionType": "STANDARD"} if mode == "DISTRIBUTED" else {}
    processor = {"ProcessorConfig": {"Mode": mode, **kind}, **inner}
    end = {} if "Next" in more else {"End": True}
    return {"Type": "Map", "Items": [1], "ItemProcessor": processor, **end, **more}


def machine(**states: State) -> str:
    return json.dumps({"QueryLanguage": "JSONata", **graph(**states)})


CHOICE = {
    "Type": "Choice",
    "Choices": [{"Condition": True, "Next": "M", "Assign": {"x": 1}}],
    "Default": "M",
}


@pytest.mark.parametrize(
    "text",
    [
        machine(A=passing("x", Next="M"), M=mapped(graph(In=passing("x")))),
        machine(A=passing("x", Next="B"), B=passing(Next="M"), M=mapped(graph(In=passing("x")))),
        machine(A=passing("x", Next="P"), P={"Type": "Parallel", "Branches": [graph(In=passing("x"))], "End": True}),
        machine(A=CHOICE, M=mapped(graph(In=passing("x")))),
        machine(A=passing("x", Next="M"), M=mapped(graph(In=mapped(graph(Deep=passing("x")))))),
    ],
    ids=["map", "further", "branch", "rule", "deep"],
)
def test_fails_when_a_variable_is_assigned_again_inside(text: str) -> None:
    with pytest.raises(
        UnsupportedError, match=r"assigns 'x', which is assigned outside of state '[A-Z][a-z]*' already"
    ):
        compile_definition(text)


@pytest.mark.parametrize(
    "text",
    [
        machine(A=passing("x", Next="M"), M=mapped(graph(In=passing("y")))),
        machine(M=mapped(graph(In=passing("x")), Next="A"), A=passing("x")),
        machine(M=mapped(graph(In=passing("x")), Assign={"x": "{% $states.result %}"})),
        machine(A=passing("x", Next="M"), M=mapped(graph(In=passing("x")), mode="DISTRIBUTED")),
        machine(M=mapped(graph(In=passing("x")), Next="N"), N=mapped(graph(Other=passing("x")))),
        machine(A=passing("x", Next="B"), B=passing("x")),
    ],
    ids=["another", "afterwards", "result", "distributed", "both", "same-scope"],
)
def test_variables_of_other_scopes_may_have_the_same_name(text: str) -> None:
    compile_definition(text)
