"""Results as typed columns: Parquet files with the fields of the values, in constant memory.

What the values are of shows batch by batch. A file is written by what is known when it begins; where later values don't
fit, the next file has wider columns, and at the end the files before are written anew, one by one: all have one schema.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

from cdk_distributed_map.runs.errors import MissingPackageError
from cdk_distributed_map.runs.notices import ProgressNotice
from cdk_distributed_map.runs.results import kinds
from cdk_distributed_map.runs.results.item_results import ItemResult
from cdk_distributed_map.runs.results.kinds import Kind

ROWS_PER_FILE: Final = 1_000_000
_CHUNK_ROWS: Final = 20_000
_CHUNK_BYTES: Final = 8 * 1024**2
_GROUP_ROWS: Final = 100_000
_GROUP_BYTES: Final = 48 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which columns there are."""

    value: Kind = kinds.NULL
    item: Kind | None = None
    """Of the input; None where that isn't among the columns."""
    nested: bool = False
    """Whether they begin with map and path."""
    sourced: bool = False
    """Whether any result tells of a source."""
    placed: bool = False
    """Whether any result tells where it failed."""

    @cached_property
    def before(self) -> tuple[str, ...]:
        """Names of the columns before those of the values."""
        nested = ("map", "path") if self.nested else ()
        return (*nested, "index", *(("source",) if self.sourced else ()), "status")

    @cached_property
    def after(self) -> tuple[str, ...]:
        """Names of the columns after those of the values."""
        return ("error", "cause", *(("place",) if self.placed else ()))

    @cached_property
    def places(self) -> list[tuple[str, str, Kind]]:
        """Name, place (``item`` or ``value``) and kind of each column of a value; fields of an object have one each."""
        taken = {name.casefold() for name in (*self.before, "error", "cause", "place")}
        found: list[tuple[str, str, Kind]] = []
        for place, prefix, kind in (("item", "input", self.item), ("value", "value", self.value)):
            if kind is None:
                continue
            fields = kind.fields if self._is_apart(kind) else ()
            for name, each in fields or () if self._is_apart(kind) else (("", kind),):
                wanted = kinds.storable(name) if place == "value" and name else f"{prefix}_{kinds.storable(name)}"
                wanted = prefix if not self._is_apart(kind) else wanted
                while wanted.casefold() in taken:
                    wanted = f"{prefix}_{wanted}"
                taken.add(wanted.casefold())
                found.append((wanted, place, each))
        return found

    @staticmethod
    def _is_apart(kind: Kind | None) -> bool:
        """Whether each field of it has a column of its own."""
        return kind is not None and kind.name == "object" and len(kind.fields) <= kinds.MOST_FIELDS

    @cached_property
    def schema(self) -> Any:
        """The schema of Arrow."""
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - optional, without types

        plain = [(name, pa.int64() if name == "index" else pa.string()) for name in self.before]
        values = [(name, kinds.arrow(kind)) for name, _, kind in self.places]
        return pa.schema([*plain, *values, *((name, pa.string()) for name in self.after)])

    def widened(self, rows: Sequence[ItemResult]) -> Layout:
        """Return the layout that some more results fit into, too."""
        value = kinds.merged(self.value, kinds.kind_of([each.value for each in rows]))
        item = None if self.item is None else kinds.merged(self.item, kinds.kind_of([each.item for each in rows]))
        sourced = self.sourced or any(each.source is not None for each in rows)
        placed = self.placed or any(each.place is not None for each in rows)
        same = (value, item, sourced, placed) == (self.value, self.item, self.sourced, self.placed)
        return self if same else replace(self, value=value, item=item, sourced=sourced, placed=placed)

    def table(self, rows: Sequence[ItemResult]) -> Any:
        """Return results as a table."""
        import pyarrow as pa  # noqa: PLC0415 - see schema

        arrays = [self._plain(rows, name) for name in self.before]
        for place, kind in (("item", self.item), ("value", self.value)):
            if kind is None:
                continue
            values = [getattr(each, place) for each in rows]
            if not self._is_apart(kind):
                arrays.append(kinds.array_of(kind, values, kinds.arrow(kind)))
            elif kind.fields:
                whole = pa.struct([(str(n), kinds.arrow(each)) for n, (_, each) in enumerate(kind.fields)])
                numbered = Kind("object", fields=tuple((str(n), each) for n, (_, each) in enumerate(kind.fields)))
                if kind.why_text is None and not any(kinds.storable(name) != name for name, _ in kind.fields):
                    arrays += kinds.array_of(kind, values, kinds.arrow(kind)).flatten()
                else:  # names that differ in case alone, or that UTF-8 hasn't: numbers stand for them
                    again = [
                        None if value is None else {str(n): value.get(name) for n, (name, _) in enumerate(kind.fields)}
                        for value in values
                    ]
                    arrays += kinds.array_of(numbered, again, whole).flatten()
        arrays += [self._plain(rows, name) for name in self.after]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    @staticmethod
    def _plain(rows: Sequence[ItemResult], name: str) -> Any:
        import pyarrow as pa  # noqa: PLC0415 - see schema

        values = [getattr(each, name) for each in rows]
        if name == "index":
            return pa.array(values, type=pa.int64())
        try:
            return pa.array(values, type=pa.string())
        except UnicodeEncodeError:
            return pa.array([kinds.storable(value) for value in values], type=pa.string())

    def results(self, table: Any) -> list[ItemResult]:
        """Return the results of a table of this layout."""
        columns = {name: table.column(name).to_pylist() for name in (*self.before, *self.after)}
        names = {place: [each for each in self.places if each[1] == place] for place in ("item", "value")}
        values = {place: self._values(table, names[place], getattr(self, place), columns["status"]) for place in names}
        count = table.num_rows
        return [
            ItemResult(
                **{name: of_column[n] for name, of_column in columns.items()},
                value=values["value"][n],
                item=values["item"][n],
            )
            for n in range(count)
        ]

    def _values(self, table: Any, places: Any, kind: Kind | None, statuses: list[str]) -> list[Any]:
        if kind is None:
            return [None] * table.num_rows
        lists = [table.column(name).to_pylist() for name, _, _ in places]
        if not self._is_apart(kind):
            return [kinds.read_back(kind, value) for value in lists[0]]
        made: list[Any] = []
        for n, status in enumerate(statuses):
            value = {
                name: kinds.read_back(each, of_field[n])
                for (name, each), of_field in zip(kind.fields, lists, strict=True)
                if of_field[n] is not None
            }
            made.append(value if value or status == "SUCCEEDED" else None)
        return made

    def notes(self) -> list[str]:
        """Return what to say of columns that aren't typed, or not named as their fields."""
        found: list[str] = []
        for (name, place, kind), field_name in zip(self.places, self._field_names(), strict=True):
            found += kinds.texts(kind, name)
            if place == "value" and field_name not in (None, name):
                found.append(f"the field {field_name!r} is the column {name}: another column has its name")
        return found

    def _field_names(self) -> Iterator[str | None]:
        for kind in (self.item, self.value):
            if kind is not None:
                yield from (name for name, _ in kind.fields) if self._is_apart(kind) else (None,)


