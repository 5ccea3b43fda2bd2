"""``on_items_failed``: each item that did not succeed as a message of a queue or an event, once its rounds are over.

The lines of ``failures.jsonl`` are sent, each at least once to each target. How far each of them got is in
``ledger.json``, so that another invocation, or a redrive after a target was put right, goes on there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from distmap._account_event import Request
from distmap._deadline import Deadline
from distmap._errors import DistmapError, PushFailedError, name_of
from distmap._identity import identifier_of
from distmap._stream import lines, object_chunks
from distmap._targets import Message, Refusal, Target, send, target_of
from distmap.limits import MAX_SEND_BYTES, MAX_SEND_ENTRIES
from distmap.wire import FAILURES_FILE, FailedItemPlace, PushedTo

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WINDOW_LINES: Final = 1_000
_WINDOW_BYTES: Final = 8 * 1024**2
"""What is in memory at once, and sent before it is looked whether the deadline is near."""
_AT_ONCE: Final = 8
_WAITS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Seconds before what was refused for the moment is sent again; boto3 has tried whole requests ten times by then."""


def to_push(request: Request, previous: dict[str, Any] | None, count: int) -> list[PushedTo]:
    """Return how far each target is before anything is sent.

    Args:
        request: What is accounted for.
        previous: Its ledger, where an earlier invocation accounted for the same; None where that is new.
        count: Lines of ``failures.jsonl``, where that is new.
    """
    earlier = {(entry["kind"], entry["name"]): entry for entry in (previous or {}).get("pushed") or ()}
    count = max((entry["of"] for entry in earlier.values()), default=count)
    pushed_to: list[PushedTo] = []
    targets = {(target["kind"], target["name"]): target for target in request.settings["targets"]}  # each once
    for name, target in targets.items():
        new: PushedTo = {**target, "pushed": 0, "of": count, "error": None, "line": 0, "byte": 0, "etag": ""}
        pushed_to.append(earlier.get(name, new))
    return pushed_to


def is_same_account(request: Request, previous: dict[str, Any] | None) -> bool:
    """Whether an earlier invocation accounted for just this, and began to push it.

    Then its ``failures.jsonl`` is left as it is: some have been sent where in it their items are.
    """
    if previous is None or not previous.get("pushed"):
        return False
    return bool(previous["redriveCount"] == request.redrive_count or previous["error"] == name_of(PushFailedError))


def is_pushed(progress: Sequence[PushedTo]) -> bool:
    """Whether every target got all of its messages."""
    return all(target["line"] >= target["of"] for target in progress)


def push_error(progress: Sequence[PushedTo], error: DistmapError | None) -> DistmapError | None:
    """Return what a run fails with, from what it fails with anyway and what wasn't taken."""
    refusals = [_text_of_refused(target) for target in progress if target["error"] is not None]
    if not refusals:
        return error
    text = f"{'; '.join(refusals)}; a redrive of the run goes on with the first that wasn't taken"
    return PushFailedError(text) if error is None else type(error)(f"{error}; {text}")


def _text_of_refused(target: PushedTo) -> str:
    kind = "queue" if target["kind"] == "queue" else "event bus"
    return (
        f"{target['of'] - target['pushed']:,} of {target['of']:,} items that did not succeed were not taken by the "
        f"{kind} {target['name']}: {target['error']}"
    )


class _Progress:
    """How far a target is."""

    def __init__(self, pushed: PushedTo, target: Target, etag: str) -> None:
        self.pushed, self.target = pushed, target
        if pushed["etag"] != etag:
            pushed |= {"line": 0, "byte": 0, "etag": etag}
        # Those behind the first that wasn't taken are sent again: which of them were isn't noted one by one.
        pushed |= {"pushed": pushed["line"], "error": None}
        self.first = pushed["line"]
        self.gave_up: str | None = None

    def note(self, sent: int, refused: Sequence[tuple[Message, str]], line: int, byte: int) -> None:
        """Note a window of lines, and where the next one begins."""
        pushed = self.pushed
        pushed["pushed"] += sent - len(refused)
        if pushed["error"] is None and refused:
            first, reason = min(refused, key=lambda refusal: refusal[0].line)
            pushed |= {"line": first.line, "byte": first.byte, "error": reason}
        elif pushed["error"] is None:
            pushed |= {"line": line, "byte": byte}


