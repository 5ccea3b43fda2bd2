"""Results as columns: a Parquet file, a folder of them here or in S3, and questions in SQL."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from cdk_distributed_map.cli import _output, _show
from cdk_distributed_map.runs.text import counted

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Run
    from cdk_distributed_map.runs.results.sql import Answer

_SHOWN: Final = 1_000
"""Rows of an answer that a terminal gets."""


def is_s3(output: str | None) -> bool:
    """Tell whether results go to S3."""
    return output is not None and output.startswith("s3://")


def is_folder(output: str | None) -> bool:
    """Tell whether results go to a folder."""
    return output is not None and output.endswith("/")


def write_folder(run: Run, rows: Iterable[Any], output: str, layout: Any, *, rows_per_file: int | None) -> int:
    """Write results as a folder of Parquet files, and return how many there are."""
    from cdk_distributed_map.runs.results import columns, places  # noqa: PLC0415 - only this needs them

    with (
        tempfile.TemporaryDirectory(prefix="distmap-") as folder,
        places.table_folder(output, Path(folder), run.aws) as parts,
    ):
        most = columns.ROWS_PER_FILE if rows_per_file is None else rows_per_file
        written = columns.write_parts(rows, parts, layout=layout, rows_per_file=most, notice=run.aws.notice)
    for note in written.notes:
        _show.say(note, err=True)
    _show.say(f"{counted(len(written.layouts), 'file')} of Parquet", err=True)
    return written.rows


def write_file(run: Run, rows: Iterable[Any], file: BinaryIO, layout: Any) -> int:
    """Write results as one file of Parquet, and return how many there are."""
    from cdk_distributed_map.runs.results import columns  # noqa: PLC0415 - only this needs it

    written = columns.write_parquet(rows, file, layout=layout, notice=run.aws.notice)
    for note in written.notes:
        _show.say(note, err=True)
    return written.rows


@contextmanager
def output_file(run: Run, output: str | None) -> Iterator[str | None]:
    """Give the name of a file to write here, which is put into S3 at the end where it belongs there."""
    if output is None or not is_s3(output):
        yield output
        return
    from cdk_distributed_map.runs.aws.sessions import errors  # noqa: PLC0415 - see write_file
    from cdk_distributed_map.runs.results.places import parse_s3  # noqa: PLC0415 - likewise

    bucket, key = parse_s3(output)
    with tempfile.TemporaryDirectory(prefix="distmap-") as folder:
        path = Path(folder, "results")
        yield str(path)
        with errors(f"writing {output}"):
            run.aws.s3().upload_file(str(path), bucket, key)


def answer(run: Run, rows: Iterable[Any], layout: Any, query: str, *, output: str | None, kind: str | None) -> None:
    """Answer a question in SQL about results.

    Args:
        run: The run.
        rows: Its results.
        layout: What is known of their columns before.
        query: The question.
        output: The file to write. None: standard output.
        kind: Its format. None: a table on a terminal, else JSON Lines.
    """
    from cdk_distributed_map.runs.results import columns, sql, tables  # noqa: PLC0415 - only this needs them

    sql.check(query)
    with tempfile.TemporaryDirectory(prefix="distmap-") as folder:
        parts = columns.Parts(Path(folder))
        written = columns.write_parts(rows, parts, layout=layout, notice=run.aws.notice)
        for note in written.notes:
            _show.say(note, err=True)
        found = sql.ask(query, Path(folder))
        if kind is None:
            _show_table(found)
            return
        with output_file(run, output) as local:
            if kind == "parquet":
                with _output.binary(local) as binary:
                    _write_parquet(found, binary)
                return
            with _output.text(local) as text:
                if kind == "csv":
                    tables.write_rows_csv(found.names, found.rows(), text)
                else:
                    for row in found.rows():
                        text.write(tables.json_row(row) + "\n")


def _show_table(found: Answer) -> None:
    from cdk_distributed_map.runs.results import tables  # noqa: PLC0415 - see answer

    numbers = [n for n, each in enumerate(found.schema.types) if str(each).startswith(("int", "uint", "double"))]
    every = found.rows()
    rows = [[tables.text_of(value) for value in row.values()] for row in itertools.islice(every, _SHOWN)]
    _show.table(found.names, rows, numbers=numbers)
    if next(every, None) is not None:
        _show.say(f"these are the first {_SHOWN:,} rows: --output writes all of them", err=True)


def _write_parquet(found: Answer, file: BinaryIO) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - optional, without types

    with pq.ParquetWriter(file, found.schema, compression="zstd") as writer:
        for batch in found.batches():
            writer.write_batch(batch)


def check(kind: str, output: str | None, options: dict[str, Any], *, terminal: bool) -> None:
    """Refuse options that don't go together.

    Raises:
        click.UsageError: They don't.
    """
    if options["query"] is not None and options["query"].strip() == "":
        raise click.UsageError("--sql takes a query, as in --sql 'select status, count(*) from results group by all'")
    if is_folder(output) and kind != "parquet":
        raise click.UsageError(f"a folder gets files of Parquet, not {kind}: name a file")
    if is_folder(output) and options["query"] is not None:
        raise click.UsageError("the answer of --sql goes to one file: name one that ends in .parquet, .csv or .jsonl")
    if options["rows_per_file"] is not None and not is_folder(output):
        raise click.UsageError("--rows-per-file is for a folder of files: give --output a name that ends in /")
    if options["with_input"] and kind != "parquet" and options["query"] is None:
        raise click.UsageError(f"--with-input is for columns, not for {kind}: write Parquet, or ask with --sql")
    if options["with_input"] and options["nested"]:
        raise click.UsageError("--with-input is for items of the outermost map: leave --nested out")
    if kind == "parquet" and output is None and terminal:
        raise click.UsageError("Parquet can't be shown in a terminal: give --output")
    if options["as_json"] and kind != "jsonl":
        raise click.UsageError(f"--json writes JSON Lines, not {kind}: leave one of them out")
