"""Questions in SQL about results, answered by DuckDB over their columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from cdk_distributed_map.runs.errors import InputError, MissingPackageError
from cdk_distributed_map.runs.text import one_line

_MEMORY: Final = "512MB"
"""What DuckDB takes before it writes to temporary files."""
_MOST_THREADS: Final = 4
"""Each holds memory that can't be written to a file: those of a machine with many cores would need more than that."""
_ROWS: Final = 10_000


class Answer:
    """What DuckDB answers: names of columns, and batches of rows."""

    def __init__(self, reader: Any, names: Sequence[str]) -> None:
        self._reader = reader
        self.names = list(names)

    def batches(self) -> Iterator[Any]:
        """Yield batches of Arrow.

        Raises:
            InputError: DuckDB failed on the way.
        """
        import duckdb  # noqa: PLC0415 - optional

        try:
            yield from self._reader
        except (duckdb.Error, OSError) as error:
            raise _refused(error) from error

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield rows."""
        for batch in self.batches():
            yield from batch.to_pylist()

    @property
    def schema(self) -> Any:
        """The schema of Arrow."""
        return self._reader.schema


def check(query: str) -> None:
    """Refuse a query that is none, or any where DuckDB isn't there, before anything is read.

    Raises:
        MissingPackageError: ``duckdb`` or ``pyarrow`` isn't installed.
        InputError: It isn't one statement of SQL.
    """
    try:
        import duckdb  # noqa: PLC0415 - optional
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - likewise, without types
    except ImportError as error:
        raise MissingPackageError("--sql needs DuckDB: pip install 'cdk-distributed-map[sql]'") from error
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise _refused(error) from error
    if len(statements) != 1:
        raise InputError(f"--sql takes one statement, got {len(statements)}: see the documentation of DuckDB")


def ask(query: str, folder: Path) -> Answer:
    """Return the answer to a query over the table ``results``, which is all that it can reach.

    Args:
        query: One statement of SQL.
        folder: Where the files of the table are, and where DuckDB may write temporary ones.

    Raises:
        InputError: DuckDB refuses it.
    """
    import duckdb  # noqa: PLC0415 - optional

    check(query)
    connection = _connected(folder)
    try:
        found = connection.execute(query)
        if found.description is None:
            raise InputError("--sql takes a statement that answers rows: as in 'select status from results'")
        return Answer(found.to_arrow_reader(_ROWS), [column[0] for column in found.description])
    except duckdb.Error as error:
        raise _refused(error) from error


def _connected(folder: Path) -> Any:
    """Return a database with the table and nothing else: no other file, no network, no extension, no Python object."""
    import duckdb  # noqa: PLC0415 - optional

    options: dict[str, Any] = {"memory_limit": _MEMORY, "temp_directory": str(folder / "temporary")}
    options |= {"threads": min(os.cpu_count() or 1, _MOST_THREADS), "preserve_insertion_order": False}
    options |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(":memory:", config={**options, "python_enable_replacements": False})
    quoted = str(folder).replace("'", "''")
    connection.execute(f"set allowed_directories = ['{quoted}']")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    connection.read_parquet(str(folder / "*.parquet")).create_view("results")
    return connection


def _refused(error: Exception) -> InputError:
    import duckdb  # noqa: PLC0415 - optional

    why = one_line(str(error), 500)
    if isinstance(error, duckdb.PermissionException):
        return InputError(
            f"a query reaches the table results alone: {why}; to use it with other data, write it as Parquet (--output "
            "results.parquet), and ask DuckDB itself"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return InputError(
            f"the query needs more than {_MEMORY} of memory at once: {why}; ask for less, or write the table as "
            "Parquet (--output results.parquet), and ask DuckDB itself"
        )
    return InputError(f"DuckDB refuses the query: {why}; the table is named results")
