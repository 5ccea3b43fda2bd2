"""Writes what functions log to CloudWatch Logs of the embedded AWS, in batches and never in an invocation's way.

Metrics that are in the lines, in the embedded metric format, go to CloudWatch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local.functions import FunctionConfig, InvokeResult
from cdk_distributed_map.local.functions.metrics import MetricError, metrics_of

MOST_WAITING: Final = 20_000
"""Invocations whose logs may wait to be written; above it the oldest are dropped, and their number is logged."""
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
_MOST_EVENTS: Final = 2_000
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
_MOST_METRICS: Final = 1_000
MOST_LINES: Final = 50_000
"""Lines of a log stream; then the next one is begun, and only the one before it kept: all of them are in memory."""
_MOST_STREAMS: Final = 2
_PAUSE_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 2.0
"""Logs are written in a pause between invocations, and this long after an invocation at the latest."""


class LogWriter:
    """Writes logs from a thread of its own.

    Args:
        clients: Returns a boto3 client, by the name of its service.
        warn: Called when logs cannot be written, once.
        most_lines: Lines of a log stream.
        now: Tells the time of lines, in seconds since the epoch: that of the executions they belong to.
    """

    def __init__(
        self,
        clients: Callable[[str], Any],
        *,
        warn: Callable[[str], None],
        most_lines: int = MOST_LINES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clients = clients
        self._warn = warn
        self._warned: set[tuple[str, str]] = set()
        self._most_lines = most_lines
        self._now = now
        self._waiting: deque[tuple[str, float, str]] = deque()
        self._taken = 0
        self._dropped = 0
        self._streams: dict[str, list[str]] = {}
        """The streams of each log group, the latest last."""
        self._begun: dict[str, int] = {}
        """How many were begun."""
        self._lines: dict[str, int] = {}
        """How many lines the latest one has."""
        self._stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[$LATEST]local"
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="distmap-logs", daemon=True)
        self._thread.start()

    def write(self, config: FunctionConfig, result: InvokeResult) -> None:
        """Take in the log of an invocation."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append((config.log_group, self._now(), result.log))
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
                self.flush()
            except (BotoCoreError, ClientError) as error:
                if not warned and not closing:
                    self._warn(f"logs of functions cannot be written: {error}")
                warned = True
            if closing:
                return
            self._wait()

    def flush(self) -> None:
        """Write what is waiting: whoever looks finds the logs of what has ended.

        Raises:
            BotoCoreError: CloudWatch Logs doesn't answer.
            ClientError: It refuses them.
        """
        # What another thread is just writing must be there too.
        with self._writing:
            if self._waiting:
                self._flush()

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
            next(iter(groups.values())).append({"timestamp": int(self._now() * 1000), "message": message})
            self._dropped = 0
        client = self._clients("logs")
        for group, events in groups.items():
            for start in range(0, len(events), _MOST_EVENTS):
                self._put(client, group, events[start : start + _MOST_EVENTS])
            self._put_metrics(group, events)

    def _put_metrics(self, group: str, events: list[dict[str, Any]]) -> None:
        found: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            try:
                for namespace, datum in metrics_of(event["message"]):
                    found.setdefault(namespace, []).append(datum)
            except MetricError as error:
                self._say(group, error)
        for namespace, data in found.items():
            for start in range(0, len(data), _MOST_METRICS):
                part = data[start : start + _MOST_METRICS]
                try:
                    self._clients("cloudwatch").put_metric_data(Namespace=namespace, MetricData=part)
                except (BotoCoreError, ClientError) as error:
                    self._say(group, error)

    def _say(self, group: str, error: Exception) -> None:
        # Once for each reason: all lines of a function are likely to have it.
        if (group, str(error)) not in self._warned:
            self._warned.add((group, str(error)))
            self._warn(f"CloudWatch takes no metrics from a line of {group}: {error}")

    def _put(self, client: Any, group: str, events: list[dict[str, Any]]) -> None:
        streams = self._streams.setdefault(group, [])
        if not streams:
            self._begun[group] = 1
            self._begin(client, group, self._stream)
        elif self._lines[group] >= self._most_lines:
            self._begun[group] += 1
            self._begin(client, group, f"{self._stream}-{self._begun[group]}")
        if len(streams) > _MOST_STREAMS:
            client.delete_log_stream(logGroupName=group, logStreamName=streams.pop(0))
            message = f"earlier lines were dropped: the local AWS keeps the last {self._most_lines:,} of a log, or more"
            events = [{"timestamp": events[0]["timestamp"], "message": message}, *events]
        client.put_log_events(logGroupName=group, logStreamName=streams[-1], logEvents=events)
        self._lines[group] += len(events)

    def _begin(self, client: Any, group: str, stream: str) -> None:
        for call, arguments in (
            (client.create_log_group, {"logGroupName": group}),
            (client.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            try:
                call(**arguments)
            except client.exceptions.ResourceAlreadyExistsException:
                continue
        self._streams[group].append(stream)
        self._lines[group] = 0
