"""Files that a command writes: whole ones, or none."""

from __future__ import annotations

import io
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import click

STDOUT: Final = "-"


@contextmanager
def binary(name: str | None) -> Iterator[BinaryIO]:
    """Open a file to write bytes to; ``-`` and None are standard output.

    What is written goes beside the file and takes its place at the end, so that a command that fails halfway leaves
    what was there before.

    Raises:
        click.ClickException: The file can't be written.
    """
    if name is None or name == STDOUT:
        yield sys.stdout.buffer
        return
    path = Path(name)
    # A pipe or a device is written to as it is; where a link leads to stays what it leads to.
    whole = path.is_file() or not path.exists()
    path = path.resolve() if whole else path
    # A name of its own, so that two commands that write the same file don't write into each other's.
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.partial") if whole else path
    try:
        file = beside.open("xb" if whole else "wb")
    except OSError as error:
        message = f"{name} can't be written: {error.strerror}"
        raise click.ClickException(message) from error
    try:
        with file:
            yield file
        if whole:
            beside.replace(path)
    except BaseException:
        if whole:
            beside.unlink(missing_ok=True)
        raise


@contextmanager
def text(name: str | None) -> Iterator[TextIO]:
    """Open a file to write UTF-8 to, as :func:`binary` does, whatever the terminal's encoding is."""
    with binary(name) as file:
        # Halves of surrogate pairs, which UTF-8 hasn't, are written as the escapes that JSON has for them.
        wrapped = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        try:
            yield wrapped
            wrapped.flush()
        finally:
            wrapped.detach()
