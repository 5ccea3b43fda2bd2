"""Results as columns: typed by what the values are, of one schema however late that shows."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped] # it has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped] # likewise
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_distributed_map.runs.errors import MissingPackageError
from cdk_distributed_map.runs.results import columns, kinds
from cdk_distributed_map.runs.results.item_results import ItemResult


def succeeded(*values: Any) -> list[ItemResult]:
    return [ItemResult(index, "SUCCEEDED", value) for index, value in enumerate(values)]


def written(found: list[ItemResult], **layout: Any) -> tuple[Any, list[str]]:
    file = io.BytesIO()
    told = columns.write_parquet(found, file, layout=columns.Layout(**layout))
    assert told.rows == len(found)
    return pq.read_table(io.BytesIO(file.getvalue())), told.notes


PLAIN = {"index", "status", "error", "cause"}


@pytest.mark.parametrize(
    ("values", "types", "rows"),
    [
        pytest.param([{"n": 1, "s": "x"}, {"n": 2}], {"n": "int64", "s": "string"}, [(1, "x"), (2, None)], id="fields"),
        pytest.param([1, 2.5], {"value": "double"}, [(1.0,), (2.5,)], id="numbers"),
        pytest.param([True, None], {"value": "bool"}, [(True,), (None,)], id="booleans"),
        pytest.param(
            [{"a": {"b": [1]}}, {"a": {"c": "x"}}],
            {"a": "struct<b: list<element: int64>, c: string>"},
            [({"b": [1], "c": None},), ({"b": None, "c": "x"},)],
            id="nested",
        ),
        pytest.param([{"a": 1}, {"a": "1"}], {"a": "string"}, [("1",), ('"1"',)], id="mixed"),
        pytest.param([1.5, True], {"value": "string"}, [("1.5",), ("true",)], id="boolean-among-numbers"),
        pytest.param([2**53 + 1, 0.5], {"value": "string"}, [("9007199254740993",), ("0.5",)], id="no-loss"),
        pytest.param([2**70], {"value": "string"}, [(str(2**70),)], id="huge"),
        pytest.param([{"a": {}}], {"a": "string"}, [("{}",)], id="empty-object"),
        pytest.param([{"a": 1, "A": 2}], {"a": "int64", "value_A": "int64"}, [(1, 2)], id="case"),
        pytest.param([{"index": 9, "": 8}], {"value_index": "int64", "value_": "int64"}, [(9, 8)], id="taken-names"),
        pytest.param(["\ud800"], {"value": "string"}, [("\\ud800",)], id="half-a-pair"),
        pytest.param([{"\ud800": 1}], {"\\ud800": "int64"}, [(1,)], id="half-a-pair-as-name"),
        pytest.param([[], [1]], {"value": "list<element: int64>"}, [([],), ([1],)], id="lists"),
        pytest.param([3, {"a": 1}], {"value": "string"}, [("3",), ('{"a": 1}',)], id="objects-and-others"),
    ],
)
def test_columns_are_typed(values: list[Any], types: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    table, notes = written(succeeded(*values))
    found = {field.name: str(field.type) for field in table.schema if field.name not in PLAIN}
    assert found == types
    assert list(zip(*(table[name].to_pylist() for name in types), strict=True)) == rows
    texts = isinstance(values[0], str) or values[0] == {"n": 1, "s": "x"}
    assert any("is JSON text" in note for note in notes) == ("string" in types.values() and not texts)


@pytest.mark.parametrize("depth", [15, 17, 800], ids=str)
@pytest.mark.parametrize("other", [[], [{"b": True}], [0.5, True]], ids=["alone", "beside objects", "mixed"])
@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]], ids=["objects", "lists"])
def test_values_of_any_depth_are_written_and_read(wrap: Callable[[Any], Any], other: list[Any], depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    found = succeeded(value, *other)
    table, notes = written(found)
    layout = columns.Layout().widened(found)
    assert layout.results(table)[0].value == value
    if not other:
        (note,) = notes if depth > 16 else [""]
        assert note.endswith("holds lists and objects below 16 levels of others") == (depth > 16)


def test_mixed_types_are_said() -> None:
    _, notes = written(succeeded({"a": [{"b": 1}, {"b": "x"}]}, {"status": 1}))
    assert notes == [
        "a[].b is JSON text: it holds integers and texts",
        "the field 'status' is the column value_status: another column has its name",
    ]


MANY = 5_250
"""More than a group of rows, which is written once it is full."""


@cache
def many_alike() -> list[ItemResult]:
    return succeeded(*({"n": n} for n in range(MANY)))


@pytest.mark.parametrize("last", [{"n": "late"}, {"n": 1.5}, {"n": 0, "late": [1]}, 7], ids=str)
def test_what_shows_late_widens_all_rows(last: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_CHUNK_ROWS", 1_000)
    monkeypatch.setattr(columns, "_GROUP_ROWS", 5_000)
    found = [*many_alike(), ItemResult(MANY, "SUCCEEDED", last)]
    table, _ = written(found)
    kind = kinds.merged(kinds.kind_of([{"n": 1}]), kinds.kind_of([last]))
    assert table.schema == columns.Layout(value=kind).schema
    assert table["index"].to_pylist() == list(range(MANY + 1))
    read = columns.Layout(value=kind).results(table.slice(MANY - 1))
    assert [each.value for each in read] == [{"n": MANY - 1}, last]


def test_files_of_a_folder_have_one_schema(tmp_path: Path) -> None:
    found = succeeded(*range(25), "text")
    told = columns.write_parts(found, columns.Parts(tmp_path), layout=columns.Layout(), rows_per_file=10)
    names = ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert sorted(each.name for each in tmp_path.iterdir()) == names
    tables = [pq.read_table(tmp_path / name) for name in names]
    assert [table.num_rows for table in tables] == [10, 10, 6]
    assert {str(table.schema) for table in tables} == {str(tables[-1].schema)}
    assert pa.concat_tables(tables)["value"].to_pylist() == [*map(str, range(25)), '"text"']
    assert told.notes == ["value is JSON text: it holds integers and texts"]


def test_no_results_are_a_file_without_rows() -> None:
    table, _ = written([])
    assert (table.num_rows, table.column_names) == (0, ["index", "status", "value", "error", "cause"])


def test_input_and_source_have_columns_of_their_own() -> None:
    found = [ItemResult(0, "SUCCEEDED", {"input_n": 4}, item={"n": 2}, source="s3://b/k")]
    table, notes = written(found, item=kinds.NULL)
    assert table.to_pylist() == [
        {"index": 0, "source": "s3://b/k", "status": "SUCCEEDED", "input_n": 2, "value_input_n": 4}
        | {"error": None, "cause": None}
    ]
    assert notes == ["the field 'input_n' is the column value_input_n: another column has its name"]


def without_nulls(value: Any) -> Any:
    """What columns keep of a value: a field that is null and one that isn't there are the same in them."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "A", "index"]), inner),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=8))
def test_any_values_can_be_read_back(values: list[Any]) -> None:
    layout = columns.Layout().widened(succeeded(*values))
    read = [each.value for each in layout.results(layout.table(succeeded(*values)))]
    assert [without_nulls(each) for each in read] == [
        {} if value is None and layout.value.name == "object" else without_nulls(value) for value in values
    ]


def test_fails_when_pyarrow_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingPackageError, match=r"needs pyarrow: pip install 'cdk-distributed-map\[frames\]'"):
        columns.write_parquet([], io.BytesIO())
