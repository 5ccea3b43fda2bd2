"""Lambda: as ``lambda:invoke``, by a function's ARN, and with a task token."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from cdk_distributed_map import arns
from cdk_distributed_map.local.asl.json_text import Json, dumps, loads, size
from cdk_distributed_map.local.errors import StateError, runtime
from cdk_distributed_map.local.execution.services import Answer, Invocation, InvokeError, Services
from cdk_distributed_map.local.tasks.http import METADATA, http_date, metadata
from cdk_distributed_map.local.tasks.integration import Call, Integration, check_names, fitting
from cdk_distributed_map.local.tasks.models import problem, service_model
from distmap import limits

_INVOCATION_TYPES = ("RequestResponse", "Event")
_LOG_TYPES = ("Tail", "None", None)
_DENIED = "Lambda.AWSLambdaException"
_SHOWN_CHARACTERS = 200
_FIELDS: Final = frozenset({"FunctionName", "Payload", "Qualifier", "InvocationType", "ClientContext", "LogType"})


def function_arn(services: Services, name: str, qualifier: str | None = None) -> str:
    """Return the ARN of a function named in any of Lambda's ways, with its qualifier if it has one."""
    if arns.is_arn(name):
        arn = name
    elif name.count(":") >= 2 and name.split(":")[1] == "function":
        arn = f"arn:{services.partition}:lambda:{services.region}:{name}"
    else:
        arn = services.arn("lambda", f"function:{name}")
    return arn if qualifier is None else f"{arn}:{qualifier}"


def payload_text(payload: Json) -> str:
    """Return the event of an invocation: text that is JSON goes as it is, None as an empty object."""
    if payload is None:
        return "{}"
    if isinstance(payload, str):
        try:
            loads(payload)
        except ValueError:
            return dumps(payload)
        return payload
    return dumps(payload)


async def invoked(call: Call, invocation: Invocation) -> Answer:
    """Call a function.

    Raises:
        StateError: Lambda refused the call, or the function failed.
    """
    answer = await asked(call, invocation, _refusal)
    if answer.function_error is not None:
        raise _failure(answer.payload)
    return answer


async def asked(
    call: Call, invocation: Invocation, refusal: Callable[[InvokeError, str], str], *, denied_error: str = _DENIED
) -> Answer:
    """Call a function and return its answer, an error of its own included.

    Args:
        call: The call.
        invocation: What is called.
        refusal: Words the cause where Lambda refuses, of its error and the function's ARN.
        denied_error: Name of the error where the role may not. Default: that of the optimized integration.

    Raises:
        StateError: Lambda refused the call.
    """
    services = call.frame.services
    arn = function_arn(services, invocation.function, invocation.qualifier)
    call.refuse_elsewhere("FunctionName", arn)
    denied = call.denied("lambda:InvokeFunction", arn)
    if denied is not None:
        raise StateError(denied_error, refusal(InvokeError("AccessDeniedException", denied, status=403), arn))
    try:
        with services.clock.invocation():
            answer = await services.invoker.invoke(invocation)
    except InvokeError as error:
        raise StateError(f"Lambda.{error.code}", refusal(error, arn)) from error
    if size(answer.payload) > limits.MAX_INVOCATION_PAYLOAD_BYTES:
        most = limits.MAX_INVOCATION_PAYLOAD_BYTES
        cause = f"Response payload size exceeded maximum allowed payload size ({most} bytes)."
        raise StateError("Function.ResponseSizeTooLarge", cause)
    return answer


def _refusal(error: InvokeError, arn: str) -> str:
    message = error.message
    if error.code == "ResourceNotFoundException":
        qualified = arn if arn.count(":") > 6 else f"{arn}:$LATEST"
        message = f"Function not found: {qualified}"
    request_id = error.request_id or str(uuid.uuid4())
    return (
        f"{message} (Service: AWSLambda; Status Code: {error.status}; Error Code: {error.code}; "
        f"Request ID: {request_id}; Proxy: null)"
    )


def _failure(payload: str) -> StateError:
    try:
        parsed = loads(payload)
    except ValueError:
        parsed = None
    error = parsed.get("errorType") if isinstance(parsed, dict) else None
    if not isinstance(error, str) or not error:
        return StateError(
            "Lambda.Unknown",
            "The cause could not be determined because Lambda did not return an error type. "
            f"Returned payload: {payload}",
        )
    return StateError(error, payload[: limits.MAX_CAUSE_CHARACTERS])


def result_of(payload: str, arn: str) -> Json:
    """Return a function's answer as a value.

    Raises:
        StateError: It isn't JSON, as when a handler returns bytes or NaN.
    """
    try:
        return loads(payload) if payload.strip() else None
    except ValueError as error:
        shown = payload[:_SHOWN_CHARACTERS]
        raise StateError("Lambda.Unknown", f"The function {arn} answered what isn't JSON ({error}): {shown}") from error


class LambdaInvoke(Integration):
    """``arn:aws:states:::lambda:invoke``, also with ``.waitForTaskToken``."""

    def refused_result(self, result: Json) -> str | None:
        """Return why Lambda wouldn't answer a scripted result; what a token brings back may be anything."""
        return None if self.token else _refused(result, also=METADATA)

    def check(self, arguments: Json) -> None:
        """Check the names of the arguments."""
        check_names(arguments, _FIELDS)

    async def run(self, arguments: Json, call: Call) -> Json:
        """Call the function that the arguments name."""
        invocation = _invocation(arguments, call)
        answer = await invoked(call, invocation)
        result = sdk_answer(answer, result_of(answer.payload, invocation.function))
        if self.token:
            call.submitted(result)
            return await call.answered()
        return fitting(self, result)


