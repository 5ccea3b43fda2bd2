"""Questions in SQL about results, answered by DuckDB over their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cdk_distributed_map.runs.errors import InputError, MissingPackageError
from cdk_distributed_map.runs.text import one_line

_MEMORY = "512MB"
"""What DuckDB takes before it writes to temporary files."""
_ROWS = 10_000


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


def check_installed() -> None:
    """Refuse SQL where DuckDB isn't there, before anything is read.

    Raises:
        MissingPackageError: ``duckdb`` or ``pyarrow`` isn't installed.
    """
    try:
        import duckdb  # noqa: F401, PLC0415 - optional
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - likewise, without types
    except ImportError as error:
        raise MissingPackageError("--sql needs DuckDB: pip install 'cdk-distributed-map[sql]'") from error


def ask(query: str, folder: Path) -> Answer:
    """Return the answer to a query over the table ``results``.

    Args:
        query: One statement of SQL.
        folder: Where the files of the table are, and where DuckDB may write temporary ones.

    Raises:
        InputError: DuckDB refuses it.
    """
    import duckdb  # noqa: PLC0415 - optional

    # Nothing is fetched from the network for a query, unless it says so itself.
    options: dict[str, Any] = {"memory_limit": _MEMORY, "temp_directory": str(folder / "temporary")}
    options |= {"autoinstall_known_extensions": False, "preserve_insertion_order": False}
    connection = duckdb.connect(":memory:", config=options)
    connection.read_parquet(str(folder / "*.parquet")).create_view("results")
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            raise InputError(f"--sql takes one statement, got {len(statements)}: see the documentation of DuckDB")
        found = connection.execute(statements[0])
        if found.description is None:
            raise InputError("--sql takes a statement that answers rows: as in 'select status from results'")
        return Answer(found.to_arrow_reader(_ROWS), [column[0] for column in found.description])
    except duckdb.Error as error:
        raise _refused(error) from error


def _refused(error: Exception) -> InputError:
    return InputError(f"DuckDB refuses the query: {one_line(str(error), 500)}; the table is named results")
