"""Reads what each Map Run inside the children of a run left, for the account of its items.

The files of a nested Map Run are at ``runs/<run>/nested/<folder>/<index>[/<index>...]/``, named after the items it is
nested in. Where an outer item runs again, so does the whole of its inner map: in a retry, so that of every path the
latest run counts; and in a round, which leaves a further Map Run of the same path. Memory grows with the number of
nested Map Runs, and with the items of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distmap import _item_states as item_states
from distmap._deadline import Deadline, Endless
from distmap._errors import ResultsError
from distmap._export import Export, RunFolder, folder_of
from distmap._identity import ItemNumbers
from distmap._item_states import ItemStates
from distmap._nested_account import NestedAccount
from distmap._noting import counted, note
from distmap._outcomes import Reader
from distmap._stream import count_lines
from distmap._tolerated import is_exceeded
from distmap.limits import NO_FAULT_ERRORS
from distmap.wire import (
    ITEMS_FILE,
    MANIFEST_FILE,
    NESTED_FOLDER,
    RESULTS_FOLDER,
    NestedMapSettings,
    ResultsPlace,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PATTERN: Final = re.compile(rf"(\d+)/(?:{RESULTS_FOLDER}/[^/]+/{MANIFEST_FILE}|({ITEMS_FILE}))")
_EXAMPLES: Final = 5
MOST_DESCRIBED: Final = 20
"""Nested Map Runs whose counts AWS is asked for: DescribeMapRun has a refill of one a second for a whole account."""
STOPPED_EARLY: Final = "States.ExceedToleratedFailureThreshold"
"""What a child fails with whose map went over its tolerance."""

Describe = Callable[[str], "int | None"]
"""Returns how many items a Map Run has, by its ARN; None where AWS doesn't tell."""


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
class _Results:
    """What one run has of one path."""

    run: RunFiles
    found: list[tuple[Any, str]] = field(default_factory=list)
    """When each manifest was written, and its key."""
    has_items: bool = False

    @property
    def manifests(self) -> list[str]:
        """Keys of the manifests, that of the latest Map Run first."""
        return [key for _, key in sorted(self.found, key=lambda each: each[0], reverse=True)]


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
    reading = NestedReading(s3, runs, nested, describe=describe)
    reading.go_on(states, Endless())
    return reading.accounts


