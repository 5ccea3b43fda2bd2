"""What the records of result files say of each item, put into the states of items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from cdk_distributed_map.runs import _account, _answers, _scan
from cdk_distributed_map.runs._words import counted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BATCHES: Final = (
    "outputs of whole batches don't tell which items they are of: export results with Transformation.NONE, or decorate "
    "the worker with @process_items"
)


class Reader:
    """Reads result files of one map.

    Args:
        s3: The client to read with.
        states: Where to note what became of each item.
        batched: Whether the map's children get batches.
        report: Called with what can't be read, in words.
    """

    def __init__(self, s3: S3Client, states: _account.ItemStates, *, batched: bool, report: _scan.Report) -> None:
        self._s3 = s3
        self._states = states
        self._batched = batched
        self._report = report
        self._told_of_batches = False

    def read(self, files: Iterable[_scan.File], *, prefix: str) -> None:
        """Note what files say: successes first, the latest redrive first among the others.

        Args:
            files: Files of one run.
            prefix: Where the run's files begin, which its children are told.
        """
        every = list(files)
        folders = {file.key.rpartition("/")[0] for file in every}
        # Where a redrive tried items again, a failure before it is no second result of theirs.
        self._states.once = len(folders) == 1
        reading = _Reading(prefix.removesuffix("/"))
        for file in every:
            for value in _scan.records(self._s3, file, report=self._report):
                try:
                    self._read_record(value, file.kind, reading)
                except _scan.UNREADABLE as error:
                    self._report(_scan.unreadable(file, error))
        reading.sum_up(self._report)

    def _read_record(self, value: bytes | object, kind: _scan.Kind, reading: _Reading) -> None:
        if kind == "SUCCEEDED":
            indexes = _answers.quick_successes(value, reading.marker)
            if indexes is not None:
                self._states.succeed_all(indexes)
                return
        child = _scan.as_child(value, kind)
        if child.run_prefix not in {None, reading.prefix}:
            reading.strangers.add(child, f"of {child.run_prefix}")
        elif kind == "PENDING":
            for index, _ in child.inputs():
                self._states.leave(index, _account.PENDING)
        elif kind == "SUCCEEDED":
            self._read_success(child, reading)
        else:
            self._read_failure(child, reading)

    def _read_success(self, child: _scan.Child, reading: _Reading) -> None:
        answer = child.answer(self._s3)
        if answer is not None:
            self._read_answer(_answers.entries(answer), child, reading, positional="positional" in answer)
        elif child.record is not None:
            # Its worker isn't built on the runtime: all its items succeeded.
            if not child.has_input:
                reading.unknown.add(child, "succeeded")
            for index, _ in child.inputs():
                self._states.succeed(index)
        elif not self._batched:
            self._states.succeed(None)
        elif not self._told_of_batches:
            self._told_of_batches = True
            self._report(_BATCHES)

    def _read_answer(
        self, entries: list[_answers.Entry], child: _scan.Child, reading: _Reading, *, positional: bool
    ) -> set[int]:
        """Note what an answer says, and return the indexes it is about."""
        given = {index for index, _ in child.inputs()} if child.has_input and not positional else None
        told: set[int] = set()
        for entry in entries:
            index = None if positional else entry.identifier
            if index is not None and given is not None and index not in given:
                reading.astray.add(child, f"item {index:,}")
                continue
            if index is not None:
                told.add(index)
            if entry.outcome == "SUCCEEDED":
                self._states.succeed(index)
            elif entry.outcome == "FAILED":
                self._states.fail(index, entry.error, entry.cause, child=child.arn)
            else:
                self._states.leave(index, _account.UNPROCESSED)
        return told

    def _read_failure(self, child: _scan.Child, reading: _Reading) -> None:
        """Note a child that failed: what its worker told of each item, and the child's own error for the others."""
        told: set[int] = set()
        try:
            answer = child.answer(self._s3)
            entries = [] if answer is None else _answers.entries(answer)
        except _scan.UNREADABLE as error:
            self._report(f"the answer of {child.arn} can't be read: {_scan.words(error)}")
        else:
            positional = answer is not None and "positional" in answer
            told = self._read_answer(entries, child, reading, positional=positional)
            if positional:
                return
        name, cause, late = child.error, child.cause, child.status == "TIMED_OUT"
        if not child.has_input:
            reading.unknown.add(child, f"{child.status} with {name}")
        for index, _ in child.inputs():
            if index is None or index not in told:
                self._states.fail(index, name, cause, timed_out=late, child=child.arn)


class _Some:
    """How many there are of something, and the first of them."""

    def __init__(self) -> None:
        self.number = 0
        self.first = ""

    def add(self, child: _scan.Child, what: str) -> None:
        self.number += 1
        self.first = self.first or f"{child.arn} ({what})"


class _Reading:
    """What is seen while the files of one run are read."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.marker = _answers.marker(prefix)
        self.strangers = _Some()
        self.astray = _Some()
        self.unknown = _Some()

    def sum_up(self, report: _scan.Report) -> None:
        """Report what is in no number."""
        if self.strangers.number:
            report(
                f"{counted(self.strangers.number, 'record')} of another run among the results of {self.prefix}, which "
                f"count for nothing, such as that of {self.strangers.first}"
            )
        if self.astray.number:
            report(
                f"{counted(self.astray.number, 'result')} of items that their child did not get, which count for "
                f"nothing, such as one from {self.astray.first}"
            )
        if self.unknown.number:
            report(
                f"{counted(self.unknown.number, 'record')} without the input of their child, whose items count as "
                f"missing, such as that of {self.unknown.first}"
            )
