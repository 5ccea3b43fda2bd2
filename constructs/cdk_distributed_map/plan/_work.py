"""What is to be done, and what can be chosen of how: the inputs of a plan, with what AWS refuses of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cdk_distributed_map.plan._times import Times
from distmap import limits

Source = Literal["captured", "listing", "file", "state"]
_FULL_CORE_MB: Final = 1_769
"""Memory at which a function has one whole vCPU: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
_P99: Final = 0.99
_EVENTS_OF_A_MAP: Final = 5
"""Events in the history of an execution that runs a map: entered, started, running, succeeded, exited."""
_EVENTS_OF_A_STATE: Final = 5
_EVENTS_OF_A_RETRY: Final = 3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What can be chosen: the settings of a map and its function.

    .. versionadded:: 0.1.0
    """

    batch: int = 1
    """Items of a child at most."""
    express: bool = False
    concurrency: int = limits.MAX_CONCURRENT_CHILDREN
    """Children of a Map Run at once at most."""
    memory_mb: int = 1_024
    architecture: str = "arm64"

    def __post_init__(self) -> None:
        for name, value, most in (
            ("batch", self.batch, limits.MAX_ITEMS),
            ("concurrency", self.concurrency, limits.MAX_CONCURRENT_CHILDREN),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be from 1 to {most:,}, got {value:,}")
        least, most = limits.MIN_FUNCTION_MEMORY_MB, limits.MAX_FUNCTION_MEMORY_MB
        if not least <= self.memory_mb <= most:
            raise ValueError(f"memory_mb must be from {least:,} to {most:,}, got {self.memory_mb:,}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A function that a run calls once, beside those of its children.

    .. versionadded:: 0.1.0
    """

    role: str
    """``capture``, ``account`` or ``combine``, which goes through all items."""
    memory_mb: int = 1_024
    architecture: str = "arm64"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done, whatever the settings.

    .. versionadded:: 0.1.0
    """

    items: int
    times: Times
    """Of an item, at the memory :attr:`times_memory_mb`."""
    times_memory_mb: int = 1_024
    cpu_share: float = 0.0
    """Share of an item's time that the function computes, which memory changes; the rest waits."""
    items_at_once: int = 1
    """Items that an invocation works on at a time."""
    used_mb: int | None = None
    """Memory that a process of the function had at most; None where that isn't known."""
    item_bytes: float = 100.0
    batch_bytes: int = limits.MAX_BATCH_BYTES
    """Bytes that a batch is closed at."""
    source: Source = "file"
    calls_function: bool = True
    reserved: int | None = None
    """Reserved concurrency of the function; None for none."""
    timeout: float = limits.MAX_FUNCTION_SECONDS
    states: int = 1
    """States that a child runs."""
    map_runs: int = 1
    """Map Runs that the items are shared out to: nested maps, or a loop of maps."""
    map_runs_at_once: int = 1
    retried: float = 0.0
    """Share of children that are tried twice."""
    run_again: float = 0.0
    """Share of items that rounds run again."""
    rounds: int = 0
    accounts: bool = False
    """Whether an account step follows the map."""
    parent_states: int = 0
    """States that the run itself goes through, beside the starts of its children."""
    outer_states: int = 0
    """Starts and states of the children of outer maps, which run these maps; 0 where none is nested."""
    steps: tuple[Step, ...] = ()
    """Functions that are called once beside those of the children."""
    item_gets: float = 0.0
    """GET requests to S3 that the worker makes for an item."""
    item_puts: float = 0.0
    kms: bool = False
    log_bytes: float = 800.0
    """Bytes that an invocation logs: Lambda's own lines and the runtime's."""
    item_log_bytes: float = 0.0
    sfn_log_bytes: float = 0.0
    """Bytes that Step Functions logs of a child."""
    traced: bool = False
    result_bytes: float = 1_000.0
    """Bytes of a child's record in the results."""

    def __post_init__(self) -> None:
        if not 0 <= self.items <= limits.MAX_ITEMS * self.map_runs:
            raise ValueError(
                f"items must be from 0 to {limits.MAX_ITEMS * self.map_runs:,}, the most of a Map Run, got "
                f"{self.items:,}: share them out to several runs, or make an item stand for more"
            )
        for name in ("states", "map_runs", "map_runs_at_once", "items_at_once"):
            if getattr(self, name) < (0 if name == "states" else 1):
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name):,}")
        for name in ("cpu_share", "retried", "run_again"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, got {getattr(self, name):g}")
        if self.reserved is not None and self.reserved < 1:
            raise ValueError(f"reserved must be at least 1, or no child ever runs, got {self.reserved}")

    def item_times(self, setting: Setting) -> Times:
        """Return the times of an item at a setting's memory, several at a time taken as that much faster."""
        slower = min(self.times_memory_mb, _FULL_CORE_MB) / min(setting.memory_mb, _FULL_CORE_MB)
        factor = 1 - self.cpu_share + self.cpu_share * slower
        return self.times if factor == 1 else self.times.scaled(factor)

    def batch_items(self, setting: Setting) -> int:
        """Return how many items a full child has, which the bytes of a batch bound."""
        envelope = 2_000
        fitting = max(1, math.floor((self.batch_bytes - envelope) / max(self.item_bytes, 1)))
        return min(setting.batch, fitting)

    def children(self, setting: Setting) -> int:
        """Return the number of children of all Map Runs, rounds aside."""
        return sum(number for number, _ in self.shapes(setting))

    def shapes(self, setting: Setting) -> list[tuple[int, int]]:
        """Return how many children there are of each number of items, rounds aside."""
        size = self.batch_items(setting)
        each, more = divmod(self.items, self.map_runs)
        found: dict[int, int] = {}
        for runs, items in ((self.map_runs - more, each), (more, each + 1)):
            full, rest = divmod(items, size)
            for number, of in ((runs * full, size), (runs, rest)):
                if number and of:
                    found[of] = found.get(of, 0) + number
        return [(number, of) for of, number in found.items()]


def cpu_share_of(seconds: Mapping[int, float]) -> float:
    """Return which share of an item's time computes, from how long it took at several sizes of memory.

    .. versionadded:: 0.1.0

    Args:
        seconds: Mean seconds of an item, by the memory of the function in MB; the share is of the time at the last one.

    Raises:
        ValueError: There are fewer than two sizes with different shares of a core.
    """
    *others, (base, base_seconds) = seconds.items()
    pairs = [
        (min(base, _FULL_CORE_MB) / min(memory, _FULL_CORE_MB) - 1, each / base_seconds - 1) for memory, each in others
    ]
    weight = math.fsum(slower**2 for slower, _ in pairs)
    if not weight:
        raise ValueError(
            f"the share that computes needs times at two sizes of memory up to {_FULL_CORE_MB:,} MB, got "
            f"{', '.join(map(str, seconds))}"
        )
    return min(1.0, max(0.0, math.fsum(slower * longer for slower, longer in pairs) / weight))


def problems(work: Work, setting: Setting) -> list[str]:
    """Return what AWS would refuse or end, each with the value, the limit and the remedy; empty where nothing.

    .. versionadded:: 0.1.0
    """
    found = []
    batch = min(work.batch_items(setting), max(1, work.items))
    seconds = work.item_times(setting).quantile(_P99, max(1, math.ceil(batch / work.items_at_once)))
    fewer = "take fewer items a batch" if batch > 1 else "make items smaller"
    if setting.express and seconds > limits.MAX_EXPRESS_SECONDS:
        found.append(
            f"1 of 100 batches of {batch:,} takes over {seconds:,.0f} s, and Express children end after "
            f"{limits.MAX_EXPRESS_SECONDS} s: {fewer}, or use Standard children"
        )
    if work.calls_function and seconds > work.timeout:
        found.append(
            f"1 of 100 batches of {batch:,} takes over {seconds:,.0f} s, and the function ends after "
            f"{work.timeout:g} s: {fewer}"
            + (
                ""
                if work.timeout >= limits.MAX_FUNCTION_SECONDS
                else f", or give it up to {limits.MAX_FUNCTION_SECONDS} s"
            )
        )
    if work.calls_function and work.used_mb is not None and setting.memory_mb < work.used_mb:
        found.append(
            f"a process of the function had {work.used_mb:,} MB, and {setting.memory_mb:,} MB are given: raise "
            "memory_size"
        )
    if work.item_bytes > limits.MAX_BATCH_BYTES:
        found.append(
            f"an item has {work.item_bytes:,.0f} bytes, and a child takes {limits.MAX_BATCH_BYTES:,}: let items name "
            "objects in S3"
        )
    if work.map_runs_at_once > limits.MAX_OPEN_MAP_RUNS:
        found.append(
            f"{work.map_runs_at_once:,} Map Runs would be open at once, and AWS opens {limits.MAX_OPEN_MAP_RUNS:,}: "
            "lower the outer map's concurrency"
        )
    return found + _long_histories(work)


def _long_histories(work: Work) -> list[str]:
    found = []
    most = limits.MAX_HISTORY_EVENTS
    is_loop = work.map_runs > work.map_runs_at_once == 1 and not work.outer_states
    of_loop = work.map_runs * _EVENTS_OF_A_MAP if is_loop else 0
    of_run = of_loop + work.parent_states * _EVENTS_OF_A_STATE
    if of_run > most:
        found.append(f"the run would have about {of_run:,} events, and AWS ends it after {most:,}: use fewer Map Runs")
    of_child = work.states * (_EVENTS_OF_A_STATE + _EVENTS_OF_A_RETRY)
    if of_child > most:
        found.append(f"a child would have about {of_child:,} events, and AWS ends it after {most:,}: use fewer states")
    return found
