"""Parquet files: each type becomes the JSON that stands for it, or is refused with its column and row.

JSON has no dates, bytes or decimals, and Step Functions' pages don't say what it makes of them. Dates and times become
ISO 8601 texts, bytes base64, decimals numbers as long as no digit is lost; what JSON can't say is refused.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Final, NoReturn

from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.distributed.reader_errors import failed
from cdk_distributed_map.local.distributed.streams import downloaded
from cdk_distributed_map.local.errors import UnsupportedError
from distmap.limits import MAX_PARQUET_FOOTER_BYTES, MAX_PARQUET_ROW_GROUP_BYTES

_DAY_SECONDS: Final = 86_400
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH: Final = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - times of Parquet have a zone or none

Convert = Callable[[Any], list[Json]]
"""Makes the JSON values of an Arrow array."""


class _UnfitError(Exception):
    """A value has no JSON.

    Args:
        index: Its row.
        what: What it is.
        path: Where in the row it is, below the column.
    """

    def __init__(self, index: int, what: str, path: str = "") -> None:
        super().__init__(what)
        self.index = index
        self.what = what
        self.path = path


def parquet_rows(stream: IO[bytes], folder: str | None, rows: int) -> Iterator[list[Json]]:
    """Yield the rows of a Parquet file in blocks.

    Args:
        stream: The file.
        folder: Where it is copied to, since Parquet is read from its end.
        rows: Most rows in a block.

    Raises:
        ReaderError: It isn't Parquet, over AWS's limits, or has a value that JSON can't say.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, without types
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedError("the item file is Parquet: pip install 'cdk-distributed-map[local]'") from error
    with downloaded(stream, folder) as file:
        try:
            table = parquet.ParquetFile(file)
            _check_limits(table.metadata)
            names = table.schema_arrow.names
            columns = [_column(each) for each in table.schema_arrow]
            _refuse_twice(names)
            row = 1
            for batch in table.iter_batches(batch_size=rows):
                values = [convert(batch.column(at), row) for at, convert in enumerate(columns)]
                row += batch.num_rows
                found = zip(*values, strict=True) if values else ([()] * batch.num_rows)
                yield [dict(zip(names, each, strict=True)) for each in found]
        # Arrow's own errors, and Python's for texts that aren't UTF-8.
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise failed(f"it is not Parquet, or damaged: {_first_line(error)}") from error


def _check_limits(metadata: Any) -> None:
    if metadata.serialized_size > MAX_PARQUET_FOOTER_BYTES:
        raise failed(f"its footer has more than {MAX_PARQUET_FOOTER_BYTES} bytes")
    for at in range(metadata.num_row_groups):
        size = metadata.row_group(at).total_byte_size
        if size > MAX_PARQUET_ROW_GROUP_BYTES:
            raise failed(
                f"its row group {at + 1} has {size} bytes, more than the maximum of {MAX_PARQUET_ROW_GROUP_BYTES}"
            )


