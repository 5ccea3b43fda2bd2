"""Watching a run, which asks no more often than an account can bear.

:class:`Watcher` is a machine that is given the time and makes at most one call of each kind when it is due;
:func:`watch` gives it the real time. So several of them can be run against a fake endpoint in simulated time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from cdk_distributed_map.runs.aws import pace as pace_module
from cdk_distributed_map.runs.aws.descriptions import Counts, MapRun, RunDescription, start_of
from cdk_distributed_map.runs.aws.sessions import is_denied, is_gone, translate
from cdk_distributed_map.runs.errors import (
    AwsError,
    ConnectionLostError,
    CredentialsError,
    NotFoundError,
    ThrottledError,
)
from cdk_distributed_map.runs.find.handles import RunHandle
from cdk_distributed_map.runs.watch.nested import Children
from cdk_distributed_map.runs.watch.progress import Progress

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import ListExecutionsInputTypeDef, ListMapRunsOutputTypeDef

    from distmap.wire import OutputLedger

_RATE_SECONDS: Final = 60.0
_LONGEST_WAIT: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 60.0
_BETWEEN_ROUNDS_SECONDS: Final = 5.0
"""After how long to look again where every known map has ended, and the run goes on: a round may have begun."""
_LAST_LOOK_SECONDS: Final = 10.0
"""How long a run that has ended is looked at for the sake of maps inside others."""
_START_SECONDS: Final = 30.0
"""How long what was just started may be unknown: the API is eventually consistent."""
_LIST: Final = "list"


def watch(run: RunHandle, *, notice: Callable[[str], None] | None = None) -> Iterator[Progress]:
    """Yield how far a run is until it has ended: see :meth:`Run.watch`."""
    watcher = Watcher(run, notice=notice)
    while True:
        progress = watcher.step(time.monotonic())
        if progress is not None:
            yield progress
            if progress.final:
                return
        time.sleep(max(0.05, watcher.due(time.monotonic()) - time.monotonic()))


def list_map_runs(sfn: SFNClient, arn: str, token: str | None) -> ListMapRunsOutputTypeDef:
    """Return a page of the Map Runs of an execution."""
    return (
        sfn.list_map_runs(executionArn=arn) if token is None else sfn.list_map_runs(executionArn=arn, nextToken=token)
    )


class Watcher:
    """Watches one run, one step at a time.

    Args:
        run: The run.
        notice: Called with a message about what gets in the way. Default: there are no messages.
        paces: How often it asks. Default: as five watchers of an account may at AWS, and much more often at an endpoint
            of this machine.
    """

    def __init__(
        self, run: RunHandle, *, notice: Callable[[str], None] | None = None, paces: pace_module.Paces | None = None
    ) -> None:
        if paces is None:
            paces = pace_module.local_paces() if run.aws.is_local else pace_module.Paces()
        self._run = run
        self._notice = notice
        self._description: RunDescription | None = None
        self._maps: dict[str, MapRun] = {}
        self._nested: dict[str, MapRun] = {}
        self._turns: deque[str] = deque()
        self._outermost: set[str] = set()
        self._list_token: str | None = None
        self._children = Children()
        self._denied: set[str] = set()
        self._execution_pace = paces.execution
        self._list_pace = paces.map_runs
        self._children_pace = paces.executions
        self._map_pace = paces.map_run
        self._blocked_until = 0.0
        self._failures = 0
        self._listed_at: float | None = None
        self._unknown_since: dict[str, float] = {}
        """ARNs that AWS doesn't know though it listed them, each with the time of the first such answer."""
        self._ended_at: float | None = None
        self._last_round: set[str] | None = None
        self._samples: deque[tuple[float, int]] = deque()
        self._said: str | None = None

    # -- when

    def due(self, now: float) -> float:
        """Return when the next step can do something."""
        return max(self._blocked_until, min(time_ for time_, _ in self._calls(now)))

    def step(self, now: float) -> Progress | None:
        """Make the calls that are due, and return how far the run is where one of them brought something new."""
        if now < self._blocked_until:
            return None
        news = False
        for time_, call in self._calls(now):
            if time_ <= now:
                try:
                    news = call(now) or news
                except AwsError as error:
                    self._trouble(error, now)
                    return None
        if self._failures:
            self._failures, self._said = 0, None
        return self._progress(now) if news and self._description is not None else None

    def _calls(self, now: float) -> list[tuple[float, Callable[[float], bool]]]:
        """Return the calls that can be made, each with when."""
        calls: list[tuple[float, Callable[[float], bool]]] = []
        if not self._is_over():
            calls.append((self._execution_pace.due(now), self._describe))
        if self._wants_list(now):
            calls.append((self._list_pace.due(now), self._list))
        if self._next_map(now) is not None:
            calls.append((self._map_pace.due(now), self._describe_map))
        if self._looks_inside(now):
            if self._children.next_child() is not None:
                calls.append((self._list_pace.due(now), self._list_of_child))
            if self._children.next_page() is not None:
                calls.append((self._children_pace.due(now), self._list_children))
        return calls or [(now, self._idle)]

    def _idle(self, _: float) -> bool:
        """Do nothing; the last state is known."""
        return True

    def _is_over(self) -> bool:
        return self._description is not None and self._description.ended

    def _looks_inside(self, now: float) -> bool:
        """Tell whether there is time for the maps inside others: they don't keep a run that has ended for long."""
        return self._ended_at is None or now - self._ended_at < _LAST_LOOK_SECONDS

    def _next_map(self, now: float) -> str | None:
        """Return the Map Run to describe next."""
        if not self._turns or (self._turns[0] not in self._outermost and not self._looks_inside(now)):
            return None
        return self._turns[0]

    # -- what

    def _describe(self, now: float) -> bool:
        self._execution_pace.take(now)
        try:
            answer = self._call(
                lambda sfn: sfn.describe_execution(executionArn=self._run.arn), self._execution_pace, now
            )
        except NotFoundError:
            if not self._may_come(self._run.arn, now):
                raise
            if self._description is None:
                self._say(
                    f"AWS doesn't know the run {self._run.name!r} yet: waiting for {_START_SECONDS:.0f} s at most"
                )
            return False
        self._unknown_since.pop(self._run.arn, None)
        before = self._description
        self._description = RunDescription.read(answer)
        if self._description.ended and (before is None or not before.ended):
            # One more look at everything, the outermost maps first: the last counts are what people come for.
            self._listed_at = None
            self._last_round = set()
            self._ended_at = now
            self._turns = deque(dict.fromkeys((*self._maps, *self._turns)))
        return True

    def _wants_list(self, now: float) -> bool:
        if self._description is None:
            return False
        if self._listed_at is None or self._list_token is not None:
            return True
        running = any(map_run.status == "RUNNING" for map_run in self._maps.values())
        patience = _LOOK_AGAIN_SECONDS if running or self._turns else _BETWEEN_ROUNDS_SECONDS
        return not self._description.ended and (not self._maps or now - self._listed_at >= patience)

    def _list(self, now: float) -> bool:
        self._list_pace.take(now)
        try:
            answer = self._call(lambda sfn: list_map_runs(sfn, self._run.arn, self._list_token), self._list_pace, now)
        except NotFoundError:
            # Answers are eventually consistent: this one is older than that which listed the run.
            if not self._may_come(_LIST, now):
                raise
            self._list_token = None
            return False
        self._unknown_since.pop(_LIST, None)
        self._listed_at, self._list_token = now, answer.get("nextToken")
        for entry in answer["mapRuns"]:
            self._outermost.add(entry["mapRunArn"])
            if entry["mapRunArn"] not in self._maps and entry["mapRunArn"] not in self._turns:
                self._turns.appendleft(entry["mapRunArn"])
        return False

    def _describe_map(self, now: float) -> bool:
        self._map_pace.take(now)
        arn = self._turns.popleft()
        try:
            answer = self._call(lambda sfn: sfn.describe_map_run(mapRunArn=arn), self._map_pace, now)
        except NotFoundError:
            if self._may_come(arn, now):
                self._turns.append(arn)
            else:
                self._say(f"a Map Run is not counted, because AWS doesn't know it, though it listed it: {arn}")
            return False
        except AwsError as error:
            if arn in self._outermost or not is_denied(error):
                self._turns.appendleft(arn)
                raise
            self._denied.add(arn)
            self._say(f"a nested map is not counted: {error}")
            return False
        self._unknown_since.pop(arn, None)
        described = MapRun.read(answer)
        maps = self._maps if arn in self._outermost else self._nested
        maps[arn] = described
        if self._run.pipeline.nesting.may_nest(described.label):
            self._children.saw_map(described)
        if self._last_round is not None:
            self._last_round.add(arn)
        # A nested map that has ended changes no more; the outermost can be redriven.
        if described.status == "RUNNING" and not self._is_over():
            self._turns.append(arn)
        self._sample(now)
        return True

    def _list_children(self, now: float) -> bool:
        """Look at one more page of the children that may have Map Runs of their own."""
        self._children_pace.take(now)
        page = self._children.next_page()
        assert page is not None  # noqa: S101 - narrows the type
        request: ListExecutionsInputTypeDef = {"mapRunArn": page.arn, "maxResults": 100}
        if page.token is not None:
            request["nextToken"] = page.token
        with self._if_allowed():
            self._children.saw_page(self._call(lambda sfn: sfn.list_executions(**request), self._children_pace, now))
        return False

    def _list_of_child(self, now: float) -> bool:
        self._list_pace.take(now)
        child = self._children.next_child()
        assert child is not None  # noqa: S101 - narrows the type
        with self._if_allowed():
            answer = self._call(lambda sfn: list_map_runs(sfn, child.arn, child.token), self._list_pace, now)
            for arn in self._children.saw_child(answer):
                if arn not in self._nested and arn not in self._turns and arn not in self._denied:
                    self._turns.append(arn)
        return False

    def _may_come(self, what: str, now: float) -> bool:
        """Tell whether to wait for what AWS doesn't know: for a while from the first such answer on."""
        return now - self._unknown_since.setdefault(what, now) <= _START_SECONDS

    @contextmanager
    def _if_allowed(self) -> Iterator[None]:
        """Do without the maps inside others where they may not be asked for: the outermost tell how far the run is."""
        try:
            yield
        except NotFoundError:
            return  # an answer that is older than that which listed it: the next round asks again
        except AwsError as error:
            if not is_denied(error):
                raise
            self._children.give_up()
            self._say(f"nested maps are not counted: {error}")

    # -- calls and what goes wrong with them

    def _call(self, call: Callable[[SFNClient], Any], pace: pace_module.Pace, now: float) -> Any:
        client = self._run.aws.sfn(paced=True)
        try:
            answer = call(client)
        except Exception as error:
            if is_gone(error):
                raise NotFoundError(f"AWS doesn't know the run {self._run.name!r}") from error
            translated = translate(error, f"watching {self._run.name!r}")
            if translated is None:
                raise
            if isinstance(translated, ThrottledError):
                pace.was_throttled(now)
            raise translated from error
        pace.went_well()
        return answer

    def _trouble(self, error: AwsError, now: float) -> None:
        """Wait, where waiting can help; raise where it can't."""
        if isinstance(error, ThrottledError):
            self._say("AWS throttles: asking less often")
            return
        if not isinstance(error, ConnectionLostError | CredentialsError):
            raise error
        if isinstance(error, CredentialsError) and not error.code:
            raise error  # there never were any
        wait = min(_LONGEST_WAIT, 2.0**self._failures)
        self._failures += 1
        self._blocked_until = now + wait
        if isinstance(error, CredentialsError):
            self._run.aws.renew()
        goes_on = "" if self._description is None else "the run goes on, "
        self._say(f"{error}; {goes_on}trying again every {_LONGEST_WAIT:.0f} s or sooner")

    def _say(self, text: str) -> None:
        if self._notice is not None and text != self._said:
            self._notice(text)
        self._said = text

    # -- what it adds up to

    def _sample(self, now: float) -> None:
        items_done = sum(map_run.items.done for map_run in self._maps.values())
        self._samples.append((now, items_done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()

    def _rate(self) -> float | None:
        if len(self._samples) < 2:
            return None
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else None

    def _round_numbers(self) -> dict[str, int]:
        try:
            return self._run.round_numbers(self._maps.values())
        except NotFoundError:
            return {}  # no pipeline is in the state machine any more

    def _progress(self, now: float) -> Progress:
        assert self._description is not None  # noqa: S101 - narrows the type
        described = self._description
        nested: dict[str, Counts] = {}
        children: dict[str, Counts] = {}
        runs: dict[str, int] = {}
        for map_run in self._nested.values():
            nested[map_run.label] = nested.get(map_run.label, Counts()) + map_run.items
            children[map_run.label] = children.get(map_run.label, Counts()) + map_run.children
            runs[map_run.label] = runs.get(map_run.label, 0) + 1
        final = (
            described.ended and self._listed_at is not None and all(call == self._idle for _, call in self._calls(now))
        )
        stale = sum(arn not in self._outermost for arn in self._turns) if described.ended else 0
        return Progress(
            name=described.name,
            status=described.status,
            started=described.started,
            stopped=described.stopped,
            rounds=self._round_numbers(),
            ledger=_ledger_of(described.output),
            maps=tuple(sorted(self._maps.values(), key=start_of)),
            nested=nested,
            nested_children=children,
            nested_runs=runs,
            nested_left_out=self._children.left_out + stale + len(self._denied),
            rate=self._rate(),
            error=described.error,
            cause=described.cause,
            final=final,
            complete=self._last_round is None or self._outermost <= self._last_round,
        )


def _ledger_of(output: Any) -> OutputLedger | None:
    """Return what the output of a run has of its account."""
    ledger = output.get("ledger") if isinstance(output, dict) else None
    names = ("captured", "succeeded", "recovered", "rounds")
    is_whole = isinstance(ledger, dict) and all(type(ledger.get(name)) is int for name in names)
    return cast("OutputLedger", ledger) if is_whole else None
