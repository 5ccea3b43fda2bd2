"""The scopes of variables: a branch or an inline map's states see those around them, and can't assign them.

https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html#workflow-variable-scope
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cdk_distributed_map.graphs import inside
from cdk_distributed_map.local.errors import UnsupportedError

Targets = Callable[[Mapping[str, Any]], list[str]]
"""Names the states that one goes to."""


def check_scopes(graph: Mapping[str, Any], targets: Targets, outer: frozenset[str] = frozenset()) -> None:
    """Check that no inner state assigns a variable that is there already.

    Args:
        graph: A graph of states, whose transitions are right.
        targets: Names the states that one goes to.
        outer: Variables assigned around it.

    Raises:
        UnsupportedError: One does, for which AWS refuses the definition (``DUPLICATE_VARIABLE_NAME``).
    """
    states = graph["States"]
    for name, fields in states.items():
        before = outer.union(*(_assigned(each) for each in _before(name, states, targets)))
        # The children of a Distributed Map are executions of their own, which see nothing outside.
        for inner in inside(fields, children=False):
            for other, each in inner["States"].items():
                again = sorted(_assigned(each) & before)
                if again:
                    raise UnsupportedError(
                        f"state {other!r} assigns {again[0]!r}, which is assigned outside of state {name!r} already: "
                        "AWS refuses that, so give it another name"
                    )
            check_scopes(inner, targets, before)


def _before(name: str, states: Mapping[str, Any], targets: Targets) -> Iterator[Mapping[str, Any]]:
    """Yield the states of a graph that lead to one; a state that leads to itself too."""
    reached: set[str] = set()
    ahead = [name]
    while ahead:
        wanted = ahead.pop()
        new = {each for each, fields in states.items() if wanted in targets(fields)} - reached
        reached |= new
        ahead += new
    yield from (states[each] for each in reached if each != name)


def _assigned(fields: Mapping[str, Any]) -> set[str]:
    entries = [fields, *(fields.get("Choices") or ()), *(fields.get("Catch") or ())]
    return {name.removesuffix(".$") for entry in entries for name in entry.get("Assign") or ()}
