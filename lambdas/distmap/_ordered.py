"""Several sources read at the same time, and consumed one after the other.

Nothing in the standard library does this for sources of unknown length: what is read ahead must be bounded, or the
keys of a later prefix would pile up in memory until the earlier ones end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Full, Queue
from threading import Event, Thread
from typing import Final, TypeVar

T = TypeVar("T")

_STOP_SECONDS: Final = 0.1
"""How long a reader whose queue is full waits before it looks whether it is still wanted."""


class _End:
    """What a reader puts last: the end of its source, or its error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_in_order(sources: Sequence[Callable[[], Iterator[T]]], *, threads: int, ahead: int) -> Iterator[T]:
    """Yield the values of every source, source by source, while the next sources are already being read.

    Args:
        sources: Functions that return what is to be read; each is called in a thread.
        threads: How many sources are read at a time.
        ahead: How many values of one source wait at most.

    Yields:
        The values, in an order that doesn't depend on how quick each source is.

    Raises:
        BaseException: What a source raised, at its turn.
    """
    stop = Event()
    waiting = deque(sources)
    reading: deque[tuple[Thread, Queue[T | _End]]] = deque()
    try:
        while waiting or reading:
            while waiting and len(reading) < threads:
                reading.append(_start(waiting.popleft(), ahead, stop))
            thread, queue = reading[0]
            value = queue.get()
            if not isinstance(value, _End):
                yield value
                continue
            thread.join()
            reading.popleft()
            if value.error is not None:
                raise value.error
    finally:
        stop.set()
        for thread, _ in reading:
            thread.join()


def _start(source: Callable[[], Iterator[T]], ahead: int, stop: Event) -> tuple[Thread, Queue[T | _End]]:
    queue: Queue[T | _End] = Queue(ahead)

    def put(value: T | _End) -> bool:
        while not stop.is_set():
            try:
                queue.put(value, timeout=_STOP_SECONDS)
            except Full:
                continue
            return True
        return False

    def read() -> None:
        error: BaseException | None = None
        try:
            for value in source():
                if not put(value):
                    return
        except BaseException as raised:  # noqa: BLE001 - raised again by the consumer
            error = raised
        put(_End(error))

    thread = Thread(target=read, name="distmap-read", daemon=True)
    thread.start()
    return thread, queue
