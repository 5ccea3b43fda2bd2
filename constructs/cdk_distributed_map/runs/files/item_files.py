"""Item files: from what people have, here or in S3, to what a map reads."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, BinaryIO, Final

from cdk_distributed_map.runs.aws.sessions import Aws, error_code, errors
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files.item_formats import FileFormat, read_items
from cdk_distributed_map.runs.find.definition import PipelineDefinition
from cdk_distributed_map.runs.notices import ProgressNotice, megabytes
from distmap._stream import count_lines as stream_count_lines
from distmap._stream import object_chunks
from distmap.limits import MAX_ITEM_BYTES, MAX_ITEM_FILE_BYTES, MAX_ITEMS, SPILL_BYTES
from distmap.wire import ITEM_FILES_FOLDER, ITEMS_FILE, ItemFile

GONE: Final = frozenset({"404", "NoSuchKey", "NoSuchBucket"})
"""What S3 says of an object that isn't there, or whose bucket isn't."""


class SpooledItems:
    """Items on their way to S3: checked, counted and written to a temporary file.

    They are written before they are uploaded because the execution's input holds their number and checksum, and a
    run of a given name must be found to be the same one before its file is touched. Close it when done.

    Attributes:
        count: Items.
        bytes: Bytes of the file.
        sha256: Checksum of the file, in hexadecimal.
    """

    def __init__(
        self,
        items: Iterable[bytes],
        *,
        array: bool = False,
        largest: int = SPILL_BYTES,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        notices = ProgressNotice(notice, lambda done: f"{self.count:,} items read, {megabytes(done)}")
        self.count = 0
        self.bytes = 0
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        digest = hashlib.sha256()
        try:
            for block in self._blocks(items, array=array, largest=largest):
                self._file.write(block)
                digest.update(block)
                self.bytes += len(block)
                notices(len(block))
                if self.bytes > MAX_ITEM_FILE_BYTES:
                    raise InputError(
                        f"the item file has more than the {MAX_ITEM_FILE_BYTES:,} bytes that a map reads, at item "
                        f"{self.count:,}: split the run"
                    )
        except BaseException:
            self._file.close()
            raise
        self.sha256 = digest.hexdigest()

    def _blocks(self, items: Iterable[bytes], *, array: bool, largest: int) -> Iterator[bytes]:
        for item in items:
            if len(item) > largest:
                raise InputError(
                    f"item {self.count:,} has {len(item):,} bytes, over the {largest:,} that a child can take: put it "
                    "into S3 and make the item say where"
                )
            yield ((b",\n" if self.count else b"[\n") if array else b"") + item + (b"" if array else b"\n")
            self.count += 1
            if self.count > MAX_ITEMS:
                raise InputError(f"there are more than the {MAX_ITEMS:,} items that a map reads: split the run")
        if array:
            yield b"\n]\n" if self.count else b"[]\n"

    def upload(self, aws: Aws, *, bucket: str, key: str) -> None:
        """Put the file into S3, in parts where it is large."""
        self._file.seek(0)
        notices = ProgressNotice(
            aws.notice, lambda done: f"uploading items: {megabytes(done)} of {megabytes(self.bytes)}"
        )
        options: dict[str, Any] = {"ExtraArgs": {"ContentType": "application/x-ndjson"}, "Callback": notices}
        with errors(f"uploading s3://{bucket}/{key}"):
            aws.s3().upload_fileobj(self._file, bucket, key, **options)

    def item_file(self, *, bucket: str, key: str, first_run: str | None = None) -> ItemFile:
        """Return what the execution's input says of it; its lines are envelopes where they were another run's first."""
        file: ItemFile = {
            "bucket": bucket,
            "key": key,
            "count": self.count,
            "bytes": self.bytes,
            "sha256": self.sha256,
        }
        if first_run is not None:
            file["enveloped"] = True
            file["firstRun"] = first_run
        return file

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()


def spool(
    source: BinaryIO,
    file_format: FileFormat,
    definition: PipelineDefinition,
    *,
    name: str,
    notice: Callable[[str], None] | None = None,
) -> SpooledItems:
    """Return the items of an open file in the form that the pipeline's map reads.

    Args:
        source: The file.
        file_format: Its format.
        definition: The pipeline.
        name: Name of the file, for messages.
        notice: Called now and then with how far it is, where that takes long.

    Raises:
        InputError: The items can't be read, or AWS would refuse them.
    """
    target = definition.item_file
    if target.input_type not in {"JSONL", "JSON"}:
        raise InputError(
            f"the pipeline reads item files as {target.input_type}, which can't be written here: put the file under "
            f"{target.payload_prefix}{ITEM_FILES_FOLDER}/ of the bucket {target.bucket} and start with its key"
        )
    largest = MAX_ITEM_BYTES if target.selects else SPILL_BYTES
    items = read_items(source, file_format, name=name)
    return SpooledItems(items, array=target.input_type == "JSON", largest=largest, notice=notice)


def is_in_place(bucket: str, key: str, definition: PipelineDefinition) -> bool:
    """Tell whether the pipeline takes an item file where it is."""
    target = definition.item_file
    folders = (target.runs_prefix, f"{target.payload_prefix}{ITEM_FILES_FOLDER}/")
    return bucket == target.bucket and key.startswith(folders)


def items_key(definition: PipelineDefinition, run: str) -> str:
    """Return where the items of a run belong."""
    return f"{definition.item_file.runs_prefix}{run}/{ITEMS_FILE}"


def download(aws: Aws, *, bucket: str, key: str) -> IO[bytes]:
    """Return an object of S3 in a temporary file, which the caller closes."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
    notices = ProgressNotice(aws.notice, lambda done: f"downloading s3://{bucket}/{key}: {megabytes(done)}")
    try:
        with errors(f"reading s3://{bucket}/{key}"):
            try:
                aws.s3().download_fileobj(bucket, key, file, Callback=notices)
            except Exception as error:
                if error_code(error) not in GONE:
                    raise
                raise InputError(f"there is no s3://{bucket}/{key}: look at the name, and at --profile") from error
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def count_lines(aws: Aws, *, bucket: str, key: str) -> int | None:
    """Return how many items an object of S3 has a line for, in constant memory; None where there is no such object.

    Blank lines are none, here as for the map.
    """
    with errors(f"counting the items of s3://{bucket}/{key}"):
        return stream_count_lines(aws.s3(), bucket, key)


def has_lines(aws: Aws, *, bucket: str, key: str) -> bool:
    """Tell whether an object of S3 has a line that isn't blank: what is behind the first one isn't read."""
    with errors(f"looking into s3://{bucket}/{key}"):
        try:
            return any(not chunk.isspace() for chunk in object_chunks(aws.s3(), bucket, key))
        except Exception as error:
            if error_code(error) in GONE:
                return False
            raise
