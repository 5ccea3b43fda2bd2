"""From a Task's Resource to its integration."""

from __future__ import annotations

from typing import Final

from cdk_distributed_map.local.errors import UnsupportedError
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
    parts = resource.split(":")
    if len(parts) >= 7 and parts[2] == "states" and parts[5] == "activity":
        raise UnsupportedError(
            f"the Resource {resource!r} is an activity, which the local engine doesn't run: use a Lambda function, or "
            "an integration with .waitForTaskToken for a worker of your own"
        )
    if len(parts) >= 7 and parts[2] == "lambda" and parts[5] == "function":
        return LambdaFunction(resource)
    if len(parts) < 7 or parts[0] != "arn" or parts[2] != "states" or parts[3] or parts[4]:
        raise UnsupportedError(
            f"the local engine can't run the Resource {resource!r}: use a Lambda function's ARN or an integration such "
            "as arn:aws:states:::lambda:invoke"
        )
    service, rest = parts[5], parts[6:]
    if service == "aws-sdk":
        if len(rest) < 2:
            raise UnsupportedError(f"{resource!r} lacks the action: arn:aws:states:::aws-sdk:<service>:<action>")
        action = ":".join(rest[1:])
        if rest[0] == "lambda" and action in _INVOKE:
            return SdkInvoke(action, "aws-sdk:lambda")
        return SdkCall(rest[0], action)
    action = ":".join(rest)
    if service == "lambda" and action in _INVOKE:
        return LambdaInvoke(action, "lambda")
    if service == "states":
        return StartExecution(action)
    return OptimizedCall(service, action)
