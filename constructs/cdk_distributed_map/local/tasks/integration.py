"""What a Task state calls, and the events of a call."""

from __future__ import annotations

import abc
import asyncio
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.json_text import Json, checked, dumps
from cdk_distributed_map.local.errors import StateError, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.execution.history import text
from cdk_distributed_map.local.execution.services import ConditionKeys
from cdk_distributed_map.local.iam.foreign_arns import elsewhere
from distmap import limits


class Integration(abc.ABC):
    """A compiled Resource.

    Args:
        resource: Its last part, as history shows it: ``invoke``, ``startExecution.sync:2``.
        resource_type: Its service, as history shows it: ``lambda``, ``aws-sdk:s3``.
    """

    family = "Task"
    """How its events are named: ``Task`` or ``LambdaFunction``."""

    def __init__(self, resource: str, resource_type: str) -> None:
        self.resource = resource
        self.resource_type = resource_type
        self.token = resource.endswith(".waitForTaskToken")
        """Whether the call ends by its token."""
        self.has_token = self.token or resource.endswith((".sync", ".sync:2"))
        """Whether ``$$.Task.Token`` is there to be read."""

    @property
    def size_name(self) -> str:
        """What AWS calls it where its result is too large."""
        return self.resource_type

    def default(self, input: Json) -> Json:
        """Return the arguments of a state that gives none."""
        del input
        return {}

    def check(self, arguments: Json) -> None:
        """Check the arguments before anything is scheduled.

        Raises:
            StateError: ``States.Runtime``: Step Functions itself can't make a call of them.
        """
        del arguments

    def refused_result(self, result: Json) -> str | None:
        """Return why the API wouldn't answer a scripted result, None where it may."""
        del result
        return None

    def refused_error(self, error: str) -> str | None:
        """Return why the call wouldn't fail with a scripted error, None where it may."""
        del error
        return None

    @abc.abstractmethod
    async def run(self, arguments: Json, call: Call) -> Json:
        """Make the call and return its result.

        Raises:
            StateError: It failed.
        """


class Call:
    """One call.

    Args:
        frame: Where it is made.
        integration: What is called.
        timeout: Most seconds it may take, if limited.
        heartbeat: Most seconds between heartbeats, if limited.
    """

    def __init__(
        self, *, frame: ExecutionFrame, integration: Integration, timeout: float | None, heartbeat: float | None
    ) -> None:
        self.frame = frame
        self.timeout = timeout
        self.heartbeat = heartbeat
        self._integration = integration
        self._token: str | None = None

    @property
    def role(self) -> str:
        """Role that the call is made under."""
        return self.frame.execution.machine.role

    def _names(self) -> dict[str, Any]:
        return {"resourceType": self._integration.resource_type, "resource": self._integration.resource}

    @property
    def _direct(self) -> bool:
        return self._integration.family != "Task"

    def scheduled(self, arguments: Json) -> None:
        """Add the events of a call that begins."""
        checked(arguments, what=self._integration.size_name)
        limits_shown = {"timeoutInSeconds": self.timeout, "heartbeatInSeconds": self.heartbeat}
        if self._direct:
            details = {"resource": self._integration.resource, "input": text(arguments), **limits_shown}
            self.frame.event("LambdaFunctionScheduled", details)
            self.frame.event("LambdaFunctionStarted")
            return
        region = self.frame.services.region
        details = {**self._names(), "region": region, "parameters": text(arguments), **limits_shown}
        self.frame.event("TaskScheduled", details)
        self.frame.event("TaskStarted", self._names())

    def submitted(self, answer: Json) -> None:
        """Add the event of a call that has been made and whose end is waited for."""
        self.frame.event("TaskSubmitted", {**self._names(), "output": text(answer)})

    def succeeded(self, result: Json) -> None:
        """Add the event of a result."""
        if self._direct:
            self.frame.event("LambdaFunctionSucceeded", {"output": text(result)})
        else:
            self.frame.event("TaskSucceeded", {**self._names(), "output": text(result)})

    def ended(self, how: str, error: StateError) -> None:
        """Add the event of a failure: ``Failed`` or ``TimedOut``."""
        shown = {"error": error.error, "cause": error.cause}
        names = {} if self._direct else self._names()
        self.frame.event(f"{self._integration.family}{how}", {**names, **shown})

    def denied(self, action: str, resource: str, context: ConditionKeys | None = None) -> str | None:
        """Return None where the role may, else the message of AWS's AccessDenied."""
        return self.frame.services.denied(self.frame.execution.machine, action, resource, context)

    def refuse_elsewhere(self, field: str, arn: str, *, accounts: bool = True) -> None:
        """Check that what is called is on this machine.

        Raises:
            StateError: ``States.Runtime``: it is in another region or account.
        """
        wrong = elsewhere(arn, self.frame.services, accounts=accounts)
        if wrong is not None:
            raise runtime(f"The local engine can't call {field} '{arn}': {wrong}")

    def new_token(self) -> str:
        """Return the token by which the call will be answered; nothing answers that of a ``.sync``."""
        token = uuid.uuid4().hex + uuid.uuid4().hex
        if not self._integration.token:
            return token
        self._token = token
        self.frame.services.token_owners[self._token] = self.frame.execution.machine.unlabelled
        self.frame.services.tokens[self._token] = asyncio.get_running_loop().create_future()
        return self._token

    def forget_token(self) -> None:
        """Take no answer by the token any more."""
        self.frame.services.tokens.pop(str(self._token), None)
        self.frame.services.token_owners.pop(str(self._token), None)

    async def answered(self) -> Json:
        """Wait until the token comes back.

        Raises:
            StateError: It came back with an error, or too late.
        """
        services = self.frame.services
        token = str(self._token)
        try:
            with services.clock.real():
                while True:
                    future = services.tokens[token]
                    timer = asyncio.ensure_future(services.clock.sleep(self.heartbeat or limits.MAX_EXECUTION_SECONDS))
                    try:
                        await asyncio.wait({future, timer}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        timer.cancel()
                    if not future.done():
                        # AWS reports it so, whatever its documentation says (recorded).
                        missed = StateError(errors.TIMEOUT, None)
                        missed.missed_heartbeat = True
                        raise missed
                    result = future.result()
                    if result is HEARTBEAT:
                        services.tokens[token] = asyncio.get_running_loop().create_future()
                        continue
                    return result
        finally:
            self.forget_token()


HEARTBEAT = object()
"""What a token's future holds after a heartbeat."""


def unusable(arguments: Json, why: str) -> StateError:
    """Return the error of arguments that Step Functions can't make a call of, in its words."""
    return runtime(f"The Parameters '{dumps(arguments)}' could not be used to start the Task: [{why}]")


def check_names(arguments: Json, known: Collection[str]) -> None:
    """Check that arguments are an object and have no field that an integration doesn't take.

    Raises:
        StateError: ``States.Runtime``: they aren't, or have one.
    """
    if not isinstance(arguments, Mapping):
        raise unusable(arguments, "The parameters must be an object")
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise unusable(arguments, f'The field "{unknown[0]}" is not supported by Step Functions')


def text_of(value: Json) -> str:
    """Return a text as it is and anything else as JSON."""
    return value if isinstance(value, str) else dumps(value)


def fitting(integration: Integration, result: Json) -> Json:
    """Return a result within the payload limit.

    Raises:
        StateError: ``States.DataLimitExceeded``, which States.ALL does match where a task's result is too large.
    """
    checked(result, what=integration.size_name, terminal=False)
    return result


Factory = Callable[[str], Integration]
