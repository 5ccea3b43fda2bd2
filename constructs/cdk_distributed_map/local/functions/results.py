"""What an invocation comes to, in Lambda's words, and what Lambda refuses before one begins."""

from __future__ import annotations

import base64
import json
import math
import uuid
from typing import Final, NamedTuple

from cdk_distributed_map.local.execution.services import InvokeError

_LOG_TAIL_BYTES: Final = 4096
UNHANDLED: Final = "Unhandled"
TIMED_OUT: Final = "Sandbox.Timedout"
EXITED: Final = "Runtime.ExitError"
OUT_OF_MEMORY: Final = "Runtime.OutOfMemory"
TOO_LARGE: Final = "Function.ResponseSizeTooLarge"


class InvokeResult(NamedTuple):
    """One invocation that ran, well or not.

    Args:
        request_id: Its id.
        payload: The answer as JSON text: the handler's, or Lambda's error object.
        function_error: ``Unhandled`` where it failed, else None: the header ``X-Amz-Function-Error``.
        executed_version: Version of the function that ran.
        log: What Lambda would log of it: START, the handler's output, END and the REPORT line.
        duration_ms: How long the handler had it, in milliseconds.
        init_ms: How long the process took to start, where this invocation started one; else None.
        peak_memory_mb: The most memory its process held during it, in MB; None where the platform doesn't tell.
        memory_size_mb: Memory of the function in MB.
        status: ``success``, ``error`` or ``timeout``.
        error_type: Type of the error where Lambda found it rather than the handler; else None.
    """

    request_id: str
    payload: bytes
    function_error: str | None
    executed_version: str
    log: str
    duration_ms: float
    init_ms: float | None
    peak_memory_mb: float | None
    memory_size_mb: int
    status: str
    error_type: str | None = None

    @property
    def billed_ms(self) -> int:
        """What Lambda would bill: initialization and duration, each started millisecond counted."""
        return math.ceil(self.duration_ms + (self.init_ms or 0.0))

    @property
    def log_tail(self) -> str:
        """The end of the log as ``LogType`` Tail brings it: in base64."""
        return base64.b64encode(self.log.encode()[-_LOG_TAIL_BYTES:]).decode()


class ServiceError(InvokeError):
    """Lambda refused the call: the function didn't run.

    Args:
        code: Name of the exception, without a prefix.
        message: What Lambda says.
        status: HTTP status.
        reason: Lambda's ``Reason``, where the exception has one.
    """

    def __init__(self, code: str, message: str, *, status: int, reason: str | None = None) -> None:
        super().__init__(code, message, status=status, request_id=str(uuid.uuid4()))
        self.reason = reason

    def body(self) -> bytes:
        """Return the answer's body as Lambda writes it."""
        if self.reason is None:
            return json.dumps({"Type": "User", "Message": self.message}).encode()
        # Lambda spells the key of its message small in this exception alone.
        return json.dumps({"Reason": self.reason, "Type": "User", "message": self.message}).encode()


def too_many_requests(reason: str) -> ServiceError:
    """Return the throttling error: ``reason`` says which limit was reached."""
    return ServiceError("TooManyRequestsException", "Rate Exceeded.", status=429, reason=reason)


def inactive() -> ServiceError:
    """Return the error of a function that has been idle for weeks, until Lambda has made it ready again."""
    message = "Lambda is initializing your function. It will be ready to invoke shortly."
    return ServiceError("CodeArtifactUserPendingException", message, status=409)


def not_found(arn: str) -> ServiceError:
    """Return the error of a function that doesn't exist."""
    return ServiceError("ResourceNotFoundException", f"Function not found: {arn}", status=404)


def error_payload(error_type: str, message: str) -> bytes:
    """Return the error object of a failure that the runtime didn't report itself."""
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


def exit_message(request_id: str, code: int) -> str:
    """Return how Lambda describes the end of a process: its exit status, or the signal that ended it."""
    if code < 0:
        return f"RequestId: {request_id} Error: Runtime exited with error: signal: {_signal(-code)}"
    if code == 0:
        return f"RequestId: {request_id} Error: Runtime exited without providing a reason"
    return f"RequestId: {request_id} Error: Runtime exited with error: exit status {code}"


def _signal(number: int) -> str:
    # Lambda's words are those of the Go runtime it is written in.
    names = {
        1: "hangup", 2: "interrupt", 3: "quit", 6: "aborted", 7: "bus error", 8: "floating point exception",
        9: "killed", 11: "segmentation fault", 13: "broken pipe", 14: "alarm clock", 15: "terminated",
    }  # fmt: skip
    return names.get(number, f"signal {number}")


def report_line(result_id: str, *, duration_ms: float, init_ms: float | None, size_mb: int,
                peak_mb: float | None, status: str, error_type: str | None) -> str:  # fmt: skip
    """Return Lambda's REPORT line."""
    parts = [
        f"REPORT RequestId: {result_id}",
        f"Duration: {duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(duration_ms + (init_ms or 0.0))} ms",
        f"Memory Size: {size_mb} MB",
    ]
    if peak_mb is not None:
        parts.append(f"Max Memory Used: {min(math.ceil(peak_mb), size_mb)} MB")
    if init_ms is not None:
        parts.append(f"Init Duration: {init_ms:.2f} ms")
    if status != "success" and (status == "timeout" or error_type is not None):
        parts.append(f"Status: {status}")
        if error_type is not None and status == "error":
            parts.append(f"Error Type: {error_type}")
    return "\t".join(parts) + "\t\n"
