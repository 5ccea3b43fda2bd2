"""`distmap results` as columns: a file, a folder, S3, and questions in SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped] # it has no types
import pytest

from tests.cli.command import exit_codes

ROWS = [index for index in range(20) if index not in (3, 14)]


def test_results_become_a_folder_of_parquet(distmap: Callable[..., Any], finished: Any, tmp_path: Path) -> None:
    target = tmp_path / "table"
    told = distmap("results", "Squares", "first", "--ordered", "-o", f"{target}/", "--rows-per-file", "7")
    assert (told.code, [each.name for each in tmp_path.iterdir()]) == (exit_codes.ITEMS_FAILED, ["table"])
    assert sorted(each.name for each in target.iterdir()) == [f"part-0000{number}.parquet" for number in range(3)]
    assert pq.read_table(target)["value"].to_pylist() == [index**2 for index in ROWS]
    assert f"18 results of first in {target}/" in told.err
    again = distmap("results", "Squares", "first", "-o", f"{target}/")
    assert again.code not in {0, exit_codes.ITEMS_FAILED}
    assert "there is something in" in again.err


def test_results_go_straight_to_s3(distmap: Callable[..., Any], finished: Any, s3: Any) -> None:
    bucket = "tables"
    s3.create_bucket(Bucket=bucket)
    address = f"s3://{bucket}/squares/"
    assert (
        distmap("results", "Squares", "first", "-o", address, "--rows-per-file", "10").code == exit_codes.ITEMS_FAILED
    )
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["squares/_SUCCESS", "squares/part-00000.parquet", "squares/part-00001.parquet"]
    again = distmap("results", "Squares", "first", "-o", address)
    assert "there is something in s3://tables/squares/ already, as squares/_SUCCESS" in again.err


def test_input_columns_stand_beside(distmap: Callable[..., Any], finished: Any, tmp_path: Path) -> None:
    target = tmp_path / "both.parquet"
    assert (
        distmap("results", "Squares", "first", "--with-input", "--all", "-o", str(target)).code
        == exit_codes.ITEMS_FAILED
    )
    rows = pq.read_table(target).to_pylist()
    assert [(row["index"], row["input_v"]) for row in rows] == [(index, index) for index in range(20)]
    assert (rows[3]["value"], rows[3]["error"], rows[4]["value"]) == (None, "ValueError", 16)


def test_questions_in_sql_are_answered(distmap: Callable[..., Any], finished: Any, tmp_path: Path) -> None:
    query = "select status, count(*) n, max(value) most from results group by all order by all"
    told = distmap("results", "Squares", "first", "--all", "--sql", query)
    assert [json.loads(line) for line in told.out.splitlines()] == [
        {"status": "FAILED", "n": 2, "most": None},
        {"status": "SUCCEEDED", "n": 18, "most": 361},
    ]
    csv_file = tmp_path / "answer.csv"
    query = "select '=1+1' as \"=evil\", '' as empty, -value as v, {'a': value} s from results order by 3 limit 1"
    assert distmap("results", "Squares", "first", "--sql", query, "-o", str(csv_file)).code == exit_codes.ITEMS_FAILED
    assert csv_file.read_text(encoding="utf-8") == '\'=evil,empty,v,s\n\'=1+1,,-361,"{""a"": 361}"\n'
    parquet = tmp_path / "answer.parquet"
    assert (
        distmap("results", "Squares", "first", "--sql", "select index from results", "-o", str(parquet)).code
        == exit_codes.ITEMS_FAILED
    )
    assert sorted(pq.read_table(parquet)["index"].to_pylist()) == ROWS


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select nothing from results", 'Referenced column "nothing" not found'),
        ("selec 1", "syntax error"),
        ("select 1; select 2", "--sql takes one statement, got 2"),
        ("set threads = 99", "the configuration has been locked"),
        ("select * from folder", "folder does not exist"),
        (" ", "--sql takes a query"),
    ],
)
def test_fails_when_the_query_is_none(query: str, says: str, distmap: Callable[..., Any], finished: Any) -> None:
    told = distmap("results", "Squares", "first", "--sql", query)
    assert told.code != 0
    assert says in told.err


@pytest.mark.parametrize(
    "query",
    [
        *["select * from read_text('{outside}')", "select * from read_csv('https://example.com/x.csv')"],
        *["copy results to '{folder}/copy.parquet'", "attach '{folder}/other.db'", "export database '{folder}/all'"],
        *["select * from glob('{folder}/*')", "select * from read_text('{folder}/../{name}/outside.txt')"],
        *["install httpfs", "load httpfs", "create persistent secret s (type s3)"],
    ],
)
def test_fails_when_a_query_reaches_for_more_than_the_table(
    query: str, distmap: Callable[..., Any], finished: Any, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    asked = query.format(outside=outside, folder=tmp_path, name=tmp_path.name)
    told = distmap("results", "Squares", "first", "--sql", asked)
    assert (told.code, told.out) == (exit_codes.ERROR, "")
    assert "a query reaches the table results alone" in told.err
    assert list(tmp_path.glob("*.parquet")) + list(tmp_path.glob("*.db")) == []


def test_fails_when_a_query_is_none_before_anything_is_read(
    distmap: Callable[..., Any], squares: Any, states: Any
) -> None:
    states.add_run(squares.arn, "begun")  # it has no results yet
    assert "syntax error" in distmap("results", "Squares", "begun", "--sql", "selec 1").err


def test_fails_when_duckdb_is_missing(
    distmap: Callable[..., Any], finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    told = distmap("results", "Squares", "first", "--sql", "select 1")
    assert told.code != 0
    assert "--sql needs DuckDB: pip install 'cdk-distributed-map[sql]'" in told.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "x/", "--format", "csv"], "a folder gets files of Parquet, not csv"),
        (["-o", "x/", "--sql", "select 1"], "goes to one file"),
        (["-o", "x.parquet", "--rows-per-file", "5"], "--rows-per-file is for a folder"),
        (["-o", "x.csv", "--with-input"], "--with-input is for columns"),
        (["-o", "s3://bucket/"], "an address in S3 is s3://bucket/key"),
    ],
    ids=["csv-folder", "sql-folder", "rows-of-a-file", "input-in-csv", "bucket-alone"],
)
def test_fails_when_options_do_not_go_together(
    options: list[str], says: str, distmap: Callable[..., Any], finished: Any
) -> None:
    told = distmap("results", "Squares", "first", *options)
    assert told.code != 0
    assert says in told.err
