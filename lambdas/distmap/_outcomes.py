"""The outcome of each item, as the result files of one map run have it: the one reader of them.

The ledger, results, failures and combine all read through it, so they can't disagree. It checks that a record is of
its run and of its file's kind, and that an answer is about the items that its child got. Most children are read by
:mod:`distmap._quick`; everything else is parsed and looked at closely.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from distmap import _misfits as misfits
from distmap._answer import ANSWER_LISTS, ExpectedItems, members_of
from distmap._errors import ResultsError, SpillError
from distmap._export import Export, File, Kind, Report, RunFolder, folder_of
from distmap._identity import ItemNumbers, parse_identifier
from distmap._item_outcomes import ItemOutcomes
from distmap._json import decode
from distmap._misfits import Misfits
from distmap._quick import QuickLook
from distmap._records import (
    UNREADABLE,
    Child,
    Outcome,
    Unsuccessful,
    Where,
    error_message,
    failed_batch,
    is_answer,
    is_record,
)
from distmap._spill import check_own, is_spilled, read_spilled, resolve
from distmap._stream import member_elements
from distmap.wire import ResultsPlace, Spilled

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HELD_BYTES: Final = 4 * 1024**2
"""A spilled answer up to this size is parsed at once; a larger one is streamed."""


class Reader:
    """Reads the result files of one map run.

    Attributes:
        export: The files.
        numbers: Numbers of the items of several files, which stand for their indexes.
        run: The run of the map run; None where that isn't known: then no spilled answer is read, and no record is
            foreign.
    """

    def __init__(
        self,
        s3: S3Client,
        export: ResultsPlace | Export | None,
        *,
        run: RunFolder | None = None,
        plain_outputs: bool = True,
        captured: int | None = None,
        report: Report | None = None,
        numbers: ItemNumbers | None = None,
        tried_again: bool = False,
    ) -> None:
        """Look at nothing yet.

        Args:
            s3: The client to read with.
            export: What the map exported, or where its manifest is: the one of the first attempt, or of a redrive.
            run: The run that it is of. By default by the key of the manifest.
            plain_outputs: Whether there may be outputs without a record, other than answers of this package: not where
                the results are known to be exported with the transformation NONE.
            captured: How many items the source has, from 0; by default any index is taken.
            report: Called with what doesn't fit, which then counts for nothing. By default it is raised.
            numbers: Numbers of the items of several files, where other readers are to have the same. By default
                its own.
            tried_again: Whether a later round of the run tried again what is in no outcome here, so that an answer
                may leave out items.
        """
        self.numbers = ItemNumbers() if numbers is None else numbers
        self.export = export if isinstance(export, Export) else Export(s3, export)
        place = self.export.place
        self.run = run if run is not None else None if place is None else folder_of(place)
        self._s3 = s3
        self._plain_outputs = plain_outputs
        self._captured = captured
        self._report = report
        self._tried_again = tried_again
        self._records: bool | None = None
        self._look = QuickLook(self.run)
        self._misfits = Misfits(self.run, report)

    def files(self, *, ended: bool = True) -> list[File]:
        """Return the files to read, successes first: see :meth:`Export.files`."""
        return self.export.files(self._report, ended=ended)

    def read(self, file: File) -> Iterator[ItemOutcomes]:
        """Yield the outcomes in a file. Of a file that a later redrive has tried again: successes of items alone.

        Raises:
            ResultsError: Something doesn't fit, and isn't reported.
            SpillError: A spilled answer is not what its reference says, likewise.
        """
        quick = file.kind == "SUCCEEDED"
        for as_line, value in self.export.values(file, self._report):
            try:
                outcomes = self._from_line(value) if as_line and quick else None
                if outcomes is not None:
                    yield outcomes
                else:
                    yield from self._from_record(value, as_line, file)
            except (*UNREADABLE, SpillError) as error:
                self._unreadable(file, error)

    def children(self, file: File, *, well: bool = True) -> Iterator[Child]:
        """Yield the children in a file whose records fit.

        Args:
            file: The file.
            well: Whether those come too that answered for all of their items, and that all of them succeeded.
        """
        for as_line, value in self.export.values(file, self._report):
            try:
                if not well and as_line and file.kind == "SUCCEEDED" and self._from_line(value) is not None:
                    continue
                child = self._child(value, as_line, file)
                if child is not None:
                    child.items()
                    yield child
            except (*UNREADABLE, SpillError) as error:
                self._unreadable(file, error)

    def answer(self, child: Child, kind: Kind) -> Any:
        """Return the answer of a child's worker, an outcome for each item; None where it isn't built on this package.

        Raises:
            SpillError: The answer was spilled, and what is there is not it.
        """
        output = child.output if kind == "SUCCEEDED" else failed_batch(child.record or {})
        if is_spilled(output):
            output = resolve(self._own_spilled(output), s3=self._s3)
        return output if is_answer(output) else None

    def report_misfits(self) -> None:
        """Report how many records and results didn't fit, one message for each kind."""
        self._misfits.report()

    def suspend(self) -> dict[str, Any]:
        """Return what is known from the files read so far, for :meth:`resume` in another invocation."""
        return {"records": self._records, "misfits": self._misfits.suspend()}

    def resume(self, left: dict[str, Any]) -> None:
        """Take up what :meth:`suspend` returned."""
        self._records = left["records"]
        self._misfits.resume(left["misfits"])

    # -- one record

    def _from_line(self, line: bytes) -> ItemOutcomes | None:
        """Return the outcomes in a line without parsing its input; None where the line has to be parsed."""
        found = None if self._records is False else self._look.successes(line)
        if found is None:
            return None
        indexes, results, measures = found
        if self._captured is not None and max(indexes) >= self._captured:
            return None
        self._records = True
        return ItemOutcomes(indexes, answered=results, measures=measures)

    def _from_record(self, value: Any, as_line: bool, file: File) -> Iterable[ItemOutcomes]:  # noqa: FBT001 - internal
        child = self._child(value, as_line, file)
        if child is None:
            return ()
        if file.kind == "PENDING":
            return (self._of_whole(child, "PENDING"),)
        if file.kind == "SUCCEEDED":
            return self._of_output(child)
        return self._of_failed(child, earlier=file.earlier)

    def _child(self, value: Any, as_line: bool, file: File) -> Child | None:  # noqa: FBT001 - internal
        """Return a record as a child; None where it doesn't fit, which has been reported then."""
        whole = decode(value.decode()) if as_line else value
        if file.kind == "SUCCEEDED":
            return self._successful_child(whole, file)
        if not isinstance(whole, dict):
            message = f"expected a record, got {whole!r:.80}"
            raise TypeError(message)
        status = whole.get("Status", file.kind)
        if (status in {"SUCCEEDED", "PENDING"}) if file.kind == "FAILED" else (status != file.kind):
            self._misfits.add(misfits.OF_ANOTHER_KIND, "record", f"{file.where} ({status})")
            return None
        return self._own_child(Child(whole, numbers=self.numbers))

    def _successful_child(self, whole: Any, file: File) -> Child | None:
        record = is_record(whole)
        if not record and not self._plain_outputs and not is_answer(whole) and not is_spilled(whole):
            self._misfits.add(misfits.NO_RECORD, "record", f"{file.where} ({whole!r:.40})")
            return None
        if self._records is None:
            self._records = record
        elif record != self._records:
            self._misfits.add(misfits.NO_RECORD, "record", f"{file.where} ({whole!r:.40})")
            if not record:
                return None
        if not record:
            return Child(None, whole, numbers=self.numbers)
        if whole["Status"] != "SUCCEEDED":
            self._misfits.add(misfits.OF_ANOTHER_KIND, "record", f"{file.where} ({whole['Status']})")
            return None
        if "Output" not in whole:
            message = f"the output of {whole['ExecutionArn']} was not exported"
            raise ResultsError(message)
        return self._own_child(Child(whole, decode(whole["Output"]), numbers=self.numbers))

    def _own_child(self, child: Child) -> Child | None:
        if child.arn is not None and not isinstance(child.arn, str):
            message = f"the ARN of a child is {child.arn!r:.40}, which is no text"
            raise TypeError(message)
        run = child.run()
        if run is None or self.run is None:
            return child
        if run["prefix"] != self.run.prefix or run.get("path", self.run.path) != self.run.path:
            whose = f"{run['prefix']}{run.get('path', '')}"
            self._misfits.add(misfits.FOREIGN, "record", f"{child.arn} (of {whose})")
            return None
        return child

    def _of_output(self, child: Child) -> Iterable[ItemOutcomes]:
        output = child.output
        if is_spilled(output):
            place = self._own_spilled(output)["distmapSpilled"]
            if place["bytes"] > HELD_BYTES:
                return self._streamed(child, output)
            output = resolve(output, s3=self._s3)
        if is_answer(output):
            outcomes = self._of_answer(child, members_of(output), unidentified="positional" in output)
            outcomes.measures = output.get("batchMeasures")
            return (outcomes,)
        return (self._of_other_worker(child, output),)

    def _streamed(self, child: Child, reference: Spilled) -> Iterator[ItemOutcomes]:
        """Yield the outcomes of an answer that is too large to be held. It was spilled, so its items have an index."""
        if self._report is not None:
            for _ in read_spilled(reference, self._s3):
                pass  # what is not what was spilled there is not to be counted in part
        answered: set[int | None] = set()
        expected = ExpectedItems(child, unidentified=False)
        for member in member_elements(read_spilled(reference, self._s3)):
            yield self._of_members(child, [member], expected, answered)
        self._check_left_out(child, expected, answered)

    def _of_answer(self, child: Child, members: Iterable[tuple[str, Any]], *, unidentified: bool) -> ItemOutcomes:
        expected = ExpectedItems(child, unidentified=unidentified)
        answered: set[int | None] = set()
        outcomes = self._of_members(child, members, expected, answered)
        self._check_left_out(child, expected, answered)
        return outcomes

    def _of_members(
        self, child: Child, members: Iterable[tuple[str, Any]], expected: ExpectedItems, answered: set[int | None]
    ) -> ItemOutcomes:
        """Return the outcomes in members of an answer, and add the identifiers of their items to ``answered``."""
        indexes: list[int | None] = []
        values: list[Any] = []
        others: list[Unsuccessful] = []
        for name, member in members:
            if name not in ANSWER_LISTS:
                continue
            identifier = self.numbers.number(
                *parse_identifier(member["itemIdentifier"] if name != "batchItemsUnprocessed" else member)
            )
            if not expected.has(identifier) or (expected.unidentified and identifier in answered):
                self._misfits.add(misfits.UNEXPECTED, "result", f"{child.arn} (item {identifier:,})")
                continue
            answered.add(identifier)
            index = None if expected.unidentified else self._within(identifier)
            if name == "batchItemResults":
                values.append(member["result"])
                indexes.append(index)
            elif name == "batchItemFailures":
                error, cause = str(member["error"]), str(member["cause"])
                permanent = member.get("permanent") is True
                others.append(
                    Unsuccessful(
                        index,
                        "FAILED",
                        error,
                        cause,
                        *expected.item(identifier),
                        child=child.arn,
                        permanent=permanent,
                        where=Where.of(member),
                    )
                )
            else:
                others.append(
                    Unsuccessful(index, "UNPROCESSED", None, None, *expected.item(identifier), child=child.arn)
                )
        return ItemOutcomes(indexes, values, others)

    def _check_left_out(self, child: Child, expected: ExpectedItems, answered: Collection[int | None]) -> None:
        left = 0 if expected.items is None else len(expected.items) - len(answered)
        # The ledger counts items with an index as missing, which nobody can do for others.
        missing_elsewhere = self._report is not None or self._tried_again
        if left > 0 and (not missing_elsewhere or expected.unidentified):
            self._misfits.add(misfits.LEFT_OUT, "item", f"{child.arn} ({left:,} of {len(expected.items or ()):,})")

    def _of_other_worker(self, child: Child, output: Any) -> ItemOutcomes:
        """Return the outcomes of a worker that isn't built on this package: all its items succeeded."""
        if child.record is None:
            return ItemOutcomes([None], [output], is_plain=True)
        if not child.has_input:
            self._misfits.add(misfits.WITHOUT_INPUT, "record", f"{child.arn} (succeeded)")
            return ItemOutcomes()
        indexes = [index if index is None else self._within(index) for index, _ in child.items()]
        if not child.is_batch:
            return ItemOutcomes(indexes, [output])
        if isinstance(output, list) and len(output) == len(indexes):
            return ItemOutcomes(indexes, output)
        why = (
            f"a child answered {output!r:.100} for a batch of {len(indexes):,} items, which tells nothing about each; "
            "decorate its worker with @process_items, let it return a list of as many results, or turn batching off"
        )
        return ItemOutcomes(indexes, None, why=why)

    def _of_failed(self, child: Child, *, earlier: bool) -> Iterable[ItemOutcomes]:
        """Return the outcomes of a failed child: its worker's answer, and the child's own error for other items."""
        answered: set[int | None] = set()
        try:
            answer = self.answer(child, "FAILED")
            if answer is not None:
                expected = ExpectedItems(child, unidentified="positional" in answer)
                outcomes = self._of_members(child, list(members_of(answer)), expected, answered)
                outcomes.measures = answer.get("batchMeasures")
                if expected.unidentified:
                    self._check_left_out(child, expected, answered)
                    return () if earlier else (outcomes,)
                if earlier:
                    return (ItemOutcomes(outcomes.indexes, outcomes.values),)
                return outcomes, self._of_whole(child, "FAILED", answered)
        except (*UNREADABLE, SpillError) as error:
            if self._report is None:
                raise
            self._report(f"the answer of {child.arn} can't be read: {error_message(error)}")
            answered.clear()
        return () if earlier else (self._of_whole(child, "FAILED"),)

    def _of_whole(self, child: Child, outcome: Outcome, answered: Collection[int | None] = ()) -> ItemOutcomes:
        """Return the outcomes of a child that failed as a whole or never ran, but for items in its worker's answer."""
        error = cause = None
        where = Where()
        if outcome == "FAILED":
            error, cause, where = child.error, child.cause, child.where
            outcome = "TIMED_OUT" if (child.record or {}).get("Status") == "TIMED_OUT" else "FAILED"
        if not child.has_input:
            self._misfits.add(
                misfits.WITHOUT_INPUT, "record", f"{child.arn or 'one that never ran'} ({error or outcome})"
            )
            return ItemOutcomes()
        found = [
            Unsuccessful(
                index if index is None else self._within(index),
                outcome,
                error,
                cause,
                item,
                child=child.arn,
                # One stack for all of them: the first has it.
                where=where if at == 0 else where._replace(traceback=None),
            )
            for at, (index, item) in enumerate(child.items())
            if index is None or index not in answered
        ]
        return ItemOutcomes(others=found)

    def _own_spilled(self, reference: Spilled) -> Spilled:
        return check_own(reference, *(("", None) if self.run is None else (self.run.bucket, self.run.prefix)))

    # -- what doesn't fit

    def _within(self, index: int) -> int:
        # The ledger knows the number of items too, and counts what is beyond it.
        if self._captured is not None and index >= self._captured and self._report is None:
            message = f"a result has the index {index:,}, and the run has {self._captured:,} items, from 0"
            raise ResultsError(message)
        return index

    def _unreadable(self, file: File, error: Exception) -> None:
        if self._report is None:
            if isinstance(error, SpillError):
                raise error
            message = f"{file.where} has a record that can't be read: {error_message(error)}"
            raise ResultsError(message) from error
        self._report(f"{file.where} has a record that can't be read: {error_message(error)}")
