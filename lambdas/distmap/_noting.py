"""The outcomes in result files, put into the states of items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from distmap import _item_states as item_states
from distmap._export import File, Report
from distmap._item_states import ItemStates

if TYPE_CHECKING:
    from distmap._item_outcomes import ItemOutcomes
    from distmap._measured import Measured
    from distmap._outcomes import Reader

_MOST_PROBLEMS: Final = 20
OF_BATCHES: Final = (
    "the output of a whole batch doesn't name its items: export results with Transformation.NONE, or decorate the "
    "worker with @process_items"
)
UNTRIED: Final = {"PENDING": item_states.PENDING, "UNPROCESSED": item_states.UNPROCESSED}
"""States by outcomes that are no failures."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 item``, ``1,000 items``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class Problems:
    """Messages about what is wrong: no more than can be read, however many there are."""

    def __init__(self, kept: Iterable[str] = (), more: int = 0) -> None:
        """Begin with what was found in an earlier invocation. By default with nothing."""
        self.kept = list(kept)
        self.more = more

    def add(self, problem: str) -> None:
        """Add a message."""
        if len(self.kept) < _MOST_PROBLEMS:
            self.kept.append(problem)
        else:
            self.more += 1

    def messages(self) -> tuple[str, ...]:
        """Return the messages, and how many more there are."""
        return (*self.kept, f"and {self.more:,} more of the kind") if self.more else tuple(self.kept)


def note(
    readers: Sequence[Reader],
    states: ItemStates,
    *,
    batched: bool,
    report: Report,
    files: Callable[[Reader], Sequence[File]],
    latest_if_unidentified: bool = False,
) -> bool:
    """Note what the results of one run, or of one round of it, say.

    What a map run says of an item of which a later one has told already is no duplicate: it ran again as a whole.

    Args:
        readers: Those of its map runs, the latest first.
        states: Where to note what became of each item.
        batched: Whether its children get batches.
        report: Called with a message for each thing that can't be counted.
        files: Returns the files that a reader is to read.
        latest_if_unidentified: Whether the latest alone counts where its items can't be told from those of others.

    Returns:
        Whether there were any result files.
    """
    # Where another map run tried items again, a failure before it is no second result of theirs.
    states.once = len(readers) == 1
    found_files = batches_reported = False
    for number, reader in enumerate(readers):
        if number and latest_if_unidentified and states.unidentified:
            break
        if number:
            states.begin_again()
        for file in files(reader):
            found_files = True
            unclear = note_file(reader, file, states, batched=batched)
            if unclear and not batches_reported:
                report(OF_BATCHES)
            batches_reported = batches_reported or unclear
        reader.report_misfits()
    states.settle()
    return found_files


class FileTally:
    """What a file tells beside the states of items.

    Attributes:
        others: Whether anything in it did not succeed.
        largest: Items of the largest child that has any that did not succeed: how large batches are.
    """

    def __init__(self, measured: Measured) -> None:
        """Begin with nothing; ``measured`` is what batches measured is added to."""
        self._measured = measured
        self.others = False
        self.largest = 0
        self._child: str | None = None
        self._of_child = 0

    def add(self, outcomes: ItemOutcomes) -> None:
        """Note what a record, or a part of one, says."""
        others = outcomes.others
        if outcomes.measures is not None:
            self._measured.add(outcomes.measures)
        if not others:
            return
        self.others = True
        # A record may come in two parts: its worker's answer, and the items that aren't in it.
        child = others[0].child
        self._of_child = len(others) + (self._of_child if child is not None and child == self._child else 0)
        self._child = child
        self.largest = max(self.largest, self._of_child)


def note_file(reader: Reader, file: File, states: ItemStates, *, batched: bool, tally: FileTally | None = None) -> bool:
    """Note what one file says, and return whether there were outputs in it of which nobody knows whose they are."""
    unclear = False
    for messages in reader.read(file):
        if messages.is_plain and batched:
            unclear = True
        elif file.earlier:
            states.mark_recovered(messages.indexes)
        else:
            _note(messages, states)
            if tally is not None:
                tally.add(messages)
    return unclear


def _note(messages: ItemOutcomes, states: ItemStates) -> None:
    if messages.indexes:
        states.succeed_all(messages.indexes)
    for other in messages.others:
        state = UNTRIED.get(other.outcome)
        if state is not None:
            states.mark_untried(other.index, state)
        else:
            states.fail(
                other.index,
                other.error or "",
                other.cause or "",
                place=other.place,
                traceback=other.traceback,
                item=(other.item,) if other.has_item else (),
                timed_out=other.outcome == "TIMED_OUT",
                permanent=other.permanent,
                child=other.child,
            )
