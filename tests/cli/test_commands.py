"""The commands: what they print, for people and for machines, and how they exit."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from cdk_distributed_map.cli import _exit, _output, _progress
from cdk_distributed_map.cli._main import COMMANDS
from cdk_distributed_map.local.faults import SHARES
from cdk_distributed_map.runs import Counts, MapRun, Progress
from cdk_distributed_map.runs.find.pipelines import logical_id
from tests.cli.command import answer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_every_command_has_help_with_an_example(distmap: Callable[..., Any]) -> None:
    overview = distmap("--help")
    assert overview.code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", overview.out, re.MULTILINE), command
        told = distmap(command, "--help")
        assert told.code == 0
        assert f"Usage: distmap {command}" in told.out
    assert "distmap run Squares --items numbers.csv" in distmap("run", "--help").out
    assert exit_code_table(overview.out) == _exit.MEANINGS
    judging = [name for name in COMMANDS if exit_code_table(distmap(name, "--help").out)]
    assert judging == ["run", "watch", "results", "ledger", "failures", "report", "retry", "redrive"]
    documented = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", documented, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == _exit.MEANINGS


def exit_code_table(page: str) -> dict[int, str]:
    """Return the table of exit codes at the end of a help page, by code."""
    lines = page.partition("Exit codes of all commands")[2].splitlines()[1:]
    assert max(map(len, lines), default=0) <= 80
    found = (re.fullmatch(r" +(\d+)  (.+)", line) for line in lines)
    return {int(row[1]): row[2] for row in itertools.takewhile(bool, found) if row is not None}


def test_help_is_whole_and_has_no_control_characters(distmap: Callable[..., Any]) -> None:
    group = distmap("local", "--help").out
    local = re.findall(r"^  (\w+)  +\w", group.partition("Commands:")[2], re.MULTILINE)
    assert "install" in local
    pages = [distmap("--help"), distmap(), *(distmap(name, "--help") for name in COMMANDS)]
    for told in [*pages, *(distmap("local", name, "--help") for name in local)]:
        assert not re.search(r"[\x00-\x09\x0b-\x1f]|\\u00", told.out + told.err)
    for overview in (pages[0].out, group):
        assert not re.search(r"^  \w+  .*\.\.\.$", overview, re.MULTILINE), "a command's line is cut off"
    told = distmap("local", "up", "--help").out
    assert [name for name in SHARES if name not in told] == []


def test_help_imports_neither_boto3_nor_the_cdk() -> None:
    code = (
        "import sys\n"
        "from cdk_distributed_map.cli import run_command\n"
        "assert run_command(['--help']) == 0 and run_command(['ledger', '--help']) == 0\n"
        "heavy = {'boto3', 'botocore', 'aws_cdk', 'constructs', 'jsii', 'rich', 'jinja2', 'pandas', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_client_works_without_node_and_the_cdk(squares: Any) -> None:
    code = (
        "import sys\n"
        "from cdk_distributed_map.cli import run_command\n"
        "code = run_command(['list', 'Squares', '--json'])\n"
        "heavy = {'aws_cdk', 'constructs', 'jsii', 'cdk_distributed_map.plan'}\n"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout.strip(), done.stderr.strip()) == ("[]", "0 []")


def test_run_starts_and_says_what(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    told = distmap("run", "Squares", "--input", '{"number": 5, "chunk": 1}', "--name", "nightly")
    assert (told.code, told.out.splitlines()) == (0, ["nightly", squares.run("nightly").arn])
    again = distmap("start", "Squares", "--input", '{"number": 5, "chunk": 1}', "--name", "nightly", "--json")
    expected = {"run": "nightly", "arn": squares.run("nightly").arn, "pipeline": "Squares", "started": False}
    assert json.loads(again.out) == expected
    assert re.match("nightly is there already, started with this input on .*, is RUNNING: nothing was st", again.err)
    assert len(states.executions) == 1


def test_run_takes_its_input_from_a_file_and_from_stdin(
    distmap: Callable[..., Any], squares: Any, states: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input.json").write_text('{"number": 1}')
    assert distmap("run", "Squares", "--input", f"@{tmp_path / 'input.json'}", "--name", "a").code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'\xef\xbb\xbf{"number": 2}')))
    assert distmap("run", "Squares", "--input", "-", "--name", "b").code == 0
    assert [json.loads(run.input) for run in states.executions.values()] == [{"number": 1}, {"number": 2}]


@pytest.fixture
def started(squares: Any, states: Any) -> Any:
    """The runs that were started, of a pipeline that has none yet."""
    return states.executions


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is not JSON: expecting property name"),
        (b"", "is not JSON: expecting value"),
        (b'{"n": NaN}', "is not JSON: the constant NaN is no number of JSON"),
        (b"\xff{", "is not UTF-8: it has the byte 0xff at 1"),
    ],
    ids=["cut off", "empty", "NaN", "not UTF-8"],
)
def test_fails_when_the_input_can_not_be_read(
    text: bytes, said: str, distmap: Callable[..., Any], started: Any, tmp_path: Any
) -> None:
    path = tmp_path / "input.json"
    path.write_bytes(text)
    told = distmap("run", "Squares", "--input", f"@{path}")
    assert (told.code, told.err.startswith(f"distmap: {path} {said}")) == (_exit.ERROR, True)
    assert not started


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--items", "-", "--input", "-"], _exit.USAGE, "standard input can't be both the input and the items"),
        (["--items-format", "csv"], _exit.ERROR, "--items-format csv needs --items"),
    ],
    ids=["stdin twice", "format of nothing"],
)
def test_fails_when_options_of_run_do_not_go_together(
    options: list[str], code: int, said: str, distmap: Callable[..., Any], started: Any
) -> None:
    told = distmap("run", "Squares", *options)
    assert (told.code, said in told.err) == (code, True)
    assert not started


def test_run_uploads_items_from_a_file(
    distmap: Callable[..., Any], squares: Any, s3: S3Client, bucket: str, tmp_path: Any
) -> None:
    (tmp_path / "items.csv").write_text("n\n1\n2\n")
    assert distmap("run", "Squares", "--items", str(tmp_path / "items.csv"), "--name", "mine").code == 0
    assert s3.get_object(Bucket=bucket, Key="runs/mine/items.jsonl")["Body"].read() == b'{"n":"1"}\n{"n":"2"}\n'


@pytest.mark.parametrize(
    ("fails", "code"),
    [((0, 0), _exit.SUCCESS), ((2, 50), _exit.ITEMS_FAILED), ((2, 0), _exit.RUN_FAILED)],
    ids=["success", "failure within tolerance", "failure"],
)
def test_watch_exits_with_how_the_run_ended(
    fails: tuple[int, float], code: int, distmap: Callable[..., Any], squares: Any, states: Any
) -> None:
    failed, tolerance = fails
    states.add_run(squares.arn, "run", label="Squares", items=20, seconds=0, failed=failed, tolerance=tolerance)
    told = distmap("watch", "Squares", "run", "--no-ledger")
    assert told.code == code
    last = told.out.splitlines()[-1 if code != _exit.RUN_FAILED else -2]
    assert last.startswith(f"run {'FAILED' if code == 3 else 'SUCCEEDED'} | 20/20 (100%) | children: ")
    assert "\x1b" not in told.out  # not a terminal: no colours, no moving cursor
    known = json.loads(distmap("watch", "Squares", "run", "--json", "--no-ledger").out.splitlines()[-1])
    assert (known["final"], known["maps"][0]["children"]["failed"]) == (True, failed)


def test_watch_tells_of_items_that_failed_inside_batches(
    distmap: Callable[..., Any], finished: Any, states: Any
) -> None:
    finished.map.failed = 0  # to AWS every batch succeeded
    told = distmap("watch", "Squares", "first")
    assert told.code == _exit.ITEMS_FAILED
    assert "2 of 20 items did not succeed, inside batches that did: distmap ledger Squares first" in told.out


def test_watch_does_not_claim_success_where_it_can_not_be_told(
    distmap: Callable[..., Any], finished: Any, states: Any, s3: S3Client, bucket: str
) -> None:
    (key,) = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"] if "manifest" in each["Key"]]
    s3.put_object(Bucket=bucket, Key=key, Body=b"{")
    told = distmap("watch", "Squares", "first")
    assert told.code == _exit.UNACCOUNTED
    assert "the run succeeded, but it isn't known whether every item did: " in told.err
    assert "try again later: distmap ledger Squares first" in told.err


def test_display_fits_a_line_of_80_columns() -> None:
    from rich.console import Console

    from cdk_distributed_map.cli._progress import display

    items = Counts(total=9_876_543, succeeded=1_234_567, failed=1_234, running=1_000, pending=8_639_742)
    arn = "arn:aws:states:us-east-1:123456789012:mapRun:Squares/Squares:1"
    made = MapRun(
        arn=arn,
        status="RUNNING",
        items=items,
        children=items,
        max_concurrency=1,
        tolerated_failure_percentage=0,
        tolerated_failure_count=0,
        label="x" * 40,
    )
    name = "squares-20261121-143005-k7m2p"
    progress = Progress(name=name, status="RUNNING", started=None, stopped=None, maps=(made,), rate=12_345.6)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(display(progress))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines == [
        f"{name}  RUNNING  0s  12,345.6 items/s  11m40s to go",
        f"{'x' * 40}  {'━' * 3}╸{' ' * 26}  12%",
        "1,235,801 of 9,876,543 items",
        "children: 1,234,567 succeeded, 1,234 failed, 1,000 running, 8,639,742 pending",
    ]


def test_ctrl_c_leaves_the_run_going_and_says_how_to_come_back(squares: Any, states: Any) -> None:
    states.add_run(squares.arn, "long", label="Squares", seconds=10_000)
    states.stacks["Shop"] = {logical_id("Squares"): squares.arn}
    command = [
        sys.executable,
        "-m",
        "cdk_distributed_map.cli",
        "watch",
        "Shop/Squares",
        "long",
        "--region",
        "us-east-1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("long RUNNING")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == _exit.INTERRUPTED
    again = "Shop/Squares long --region us-east-1"  # as it was called, and where it is
    assert (
        said
        == f"\nlong is still running.\nto follow it again: distmap watch {again}\nto stop it: distmap stop {again}\n"
    )
    assert states.calls["StopExecution"] == 0


def test_ledger_for_people_and_machines(distmap: Callable[..., Any], finished: Any) -> None:
    told = distmap("ledger", "Squares")
    assert told.code == _exit.ITEMS_FAILED
    assert "captured\t20\nsucceeded\t18\nfailed\t2" in told.out
    assert "2  ValueError: bad #\n    item 3: bad 3" in told.out
    assert "it adds up: 18 + 2 + 0 + 0 + 0 = 20 of 20 captured" in told.out
    assert json.loads(distmap("ledger", "first", "--json").out)["complete"] is True


def test_ledger_exits_with_5_where_something_is_missing(
    distmap: Callable[..., Any], finished: Any, s3: S3Client, bucket: str
) -> None:
    (key,) = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"] if "SUCCEEDED_0" in each["Key"]]
    s3.delete_object(Bucket=bucket, Key=key)
    told = distmap("ledger", "Squares", "first")
    assert told.code == _exit.UNACCOUNTED
    assert "not everything is accounted for: 0 + 0 + 0 + 0 + 20 = 20 of 20 captured" in told.out
    assert f"{key} is missing" in told.out


def test_results_to_stdout_and_to_a_file(distmap: Callable[..., Any], finished: Any, tmp_path: Any) -> None:
    lines = [json.loads(line) for line in distmap("results", "Squares", "--ordered").out.splitlines()]
    assert [each["value"] for each in lines] == [n * n for n in range(20) if n not in {3, 14}]
    told = distmap("results", "Squares", "--ordered", "--all", "-o", str(tmp_path / "out.csv"))
    assert (told.code, told.out) == (_exit.ITEMS_FAILED, "")
    assert "20 results of first in" in told.err
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "index,status,value,error,cause,place"
    assert rows[3] == "3,FAILED,,ValueError,bad 3,"


def test_fails_when_results_break_off_and_keeps_the_file_there_was(
    distmap: Callable[..., Any], finished: Any, s3: S3Client, bucket: str, tmp_path: Any
) -> None:
    path = tmp_path / "squares.csv"
    path.write_text("of yesterday")
    (key,) = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"] if "SUCCEEDED_0" in each["Key"]]
    s3.delete_object(Bucket=bucket, Key=key)
    told = distmap("results", "Squares", "-o", str(path))
    assert told.code == _exit.UNACCOUNTED
    assert f"{key} is missing" in told.err
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"squares.csv": "of yesterday"}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["-o", "{folder}/none/squares.csv"], _exit.ERROR, "none/squares.csv can't be written: No such file"),
        (["-o", "{folder}"], _exit.ERROR, "can't be written: Is a directory"),
        (["-o", "{folder}/squares.xlsx"], _exit.USAGE, "squares.xlsx' doesn't show the format: use .jsonl"),
        (["--format", "csv", "--json"], _exit.USAGE, "--json writes JSON Lines, not csv"),
    ],
    ids=["no folder", "a folder", "unknown format", "two formats"],
)
@pytest.mark.usefixtures("finished")
def test_fails_when_results_can_not_be_written(
    options: list[str], code: int, said: str, distmap: Callable[..., Any], tmp_path: Any
) -> None:
    told = distmap("results", "Squares", *(each.format(folder=tmp_path) for each in options))
    assert (told.code, told.out, said in told.err) == (code, "", True)
    assert not list(tmp_path.iterdir())


def test_commands_that_write_the_same_file_do_not_write_into_each_others(tmp_path: Any) -> None:
    name = str(tmp_path / "same.csv")
    with _output.text(name) as first, _output.text(name) as second:
        first.write("of the first")
        second.write("of the second, which is done before it")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"same.csv": "of the first"}


def test_results_go_through_pipes_and_links(finished: Any, distmap: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "there.csv")
    assert distmap("results", "Squares", "-o", str(tmp_path / "link.csv")).code == _exit.ITEMS_FAILED
    assert (tmp_path / "link.csv").is_symlink()
    command = [sys.executable, "-m", "cdk_distributed_map.cli", "results", "Squares", "--format", "csv", "-o"]
    for name in ("-", "/dev/stdout"):
        done = subprocess.run([*command, name], capture_output=True, check=False)
        assert done.returncode == _exit.ITEMS_FAILED
        assert done.stdout == (tmp_path / "there.csv").read_bytes()


def test_fails_when_the_disk_is_full(finished: Any) -> None:
    command = [sys.executable, "-m", "cdk_distributed_map.cli", "results", "Squares"]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - no file of ours
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert (done.returncode, done.stderr) == (_exit.ERROR, "distmap: No space left on device\n")


@pytest.fixture
def odd_text(squares: Any, states: Any, files: Callable[..., Any]) -> None:
    """A run whose one result is half a character and one that ASCII lacks."""
    states.add_run(squares.arn, "first", label="Squares", items=1, seconds=0)
    writer = files(squares, "first")
    writer.items([{"v": 1}])
    told = {"batchItemResults": [{"itemIdentifier": "0", "result": "\ud83d €"}], "batchItemFailures": []}
    writer.child([(0, {"v": 1})], output={**told, "batchItemsUnprocessed": []})
    writer.write()


TABLES = ["squares.jsonl", "squares.csv", "squares.parquet"]


@pytest.mark.parametrize("name", TABLES)
def test_results_hold_any_text(name: str, odd_text: None, distmap: Callable[..., Any], tmp_path: Any) -> None:
    assert distmap("results", "Squares", "-o", str(tmp_path / name)).code == 0
    assert "\\ud83d €".encode() in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", [*(pytest.param(each, marks=pytest.mark.slow) for each in TABLES[1:]), TABLES[0]])
def test_results_hold_any_text_whatever_the_terminal(name: str, odd_text: None, tmp_path: Any) -> None:
    command = [sys.executable, "-m", "cdk_distributed_map.cli", "results", "Squares", "-o", str(tmp_path / name)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "\\ud83d €".encode() in (tmp_path / name).read_bytes()
    shown = subprocess.run(
        command[:-2], check=True, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert json.loads(shown.stdout) == {"index": 0, "status": "SUCCEEDED", "value": "\ud83d €"}


def test_failures_are_grouped(distmap: Callable[..., Any], finished: Any) -> None:
    told = distmap("failures", "Squares", "--limit", "1")
    assert told.out.startswith('2  ValueError: bad #\n  item 3: bad 3\n    input  {"v": 3}\n    child  https://')
    assert "and 1 more" in told.out
    rows = [json.loads(line) for line in distmap("failures", "Squares", "--json").out.splitlines()]
    assert [(each["index"], each["item"], each["error"]) for each in rows] == [
        (3, {"v": 3}, "ValueError"),
        (14, {"v": 14}, "ValueError"),
    ]


def test_failures_are_grouped_by_place_and_show_a_traceback_of_each(
    distmap: Callable[..., Any], squares: Any, states: Any, files: Callable[..., Any]
) -> None:
    states.add_run(squares.arn, "first", label="Squares", items=4, seconds=0, failed=3, tolerance=100)
    writer = files(squares, "first")
    writer.items([{"v": index} for index in range(4)])
    told = answer([(index, {"v": index}) for index in range(4)], [1, 2, 3])
    for failure, line in zip(told["batchItemFailures"], (14, 14, 30), strict=True):
        failure |= {"place": f"handler.py:{line} in enrich", "output": f"looked at {line}\x1b[2J"}
    told["batchItemFailures"][0]["traceback"] = "Traceback (most recent call last):\n  \x1b[2Jboom"
    writer.child([(index, {"v": index}) for index in range(4)], output=told)
    writer.write()
    lines = distmap("failures", "Squares").out.splitlines()
    assert lines[0] == "2  ValueError at handler.py:14 in enrich: bad #"
    assert lines[1:3] == ["  | Traceback (most recent call last):", "  |   \\u001b[2Jboom"]
    assert "    output looked at 14\\u001b[2J" in lines
    assert "1  ValueError at handler.py:30 in enrich: bad #" in lines
    ledger = distmap("ledger", "Squares").out
    assert "2  ValueError at handler.py:14 in enrich: bad #" in ledger
    assert 'input  {"v": 1}' in ledger
    rows = [json.loads(line) for line in distmap("failures", "Squares", "--json").out.splitlines()]
    assert [row["place"] for row in rows] == [f"handler.py:{line} in enrich" for line in (14, 14, 30)]
    kinds = json.loads(distmap("ledger", "Squares", "--json").out)["errors"]
    assert [(kind["place"], kind["message"], kind["count"]) for kind in kinds] == [
        ("handler.py:14 in enrich", "bad #", 2),
        ("handler.py:30 in enrich", "bad #", 1),
    ]


def test_failures_say_that_there_is_more_than_failures(
    distmap: Callable[..., Any], finished: Any, s3: S3Client, bucket: str
) -> None:
    assert distmap("failures", "Squares").err == ""
    put = [{"v": index} for index in range(25)]
    body = "".join(json.dumps(each) + "\n" for each in put).encode()
    s3.put_object(Bucket=bucket, Key="runs/first/items.jsonl", Body=body)
    finished.ended = ("FAILED", 1.0)
    told = distmap("failures", "Squares")
    assert told.err == "there are also 5 items missing: distmap ledger Squares first\n"


def test_causes_of_several_lines_are_shown_in_one(
    distmap: Callable[..., Any], squares: Any, states: Any, files: Callable[..., Any]
) -> None:
    states.add_run(squares.arn, "first", label="Squares", items=1, seconds=0)
    writer = files(squares, "first")
    writer.items([{"v": 0}])
    told: dict[str, list[Any]] = {"batchItemResults": [], "batchItemsUnprocessed": []}
    failure = {"itemIdentifier": "0", "error": "ValueError", "cause": f"two\n  lines {'x' * 500}"}
    writer.child([(0, {"v": 0})], output={**told, "batchItemFailures": [failure]})
    writer.write()
    for command in ("ledger", "failures"):
        (line,) = [line for line in distmap(command, "Squares").out.splitlines() if "item 0: two lines xxx" in line]
        assert line.endswith("x…")


def test_the_former_option_for_missing_items_still_works_and_warns(distmap: Callable[..., Any], finished: Any) -> None:
    told = distmap("retry", "Squares", "first", "--anyway", "--json")
    assert (told.code, json.loads(told.out)["run"]) == (0, "first-retry-1")
    assert told.err == "warning: --anyway is named --include-missing now\n"
    help_text = distmap("retry", "--help").out
    assert "--include-missing" in help_text
    assert "--anyway" not in help_text


def test_retry_starts_what_did_not_succeed(distmap: Callable[..., Any], finished: Any, states: Any) -> None:
    told = distmap("retry", "Squares", "first", "--json")
    assert json.loads(told.out)["run"] == "first-retry-1"
    (retry,) = [run for run in states.executions.values() if run.name == "first-retry-1"]
    assert json.loads(retry.input)["items"]["count"] == 2
    refused = distmap("retry", "Squares", "first")
    assert (refused.code, "its retry 'first-retry-1' is RUNNING" in refused.err) == (1, True)


def test_redrive_warns_and_asks(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    run = states.add_run(squares.arn, "broken", label="Squares", seconds=0)
    run.ended, run.error = ("FAILED", 1.0), "States.DataLimitExceeded"
    told = distmap("redrive", "Squares", "broken")
    assert told.code == _exit.USAGE  # nobody to ask here
    assert "warning: the run failed with States.DataLimitExceeded: a redrive starts a new Map Run" in told.err
    assert states.calls["RedriveExecution"] == 0
    assert distmap("redrive", "Squares", "broken", "--yes").code == 0
    assert states.calls["RedriveExecution"] == 1


def test_stop_asks_first(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    states.add_run(squares.arn, "long", label="Squares", seconds=10_000)
    refused = distmap("stop", "Squares")
    assert (refused.code, "pass --yes" in refused.err) == (_exit.USAGE, True)
    assert states.calls["StopExecution"] == 0
    assert distmap("stop", "Squares", "--yes").out == "long is stopped\n"
    assert squares.run("long").describe().status == "ABORTED"
    again = distmap("stop", "Squares")  # nobody needs to be asked
    described = "see docs/errors.md#RunStateError\n"
    assert (again.code, again.err) == (_exit.ERROR, f"distmap: 'long' has ended already: ABORTED\n{described}")


def test_stop_does_nothing_where_the_answer_is_no(
    distmap: Callable[..., Any], squares: Any, states: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.add_run(squares.arn, "long", label="Squares", seconds=10_000)
    stdin = io.StringIO("n\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    told = distmap("stop", "Squares")
    assert (told.code, told.out) == (_exit.ERROR, "")  # the question isn't part of the output
    assert told.err == "Stop long of Squares? [y/N]: Error: nothing was done\n"
    assert states.calls["StopExecution"] == 0


def test_update_changes_a_running_map(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    run = states.add_run(squares.arn, "long", label="Squares", seconds=10_000)
    told = distmap("update", "Squares", "--max-concurrency", "50", "--tolerated-failure-percentage", "0")
    assert "maxConcurrency 50, toleratedFailurePercentage 0" in told.out
    assert run.map.concurrency == 50


def test_list_and_describe_show_runs_with_their_items(
    distmap: Callable[..., Any], finished: Any, squares: Any, states: Any
) -> None:
    states.add_run(squares.arn, "second", label="Squares", items=1_000, seconds=10_000)
    rows = [line.split("\t") for line in distmap("list", "Squares").out.splitlines()]
    assert rows[0] == ["run", "status", "started", "duration", "items", "succeeded", "failed"]
    assert [row[:2] + row[4:] for row in rows[1:]] == [
        ["second", "RUNNING", "1,000", "0 children", "0 children"],
        ["first", "SUCCEEDED", "20", "18 children", "2 children"],
    ]
    told = distmap("describe", "Squares", "first").out
    assert "status\tSUCCEEDED" in told
    assert 'input\t{"number": 20, "chunk": 1}' in told
    assert "Squares\tSUCCEEDED\t20\t20\t20\t18\t2" in told
    assert json.loads(distmap("describe", "first", "--json").out)["maps"][0]["items"]["total"] == 20


def test_open_gives_the_link(distmap: Callable[..., Any], finished: Any) -> None:
    told = distmap("open", "Squares", "--print").out
    assert told.startswith(
        "https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/"
    )
    assert told.strip().endswith("execution:Squares:first")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written(shell: str, distmap: Callable[..., Any]) -> None:
    told = distmap("completion", shell)
    assert told.code == 0
    assert "_DISTMAP_COMPLETE" in told.out


def test_a_word_is_completed() -> None:
    environment = {**os.environ, "_DISTMAP_COMPLETE": "bash_complete", "COMP_WORDS": "distmap le", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "cdk_distributed_map.cli"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "plain,ledger"


def test_errors_say_what_which_and_how(distmap: Callable[..., Any], squares: Any) -> None:
    told = distmap("watch", "Cubes")
    assert (told.code, told.out) == (_exit.ERROR, "")
    assert told.err.startswith("distmap: no pipeline 'Cubes' in this account and Region")
    assert distmap("watch").code == _exit.USAGE
    broken = distmap("run", "Squares", "--input", "{oops}")
    assert (broken.code, "the input is not JSON" in broken.err) == (_exit.ERROR, True)


def test_head_of_results_ends_without_noise(finished: Any) -> None:
    command = [sys.executable, "-m", "cdk_distributed_map.cli", "results", "Squares"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30), said) == (0, "")


def test_terminal_gets_colours_unless_no_color(squares: Any, states: Any) -> None:
    import pty

    states.add_run(squares.arn, "run", label="Squares", items=20, seconds=0)
    texts = []
    for more in ({}, {"NO_COLOR": "1"}):
        parent, child = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **more}
        command = [sys.executable, "-m", "cdk_distributed_map.cli", "watch", "Squares", "run", "--no-ledger"]
        process = subprocess.Popen(command, stdout=child, stderr=child, env=environment)
        os.close(child)
        text, end = b"", time.monotonic() + 30
        while time.monotonic() < end:
            try:
                piece = os.read(parent, 4096)
            except OSError:
                break
            text += piece
        os.close(parent)
        assert process.wait(30) == 0
        texts.append(text.decode())
    assert "SUCCEEDED" in texts[0]
    assert "20 of 20" in texts[0]
    assert "\x1b[32m" in texts[0]
    assert "\x1b[32m" not in texts[1]


def test_json_has_the_names_that_aws_has(distmap: Callable[..., Any], finished: Any) -> None:
    told = json.loads(distmap("describe", "Squares", "--json").out)
    assert (told["run"], told["redriveStatus"], told["maps"][0]["children"]["timedOut"]) == (
        "first",
        "NOT_REDRIVABLE",
        0,
    )
    *_, last, ledger = map(json.loads, distmap("watch", "Squares", "--json").out.splitlines())
    assert (last["maps"][0]["children"]["resultsWritten"], last["nestedLeftOut"]) == (20, 0)
    numbers = {"captured": 20, "succeeded": 18, "failed": 2, "unprocessed": 0, "pending": 0, "missing": 0}
    assert ledger == {"run": "first", "ledger": {**numbers, "unsuccessful": 2, "complete": True}}


def test_no_runs_are_said_to_be_none(distmap: Callable[..., Any], squares: Any) -> None:
    told = distmap("list", "Squares", "--status", "failed")
    assert (told.code, told.out) == (0, "")
    assert told.err == "Squares has no runs that are FAILED; AWS keeps them for 90 days after their end\n"


def test_link_to_a_run_elsewhere_is_said_not_to_work(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    states.add_run(squares.arn, "local")
    told = distmap("open", "Squares", "--print")
    assert (told.code, told.err) == (0, "the run is at a custom endpoint, which the AWS console doesn't show\n")


@pytest.mark.parametrize("url", ["foo", "http://", "http://[bad"], ids=["no URL", "no host", "half an address"])
def test_fails_when_the_endpoint_is_no_url(url: str, distmap: Callable[..., Any], monkeypatch: Any) -> None:
    told = distmap("list", "Squares", "--endpoint-url", url)
    assert (told.code, "an endpoint is a URL such as" in told.err) == (_exit.ERROR, True)


def test_fails_when_the_clock_is_off(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    signature = "Signature expired: 20261125T000000Z is now earlier than 20261125T010000Z"
    states.faults.append(("ListStateMachines", 400, "InvalidSignatureException"))
    states.fault_message = signature
    told = distmap("list", "Squares")
    assert told.code == _exit.ERROR
    assert "; this machine's clock is off: set it by the network's time\n" in told.err


def test_terminal_that_can_not_go_back_gets_lines(
    distmap: Callable[..., Any], finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes rich take it for a terminal
    assert "20 of 20" in distmap("watch", "Squares", "--no-ledger").out
    monkeypatch.setenv("TERM", "dumb")
    assert distmap("watch", "Squares", "--no-ledger").out.startswith("first SUCCEEDED | 20/20 (100%)")


def test_display_keeps_within_a_narrow_terminal(finished: Any, squares: Any) -> None:
    narrow = Console(width=40, file=io.StringIO(), force_terminal=True, color_system=None)
    narrow.print(_progress.display(squares.run("first").wait()))
    lines = narrow.file.getvalue().splitlines()  # type: ignore[attr-defined] # what was given above
    assert max(map(len, lines)) <= 40
    assert " ".join("".join(lines).split()).endswith("children: 18 succeeded, 2 failed")


def test_one_map_run_can_be_changed_alone(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    run = states.add_run(squares.arn, "long", label="Squares", seconds=10_000)
    arn = run.map.arn
    told = distmap("update", "Squares", "--max-concurrency", "7", "--map-run", arn, "--json")
    assert json.loads(told.out)["maxConcurrency"] == 7
    foreign = distmap("update", "Squares", "--max-concurrency", "7", "--map-run", arn.replace("mapRun:Sq", "mapRun:X"))
    assert (foreign.code, "is no Map Run of 'Squares'" in foreign.err) == (_exit.ERROR, True)


def test_list_counts_the_items_of_many_runs_slowly(distmap: Callable[..., Any], squares: Any, states: Any) -> None:
    for number in range(41):
        states.add_run(squares.arn, f"run-{number}", label="Squares", seconds=0)
    told = distmap("list", "Squares", "--limit", "41", "--json")
    assert len(json.loads(told.out)) == 41
    assert "takes 2 s for each run, to stay within the account's API limits: --no-counts lists them at once" in told.err
    assert not states.throttled
    assert distmap("list", "Squares", "--limit", "41", "--no-counts").err == ""


def test_narrow_terminal_gets_no_broken_columns(
    distmap: Callable[..., Any], finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    first, second = distmap("list", "Squares").out.splitlines()
    assert (first, "20 items; children: 18 succeeded, 2 failed" in second) == ("first  SUCCEEDED", True)
    told = re.sub(r"\x1b\[[0-9;]*m", "", distmap("describe", "Squares").out)
    assert re.search(r"^ map +Squares *$", told, re.MULTILINE)
    assert re.search(r"^ children timed out +0 *$", told, re.MULTILINE)
    told = re.sub(r"\x1b\[[0-9;]*m", "", distmap("pipelines").out)
    assert told.splitlines()[0] == "Squares  Squares"
    assert told.splitlines()[1].startswith("  latest run first  SUCCEEDED  ")
    assert max(map(len, told.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "120")
    wide = re.sub(r"\x1b\[[0-9;]*m", "", distmap("list", "Squares").out)
    assert re.search(r"^ run +status +started", wide, re.MULTILINE)


def test_fails_when_a_watched_run_may_not_be_looked_at_and_says_how_to_come_back(
    distmap: Callable[..., Any], squares: Any, states: Any
) -> None:
    states.add_run(squares.arn, "long", label="Squares", seconds=10_000)
    states.faults.append(("DescribeMapRun", 400, "AccessDeniedException"))
    told = distmap("watch", "Squares", "long", "--region", "us-east-1")
    assert (told.code, "long RUNNING" in told.out) == (_exit.ERROR, True)
    assert "long may still be running. To follow it again: distmap watch Squares long --region us-east-1" in told.err
    assert "AccessDeniedException: planted; grant_operate" in told.err


def test_pipelines_are_listed_with_their_latest_run(distmap: Callable[..., Any], finished: Any, states: Any) -> None:
    states.add_machine("Other", '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}')
    rows = [line.split("\t") for line in distmap("pipelines").out.splitlines()]
    assert rows[0] == ["pipeline", "state machine", "latest run", "status", "started"]
    assert [row[:4] for row in rows[1:]] == [["Squares", "Squares", "first", "SUCCEEDED"]]
    (row,) = json.loads(distmap("pipelines", "--json").out)
    assert (row["pipeline"], row["latest"]["run"], row["arn"]) == ("Squares", "first", finished.machine)
    assert distmap("describe", row["pipeline"]).code == 0


def test_no_pipelines_are_said_to_be_none(distmap: Callable[..., Any]) -> None:
    told = distmap("pipelines")
    assert (told.code, told.out) == (0, "")
    assert "there are no pipelines in this account and Region: look at --profile and --region" in told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ledgr", "Squares"], "No such command 'ledgr'. Did you mean 'ledger'?"),
        (["LEDGER", "Squares"], "No such command 'LEDGER'. Did you mean 'ledger'?"),
        (["ledger", "squares", "first"], "no pipeline 'squares' in this account and Region; did you mean 'Squares'?"),
        (
            ["describe", "Squares", "FIRST"],
            "has no run 'FIRST', or it ended more than 90 days ago; did you mean 'fir",
        ),
        (["ledger", "Shop/squarse"], "; did you mean 'Squares'?; its state machines are"),
    ],
    ids=["command", "command in capitals", "pipeline", "run", "construct of a stack"],
)
def test_a_slip_is_answered_with_what_may_be_meant(
    arguments: list[str], said: str, distmap: Callable[..., Any], finished: Any, states: Any
) -> None:
    states.stacks["Shop"] = {logical_id("Squares"): finished.machine}
    told = distmap(*arguments)
    assert told.code in {_exit.ERROR, _exit.USAGE}
    assert said in told.err


def test_nothing_is_guessed_where_nothing_is_alike(distmap: Callable[..., Any], finished: Any) -> None:
    for arguments in (["xyzzy"], ["ledger", "xyzzy"], ["describe", "Squares", "xyzzy"]):
        assert "did you mean" not in distmap(*arguments).err.lower()


def test_description_shows_the_whole_answer(
    distmap: Callable[..., Any], finished: Any, s3: S3Client, bucket: str
) -> None:
    answer = ["x" * 100] * 3_000
    body = json.dumps(answer).encode()
    key = "runs/first/spill/combined-1.json"
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    reference = {"bucket": bucket, "key": key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    finished.output = {"combined": {"distmapSpilled": reference}}
    assert json.loads(distmap("describe", "Squares", "first", "--json").out)["output"]["combined"] == answer
    assert json.dumps(answer) in distmap("describe", "Squares", "first").out
    s3.delete_object(Bucket=bucket, Key=key)
    told = distmap("describe", "Squares", "first")
    assert (told.code, "the combined answer of 'first' can't be read" in told.err) == (_exit.ERROR, True)


def test_combine_of_a_pipeline_without_such_a_function_says_so(distmap: Callable[..., Any], finished: Any) -> None:
    told = distmap("combine", "Squares", "first")
    assert (told.code, "has no combine function: declare one with combine=" in told.err) == (_exit.ERROR, True)


def test_failures_wait_no_longer_than_they_are_told_to(
    distmap: Callable[..., Any], squares: Any, states: Any, files: Callable[..., Any]
) -> None:
    states.add_run(squares.arn, "late", label="Squares", items=3, seconds=0)
    files(squares, "late").items([1, 2, 3])
    told = distmap("failures", "Squares", "late", "--wait", "0")
    assert (told.code, "results" in told.err) == (_exit.ERROR, True)
