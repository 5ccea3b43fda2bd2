"""What an Express child can't do, found in its rendered states.

https://docs.aws.amazon.com/step-functions/latest/dg/choosing-workflow-type.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack
from constructs import IConstruct

from cdk_distributed_map.graphs import is_distributed, walk
from distmap import limits

_REMEDY = "use Standard children, or take it out"


def check(scope: IConstruct, processor: Mapping[str, Any]) -> None:
    """Check the states of an Express child.

    Raises:
        ValueError: One waits for a task token or a job, starts a Distributed Map, or waits longer than five minutes.
    """
    for name, state in walk(processor):
        resource = str(state.get("Resource", ""))
        if resource.endswith(".waitForTaskToken"):
            raise ValueError(f"state {name!r} waits for a task token, which an Express child can't: {_REMEDY}")
        if resource.endswith((".sync", ".sync:2")):
            raise ValueError(f"state {name!r} runs a job with .sync, which an Express child can't: {_REMEDY}")
        # An activity made in this app is there as a reference, which no other resource of a task is.
        if ":activity:" in resource or _is_reference(scope, resource):
            raise ValueError(f"state {name!r} is an activity, which an Express child can't run: {_REMEDY}")
        if is_distributed(state):
            raise ValueError(f"state {name!r} is a Distributed Map, which an Express child can't run: {_REMEDY}")
        _check_seconds(name, state)


def _is_reference(scope: IConstruct, resource: str) -> bool:
    resolved = Stack.of(scope).resolve(resource)
    return isinstance(resolved, dict) and "Ref" in resolved


def _check_seconds(name: str, state: Mapping[str, Any]) -> None:
    timeout = state.get("TimeoutSeconds")
    if isinstance(timeout, int | float) and timeout > limits.MAX_EXPRESS_SECONDS:
        raise ValueError(
            f"state {name!r} has a timeout of {timeout:g} s, an Express child ends after "
            f"{limits.MAX_EXPRESS_SECONDS} s: shorten it, or use Standard children"
        )
    seconds = state.get("Seconds") if state["Type"] == "Wait" else None
    if isinstance(seconds, int | float) and seconds >= limits.MAX_EXPRESS_SECONDS:
        raise ValueError(
            f"state {name!r} waits {seconds:g} s, an Express child ends after {limits.MAX_EXPRESS_SECONDS} s: {_REMEDY}"
        )
