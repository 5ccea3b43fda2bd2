"""Sends to what a service may send to on somebody's behalf: functions, queues, topics, buses and state machines.

Under enforced IAM it is asked first who may: the role that the sender was given, else the policy of what is sent to.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map import arns
from cdk_distributed_map.local.errors import ApiError, UnsupportedError
from cdk_distributed_map.local.events.bus import Bus
from cdk_distributed_map.local.execution.ids import new_uuid
from cdk_distributed_map.local.execution.services import Services
from cdk_distributed_map.local.functions import Functions, ServiceError
from cdk_distributed_map.local.iam.foreign_arns import elsewhere

if TYPE_CHECKING:
    from cdk_distributed_map.local.iam.roles import RolePolicies

KINDS: Final = "Lambda functions, SQS queues, SNS topics, event buses and state machines"
_ACTIONS: Final = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "events": "events:PutEvents",
    "states": "states:StartExecution",
}
# What has no policy that the engine evaluates is sent to under a role.
_UNDER_ROLES: Final = frozenset({"events", "states"})
_BUS: Final = "event-bus/"
_KEY_ACTIONS: Final = ("kms:GenerateDataKey", "kms:Decrypt")


class UndeliveredError(Exception):
    """What was to be sent wasn't taken.

    Args:
        code: EventBridge's code of the error.
        message: What is wrong, and the remedy where it is known.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends, and for what.

    Args:
        service: Principal of the service.
        source: ARN of the rule or function it sends for.
        role: ARN of the role it sends under, None for none.
    """

    service: str
    source: str
    role: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What is sent.

    Args:
        text: The text.
        record: The event as the embedded AWS keeps events, where it may go to a bus.
        group: Message group of a FIFO queue.
        attributes: Message attributes of a queue or a topic.
        name: Name of an execution. Default: one that is new.
    """

    text: str
    record: Mapping[str, Any] | None = None
    group: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None

    @property
    def message_attributes(self) -> dict[str, dict[str, str]]:
        """Its attributes as SQS and SNS take them."""
        return {name: {"DataType": "String", "StringValue": value} for name, value in self.attributes.items()}


