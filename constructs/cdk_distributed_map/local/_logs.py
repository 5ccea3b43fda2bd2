"""Writes what functions log to CloudWatch Logs of the embedded AWS, in batches and never in an invocation's way."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local.functions import FunctionConfig, InvokeResult

MOST_WAITING: Final = 20_000
"""Invocations whose logs may wait to be written; above it the oldest are dropped, and their number is logged."""
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_MOST_EVENTS: Final = 2_000
_PAUSE_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 2.0
"""Logs are written in a pause between invocations, and this long after an invocation at the latest."""


class LogWriter:
    """Writes logs from a thread of its own.

    Args:
        client: Returns a boto3 client of CloudWatch Logs.
        warn: Called when logs cannot be written, once.
    """

    def __init__(self, client: Callable[[], Any], *, warn: Callable[[str], None]) -> None:
        self._client = client
        self._warn = warn
        self._waiting: deque[tuple[str, float, str]] = deque()
        self._taken = 0
        self._dropped = 0
        self._known: set[tuple[str, str]] = set()
        self._stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[$LATEST]local"
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="distmap-logs", daemon=True)
        self._thread.start()

    def write(self, config: FunctionConfig, result: InvokeResult) -> None:
        """Take in the log of an invocation."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append((config.log_group, time.time(), result.log))
        self._taken += 1

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._closed = True
        self._wake.set()
        self._thread.join(10)

    def _run(self) -> None:
        warned = False
        while True:
            closing = self._closed
            try:
                self._flush()
            except (BotoCoreError, ClientError) as error:
                if not warned and not closing:
                    self._warn(f"logs of functions cannot be written: {error}")
                warned = True
            if closing:
                return
            self._wait()

    def _wait(self) -> None:
        """Wait for a pause in which nothing runs, as far as that may be waited for."""
        give_up = time.monotonic() + _LONGEST_DELAY_SECONDS
        before = None
        while before != self._taken and time.monotonic() < give_up:
            before = self._taken
            if self._wake.wait(_PAUSE_SECONDS):
                return

    def _flush(self) -> None:
        groups: dict[str, list[dict[str, Any]]] = {}
        for _ in range(len(self._waiting)):
            group, at, text = self._waiting.popleft()
            events = groups.setdefault(group, [])
            events += [{"timestamp": int(at * 1000), "message": line} for line in text.splitlines() if line]
        if self._dropped and groups:
            message = f"the logs of {self._dropped} invocations were dropped: there were too many at once"
            next(iter(groups.values())).append({"timestamp": int(time.time() * 1000), "message": message})
            self._dropped = 0
        client = self._client() if groups else None
        for group, events in groups.items():
            self._ensure(client, group)
            for start in range(0, len(events), _MOST_EVENTS):
                client.put_log_events(  # type: ignore[union-attr] # there is one where there are groups
                    logGroupName=group, logStreamName=self._stream, logEvents=events[start : start + _MOST_EVENTS]
                )

    def _ensure(self, client: Any, group: str) -> None:
        if (group, self._stream) in self._known:
            return
        for call, arguments in (
            (client.create_log_group, {"logGroupName": group}),
            (client.create_log_stream, {"logGroupName": group, "logStreamName": self._stream}),
        ):
            try:
                call(**arguments)
            except client.exceptions.ResourceAlreadyExistsException:
                continue
        self._known.add((group, self._stream))
