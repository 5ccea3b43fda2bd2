"""The account of maps inside the children of a run, from the files that each of their Map Runs left.

The files of a nested Map Run are at ``runs/<run>/nested/<folder>/<index>[/<index>...]/``, named after the items it is
nested in. A retry of an outer item runs the whole of its inner map again, so of every path the latest run counts; a
round of one is a further Map Run of the same path. Memory grows with the number of nested Map Runs, and with the items
of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distmap import _item_states as item_states
from distmap._errors import ResultsError
from distmap._export import Export, RunFolder, folder_of
from distmap._identity import ItemNumbers
from distmap._item_states import ItemStates
from distmap._noting import counted, note
from distmap._outcomes import Reader
from distmap._stream import count_lines
from distmap._tolerated import is_exceeded
from distmap.wire import (
    ITEMS_FILE,
    MANIFEST_FILE,
    NESTED_FOLDER,
    RESULTS_FOLDER,
    NestedMapSettings,
    ResultsPlace,
    Tolerance,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PATTERN: Final = re.compile(rf"(\d+)/(?:{RESULTS_FOLDER}/[^/]+/{MANIFEST_FILE}|({ITEMS_FILE}))")
_EXAMPLES: Final = 5
_MOST_PROBLEMS: Final = 20
MOST_DESCRIBED: Final = 20
"""Nested Map Runs whose counts AWS is asked for: DescribeMapRun has a refill of one a second for a whole account."""

Describe = Callable[[str], "int | None"]
"""Returns how many items a Map Run has, by its ARN; None where AWS doesn't tell."""


class Exceeding(NamedTuple):
    """A map run in which more items did not succeed than are tolerated."""

    path: str
    """Indexes of the items that it is in, outermost first: ``3/0``."""
    unsuccessful: int
    captured: int
    tolerance: Tolerance