class Targets:
    """What can be sent to; everything here runs on the engine's loop.

    Args:
        services: Where clients and the API are.
        functions: Runs functions.
        roles: Decides who may; None where everybody may.
        bus: The buses.
    """

    def __init__(self, services: Services, functions: Functions, roles: RolePolicies | None, bus: Bus) -> None:
        self._services = services
        self._functions = functions
        self._roles = roles
        self._bus = bus
        self._kinds: dict[str, Callable[[str, Parcel, Sender], Awaitable[None]]] = {
            "lambda": self._invoke,
            "sqs": self._queue,
            "sns": self._publish,
            "events": self._put,
            "states": self._start,
        }

    async def send(self, arn: str, parcel: Parcel, sender: Sender) -> None:
        """Send to a target.

        Raises:
            UndeliveredError: It wasn't taken: nobody may, there is no such target, or it refused.
        """
        target = arns.split(arn)
        kind = "" if target is None else target.service
        if target is None or kind not in self._kinds or (kind == "events" and not target.resource.startswith(_BUS)):
            raise UndeliveredError(
                "INVALID_PARAMETER", f"the local AWS delivers to {KINDS} alone: use one of these here"
            )
        away = elsewhere(arn, self._services)
        if away is not None:
            raise UndeliveredError("NO_RESOURCE", away)
        if kind in _UNDER_ROLES and sender.role is None:
            message = "the target has no role, under which event buses and state machines are sent to: give a RoleArn"
            raise UndeliveredError("NO_PERMISSIONS", message)
        await self._allowed(_ACTIONS[kind], arn, sender)
        try:
            await self._kinds[kind](arn, parcel, sender)
        except ServiceError as error:
            code = "NO_RESOURCE" if error.code == "ResourceNotFoundException" else "ERROR_FROM_TARGET"
            raise UndeliveredError(code, f"{error.code}: {error.message}") from error
        except ApiError as error:
            code = "NO_RESOURCE" if error.code == "StateMachineDoesNotExist" else "ERROR_FROM_TARGET"
            raise UndeliveredError(code, f"{error.code}: {error.message}") from error
        except LookupError as error:
            raise UndeliveredError("NO_RESOURCE", f"there is no event bus {error}") from error
        except (BotoCoreError, ClientError) as error:
            gone = any(word in str(error) for word in ("NonExistentQueue", "QueueDoesNotExist", "NotFound"))
            raise UndeliveredError("NO_RESOURCE" if gone else "ERROR_FROM_TARGET", str(error)) from error

    async def _allowed(self, action: str, resource: str, sender: Sender, keys: Mapping[str, str] | None = None) -> None:
        """Check that the sender may.

        Raises:
            UndeliveredError: It may not.
        """
        roles = self._roles
        if roles is None:
            return

        def refusal() -> str | None:
            context = {**(keys or {}), "aws:SourceArn": _source(sender.source)}
            if sender.role is None:
                return roles.refuses_service(sender.service, action, resource, context)
            return roles.check(sender.role, action, resource, context, service=sender.service)

        try:
            refused = await self._services.blocking(refusal)
        except UnsupportedError as error:
            refused = str(error)
        if refused is not None:
            raise UndeliveredError("NO_PERMISSIONS", refused)

    async def _key_allowed(self, service: str, key: str | None, sender: Sender) -> None:
        """Check that the sender may use the key of a queue or topic, where it has one of its own.

        Raises:
            UndeliveredError: It may not.
        """
        if not key or self._roles is None:
            return
        client = self._services.clients.client("kms")
        described = await self._services.blocking(lambda: client.describe_key(KeyId=key))
        via = {"kms:ViaService": f"{service}.{self._services.region}.amazonaws.com"}
        for action in _KEY_ACTIONS:
            await self._allowed(action, described["KeyMetadata"]["Arn"], sender, via)

    async def _invoke(self, arn: str, parcel: Parcel, sender: Sender) -> None:
        del sender
        try:
            json.loads(parcel.text)
        except ValueError as error:
            raise UndeliveredError(
                "INVALID_JSON", f"a function takes JSON alone ({error}): put quotes around text"
            ) from error
        await self._functions.post(arn, parcel.text.encode())

    async def _queue(self, arn: str, parcel: Parcel, sender: Sender) -> None:
        client, name = self._services.clients.client("sqs"), arn.rsplit(":", 1)[-1]
        if name.endswith(".fifo") and parcel.group is None:
            raise UndeliveredError("INVALID_PARAMETER", "a FIFO queue needs the MessageGroupId of SqsParameters")
        url = (await self._services.blocking(lambda: client.get_queue_url(QueueName=name)))["QueueUrl"]
        asked = {"QueueUrl": url, "AttributeNames": ["KmsMasterKeyId"]}
        found = await self._services.blocking(lambda: client.get_queue_attributes(**asked))
        await self._key_allowed("sqs", found.get("Attributes", {}).get("KmsMasterKeyId"), sender)
        group = {} if parcel.group is None else {"MessageGroupId": parcel.group}
        if name.endswith(".fifo"):
            group["MessageDeduplicationId"] = new_uuid()
        message = {"QueueUrl": url, "MessageBody": parcel.text, "MessageAttributes": parcel.message_attributes, **group}
        await self._services.blocking(lambda: client.send_message(**message))

    async def _publish(self, arn: str, parcel: Parcel, sender: Sender) -> None:
        client = self._services.clients.client("sns")
        found = await self._services.blocking(lambda: client.get_topic_attributes(TopicArn=arn))
        await self._key_allowed("sns", found["Attributes"].get("KmsMasterKeyId"), sender)
        message = {"TopicArn": arn, "Message": parcel.text, "MessageAttributes": parcel.message_attributes}
        await self._services.blocking(lambda: client.publish(**message))

    async def _put(self, arn: str, parcel: Parcel, sender: Sender) -> None:
        del sender
        if parcel.record is None:
            raise UndeliveredError("INVALID_PARAMETER", "an event goes to another bus as it is: leave out its input")
        await self._bus.put({**parcel.record, "EventBusName": arns.parse(arn).resource.removeprefix(_BUS)})

    async def _start(self, arn: str, parcel: Parcel, sender: Sender) -> None:
        del sender
        assert self._services.starter is not None  # noqa: S101 - the engine's API is there
        parameters = {"stateMachineArn": arn, "input": parcel.text, "name": parcel.name or new_uuid()}
        await self._services.starter.call("StartExecution", parameters)


def _source(arn: str) -> str:
    """Return what a service names as the source: Scheduler the group of a schedule, and not the schedule.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    """
    return arn.replace(":schedule/", ":schedule-group/").rsplit("/", 1)[0] if ":schedule/" in arn else arn
