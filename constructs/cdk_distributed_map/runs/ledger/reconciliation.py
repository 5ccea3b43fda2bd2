"""The ledger: every captured item accounted for, from the files of the run alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import AwsError, NotFoundError
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import item_states, scan
from cdk_distributed_map.runs.files.item_states import ErrorCount, ItemStates
from cdk_distributed_map.runs.files.reader import note
from cdk_distributed_map.runs.files.unread import unread
from cdk_distributed_map.runs.ledger.nested import NestedAccount, accounts
from cdk_distributed_map.runs.text import NO_ITEMS, Problems, counted
from distmap._identity import ItemNumbers
from distmap.wire import ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle

UNKNOWN: Final = "unknown"
"""Where the number of items is from that nothing tells."""
_EXAMPLES: Final = 10


@dataclass(frozen=True, kw_only=True)
class ChainLink:
    """One run of a chain: the first one, or a retry."""

    name: str
    status: str
    items: int | None
    """How many items it was to process."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What became of the items of a run, and of its retries where it has any.

    ``succeeded + failed + unprocessed + pending + missing == captured`` holds wherever :attr:`adds_up` is true.
    """

    run: str
    status: str
    """Status of the last run of the chain; ``UNKNOWN`` where AWS has forgotten it."""
    captured: int
    captured_from: str
    """Where that number is from: ``item file``, ``map run`` or ``results`` (the highest index seen). ``unknown`` where
    nothing tells it: the run ended before it had read its items, or hasn't read one yet."""
    succeeded: int
    failed: int
    """Those that timed out included."""
    timed_out: int
    unprocessed: int
    """Left by their worker because its deadline came near."""
    pending: int
    """Not tried: not yet, or not before the run ended; or tried by a run that was stopped before it told."""
    missing: int
    """Captured, and nowhere in the results."""
    duplicates: int
    """Results beyond the first of an item."""
    errors: tuple[ErrorCount, ...]
    missing_examples: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    """What doesn't add up, in words."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing, in words."""
    run_error: str | None = None
    """Why the run, or its last retry, ended before it had read its items, in words; None where it didn't."""
    chain: tuple[ChainLink, ...] = ()
    unidentified: int = 0
    """Items among these that came without an index, so that duplicates can't be told."""
    nested: tuple[NestedAccount, ...] = ()
    """The same for each map nested in the children, whose items are in none of the numbers above."""
    states: ItemStates = field(repr=False, compare=False)
    numbers: ItemNumbers = field(default_factory=ItemNumbers, repr=False, compare=False)
    """Where the map reads several files: the numbers of the items in them, by which ``states`` knows them."""

    @property
    def accounted(self) -> int:
        """What the numbers add up to."""
        return self.succeeded + self.failed + self.unprocessed + self.pending + self.missing

    @property
    def adds_up(self) -> bool:
        """Whether every captured item is in one and only one of the numbers, and every file could be read."""
        return self.accounted == self.captured and not self.problems

    @property
    def is_complete(self) -> bool:
        """Whether it adds up and nothing is missing, in nested maps too, of items whose number is known."""
        known = self.run_error is None and self.captured_from != UNKNOWN
        return known and self.adds_up and self.missing == 0 and all(each.is_complete for each in self.nested)

    @property
    def unsuccessful(self) -> int:
        """What a retry would run again."""
        return self.captured - self.succeeded

    @property
    def around_unsuccessful(self) -> set[int]:
        """Items that succeeded, though items of maps nested in them did not."""
        found = {index for each in self.nested for index in each.outermost}
        return {index for index in found if self.states.succeeded(index)}

    @property
    def nested_unsuccessful(self) -> int:
        """Items of nested maps that did not succeed."""
        return sum(each.unsuccessful for each in self.nested)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        names = ("succeeded", "failed", "timed_out", "unprocessed", "pending", "missing", "duplicates")
        return {
            "run": self.run,
            "status": self.status,
            "captured": self.captured,
            "capturedFrom": self.captured_from,
            **{_camel(name): getattr(self, name) for name in names},
            "unidentified": self.unidentified,
            "addsUp": self.adds_up,
            "complete": self.is_complete,
            "runError": self.run_error,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "nested": [each.to_json() for each in self.nested],
            "missingExamples": list(self.missing_examples),
            "errors": [
                {
                    "error": each.error,
                    "timedOut": each.timed_out,
                    "count": each.count,
                    "examples": [
                        {
                            "index": example.index,
                            **({} if example.source is None else {"source": example.source}),
                            "cause": example.cause,
                            "child": example.child,
                        }
                        for example in each.examples
                    ],
                }
                for each in self.errors
            ],
            "chain": [{"run": each.name, "status": each.status, "items": each.items} for each in self.chain],
        }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def make_ledger(run: RunHandle, *, wait_seconds: float = 60.0) -> Ledger:
    """Return the ledger of a run and its retries: see :meth:`Run.ledger`."""
    return _Maker(chain_module.root_of(run), asked=run, wait_seconds=wait_seconds).make()


