"""ResultWriter: what children answered, in the state's output or in S3."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA, Flow
from cdk_distributed_map.local.asl.json_text import Json, dumps, encoded
from cdk_distributed_map.local.asl.rules import WRITER, check, check_fits
from cdk_distributed_map.local.errors import RESULT_WRITER, StateError, UnsupportedError, runtime
from cdk_distributed_map.local.execution import records as records_module
from cdk_distributed_map.local.execution.clock import iso
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.execution.records import Records
from cdk_distributed_map.local.execution.services import NOT_ASSUMED
from cdk_distributed_map.local.iam import keys
from distmap import wire

_RESOURCE: Final = re.compile(r"arn:[a-z-]+:states:::s3:putObject")
_ARGUMENTS: Final = frozenset({"Bucket", "Prefix"})
_FIELDS: Final = frozenset({"Resource", "Parameters", "Arguments", "WriterConfig"})
# What the role needs below the prefix. AWS's pages name ListMultipartUploadParts and AbortMultipartUpload too; it was
# recorded to export without them.
_ACTIONS: Final = ("s3:PutObject", "s3:GetObject")
_DATA_TYPE: Final = "binary/octet-stream"
_MANIFEST_TYPE: Final = "application/octet-stream"
# Parts that are sent side by side are all held in memory, and the embedded AWS takes them in one by one anyway.
_ONE_BY_ONE: Final = TransferConfig(use_threads=False)
_GROUPS: Final = {
    "SUCCEEDED": (records_module.SUCCEEDED,),
    "FAILED": (records_module.FAILED, records_module.TIMED_OUT, records_module.ABORTED),
    "PENDING": (records_module.PENDING,),
}


@dataclass(frozen=True, kw_only=True)
class Children:
    """The children of a map run, as its results describe them.

    Args:
        records: What is known of them.
        arn: ARN of a child by its number.
        machine_arn: ARN of their state machine.
        map_run_arn: ARN of the map run.
        express: Whether they are Express.
        folder: Where this run's files belong below the prefix: its id, and ``Redrive-N`` after a redrive.
        succeeded: Files of those that had succeeded in earlier attempts.
    """

    records: Records
    arn: Callable[[int], str]
    machine_arn: str
    map_run_arn: str
    express: bool
    folder: str
    succeeded: Sequence[wire.ResultFile]

    def of(self, *statuses: int) -> Iterator[int]:
        """Return the children in some status, of those that succeeded the ones that are in no file yet."""
        return (at for at in self.records.of(*statuses) if not self.records.exported[at])

    def described(self, at: int) -> dict[str, Json]:
        """Return a child with its metadata, as Transformation NONE writes it."""
        records = self.records
        status = records.status[at]
        input_fields = {"Input": records.input(at).decode(), "InputDetails": {"Included": True}}
        if status == records_module.PENDING:
            return {**input_fields, "Status": "PENDING"}
        shown: dict[str, Json] = {
            **input_fields,
            **self._ended(at),
            **self._redriven(at),
            "ExecutionArn": self.arn(at),
            "Name": records.name(at),
            "StartDate": iso(records.started[at]),
            "StateMachineArn": self.machine_arn,
            "Status": records_module.STATUSES[status],
            "StopDate": iso(records.stopped[at]),
        }
        return dict(sorted(shown.items()))

    def _ended(self, at: int) -> dict[str, Json]:
        """Return how a child ended."""
        result = self.records.result(at)
        if result is None:
            return {}
        details: dict[str, Json] = {"OutputDetails": {"Included": True}}
        if self.records.status[at] == records_module.SUCCEEDED:
            return {**details, "Output": dumps(result.output)}
        error_fields = {"Error": result.error, "Cause": result.cause}
        return {**details, **{key: value for key, value in error_fields.items() if value is not None}}

    def _redriven(self, at: int) -> dict[str, Json]:
        """Return how often a child was redriven, and whether it can be: an Express one is begun anew instead."""
        count: dict[str, Json] = {"RedriveCount": self.records.redrive_count(at)}
        if self.express:
            return count
        if at in self.records.redrives:
            count["RedriveDate"] = iso(self.records.redrives[at][1])
        if self.records.status[at] != records_module.SUCCEEDED:
            return {**count, "RedriveStatus": "REDRIVABLE_BY_MAP_RUN"}
        reason = "Execution is SUCCEEDED and cannot be redriven"
        return {**count, "RedriveStatus": "NOT_REDRIVABLE", "RedriveStatusReason": reason}


class WriterField:
    """A compiled ResultWriter.

    Args:
        state: Name of the state.
        fields: Its fields, None without one.
        language: Query language of the state.
        flow: Its data flow.
    """

    def __init__(self, state: str, fields: Mapping[str, Any] | None, language: str, flow: Flow) -> None:
        arguments = "Arguments" if language == JSONATA else "Parameters"
        writer_fields = {} if fields is None else fields
        check(f"state {state!r}, ResultWriter", writer_fields, WRITER)
        if fields is not None and not (
            "WriterConfig" in writer_fields or {"Resource", arguments} <= set(writer_fields)
        ):
            raise UnsupportedError(f"state {state!r}: ResultWriter needs WriterConfig, or Resource and {arguments}")
        unknown = sorted(set(writer_fields) - {"Resource", arguments, "WriterConfig"})
        if unknown:
            raise UnsupportedError(
                f"state {state!r} has {unknown[0]!r} in ResultWriter: use {', '.join(sorted(_FIELDS))}"
            )
        if "Resource" in writer_fields and not _RESOURCE.fullmatch(str(writer_fields["Resource"])):
            raise UnsupportedError(
                f"state {state!r} writes to {writer_fields['Resource']!r}: use arn:aws:states:::s3:putObject"
            )
        if ("Resource" in writer_fields) != (arguments in writer_fields):
            raise UnsupportedError(f"state {state!r}: ResultWriter needs Resource and {arguments}, or neither")
        if arguments in writer_fields:
            check_fits(f"state {state!r}, ResultWriter/{arguments}", writer_fields[arguments], _ARGUMENTS, {"Bucket"})
        config = writer_fields.get("WriterConfig", {})
        self.exports = "Resource" in writer_fields
        self.transformation = config.get("Transformation", "NONE" if self.exports else "COMPACT")
        self.output_type = config.get("OutputType", "JSON")
        if self.transformation not in {"NONE", "COMPACT", "FLATTEN"} or self.output_type not in {"JSON", "JSONL"}:
            raise UnsupportedError(
                f"state {state!r} has WriterConfig {config!r}: Transformation is NONE, COMPACT or FLATTEN, OutputType "
                "is JSON or JSONL"
            )
        if set(config) - {"Transformation", "OutputType"}:
            raise UnsupportedError(f"state {state!r} has WriterConfig {config!r}: use Transformation and OutputType")
        self._arguments = flow.template(writer_fields.get(arguments, {}), f"ResultWriter/{arguments}")

    def open(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Export | None:
        """Return where one map run exports to, None where its results stay in the output.

        Raises:
            StateError: Its arguments are wrong.
        """
        if not self.exports:
            return None
        place = self._arguments(evaluation)
        wrong = not isinstance(place, dict) or "Bucket" not in place or not set(place) <= _ARGUMENTS
        if wrong or not all(isinstance(value, str) for value in place.values()):
            raise runtime(f"ResultWriter needs Bucket and Prefix as strings, got: {dumps(place)}")
        prefix = place.get("Prefix", "")
        return Export(self, place["Bucket"], prefix.strip("/"), frame)

    def texts(self, children: Children, at: int) -> Iterable[str]:
        """Return what a child that succeeded is written as."""
        if self.transformation == "NONE":
            return [dumps(children.described(at))]
        result = children.records.result(at)
        output = None if result is None else result.output
        if self.transformation == "FLATTEN" and isinstance(output, list):
            return [dumps(each) for each in output]
        return [dumps(output)]

    def inline(self, children: Children, limit: int) -> Json | None:
        """Return the results as the state's output, None where they are over a limit in bytes."""
        texts: list[str] = []
        total = 2
        for at in range(len(children.records)):
            status = children.records.status[at]
            succeeded = status == records_module.SUCCEEDED
            found = list(self.texts(children, at)) if succeeded else [dumps(children.described(at))]
            total += sum(len(encoded(text)) + 1 for text in found)
            if total > limit + 1:
                return None
            texts += found
        if self.output_type == "JSONL":
            return "\n".join(texts)
        return json.loads(f"[{','.join(texts)}]")


