"""The endpoint with Lambda's Invoke: calls of functions through it run on the engine's processes."""

from __future__ import annotations

import asyncio
import hmac
import http.client
import json
import logging
import os
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local.embedded.event_rules import TARGETS_PATH
from cdk_distributed_map.local.embedded.headers import ONLY_ASKED, PREFIX, RESOURCE, SECRET
from cdk_distributed_map.local.endpoints import endpoint
from cdk_distributed_map.local.endpoints.health import HEALTH_PATH, health_answer
from cdk_distributed_map.local.engine import Engine
from cdk_distributed_map.local.events.deliveries import Deliveries
from cdk_distributed_map.local.functions import (
    DeployedFunctions,
    FunctionConfig,
    Functions,
    InvokeResult,
    ServiceError,
)
from cdk_distributed_map.local.functions.logs import LogWriter

if TYPE_CHECKING:
    from cdk_distributed_map.local.iam.roles import RolePolicies

_LOGGER: Final = logging.getLogger("cdk_distributed_map.local")
_READ_LOGS: Final = frozenset({"logs", "monitoring"})
_INVOKE: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")


class LocalEndpoint(endpoint.Endpoint):
    """One endpoint for all services: executions, invocations, and the embedded AWS for everything else.

    Args:
        engine: Answers for executions.
        deliveries: Delivers what rules of EventBridge have matched.
        logs: Writes the logs of functions, None where they aren't written.
        functions: Runs functions, on the engine's loop.
        catalog: Knows the functions.
        roles: Policies of state machines, None where IAM isn't enforced.
        upstream_url: Address of the embedded AWS.
        port: Port on loopback, 0 for any that is free.
        secret: What lets those in at the embedded AWS who are passed on.
        token: What tells this endpoint from another one on the same port, to whoever knows it too.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        deliveries: Deliveries,
        logs: LogWriter | None,
        functions: Functions,
        catalog: DeployedFunctions,
        roles: RolePolicies | None,
        upstream_url: str,
        port: int = 0,
        secret: str,
        token: str = "",
    ) -> None:
        super().__init__(engine, upstream_url=upstream_url, port=port, secret=secret)
        # The server takes the handler's class, whose attributes are what a handler knows.
        knows = {"functions": functions, "catalog": catalog, "roles": roles, "token": token, "deliveries": deliveries}
        knows["logs"] = logs
        bases: Any = (_LambdaHandler, self._server.RequestHandlerClass)
        self._server.RequestHandlerClass = type("Handler", bases, knows)


class _LambdaHandler(endpoint._Handler):  # noqa: SLF001 - the endpoint's own class, in the same package
    deliveries: Deliveries
    logs: LogWriter | None
    functions: Functions
    catalog: DeployedFunctions
    roles: RolePolicies | None
    token: str
    open_paths = frozenset({HEALTH_PATH, TARGETS_PATH})

    def _either(self) -> None:
        parts = urlsplit(self.path)
        if unquote(parts.path) == HEALTH_PATH:
            challenge = parse_qs(parts.query).get("challenge", [""])[0]
            health = {"pid": os.getpid(), "answer": health_answer(self.token, challenge, os.getpid())}
            self._reply(200, json.dumps(health).encode(), {})
            return
        if unquote(parts.path) == TARGETS_PATH:
            self._take_matched()
            return
        match = _INVOKE.fullmatch(parts.path) if self.command == "POST" else None
        if match is not None:
            qualifier = parse_qs(parts.query).get("Qualifier", [None])[0]
            self._invoke(unquote(match[1]), qualifier)
        else:
            if self.logs is not None and self._service() in _READ_LOGS:
                self._write_logs(self.logs)
            self._any()
            if self.command != "GET":
                self._invalidate(self._service())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _either

    def _write_logs(self, logs: LogWriter) -> None:
        # Whoever looks finds the logs and metrics of what has ended, rather than having to wait for them.
        try:
            logs.flush()
        except (BotoCoreError, ClientError):
            _LOGGER.exception("logs of functions cannot be written")

    def _take_matched(self) -> None:
        """Take what a rule has matched from the embedded AWS, and from nobody else."""
        body = self.rfile.read(self._length())
        if not hmac.compare_digest(self.headers.get(SECRET, "").encode(), self.marks.get(SECRET, "").encode()):
            self._send(403, {"__type": "AccessDenied", "message": "this is for the embedded AWS alone"})
            return
        self.engine.take(self.deliveries.take(json.loads(body)))
        self._reply(204, b"", {})

    def _invalidate(self, service: str) -> None:
        # What is deployed may have changed, or it was asked whether it has by now.
        if service in {"cloudformation", "lambda"}:
            self.catalog.invalidate()
        if service in {"cloudformation", "iam"} and self.roles is not None:
            self.roles.invalidate()

    def _allowed(self, body: bytes, resource: str) -> bool:
        upstream = self._connected()
        own = {name.lower() for name in self.headers if name.lower().startswith(PREFIX)} | endpoint.HOP_BY_HOP
        headers = {name: value for name, value in self.headers.items() if name.lower() not in own}
        headers |= {**self.marks, ONLY_ASKED: "true", RESOURCE: resource}
        try:
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._unavailable(error)
            return False
        if response.status == HTTPStatus.NO_CONTENT:
            response.read()
            return True
        self._return(response)
        return False

    def _service(self) -> str:
        # The scope of a signature: key/day/region/service/aws4_request.
        _, _, rest = self.headers.get("Authorization", "").partition("Credential=")
        scope = rest.split(",", 1)[0].split("/")
        return scope[3] if len(scope) == 5 else ""

    def _invoke(self, function: str, qualifier: str | None) -> None:
        payload = self.rfile.read(self._length())
        kind = self.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        try:
            config = self._looked_up(function, qualifier, payload)
            if config is None:
                return
            _refuse_ignored(kind, self.headers.get("X-Amz-Client-Context"))
            if not self._allowed(payload, config.arn if qualifier is None else f"{config.arn}:{qualifier}"):
                return
            if kind == "DryRun":
                self._reply(204, b"", {})
            elif kind == "Event":
                request_id = self._on_loop(self.functions.post(function, payload, qualifier=qualifier))
                self._reply(202, b"", {"x-amzn-RequestId": request_id})
            else:
                self._answer_with(self._on_loop(self.functions.run(function, payload, qualifier=qualifier)))
        except ServiceError as error:
            headers = {"x-amzn-ErrorType": error.code, "x-amzn-RequestId": error.request_id}
            if error.status == 429:
                headers["Retry-After"] = "1"
            self._reply(error.status, error.body(), headers)
        except ConnectionError:
            raise
        except Exception as error:
            _LOGGER.exception("the invocation of %s failed", function)
            failed = ServiceError("ServiceException", f"the local engine failed: {error!r}", status=500)
            self._reply(failed.status, failed.body(), {"x-amzn-ErrorType": failed.code})

    def _looked_up(self, function: str, qualifier: str | None, payload: bytes) -> FunctionConfig | None:
        """Return a function, None where the caller has been told that even whether it exists isn't for them to know."""
        try:
            found: FunctionConfig = self._on_loop(self.catalog.function(function, qualifier))
        except ServiceError:
            arn = function if ":" in function else self.engine.services.arn("lambda", f"function:{function}")
            if not self._allowed(payload, arn):
                return None
            raise
        return found

    def _on_loop(self, coroutine: Any) -> Any:
        clock = self.engine.services.clock

        async def real() -> Any:
            with clock.real():
                return await coroutine

        return asyncio.run_coroutine_threadsafe(real(), self.engine._loop).result()  # noqa: SLF001 - functions run there

    def _answer_with(self, result: InvokeResult) -> None:
        headers = {"X-Amz-Executed-Version": result.executed_version, "x-amzn-RequestId": result.request_id}
        if result.function_error is not None:
            headers["X-Amz-Function-Error"] = result.function_error
        if self.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = result.log_tail
        self._reply(200, result.payload, headers)

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {"x-amzn-RequestId": str(uuid.uuid4()), **headers}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _refuse_ignored(kind: str, client_context: str | None) -> None:
    """Check for what would do nothing here.

    Raises:
        ServiceError: There is such a header.
    """
    if kind not in {"RequestResponse", "Event", "DryRun"}:
        message = f"InvocationType must be RequestResponse, Event or DryRun, got {kind}"
        raise ServiceError("InvalidParameterValueException", message, status=400)
    if client_context is not None:
        message = "no ClientContext is passed to functions that run locally: give it in the Payload"
        raise ServiceError("InvalidParameterValueException", message, status=400)
