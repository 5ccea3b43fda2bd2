"""The command as tests use it: in this process, against the fakes of the client or the local AWS.

Tests of other rooms know of the command's inside what is here, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click
import pytest

from cdk_distributed_map.cli import _exit as exit_codes
from cdk_distributed_map.cli import _main, _show, run_command
from cdk_distributed_map.cli._progress import line as progress_line

__all__ = ["Outcome", "answer", "distmap", "exit_codes", "finished", "options_of", "progress_line", "run_here"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def run_here(*arguments: str) -> int:
    """Run a command line in this process, and return its exit code."""
    _show.console.cache_clear()  # it would write to where the test before looked
    return run_command(list(arguments))


def options_of(*command: str) -> set[str]:
    """Return the options of a command, but ``--help``."""
    found: click.Command = _main.cli
    for word in command:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None
        found = inner
    return {name for option in found.params for name in option.opts if name.startswith("--") and name != "--help"}


@pytest.fixture
def distmap(capsys: pytest.CaptureFixture[str], environment: None) -> Callable[..., Outcome]:
    """Runs a command line in this process."""

    def run(*arguments: str) -> Outcome:
        code = run_here(*arguments)
        told = capsys.readouterr()
        return Outcome(code, told.out, told.err)

    return run


def answer(items: Sequence[tuple[int, Any]], bad: Sequence[int] = ()) -> dict[str, Any]:
    """What the runtime answers for a batch."""
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": index * index} for index, _ in items if index not in bad
        ],
        "batchItemFailures": [
            {"itemIdentifier": str(index), "error": "ValueError", "cause": f"bad {index}"} for index in bad
        ],
        "batchItemsUnprocessed": [],
    }


@pytest.fixture
def finished(squares: Any, states: Any, files: Callable[..., Any]) -> Any:
    """A run of 20 items that succeeded within its tolerance: two items failed."""
    run = states.add_run(squares.arn, "first", label="Squares", items=20, seconds=0, failed=2, tolerance=50)
    run.input = '{"number": 20, "chunk": 1}'
    writer = files(squares, "first")
    writer.items([{"v": index} for index in range(20)])
    for start in (0, 10):
        items = [(index, {"v": index}) for index in range(start, start + 10)]
        writer.child(items, output=answer(items, [index for index in (3, 14) if start <= index < start + 10]))
    writer.write()
    return run
