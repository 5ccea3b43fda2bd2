"""The Lambda task: one function, exactly granted, with throttling retried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.resources import functions
from cdk_distributed_map.settings import checks
from cdk_distributed_map.settings import retry as retry_module
from cdk_distributed_map.settings.expressions import wrap
from cdk_distributed_map.settings.retry import RetryPolicy
from distmap import limits

_MARGIN_SECONDS = 60
"""What a task waits beyond the function's own timeout: the start of a new execution environment."""
_UNKNOWN_EXPRESS_SECONDS = 240


class LambdaTask(tasks.LambdaInvoke):
    """An invocation of a function whose grant names the function alone.

    The L2 grants ``<function>:*`` too (every version and alias), which no task of ours invokes.

    Args:
        scope: Parent.
        id: Construct id.
        state_name: Name of the state.
        function: What to invoke.
        payload: Rendered payload. Default: the state's input.
        output: Rendered output. Default: what the function returned.
        retry: The user's own retry. Default: none beyond Lambda's errors.
        timeout: Timeout of the task. Default: the function's timeout and a minute, or Lambda's longest.
        express: Whether the task runs in an Express child, which leaves five minutes for everything.

    Raises:
        ValueError: The timeout is less than a second, or in an Express child timeout and retries exceed five minutes.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_name: str,
        function: lambda_.IFunction,
        payload: Mapping[str, Any] | None = None,
        output: Any = "{% $states.result.Payload %}",
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        express: bool = False,
    ) -> None:
        known_seconds = functions.known_timeout(function)
        seconds = _task_seconds(known_seconds, timeout, express=express)
        super().__init__(
            scope,
            id,
            state_name=state_name,
            query_language=sfn.QueryLanguage.JSONATA,
            lambda_function=function,
            payload=None if payload is None else sfn.TaskInput.from_object(_with_nulls(payload)),
            outputs=output,
            retry_on_service_exceptions=False,
            task_timeout=sfn.Timeout.duration(Duration.seconds(seconds)),
        )
        self._exact = [permissions.invoke(function.function_arn)]
        budget = None
        if express:
            longest = seconds if checks.is_known(seconds) else _UNKNOWN_EXPRESS_SECONDS
            reached = (
                min(known_seconds or longest, longest)
                if timeout is not None or known_seconds is None
                else known_seconds
            )
            budget = _express_budget(reached, retry)
        retry_module.add_lambda_retry(self, budget=budget)
        if retry is not None:
            retry.add_to(self)

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        """Statements the state machine's role gets for this task."""
        return self._exact


def _with_nulls(value: Any) -> Any:
    """Return a payload with every null as an expression: on its way through jsii a null key would vanish."""
    if isinstance(value, Mapping):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    return wrap("null") if value is None else value


def _task_seconds(known_seconds: float | None, timeout: Duration | None, *, express: bool) -> float:
    if timeout is not None:
        seconds = timeout.to_seconds()
        checks.whole_number("timeout", seconds, least=1, most=limits.MAX_EXECUTION_SECONDS, unit="seconds")
        return seconds
    if express:
        return (
            _UNKNOWN_EXPRESS_SECONDS
            if known_seconds is None
            else min(known_seconds + _MARGIN_SECONDS, limits.MAX_EXPRESS_SECONDS)
        )
    return (limits.MAX_FUNCTION_SECONDS if known_seconds is None else known_seconds) + _MARGIN_SECONDS


def _express_budget(timeout: float, retry: RetryPolicy | None) -> float:
    """Return how many seconds are left for the delays of throttling in an Express child."""
    own = 0.0 if retry is None else retry.longest_seconds(timeout)
    seconds_left = limits.MAX_EXPRESS_SECONDS - timeout - own
    if retry_module.throttling_attempts(seconds_left) == 0:
        retries = f" and {own:g} s of retries" if own else ""
        raise ValueError(
            f"an Express child ends after {limits.MAX_EXPRESS_SECONDS} s, which the worker's timeout of {timeout:g} s"
            f"{retries} leaves no room in for retries of throttling: shorten them, or use Standard children"
        )
    return seconds_left
