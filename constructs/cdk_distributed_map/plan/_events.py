"""A run as a sequence of events: every child in turn, or blocks of them where there are millions.

The events are those of the children of all Map Runs that are open: start, throttled, ended. What bounds them is kept as
AWS keeps it: each Map Run has a rate and a concurrency of its own, and all share the environments of one function, how
fast these are added, its requests a second, and the account's state transitions.

An event loop of our own, since what libraries for simulation take for an event and a process is a hundred times what
these need, and a plan has a million of them.
"""

from __future__ import annotations

import heapq
import math
import sys
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Final

from cdk_distributed_map.plan._platform import Platform
from cdk_distributed_map.plan._work import Setting, Work
from distmap import limits

_FIRST_WAIT_SECONDS: Final = 1.0
_MOST_WAIT_SECONDS: Final = 60.0
_BLOCKS_OF_A_PLACE: Final = 3
"""Into how many blocks that which is left for one of the children at once is split at least."""
_MOST_MOMENTS: Final = 4_000
_NEARLY: Final = 0.8
_CROWD: Final = 4
_MOST_MAP_RUNS: Final = 200
"""Map Runs of which each is simulated, and how often those at once are repeated at least."""
_REPETITIONS: Final = 20


class Bucket:
    """Tokens that come at a rate, and are kept up to a number."""

    __slots__ = ("most", "rate", "since", "tokens")

    def __init__(self, rate: float, most: float) -> None:
        self.rate, self.most, self.tokens, self.since = rate, most, most, 0.0

    def at(self, now: float) -> float:
        """Return the tokens that are there."""
        if now > self.since:
            tokens = self.tokens + (now - self.since) * self.rate
            self.tokens = tokens if tokens < self.most else self.most
            self.since = now
        return self.tokens


@dataclass(slots=True)
class _MapRun:
    """A Map Run while it runs."""

    items: int
    children: int
    size: int
    opened: float = 0.0
    begun: int = 0
    running: int = 0
    ahead: int = 0
    """Children of running blocks beside their first."""
    gate: float = 0.0
    waiting: bool = False
    """Whether an event will let it start children again."""


@dataclass(kw_only=True, slots=True)
class Trace:
    """How a run went.

    .. versionadded:: 0.1.0
    """

    begun: float = 0.0
    """When the first child started, in seconds from the run's start."""
    all_begun: float = 0.0
    """When the last child started."""
    worked: float = 0.0
    """When the last child ended."""
    ended: float = 0.0
    peak: float = 0.0
    throttled: float = 0.0
    """Invocations that were refused."""
    moments: list[tuple[float, int]] = field(default_factory=list)
    """Times, and the children that were running then."""

    @property
    def full(self) -> float:
        """When as many children ran at once as usual for the first time, within a fifth."""
        most = _NEARLY * _usual([moment for moment in self.moments if moment[0] <= self.all_begun])
        return next((when for when, running in self.moments if running >= most), self.begun)