class _DeniedError(Exception):
    """The role may not write."""


class Written(NamedTuple):
    """What was exported."""

    output: dict[str, Json]
    """The state's output."""
    succeeded: list[wire.ResultFile]
    """The files of all attempts with what succeeded."""


class Export:
    """Where one map run's results are exported to.

    Args:
        field: The compiled ResultWriter.
        bucket: Bucket.
        prefix: Prefix, without slashes at its ends.
        frame: Where the map runs.
    """

    def __init__(self, field: WriterField, bucket: str, prefix: str, frame: ExecutionFrame) -> None:
        self.bucket = bucket
        self._field = field
        self._prefix = prefix
        self._frame = frame
        services = frame.services
        self._client = services.clients.client("s3", frame.execution.machine.role)
        self._limit = services.result_file_bytes
        self._workdir = services.workdir

    def key(self, folder: str, name: str) -> str:
        """Return the key of a file of a map run."""
        return "/".join(part for part in (self._prefix, folder, name) if part)

    def test(self, children: Children) -> None:
        """Write a manifest of nothing new, so that a missing permission fails before any child has run.

        Raises:
            StateError: ``States.ResultWriterFailed``, or ``States.Runtime`` where the role can't be assumed.
        """
        nothing: dict[str, list[wire.ResultFile]] = {name: [] for name in _GROUPS}
        what = "Failed to write a test manifest into the specified output bucket."
        self._guarded(lambda: self._put_manifest(children, nothing), what)

    def write(self, children: Children) -> Written:
        """Export the results.

        A manifest names the files of all attempts with what succeeded, but those with what failed or waits only of
        the newest, which has them all again.

        Raises:
            StateError: ``States.ResultWriterFailed``.
        """
        files: dict[str, list[wire.ResultFile]] = {}

        def export() -> None:
            for name, statuses in _GROUPS.items():
                again = name == "SUCCEEDED" and bool(children.succeeded)
                files[name] = self._files(name, self._texts(children, statuses), children.folder, although_empty=again)
            self._put_manifest(children, files)

        self._guarded(export, "Failed to write results to Amazon S3.")
        output: dict[str, Json] = {
            "MapRunArn": children.map_run_arn,
            "ResultWriterDetails": {"Bucket": self.bucket, "Key": self.key(children.folder, wire.MANIFEST_FILE)},
        }
        return Written(output, [*children.succeeded, *files["SUCCEEDED"]])

    def _texts(self, children: Children, statuses: tuple[int, ...]) -> Iterator[str]:
        for at in children.of(*statuses):
            if children.records.status[at] == records_module.SUCCEEDED:
                yield from self._field.texts(children, at)
            else:
                yield dumps(children.described(at))

    def _guarded(self, work: Callable[[], None], what: str) -> None:
        try:
            work()
        except (_DeniedError, ClientError, BotoCoreError, Boto3Error) as error:
            if str(error) == NOT_ASSUMED:
                raise runtime(f"{what} {error}") from error
            raise StateError(RESULT_WRITER, f"{what} {error}") from error

    def _permit(self, key: str, uses: tuple[str, ...]) -> None:
        """Check that the role may write a file.

        Args:
            key: Its key.
            uses: What a KMS key is used for. AWS uploads result files in parts however small, the manifest whole.

        Raises:
            _DeniedError: It may not, or not encrypt it.
        """
        services = self._frame.services
        resource = services.s3_arn(f"{self.bucket}/{key}")
        machine = self._frame.execution.machine
        messages = [services.denied(machine, action, resource) for action in _ACTIONS]
        messages.append(keys.of_s3(services, machine, keys.of_bucket(self._client, self.bucket), uses))
        for message in messages:
            if message is not None:
                raise _DeniedError(message)

    def _put_manifest(self, children: Children, files: Mapping[str, list[wire.ResultFile]]) -> None:
        manifest: dict[str, Json] = {
            "DestinationBucket": self.bucket,
            "MapRunArn": children.map_run_arn,
            "ResultFiles": {
                "FAILED": files["FAILED"],
                "PENDING": files["PENDING"],
                "SUCCEEDED": [*children.succeeded, *files["SUCCEEDED"]],
            },
        }
        key = self.key(children.folder, wire.MANIFEST_FILE)
        self._permit(key, keys.WRITE)
        self._client.put_object(Bucket=self.bucket, Key=key, Body=dumps(manifest).encode(), ContentType=_MANIFEST_TYPE)

    def _files(self, name: str, texts: Iterator[str], folder: str, *, although_empty: bool) -> list[wire.ResultFile]:
        lines = self._field.output_type == "JSONL"
        suffix = "jsonl" if lines else "json"
        written: list[wire.ResultFile] = []
        text = next(texts, None)
        while text is not None or (although_empty and not written):
            with tempfile.TemporaryFile(dir=self._workdir) as file:
                size = file.write(b"" if lines else b"[")
                first = True
                while text is not None and (first or size + len(text) < self._limit):
                    data = encoded(text)
                    size += file.write(data + b"\n" if lines else data if first else b"," + data)
                    first = False
                    text = next(texts, None)
                size += file.write(b"" if lines else b"]")
                file.seek(0)
                key = self.key(folder, f"{name}_{len(written)}.{suffix}")
                self._permit(key, keys.WRITE_PARTS)
                self._client.upload_fileobj(
                    file, self.bucket, key, ExtraArgs={"ContentType": _DATA_TYPE}, Config=_ONE_BY_ONE
                )
            written.append({"Key": key, "Size": size})
        return written
