"""Which items run again, in which round, and the item file of it.

A round is a Map Run over the items that did not succeed, inside the same execution. What did not succeed for no fault
of its own (it was left unprocessed, is missing or pending, or its child met one of
:data:`distmap.limits.NO_FAULT_ERRORS`) runs again by itself; items that failed run again where ``rerun`` says so, until
they are permanent.

What runs again is an item of the outermost map, so that an item of a nested map runs again with all others of its map
run. That repeats work which is done, and a rerun by hand would repeat the same: so it is done by itself just where the
run would fail otherwise, and where it may help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distmap import _item_states as item_states
from distmap._account_reading import Reading, Step
from distmap._deadline import Deadline
from distmap._envelopes import is_json_lines
from distmap._export import round_folder
from distmap._indexes import IndexSet
from distmap._item_lines import ChangedError, ItemLines
from distmap._nested_account import NestedAccount
from distmap._upload import ItemUpload
from distmap.limits import (
    EARLY_STOP_MIN_BATCHES,
    EARLY_STOP_MIN_ITEMS,
    EARLY_STOP_SLACK_POINTS,
    MOSTLY_LOST_POINTS,
    NO_FAULT_ERRORS,
)
from distmap.wire import ITEMS_FILE, PERMANENT_ERROR, AccountSettings, ItemFile, Origin

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_UNTRIED: Final = (item_states.MISSING, item_states.UNPROCESSED, item_states.PENDING)
ALL_WRONG: Final = (
    "more than half of the items were lost with their children in the first map, so that no round was run for them: "
    "mend what ends the worker, and redrive the run"
)
_ALL_ERRORS: Final = "States.ALL"
_TASK_FAILED: Final = "States.TaskFailed"
_TIMEOUT: Final = "States.Timeout"


class Decision(NamedTuple):
    """What happens after a round."""

    again: frozenset[int]
    """States of the items that run again; none where the rounds end."""
    number: int
    """How many items run again, those of :attr:`around` included."""
    around: frozenset[int] = frozenset()
    """Items beside these that run again because items of maps nested in them did not succeed."""
    untried_inside: int = 0
    """How many items of nested maps did not succeed for no fault of their own."""


def decide(reading: Reading, *, base: int, everything: bool, nested: Sequence[NestedAccount]) -> Decision:
    """Return which items run again after the latest round.

    Rounds for what is no fault of its own end when all of it is done, when the most rounds were run, or when two
    rounds in a row brought no progress: none of their items succeeded, and the second ran them one to a child. Two,
    because one bad moment of a last single item must not end a run that heals itself: where a child's answer is lost
    once in fifty times, one round without progress would give up one run in fifty over its last item, two do one in
    2,500. One to a child, because an item that crashes its batch takes others with it until it is alone.

    Args:
        reading: What was read.
        base: The round after which the run was redriven last; 0 where it wasn't.
        everything: Whether the run has just been redriven after its account had failed it: then everything that did
            not succeed runs again, items that failed too, and those around items of nested maps.
        nested: What became of the items of nested maps.
    """
    settings, states = reading.request.settings, reading.states
    rounds_run = reading.plan[-1].number - base
    if not settings["enveloped"]:
        # Nobody could tell which of the results of a round are of which items.
        return Decision(frozenset(), 0)
    codes = states.codes()
    has_unidentified = any(states.unidentified.values())
    around: set[int] = set()
    untried_inside = sum(nested_map.untried for nested_map in nested)
    if everything and rounds_run == 0:
        chosen = {*_UNTRIED, *codes}
        around = {index for nested_map in nested for index in nested_map.outermost if states.succeeded(index)}
    else:
        by_platform = rounds_run < settings["rounds"] and not _is_stuck(reading, rounds_run)
        if by_platform and rounds_run == 0 and _lost_too_many(reading):
            by_platform = False
            reading.note(ALL_WRONG)
        chosen = set(_UNTRIED) if by_platform else set()
        for code, (error, timed_out, permanent) in codes.items():
            if _is_permanent((error, timed_out, permanent), settings):
                continue
            no_fault = by_platform and (timed_out or error in NO_FAULT_ERRORS)
            if no_fault or _is_rerun(error, settings, rounds_run, timed_out=timed_out):
                chosen.add(code)
        if rounds_run < settings["rounds"] and not _is_stuck_inside(reading, rounds_run, untried_inside):
            left_out = {*chosen, *(code for code in codes if _is_permanent(codes[code], settings))}
            around = {
                index for nested_map in nested for index in nested_map.healing if states.state(index) not in left_out
            }
    if has_unidentified:
        # Of results without an index nobody knows which items they are of, so that what is missing isn't known.
        chosen.discard(item_states.MISSING)
    number = sum(states.bytes.count(state) for state in chosen) + len(around)
    return Decision(frozenset(chosen) if number else frozenset(), number, frozenset(around), untried_inside)


def _is_stuck(reading: Reading, rounds_run: int) -> bool:
    if rounds_run < 2:
        return False
    before, last, now = reading.succeeded[-3:]
    return before == last == now and reading.largest[-1] <= 1


def _lost_too_many(reading: Reading) -> bool:
    """Tell whether the first map has lost so many items with their children that each round would lose them again.

    Where the number of items is known before the map, Step Functions has ended it by then.
    """
    settings, states = reading.request.settings, reading.states
    lost = 0
    for code, (error, timed_out, _) in states.codes().items():
        lost += states.bytes.count(code) if timed_out or error in NO_FAULT_ERRORS else 0
    captured = len(states.bytes) if reading.captured is None else reading.captured
    percentage, count = settings["toleratedFailurePercentage"] or 0, settings["toleratedFailureCount"] or 0
    tolerated = max(MOSTLY_LOST_POINTS * captured, (percentage + EARLY_STOP_SLACK_POINTS) * captured, 100 * count) / 100
    return lost > max(EARLY_STOP_MIN_ITEMS, EARLY_STOP_MIN_BATCHES * reading.largest[-1], tolerated)


def _is_stuck_inside(reading: Reading, rounds_run: int, now: int) -> bool:
    """Tell whether two rounds in a row have healed no item of a nested map."""
    before = reading.request.untried_inside[-2:]
    return rounds_run > 1 and len(before) > 1 and before[0] <= before[1] <= now


def _is_permanent(failure: tuple[str, bool, bool], settings: AccountSettings) -> bool:
    error, timed_out, permanent = failure
    rerun = settings["rerun"]
    named = [] if rerun is None else rerun["permanentErrors"]
    return permanent or error == PERMANENT_ERROR or _is_among(named, error, timed_out=timed_out)


def _is_rerun(error: str, settings: AccountSettings, rounds_run: int, *, timed_out: bool) -> bool:
    rerun = settings["rerun"]
    if rerun is None or rounds_run >= rerun["rounds"]:
        return False
    errors = rerun["errors"]
    return errors is None or _is_among(errors, error, timed_out=timed_out)


def _is_among(names: Sequence[str], error: str, *, timed_out: bool) -> bool:
    """Tell whether an error is one of those that are named, some of them as Step Functions has them for a Retry.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html#error-handling-error-representation
    """
    if _ALL_ERRORS in names or error in names:
        return True
    return (_TIMEOUT if timed_out or error == _TIMEOUT else _TASK_FAILED) in names


def wait_seconds(settings: AccountSettings, rounds_run: int) -> int:
    """Return how long to wait before a round, after so many others."""
    longest = settings["maxWaitSeconds"]
    try:
        seconds = settings["waitSeconds"] * settings["backoffRate"] ** rounds_run
    except OverflowError:
        seconds = longest
    return ceil(min(seconds, longest))


class RoundFile:
    """The item file of a round on its way to S3: it is complete, or not there.

    Items come from the files of earlier rounds, then from the item file of the run, or else, as where a selector made
    them what they are, from the inputs of the children that had them.
    """

    def __init__(self, s3: S3Client, reading: Reading, decision: Decision) -> None:
        """Look at nothing yet."""
        self._s3 = s3
        self._reading = reading
        self._wanted = bytes(state in decision.again for state in range(256))
        self._number = decision.number
        self._around, self._untried_inside = decision.around, decision.untried_inside
        # What is missing, or has succeeded, may be in the input of any child.
        self._anywhere = item_states.MISSING in decision.again or bool(decision.around)
        self._lines = self._new_lines()
        self._count = 0
        self._at = 0
        self._spoilt = False
        self.number = reading.plan[-1].number + 1
        self._folder = round_folder(reading.run.prefix, self.number)
        self._upload = self._new_upload()

    def _new_lines(self, written: IndexSet | None = None) -> ItemLines:
        return ItemLines(self._s3, numbers=self._reading.numbers, wanted=self._is_wanted, written=written)

    def _is_wanted(self, number: int) -> bool:
        return bool(self._wanted[self._reading.states.state(number)]) or number in self._around

    def _new_upload(self, resume: Any = None) -> ItemUpload:
        return ItemUpload(bucket=self._reading.run.bucket, key=f"{self._folder}{ITEMS_FILE}", resume=resume)

    def go_on(self, deadline: Deadline) -> bool:
        """Write until everything is written, or the deadline comes near; return whether everything is."""
        try:
            return self._go_on(deadline)
        except ChangedError:
            # The inputs of children still say what those of them were that were tried.
            self._upload.abandon()
            self._spoilt, self._at, self._count = True, 0, 0
            self._lines, self._upload = self._new_lines(), self._new_upload()
            return self._go_on(deadline)
        except BaseException:
            self._upload.abandon()
            raise

    def _go_on(self, deadline: Deadline) -> bool:
        sources = self._sources()
        while self._at < len(sources) and self._count < self._number:
            for line in self._lines_of(sources[self._at]):
                self._upload.add(line + b"\n", 1)
                self._count += 1
            self._at += 1
            if deadline.is_near() and self._at < len(sources) and self._count < self._number:
                return False
        return True

    def _sources(self) -> list[Step | int | ItemFile]:
        """Return where to look, in this order: numbers are those of rounds."""
        reading = self._reading
        sources: list[Step | int | ItemFile] = [past_round.number for past_round in reversed(reading.plan[1:])]
        origin = reading.origin
        usable = origin is not None and is_json_lines(origin) and not reading.request.settings["selects"]
        if usable and origin is not None and not self._spoilt:
            sources.append(origin)
        else:
            # Everything else is where something did not succeed.
            sources += [step for step in reading.files() if self._anywhere or step in reading.others]
        return sources

    def _lines_of(self, source: Step | int | ItemFile) -> Iterator[bytes]:
        reading = self._reading
        if isinstance(source, int):
            folder = round_folder(reading.run.prefix, source)
            return self._lines.of_envelopes(reading.run.bucket, f"{folder}{ITEMS_FILE}")
        if isinstance(source, Step):
            reader, file = reading.quiet_reader(source), reading.file(source)
            return self._lines.of_children(reader, file, well=bool(self._around))
        if source.get("enveloped") is True:
            return self._lines.of_envelopes(source["bucket"], source["key"])
        return self._lines.of_file(source, reading.captured)

    def complete(self) -> ItemFile | None:
        """Complete the file, and return what the round's map gets to know about it; None where there is no item."""
        if not self._count:
            return None
        reading, request = self._reading, self._reading.request
        first: Any = None if reading.origin is None else reading.origin.get("firstRun")
        written = self._upload.complete()
        origin: Origin = {"items": request.items, "results": request.results, "mapRunArn": request.map_run}
        items: ItemFile = {
            "bucket": written["bucket"],
            "key": written["key"],
            "count": written["count"],
            "enveloped": True,
            "firstRun": first if isinstance(first, str) else request.run.get("firstRun", request.run["id"]),
            "round": self.number,
            "origin": origin,
        }
        if request.settings["nested"]:
            items["untriedInside"] = [*request.untried_inside[-1:], self._untried_inside]
        return items

    def suspend(self) -> tuple[dict[str, Any], bytes]:
        """Leave it for another invocation: what that one needs, and what was written as bits."""
        suspended = {"at": self._at, "count": self._count, "spoilt": self._spoilt, "upload": self._upload.suspend()}
        return suspended, bytes(self._lines.written)

    def resume(self, suspended: dict[str, Any], written: bytes) -> None:
        """Take up what :meth:`suspend` returned."""
        self._at, self._count, self._spoilt = suspended["at"], suspended["count"], suspended["spoilt"]
        self._lines, self._upload = self._new_lines(IndexSet.of(written)), self._new_upload(suspended["upload"])
