"""The account of maps inside the children of a run, from the files that each of their Map Runs left.

The files of a nested Map Run are at ``runs/<run>/nested/<folder>/<index>[/<index>...]/``, named after the items it is
nested in. A retry of an outer item runs the whole of its inner map again, so of every path the latest run counts.
Memory grows with the number of nested Map Runs, and with the items of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import NotReadyError, ResultFilesError, RunsError
from cdk_distributed_map.runs.files import item_files, item_states, scan
from cdk_distributed_map.runs.files.item_states import ItemStates
from cdk_distributed_map.runs.files.reader import note
from cdk_distributed_map.runs.text import counted
from distmap._errors import ResultsError
from distmap._export import Export
from distmap._identity import ItemNumbers
from distmap.wire import ITEMS_FILE, MANIFEST_FILE, NESTED_FOLDER, RESULTS_FOLDER, ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.definition import NestedMap
    from cdk_distributed_map.runs.find.handles import RunHandle

_PATTERN: Final = re.compile(rf"(\d+)/(?:{RESULTS_FOLDER}/[^/]+/{MANIFEST_FILE}|({ITEMS_FILE}))")
_EXAMPLES: Final = 5
_MOST_PROBLEMS: Final = 20
_MOST_DESCRIBED: Final = 20
"""Nested Map Runs whose counts AWS is asked for: DescribeMapRun has a refill of one a second for a whole account."""


@dataclass(kw_only=True)
class NestedAccount:
    """What became of the items of all Map Runs of one nested map.

    ``succeeded + failed + unprocessed + pending + missing == captured`` holds wherever there is no problem.
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
    """Map Runs whose number of items is only known from their results: what is lost at their end can't be told."""
    not_begun: int = 0
    """Outer items that did not succeed and left no files here: how many inner items they have isn't known."""
    problems: list[str] = field(default_factory=list)
    """What doesn't add up, in words."""
    outermost: set[int] = field(default_factory=set)
    """Items of the outermost map in which items of this one did not succeed."""

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

    def add(self, states: ItemStates, captured: int | None, *, where: str) -> None:
        """Add the items of one Map Run."""
        bare = sum(states.bare.values())
        whole = len(states.bytes) + bare if captured is None else captured
        missing = states.bytes.count(item_states.MISSING) - (bare if captured is not None else 0)
        if missing < 0 or states.surplus:
            self.report(f"{where} has {max(-missing, states.surplus):,} more results than items")
        failures = states.errors()
        self.map_runs += 1
        self.captured += whole
        self.counted_by_results += captured is None
        self.succeeded += states.count(item_states.SUCCEEDED)
        self.failed += sum(each.count for each in failures)
        self.timed_out += sum(each.count for each in failures if each.timed_out)
        self.unprocessed += states.count(item_states.UNPROCESSED)
        self.pending += states.count(item_states.PENDING)
        self.missing += max(0, missing)
        self.duplicates += states.duplicates
        if missing > 0:
            examples = "" if bare else f", such as {', '.join(map(str, states.indexes(item_states.MISSING, most=5)))}"
            self.report(f"{where}: {missing:,} of {whole:,} items are in no result file{examples}")


@dataclass
class _Place:
    """What one run has of one path."""

    run: RunHandle
    manifests: list[str] = field(default_factory=list)
    has_items: bool = False


def accounts(runs: Sequence[RunHandle], states: ItemStates, *, ended: Mapping[str, bool]) -> tuple[NestedAccount, ...]:
    """Return the account of every nested map, outer before inner; nothing where no map is nested.

    Args:
        runs: The run and its retries, in this order.
        states: What became of the items of the outermost map.
        ended: Whether each run has ended, by name.

    Raises:
        AwsError: AWS refused a call.
    """
    reader = _Accountant(runs, ended)
    for nested in runs[0].pipeline.definition.item_file.nested_maps:
        reader.walk(nested, "", states)
    return tuple(reader.found.values())


