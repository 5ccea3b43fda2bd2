"""Records and results that don't fit their run, their file or their child: counted by kind, and told once for each."""

from __future__ import annotations

from typing import Any, Final

from distmap._errors import ResultsError
from distmap._export import Report, RunFolder

FOREIGN: Final = "{} of another run among the results of {where}, which count for nothing, such as that of {}"
UNEXPECTED: Final = "{} of items that their child did not get, which count for nothing, such as one from {}"
WITHOUT_INPUT: Final = "{} without the input of their child, whose items count as missing, such as that of {}"
OF_ANOTHER_KIND: Final = "{} of another kind than their file, which count for nothing, such as one in {}"
NO_RECORD: Final = "{} without a child, where others have one, which count for nothing, such as one in {}"
LEFT_OUT: Final = "{} left out by the answer of their child, such as one of {}"


class Misfits:
    """What of the result files of one map run counts for nothing.

    Args:
        run: The run of the map run, where it is known.
        report: Called with each kind, once all files are read. By default the first one is raised.
    """

    def __init__(self, run: RunFolder | None, report: Report | None) -> None:
        """Begin with none."""
        self._run = run
        self._report = report
        self._by_kind: dict[str, list[Any]] = {}

    def add(self, kind: str, noun: str, example: str) -> None:
        """Count one.

        Args:
            kind: What is wrong with it: one of the templates of this module.
            noun: What it is.
            example: Where it is.

        Raises:
            ResultsError: Nobody is to be told.
        """
        if self._report is None:
            raise ResultsError(self._message(kind, 1, f"{noun} {example}"))
        counted = self._by_kind.setdefault(kind, [0, f"{noun} {example}"])
        counted[0] += 1

    def report(self) -> None:
        """Report how many there were, one message for each kind, and forget them."""
        if self._report is not None:
            for kind, (number, example) in self._by_kind.items():
                self._report(self._message(kind, number, example))
        self._by_kind.clear()

    def suspend(self) -> dict[str, Any]:
        """Return what was counted, for :meth:`resume` in another invocation."""
        return self._by_kind

    def resume(self, by_kind: dict[str, Any]) -> None:
        """Take up what :meth:`suspend` returned."""
        self._by_kind = by_kind

    def _message(self, kind: str, number: int, example: str) -> str:
        noun, _, which = example.partition(" ")
        where = "" if self._run is None else self._run.prefix + self._run.path
        return kind.format(f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s", which, where=where)