class Parts:
    """Files of a table in a folder, numbered from 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """Return where to write a file."""
        return self.folder / f"part-{number:05}.parquet"

    def keep(self, number: int) -> None:
        """Take a file that has been written."""

    def get(self, number: int) -> Path:
        """Return where to read a file that was taken."""
        return self.path(number)


@dataclass
class Written:
    """What has been written."""

    rows: int = 0
    layouts: list[Layout] = field(default_factory=list)
    """Of each file."""

    @property
    def notes(self) -> list[str]:
        """What to say of its columns."""
        return self.layouts[-1].notes()


class _Writer:
    """Writes rows to files, as wide as they are known to be."""

    def __init__(self, parts: Parts, layout: Layout, rows_per_file: int | None) -> None:
        self._parts, self._layout, self._rows_per_file = parts, layout, rows_per_file
        self._file: Any = None
        self._waiting: list[Any] = []
        self._in_file = 0
        self.written = Written()

    def room(self) -> int | None:
        """Return how many rows still go into the file; None where that isn't limited."""
        return None if self._rows_per_file is None else self._rows_per_file - self._in_file

    def add(self, rows: Sequence[ItemResult]) -> int:
        """Write rows, and return the bytes of their columns."""
        layout = self._layout.widened(rows)
        if layout is not self._layout:
            self._widen(layout)
        table = layout.table(rows)
        self._waiting.append(table)
        self._in_file += len(rows)
        self.written.rows += len(rows)
        if sum(t.num_rows for t in self._waiting) >= _GROUP_ROWS or sum(t.nbytes for t in self._waiting) > _GROUP_BYTES:
            self._flush()
        if self.room() == 0:
            self._close()
        return int(table.nbytes)

    def _widen(self, layout: Layout) -> None:
        before, self._layout = self._layout, layout
        if self._file is not None:
            self._layout = before
            self._close()
            self._layout = layout
        else:
            self._waiting = [layout.table(before.results(table)) for table in self._waiting]

    def _flush(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - see Layout.schema

        if self._file is None:
            self._file = _opened(self._parts.path(len(self.written.layouts)), self._layout)
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._file.write_table(table, row_group_size=_GROUP_ROWS)
        self._waiting = []

    def _close(self) -> None:
        self._flush()
        self._file.close()
        self._file, self._in_file = None, 0
        self._parts.keep(len(self.written.layouts))
        self.written.layouts.append(self._layout)

    def end(self) -> Written:
        """Write what is left: a file without rows, where there are none."""
        if self._waiting or self._file is not None or not self.written.layouts:
            self._close()
        return self.written


def write_parts(
    found: Iterable[ItemResult],
    parts: Parts,
    *,
    layout: Layout,
    rows_per_file: int | None = ROWS_PER_FILE,
    notice: Callable[[str], None] | None = None,
) -> Written:
    """Write results to files of one schema.

    Args:
        found: The results.
        parts: Where the files go.
        layout: What is known of the columns before.
        rows_per_file: Rows of a file at most. None: there is one file, or as many as it takes to widen it.
        notice: Called with how far it is. Default: nothing is said.

    Raises:
        MissingPackageError: ``pyarrow`` isn't installed.
    """
    _check_installed()
    progress = ProgressNotice(notice, lambda done: f"{done:,} results written")
    writer = _Writer(parts, layout, rows_per_file)
    rest, size = iter(found), 1_000
    while rows := list(itertools.islice(rest, min(size, writer.room() or size))):
        bytes_of_rows = max(1, writer.add(rows))
        size = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES * len(rows) // bytes_of_rows))
        progress(len(rows))
    written = writer.end()
    if rows_per_file is not None:
        last = written.layouts[-1]
        for number, before in enumerate(written.layouts):
            if before != last:
                path = parts.get(number)
                beside = path.with_suffix(".wider")
                with _opened(beside, last) as file:
                    _copy(path, before, file, last)
                beside.replace(parts.path(number))
                parts.keep(number)
                written.layouts[number] = last
    return written


def write_parquet(
    found: Iterable[ItemResult],
    file: IO[bytes],
    *,
    layout: Layout | None = None,
    notice: Callable[[str], None] | None = None,
) -> Written:
    """Write results to one file.

    Args:
        found: The results.
        file: The file.
        layout: What is known of the columns before. Default: those of results of one map, without the input.
        notice: Called with how far it is. Default: nothing is said.

    Raises:
        MissingPackageError: ``pyarrow`` isn't installed.
    """
    with tempfile.TemporaryDirectory(prefix="distmap-") as folder:
        parts = Parts(Path(folder))
        written = write_parts(found, parts, layout=layout or Layout(), rows_per_file=None, notice=notice)
        if len(written.layouts) == 1:
            with parts.path(0).open("rb") as made:
                shutil.copyfileobj(made, file, 1 << 20)
            return written
        last = written.layouts[-1]
        with _opened(file, last) as wide:
            for number, before in enumerate(written.layouts):
                _copy(parts.path(number), before, wide, last)
    return written


def _opened(file: Any, layout: Layout) -> Any:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - see Layout.schema

    return pq.ParquetWriter(file, layout.schema, compression="zstd")


def _copy(path: Path, before: Layout, file: Any, layout: Layout) -> None:
    import pyarrow as pa  # noqa: PLC0415 - see Layout.schema
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    with pq.ParquetFile(path) as made:
        for batch in made.iter_batches(batch_size=_CHUNK_ROWS):
            table = pa.Table.from_batches([batch])
            file.write_table(table if before == layout else layout.table(before.results(table)))


def _check_installed() -> None:
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415 - see Layout.schema
    except ImportError as error:
        raise MissingPackageError("Parquet needs pyarrow: pip install 'cdk-distributed-map[frames]'") from error
