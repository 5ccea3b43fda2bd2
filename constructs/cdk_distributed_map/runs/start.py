"""How a run is started: its input checked, its items put where the map reads them, and nothing started twice."""

from __future__ import annotations

from typing import Any

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files import item_files, item_formats
from cdk_distributed_map.runs.find.handles import PipelineHandle, RunHandle, no_machine
from distmap._errors import NotJsonError
from distmap._json import encode
from distmap.limits import MAX_PAYLOAD_BYTES
from distmap.wire import ItemFile


def start(pipeline: PipelineHandle, name: str, input: Any) -> bool:
    """Start a run, unless it was started with this input already; return whether it was not.

    Raises:
        InputError: AWS would refuse the input, or there is another run of this name.
        NotFoundError: There is no such state machine.
        AwsError: AWS refused a call.
    """
    try:
        text = encode(input, what="the input")
    except NotJsonError as error:
        raise InputError(str(error)) from error
    if len(text) > MAX_PAYLOAD_BYTES:
        raise InputError(
            f"the input has {len(text):,} bytes, the limit is {MAX_PAYLOAD_BYTES:,}: put the items into a file and "
            "start with that (--items)"
        )
    with errors(f"starting the run {name!r}"):
        client = pipeline.aws.sfn()
        try:
            client.start_execution(stateMachineArn=pipeline.arn, name=name, input=text.decode())
        except client.exceptions.ExecutionAlreadyExists:
            # AWS finds a running execution of the same input by itself, but not one that has ended.
            _is_same(RunHandle(pipeline, name).was_just_started(), input)
            return False
        except client.exceptions.StateMachineDoesNotExist as error:
            raise no_machine(pipeline.arn) from error
    return True


def start_named(pipeline: PipelineHandle, name: str, input: Any) -> bool:
    """Start a run of a name that the user gave, as :func:`start` does.

    AWS answers alike whether it starts a run or finds a running one of the same name and input.
    """
    return not _is_same(RunHandle(pipeline, name), input) and start(pipeline, name, input)


def start_from(
    pipeline: PipelineHandle,
    name: str,
    rest: dict[str, Any],
    *,
    bucket: str,
    key: str,
    items_format: item_formats.FileFormat | None,
) -> bool:
    """Start a run on a file of items in S3, which is copied to the run's folder unless it is in place.

    Returns whether it was not started already.

    Args:
        pipeline: The pipeline.
        name: Name of the run.
        rest: The rest of its input.
        bucket: Bucket of the file.
        key: Its key.
        items_format: Format of the items. Default: by the key's end.
    """
    definition = pipeline.definition
    if item_files.is_in_place(bucket, key, definition):
        reads = definition.item_file.input_type
        if items_format is not None and items_format.upper() != reads:
            raise InputError(
                f"s3://{bucket}/{key} is used where it is, and the pipeline's map reads {reads} there, got the "
                f"format {items_format!r}: leave it out, or put the file elsewhere for it to be converted"
            )
        return start_named(pipeline, name, {**rest, "items": {"bucket": bucket, "key": key}})
    file_format = item_formats.format_of(key, items_format)  # before a download of gigabytes
    with item_files.download(pipeline.aws, bucket=bucket, key=key) as source:
        spooled = item_files.spool(
            source,  # type: ignore[arg-type] # a temporary file is a binary file
            file_format,
            definition,
            name=f"s3://{bucket}/{key}",
            notice=pipeline.aws.notice,
        )
    return start_spooled(pipeline, name, rest, spooled)


def start_spooled(
    pipeline: PipelineHandle,
    name: str,
    rest: dict[str, Any],
    spooled: item_files.SpooledItems,
    *,
    key: str | None = None,
    first_run: str | None = None,
) -> bool:
    """Upload items and start a run on them, unless the same run was started already; return whether it was not.

    Args:
        pipeline: The pipeline.
        name: Name of the run.
        rest: The rest of its input.
        spooled: The items; closed afterwards.
        key: Where they belong in the payload bucket. Default: the run's own folder.
        first_run: ARN of the run that had these items first, where they are envelopes (a retry).
    """
    try:
        bucket = pipeline.definition.item_file.bucket
        place = item_files.items_key(pipeline.definition, name) if key is None else key
        file: ItemFile = spooled.item_file(bucket=bucket, key=place, first_run=first_run)
        whole = {**rest, "items": file}
        if _is_same(RunHandle(pipeline, name), whole):
            return False
        spooled.upload(pipeline.aws, bucket=bucket, key=place)
        return start(pipeline, name, whole)
    finally:
        spooled.close()


def _is_same(run: RunHandle, input: Any) -> bool:
    """Tell whether a run was started already with this input; raise where it was with another."""
    existing = run.describe_if_known()
    if existing is None:
        return False
    if existing.input != input:
        raise InputError(
            f"there is a run {run.name!r} already, started {existing.started:%Y-%m-%d %H:%M} with another input: "
            "choose another name, or leave it out to get a unique one"
        )
    return True