class _Maker:
    def __init__(self, root: RunHandle, *, asked: RunHandle, wait_seconds: float) -> None:
        self._root = root
        self._asked = asked
        self._wait_seconds = wait_seconds
        self._problems = Problems()
        self._notes: list[str] = []
        self._states = ItemStates(None)
        self._numbers = ItemNumbers()
        self._batched = root.pipeline.definition.item_file.batched
        self._ended: dict[str, bool] = {}

    def make(self) -> Ledger:
        links = chain_module.links_of(self._root)
        if self._asked.name not in {self._root.name, *(link.run.name for link in links)}:
            key = chain_module.retry_key(self._root, self._asked.name)
            self._problems.add(
                f"the items of the retry {self._asked.name!r} are gone from {key}, so its results are in no number"
            )
        first = self._describe(self._root)
        captured, source = self._captured(self._root, first)
        if first is None and captured is None and not links and not scan.places(self._root):
            raise NotFoundError(
                f"{self._root.pipeline.name!r} has no run {self._root.name!r}, and no files of one remain; `distmap "
                f"list {self._root.pipeline.name}` shows the runs there are"
            )
        self._states = ItemStates(captured)
        run_error = self._apply(self._root, first, known=source == "item file")
        status = "UNKNOWN" if first is None else first.status
        chain = [ChainLink(name=self._root.name, status=status, items=captured)]
        for link in links:
            described = self._describe(link.run)
            if described is None and not scan.places(link.run):
                chain.append(ChainLink(name=link.run.name, status="NOT_STARTED", items=None))
                continue
            items = self._begin_again(link)
            run_error = self._apply(link.run, described, known=True)
            status = "UNKNOWN" if described is None else described.status
            chain.append(ChainLink(name=link.run.name, status=status, items=items))
        # A retry that was never started has no files either.
        nested = accounts([self._root, *(link.run for link in links)], self._states, ended=self._ended)
        self._note_nested(nested)
        return self._sum_up(captured, source, status, chain, nested, run_error=run_error)

    def _note_nested(self, nested: tuple[NestedAccount, ...]) -> None:
        """Say what the account of nested maps can't tell, and what a retry doesn't do for them."""
        for each in nested:
            if each.counted_by_results:
                self._notes.append(
                    f"{each.label}: the items of {each.counted_by_results:,} of its {each.map_runs:,} map runs are "
                    "counted by their results alone, so items lost at the end of one can't be told"
                )
            if each.not_begun:
                self._notes.append(
                    f"{each.label}: {counted(each.not_begun, 'item')} around it did not succeed and left no "
                    "files of it, so their inner items are in no number; a retry runs them all"
                )
        left = sum(each.unsuccessful for each in nested)
        if left:
            self._notes.append(
                f"{counted(left, 'item')} of nested maps did not succeed; a retry runs items of the outermost map, "
                "each with its whole inner map: those that did not succeed, and with --nested those around these "
                "items too"
            )
        for foreign in self._root.pipeline.definition.item_file.foreign_maps:
            self._notes.append(
                f"the map {foreign!r} inside the children is not the pipeline's own, so its items are in no number "
                "here: its Map Runs tell of them, or make it a Worker.nested"
            )

    def _sum_up(
        self,
        captured: int | None,
        source: str,
        status: str,
        chain: list[ChainLink],
        nested: tuple[NestedAccount, ...],
        *,
        run_error: str | None,
    ) -> Ledger:
        states = self._states
        bare = sum(states.bare.values())
        if captured is None:
            captured = len(states.bytes) + bare
        if captured == 0 and source != "item file" and (run_error is not None or status != "SUCCEEDED"):
            source = UNKNOWN
        elif captured == 0 and status == "SUCCEEDED":
            self._notes.append(NO_ITEMS)
        if states.surplus:
            examples = ", ".join(map(str, states.surplus_examples))
            self._problems.add(
                f"{states.surplus:,} results have an index that no captured item has, such as {examples}"
            )
        failures = states.errors()
        succeeded, unprocessed, pending = (
            states.count(each) for each in (item_states.SUCCEEDED, item_states.UNPROCESSED, item_states.PENDING)
        )
        missing = states.bytes.count(item_states.MISSING) - (bare if bare and len(states.bytes) else 0)
        if missing < 0:
            self._problems.add(f"there are {-missing:,} more results than captured items")
            missing = 0
        return Ledger(
            run=self._root.name,
            status=status,
            captured=captured,
            captured_from=source,
            succeeded=succeeded,
            failed=sum(each.count for each in failures),
            timed_out=sum(each.count for each in failures if each.timed_out),
            unprocessed=unprocessed,
            pending=pending,
            missing=missing,
            duplicates=states.duplicates,
            errors=tuple(each.revealed(self._numbers) for each in failures),
            missing_examples=()
            if bare or self._numbers
            else tuple(states.indexes(item_states.MISSING, most=_EXAMPLES)),
            problems=self._problems.told(),
            notes=tuple(self._notes),
            run_error=run_error,
            chain=tuple(chain),
            unidentified=bare,
            nested=nested,
            states=states,
            numbers=self._numbers,
        )

    def _describe(self, run: RunHandle) -> RunDescription | None:
        try:
            return run.describe()
        except NotFoundError:
            return None

    def _captured(self, run: RunHandle, described: RunDescription | None) -> tuple[int | None, str]:
        """Return how many items the run was to process, and where that is from."""
        found = chain_module.count_items(run, described)
        file = chain_module.item_file_of(run, described)
        if found is not None and file is not None and file.count is None:
            found = self._compare(run, described, file, found)
        if found is not None:
            return found, "item file"
        if described is not None:
            try:
                maps = run.own_map_runs()
            except AwsError as error:
                self._problems.add(f"the counts of the map run can't be had: {error}")
            else:
                if maps:
                    return max(each.items.total for each in maps), "map run"
                if described.ended:
                    return 0, "map run"
        return None, "results"

    def _compare(
        self, run: RunHandle, described: RunDescription | None, file: chain_module.ItemsPlace, found: int
    ) -> int:
        """Return how many items a run had whose item file has so many now."""
        if described is None or described.status != "SUCCEEDED":
            return found  # AWS doesn't tell, or perhaps counted what it came to before the run ended
        total = max((each.items.total for each in run.map_runs()), default=found)
        if total != found:
            self._problems.add(
                f"s3://{file.bucket}/{file.key} has {counted(found, 'item')}, and the Map Run had {total:,}: the file "
                "has changed since"
            )
        return total

    def _begin_again(self, link: chain_module.Link) -> int:
        """Forget what was known of the items that a retry tries again."""
        if self._states.bare:
            # Items without identity: the retry has exactly those that hadn't succeeded.
            self._states.bare = {item_states.SUCCEEDED: self._states.bare.get(item_states.SUCCEEDED, 0)}
            return sum(1 for _ in chain_module.lines_of(link))
        count = 0

        def counting() -> Iterator[int]:
            nonlocal count
            for index in chain_module.indexes_of(link, self._numbers):
                count += 1
                yield index

        self._states.reset(counting())
        return count

    def _apply(self, run: RunHandle, described: RunDescription | None, *, known: bool) -> str | None:
        """Note what the results of one run say, and return why it ended before it had read its items."""
        self._ended[run.name] = described is None or described.ended
        found_unread = unread(run, described, known=known)
        # Without an item there are no results to wait for.
        found = None if found_unread is not None and not found_unread.read else self._places(run, described)
        ended = self._ended[run.name]
        readers = [scan.reader(run, place, report=self._problems.add, numbers=self._numbers) for place in found or ()]
        with errors(f"reading the results of {run.name!r}"):
            note(readers, self._states, batched=self._batched, report=self._problems.add, ended=ended)
        if found is None or not ended:
            # Not exported yet, or never begun: what isn't known is still to come.
            self._states.fill_pending()
        return None if found_unread is None else found_unread.why

    def _places(self, run: RunHandle, described: RunDescription | None) -> list[ResultsPlace] | None:
        """Return where the results are, waiting for them where they are still being exported; None: none will come."""
        expected = len(self._states.bytes) > 0
        found = scan.exported(run, described, wait_seconds=self._wait_seconds, expected=expected)
        if found is None and described is not None and described.status in scan.KILLED and scan.places(run):
            self._notes.append(
                f"{run.name!r} was {described.status} before its results were exported: which of its items were done "
                "is in no file, so all of them count as pending"
            )
        return found
