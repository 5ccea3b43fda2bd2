"""Runs in the process of the embedded AWS: lets it say who may do what, also of calls that the engine answers.

The engine hands it such a call as it came, so that signature and session are looked at as those of any other, with a
header that asks for no more than that: where the caller may, the answer is 204, else it is the refusal.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

ONLY_ASKED: Final = "x-distmap-only-asked"
RESOURCE: Final = "x-distmap-resource"
"""Header with the ARN of what the call is about: the embedded AWS doesn't find it in all of them."""
_ANSWERED_ELSEWHERE: Final = ("states", "lambda")

Handler = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]


def only_asked(handler: Handler) -> Handler:
    """Return the handler of a service that does nothing where it is only asked."""

    async def handle(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any
    ) -> tuple[int, dict[str, str], bytes]:
        if ONLY_ASKED in headers:
            return 204, {}, b""
        return await handler(method, path, headers, body, query)

    return handle


def answer_who_may() -> None:
    """Let the embedded AWS answer whether a caller may, and name the resource in each refusal, as AWS does."""
    app = importlib.import_module("ministack.app")
    actions = importlib.import_module("ministack.core.iam_actions")
    handlers = vars(app)["SERVICE_HANDLERS"]
    handlers.update({name: only_asked(handlers[name]) for name in _ANSWERED_ELSEWHERE})
    resource_of, refuse, worded = (
        vars(actions)[name] for name in ("extract_resource_arn", "access_denied_response", "identity_denial_message")
    )

    def named(service: str, method: str, path: str, headers: Mapping[str, str], *rest: Any) -> str:
        given = headers.get(RESOURCE)
        return str(resource_of(service, method, path, headers, *rest)) if given is None else given

    def refused(service: str, action: str, principal: str, request_id: str, **more: Any) -> Any:
        by_resource = more.get("explicit_deny") and more.get("resource_policy_arn")
        if not more.get("message") and not more.get("error_code") and not by_resource:
            resource = more.get("resource_arn", "*")
            shown = f'"{resource}"' if service == "s3" else resource
            more["message"] = worded(action, principal, shown, bool(more.get("explicit_deny")))
        return refuse(service, action, principal, request_id, **more)

    vars(actions).update(extract_resource_arn=named, access_denied_response=refused)
