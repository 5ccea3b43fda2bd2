"""Says in Lambda's words how an invocation went: its answer and its log."""

from __future__ import annotations

import json
from typing import TypeAlias

from cdk_distributed_map.local.functions import results
from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.pool import StartError
from cdk_distributed_map.local.functions.results import InvokeResult
from cdk_distributed_map.local.functions.worker import Outcome, Worker
from distmap import limits

Places: TypeAlias = tuple[tuple[str, str], ...]
"""Folders of this machine, and where they are on Lambda."""


def not_started(config: FunctionConfig, request_id: str, error: StartError, places: Places) -> InvokeResult:
    """Return how an invocation went whose process didn't start."""
    outcome = error.outcome
    status, error_type = "error", results.EXITED
    if outcome.kind == "timeout":
        status, error_type = "timeout", results.TIMED_OUT
        payload = _timed_out(config, request_id)
    elif outcome.kind == "error":
        error_type, payload = _error_type(outcome.payload), _on_lambda(outcome.payload, config, places)
    elif error.out_of_memory:
        error_type = results.OUT_OF_MEMORY
        payload = results.error_payload(error_type, results.exit_message(request_id, outcome.code))
    else:
        payload = results.error_payload(error_type, results.exit_message(request_id, outcome.code))
    duration = error.seconds * 1000
    peak = float(config.memory_mb) if error.out_of_memory else None
    output = _shown(error.output, config, places)
    log = _log(config, request_id, output, duration=duration, status=status, error_type=error_type, peak=peak)
    return InvokeResult(
        request_id=request_id,
        payload=payload,
        function_error=results.UNHANDLED,
        executed_version=config.version,
        log=log,
        duration_ms=duration,
        init_ms=None,
        peak_memory_mb=peak,
        memory_size_mb=config.memory_mb,
        status=status,
        error_type=error_type,
    )


def _error_type(payload: bytes) -> str:
    try:
        return str(json.loads(payload)["errorType"])
    except (ValueError, KeyError, TypeError):
        return results.EXITED


def _on_lambda(payload: bytes, config: FunctionConfig, places: Places) -> bytes:
    """Return an error with the paths of Lambda in its stack trace, so that it reads the same here and there."""
    for here, there in _all(config, places):
        payload = payload.replace(json.dumps(here)[1:-1].encode(), there.encode())
    return payload


def _all(config: FunctionConfig, places: Places) -> Places:
    layers = () if config.layers is None else ((str(config.layers), "/opt"),)
    return ((str(config.code), "/var/task"), *layers, *places)


def _timed_out(config: FunctionConfig, request_id: str) -> bytes:
    message = f"RequestId: {request_id} Error: Task timed out after {config.timeout:.2f} seconds"
    return results.error_payload(results.TIMED_OUT, message)


def finish(
    config: FunctionConfig,
    request_id: str,
    worker: Worker,
    outcome: Outcome,
    *,
    duration: float,
    peak: float | None,
    output: str,
    first: bool,
    places: Places,
) -> InvokeResult:
    """Say in Lambda's words how an event ended."""
    status, error_type, payload = "success", None, outcome.payload
    if worker.timed_out and outcome.kind == "exit":
        status, error_type, payload = "timeout", results.TIMED_OUT, _timed_out(config, request_id)
        duration = max(duration, config.timeout * 1000.0)
    elif worker.out_of_memory:
        status, error_type = "error", results.OUT_OF_MEMORY
        payload = results.error_payload(error_type, results.exit_message(request_id, -9))
    elif outcome.kind == "exit":
        status, error_type = "error", results.EXITED
        payload = results.error_payload(error_type, results.exit_message(request_id, outcome.code))
    elif outcome.size > limits.MAX_INVOCATION_PAYLOAD_BYTES:
        status, error_type = "error", results.TOO_LARGE
        most = limits.MAX_INVOCATION_PAYLOAD_BYTES
        message = f"Response payload size ({outcome.size} bytes) exceeded maximum allowed payload size ({most} bytes)."
        payload = results.error_payload(error_type, message)
    elif outcome.kind == "error":
        status, payload = "error", _on_lambda(payload, config, places)
    init = worker.init_ms if first else None
    output = _shown(output, config, places)
    return InvokeResult(
        request_id=request_id,
        payload=payload,
        function_error=None if status == "success" else results.UNHANDLED,
        executed_version=config.version,
        log=_log(
            config, request_id, output, duration=duration, status=status, error_type=error_type, init=init, peak=peak
        ),
        duration_ms=duration,
        init_ms=init,
        peak_memory_mb=peak,
        memory_size_mb=config.memory_mb,
        status=status,
        error_type=error_type,
    )


def _shown(output: str, config: FunctionConfig, places: Places) -> str:
    for here, there in _all(config, places) if output else ():
        output = output.replace(here, there)
    return output


def _log(
    config: FunctionConfig,
    request_id: str,
    output: str,
    *,
    duration: float,
    status: str,
    error_type: str | None,
    init: float | None = None,
    peak: float | None = None,
) -> str:
    body = output if not output or output.endswith("\n") else output + "\n"
    report = results.report_line(
        request_id,
        duration_ms=duration,
        init_ms=init,
        size_mb=config.memory_mb,
        peak_mb=peak,
        status=status,
        error_type=error_type,
    )
    return f"START RequestId: {request_id} Version: {config.version}\n{body}END RequestId: {request_id}\n{report}"