class NestedReading:
    """Reads the nested Map Runs of a run and its retries, one outermost item after the other.

    Attributes:
        described: How many items AWS said that a Map Run has, by its ARN.
    """

    def __init__(
        self,
        s3: S3Client,
        runs: Sequence[RunFiles],
        nested: Sequence[NestedMapSettings],
        *,
        describe: Describe,
        only: Collection[int] | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            s3: The client to read with.
            runs: The run and its retries, in this order.
            nested: The maps in the children of the outermost one.
            describe: How many items AWS says that a Map Run has.
            only: Which outermost items to look into. Default: all of them.
        """
        self._s3 = s3
        self._runs = runs
        self._nested = nested
        self._describe = describe
        self._only = only
        self._at = [0, -1]
        self._found: dict[str, NestedAccount] = {}
        self.described: dict[str, int | None] = {}

    @property
    def accounts(self) -> tuple[NestedAccount, ...]:
        """The account of every nested map, outer before inner."""
        return tuple(self._found.values())

    def go_on(self, states: ItemStates, deadline: Deadline) -> bool:
        """Read until everything is read, or the deadline comes near: at least one outermost item.

        Args:
            states: What became of the items of the outermost map.
            deadline: Until when.

        Returns:
            Whether everything is read.
        """
        started = monotonic()
        for map_run in self.map_runs(states):
            if map_run is None:
                deadline.learn(started, monotonic())
                if deadline.is_near():
                    return False
                started = monotonic()
        return True

    def map_runs(self, states: ItemStates) -> Iterator[NestedMapRun | None]:
        """Yield every nested Map Run, outer before inner, and None where all of an outermost item were."""
        while self._at[0] < len(self._nested):
            nested, after = self._nested[self._at[0]], self._at[1]
            account, places = self._account(nested), self._places(nested, "")
            if after < 0:
                self._compare(account, states, places, "")
            for index in sorted(places):
                if index <= after or (self._only is not None and index not in self._only):
                    continue
                if (yield from self._inside(nested, places[index], "", index, states)):
                    account.healing.add(index)
                self._at[1] = index
                yield None
            self._at = [self._at[0] + 1, -1]

    def suspend(self) -> dict[str, Any]:
        """Leave it for another invocation: what that one needs."""
        return {
            "at": list(self._at),
            "accounts": [each.suspend() for each in self._found.values()],
            "described": list(self.described.items()),
        }

    def resume(self, left: dict[str, Any]) -> None:
        """Take up what :meth:`suspend` returned."""
        self._at = list(left["at"])
        self._found = {each["label"]: NestedAccount.resume(each) for each in left["accounts"]}
        self.described = dict(left["described"])

    def _account(self, nested: NestedMapSettings) -> NestedAccount:
        return self._found.setdefault(nested["label"], NestedAccount(label=nested["label"]))

    def _walk(
        self, nested: NestedMapSettings, parent: str, outer: ItemStates, *, within: bool
    ) -> Generator[NestedMapRun, None, set[int]]:
        """Account for every Map Run of a map inside others, and for those inside it, and yield each.

        Args:
            nested: The map.
            parent: The path of the Map Run around it.
            outer: What became of the items of that one.
            within: Whether these may still fail for it: not where one further out has failed, which counts already.

        Returns:
            The items around it that would be healed by running again.
        """
        account, places = self._account(nested), self._places(nested, parent)
        self._compare(account, outer, places, parent)
        healing = set()
        for index in sorted(places):
            if (yield from self._inside(nested, places[index], parent, index, outer, within=within)):
                healing.add(index)
        return healing

    def _inside(
        self,
        nested: NestedMapSettings,
        place: _Results,
        parent: str,
        index: int,
        outer: ItemStates,
        *,
        within: bool = True,
    ) -> Generator[NestedMapRun, None, bool]:
        """Account for what is inside an item, yield each Map Run, and return whether running again would heal it."""
        account, path = self._account(nested), f"{parent}/{index}"
        bad, captured, missing = account.unsuccessful, account.captured, account.missing
        succeeded = outer.succeeded(index)
        map_run = self._one(account, nested, place, path, outer_succeeded=succeeded)
        yield map_run
        bad, captured = account.unsuccessful - bad, account.captured - captured
        if bad:
            account.outermost.add(int(path.split("/")[1]))
        if within and succeeded:
            account.hold_to(nested.get("tolerance"), path, unsuccessful=bad, captured=captured)
        healing: set[int] = set()
        for inner in nested["nested"]:
            healing |= yield from self._walk(inner, path, map_run.states, within=within and succeeded)
        if not succeeded and not _is_stopped_early(outer, index):
            return False
        faults = _faults(map_run.states, healing)
        account.untried += bad - faults
        exceeded, hopeless = bad > 0 and not succeeded, faults > 0
        tolerance = nested.get("tolerance")
        if tolerance is not None:
            exceeded = is_exceeded(bad, captured, tolerance)
            hopeless = is_exceeded(faults, captured, tolerance)
        heals = exceeded or account.missing > missing or bool(healing)
        # Items that can't be told apart would be counted again.
        return heals and not hopeless and not map_run.states.unidentified

    def _compare(self, account: NestedAccount, outer: ItemStates, places: Mapping[int, _Results], parent: str) -> None:
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

    def _places(self, nested: NestedMapSettings, parent: str) -> dict[int, _Results]:
        """Return what the latest run that has any files of a path has of it, by the path's last index."""
        found: dict[int, _Results] = {}
        buckets = dict.fromkeys([nested["resultsBucket"], self._runs[0].bucket])
        for run in self._runs:
            prefix = f"{run.prefix}/{NESTED_FOLDER}/{nested['label']}{parent}/"
            for bucket in buckets:
                for key, modified in self._keys(bucket, prefix):
                    match = _PATTERN.fullmatch(key, len(prefix))
                    if match is None:
                        continue
                    place = found.get(int(match[1]))
                    if place is None or place.run is not run:
                        place = found[int(match[1])] = _Results(run)
                    if match[2] is not None:
                        place.has_items = True
                    else:
                        place.found.append((modified, key))
        return found

    def _keys(self, bucket: str, prefix: str) -> Iterator[tuple[str, Any]]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from ((each["Key"], each["LastModified"]) for each in page.get("Contents", []))

    def _one(
        self, account: NestedAccount, nested: NestedMapSettings, place: _Results, path: str, *, outer_succeeded: bool
    ) -> NestedMapRun:
        where = f"the map run in {nested['label']}{path} of {place.run.name!r}"
        manifests: list[ResultsPlace] = [{"bucket": nested["resultsBucket"], "key": key} for key in place.manifests]
        captured = self._captured(nested, place, path, manifests)
        states = ItemStates(captured, named=NO_FAULT_ERRORS)

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
                latest_if_unidentified=True,
            )
        except ResultsError as error:
            report(str(error))
            found_files = False
        # Without an export, what isn't known of an outer item that didn't end well is still to come or never began.
        if not ended or (not found_files and not outer_succeeded):
            states.fill_pending()
        account.add(states, captured, where=where)
        return NestedMapRun(nested["label"], path, states, numbers, readers[:1] if states.unidentified else readers)

    def _reader(
        self, run: RunFiles, place: ResultsPlace, report: Callable[[str], None], numbers: ItemNumbers
    ) -> Reader:
        found = folder_of(place)
        whose = RunFolder(run.bucket, run.prefix, "" if found is None else found.path)
        return Reader(self._s3, place, run=whose, report=report, numbers=numbers)

    def _captured(
        self, nested: NestedMapSettings, place: _Results, path: str, manifests: list[ResultsPlace]
    ) -> int | None:
        """Return how many items a Map Run has; None where neither a file nor AWS tells it."""
        if place.has_items:
            key = f"{place.run.prefix}/{NESTED_FOLDER}/{nested['label']}{path}/{ITEMS_FILE}"
            return count_lines(self._s3, self._runs[0].bucket, key)
        if not manifests or len(self.described) >= MOST_DESCRIBED:
            return None
        counts = []
        for manifest in manifests:
            try:
                arn = Export(self._s3, manifest).manifests()[-1]["MapRunArn"]
            except (ResultsError, KeyError):
                return None  # a manifest that can't be read is reported elsewhere
            count = self.described[arn] = self._describe(arn)
            if count is None:
                return None
            counts.append(count)
        return max(counts)


def _is_stopped_early(states: ItemStates, index: int) -> bool:
    """Tell whether an item failed because its inner map went over its tolerance."""
    error, _, permanent = states.codes().get(states.state(index), ("", False, False))
    return error == STOPPED_EARLY and not permanent


def _faults(states: ItemStates, healing: Collection[int]) -> int:
    """Return how many items failed by a fault of their own; ``healing`` did not, as their inner maps tell."""
    found = 0
    for code, (error, timed_out, permanent) in states.codes().items():
        if permanent or not (timed_out or error in NO_FAULT_ERRORS):
            found += states.count(code)
    return found - sum(_is_stopped_early(states, index) for index in healing)


def _succeeded(states: ItemStates) -> Iterator[int]:
    at = states.bytes.find(item_states.SUCCEEDED)
    while at >= 0:
        yield at
        at = states.bytes.find(item_states.SUCCEEDED, at + 1)
