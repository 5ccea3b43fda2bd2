"""Lambda's Runtime API, as much of HTTP/1.1 as AWS's runtime clients speak.

Every process of a function has an API of its own on loopback, so that a request needs nothing to say whose it is.
Libraries that serve HTTP cost several times what an invocation costs here: the native client does 3,000 calls a
second, and each takes two requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

LARGEST_HEAD: Final = 2 * 1024 * 1024
"""The runtime client sends a failure's trace in a header of up to 1 MiB."""
BASE: Final = "/2018-06-01/runtime/"
_ACCEPTED: Final = (
    b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
)


class Request:
    """One request of a runtime client."""

    __slots__ = ("body", "connection", "method", "path", "size")

    def __init__(self, connection: RuntimeConnection, method: str, path: str) -> None:
        self.connection = connection
        self.method = method
        self.path = path
        self.body = b""
        self.size = 0


class RuntimeConnection(asyncio.Protocol):
    """One connection of a runtime client.

    Args:
        handle: Called with each request, once it is whole.
        lost: Called when the connection has ended.
        keep: Bytes of a body that are kept; what is longer is counted and dropped.
    """

    def __init__(
        self, handle: Callable[[Request], None], lost: Callable[[RuntimeConnection], None], *, keep: int
    ) -> None:
        self._handle = handle
        self._lost = lost
        self._keep = keep
        self._buffer = b""
        self._request: Request | None = None
        self._missing = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - the loop makes no other for TCP
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._lost(self)

    def abort(self) -> None:
        """End it from this side."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in what came, and hand on the requests it completes."""
        # Nearly always what comes is one whole request: then nothing is copied but its body.
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            if self._request is None and not self._begin():
                return
            request = self._request
            if request is None:
                return
            taken = min(self._missing, len(self._buffer))
            if taken:
                if request.size <= self._keep:
                    request.body += self._buffer[:taken]
                self._buffer = self._buffer[taken:]
                self._missing -= taken
            if self._missing:
                return
            self._request = None
            self._handle(request)

    def _begin(self) -> bool:
        if not self._buffer:
            return False
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > LARGEST_HEAD:
                self.answer(431, {"errorMessage": "request header too large", "errorType": "InvalidRequest"})
                self.close()
            return False
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        method, path, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
        request = self._request = Request(self, method, path)
        if method == "GET":
            # It has no body.
            return True
        # Of the headers only these three say anything about what follows.
        head = head.lower()
        if b"chunked" in _header(head, b"transfer-encoding"):
            self.answer(411, {"errorMessage": "a body needs its Content-Length", "errorType": "InvalidRequest"})
            self.close()
            self._request = None
            return False
        request.size = self._missing = int(_header(head, b"content-length") or 0)
        if _header(head, b"expect") == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def accept(self) -> None:
        """Answer 202."""
        self.write(_ACCEPTED)

    def answer(self, status: int, body: dict[str, str]) -> None:
        """Answer with an error."""
        text = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Error\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self.write(head.encode() + text)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def _header(head: bytes, name: bytes) -> bytes:
    """Return a header of a head in lower case, empty where it has none."""
    start = head.find(b"\r\n%b:" % name)
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start:].strip() if end < 0 else head[start:end].strip()


def event(payload: bytes, *, request_id: str, deadline_ms: int, arn: str, trace: str) -> bytes:
    """Return the answer to ``GET /next``: an event, and what Lambda says about it in headers.

    It must have a ``Content-Type``: the native client ends the process without.
    """
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\nLambda-Runtime-Deadline-Ms: {deadline_ms}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {arn}\r\nLambda-Runtime-Trace-Id: {trace}\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode("latin-1") + payload
