"""What is known of a map run's children: numbers in memory, everything else on disk.

A child takes some 40 bytes of memory however large its input and output are, so that a map over millions of items
runs in constant memory.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import tempfile
import threading
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.execution.history import Event
from cdk_distributed_map.local.execution.ids import uuid_text

_BUFFER: Final = 64 * 1024
PENDING: Final = 0
RUNNING: Final = 1
SUCCEEDED: Final = 2
FAILED: Final = 3
TIMED_OUT: Final = 4
ABORTED: Final = 5
STATUSES: Final = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
COUNT_NAMES: Final = ("pending", "running", "succeeded", "failed", "timedOut", "aborted")


class Spool:
    """A file that is only appended to and read back by position.

    Args:
        folder: Where it is made, None for the system's temporary folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - open as long as the engine runs
        self._end = 0
        # What was appended last waits to be written: results come by the hundred bytes.
        self._waiting = bytearray()
        self._lock = threading.Lock()

    def append(self, data: bytes) -> int:
        """Append and return the position."""
        with self._lock:
            at = self._end
            self._end += len(data)
            self._waiting += data
            if len(self._waiting) > _BUFFER:
                self._write()
        return at

    def _write(self) -> None:
        position = self._end - len(self._waiting)
        with memoryview(self._waiting) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._file.fileno(), view[done:], position + done)
        self._waiting.clear()

    def read(self, at: int, length: int) -> bytes:
        """Return what was appended at a position."""
        with self._lock:
            if at + length > self._end - len(self._waiting):
                self._write()
        return os.pread(self._file.fileno(), length, at)

    def close(self) -> None:
        """Drop the file."""
        self._file.close()


class Result(NamedTuple):
    """How a child ended."""

    output: Json
    error: str | None
    cause: str | None
    events: list[Event]
    progress: Any
    """Packed progress of a child that failed, None of one that succeeded."""


class Records:
    """The children of one map run, by number.

    Args:
        run_id: Id of the map run, which the children's names are made from.
        spool: Where inputs and results are kept.
    """

    def __init__(self, run_id: str, spool: Spool) -> None:
        self._spool = spool
        self._run_id = run_id
        self._mask = int(hashlib.sha256(f"{run_id}/mask".encode()).hexdigest()[:12], 16)
        self.status = array("B")
        self.items = array("I")
        self.started = array("d")
        self.stopped = array("d")
        self._input_at = array("Q")
        self._input_length = array("I")
        self._result_at = array("Q")
        self._result_length = array("I")
        self.exported = bytearray()
        """Of each child, whether its output has been exported."""
        self.redrives: dict[int, tuple[int, float]] = {}
        """How often, and when last, children went on where they had failed."""
        self.counts = [[0] * len(STATUSES), [0] * len(STATUSES)]
        """Children, and items, by status."""

    def __len__(self) -> int:
        """Return the number of children."""
        return len(self.status)

    def extend(self, inputs: Iterable[tuple[bytes, int]]) -> None:
        """Add children that wait to be started: their inputs as JSON text, and the number of items in each."""
        batch = list(inputs)
        at = self._spool.append(b"".join(text for text, _ in batch))
        for text, items in batch:
            self.status.append(PENDING)
            self.items.append(items)
            self.started.append(0)
            self.stopped.append(0)
            self._input_at.append(at)
            self._input_length.append(len(text))
            self._result_at.append(0)
            self._result_length.append(0)
            self.exported.append(False)
            self.counts[1][PENDING] += items
            at += len(text)
        self.counts[0][PENDING] += len(batch)

    def input(self, at: int) -> bytes:
        """Return a child's input as JSON text."""
        return self._spool.read(self._input_at[at], self._input_length[at])

    def move(self, at: int, status: int) -> None:
        """Change a child's status."""
        before, items = self.status[at], self.items[at]
        self.status[at] = status
        children, of_items = self.counts
        children[before] -= 1
        children[status] += 1
        of_items[before] -= items
        of_items[status] += items

    def finish(self, at: int, status: int, stopped: float, result: Result) -> None:
        """Keep a child's result."""
        data = marshal.dumps(tuple(result))
        self._result_at[at] = self._spool.append(data)
        self._result_length[at] = len(data)
        self.stopped[at] = stopped
        self.move(at, status)

    def result(self, at: int) -> Result | None:
        """Return how a child ended, None while it hasn't."""
        length = self._result_length[at]
        if not length:
            return None
        data = self._spool.read(self._result_at[at], length)
        return Result(*marshal.loads(data))  # noqa: S302 - written by this process into a file that has no name

    def redrive_count(self, at: int) -> int:
        """Return how often a child went on where it had failed."""
        return self.redrives[at][0] if at in self.redrives else 0

    def note_exported(self) -> None:
        """Note that the results of all that have succeeded have been exported: those of the others are again."""
        for at in self.of(SUCCEEDED):
            self.exported[at] = True

    def to_redrive(self, *, most_events: int) -> Iterator[int]:
        """Return the children that can be run again: they keep their status until they are.

        Args:
            most_events: Events of a history that has no room for another attempt.
        """
        for at in self.of(FAILED, TIMED_OUT, ABORTED):
            result = self.result(at)
            if result is None or len(result.events) < most_events:
                yield at

    def name(self, at: int) -> str:
        """Return a child's name: a UUID from which its number can be told."""
        digest = hashlib.blake2b(f"{self._run_id}/{at}".encode(), digest_size=10).hexdigest()
        return uuid_text(f"{digest}{at ^ self._mask:012x}")

    def number(self, name: str) -> int | None:
        """Return the number of the child of a name, None where it is not of this map run."""
        try:
            at = int(name[-12:], 16) ^ self._mask
        except ValueError:
            return None
        return at if at < len(self) and self.name(at) == name else None

    def of(self, *statuses: int) -> Iterator[int]:
        """Return the children in some status, in order."""
        wanted = frozenset(statuses)
        return (at for at, status in enumerate(self.status) if status in wanted)

    def described_counts(self, which: int, written: int) -> dict[str, int]:
        """Return counts as DescribeMapRun answers them: 0 for children, 1 for items."""
        counts = self.counts[which]
        shown: dict[str, int] = dict(zip(COUNT_NAMES, counts, strict=True))
        return {**shown, "total": sum(counts), "resultsWritten": written}
