"""The states of a definition, found at any depth: in the branches of a Parallel and in what a Map runs for each item.

The construct's last check, the client and the engine look for states in definitions, each for reasons of its own. How
states hold states is said here alone. What is no state is left out, so that any JSON can be looked through: whether a
definition is right is another question. This module knows nobody else, and calls nothing.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def processor(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the graph that a Map runs for each item, under its older name too; an empty one for other states."""
    graph = state.get("ItemProcessor", state.get("Iterator"))
    return graph if isinstance(graph, Mapping) else {}


def is_distributed(state: Mapping[str, Any]) -> bool:
    """Tell whether a state is a Distributed Map, whose children are executions of their own."""
    config = processor(state).get("ProcessorConfig")
    return isinstance(config, Mapping) and config.get("Mode") == "DISTRIBUTED"


def inside(state: Mapping[str, Any], *, children: bool = True) -> Iterator[Mapping[str, Any]]:
    """Yield the graphs right inside a state.

    Args:
        state: The state.
        children: Whether also what the children of a Distributed Map run.
    """
    branches = state.get("Branches")
    yield from (each for each in (branches if isinstance(branches, list) else ()) if isinstance(each, Mapping))
    if children or not is_distributed(state):
        yield from filter(None, [processor(state)])


def walk(graph: Mapping[str, Any], *, children: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every state of a graph with its name, a state before those inside it.

    Args:
        graph: A definition, a branch or what a Map runs for each item: an object with ``States``.
        children: Whether also the states that the children of Distributed Maps run.
    """
    states = graph.get("States")
    for name, state in states.items() if isinstance(states, Mapping) else ():
        if isinstance(state, dict):
            yield name, state
            for each in inside(state, children=children):
                yield from walk(each, children=children)


def parse(definition_string: Any, *, name_numbers: bool = False) -> dict[str, Any]:
    """Return a definition as an object.

    What is known only at deployment reads as ``${<logical id>.<attribute>}`` inside a string.

    Args:
        definition_string: ``DefinitionString`` of a template: a string, or an ``Fn::Join`` of strings and references.
        name_numbers: Whether what is known only at deployment reads the same way outside a string, where a number
            belongs. Default: it reads as 0, so that the definition stays valid.

    Raises:
        ValueError: It is neither, or not JSON.
    """
    joined = isinstance(definition_string, dict) and list(definition_string) == ["Fn::Join"]
    if not joined and not isinstance(definition_string, str):
        raise ValueError(f"a definition must be a string or an Fn::Join, got {definition_string!r}")
    pieces = definition_string["Fn::Join"][1] if joined else [definition_string]
    text, literal, in_string = "", "", False
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            # A quote that is not escaped opens or closes a string of the JSON text.
            literal += piece
            in_string = literal.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
            continue
        name = json.dumps(_reference(piece))
        if in_string:
            text += name[1:-1]
        else:
            text += name if name_numbers else "0"
    parsed = json.loads(text)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("States"), dict):
        raise ValueError(f"a definition must be an object with States, got {parsed!r:.100}")
    return parsed


def _reference(token: Any) -> str:
    if not isinstance(token, dict) or len(token) != 1:
        raise ValueError(f"a definition must be joined of strings and references, got {token!r}")
    ((function, argument),) = token.items()
    if function == "Ref":
        return f"${{{argument}}}"
    if function == "Fn::GetAtt":
        return f"${{{'.'.join(argument)}}}"
    return f"${{{function} {json.dumps(argument, sort_keys=True)}}}"