class Simulation:
    """One map over its items, through all of its Map Runs."""

    def __init__(self, work: Work, setting: Setting, platform: Platform, *, rng: Random, most_events: int) -> None:
        self.work, self.setting, self.platform, self.rng = work, setting, platform, rng
        self.times = work.item_times(setting)
        self.size = work.batch_items(setting)
        self.rate = platform.express_starts.middle if setting.express else platform.standard_starts.middle
        self.of_child = platform.child_seconds.middle
        self.cold = platform.cold_seconds.middle if work.calls_function else 0.0
        of_item = max(1 / platform.rows.middle, work.item_bytes / platform.file_bytes)
        reading = {"state": 0.0, "listing": 1 / platform.listed.middle}
        self.of_item = reading.get(work.source, of_item)
        """Seconds that an item is read in."""
        self.allowed = min(platform.account_concurrency, work.reserved or platform.account_concurrency)
        self.calls_function = work.calls_function
        self.idle, self.environments = 0, 0
        self.growth = Bucket(platform.scaling_step / limits.SCALING_STEP_SECONDS, platform.scaling_step)
        per_second = self.allowed * limits.REQUESTS_OF_AN_ENVIRONMENT
        self.requests = Bucket(per_second, per_second)
        self.transitions = Bucket(platform.transitions, platform.transitions)
        self.of_start = 0 if setting.express else 1 + work.states
        self.heap: list[tuple[float, int, int, _MapRun, int, int]] = []
        self.number = self.running = 0
        self.trace = Trace()
        children = work.children(setting)
        mean = self.size * self.times.mean / min(work.items_at_once, self.size) + self.of_child
        flow = self.rate * mean
        may_throttle = work.calls_function and min(setting.concurrency, flow) * work.map_runs_at_once >= self.allowed
        # Those that are refused keep their places, so that all of these fill.
        self.at_once = setting.concurrency if may_throttle else min(setting.concurrency, math.ceil(flow))
        """Children of a Map Run that run at once at most."""
        self.exact = children <= most_events
        # Many times as many as may work only wait, which takes no longer with more of them.
        crowd = max(1, _CROWD * self.allowed // work.map_runs_at_once) if work.calls_function else setting.concurrency
        self.concurrency = setting.concurrency if self.exact else min(setting.concurrency, crowd)
        # Where blocks shrink towards the end, more of them run for a while than children would.
        of_flow = self.at_once + 3 * math.sqrt(self.at_once)
        self.most_running = sys.maxsize if self.exact else math.ceil(of_flow * work.map_runs_at_once)
        self.every = 1
        self.drawn: dict[int, tuple[int, tuple[float, float] | None]] = {}
        """Items that a block works on one after the other, and how their times are spread, by its children."""

    # -- events: time, order, kind, Map Run, children of the block, tries

    def _add(self, when: float, kind: int, of: _MapRun, block: int = 0, tries: int = 0) -> None:
        self.number += 1
        heapq.heappush(self.heap, (when, self.number, kind, of, block, tries))

    def run(self, begin: float, items: int) -> float:
        """Run the map over so many items, and return when its last Map Run has ended."""
        runs = min(self.work.map_runs, max(1, items))
        each, more = divmod(items, runs)
        # The next to open is the last: the larger ones first.
        self.pending = [each] * (runs - more) + [each + 1] * more
        self.end = begin
        for number in range(min(self.work.map_runs_at_once, runs)):
            # What starts Map Runs are children themselves, of an outer map.
            self._open(begin + (number + 1) / self.platform.standard_starts.middle if runs > 1 else begin)
        start, invoke, ended = _START, _INVOKE, _ENDED
        while self.heap:
            now, _, kind, of, block, tries = heapq.heappop(self.heap)
            if kind == ended:
                self._end(now, of, block)
            elif kind == invoke:
                self._invoke(now, of, block, tries)
                continue
            elif kind == start:
                of.waiting = False
            self._start(now, of)
        return self.end

    def _open(self, now: float) -> None:
        items = self.pending.pop()
        of = _MapRun(items=items, children=math.ceil(items / self.size), size=self.size)
        of.opened = of.gate = now + self.platform.start_seconds.middle
        of.waiting = True
        self._add(of.opened, _START, of)

    def _block(self, of: _MapRun) -> int:
        left, at_once = of.children - of.begun, self.at_once
        return max(1, min(1 + of.begun // at_once, left // (_BLOCKS_OF_A_PLACE * at_once)))

    def _start(self, now: float, of: _MapRun) -> None:
        """Start what a Map Run may start now."""
        # It is called for each child, and built-in functions cost more here than comparisons.
        while not of.waiting and of.running < self.concurrency and of.begun < of.children:
            block = 1 if self.exact else self._block(of)
            # Of a block, the others are read, and get their turn, while the first works.
            items_read = (of.begun + 1 - of.ahead) * self.size
            when = of.opened + (items_read if items_read < of.items else of.items) * self.of_item
            when = max(when, of.gate)
            cost = self.of_start * block
            if cost:
                transitions = self.transitions
                lacking = (cost if cost < transitions.most else transitions.most) - transitions.at(now)
                if lacking > 0:
                    when = max(when, now + lacking / transitions.rate)
            if when > now + 1e-9:
                of.waiting = True
                self._add(when, _START, of)
                return
            self.transitions.tokens -= cost
            earliest = now - 1 / self.rate
            of.gate = (of.gate if of.gate > earliest else earliest) + block / self.rate
            of.begun += block
            of.ahead += block - 1
            of.running += 1
            self.running += 1
            self._note(now)
            self.trace.all_begun = now
            self._invoke(now, of, block, 0)
        if of.begun >= of.children and not of.running:
            self._close(now)

    def _invoke(self, now: float, of: _MapRun, block: int, tries: int) -> None:
        cold = 0.0
        if self.calls_function:
            requests = self.requests
            tokens = block if block < requests.most else requests.most
            refused = requests.at(now) < tokens
            if not refused and self.idle:
                self.idle -= 1
            elif not refused and self.environments < self.allowed and self.growth.at(now) >= 1:
                self.growth.tokens -= 1
                self.environments += 1
                cold = self.cold
            else:
                self.trace.throttled += 1
                most = min(_MOST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(tries, 10))
                self._add(now + self.rng.uniform(0, most), _INVOKE, of, block, tries + 1)
                return
            requests.tokens -= tokens
        self._add(now + cold + self._seconds(block), _ENDED, of, block)

    def _seconds(self, block: int) -> float:
        """Return how long a block of children takes, one after the other."""
        rng, retried = self.rng, self.work.retried
        if block not in self.drawn:
            items = max(1, round(block * self.size / min(self.work.items_at_once, self.size)))
            self.drawn[block] = items, self.times.log_normal(items) if self.times.variance else None
        items, distribution = self.drawn[block]
        if self.times.sample and items <= 4:
            seconds = self.times.draw(rng, items)
        elif distribution is not None:
            seconds = rng.lognormvariate(*distribution)
        else:
            seconds = items * self.times.mean
        if retried:
            tried = rng.random() < retried if block == 1 else retried
            seconds *= 1 + tried
        return seconds + block * self.of_child

    def _end(self, now: float, of: _MapRun, block: int) -> None:
        of.ahead -= block - 1
        of.running -= 1
        self.running -= 1
        self.idle += self.calls_function
        self.trace.worked = now
        self._note(now)

    def _close(self, now: float) -> None:
        now += self.platform.end_seconds.middle
        self.end = max(self.end, now)
        if self.pending:
            self._open(now)

    def _note(self, now: float) -> None:
        trace = self.trace
        if not trace.moments:
            trace.begun = now
        running = self.running if self.running < self.most_running else self.most_running
        trace.peak = max(trace.peak, running)
        if self.number % self.every == 0:
            trace.moments.append((now, running))
            if len(trace.moments) > _MOST_MOMENTS:
                del trace.moments[1::2]
                self.every *= 2


_START: Final = 0
_INVOKE: Final = 1
_ENDED: Final = 2


def simulate(work: Work, setting: Setting, platform: Platform, *, rng: Random, most_events: int) -> Trace:
    """Return how a run goes where each range of the platform is a single number.

    .. versionadded:: 0.1.0

    Args:
        work: What is to be done.
        setting: How.
        platform: What :meth:`Platform.drawn` or :meth:`Platform.likely` returned.
        rng: Where chance comes from.
        most_events: Children up to which each is simulated; of more, blocks are.
    """
    now = work.items / platform.captured.middle if work.source == "captured" else 0.0
    now += platform.start_seconds.middle if work.outer_states else 0.0
    part = _part(work, setting, most_events)
    simulation = Simulation(part, setting, platform, rng=rng, most_events=most_events)
    items, began, longer = part.items, now, work.map_runs / part.map_runs
    for number in range(1 + work.rounds):
        now = simulation.run(now, items)
        now += items / platform.accounted.middle if work.accounts else 0.0
        items = round(items * work.run_again)
        if not items or number == work.rounds:
            break
    trace = simulation.trace
    if longer > 1:
        now = _lengthen(trace, began, longer, now)
    now += platform.end_seconds.middle if work.outer_states else 0.0
    now += work.items / platform.combined.middle if any(each.role == "combine" for each in work.steps) else 0.0
    trace.ended = now
    return trace


def _part(work: Work, setting: Setting, most_events: int) -> Work:
    """Return some of many Map Runs, of which the others are repetitions."""
    runs = max(_MOST_MAP_RUNS, _REPETITIONS * work.map_runs_at_once)
    if work.map_runs <= runs or work.children(setting) <= most_events:
        return work
    return replace(work, items=round(work.items * runs / work.map_runs), map_runs=runs)


def _lengthen(trace: Trace, began: float, longer: float, ended: float) -> float:
    """Let what was simulated of a part take as long as the whole, and return its end."""

    def at(moment: float) -> float:
        return began + (moment - began) * longer

    after = ended - trace.worked
    trace.moments = [(at(when), running) for when, running in trace.moments]
    trace.all_begun, trace.worked = at(trace.all_begun), at(trace.worked)
    trace.throttled *= longer
    return trace.worked + after


def _usual(moments: list[tuple[float, int]]) -> int:
    """Return the median of what ran over time: the peak may be a moment's."""
    lasting = sorted((running, after - when) for (when, running), (after, _) in pairwise(moments))
    half = math.fsum(seconds for _, seconds in lasting) / 2
    for running, seconds in lasting:
        half -= seconds
        if half <= 0:
            return running
    return max((running for _, running in moments), default=0)