class Push:
    """Messages on their way to all targets."""

    def __init__(self, s3: S3Client, request: Request, progress: list[PushedTo]) -> None:
        """Find out where each target goes on.

        Args:
            s3: The client to read with.
            request: What is accounted for.
            progress: How far each target is; changed as it goes.
        """
        self._s3, self._request = s3, request
        self._bucket, self._key = request.run["bucket"], f"{request.run['prefix']}/{FAILURES_FILE}"
        self._etag, self._at = "", (0, 0)
        self._all: list[_Progress] = []
        if not is_pushed(progress):
            self._etag = s3.head_object(Bucket=self._bucket, Key=self._key)["ETag"]
            self._all = [
                _Progress(each, target_of({"kind": each["kind"], "name": each["name"]}, request.run["id"]), self._etag)
                for each in progress
                if each["line"] < each["of"]
            ]
            self._at = min((each.pushed["line"], each.pushed["byte"]) for each in self._all)
        first: Any = None if request.items is None else request.items.get("firstRun")
        run = request.run
        begin = first if isinstance(first, str) else run.get("firstRun", run["id"])
        self._key_begins = f"{begin}{run['path']}/"
        self._head = {"pipeline": request.settings["pipeline"], "runId": run["id"], "runName": run["name"]}

    def go_on(self, deadline: Deadline) -> bool:
        """Send until everything is sent or refused, or the deadline comes near; return whether the end was reached.

        Something is sent in any case.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most runs push nothing

        sent = False
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="distmap-push") as pool:
            for window in self._windows():
                waiting = [target for target in self._all if target.gave_up is None]
                if not waiting:
                    break
                if sent and deadline.is_near():
                    return False
                started = monotonic()
                self._send_window(pool, waiting, window)
                deadline.learn(started, monotonic())
                sent = True
        for target in self._all:
            if target.pushed["error"] is None and target.pushed["line"] < target.pushed["of"]:
                target.pushed["error"] = f"s3://{self._bucket}/{self._key} has only {target.pushed['line']:,} lines"
        return True

    def suspend(self) -> dict[str, Any]:
        """Leave it for another invocation, and return what that one needs."""
        targets = [[target.pushed, target.first, target.gave_up] for target in self._all]
        return {"etag": self._etag, "at": self._at, "targets": targets}

    def resume(self, suspended: dict[str, Any]) -> None:
        """Take up what :meth:`suspend` returned; where the file was written anew since, it is sent anew."""
        if suspended["etag"] != self._etag:
            return
        self._at = (suspended["at"][0], suspended["at"][1])
        for target, (pushed, first, gave_up) in zip(self._all, suspended["targets"], strict=True):
            target.pushed |= pushed
            target.first, target.gave_up = first, gave_up

    def _windows(self) -> Iterator[list[tuple[int, int, bytes]]]:
        if not self._all:
            return
        number, byte = self._at
        window: list[tuple[int, int, bytes]] = []
        size = 0
        for raw in lines(object_chunks(self._s3, self._bucket, self._key, start=byte, etag=self._etag)):
            window.append((number, byte, raw))
            number, byte, size = number + 1, byte + len(raw) + 1, size + len(raw)
            if len(window) >= WINDOW_LINES or size >= _WINDOW_BYTES:
                yield window
                window, size = [], 0
        if window:
            yield window

    def _send_window(self, pool: Any, waiting: Sequence[_Progress], window: list[tuple[int, int, bytes]]) -> None:
        last, begin, raw = window[-1]
        self._at = (last + 1, begin + len(raw) + 1)
        sent = []
        for target in waiting:
            messages = [self._message(*line) for line in window if line[0] >= target.first]
            batches = list(_batches(messages, target.target.overhead))
            sent.append((target, len(messages), [pool.submit(_deliver, target, batch) for batch in batches]))
        for target, count, answers in sent:
            refused = [refused for answer in answers for refused in answer.result()]
            target.note(count, refused, *self._at)

    def _message(self, number: int, byte: int, raw: bytes) -> Message:
        failed = json.loads(raw)
        key = None
        if failed["index"] is not None:
            path = f"{failed['path']}/" if "path" in failed else ""
            key = f"{self._key_begins}{path}{identifier_of(failed['index'], failed.get('source'))}"
        place: FailedItemPlace = {
            "bucket": self._bucket,
            "key": self._key,
            "range": f"bytes={byte}-{byte + len(raw) - 1}",
            "etag": self._etag,
            "line": number,
        }
        return Message(raw, {**self._head, "key": key}, place, byte)


def _batches(messages: Sequence[Message], overhead: int) -> Iterator[list[Message]]:
    batch: list[Message] = []
    size = 0
    for message in messages:
        more = message.size + overhead
        if batch and (len(batch) == MAX_SEND_ENTRIES or size + more >= MAX_SEND_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += more
    if batch:
        yield batch


def _deliver(progress: _Progress, messages: Sequence[Message]) -> list[tuple[Message, str]]:
    """Send messages until they are taken, and return those that weren't, with the reason."""
    refused: list[tuple[Message, str]] = []
    for wait in (*_WAITS, None):
        if progress.gave_up is not None:
            return [*refused, *((message, progress.gave_up) for message in messages)]
        again = []
        for number, refusal in send(progress.target, messages).items():
            if wait is not None and _is_worth_more(messages[number], refusal):
                again.append(messages[number])
                continue
            refused.append((messages[number], refusal.reason))
            if refusal.of_target or refusal.passes:
                progress.gave_up = refusal.reason
        if not again or wait is None:
            break
        messages = again
        sleep(wait)
    return refused


def _is_worth_more(message: Message, refusal: Refusal) -> bool:
    if refusal.passes:
        return True
    if refusal.of_target or message.by_reference:
        return False
    message.refer()  # it may be what the item holds, or its size: a queue can be made to take less
    return True
