"""The ledger: every captured item accounted for, from the files of the run alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import AwsError, NotFoundError
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import item_states, scan
from cdk_distributed_map.runs.files.item_states import ItemStates
from cdk_distributed_map.runs.files.reader import note
from cdk_distributed_map.runs.files.unread import unread
from cdk_distributed_map.runs.ledger.nested import NestedAccount, accounts
from cdk_distributed_map.runs.ledger.of_run import Ledger
from cdk_distributed_map.runs.ledger.own_account import differences, own_account
from cdk_distributed_map.runs.text import Problems, counted
from distmap._export import Export
from distmap._identity import ItemNumbers
from distmap._reconcile import UNKNOWN, ChainLink, add_up, notes_on
from distmap.wire import ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle


def make_ledger(run: RunHandle, *, wait_seconds: float = 60.0, recount: bool = False) -> Ledger:
    """Return the ledger of a run and its retries: see :meth:`Run.ledger`."""
    root = chain_module.root_of(run)
    own = None
    # A retry has said what became of the items it had, and nothing of the others.
    if root.name == run.name and not chain_module.links_of(root):
        own = own_account(root, root.describe_if_known())
    if own is not None and not recount:
        return replace(_with_state(root, own), notes=(*own.notes, *_notes_on(root)))
    counted_anew = _Maker(root, asked=run, wait_seconds=wait_seconds).make()
    if own is None:
        return counted_anew
    disagreements = differences(own, counted_anew, run=root)
    # What targets took is in no file but the run's own account, and times are no matter of counting.
    return replace(
        counted_anew, problems=(*counted_anew.problems, *disagreements), pushed=own.pushed, measures=own.measures
    )


def _with_state(root: RunHandle, own: Ledger) -> Ledger:
    """Return the account of a run that failed before it read an item with the state it failed in, which AWS tells."""
    unread_run = None if own.run_error is None else unread(root, root.describe_if_known(), known=False)
    if unread_run is None:
        return own
    return replace(own, run_error=unread_run.why, document={**(own.document or {}), "runError": unread_run.why})


def _notes_on(root: RunHandle) -> Iterator[str]:
    """Yield what no account of the pipeline includes."""
    for foreign in root.pipeline.definition.item_file.foreign_maps:
        yield (
            f"the map {foreign!r} inside the children is not the pipeline's own, so its items are in no number "
            "here: see its Map Runs, or make it a Worker.nested"
        )


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
        self._rounds = 0
        self._recovered = 0
        self._error: str | None = None
        self._cause: str | None = None

    def make(self) -> Ledger:
        links = chain_module.links_of(self._root)
        if self._asked.name not in {self._root.name, *(link.run.name for link in links)}:
            key = chain_module.retry_key(self._root, self._asked.name)
            self._problems.add(
                f"the items of the retry {self._asked.name!r} are gone from {key}, so its results are in no number"
            )
        first = self._root.describe_if_known()
        captured, source = self._captured(self._root, first)
        if first is None and captured is None and not links and not scan.places(self._root):
            raise NotFoundError(
                f"{self._root.pipeline.called!r} has no run {self._root.name!r}, and no files of one remain"
                f"{self._root.guess()}; `distmap list {self._root.pipeline.called}` shows the runs there are"
            )
        self._states = ItemStates(captured)
        run_error = self._apply(self._root, first, known=source == "item file")
        status = "UNKNOWN" if first is None else first.status
        chain = [ChainLink(name=self._root.name, status=status, items=captured)]
        for link in links:
            described = link.run.describe_if_known()
            if described is None and not scan.places(link.run):
                chain.append(ChainLink(name=link.run.name, status="NOT_STARTED", items=None))
                continue
            items = self._begin_again(link)
            run_error = self._apply(link.run, described, known=True)
            status = "UNKNOWN" if described is None else described.status
            chain.append(ChainLink(name=link.run.name, status=status, items=items))
        # A retry that was never started has no files either.
        nested = accounts([self._root, *(link.run for link in links)], self._states, ended=self._ended)
        return self._sum_up(captured, source, status, chain, nested, run_error=run_error)

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
        numbers = add_up(self._states, captured, self._numbers, self._problems.add)
        if not numbers["captured"] and source != "item file" and (run_error is not None or status != "SUCCEEDED"):
            source = UNKNOWN
        ledger = Ledger(
            run=self._root.name,
            status=status,
            captured_from=source,
            problems=self._problems.messages(),
            notes=tuple(self._notes),
            run_error=run_error,
            chain=tuple(chain),
            nested=nested,
            rounds=self._rounds,
            recovered=self._recovered,
            error=self._error,
            cause=self._cause,
            **numbers,
        )
        return replace(ledger, notes=(*notes_on(ledger), *_notes_on(self._root), *ledger.notes))

    def _captured(self, run: RunHandle, described: RunDescription | None) -> tuple[int | None, str]:
        """Return how many items the run was to process, and where that is from."""
        count = chain_module.count_items(run, described)
        file = chain_module.item_file_of(run, described)
        if count is not None and file is not None and file.count is None:
            count = self._compare(run, described, file, count)
        if count is not None:
            return count, "item file"
        if described is not None:
            try:
                maps = run.own_map_runs()
            except AwsError as error:
                self._problems.add(f"the counts of the map run can't be had: {error}")
            else:
                if maps:
                    return max(map_run.items.total for map_run in maps), "map run"
                if described.ended:
                    return 0, "map run"
        return None, "results"

    def _compare(
        self, run: RunHandle, described: RunDescription | None, file: chain_module.ItemFileLocation, count: int
    ) -> int:
        """Return how many items a run had whose item file has so many now."""
        if described is None or described.status != "SUCCEEDED":
            return count  # AWS has no total, or perhaps counted what it came to before the run ended
        total = max((map_run.items.total for map_run in run.map_runs()), default=count)
        if total != count:
            self._problems.add(
                f"s3://{file.bucket}/{file.key} has {counted(count, 'item')}, and the Map Run had {total:,}: the file "
                "has changed since"
            )
        return total

    def _begin_again(self, link: chain_module.Link) -> int:
        """Reset the items that a retry tries again, and return how many they are."""
        if self._states.unidentified:
            # Unidentified items: the retry has exactly those that hadn't succeeded.
            self._states.unidentified = {item_states.SUCCEEDED: self._states.unidentified.get(item_states.SUCCEEDED, 0)}
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
        """Add the outcomes of one run, and return why it ended before it had read its items."""
        self._ended[run.name] = described is None or described.ended
        self._error, self._cause = (None, None) if described is None else (described.error, described.cause)
        found_unread = unread(run, described, known=known)
        # Without an item there are no results to wait for.
        exports: Sequence[ResultsPlace | Export] | None = None
        if found_unread is None or found_unread.read:
            exports = self._exports(run, described)
        self._note(run, exports or ())
        succeeded = self._states.count(item_states.SUCCEEDED)
        for round_begun in scan.rounds(run):
            exports = self._apply_round(run, described, round_begun.number)
        self._recovered += self._states.count(item_states.SUCCEEDED) - succeeded
        if exports is None or not self._ended[run.name]:
            # Not exported yet, or never begun: what isn't known is still to come.
            self._states.fill_pending()
        return None if found_unread is None else found_unread.why

    def _apply_round(
        self, run: RunHandle, described: RunDescription | None, number: int
    ) -> Sequence[ResultsPlace | Export] | None:
        """Add the outcomes of what ran again in a round, and return what it exported; None where that is nothing."""
        self._rounds += 1
        self._states.reset(scan.items_of_round(run, number, self._numbers, self._problems.add))
        badly = described is not None and described.ended and described.status != "SUCCEEDED"
        exports: Sequence[ResultsPlace | Export] | None = scan.places(run, number)
        if badly:
            exports = self._exports(run, described, number)
        return exports if self._note(run, exports or ()) or not badly else None

    def _note(self, run: RunHandle, exports: Sequence[ResultsPlace | Export]) -> bool:
        """Add the outcomes in some results, and return whether there are any files of them."""
        readers = [scan.reader(run, export, report=self._problems.add, numbers=self._numbers) for export in exports]
        with errors(f"reading the results of {run.name!r}"):
            return note(
                readers,
                self._states,
                batched=self._batched,
                report=self._problems.add,
                ended=self._ended[run.name],
            )

    def _exports(self, run: RunHandle, described: RunDescription | None, number: int = 0) -> list[Export] | None:
        """Return the results, waiting for them where they are still being exported; None: none will come."""
        expected = len(self._states.bytes) > 0
        # What comes after a map begins when its results are there.
        over = number == 0 and bool(scan.rounds(run))
        exports = scan.exported(
            run, described, wait_seconds=0 if over else self._wait_seconds, expected=expected, number=number
        )
        if exports is None and described is not None and described.status in scan.KILLED and scan.places(run, number):
            self._notes.append(
                f"{run.name!r} was {described.status} before its results were exported: which of its items were done "
                "is in no file, so all of them count as pending"
            )
        return exports
