"""Parquet: every type of Arrow becomes JSON, or is refused by name."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import uuid
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
import pytest
from pyarrow import parquet

from cdk_distributed_map.local.distributed.parquet_files import converter_of, parquet_rows
from cdk_distributed_map.local.errors import StateError

D = decimal.Decimal
AT = datetime.datetime.fromisoformat("2024-01-02T03:04:05.678901")
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def rows(column: Any) -> list[Any]:
    """Return the values of a column that went through a file."""
    sink = io.BytesIO()
    parquet.write_table(pa.table({"c": column}), sink)
    sink.seek(0)
    found = [row["c"] for block in parquet_rows(sink, None, 2) for row in block]
    json.dumps(found, allow_nan=False)
    return found


def cause(column: Any) -> str:
    with pytest.raises(StateError) as caught:
        rows(column)
    assert caught.value.error == "States.ItemReaderFailed"
    return str(caught.value.cause)


CONVERTED: dict[str, tuple[Any, list[Any]]] = {
    "null": (pa.nulls(2), [None, None]),
    "bool": (pa.array([True, None]), [True, None]),
    **{str(kind): (pa.array([1, None], kind), [1, None]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint32())},
    "int64": (pa.array([2**63 - 1, -(2**63)]), [2**63 - 1, -(2**63)]),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
    "half": (pa.array([1.5, None], pa.float16()), [1.5, None]),
    "float": (pa.array([0.5, None], pa.float32()), [0.5, None]),
    "double": (pa.array([0.1, -0.0]), [0.1, -0.0]),
    "decimal": (pa.array([D("1.50"), None], pa.decimal128(5, 2)), [1.5, None]),
    "decimal-large": (pa.array([D(2**200)], pa.decimal256(70, 0)), [2**200]),
    "decimal-exact": (pa.array([D("12345.678901234567")], pa.decimal128(30, 12)), [12345.678901234567]),
    "string": (pa.array(["é", None]), ["é", None]),
    "large-string": (pa.array(["a"], pa.large_string()), ["a"]),
    "string-view": (pa.array(["a"], pa.string_view()), ["a"]),
    "binary": (pa.array([b"\x00\xff", None]), ["AP8=", None]),
    "large-binary": (pa.array([b"a"], pa.large_binary()), ["YQ=="]),
    "fixed-binary": (pa.array([b"ab"], pa.binary(2)), ["YWI="]),
    "uuid": (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes, None], pa.binary(16))), [str(ID), None]),
    "date32": (pa.array([AT.date(), None]), ["2024-01-02", None]),
    "date64": (pa.array([AT.date()], pa.date64()), ["2024-01-02"]),
    "date-early": (pa.array([-1], pa.int32()).cast(pa.date32()), ["1969-12-31"]),
    "timestamp-s": (pa.array([0, None], pa.timestamp("s")), ["1970-01-01T00:00:00", None]),
    "timestamp-ms": (pa.array([1], pa.timestamp("ms")), ["1970-01-01T00:00:00.001000"]),
    "timestamp-us": (pa.array([AT]), ["2024-01-02T03:04:05.678901"]),
    "timestamp-ns": (pa.array([-1], pa.timestamp("ns")), ["1969-12-31T23:59:59.999999999"]),
    "timestamp-ns-whole": (pa.array([1_000], pa.timestamp("ns")), ["1970-01-01T00:00:00.000001"]),
    "timestamp-zone": (pa.array([0], pa.timestamp("us", "Europe/Berlin")), ["1970-01-01T00:00:00+00:00"]),
    "time32": (pa.array([1_001], pa.time32("ms")), ["00:00:01.001000"]),
    "time64": (pa.array([86_399_999_999_999], pa.time64("ns")), ["23:59:59.999999999"]),
    "dictionary": (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    "list": (pa.array([[1, None], None, []], pa.list_(pa.int32())), [[1, None], None, []]),
    "large-list": (pa.array([[AT]], pa.large_list(pa.timestamp("us"))), [["2024-01-02T03:04:05.678901"]]),
    "fixed-list": (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), [[1, 2], None]),
    "struct": (pa.array([{"a": 1, "b": b"a"}, None]), [{"a": 1, "b": "YQ=="}, None]),
    "struct-in-list": (pa.array([[{"a": AT.date()}, None]]), [[{"a": "2024-01-02"}, None]]),
    "list-in-struct": (pa.array([{"a": [{"b": 1}]}, {"a": None}, None]), [{"a": [{"b": 1}]}, {"a": None}, None]),
    "map": (pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())), [{"k": 1}, None, {}]),
    "map-of-numbers": (pa.array([[(1, AT)]], pa.map_(pa.int32(), pa.timestamp("us"))), [{"1": AT.isoformat()}]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONVERTED))
def test_types_become_json(name: str) -> None:
    column, expected = CONVERTED[name]
    assert rows(column) == expected


@pytest.mark.parametrize("name", list(CONVERTED))
def test_parts_of_a_column_have_its_values(name: str) -> None:
    column, expected = CONVERTED[name]
    convert = converter_of(column.type, "c")
    parts = [(at, count) for at in range(len(column)) for count in range(len(column) - at + 1)]
    for at, count in parts:
        assert convert(column.slice(at, count)) == expected[at : at + count]


def test_the_int96_of_spark_is_a_time() -> None:
    sink = io.BytesIO()
    table = pa.table({"c": pa.array([AT])})
    parquet.write_table(table, sink, use_deprecated_int96_timestamps=True)
    sink.seek(0)
    assert next(parquet_rows(sink, None, 5)) == [{"c": "2024-01-02T03:04:05.678901"}]


STRUCT = pa.struct([("v", pa.float64())])
REFUSED: dict[str, tuple[Any, str]] = {
    "nan": (pa.array([1.0, 2.0, float("nan")]), "the column 'c' has NaN in row 3, which JSON can't say"),
    "infinity": (pa.array([float("-inf")]), "the column 'c' has -Infinity in row 1, which JSON can't say"),
    "nan-in-list": (pa.array([[1.0], [1.0, float("nan")]]), "the column 'c[1]' has NaN in row 2"),
    "nan-in-struct": (pa.array([None, {"v": float("nan")}], STRUCT), "the column 'c.v' has NaN in row 2"),
    "nan-in-map": (
        pa.array([[("a", 1.0), ("b", float("nan"))]], pa.map_(pa.string(), pa.float64())),
        "the column 'c[1]' has NaN in row 1",
    ),
    "half-nan": (pa.array([float("nan")], pa.float16()), "the column 'c' has NaN in row 1"),
    "decimal": (
        pa.array([D("1234567890123456789.5")], pa.decimal128(30, 1)),
        "the column 'c' has a decimal of more digits than a number keeps in row 1",
    ),
    "year": (
        pa.array([2**60], pa.timestamp("ms")),
        "the column 'c' has a time outside of the years 1 to 9999 in row 1",
    ),
    "date": (
        pa.array([None, 2**30], pa.int32()).cast(pa.date32()),
        "the column 'c' has a time outside of the years 1 to 9999 in row 2",
    ),
    "duration": (
        pa.array([datetime.timedelta(1)]),
        "the column 'c' has the type duration[us], which can't be made JSON here: write it as a text or a number",
    ),
    "duration-inside": (pa.array([[{"d": datetime.timedelta(1)}]]), "the column 'c[].d' has the type duration[us]"),
    "map-twice": (
        pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())),
        "the column 'c' has a map with a key that is there twice in row 1",
    ),
    "map-of-lists": (
        pa.array([[([1], 1)]], pa.map_(pa.list_(pa.int8()), pa.int8())),
        "the column 'c[0]' has a map whose keys are no texts in row 1",
    ),
    "not-utf-8": (pa.array([b"\xff"]).view(pa.string()), "a text in it is not UTF-8"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_fails_when_a_value_has_no_json(name: str) -> None:
    column, expected = REFUSED[name]
    assert expected in cause(column)


@pytest.mark.parametrize(
    "kind",
    [
        pa.month_day_nano_interval(),
        pa.sparse_union([pa.field("a", pa.int8())]),
        pa.run_end_encoded(pa.int32(), pa.int8()),
    ],
    ids=["interval", "union", "run-end"],
)
def test_fails_when_a_type_has_no_json(kind: Any) -> None:
    # pyarrow writes none of them to Parquet, so a file can't say whether they are refused.
    with pytest.raises(StateError, match=r"the column 'c' has the type .*, which can't be made JSON"):
        converter_of(kind, "c")


def test_fails_when_two_columns_have_one_name() -> None:
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["c", "c"]), sink)
    sink.seek(0)
    with pytest.raises(StateError, match="several columns called 'c'"):
        next(parquet_rows(sink, None, 5))


def test_rows_without_columns_are_items() -> None:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"c": [1, 2]}).select([]), sink)
    sink.seek(0)
    assert [row for block in parquet_rows(sink, None, 5) for row in block] in ([], [{}, {}])
