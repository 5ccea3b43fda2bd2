"""Messages of items that did not succeed: to queues and event buses, each in the form of its service."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from distmap._clients import client_of
from distmap._errors import error_text, type_name
from distmap._json import encode
from distmap.limits import PUSH_BYTES, PUSH_CAUSE_CHARACTERS
from distmap.wire import FAILED_ITEM_DETAIL_TYPE, FAILED_ITEM_SOURCE, FailedItemPlace, FailedItemsTarget

_PASSING: Final = ("Throttl", "Internal", "Unavailable", "Timeout", "OverLimit")
"""Parts of the names of errors that pass by themselves."""
_OF_TARGET: Final = ("AccessDenied", "NotAuthorized", "InvalidAccountId", "NonExistent", "NotFound")
"""Parts of the names of errors of one message that all others will meet too."""
_OF_CONTENT: Final = ("BatchRequestTooLong", "InvalidMessageContents", "InvalidParameterValue", "ValidationException")
"""Errors of a whole request that are about what is in it."""
_REGION_OF_QUEUE: Final = re.compile(r"https://sqs\.([a-z0-9-]+)\.")
_MOST_WORDS: Final = 500
_MOST_NAME: Final = 1_000
# JSON has them, but no message of SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
_UNSENDABLE: Final = str.maketrans({"\ufffe": "\\ufffe", "\uffff": "\\uffff"})


class Refusal(NamedTuple):
    """Why something wasn't taken."""

    reason: str
    passes: bool
    """Whether it may be taken later."""
    of_target: bool = False
    """Whether the target takes nothing, whatever is sent to it."""


class Message:
    """An item that did not succeed, on its way to one target.

    Attributes:
        line: Number of its line in ``failures.jsonl``, from 0.
        byte: Where that begins.
        text: What is sent.
        by_reference: Whether its item is left out for where it is.
    """

    __slots__ = ("_head", "_place", "_raw", "by_reference", "byte", "id", "line", "text")

    def __init__(self, raw: bytes, head: dict[str, Any], place: FailedItemPlace, byte: int) -> None:
        """Make the message of a line.

        Args:
            raw: The line.
            head: What the message says beside it.
            place: Where the line is.
            byte: Where it begins.
        """
        self._raw, self._head, self._place, self.byte = raw, head, place, byte
        self.line, self.by_reference = place["line"], False
        # Equal lines are the same end of the same item; only of one without an identity that isn't known.
        known = head["key"] or f"{head['runId']} {self.line}"
        self.id = (_digest(known.encode()), _digest(known.encode(), raw))
        self.text = (encode(head, what="a message")[:-1] + b"," + raw.strip()[1:]).decode().translate(_UNSENDABLE)
        if self.size > PUSH_BYTES:
            self.refer()

    @property
    def size(self) -> int:
        """Bytes of the text."""
        return len(self.text) if self.text.isascii() else len(self.text.encode())

    def refer(self) -> None:
        """Leave the item out, and say where it is."""
        self.by_reference = True
        failed = json.loads(self._raw)
        del failed["item"]
        for name, most in (("error", _MOST_NAME), ("cause", PUSH_CAUSE_CHARACTERS)):
            failed[name] = failed[name] and failed[name][:most]
        text = encode({**self._head, **failed, "itemAt": self._place}, what="a message")
        self.text = text.decode().translate(_UNSENDABLE)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


class Target(Protocol):
    """A queue or an event bus that gets messages."""

    overhead: int
    """Bytes that count for each message beside its text."""

    def send(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        """Send messages, and return which of them were refused, by their position."""


class _Queue:
    overhead = 0

    def __init__(self, url: str) -> None:
        found = _REGION_OF_QUEUE.match(url)
        self._url, self._client = url, client_of("sqs", None if found is None else found[1])
        self._in_order = url.endswith(".fifo")

    def send(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        entries = []
        for number, message in enumerate(messages):
            entry = {"Id": str(number), "MessageBody": message.text}
            if self._in_order:
                # A group for each item: their order is none, so that none waits for another.
                entry |= {"MessageGroupId": message.id[0], "MessageDeduplicationId": message.id[1]}
            entries.append(entry)
        answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        return {
            int(each["Id"]): _refusal(each["Code"], each.get("Message"), passes=not each["SenderFault"])
            for each in answer.get("Failed", [])
        }


class _Bus:
    def __init__(self, name: str, run_id: str) -> None:
        region = name.split(":")[3] if name.startswith("arn:") else None
        self._name, self._run_id, self._client = name, run_id, client_of("events", region)
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html#eb-putevent-size
        self.overhead = len((FAILED_ITEM_SOURCE + FAILED_ITEM_DETAIL_TYPE + run_id).encode())

    def send(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        same = {
            "EventBusName": self._name,
            "Source": FAILED_ITEM_SOURCE,
            "DetailType": FAILED_ITEM_DETAIL_TYPE,
            "Resources": [self._run_id],
        }
        answer = self._client.put_events(Entries=[{**same, "Detail": message.text} for message in messages])
        return {
            number: _refusal(each["ErrorCode"], each.get("ErrorMessage"))
            for number, each in enumerate(answer["Entries"])
            if each.get("ErrorCode")
        }


def target_of(settings: FailedItemsTarget, run_id: str) -> Target:
    """Return the target of these settings."""
    return _Queue(settings["name"]) if settings["kind"] == "queue" else _Bus(settings["name"], run_id)


def send(target: Target, messages: Sequence[Message]) -> dict[int, Refusal]:
    """Send messages once, and return which of them were refused, by their position, and why."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - boto3 is imported on first use

    try:
        return target.send(messages)
    except ClientError as error:
        found: Any = error.response.get("Error", {})
        code = str(found.get("Code"))
        refusal = _refusal(code, found.get("Message"))._replace(of_target=code not in _OF_CONTENT)
    except BotoCoreError as error:
        refusal = Refusal(f"{type_name(error)}: {error_text(error)[:_MOST_WORDS]}", passes=False, of_target=True)
    return dict.fromkeys(range(len(messages)), refusal)


def _refusal(code: str, message: Any, *, passes: bool = False) -> Refusal:
    passes = passes or any(part in code for part in _PASSING)
    of_target = not passes and any(part in code for part in _OF_TARGET)
    return Refusal(f"{code}: {message!s:.{_MOST_WORDS}}", passes, of_target)
