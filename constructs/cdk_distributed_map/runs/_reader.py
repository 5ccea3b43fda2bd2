"""What the records of result files say of each item, put into the states of items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cdk_distributed_map.runs import _account, _scan
from distmap._errors import SpillError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


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

    def read(self, files: Iterable[_scan.File]) -> None:
        """Note what files say: successes first, the latest redrive first among the others."""
        for file in files:
            if file.kind == "SUCCEEDED":
                self._read_successes(file)
            else:
                for child in _scan.children(self._s3, file, report=self._report):
                    self._read_unsuccessful(child)

    def _read_successes(self, file: _scan.File) -> None:
        states = self._states
        for value in _scan.records(self._s3, file, report=self._report):
            try:
                answer = _scan.quick_answer(value)
                if answer is not None and "positional" not in answer:
                    states.succeed_all(answer["batchItemResults"])
                    if answer["batchItemFailures"] or answer["batchItemsUnprocessed"]:
                        self._read_rest(answer, _scan.as_child(value, "SUCCEEDED"))
                    continue
                child = _scan.as_child(value, "SUCCEEDED")
                answer = child.answer(self._s3)
                if answer is not None:
                    self._read_answer(answer, child)
                else:
                    self._read_foreign(child)
            except (ValueError, KeyError, TypeError, SpillError) as error:
                self._report(f"s3://{file.bucket}/{file.key} has a record that can't be read: {error}")

    def _read_answer(self, answer: Any, child: _scan.Child) -> None:
        if "positional" in answer:
            for _ in answer["batchItemResults"]:
                self._states.succeed(None)
        else:
            self._states.succeed_all(answer["batchItemResults"])
        self._read_rest(answer, child)

    def _read_rest(self, answer: Any, child: _scan.Child) -> None:
        positional = "positional" in answer
        for failure in answer["batchItemFailures"]:
            index = None if positional else int(failure["itemIdentifier"])
            self._states.fail(index, failure["error"], failure["cause"], child=child.arn)
        for identifier in answer["batchItemsUnprocessed"]:
            self._states.leave(None if positional else int(identifier), _account.UNPROCESSED)

    def _read_foreign(self, child: _scan.Child) -> None:
        """Note the success of a child whose worker isn't built on the runtime: of all its items."""
        if child.record is not None:
            for index, _ in child.inputs():
                self._states.succeed(index)
            return
        if not self._batched:
            self._states.succeed(None)
            return
        problem = (
            "outputs of whole batches don't tell which items they are of: export results with Transformation.NONE, or "
            "decorate the worker with @process_items"
        )
        if not self._told_of_batches:
            self._told_of_batches = True
            self._report(problem)

    def _read_unsuccessful(self, child: _scan.Child) -> None:
        states = self._states
        if child.kind == "PENDING":
            for index, _ in child.inputs():
                states.leave(index, _account.PENDING)
            return
        try:
            answer = child.answer(self._s3)
        except SpillError as error:
            self._report(str(error))
            answer = None
        told: set[int] = set()
        if answer is not None:
            self._read_answer(answer, child)
            if "positional" in answer:
                return
            lists = (answer["batchItemResults"], answer["batchItemFailures"])
            told = {int(each["itemIdentifier"]) for entries in lists for each in entries}
            told.update(map(int, answer["batchItemsUnprocessed"]))
        name, cause, late = child.error, child.cause, child.status == "TIMED_OUT"
        for index, _ in child.inputs():
            if index is None or index not in told:
                states.fail(index, name, cause, timed_out=late, child=child.arn)
