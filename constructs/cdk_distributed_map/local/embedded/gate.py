"""Who may come in: the engine by its secret, and clients that the endpoint passes on, by their signature.

The port of the embedded AWS is open to everybody on this machine, so nothing is answered without the secret. A client's
request must be signed with the key of this start, or one that was made since: of a role that is assumed, or of a user.
AWS's way to sign is the only one; nobody is anonymous.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import os
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from cdk_distributed_map.local.embedded.headers import FORWARDED, SECRET

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

CALLER: Final[ContextVar[str]] = ContextVar("caller", default="")
"""Access key of the client whose request is looked at; empty where the engine itself asks."""
REQUEST: Final[ContextVar[Request]] = ContextVar("request")
"""The request that is looked at."""
_ADMINISTRATIVE: Final = "/_"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST_PRESIGNED: Final = 604_800


class RefusedError(Exception):
    """A request isn't answered.

    Args:
        code: AWS's code.
        message: AWS's message.
        status: HTTP status. Default: that of refusals of the service.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


# Made anew each time: an exception gathers where it has been.
_missing = partial(RefusedError, "MissingAuthenticationToken", "Request is missing Authentication Token")
_anonymous = partial(RefusedError, "AccessDenied", "Access Denied")
_unknown = partial(
    RefusedError,
    "UnrecognizedClientException",
    "The security token included in the request is invalid. The keys of a local AWS are new at each start: set its "
    'environment again, as with eval "$(distmap local env)"',
)
_altered = partial(
    RefusedError,
    "XAmzContentSHA256Mismatch",
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
    status=400,
)


