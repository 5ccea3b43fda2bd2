"""From a Task's Resource to its integration."""

from __future__ import annotations

from typing import Final

from cdk_distributed_map import arns
from cdk_distributed_map.local.errors import UnsupportedError
from cdk_distributed_map.local.tasks.containers import RunContainer
from cdk_distributed_map.local.tasks.executions import StartExecution
from cdk_distributed_map.local.tasks.integration import Integration
from cdk_distributed_map.local.tasks.lambda_task import LambdaFunction, LambdaInvoke, SdkInvoke
from cdk_distributed_map.local.tasks.sdk import OptimizedCall, SdkCall

_INVOKE: Final = ("invoke", "invoke.waitForTaskToken")


def integration(resource: str) -> Integration:
    """Return the integration of a Resource.

    Raises:
        UnsupportedError: The engine doesn't run it.
    """
    arn = arns.split(resource)
    service, *rest = [""] if arn is None else arn.resource.split(":")
    if arn is not None and (arn.service, service) == ("states", "activity"):
        raise UnsupportedError(
            f"the Resource {resource!r} is an activity, which the local engine doesn't run: use a Lambda function, or "
            "an integration with .waitForTaskToken for a worker of your own"
        )
    if arn is not None and rest and (arn.service, service) == ("lambda", "function"):
        return LambdaFunction(resource)
    if arn is None or not rest or arn.service != "states" or arn.region or arn.account:
        raise UnsupportedError(
            f"the local engine can't run the Resource {resource!r}: use a Lambda function's ARN or an integration such "
            "as arn:aws:states:::lambda:invoke"
        )
    if service == "aws-sdk":
        if len(rest) < 2:
            raise UnsupportedError(f"{resource!r} lacks the action: arn:aws:states:::aws-sdk:<service>:<action>")
        action = ":".join(rest[1:])
        if rest[0] == "lambda" and action in _INVOKE:
            return SdkInvoke(action, "aws-sdk:lambda")
        return SdkCall(rest[0], action)
    return _optimized(service, ":".join(rest))


def _optimized(service: str, action: str) -> Integration:
    if service == "lambda" and action in _INVOKE:
        return LambdaInvoke(action, "lambda")
    if service in {"ecs", "batch"}:
        return RunContainer(service, action)
    return StartExecution(action) if service == "states" else OptimizedCall(service, action)
