"""One AWS endpoint on loopback: the engine answers for executions, the embedded AWS for everything else.

Whatever runs on this machine can reach it, the pages that its user has open too. So it answers no browser: nothing that
comes from a page, no question whether a page may ask, and nobody who calls it by another name, as a page does whose
name has been made to lead here. What the embedded AWS has for its own administration isn't reached through it.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Sec-Fetch-Site
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from cdk_distributed_map.local.embedded.headers import FORWARDED, PREFIX, SECRET
from cdk_distributed_map.local.engine import Engine
from cdk_distributed_map.local.errors import ApiError

_LOGGER: Final = logging.getLogger("cdk_distributed_map.local")
_TARGET: Final = "AWSStepFunctions."
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_RESOURCES: Final = ("stateMachineArn", "executionArn", "mapRunArn")
HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection"})
_PIECE: Final = 256 * 1024
_LINE: Final = 65_536
_IDLE: Final = 2.0
_S3_SCOPE: Final = "/s3/aws4_request"
_TIMEOUT: Final = 1_000
_STOP_SECONDS: Final = 0.02
"""How often it looks whether it is to stop."""
_NAMES: Final = ("127.0.0.1", "localhost")
_ADMINISTRATIVE: Final = "/_"
"""No bucket and no path of AWS begins so."""


class Endpoint:
    """The HTTP server.

    .. versionadded:: 0.1.0

    Args:
        engine: Answers for executions.
        upstream_url: Address of the embedded AWS.
        port: Port on loopback, 0 for any that is free.
        secret: What lets those in at the embedded AWS who are passed on. Default: nothing.
    """

    def __init__(self, engine: Engine, *, upstream_url: str, port: int = 0, secret: str | None = None) -> None:
        upstream = urlsplit(upstream_url)
        if upstream.scheme != "http" or upstream.hostname is None:
            raise ValueError(f"the embedded AWS is reached by plain HTTP on loopback, got {upstream_url!r}")
        address = (upstream.hostname, upstream.port or 80)

        class Handler(_Handler):
            pass

        Handler.engine = engine
        Handler.upstream = address
        Handler.marks = {} if secret is None else {SECRET: secret, FORWARDED: "true"}
        try:
            self._server = _Server(("127.0.0.1", port), Handler)
        except OSError as error:
            message = f"port {port} of 127.0.0.1 can't be had ({error.strerror}): take another one"
            raise OSError(message) from error
        Handler.hosts = frozenset(f"{name}:{self._server.server_address[1]}" for name in _NAMES)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_SECONDS,), name="endpoint", daemon=True
        )

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}>"

    @property
    def url(self) -> str:
        """Address of the endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Endpoint:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.close()

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it each answer waits for the client's delayed acknowledgement: 40 ms.
    disable_nagle_algorithm = True
    engine: Engine
    upstream: tuple[str, int]
    hosts: frozenset[str]
    marks: Mapping[str, str]
    open_paths: frozenset[str] = frozenset()

    def setup(self) -> None:
        super().setup()
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0

    def finish(self) -> None:
        super().finish()
        if self._connection is not None:
            self._connection.close()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def parse_request(self) -> bool:
        """Read the head of a request; one that isn't answered has been refused."""
        if not super().parse_request():
            return False
        reason = self._foreign()
        broken = None if reason else self._broken()
        if reason is None and broken is None:
            return True
        # Its body isn't read.
        self.close_connection = True
        code = "AccessDenied" if reason else "MalformedRequest"
        self._send(403 if reason else 400, {"__type": code, "message": reason or broken or ""}, error=code)
        return False

    def _foreign(self) -> str | None:
        """Return why a request is no AWS tool's on this machine, None where it may be one."""
        if self.headers.get_all("Host", []) not in [[host] for host in self.hosts]:
            return f"the local AWS is called {' or '.join(sorted(self.hosts))} here, got {self.headers.get('Host')}"
        if (
            "Origin" in self.headers
            or self.headers.get("Sec-Fetch-Site", "none") != "none"
            or self.command == "OPTIONS"
        ):
            return "the local AWS answers no pages in browsers"
        if not self.path.startswith("/"):
            return f"the local AWS is no proxy, got {self.path}"
        path = unquote(urlsplit(self.path).path)
        if path.startswith(_ADMINISTRATIVE) and path not in self.open_paths:
            return f"{path} is not for clients: end the local AWS and start it again to have an empty one"
        return None

    def _broken(self) -> str | None:
        """Return why nobody can tell where a request ends, None where they can."""
        lengths, coding = self.headers.get_all("Content-Length", []), self.headers.get_all("Transfer-Encoding", [])
        if coding and (lengths or [each.lower() for each in coding] != ["chunked"]):
            return f"a body comes either with its length or in chunks, got {lengths} and {coding}"
        if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
            return f"Content-Length must be a number, got {lengths}"
        return None

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _any(self) -> None:
        target = self.headers.get("X-Amz-Target", "")
        action = target.removeprefix(_TARGET) if target.startswith(_TARGET) else ""
        if action and self.engine.answers(action):
            self._answer(action)
        else:
            self._pass_on(self._length())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _any

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _answer(self, action: str) -> None:
        body = self.rfile.read(self._length())
        try:
            parameters = _object(body)
            if not self._allowed(body, self._resource(parameters)):
                return
            answer = self.engine.call(action, parameters)
        except ApiError as error:
            status = 500 if error.code == "InternalFailure" else 400
            self._send(status, {"__type": error.code, "message": error.message}, error=error.code)
        except ConnectionError:
            raise
        except Exception as error:
            # Whoever calls must get an answer, and whoever looks into the log must find why.
            _LOGGER.exception("%s failed", action)
            message = f"the local engine failed: {type(error).__name__}: {error}"
            self._send(500, {"__type": "InternalFailure", "message": message}, error="InternalFailure")
        else:
            self._send(200, answer)

    def _allowed(self, body: bytes, resource: str) -> bool:
        """Tell whether the caller may do this; one who may not has been answered."""
        del body, resource
        return True

    def _resource(self, parameters: dict[str, Any]) -> str:
        """Return the ARN that IAM is asked about."""
        for name in _RESOURCES:
            if isinstance(parameters.get(name), str):
                return str(parameters[name])
        return self.engine.services.token_owners.get(str(parameters.get("taskToken")), "*")

    def _send(self, status: int, answer: dict[str, Any], *, error: str | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        if error is not None:
            self.send_header("x-amzn-ErrorType", error)
        self.end_headers()
        self.wfile.write(data)

    def _pass_on(self, length: int) -> None:
        upstream = self._connected()
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP and not name.lower().startswith(PREFIX):
                    upstream.putheader(name, value)
            for name, value in self.marks.items():
                upstream.putheader(name, value)
            if self._chunked():
                upstream.putheader("Transfer-Encoding", "chunked")
            if self.command == "PUT" and "Content-Type" not in self.headers and self._for_s3():
                # What S3 gives an object that is put without a type; the embedded one gives another.
                upstream.putheader("Content-Type", "binary/octet-stream")
            upstream.endheaders()
            self._send_body(upstream, length)
            response = upstream.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._unavailable(error)
            return
        self._return(response)

    def _unavailable(self, error: Exception) -> None:
        """Answer that the embedded AWS doesn't."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.close_connection = True
        message = f"the embedded AWS doesn't answer: {error}"
        self._send(502, {"__type": "ServiceUnavailable", "message": message}, error="ServiceUnavailable")

    def _connected(self) -> http.client.HTTPConnection:
        """Return a connection to the embedded AWS: the last one, unless it may have been closed for idleness."""
        now = time.monotonic()
        if self._connection is not None and now - self._used > _IDLE:
            self._connection.close()
            self._connection = None
        self._used = now
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.upstream, timeout=_TIMEOUT)
        return self._connection

    def _chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _for_s3(self) -> bool:
        return _S3_SCOPE in self.headers.get("Authorization", "")

    def _send_body(self, upstream: http.client.HTTPConnection, length: int) -> None:
        if self._chunked():
            self._send_chunked(upstream)
            return
        while length > 0:
            piece = self.rfile.read(min(length, _PIECE))
            if not piece:
                raise ConnectionError("the client hung up")
            upstream.send(piece)
            length -= len(piece)

    def _send_chunked(self, upstream: http.client.HTTPConnection) -> None:
        """Pass chunks on as they come."""
        while size := int(self.rfile.readline(_LINE).split(b";")[0], 16):
            upstream.send(b"%x\r\n%s\r\n" % (size, self.rfile.read(size)))
            self.rfile.readline(_LINE)
        while self.rfile.readline(_LINE).strip():
            pass  # trailers: nothing that the embedded AWS reads
        upstream.send(b"0\r\n\r\n")

    def _return(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status, response.reason)
        known = response.getheader("Content-Length")
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or response.status in {204, 304}
        chunked = known is None and not bodiless
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := response.read(_PIECE):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


def _object(body: bytes) -> dict[str, Any]:
    """Return the parameters of a call.

    Raises:
        ApiError: They are no JSON object.
    """
    try:
        parameters = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", str(error)) from error
    if not isinstance(parameters, dict):
        raise ApiError("SerializationException", f"the parameters must be an object, got {type(parameters).__name__}")
    return parameters