@dataclass(kw_only=True)
class NestedAccount:
    """What became of the items of all Map Runs of one nested map.

    ``succeeded + failed + unprocessed + pending + missing == captured`` holds wherever there is no problem.

    .. versionadded:: 0.1.0
    """

    label: str
    map_runs: int = 0
    captured: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    """Of those that failed."""
    unprocessed: int = 0
    pending: int = 0
    missing: int = 0
    duplicates: int = 0
    counted_by_results: int = 0
    """Map Runs whose number of items is only known from their results: items lost at their end can't be counted."""
    not_begun: int = 0
    """Outer items that did not succeed and left no files here: how many inner items they have isn't known."""
    problems: list[str] = field(default_factory=list)
    """What doesn't add up, a message each."""
    outermost: set[int] = field(default_factory=set)
    """Items of the outermost map in which items of this one did not succeed."""
    exceeding: list[Exceeding] = field(default_factory=list, compare=False)
    """Some of the map runs of which more did not succeed than are tolerated, though the items around them succeeded."""
    exceeding_count: int = field(default=0, compare=False)
    """How many there are of these."""

    @property
    def unsuccessful(self) -> int:
        """Items that did not succeed."""
        return self.captured - self.succeeded

    @property
    def is_complete(self) -> bool:
        """Whether it adds up and nothing is missing."""
        return not self.problems and self.missing == 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "label": self.label,
            "mapRuns": self.map_runs,
            "captured": self.captured,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "timedOut": self.timed_out,
            "unprocessed": self.unprocessed,
            "pending": self.pending,
            "missing": self.missing,
            "duplicates": self.duplicates,
            "countedByResults": self.counted_by_results,
            "notBegun": self.not_begun,
            "complete": self.is_complete,
            "problems": list(self.problems),
        }

    def report(self, problem: str) -> None:
        """Note a problem; no more than can be read."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == _MOST_PROBLEMS:
            self.problems.append("and more of the kind")

    def hold_to(self, tolerance: Tolerance | None, path: str, *, unsuccessful: int, captured: int) -> None:
        """Note whether one Map Run went over its tolerance."""
        if tolerance is None or not is_exceeded(unsuccessful, captured, tolerance):
            return
        self.exceeding_count += 1
        if len(self.exceeding) < _EXAMPLES:
            self.exceeding.append(Exceeding(path.removeprefix("/"), unsuccessful, captured, tolerance))

    def add(self, states: ItemStates, captured: int | None, *, where: str) -> None:
        """Add the items of one Map Run."""
        unidentified = sum(states.unidentified.values())
        whole = len(states.bytes) + unidentified if captured is None else captured
        missing = states.bytes.count(item_states.MISSING) - (unidentified if captured is not None else 0)
        if missing < 0 or states.surplus:
            self.report(f"{where} has {max(-missing, states.surplus):,} more results than items")
        failures = states.errors()
        self.map_runs += 1
        self.captured += whole
        self.counted_by_results += captured is None
        self.succeeded += states.count(item_states.SUCCEEDED)
        self.failed += sum(failure.count for failure in failures)
        self.timed_out += sum(failure.count for failure in failures if failure.timed_out)
        self.unprocessed += states.count(item_states.UNPROCESSED)
        self.pending += states.count(item_states.PENDING)
        self.missing += max(0, missing)
        self.duplicates += states.duplicates
        if missing > 0:
            examples = (
                "" if unidentified else f", such as {', '.join(map(str, states.indexes(item_states.MISSING, most=5)))}"
            )
            self.report(f"{where}: {missing:,} of {whole:,} items are in no result file{examples}")


class RunFiles(NamedTuple):
    """Where the files of a run are, or of a retry."""

    name: str
    bucket: str
    """The payload bucket."""
    prefix: str
    """Where its files begin, without a slash at the end."""
    ended: bool = True


class NestedMapRun(NamedTuple):
    """What became of the items of one nested Map Run."""

    label: str
    """Of its map."""
    path: str
    """Indexes of the items that it is in, outermost first: ``/3/0``."""
    states: ItemStates
    numbers: ItemNumbers
    readers: list[Reader]
    """Of what it exported; more than one where rounds ran its outer item again."""


@dataclass
class _Place:
    """What one run has of one path."""

    run: RunFiles
    manifests: list[str] = field(default_factory=list)
    has_items: bool = False


def nested_accounts(
    s3: S3Client,
    runs: Sequence[RunFiles],
    nested: Sequence[NestedMapSettings],
    states: ItemStates,
    *,
    describe: Describe,
) -> tuple[NestedAccount, ...]:
    """Return the account of every nested map, outer before inner; nothing where no map is nested.

    Args:
        s3: The client to read with.
        runs: The run and its retries, in this order.
        nested: The maps in the children of the outermost one.
        states: What became of the items of the outermost map.
        describe: How many items AWS says that a Map Run has.
    """
    accountant = _Accountant(s3, runs, describe)
    for each in nested:
        for _ in accountant.walk(each, "", states):
            pass
    return tuple(accountant.found.values())


def nested_map_runs(
    s3: S3Client,
    run: RunFiles,
    nested: Sequence[NestedMapSettings],
    states: ItemStates,
    *,
    describe: Describe,
) -> Iterator[NestedMapRun]:
    """Yield every nested Map Run of a run, outer before inner; the arguments are those of :func:`nested_accounts`."""
    accountant = _Accountant(s3, [run], describe)
    for each in nested:
        yield from accountant.walk(each, "", states)


class _Accountant:
    def __init__(self, s3: S3Client, runs: Sequence[RunFiles], describe: Describe) -> None:
        self._s3 = s3
        self._runs = runs
        self._describe = describe
        self._described = 0
        self.found: dict[str, NestedAccount] = {}

    def walk(
        self, nested: NestedMapSettings, parent: str, outer: ItemStates, *, within: bool = True
    ) -> Iterator[NestedMapRun]:
        """Account for every Map Run of a nested map under one path, and for those inside it, and yield each.

        Args:
            nested: The map.
            parent: The path.
            outer: What became of the items around it.
            within: Whether these may still fail for it: not where one further out has failed, which counts already.
        """
        account = self.found.setdefault(nested["label"], NestedAccount(label=nested["label"]))
        places = self._places(nested, parent)
        self._compare(account, outer, places, parent)
        for index, place in sorted(places.items()):
            path = f"{parent}/{index}"
            before, captured = account.unsuccessful, account.captured
            succeeded = outer.succeeded(index)
            map_run = self._one(account, nested, place, path, outer_succeeded=succeeded)
            yield map_run
            bad = account.unsuccessful - before
            if bad:
                account.outermost.add(int(path.split("/")[1]))
            if within and succeeded:
                tolerance = nested.get("tolerance")
                account.hold_to(tolerance, path, unsuccessful=bad, captured=account.captured - captured)
            for inner in nested["nested"]:
                yield from self.walk(inner, path, map_run.states, within=within and succeeded)

    def _compare(self, account: NestedAccount, outer: ItemStates, places: Mapping[int, _Place], parent: str) -> None:
        """Report outer items that succeeded without a trace of their inner map."""
        unidentified = outer.unidentified.get(item_states.SUCCEEDED, 0)
        if unidentified > len(places):
            account.report(
                f"{counted(unidentified, 'item')} around it succeeded, but {len(places):,} of its map runs have files"
            )
            return
        lost = [f"{parent}/{index}" for index in _succeeded(outer) if not (index in places and places[index].manifests)]
        if lost:
            account.report(
                f"{counted(len(lost), 'item')} around it succeeded, but results of its map runs inside them are "
                f"nowhere, such as {', '.join(lost[:_EXAMPLES])}"
            )
        account.not_begun += sum(1 for index in outer.unsuccessful() if index not in places)

    def _places(self, nested: NestedMapSettings, parent: str) -> dict[int, _Place]:
        """Return what the latest run that has any files of a path has of it, by the path's last index."""
        found: dict[int, _Place] = {}
        buckets = dict.fromkeys([nested["resultsBucket"], self._runs[0].bucket])
        for run in self._runs:
            prefix = f"{run.prefix}/{NESTED_FOLDER}/{nested['label']}{parent}/"
            for bucket in buckets:
                for key in self._keys(bucket, prefix):
                    match = _PATTERN.fullmatch(key, len(prefix))
                    if match is None:
                        continue
                    place = found.get(int(match[1]))
                    if place is None or place.run is not run:
                        place = found[int(match[1])] = _Place(run)
                    if match[2] is not None:
                        place.has_items = True
                    else:
                        place.manifests.append(key)
        return found

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (each["Key"] for each in page.get("Contents", []))

    def _one(
        self, account: NestedAccount, nested: NestedMapSettings, place: _Place, path: str, *, outer_succeeded: bool
    ) -> NestedMapRun:
        where = f"the map run in {nested['label']}{path} of {place.run.name!r}"
        manifests: list[ResultsPlace] = [{"bucket": nested["resultsBucket"], "key": key} for key in place.manifests]
        captured = self._captured(nested, place, path, manifests)
        states = ItemStates(captured)

        def report(text: str) -> None:
            account.report(f"{where}: {text}")

        ended = place.run.ended
        numbers = ItemNumbers()
        readers = [self._reader(place.run, manifest, report, numbers) for manifest in manifests]
        try:
            found_files = note(
                readers,
                states,
                batched=nested["batched"],
                report=report,
                files=lambda reader: reader.files(ended=ended),
            )
        except ResultsError as error:
            report(str(error))
            found_files = False
        # Without an export, what isn't known of an outer item that didn't end well is still to come or never began.
        if not ended or (not found_files and not outer_succeeded):
            states.fill_pending()
        account.add(states, captured, where=where)
        return NestedMapRun(nested["label"], path, states, numbers, readers)

    def _reader(
        self, run: RunFiles, place: ResultsPlace, report: Callable[[str], None], numbers: ItemNumbers
    ) -> Reader:
        found = folder_of(place)
        whose = RunFolder(run.bucket, run.prefix, "" if found is None else found.path)
        return Reader(self._s3, place, run=whose, report=report, numbers=numbers)

    def _captured(
        self, nested: NestedMapSettings, place: _Place, path: str, manifests: list[ResultsPlace]
    ) -> int | None:
        """Return how many items a Map Run has; None where neither a file nor AWS tells it."""
        if place.has_items:
            key = f"{place.run.prefix}/{NESTED_FOLDER}/{nested['label']}{path}/{ITEMS_FILE}"
            return count_lines(self._s3, self._runs[0].bucket, key)
        if not manifests or self._described >= MOST_DESCRIBED:
            return None
        counts = []
        for manifest in manifests:
            self._described += 1
            try:
                count = self._describe(Export(self._s3, manifest).manifests()[-1]["MapRunArn"])
            except (ResultsError, KeyError):
                return None  # a manifest that can't be read is reported elsewhere
            if count is None:
                return None
            counts.append(count)
        return max(counts)


def _succeeded(states: ItemStates) -> Iterator[int]:
    at = states.bytes.find(item_states.SUCCEEDED)
    while at >= 0:
        yield at
        at = states.bytes.find(item_states.SUCCEEDED, at + 1)