class Request(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    raw_path: str
    headers: Mapping[str, str]
    query: Mapping[str, list[str]]

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> Request:
        """Return it."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
            # A header on several lines is signed as its values joined by a comma.
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        query = parse_qs(scope.get("query_string", b"").decode("utf-8", "replace"), keep_blank_values=True)
        return cls(scope["method"], scope["path"], scope["raw_path"].decode("latin-1"), headers, query)

    @property
    def presigned(self) -> bool:
        """Whether the signature is in the address."""
        return "authorization" not in self.headers and "X-Amz-Signature" in self.query

    @property
    def by_old_url(self) -> bool:
        """Whether the signature is in the address, as S3 alone takes it: Signature Version 2."""
        return (
            "authorization" not in self.headers
            and not self.presigned
            and {"AWSAccessKeyId", "Signature"} <= set(self.query)
        )

    @property
    def signed_for_s3(self) -> bool:
        """Whether its signature is for S3."""
        scope = self.query.get("X-Amz-Credential", [""])[0] if self.presigned else self.headers.get("authorization", "")
        return self.by_old_url or "/s3/aws4_request" in scope

    @property
    def of_s3(self) -> bool:
        """Whether it is for S3, as far as anybody can tell."""
        found = _ministack("app").detect_service(self.method, self.path, self.headers, self.query)
        return bool(found == "s3")


class Gate:
    """Lets in who may.

    Args:
        application: ministack.
        secret: What the engine's requests, and those that it passes on, come with.
    """

    def __init__(self, application: Application, *, secret: str) -> None:
        self._application = application
        self._secret = secret.encode()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on to ministack, or refuse it."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not hmac.compare_digest(headers.get(SECRET.encode(), b""), self._secret):
            await _close(scope, send)
            return
        forwarded = FORWARDED.encode() in headers
        scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != SECRET.encode()]}
        request = Request.of(scope)
        if not forwarded:
            await self._let_in(request, "", scope, receive, send)
            return
        if request.path.startswith(_ADMINISTRATIVE):
            refused = RefusedError("AccessDenied", f"{request.path} is not for clients")
            await _refuse(request, refused, receive, send)
            return
        await self._authenticated(request, scope, receive, send)

    async def _authenticated(
        self, request: Request, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        payload = request.headers.get("x-amz-content-sha256", "")
        body = b""
        if not request.presigned and (not payload or payload.startswith("STREAMING-AWS4")):
            # It is signed, and nothing but itself tells its hash.
            body = await _whole(receive)
            receive = _again(body, receive)
        try:
            key = check(request, body)
        except RefusedError as error:
            await _refuse(request, error, receive, send)
            return
        if _HASH.fullmatch(payload):
            receive = _compared(receive, payload)
        await self._let_in(request, key, scope, receive, send)

    async def _let_in(
        self, request: Request, key: str, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        # Each request has a task of its own, and so a context.
        CALLER.set(key)
        REQUEST.set(request)
        try:
            await self._application(scope, receive, send)
        except RefusedError as error:
            # Nothing is answered before all of the body is there.
            await _refuse(request, error, receive, send, ended=True)


def check(request: Request, body: bytes) -> str:
    """Return the access key that a request is signed with.

    Args:
        request: The request.
        body: Its body, where that is needed to check the signature.

    Raises:
        RefusedError: It isn't signed, or not by somebody who is known.
    """
    evaluator = _ministack("core.iam_evaluator")
    key = _claimed(request)
    if _ministack("core.router").extract_access_key_id(request.headers, request.query) != key:
        # Signed by one, and to be done for another.
        raise _unknown()
    if evaluator.is_root_access_key(key) and key != os.environ["AWS_ACCESS_KEY_ID"]:
        # Dummies, and numbers of accounts, which ministack lets in.
        raise _unknown()
    try:
        account = _ministack("core.responses")._account_from_sts_session(key)  # noqa: SLF001 - ministack has no other way
        account = account or evaluator.find_iam_access_key_account(key) or os.environ["MINISTACK_ACCOUNT_ID"]
    except evaluator.AmbiguousAccessKeyError as error:
        raise _unknown() from error
    if request.by_old_url:
        _check_old(request, key, account)
    else:
        _check_signature(request, key, account, body)
    return key


def _claimed(request: Request) -> str:
    """Return the access key that a request says it is signed with.

    Raises:
        RefusedError: It says none.
    """
    if request.presigned:
        return request.query.get("X-Amz-Credential", [""])[0].partition("/")[0]
    if request.by_old_url:
        return request.query["AWSAccessKeyId"][0]
    if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise _anonymous() if request.of_s3 else _missing()
    return request.headers["authorization"].rpartition("Credential=")[2].partition("/")[0]


def _check_signature(request: Request, key: str, account: str, body: bytes) -> None:
    sigv4, evaluator = _ministack("core.sigv4"), _ministack("core.iam_evaluator")
    signature = (
        sigv4.parse_query_signature(request.query)
        if request.presigned
        else sigv4.parse_header_signature(request.headers)
    )
    if isinstance(signature, tuple):
        raise RefusedError(*signature)
    if "host" not in signature.signed_headers.lower().split(";"):
        raise RefusedError("SignatureDoesNotMatch", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if request.presigned:
        _check_time(request, signature.amz_date)
        token = request.query.get("X-Amz-Security-Token", [""])[0]
    else:
        late = sigv4.request_time_failure(signature)
        if late is not None:
            raise RefusedError(*late)
        token = request.headers.get("x-amz-security-token", "")
    credential = evaluator.resolve_credential(key, account, token)
    if isinstance(credential, evaluator.CredentialResolutionError):
        if credential.code == "UnrecognizedClientException":
            raise _unknown()
        raise RefusedError(credential.code, credential.message)
    failure = sigv4.header_signature_failure(
        signature,
        credential.secret_access_key,
        request.method,
        request.raw_path,
        request.query,
        request.headers,
        body,
        presigned=request.presigned,
    )
    if failure is not None:
        raise RefusedError(*failure)


def _check_time(request: Request, signed: str) -> None:
    """Check that an address is still good.

    Raises:
        RefusedError: It isn't.
    """
    expires = request.query.get("X-Amz-Expires", [""])[0]
    if not expires.isascii() or not expires.isdigit() or int(expires) > _LONGEST_PRESIGNED:
        message = f"X-Amz-Expires must be from 0 to {_LONGEST_PRESIGNED}, got {expires!r}"
        raise RefusedError("AuthorizationQueryParametersError", message)
    try:
        late = _ministack("core.sigv4").presigned_request_is_expired(signed, expires)
    except ValueError as error:
        message = f"X-Amz-Date must be as in 20260131T235959Z, got {signed!r}"
        raise RefusedError("AuthorizationQueryParametersError", message) from error
    if late:
        raise RefusedError("AccessDenied", "Request has expired")


def _check_old(request: Request, key: str, account: str) -> None:
    """Check an address that is signed as boto3 still does by default for S3, and as S3 alone takes it."""
    evaluator = _ministack("core.iam_evaluator")
    signed = evaluator.SignedRequest(
        key,
        request.method,
        request.raw_path,
        request.query,
        request.headers,
        sigv2=True,
        auth_path=request.raw_path,
    )
    checked = evaluator._sigv2_check(signed, account)  # noqa: SLF001 - ministack has no other way
    if isinstance(checked, evaluator.AuthError):
        raise RefusedError(checked.code, checked.message)
    if _ministack("app").detect_service(request.method, request.path, request.headers, request.query) != "s3":
        raise _missing()


async def _whole(receive: Receive) -> bytes:
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read, once more."""
    was_given = False

    async def once() -> Message:
        nonlocal was_given
        if was_given:
            return await receive()
        was_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def _compared(receive: Receive, wanted: str) -> Receive:
    """Return what gives a body and compares its hash with the one that was signed."""
    digest = hashlib.sha256()

    async def compared() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            digest.update(message.get("body", b""))
            if not message.get("more_body", False) and digest.hexdigest() != wanted:
                raise _altered()
        return message

    return compared


async def _refuse(
    request: Request, refused: RefusedError, receive: Receive, send: Send, *, ended: bool = False
) -> None:
    """Answer in the protocol of the service."""
    app, evaluator = _ministack("app"), _ministack("core.iam_evaluator")
    # To the end of its body: a client that is still sending would take an answer for a broken connection.
    while not ended and (message := await receive())["type"] == "http.request" and message.get("more_body", False):
        pass
    service = app.detect_service(request.method, request.path, request.headers, request.query)
    denied = evaluator.AuthError(refused.code, refused.message)
    # ministack has no other way.
    status, *answer = app._credential_failure(service, "", str(uuid.uuid4()), denied, dict(request.headers))  # noqa: SLF001
    await app._send_response(send, refused.status or status, *answer, head=request.method == "HEAD")  # noqa: SLF001


async def _close(scope: Mapping[str, Any], send: Send) -> None:
    """Answer whoever comes without the secret."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    text = b"this port is for the local AWS alone: use its endpoint\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _ministack(name: str) -> ModuleType:
    return importlib.import_module(f"ministack.{name}")