def _refuse_twice(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise failed(f"it has several columns called {twice[0]!r}, and an item has one value for each name")


def _first_line(error: Exception) -> str:
    text = "a text in it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    return text.partition("\n")[0].rstrip(".")


def _column(field: Any) -> Callable[[Any, int], list[Json]]:
    """Return what converts a column, given it and the number of its first row."""
    convert = converter_of(field.type, field.name)

    def converted(array: Any, row: int) -> list[Json]:
        try:
            return convert(array)
        except _UnfitError as unfit:
            where = f"the column {field.name + unfit.path!r} has {unfit.what} in row {row + unfit.index}"
            raise failed(f"{where}, which JSON can't say") from unfit

    return converted


def converter_of(type: Any, column: str) -> Convert:
    """Return what converts the values of a type.

    Args:
        type: Arrow's type.
        column: Where it is, for messages.

    Raises:
        ReaderError: It isn't converted.
    """
    import pyarrow  # noqa: PLC0415 - an extra

    types = pyarrow.types
    if isinstance(type, pyarrow.BaseExtensionType):
        if type.extension_name == "arrow.uuid":
            return lambda array: _each(array.storage, lambda value: str(uuid.UUID(bytes=value)))
        stored = converter_of(type.storage_type, column)
        return lambda array: stored(array.storage)
    if types.is_dictionary(type):
        plain = converter_of(type.value_type, column)
        return lambda array: plain(array.dictionary_decode())
    nested = _nested(type, column, types)
    if nested is not None:
        return nested
    convert = next((convert for is_type, convert in _leaves(types) if is_type(type)), None)
    if convert is None:
        raise failed(
            f"the column {column!r} has the type {type}, which can't be made JSON here: write it as a text or a number"
        )
    return convert


def _leaves(types: Any) -> list[tuple[Callable[[Any], bool], Convert]]:
    """Return how values that aren't nested are converted, by type."""
    plain = (types.is_null, types.is_boolean, types.is_integer, types.is_string, types.is_large_string)
    raw = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return [
        *((is_type, _plain) for is_type in (*plain, types.is_string_view)),
        *((is_type, _base64) for is_type in raw),
        (types.is_floating, _floats),
        (types.is_decimal, lambda array: _each(array, _decimal)),
        (types.is_date, _dates),
        (types.is_timestamp, _timestamps),
        (types.is_time, _times),
    ]


def _nested(type: Any, column: str, types: Any) -> Convert | None:
    """Return what converts a list, struct or map; None for another type."""
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    if any(is_list(type) for is_list in lists):
        element = converter_of(type.value_type, f"{column}[]")
        return lambda array: _lists(array, element)
    if types.is_struct(type):
        fields = [type.field(at) for at in range(type.num_fields)]
        members = [(field.name, converter_of(field.type, f"{column}.{field.name}")) for field in fields]
        return lambda array: _structs(array, members)
    if types.is_map(type):
        keys, items = converter_of(type.key_type, f"{column}.key"), converter_of(type.item_type, f"{column}.value")
        return lambda array: _maps(array, keys, items)
    return None


def _each(array: Any, convert: Callable[[Any], Json]) -> list[Json]:
    found: list[Json] = []
    for at, value in enumerate(array.to_pylist()):
        try:
            found.append(None if value is None else convert(value))
        except _UnfitError as unfit:
            _raise_in(at, "", unfit)
    return found


def _raise_in(index: int, path: str, unfit: _UnfitError) -> NoReturn:
    """Raise an error of a value in another one."""
    raise _UnfitError(index, unfit.what, path + unfit.path) from unfit


def _plain(array: Any) -> list[Json]:
    found: list[Json] = array.to_pylist()
    return found


def _base64(array: Any) -> list[Json]:
    return _each(array, lambda value: base64.b64encode(value).decode())


def _floats(array: Any) -> list[Json]:
    import pyarrow  # noqa: PLC0415 - an extra

    found: list[Json] = array.cast(pyarrow.float64()).to_pylist()
    for at, value in enumerate(found):
        if value is not None and not math.isfinite(value):
            raise _UnfitError(at, "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
    return found


def _decimal(value: decimal.Decimal) -> Json:
    if value == value.to_integral_value():
        return int(value)
    nearest = float(value)
    if decimal.Decimal(repr(nearest)) != value:
        raise _UnfitError(0, "a decimal of more digits than a number keeps")
    return nearest


def _dates(array: Any) -> list[Json]:
    in_a_day = 1 if array.type.bit_width == 32 else _DAY_SECONDS * 1000
    return _moments(array, lambda value: _timestamp(value // in_a_day * _DAY_SECONDS, 1).partition("T")[0])


def _timestamps(array: Any) -> list[Json]:
    per_second, zoned = _PER_SECOND[array.type.unit], array.type.tz is not None
    return _moments(array, lambda value: _timestamp(value, per_second) + ("+00:00" if zoned else ""))


def _times(array: Any) -> list[Json]:
    per_second = _PER_SECOND[array.type.unit]

    def time(value: int) -> str:
        if not 0 <= value < _DAY_SECONDS * per_second:
            raise _UnfitError(0, "a time that no day has")
        return _timestamp(value, per_second).partition("T")[2]

    return _moments(array, time)


def _moments(array: Any, convert: Callable[[int], str]) -> list[Json]:
    import pyarrow  # noqa: PLC0415 - an extra

    # As numbers, because Python has no type for nanoseconds.
    narrow = array.cast(pyarrow.int32()) if array.type.bit_width == 32 else array
    return _each(narrow.cast(pyarrow.int64()), convert)


def _timestamp(value: int, per_second: int) -> str:
    seconds, rest = divmod(value, per_second)
    try:
        whole = (_EPOCH + datetime.timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        raise _UnfitError(0, "a time outside of the years 1 to 9999") from None
    if rest == 0:
        return whole
    nanoseconds = f"{rest * (10**9 // per_second):09}"
    return f"{whole}.{nanoseconds[:6] if nanoseconds.endswith('000') else nanoseconds}"


def _lists(array: Any, element: Convert) -> list[Json]:
    found: list[Json] = []
    for at, scalar in enumerate(array):
        try:
            found.append(element(scalar.values) if scalar.is_valid else None)
        except _UnfitError as unfit:
            _raise_in(at, f"[{unfit.index}]", unfit)
    return found


def _structs(array: Any, members: Iterable[tuple[str, Convert]]) -> list[Json]:
    valid = array.is_valid()
    rows = [at for at, each in enumerate(valid.to_pylist()) if each]
    found: list[Json] = [None] * len(array)
    for at in rows:
        found[at] = {}
    for at, (name, convert) in enumerate(members):
        # What is below a row that is null may be anything.
        values = array.field(at).filter(valid)
        try:
            converted = convert(values)
        except _UnfitError as unfit:
            _raise_in(rows[unfit.index], f".{name}", unfit)
        for row, value in zip(rows, converted, strict=True):
            found[row][name] = value
    return found


def _maps(array: Any, keys: Convert, items: Convert) -> list[Json]:
    found: list[Json] = []
    for at, scalar in enumerate(array):
        if not scalar.is_valid:
            found.append(None)
            continue
        entries = scalar.values
        try:
            names = [_key(key) for key in keys(entries.field(0))]
            values = items(entries.field(1))
        except _UnfitError as unfit:
            _raise_in(at, f"[{unfit.index}]", unfit)
        if len(set(names)) != len(names):
            raise _UnfitError(at, "a map with a key that is there twice")
        found.append(dict(zip(names, values, strict=True)))
    return found


def _key(value: Json) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise _UnfitError(0, "a map whose keys are no texts")
