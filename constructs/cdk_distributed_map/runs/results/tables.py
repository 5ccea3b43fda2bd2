"""Results as JSON Lines, CSV and frames."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TextIO

from cdk_distributed_map.runs.errors import InputError, MissingPackageError
from cdk_distributed_map.runs.text import one_line, visible

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]  # its types are a package of their own
    import polars

    from cdk_distributed_map.runs.results.item_results import ItemResult

COLUMNS: Final = ("index", "status", "value", "error", "cause")
PLACED_COLUMNS: Final = (*COLUMNS, "place")
"""Columns of results among which are items that did not succeed."""
NESTED: Final = ("map", "path")
"""Columns before those of results of nested maps."""
_BEGINS_FORMULA: Final = frozenset("=+-@＝＋－＠")  # noqa: RUF001 - spreadsheets take the wide ones for the same


def as_row(result: ItemResult) -> dict[str, Any]:
    """Return a result as JSON: ``index``, ``status``, and ``value`` or ``item``, ``error``, ``cause`` and ``place``.

    Those of nested maps begin with ``map`` and ``path``.
    """
    row: dict[str, Any] = {} if result.map is None else {"map": result.map, "path": result.path}
    row |= {"index": result.index} if result.source is None else {"index": result.index, "source": result.source}
    row["status"] = result.status
    if result.succeeded:
        return {**row, "value": result.value}
    row |= {"item": result.item, "error": result.error, "cause": result.cause}
    return row if result.place is None else {**row, "place": result.place}


def write_json_lines(found: Iterable[ItemResult], file: TextIO) -> int:
    """Write results as JSON Lines, and return how many."""
    count = 0
    for count, result in enumerate(found, start=1):  # noqa: B007 - the last one is the number
        file.write(visible(json.dumps(as_row(result), ensure_ascii=False, separators=(",", ":"))) + "\n")
    return count


def write_csv(found: Iterable[ItemResult], file: TextIO, columns: tuple[str, ...] = COLUMNS) -> int:
    """Write results as CSV, and return how many.

    A value is JSON text, a text too: so that the text ``"1"`` differs from the number ``1``. The other
    columns are bare texts; one that a spreadsheet would take for a formula gets an apostrophe before it
    (https://owasp.org/www-community/attacks/CSV_Injection), and characters that steer a terminal are escaped.
    """
    writer = csv.writer(file)
    writer.writerow(columns)
    count = 0
    for count, result in enumerate(found, start=1):  # noqa: B007 - the last one is the number
        writer.writerow([_json_of(result) if name == "value" else _cell(getattr(result, name)) for name in columns])
    return count


def write_rows_csv(names: Iterable[str], rows: Iterable[dict[str, Any]], file: TextIO) -> None:
    """Write rows of any columns as CSV, by the same rule for texts; lists and objects as JSON."""
    writer = csv.writer(file)
    writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(_plain(value)) for value in row.values()] for row in rows)


def json_row(row: dict[str, Any]) -> str:
    """Return a row of any columns as JSON; what JSON hasn't, such as dates, as text."""
    return visible(json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str))


def text_of(value: Any) -> str:
    """Return a value as people read it in a table."""
    return "" if value is None else str(_plain(value))


def _plain(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list | bool) else value


def to_pandas(found: Iterable[ItemResult]) -> pandas.DataFrame:
    """Return results as a pandas frame with the columns :data:`COLUMNS`, and ``place`` where any has one.

    .. versionadded:: 0.1.0

    Raises:
        MissingPackageError: ``pandas`` isn't installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - optional, without types
    except ImportError as error:
        raise _missing("pandas", "a pandas frame") from error
    rows, names = _rows(found)
    return pd.DataFrame.from_records([list(row.values()) for row in rows], columns=names)


def to_polars(found: Iterable[ItemResult]) -> polars.DataFrame:
    """Return results as a polars frame with the columns of :func:`to_pandas`; polars needs values of one type.

    .. versionadded:: 0.1.0

    Raises:
        MissingPackageError: ``polars`` isn't installed.
        InputError: The values don't go into one column.
    """
    try:
        import polars as pl  # noqa: PLC0415 - optional, without types
    except ImportError as error:
        raise _missing("polars", "a polars frame") from error
    rows, names = _rows(found)
    kinds = {"index": pl.Int64, **{name: pl.String for name in names if name not in {"index", "value"}}}
    try:
        return pl.DataFrame(rows, schema=list(names), schema_overrides=kinds, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        why = one_line(str(error), 200)
        raise InputError(
            f"the values don't go into one column of a polars frame: {why}; make them alike, or use to_pandas, which "
            "takes any"
        ) from error


def _rows(found: Iterable[ItemResult]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the rows of a frame and its columns: with places where there is one."""
    every = list(found)
    names = PLACED_COLUMNS if any(each.place is not None for each in every) else COLUMNS
    return [{name: getattr(each, name) for name in names} for each in every], names


def _missing(package: str, what: str) -> MissingPackageError:
    return MissingPackageError(f"{what} needs {package}: pip install 'cdk-distributed-map[frames]'")


def _json_of(result: ItemResult) -> str | None:
    return visible(json.dumps(result.value, ensure_ascii=False)) if result.succeeded else None


def _cell(value: Any) -> Any:
    """Return a value as no spreadsheet takes it for a formula and no terminal for a command."""
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.lstrip()[:1] in _BEGINS_FORMULA or value.startswith(("\t", "\r")) else value)
