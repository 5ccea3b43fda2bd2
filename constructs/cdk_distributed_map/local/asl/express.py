"""What Express executions can't do.

https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cdk_distributed_map.local.errors import UnsupportedError

_WAITING: Final = (".sync", ".sync:2", ".waitForTaskToken")


def states_of(graph: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the states of a graph at any depth, with their names."""
    for name, state in graph["States"].items():
        yield name, state
        inner = [state[key] for key in ("ItemProcessor", "Iterator") if key in state]
        for each in [*inner, *state.get("Branches", [])]:
            yield from states_of(each)


def refuse_in_express(graph: Mapping[str, Any]) -> None:
    """Check that a graph can run in an Express execution.

    Raises:
        UnsupportedError: AWS would refuse it too.
    """
    for name, state in states_of(graph):
        resource = str(state.get("Resource", ""))
        if resource.endswith(_WAITING):
            raise UnsupportedError(
                f"state {name!r} calls {resource!r}, which an Express execution can't wait for: make it STANDARD"
            )
        processor = state.get("ItemProcessor") or state.get("Iterator") or {}
        if (processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
            raise UnsupportedError(
                f"state {name!r} is a Distributed Map, which an Express execution can't hold: make it STANDARD"
            )
