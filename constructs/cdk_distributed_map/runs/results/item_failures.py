"""The items of a run and its retries that failed or were left unprocessed, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.errors import RunFailedError
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.files.reader import LEFT
from cdk_distributed_map.runs.ledger.own_account import failed_items
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._kinds import Kind, Kinds
from distmap._records import Unsuccessful, with_identity
from distmap.wire import ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.ledger.of_run import Ledger

__all__ = ["Failure", "Kind", "Kinds", "failures", "failures_of"]

_FAILED: Final = frozenset({"FAILED", "TIMED_OUT", "UNPROCESSED"})
"""Outcomes of items that are failures: pending and missing ones are in the ledger alone."""
_WHERE: Final = ("place", "traceback", "output")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that did not succeed.

    .. versionadded:: 0.1.0
    """

    index: int | None
    """None for an unidentified item."""
    item: Any
    has_item: bool
    """Whether the item is known: not where its child's input wasn't exported."""
    status: str
    """``FAILED``, ``TIMED_OUT`` or ``UNPROCESSED``."""
    error: str
    cause: str
    run: str
    """Name of the run it failed in last: the first one, or a retry."""
    child: str | None
    """ARN of the child."""
    link: str | None
    """Where the console shows the child."""
    source: str | None = None
    """The file the item was read from, where the map read several."""
    place: str | None = None
    """Where in the user's code it failed, such as ``handler.py:14 in enrich``; None where that isn't known."""
    traceback: str | None = None
    """Of the first item of each kind in a batch."""
    output: str | None = None
    """The end of what the item printed and logged, where its worker keeps that."""
    map: str | None = None
    """Label of the nested map it is an item of; None for an item of the outermost map."""
    path: str | None = None
    """Indexes of the items around it, outermost first, as in ``3/0``; None likewise."""


def failures(run: RunHandle, ledger: Ledger, *, recount: Callable[[], Ledger]) -> Iterator[Failure]:
    """Yield the items that failed or were left unprocessed and did not succeed again: see :meth:`Run.failures`.

    Args:
        run: The run.
        ledger: Its ledger.
        recount: Returns the ledger counted from the files, for where the run's own file of its failures is gone.
    """
    if ledger.run_error is not None and not ledger.captured:
        raise RunFailedError(f"no item failed, because none was read: {ledger.run_error}")
    if ledger.document is not None:
        found = failed_items(run) if ledger.unsuccessful else iter(())
        if found is not None:
            yield from (_failure_of(run, each) for each in found if each["outcome"] in _FAILED)
            return
        ledger = recount()
    root = chain_module.root_of(run)
    seen = IndexSet()
    chain = [root, *(link.run for link in chain_module.links_of(root))]
    for each in reversed(chain):
        wanted = _not_yet(ledger, seen)
        for again in reversed(scan.rounds(each)):
            yield from failures_of(each, again.places, wanted, ledger.numbers)
            # What its own round doesn't tell of an item, no earlier one can.
            for index in scan.items_of_round(each, again.number, ledger.numbers):
                scan.add_index(seen, index)
        yield from failures_of(each, scan.places(each), wanted, ledger.numbers)
        if ledger.unidentified:
            return  # unidentified items: the last run tried everything that was left


def _failure_of(run: RunHandle, item: dict[str, Any]) -> Failure:
    """Return a failure as the run itself tells of it."""
    left, child = item["outcome"] == "UNPROCESSED", item["child"]
    return Failure(
        index=item["index"],
        source=item.get("source"),
        item=item["item"],
        has_item=item["item"] is not None,
        status=item["outcome"],
        error="Unprocessed" if left else item["error"] or "",
        cause=LEFT if left else item["cause"] or "",
        run=run.name,
        child=child,
        link=None if child is None else arns.console_url(child),
        **{name: item.get(name) for name in _WHERE},
    )


def _not_yet(ledger: Ledger, seen: IndexSet) -> Callable[[int], bool]:
    return lambda index: not ledger.states.succeeded(index) and scan.add_index(seen, index)


def failures_of(
    run: RunHandle, places: Iterable[ResultsPlace], wanted: Callable[[int], bool], numbers: ItemNumbers
) -> Iterator[Failure]:
    """Yield the failures in the results of one run.

    Args:
        run: The run.
        places: Where the results are.
        wanted: Tells whether a failure of the item of an index is to be had; asked once for each failure.
        numbers: Numbers that stand for the indexes of items of several files.
    """
    for place in places:
        # The ledger, which every caller has made, lists what can't be read.
        reader = scan.reader(run, place, report=lambda _: None, numbers=numbers)
        for file in scan.files(reader):
            if file.kind == "PENDING":
                continue
            for outcomes in reader.read(file):
                for other in outcomes.others:
                    if other.index is None or wanted(other.index):
                        with_identity(other, numbers)
                        yield _failure(run, other)


def _failure(run: RunHandle, other: Unsuccessful) -> Failure:
    left = other.outcome == "UNPROCESSED"
    return Failure(
        index=other.index,
        source=other.source,
        item=other.item,
        has_item=other.has_item,
        status=other.outcome,
        error="Unprocessed" if left else other.error or "",
        cause=LEFT if left else other.cause or "",
        run=run.name,
        child=other.child,
        link=None if other.child is None else arns.console_url(other.child),
        **{name: getattr(other, name) for name in _WHERE},
    )