class _Accountant:
    def __init__(self, runs: Sequence[RunHandle], ended: Mapping[str, bool]) -> None:
        self._runs = runs
        self._ended = ended
        self._s3 = runs[0].aws.s3()
        self._described = 0
        self.found: dict[str, NestedAccount] = {}

    def walk(self, nested: NestedMap, parent: str, outer: ItemStates) -> None:
        """Account for every Map Run of a nested map under one path, and for those inside it."""
        account = self.found.setdefault(nested.folder, NestedAccount(label=nested.folder))
        places = self._places(nested, parent)
        self._compare(account, outer, places, parent)
        for index, place in sorted(places.items()):
            path = f"{parent}/{index}"
            before = account.unsuccessful
            states = self._one(account, nested, place, path, outer_succeeded=outer.succeeded(index))
            if account.unsuccessful > before:
                account.outermost.add(int(path.split("/")[1]))
            for inner in nested.nested:
                self.walk(inner, path, states)

    def _compare(self, account: NestedAccount, outer: ItemStates, places: Mapping[int, _Place], parent: str) -> None:
        """Report outer items that succeeded without a trace of their inner map."""
        bare = outer.bare.get(item_states.SUCCEEDED, 0)
        if bare > len(places):
            account.report(
                f"{counted(bare, 'item')} around it succeeded, but {len(places):,} of its map runs have files"
            )
            return
        lost = [f"{parent}/{index}" for index in _succeeded(outer) if not (index in places and places[index].manifests)]
        if lost:
            account.report(
                f"{counted(len(lost), 'item')} around it succeeded, but results of its map runs inside them are "
                f"nowhere, such as {', '.join(lost[:_EXAMPLES])}"
            )
        account.not_begun += sum(1 for index in outer.unsuccessful() if index not in places)

    def _places(self, nested: NestedMap, parent: str) -> dict[int, _Place]:
        """Return what the latest run that has any files of a path has of it, by the path's last index."""
        found: dict[int, _Place] = {}
        buckets = dict.fromkeys([nested.results_bucket, self._runs[0].pipeline.definition.item_file.bucket])
        for run in self._runs:
            prefix = f"{run.prefix}{NESTED_FOLDER}/{nested.folder}{parent}/"
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
        with errors(f"listing s3://{bucket}/{prefix}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                yield from (each["Key"] for each in page.get("Contents", []))

    def _one(
        self, account: NestedAccount, nested: NestedMap, place: _Place, path: str, *, outer_succeeded: bool
    ) -> ItemStates:
        where = f"the map run in {nested.folder}{path} of {place.run.name!r}"
        manifests: list[ResultsPlace] = [{"bucket": nested.results_bucket, "key": key} for key in place.manifests]
        captured = self._captured(nested, place, path, manifests)
        states = ItemStates(captured)

        def report(text: str) -> None:
            account.report(f"{where}: {text}")

        ended = self._ended.get(place.run.name, True)
        numbers = ItemNumbers()
        readers = [scan.reader(place.run, each, report=report, numbers=numbers) for each in manifests]
        with errors(f"reading the results of {nested.folder}{path} of {place.run.name!r}"):
            try:
                some = note(readers, states, batched=nested.batched, report=report, ended=ended)
            except (NotReadyError, ResultFilesError) as error:
                report(str(error))
                some = False
        # Without an export, what isn't known of an outer item that didn't end well is still to come or never began.
        if not ended or (not some and not outer_succeeded):
            states.fill_pending()
        account.add(states, captured, where=where)
        return states

    def _captured(self, nested: NestedMap, place: _Place, path: str, manifests: list[ResultsPlace]) -> int | None:
        """Return how many items a Map Run has; None where neither a file nor AWS tells it."""
        if place.has_items:
            bucket = self._runs[0].pipeline.definition.item_file.bucket
            key = f"{place.run.prefix}{NESTED_FOLDER}/{nested.folder}{path}/{ITEMS_FILE}"
            return item_files.count_lines(place.run.aws, bucket=bucket, key=key)
        if not manifests or self._described >= _MOST_DESCRIBED:
            return None
        counts = []
        for each in manifests:
            self._described += 1
            try:
                with errors(f"reading s3://{each['bucket']}/{each['key']}"):
                    arn = Export(self._s3, each).manifests()[-1]["MapRunArn"]
                counts.append(place.run.describe_map_run(arn).items.total)
            except (RunsError, ResultsError, KeyError):
                # AWS forgets Map Runs after 90 days, and a manifest that can't be read is told of elsewhere.
                return None
        return max(counts)


def _succeeded(states: ItemStates) -> Iterator[int]:
    at = states.bytes.find(item_states.SUCCEEDED)
    while at >= 0:
        yield at
        at = states.bytes.find(item_states.SUCCEEDED, at + 1)
