"""Sends what became of asynchronous invocations to where the function wants it.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from cdk_distributed_map.local.events.targets import Parcel, Sender, Targets, UndeliveredError
from cdk_distributed_map.local.execution.clock import iso
from cdk_distributed_map.local.execution.ids import new_uuid
from cdk_distributed_map.local.execution.services import Services
from cdk_distributed_map.local.functions.asynchronous import EndedEvent

_SERVICE: Final = "lambda.amazonaws.com"


class Destinations:
    """Destinations and dead-letter queues of functions.

    Args:
        services: Where the clock is.
        targets: What can be sent to.
        warn: Called with what wasn't delivered, and why.
    """

    def __init__(self, services: Services, targets: Targets, *, warn: Callable[[str], None]) -> None:
        self._services = services
        self._targets = targets
        self._warn = warn

    async def ended(self, event: EndedEvent) -> None:
        """Send what became of an event, and the event itself where the function was given up on."""
        settings = event.config.events
        destination = settings.on_success if event.condition is None else settings.on_failure
        if destination is not None:
            await self._send(destination, self._record(event, destination), event)
        if event.condition is not None and settings.dead_letters is not None:
            error = json.loads(event.result.payload) if event.result is not None else {}
            attributes = {
                "RequestID": event.request_id,
                "ErrorCode": "200" if event.result is not None else "429",
                "ErrorMessage": str(error.get("errorMessage") or event.condition)[:1024],
            }
            await self._send(settings.dead_letters, Parcel(text=_text(event.payload), attributes=attributes), event)

    async def _send(self, arn: str, parcel: Parcel, event: EndedEvent) -> None:
        sender = Sender(service=_SERVICE, source=event.config.arn, role=event.config.role)
        with self._services.clock.real():
            try:
                await self._targets.send(arn, parcel, sender)
            except UndeliveredError as error:
                self._warn(
                    f"what became of the request {event.request_id} of the function {event.config.name} did not reach "
                    f"{arn}: {error}"
                )

    def _record(self, event: EndedEvent, destination: str) -> Parcel:
        result = event.result
        function = f"{event.config.arn}:{event.config.version}"
        message: dict[str, Any] = {
            "version": "1.0",
            "timestamp": iso(self._services.clock.now()),
            "requestContext": {
                "requestId": event.request_id,
                "functionArn": function,
                "condition": event.condition or "Success",
                "approximateInvokeCount": event.attempts,
            },
            "requestPayload": json.loads(_text(event.payload)),
        }
        if result is not None:
            failed = {} if result.function_error is None else {"functionError": result.function_error}
            message["responseContext"] = {"statusCode": 200, "executedVersion": result.executed_version, **failed}
            message["responsePayload"] = json.loads(_text(result.payload))
        text = json.dumps(message)
        record = {
            "EventId": new_uuid(),
            "Source": "lambda",
            "DetailType": f"Lambda Function Invocation Result - {'Success' if event.condition is None else 'Failure'}",
            "Detail": text,
            "Time": int(self._services.clock.now()),
            "Resources": [destination, function],
            "Account": self._services.account,
            "Region": self._services.region,
        }
        return Parcel(text=text, record=record)


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "replace") or "{}"
