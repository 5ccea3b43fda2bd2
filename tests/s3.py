"""S3 in the process of the tests: ministack's application, asked without a connection in between.

A call over loopback costs three times what it is about: two processes take turns, and each writes and reads HTTP. What
the tests' own clients send reaches the application as it is, the signed request as botocore sends it, and what it
answers is read as any answer of urllib3's. Only the connection is left out. Processes that tests start reach the same
objects over loopback, through the server that ministack has.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPHeaderDict, HTTPResponse

STOP_SECONDS = 10


class Answer(NamedTuple):
    """What the application answers."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class LocalS3:
    """An S3 for the tests of this process and for the processes that they start.

    Args:
        folder: For what it writes.
    """

    def __init__(self, folder: Path) -> None:
        self._application = _load_application(folder)
        self._lock = threading.Lock()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self._address}"

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer clients of this process at once, and others over loopback."""
        session: Any = URLLib3Session
        send = session.send
        session.send = self._instead_of(send)
        try:
            with self._served():
                yield
        finally:
            session.send = send

    def _instead_of(self, send: Callable[..., AWSResponse]) -> Callable[..., AWSResponse]:
        """Return what sends a request: those to this S3 without a connection, all others as before."""

        def send_request(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
            if not request.url.startswith(f"{self.url}/"):
                return send(session, request)
            answer = self._ask(request)
            headers: Any = HTTPHeaderDict(
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
            )
            raw = HTTPResponse(
                io.BytesIO(answer.body),
                headers,
                answer.status,
                preload_content=False,
                decode_content=False,
                request_method=request.method,
            )
            response = AWSResponse(request.url, answer.status, headers, raw)
            if not request.stream_output:
                _ = response.content
            return response

        return send_request

    def _ask(self, request: AWSPreparedRequest) -> Answer:
        address = urlsplit(request.url)
        body = _read(request.body)
        headers = {name.lower(): _encode(value) for name, value in request.headers.items()}
        headers.setdefault("host", self._address.encode())
        headers.setdefault("accept-encoding", b"identity")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": request.method,
            "path": unquote(address.path),
            "raw_path": address.path.encode("ascii"),
            "query_string": address.query.encode("ascii"),
            "headers": [(name.encode("latin-1"), value) for name, value in headers.items()],
            "client": ("127.0.0.1", 0),
        }
        return self._answer(scope, body)

    def _answer(self, scope: Mapping[str, Any], body: bytes) -> Answer:
        started: dict[str, Any] = {}
        pieces: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                pieces.append(message.get("body", b""))

        # A context of its own, as each request has in a server: the application keeps the account there, and more.
        with self._lock:
            Context().run(_finish, self._application(scope, receive, send))
        return Answer(started["status"], started["headers"], b"".join(pieces))

    @contextmanager
    def _served(self) -> Iterator[None]:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        config.bind = [f"fd://{self._listener.detach()}"]
        config.loglevel = "ERROR"
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            serving: Any = serve(self._over_loopback, config, shutdown_trigger=stop.wait)
            loop.run_until_complete(serving)

        thread = threading.Thread(target=run, name="s3", daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(STOP_SECONDS)
            loop.close()

    async def _over_loopback(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        pieces = []
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        answer = self._answer(scope, b"".join(pieces))
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def _finish(coroutine: Any) -> None:
    """Run a coroutine that never waits: all that S3 does is done in memory."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    message = f"the application waits for {waits_for!r}, and there is no loop here to wait in"
    raise RuntimeError(message)


def _load_application(folder: Path) -> Any:
    """Import ministack, and leave logging and the environment as they are."""
    variables = {
        "LOG_LEVEL": "ERROR",
        "MINISTACK_REGION": "us-east-1",
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
    }
    before = dict(os.environ)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    os.environ.update(variables)
    try:
        return importlib.import_module("ministack.app").app
    finally:
        os.environ.clear()
        os.environ.update(before)
        root.handlers[:] = handlers
        root.setLevel(level)


def _read(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if hasattr(body, "read"):
        return bytes(body.read())
    return b"".join(body)


def _encode(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8")
