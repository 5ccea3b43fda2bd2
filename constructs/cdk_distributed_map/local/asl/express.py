"""What Express executions can't do.

https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.graphs import is_distributed, walk
from cdk_distributed_map.local.errors import UnsupportedError

_WAITING: Final = (".sync", ".sync:2", ".waitForTaskToken")


def refuse_in_express(graph: Mapping[str, Any]) -> None:
    """Check that a graph can run in an Express execution.

    Raises:
        UnsupportedError: AWS would refuse it too.
    """
    for name, state in walk(graph):
        resource = str(state.get("Resource", ""))
        if resource.endswith(_WAITING):
            raise UnsupportedError(
                f"state {name!r} calls {resource!r}, which an Express execution can't wait for: make it STANDARD"
            )
        if is_distributed(state):
            raise UnsupportedError(
                f"state {name!r} is a Distributed Map, which an Express execution can't hold: make it STANDARD"
            )
