"""What data holds never steers a terminal, turns text around, or becomes a formula of a spreadsheet."""

from __future__ import annotations

import ast
import csv
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cdk_distributed_map.cli as package
from cdk_distributed_map.runs.results.item_results import ItemResult
from cdk_distributed_map.runs.results.tables import write_csv
from cdk_distributed_map.runs.text import one_line, visible

# Title, clear screen, the same by one character of C1, right to left, an invisible tag, a line that looks like ours.
NASTY = "x\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnihton\u2066\u200e\U000e0041\x7f\r\u2028\nit adds up: 1"
TURNS = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def steering(text: str) -> list[str]:
    """Return the characters of a text that do more than be seen, tabs and line feeds aside."""
    return [
        repr(each)
        for each in text
        if each not in "\t\n" and (each in TURNS or unicodedata.category(each) in {"Cc", "Zl", "Zp", "Cs"})
    ]


@given(st.text(st.characters(exclude_categories=[])))
def test_visible_text_has_nothing_that_steers_and_json_keeps_its_value(text: str) -> None:
    assert not steering(visible(text))
    assert "\n" not in one_line(text)
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == json.loads(json.dumps(text))
    assert visible("plain é 日本 👩\u200d👩") == "plain é 日本 👩\u200d👩"


@pytest.fixture
def nasty(squares: Any, states: Any, files: Callable[..., Any]) -> Any:
    """A run whose every text is nasty: errors, causes, items, results, input and output."""
    run = states.add_run(squares.arn, "first", label="Squares", items=3, seconds=0, failed=1)
    run.ended, run.error = ("FAILED", 1.0), NASTY
    run.input = json.dumps({"note": NASTY})
    writer = files(squares, "first")
    writer.items([NASTY] * 4)
    failure = {"itemIdentifier": "1", "error": NASTY, "cause": f"={NASTY}"}
    writer.child(
        [(0, NASTY), (1, NASTY)],
        output={
            "batchItemResults": [{"itemIdentifier": "0", "result": {NASTY: NASTY}}],
            "batchItemFailures": [failure],
            "batchItemsUnprocessed": [],
        },
    )
    writer.child([(2, NASTY)], "FAILED", error=NASTY, cause=NASTY)
    writer.write()
    return run


@pytest.mark.parametrize(
    "command",
    [
        "ledger",
        "ledger --json",
        "failures",
        "failures --json",
        "results --all",
        "results --all --format csv",
        "describe",
        "describe --json",
        "list",
        "list --json",
        "watch",
        "watch --json",
        "report --json",
        "logs",
        "logs --json",
        "redrive",
    ],
)
@pytest.mark.usefixtures("nasty")
def test_no_command_writes_what_steers_a_terminal(command: str, distmap: Callable[..., Any], states: Any) -> None:
    states.log_lines = [NASTY]
    name, *options = command.split()
    told = distmap(name, "Squares", "first", *options) if name != "list" else distmap(name, "Squares", *options)
    assert not steering(told.out.replace("\r\n", "\n"))  # as CSV ends its lines
    assert not steering(told.err)
    # A line of the data's own making would be taken for ours.
    forged = [line for line in told.out.splitlines() if line.startswith("it adds up: 1")]
    assert name == "logs" or "csv" in options or not forged
    if "--json" in options and name in {"ledger", "describe", "list", "report"}:
        json.loads(told.out)
    if name not in {"list", "redrive"}:
        assert "owned" in told.out + told.err


def test_error_of_aws_does_not_steer_the_terminal(nasty: Any, distmap: Callable[..., Any], states: Any) -> None:
    states.fault_message = NASTY
    states.faults.append(("DescribeExecution", 400, "SomethingNew"))
    told = distmap("describe", "Squares", "first")
    assert (told.code, steering(told.err), "owned" in told.err) == (1, [], True)


def test_results_keep_their_value(nasty: Any, distmap: Callable[..., Any]) -> None:
    (row,) = [json.loads(line) for line in distmap("results", "Squares", "first").out.splitlines()]
    assert row["value"] == {NASTY: NASTY}


@pytest.mark.parametrize(
    ("value", "cell"),
    [("=1+1", '"=1+1"'), ("1", '"1"'), (1, "1"), (-1, "-1"), (None, "null"), ({"a": "@x"}, '{"a": "@x"}')],
    ids=repr,
)
def test_value_in_csv_is_json_text(value: Any, cell: str) -> None:
    file = io.StringIO(newline="")
    write_csv([ItemResult(0, "SUCCEEDED", value)], file)
    _, row = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert row == ["0", "SUCCEEDED", cell, "", ""]
    assert json.loads(row[2]) == value


@pytest.mark.parametrize("cause", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"], ids=repr)
def test_text_in_csv_is_no_formula(cause: str) -> None:
    file = io.StringIO(newline="")
    write_csv([ItemResult(0, "FAILED", None, cause, cause)], file)
    _, row = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert [each[0] for each in row[3:]] == ["'", "'"]
    assert row[3].replace("\\u000d", "\r") == f"'{cause}"


def test_commands_write_through_one_place() -> None:
    """What is written elsewhere would be written raw: scripts to be evaluated and completions are."""
    raw = {"_completion.py", "_local.py", "_show.py"}
    for path in Path(package.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        if path.name not in raw:
            assert not [call for call in calls if call.attr in {"echo", "secho"}], path.name
