"""Reading what a run and its rounds exported into the states of items, over as many invocations as that takes.

Everything is read anew each time, so that the account is a matter of the files alone. It is read in steps, one for
each file; between two of them reading can be left and taken up by another invocation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from distmap import _item_states as item_states
from distmap._account_event import Request
from distmap._clients import states_client
from distmap._deadline import Deadline
from distmap._envelopes import envelopes, is_json_lines
from distmap._errors import ResultsError
from distmap._export import (
    File,
    RunFolder,
    manifests_below,
    results_folder,
    round_folder,
    rounds_begun,
)
from distmap._identity import ItemNumbers
from distmap._item_states import ItemStates
from distmap._measured import Measured
from distmap._nested_reading import Describe, NestedReading, RunFiles
from distmap._noting import OF_BATCHES, FileTally, Problems, counted, note_file
from distmap._outcomes import Reader
from distmap._stream import count_lines, is_missing
from distmap.limits import NO_FAULT_ERRORS
from distmap.wire import ITEMS_FILE, ItemFile, ResultsPlace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ASK_AGAIN_SECONDS: Final = (1, 2, 4, 8)
"""DescribeMapRun is eventually consistent: how long to wait where it says less than was seen."""

_REDRIVE: Final = re.compile(r"Redrive-\d+/")


class Source(NamedTuple):
    """One map run of a round."""

    place: ResultsPlace
    files: list[File]


class RoundPlan(NamedTuple):
    """What a round exported; the first of them is the map of the source."""

    number: int
    sources: list[Source]

    @property
    def exported(self) -> bool:
        """Whether there is any file."""
        return any(source.files for source in self.sources)


class Step(NamedTuple):
    """A piece of reading."""

    kind: Literal["begin", "file", "sum", "end"]
    round: int
    source: int = 0
    file: int = 0


class Reading:
    """The states of a run's items, from what its map and its rounds exported.

    Attributes:
        states: What became of each item.
        captured: How many items there are; None where it isn't known.
        captured_from: Where that is from, as in :class:`Account`.
        succeeded: Items that had succeeded after each round.
        largest: Items of the largest child of each round that had any that did not succeed.
        measured: What batches measured of their items.
        others: Which files tell of items that did not succeed, as steps.
        plan: What there is to read.
        describe: How many items AWS says that a Map Run has.
    """

    def __init__(self, s3: S3Client, request: Request, *, describe: Describe) -> None:
        """Look at nothing yet."""
        self._s3 = s3
        self.request = request
        self.describe = describe
        self.run = RunFolder(request.run["bucket"], request.run["prefix"])
        rerun = request.settings["rerun"]
        self._named = set(NO_FAULT_ERRORS)
        if rerun is not None:
            self._named |= {*(rerun["errors"] or ()), *rerun["permanentErrors"]}
        self.states = ItemStates(None, named=self._named)
        self.numbers = ItemNumbers()
        self.problems = Problems()
        self.notes: list[str] = []
        self.captured: int | None = None
        self.captured_from = "results"
        self.origin = request.items
        self.succeeded: list[int] = []
        self.largest: list[int] = []
        self.measured = Measured()
        self.others: set[Step] = set()
        self.plan: list[RoundPlan] = []
        self._steps: list[Step] = []
        self._at = 0
        self._told_of_batches = False
        self._counted = False
        self._readers: dict[tuple[int, int], Reader] = {}

    # -- what there is

    def begin(self) -> None:
        """Find out what there is to read, and how many items there are."""
        self.find_files()
        if self.origin is None and self.request.ended is not None:
            self.origin = self._captured_file()
        self._count()

    def find_files(self) -> None:
        """Find out what there is to read."""
        request = self.request
        self.plan, self.problems = [], Problems()
        results_bucket = request.settings["resultsBucket"]
        if request.round is None:
            numbers = [0, *rounds_begun(self._s3, results_bucket, self.run.prefix)]
        else:
            numbers = list(range(request.round + 1))
        for number in numbers:
            places = manifests_below(self._s3, results_bucket, results_folder(self.run.prefix, number))
            if number == request.round:
                places = self._with_latest(places)
            self.plan.append(RoundPlan(number, [self._source(place) for place in places]))
        self._steps = list(_steps(self.plan))

    def _captured_file(self) -> ItemFile | None:
        key = f"{self.run.prefix}/{ITEMS_FILE}"
        try:
            self._s3.head_object(Bucket=self.run.bucket, Key=key)
        except Exception as error:
            if is_missing(error):
                return None
            raise
        return {"bucket": self.run.bucket, "key": key}

    def _with_latest(self, places: list[ResultsPlace]) -> list[ResultsPlace]:
        latest = self.request.latest
        if latest is None:
            return places
        first: ResultsPlace = {"bucket": latest["bucket"], "key": _REDRIVE.sub("", latest["key"])}
        return places if first in places else [first, *places]

    def _source(self, place: ResultsPlace) -> Source:
        try:
            return Source(place, self._new_reader(place).files())
        except ResultsError as error:
            self.problems.add(str(error))
            return Source(place, [])

    def _count(self) -> None:
        origin = self.origin
        if origin is None:
            if not self.request.results and self.request.ended is None:
                self.captured, self.captured_from = 0, "item file"
                self.states = ItemStates(0, named=self._named)
            return
        count: Any = origin.get("count")
        if origin.get("enveloped") is True:
            if is_json_lines(origin):
                self.captured = self.states.expect(self._indexes(origin["bucket"], origin["key"]))
                self.captured_from = "item file"
            return
        if type(count) is int and count >= 0:
            self.captured = count
        elif is_json_lines(origin):
            self.captured = count_lines(self._s3, origin["bucket"], origin["key"])
            self._counted = self.captured is not None
        if self.captured is not None:
            self.captured_from = "item file"
            self.states = ItemStates(self.captured, named=self._named)

    def _indexes(self, bucket: str, key: str) -> Iterator[int]:
        for envelope in envelopes(self._s3, bucket, key, self.problems.add, index_only=True):
            yield self.numbers.number(envelope["index"], envelope.get("source"))

    # -- reading it

    def go_on(self, deadline: Deadline) -> bool:
        """Read until everything is read, or the deadline comes near: at least one step. Return whether all is read."""
        while self._at < len(self._steps):
            started = monotonic()
            step = self._steps[self._at]
            self._take(step)
            self._at += 1
            if step.kind in {"begin", "file"}:
                deadline.learn(started, monotonic())
                if deadline.is_near() and self._at < len(self._steps):
                    return False
        return True

    def _take(self, step: Step) -> None:
        if step.kind == "begin":
            self._begin_round(step.round)
        elif step.kind == "file":
            file = self.plan[step.round].sources[step.source].files[step.file]
            tally = FileTally(self.measured)
            unclear = note_file(
                self.reader(step), file, self.states, batched=self.request.settings["batched"], tally=tally
            )
            if unclear and not self._told_of_batches:
                self._told_of_batches = True
                self.problems.add(OF_BATCHES)
            self.largest[step.round] = max(self.largest[step.round], tally.largest)
            if tally.others:
                self.others.add(step)
        elif step.kind == "sum":
            self.reader(step).report_misfits()
            if step.source < len(self.plan[step.round].sources) - 1:
                self.states.begin_again()
        else:
            self._end_round(step.round)

    def _begin_round(self, number: int) -> None:
        self.largest.append(0)
        # Where another map run tried items again, a failure before it is no second result of theirs.
        self.states.once = len(self.plan[number].sources) == 1
        if number:
            folder = round_folder(self.run.prefix, self.plan[number].number)
            self.states.reset(self._indexes(self.run.bucket, f"{folder}{ITEMS_FILE}"))

    def _end_round(self, number: int) -> None:
        self.states.settle()
        self.succeeded.append(self.states.count(item_states.SUCCEEDED))
        if self.request.ended is not None and not self.plan[number].exported:
            # Ended before the export: which of its items were done is in no file.
            if self.captured is None and number == 0:
                self._ask(number)
            self.states.fill_pending()

    def settle(self) -> None:
        """Find out how many items there are, where only AWS tells it."""
        if self.captured is None:
            self._ask(0)
        elif self._counted and self.request.ended is None and self.request.map_run is not None and self.origin:
            total = self.describe(self.request.map_run)
            if total is not None and total != self.captured:
                self.problems.add(
                    f"s3://{self.origin['bucket']}/{self.origin['key']} has {counted(self.captured, 'item')}, and the "
                    f"Map Run had {total:,}: the file has changed since"
                )

    def _ask(self, number: int) -> None:
        arns = self._map_runs(number)
        if not arns:
            return
        items_met = max(len(self.states.bytes), sum(self.states.unidentified.values()))
        for wait in (*_ASK_AGAIN_SECONDS, None):
            counts = [self.describe(arn) for arn in arns]
            known_counts = [count for count in counts if count is not None]
            if not known_counts or max(known_counts) >= items_met or wait is None:
                break
            sleep(wait)
        if known_counts:
            self.captured, self.captured_from = max(known_counts), "map run"
            self.states.limit(self.captured)
        else:
            self.note(
                "AWS doesn't tell how many items the map had, so they are counted by their results alone, and items "
                "lost at the end can't be told"
            )

    def _map_runs(self, number: int) -> list[str]:
        arns = [self.request.map_run] if self.request.map_run is not None else []
        for source in self.plan[number].sources:
            with suppress(ResultsError):  # reported already
                arns += [manifest["MapRunArn"] for manifest in self._new_reader(source.place).export.manifests()[-1:]]
        return [arn for arn in dict.fromkeys(arns) if ":mapRun:" in arn]

    def reader(self, step: Step) -> Reader:
        """Return the reader of a map run."""
        key = step.round, step.source
        if key not in self._readers:
            self._readers[key] = self._new_reader(self.plan[step.round].sources[step.source].place)
        return self._readers[key]

    def quiet_reader(self, step: Step) -> Reader:
        """Return one that reports nothing: what doesn't fit has been reported."""
        place = self.plan[step.round].sources[step.source].place
        return Reader(self._s3, place, run=self.run, report=lambda _: None, numbers=self.numbers)

    def file(self, step: Step) -> File:
        """Return the file of a step."""
        return self.plan[step.round].sources[step.source].files[step.file]

    def files(self) -> list[Step]:
        """Return all files, in the order in which they are read."""
        return [step for step in self._steps if step.kind == "file"]

    def _new_reader(self, place: ResultsPlace) -> Reader:
        return Reader(self._s3, place, run=self.run, report=self.problems.add, numbers=self.numbers)

    # -- between two invocations

    def note(self, text: str) -> None:
        """Note what is worth knowing, once."""
        if text not in self.notes:
            self.notes.append(text)

    def suspend(self) -> dict[str, Any]:
        """Return everything but the bytes of the states, as JSON."""
        return {
            "at": self._at,
            "plan": [
                [past_round.number, [[source.place, source.files] for source in past_round.sources]]
                for past_round in self.plan
            ],
            "origin": self.origin,
            "captured": self.captured,
            "capturedFrom": self.captured_from,
            "succeeded": self.succeeded,
            "largest": self.largest,
            "measured": self.measured.suspend(),
            "others": sorted(self.others),
            "problems": [self.problems.kept, self.problems.more],
            "notes": self.notes,
            "toldOfBatches": self._told_of_batches,
            "counted": self._counted,
            "readers": [[*key, reader.suspend()] for key, reader in self._readers.items()],
            "once": self.states.once,
            "states": self.states.suspend(),
            "numbers": self.numbers.suspend(),
        }

    def resume(self, suspended: dict[str, Any], states: bytes) -> None:
        """Take up what :meth:`suspend` returned."""
        self.plan = [
            RoundPlan(number, [Source(place, [File(*file) for file in files]) for place, files in sources])
            for number, sources in suspended["plan"]
        ]
        self._steps, self._at = list(_steps(self.plan)), suspended["at"]
        self.origin, self.captured, self.captured_from = (
            suspended["origin"],
            suspended["captured"],
            suspended["capturedFrom"],
        )
        self.succeeded, self.largest = suspended["succeeded"], suspended["largest"]
        self.measured.resume(suspended["measured"])
        self.others = {Step(*step) for step in suspended["others"]}
        self.problems, self.notes = Problems(*suspended["problems"]), list(suspended["notes"])
        self._told_of_batches, self._counted = suspended["toldOfBatches"], suspended["counted"]
        self.states.resume(suspended["states"], states)
        self.states.once = suspended["once"]
        self.numbers.resume(suspended["numbers"])
        for number, source, of_reader in suspended["readers"]:
            self.reader(Step("file", number, source)).resume(of_reader)


def nested_reading(
    s3: S3Client, request: Request, *, describe: Describe, only: Collection[int] | None = None
) -> NestedReading:
    """Return what reads the nested maps of a run: all of it, or what is inside some of its outermost items."""
    run = request.run
    files = [RunFiles(run["name"], run["bucket"], run["prefix"])]
    return NestedReading(s3, files, request.settings["nested"], describe=describe, only=only)


def items_of_map_run(arn: str) -> int | None:
    """Return how many items AWS says that a Map Run has; None where it has forgotten it, or doesn't tell us.

    It doesn't where the map got another label, and so the function other rights, while the run went on.
    """
    client = states_client()
    try:
        total: int = client.describe_map_run(mapRunArn=arn)["itemCounts"]["total"]
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in {"AccessDeniedException", "ResourceNotFound"}:
            return None
        raise
    return total


def _steps(plan: list[RoundPlan]) -> Iterator[Step]:
    for number, past_round in enumerate(plan):
        yield Step("begin", number)
        for at, source in enumerate(past_round.sources):
            for file in range(len(source.files)):
                yield Step("file", number, at, file)
            yield Step("sum", number, at)
        yield Step("end", number)