def _refused(result: Json, *, also: frozenset[str] = frozenset()) -> str | None:
    answer = service_model("lambda").operation_model("Invoke").output_shape
    return problem(answer, result, named=str, also=also)


def _invocation(arguments: Json, call: Call) -> Invocation:
    if not isinstance(arguments.get("FunctionName"), str):
        raise runtime(f"The Lambda task needs a FunctionName, got: {dumps(arguments)}")
    if arguments.get("ClientContext") is not None:
        client_context = dumps(arguments["ClientContext"])
        raise runtime(f"The local engine doesn't run ClientContext, got {client_context}: leave it out")
    if arguments.get("LogType") not in _LOG_TYPES:
        raise runtime(f"The LogType of a Lambda task must be Tail or None, got {dumps(arguments['LogType'])}")
    kind = arguments.get("InvocationType", "RequestResponse")
    if kind not in _INVOCATION_TYPES:
        raise runtime(
            f"The local engine doesn't run the InvocationType {dumps(kind)}: use {' or '.join(_INVOCATION_TYPES)}"
        )
    return Invocation(
        function=arguments["FunctionName"],
        payload=payload_text(arguments.get("Payload")),
        qualifier=arguments.get("Qualifier"),
        role=call.role,
        wait=kind == "RequestResponse",
        tail=arguments.get("LogType") == "Tail",
    )


class SdkInvoke(Integration):
    """``arn:aws:states:::aws-sdk:lambda:invoke``, which takes an error of the function's for an answer."""

    def refused_result(self, result: Json) -> str | None:
        """Return why Lambda wouldn't answer a scripted result; what a token brings back may be anything."""
        return None if self.token else _refused(result)

    def check(self, arguments: Json) -> None:
        """Check the names of the arguments."""
        check_names(arguments, _FIELDS | {"DurableExecutionName"})
        if arguments.get("DurableExecutionName") is not None:
            raise runtime(
                "The local engine doesn't run durable functions: put the work of an item into a function that isn't, "
                "and run a pipeline over that one here (Worker.function), or run this one on AWS"
            )

    async def run(self, arguments: Json, call: Call) -> Json:
        """Call the function that the arguments name."""
        invocation = _invocation(arguments, call)
        answer = await asked(call, invocation, _sdk_refusal, denied_error="Lambda.LambdaException")
        result = {
            "ExecutedVersion": answer.version,
            "FunctionError": answer.function_error,
            "LogResult": answer.log,
            "Payload": answer.payload,
            "StatusCode": answer.status,
        }
        shown = {key: value for key, value in result.items() if value is not None}
        if self.token:
            call.submitted(shown)
            return await call.answered()
        return fitting(self, shown)


def _sdk_refusal(error: InvokeError, arn: str) -> str:
    message = f"Function not found: {arn}" if error.code == "ResourceNotFoundException" else error.message
    request_id = error.request_id or str(uuid.uuid4())
    return f"{message} (Service: Lambda, Status Code: {error.status}, Request ID: {request_id})"


def sdk_answer(answer: Answer, payload: Json) -> dict[str, Any]:
    """Return what the optimized integration makes of Lambda's answer, HTTP headers included."""
    request_id = answer.request_id or str(uuid.uuid4())
    log_header = {} if answer.log is None else {"X-Amz-Log-Result": answer.log}
    headers = {
        "Connection": "keep-alive",
        "Content-Length": str(size(answer.payload)),
        "Content-Type": "application/json",
        "Date": http_date(int(time.time())),
        **({} if answer.version is None else {"X-Amz-Executed-Version": answer.version}),
        **log_header,
        "x-amzn-Remapped-Content-Length": "0",
        "x-amzn-RequestId": request_id,
        "X-Amzn-Trace-Id": f"root=1-{request_id[:8]}-{request_id.replace('-', '')[8:]};sampled=0",
    }
    return {
        **({} if answer.version is None else {"ExecutedVersion": answer.version}),
        **({} if answer.log is None else {"LogResult": answer.log}),
        "Payload": payload,
        **metadata(headers, answer.status, request_id),
        "StatusCode": answer.status,
    }


class LambdaFunction(Integration):
    """A function's own ARN as the Resource.

    Args:
        arn: The ARN.
    """

    family = "LambdaFunction"

    def __init__(self, arn: str) -> None:
        super().__init__(arn, "lambda")
        # A function's ARN is called and answers, whatever its name ends with.
        self.token = self.has_token = False

    @property
    def size_name(self) -> str:
        """The ARN."""
        return self.resource

    def default(self, input: Json) -> Json:
        """Return the state's input: it is the event."""
        return input

    async def run(self, arguments: Json, call: Call) -> Json:
        """Call it with the arguments as its event."""
        invocation = Invocation(function=self.resource, payload=dumps(arguments), role=call.role)
        answer = await invoked(call, invocation)
        result = result_of(answer.payload, self.resource)
        return fitting(self, result)
