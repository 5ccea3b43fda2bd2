"""Where columns are written to: folders here, and folders of S3."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cdk_distributed_map.runs.aws.sessions import Aws, errors
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.results.columns import Parts

SUCCESS: Final = "_SUCCESS"
"""What is written into a folder of S3 at last, as Hadoop does: without it, the table may lack files."""
_S3: Final = "s3://"


def parse_s3(address: str) -> tuple[str, str]:
    """Return bucket and key of an address.

    Raises:
        InputError: It has none.
    """
    bucket, _, key = address.removeprefix(_S3).partition("/")
    if not bucket or not key:
        raise InputError(f"an address in S3 is s3://bucket/key, got {address!r}")
    return bucket, key


class _S3Parts(Parts):
    """Files that are in S3 as soon as they are whole: here is one at a time."""

    def __init__(self, folder: Path, aws: Aws, address: str) -> None:
        super().__init__(folder)
        self._aws = aws
        self._bucket, self._prefix = parse_s3(address)
        self._kept: set[str] = set()

    def check_empty(self) -> None:
        """Refuse a folder in which something is."""
        with errors(f"listing s3://{self._bucket}/{self._prefix}"):
            found = self._aws.s3().list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        if found.get("Contents"):
            raise InputError(
                f"there is something in s3://{self._bucket}/{self._prefix} already, as {found['Contents'][0]['Key']}: "
                "name another folder, or empty it"
            )

    def keep(self, number: int) -> None:
        path = self.path(number)
        key = f"{self._prefix}{path.name}"
        with errors(f"writing s3://{self._bucket}/{key}"):
            self._aws.s3().upload_file(str(path), self._bucket, key)
        self._kept.add(key)
        path.unlink()

    def get(self, number: int) -> Path:
        path = self.path(number)
        with errors(f"reading s3://{self._bucket}/{self._prefix}{path.name}"):
            self._aws.s3().download_file(self._bucket, f"{self._prefix}{path.name}", str(path))
        return path

    def succeed(self) -> None:
        """Say that the table is whole."""
        key = f"{self._prefix}{SUCCESS}"
        with errors(f"writing s3://{self._bucket}/{key}"):
            self._aws.s3().put_object(Bucket=self._bucket, Key=key, Body=b"")

    def take_back(self) -> None:
        """Delete what was written of a table that came to nothing."""
        for key in self._kept:
            with errors(f"deleting s3://{self._bucket}/{key}"):
                self._aws.s3().delete_object(Bucket=self._bucket, Key=key)


@contextmanager
def table_folder(address: str, folder: Path, aws: Aws) -> Iterator[Parts]:
    """Give a place for the files of a table, which has all of them at the end, or none.

    Args:
        address: A folder here, or ``s3://bucket/prefix/``.
        folder: An empty folder for what is in the making.
        aws: Whose S3 it is.

    Raises:
        InputError: Something is there already.
        AwsError: AWS refused a call.
    """
    if address.startswith(_S3):
        parts = _S3Parts(folder, aws, address)
        parts.check_empty()
        try:
            yield parts
            parts.succeed()
        except BaseException:
            parts.take_back()
            raise
        return
    target = Path(address)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"there is something in {address} already: name another folder, or empty it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{folder.name}.partial")
        beside.mkdir()
    except OSError as error:
        raise InputError(f"{address} can't be written: {error.strerror}") from error
    try:
        yield Parts(beside)
        if target.exists():
            target.rmdir()
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
