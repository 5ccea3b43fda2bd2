"""Stand-in for the native module of AWS's runtime client, which exists for Linux and one version of Python each.

Same functions, same answers, over the documented Runtime API:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import os
import socket

_VERSION = "2018-06-01"
_DEADLINE = "Lambda-Runtime-Deadline-Ms"
_agent = "aws-lambda-python"
_connection: _Connection | None = None


class _Connection:
    """One connection that is kept open: http.client makes an object per header, and would be half the time."""

    def __init__(self) -> None:
        host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
        self._host = f"{host}:{port}"
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def call(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} /{_VERSION}/runtime/{path} HTTP/1.1", f"Host: {self._host}", f"User-Agent: {_agent}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self._socket.sendall(head + body)
        return self._answer()

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        status = self._file.readline()
        if not status:
            message = "the Runtime API closed the connection"
            raise RuntimeError(message)
        headers = {}
        while True:
            line = self._file.readline()
            if line in (b"\r\n", b""):
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().title()] = value.strip()
        length = int(headers.get("Content-Length", "0"))
        body = self._file.read(length)
        if len(body) != length:
            message = "the Runtime API closed the connection in the middle of an answer"
            raise RuntimeError(message)
        return int(status.split()[1]), headers, body


def _call(method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> tuple[int, dict[str, str], bytes]:
    global _connection  # noqa: PLW0603 - the native module keeps its client likewise
    if _connection is None:
        _connection = _Connection()
    return _connection.call(method, path, body, headers)


def initialize_client(user_agent: str) -> None:
    """Remember how to introduce ourselves."""
    global _agent  # noqa: PLW0603 - as above
    _agent = user_agent


def next() -> tuple[bytes, dict[str, str | int]]:  # noqa: A001 - the native module's name
    """Wait for the next event; return it with its headers."""
    status, headers, body = _call("GET", "invocation/next", b"", [])
    if status != 200:
        message = "Failed to get next"
        raise RuntimeError(message)
    # The native module gives a number here, and text in all other headers.
    return body, {**headers, _DEADLINE: int(headers[_DEADLINE])}


def post_invocation_result(
    invoke_id: str, result_data: bytes, content_type: str = "application/json", invocation_id: str | None = None
) -> None:
    """Hand in the answer of an invocation."""
    del invocation_id
    status, _, _ = _call("POST", f"invocation/{invoke_id}/response", result_data, [("Content-Type", content_type)])
    if not 200 <= status < 300:
        message = f"Failed to post invocation response, code {status}"
        raise RuntimeError(message)


def post_error(invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: str | None = None) -> None:
    """Hand in the error of an invocation."""
    del invocation_id
    headers = [("Content-Type", "application/json"), ("Lambda-Runtime-Function-XRay-Error-Cause", xray_fault)]
    status, _, _ = _call("POST", f"invocation/{invoke_id}/error", error_response_data.encode(), headers)
    if not 200 <= status < 300:
        message = f"Failed to post invocation error, code {status}"
        raise RuntimeError(message)
