"""Lets the rules of the embedded EventBridge hand what they match to the engine, and the engine send events of AWS.

ministack keeps buses and rules and matches patterns as AWS does. What a rule has matched goes to the engine, each
target with its event: the engine has the functions and the state machines, and knows who may what. In the other
direction the engine puts events as a service of AWS does, whose sources ``PutEvents`` takes from nobody.

It runs in the process of the embedded AWS and imports nothing of the engine.
"""

from __future__ import annotations

import importlib
import json
import logging
import urllib.request
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from cdk_distributed_map.local.embedded.headers import SECRET
from cdk_distributed_map.local.embedded.schedules import SECONDS

PUT_PATH = "/_distmap/events"
"""Where the engine puts events; none of the embedded AWS's own paths."""
TARGETS_PATH = "/_distmap/targets"
"""Where the engine takes what rules have matched."""
TARGETS_VARIABLE = "DISTMAP_TARGETS"
"""Environment variable with the address of that."""
_SECONDS = 10
_LOGGER = logging.getLogger("events")
_MESSAGE = MutableMapping[str, Any]
_Application = Callable[[_MESSAGE, Any, Any], Awaitable[None]]


def hand_over(url: str, secret: str) -> None:
    """Let rules hand the targets of what they match to the engine.

    Args:
        url: Address of the engine.
        secret: What it knows this process by.
    """
    eventbridge = importlib.import_module("ministack.services.eventbridge")
    # No proxy: a proxy of this machine would be asked for loopback too.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    view_of = vars(eventbridge)["_pattern_event_view"]

    def invoke_target(target: Any, event: Any, rule: Any, view: Any = None) -> None:
        invocation = {
            "target": target,
            # A schedule of EventBridge Scheduler comes here too: it has an ARN of its own, and no rule.
            "rule": {"name": rule.get("Name", ""), "arn": rule.get("Arn", "")},
            "event": (view or view_of(event)).event_with_detail(),
            "routed": bool(event.get("_DispatchPath")),
        }
        body = json.dumps(invocation).encode()
        headers = {SECRET: secret, "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the engine's own address
        try:
            # The engine only takes it in: nothing of this process is asked for before it answers.
            with opener.open(request, timeout=_SECONDS):
                pass
        except OSError:
            _LOGGER.exception("what %s has matched could not be handed to the engine", rule.get("Arn"))

    vars(eventbridge)["_invoke_target"] = invoke_target


def look_at_schedules() -> None:
    """Let schedules, of Scheduler and of rules, fire on the second: ministack looks every ten."""
    for service, interval in (("scheduler", "_SCHEDULE_TICK_INTERVAL"), ("eventbridge", "_SCHEDULER_TICK_INTERVAL")):
        known = vars(importlib.import_module(f"ministack.services.{service}"))
        known[interval] = min(SECONDS, known[interval])


def taking_events(application: _Application) -> _Application:
    """Return the application, which takes events of the engine as well: nobody else gets as far as such a path."""

    async def taking(scope: _MESSAGE, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PUT_PATH:
            await application(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        missing = [record["EventBusName"] for record in json.loads(body) if not _put(record)]
        status = 404 if missing else 204
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return taking


def _put(record: dict[str, Any]) -> bool:
    """Put one event on its bus, as ministack does with those of its own services; tell whether there is the bus."""
    eventbridge = vars(importlib.import_module("ministack.services.eventbridge"))
    responses = importlib.import_module("ministack.core.responses")
    responses.set_request_account_id(record["Account"])
    responses.set_request_region(record["Region"])
    eventbridge["_ensure_default_bus"]()
    if record["EventBusName"] not in eventbridge["_event_buses"]:
        return False
    view = eventbridge["_pattern_event_view"](record)
    eventbridge["_dispatch_event"](record, view)
    eventbridge["_archive_event"]({name: value for name, value in record.items() if name != "_DispatchPath"}, view)
    return True
