"""Delivers what rules of EventBridge, and schedules of its Scheduler, have matched.

Whatever isn't delivered goes to the target's dead-letter queue where it has one, and is said in the log in any case.
Nothing is tried again here: what AWS tries again are failures of its own services and of networks.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from cdk_distributed_map.local.events.inputs import InputError, text
from cdk_distributed_map.local.events.targets import Parcel, Sender, Targets, UndeliveredError
from cdk_distributed_map.local.execution.ids import new_uuid
from cdk_distributed_map.local.execution.services import Services

_OF_RULES: Final = "events.amazonaws.com"
_OF_SCHEDULES: Final = "scheduler.amazonaws.com"
_INPUTS: Final = ("Input", "InputPath", "InputTransformer")


class Deliveries:
    """Takes what was matched and delivers it in the background, on the engine's loop.

    Args:
        services: Where the clock is.
        targets: What can be sent to.
        warn: Called with what wasn't delivered, and why.
    """

    def __init__(self, services: Services, targets: Targets, *, warn: Callable[[str], None]) -> None:
        self._services = services
        self._targets = targets
        self._warn = warn
        self._said: set[tuple[str, str, str]] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        """The last delivery to each target."""

    async def take(self, matched: Mapping[str, Any]) -> None:
        """Take a target, its rule and the event in, and return at once: each target gets its events in their order.

        Args:
            matched: ``target`` as PutTargets takes it, ``rule`` with its ``name`` and ``arn``, the ``event``, and
                ``routed``: whether it comes from another bus.
        """
        arn = str(matched["target"]["Arn"])
        before = self._under_way.get(arn)
        task = self._under_way[arn] = asyncio.get_running_loop().create_task(self._deliver(matched, before))

        def done(_: object) -> None:
            if self._under_way.get(arn) is task:
                del self._under_way[arn]

        task.add_done_callback(done)

    async def _deliver(self, matched: Mapping[str, Any], before: asyncio.Task[None] | None) -> None:
        target, rule, event = matched["target"], matched["rule"], matched["event"]
        service = _OF_SCHEDULES if ":schedule/" in rule["arn"] else _OF_RULES
        sender = Sender(service=service, source=rule["arn"], role=target.get("RoleArn"))
        # Time isn't skipped while an event is on its way.
        with self._services.clock.real():
            if before is not None:
                await asyncio.wait({before})
            try:
                await self._targets.send(str(target["Arn"]), _parcel(matched), sender)
            except UndeliveredError as error:
                self._say(rule["arn"], target["Arn"], f"{error} (the event {event['id']})", about=str(error))
                await self._bury(matched, sender, error)

    async def _bury(self, matched: Mapping[str, Any], sender: Sender, error: UndeliveredError) -> None:
        target = matched["target"]
        queue = (target.get("DeadLetterConfig") or {}).get("Arn")
        if queue is None:
            return
        attributes = {
            "RULE_ARN": sender.source,
            "TARGET_ARN": str(target["Arn"]),
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": str(error),
        }
        if sender.service == _OF_RULES:
            # The role of a target is for the target alone; a schedule's is for its queue too.
            sender = replace(sender, role=None)
        parcel = Parcel(text=json.dumps(matched["event"]), attributes=attributes)
        try:
            await self._targets.send(queue, parcel, sender)
        except UndeliveredError as refused:
            self._say(
                sender.source, queue, f"{refused} (as the dead-letter queue of {target['Arn']})", about=str(refused)
            )

    def _say(self, rule: str, target: str, why: str, *, about: str) -> None:
        """Say what did not reach a target, once for each reason."""
        if (rule, target, about) not in self._said:
            self._said.add((rule, target, about))
            self._warn(f"what {rule} matches does not reach {target}: {why}")


def _parcel(matched: Mapping[str, Any]) -> Parcel:
    """Return what a target is sent.

    Raises:
        UndeliveredError: It can't be made of the event, or the event has come as far as events go.
    """
    target, rule, event = matched["target"], matched["rule"], matched["event"]
    try:
        sent = text(target, rule, event)
    except InputError as error:
        raise UndeliveredError("INVALID_PARAMETER", str(error)) from error
    to_bus = ":event-bus/" in str(target["Arn"])
    if to_bus and matched["routed"]:
        message = "it comes from another bus already, and EventBridge takes no event further than that"
        raise UndeliveredError("INVALID_PARAMETER", message)
    whole = not any(target.get(name) for name in _INPUTS)
    return Parcel(
        text=sent,
        record=_record(event) if to_bus and whole else None,
        group=(target.get("SqsParameters") or {}).get("MessageGroupId"),
        name=f"{event['id']}_{new_uuid()}",
    )


def _record(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as the embedded AWS keeps events, marked as one that comes from another bus."""
    return {
        "EventId": event["id"],
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps(event["detail"]),
        "Time": event["time"],
        "Resources": event["resources"],
        "Account": event["account"],
        "Region": event["region"],
        "_DispatchPath": ["routed"],
    }
