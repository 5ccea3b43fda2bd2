"""The command's tests share the fakes of the client's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_SHARED = Path(__file__).parents[1] / "runs" / "conftest.py"
_spec = importlib.util.spec_from_file_location("distmap_client_fixtures", _SHARED)
assert _spec is not None
assert _spec.loader is not None
_shared = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _shared  # dataclasses look their module up there
_spec.loader.exec_module(_shared)

clock = _shared.clock
states = _shared.states
definitions = _shared.definitions
environment = _shared.environment
client = _shared.client
s3 = _shared.s3
bucket = _shared.bucket
squares = _shared.squares
files = _shared.files


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def distmap(capsys: pytest.CaptureFixture[str], environment: None) -> Callable[..., Outcome]:
    """Runs a command line in this process."""
    from cdk_distributed_map.cli import _show
    from cdk_distributed_map.cli._main import _run

    def run(*arguments: str) -> Outcome:
        _show.console.cache_clear()
        code = _run(list(arguments))
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
