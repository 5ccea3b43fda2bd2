"""ItemReader: where a map's items come from in S3."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any, Final, NamedTuple

from cdk_distributed_map import arns
from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA, Flow
from cdk_distributed_map.local.asl.json_text import Json, dumps, loads
from cdk_distributed_map.local.asl.rules import READER, READER_CONFIG, check, check_fits
from cdk_distributed_map.local.distributed.formats import Entries, Format
from cdk_distributed_map.local.distributed.reader_errors import ReaderError, failed
from cdk_distributed_map.local.distributed.streams import listed, open_object
from cdk_distributed_map.local.distributed.text_files import decoded, lines, text_blocks
from cdk_distributed_map.local.errors import UnsupportedError, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.iam import keys
from cdk_distributed_map.local.iam.missing_objects import as_caller_sees
from cdk_distributed_map.local.states.number_rules import NumberField
from distmap import limits

_CONFIG: Final = frozenset(
    {
        "InputType",
        "ManifestType",
        "Transformation",
        "CSVHeaderLocation",
        "CSVHeaders",
        "CSVDelimiter",
        "MaxItems",
        "MaxItemsPath",
        "ItemsPointer",
    }
)
_RESOURCE: Final = re.compile(r"arn:[a-z-]+:states:::s3:(getObject|listObjectsV2)")
_LISTED: Final = frozenset({"Bucket", "Prefix", "ExpectedBucketOwner"})
_READ: Final = frozenset({"Bucket", "Key", "VersionId", "ExpectedBucketOwner"})
_TYPES: Final = ("CSV", "JSON", "JSONL", "PARQUET")
_CHOICES: Final = {
    "InputType": (*_TYPES, "MANIFEST"),
    "ManifestType": ("S3_INVENTORY", "ATHENA_DATA"),
    "Transformation": ("NONE", "LOAD_AND_FLATTEN"),
    "CSVHeaderLocation": ("FIRST_ROW", "GIVEN"),
    "CSVDelimiter": ("COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"),
}


class Chunk(NamedTuple):
    """Items and where they come from, as ``$$.Map.Item.Source`` says it."""

    source: str
    items: list[Json]
    keyed: bool
    """Whether each item is an entry of an object: ``{"Key", "Value"}``."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An opened reader.

    Args:
        client: S3 client under the state machine's role.
        place: Parameters of the S3 call.
        kind: ``file``, ``listing``, ``flatten``, ``inventory`` or ``athena``.
        format: How files are read.
        frame: Where the map runs, for permissions.
    """

    client: Any
    place: dict[str, str]
    kind: str
    format: Format
    frame: ExecutionFrame

    def chunks(self) -> Iterator[Chunk]:
        """Return the items in chunks; blocks, so run it in a thread.

        Raises:
            StateError: ``States.ItemReaderFailed``.
        """
        bucket = self.place["Bucket"]
        owner, account = self.place.get("ExpectedBucketOwner"), self.frame.services.account
        if owner not in {None, account}:
            # The embedded AWS doesn't look at it.
            reason = f"Access Denied: ExpectedBucketOwner is {owner}, and the bucket is owned by {account}"
            raise failed(reason).at(f"s3://{bucket}", only=False)
        if self.kind == "listing":
            for page in self._listed():
                yield Chunk(f"s3://{bucket}", [_listed_item(each) for each in page], False)
        elif self.kind == "flatten":
            for page in self._listed():
                for each in page:
                    yield from self._loaded(bucket, each)
        elif self.kind == "inventory":
            yield from self._inventory()
        elif self.kind == "athena":
            for target, key in self._athena_files():
                yield from self._file(target, key)
        else:
            yield from self._file(bucket, self.place["Key"], self.place)

    def _listed(self) -> Iterator[list[dict[str, Any]]]:
        bucket, prefix = self.place["Bucket"], self.place.get("Prefix", "")
        with _located(f"s3://{bucket}/{prefix}"):
            self._allowed("s3:ListBucket", bucket)
            yield from listed(self.client, self.place)

    def _loaded(self, bucket: str, entry: Mapping[str, Any]) -> Iterator[Chunk]:
        """Return the items of an object that was listed; one without content has none, or is none of its format."""
        if entry["Size"] == 0 and self.format.kind in {"JSON", "PARQUET"}:
            what = "a folder's marker" if entry["Key"].endswith("/") else "an empty object"
            reason = (
                f"it is {what}, and every object below the prefix must be {self.format.kind}: delete it, or give a "
                "prefix that leaves it out"
            )
            raise failed(reason).at(f"s3://{bucket}/{entry['Key']}", only=False)
        yield from self._file(bucket, entry["Key"])

    def _allowed(self, action: str, resource: str) -> None:
        services = self.frame.services
        arn = services.s3_arn(resource)
        context = {"s3:prefix": self.place["Prefix"]} if "Prefix" in self.place else {}
        message = services.denied(self.frame.execution.machine, action, arn, context)
        if message is not None:
            raise failed(message)

    def _opened(self, place: dict[str, str]) -> IO[bytes]:
        self._allowed("s3:GetObject", f"{place['Bucket']}/{place['Key']}")
        if "VersionId" in place:
            self._allowed("s3:GetObjectVersion", f"{place['Bucket']}/{place['Key']}")
        services, machine = self.frame.services, self.frame.execution.machine
        return open_object(
            self.client,
            place,
            lambda key: keys.of_s3(services, machine, key, keys.READ),
            lambda error: as_caller_sees(error, services, machine, place),
        )

    def _file(self, bucket: str, key: str, place: dict[str, str] | None = None) -> Iterator[Chunk]:
        at = {"Bucket": bucket, "Key": key} if place is None else place
        where = f"s3://{bucket}/{key}"
        with _located(where, only=self.kind == "file"), self._opened(at) as stream:
            for items in self.format.chunks(stream):
                yield Chunk(where, items, isinstance(items, Entries))

    @contextlib.contextmanager
    def _manifest(self) -> Iterator[IO[bytes]]:
        with _located(f"s3://{self.place['Bucket']}/{self.place['Key']}"), self._opened(self.place) as stream:
            yield stream

    def _inventory(self) -> Iterator[Chunk]:
        with self._manifest() as stream:
            try:
                manifest = loads(b"".join(text_blocks(stream)))
                files = [str(each["key"]) for each in manifest["files"]]
                headers = [name.strip() for name in manifest["fileSchema"].split(",")]
                target = str(manifest["destinationBucket"])
                parsed = arns.split(target)
                target = target if parsed is None else parsed.resource
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise failed(
                    "it is no manifest of an S3 Inventory: give the key of its manifest.json, a JSON object with "
                    "files, fileSchema, fileFormat and destinationBucket"
                ) from error
            if manifest.get("fileFormat") != "CSV":
                raise failed(f"the inventory is {manifest.get('fileFormat')!r:.40}, and only those in CSV are read")
        reader = replace(self, format=replace(self.format, kind="CSV", headers=headers, delimiter="COMMA"))
        for key in files:
            yield from reader._file(target, key)  # noqa: SLF001 - its own class

    def _athena_files(self) -> Iterator[tuple[str, str]]:
        with self._manifest() as stream:
            addresses = [
                (first + at, decoded(line, first + at).strip().strip('"'))
                for first, block in lines(stream, ends=b"\r\n")
                for at, line in enumerate(block)
            ]
            for number, address in addresses:
                if address and not address.startswith("s3://"):
                    raise failed(f"line {number} is no s3:// address, as the manifest of an UNLOAD of Athena has them")
        for _, address in addresses:
            if address:
                target, _, key = address.removeprefix("s3://").partition("/")
                yield target, key


@contextlib.contextmanager
def _located(where: str, *, only: bool = False) -> Iterator[None]:
    """Put the place into errors of what is read there."""
    try:
        yield
    except ReaderError as error:
        raise error.at(where, only=only) from error


def _listed_item(entry: Mapping[str, Any]) -> dict[str, Json]:
    return {
        "Etag": entry["ETag"],
        "Key": entry["Key"],
        "LastModified": entry["LastModified"].timestamp(),
        "Size": entry["Size"],
        "StorageClass": entry.get("StorageClass", "STANDARD"),
    }


class ReaderField:
    """A compiled ItemReader.

    Args:
        state: Name of the state.
        fields: Its fields.
        language: Its query language.
        flow: Its data flow.
    """

    def __init__(self, state: str, fields: Mapping[str, Any], language: str, flow: Flow) -> None:
        self._state = state
        arguments = "Arguments" if language == JSONATA else "Parameters"
        self._refuse(set(fields) - {"Resource", "ReaderConfig", arguments}, "ItemReader")
        check(f"state {state!r}, ItemReader", fields, READER)
        config = fields.get("ReaderConfig", {})
        self._refuse(set(config) - _CONFIG, "ReaderConfig")
        check(f"state {state!r}, ReaderConfig", config, READER_CONFIG)
        resource = str(fields.get("Resource"))
        found = _RESOURCE.fullmatch(resource)
        if found is None:
            raise UnsupportedError(
                f"state {state!r} reads from {resource!r}: use arn:aws:states:::s3:getObject or "
                "arn:aws:states:::s3:listObjectsV2"
            )
        for field, values in _CHOICES.items():
            if field in config and config[field] not in values:
                raise UnsupportedError(f"state {state!r} has {field} {config[field]!r}: use one of {', '.join(values)}")
        self._listing = found[1] == "listObjectsV2"
        self._kind = self._kind_of(config)
        self._refuse_idle(config)
        self._format = self._format_of(config)
        needed = {"Bucket"} if self._listing else {"Bucket", "Key"}
        check_fits(f"state {state!r}, ItemReader/{arguments}", fields.get(arguments, {}), self._known, needed)
        self._arguments = flow.template(fields.get(arguments, {}), f"ItemReader/{arguments}")
        self._max_items = NumberField(state, config, "MaxItems", language)

    def _refuse(self, unknown: set[str], where: str) -> None:
        if unknown:
            raise UnsupportedError(
                f"state {self._state!r} has {min(unknown)!r} in {where}, which the local engine doesn't run: remove it"
            )

    @property
    def _known(self) -> frozenset[str]:
        if self._listing:
            return _LISTED
        # https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html: Parquet has no versions.
        return _READ - {"VersionId"} if self._format.kind == "PARQUET" else _READ

    def _refuse_idle(self, config: Mapping[str, Any]) -> None:
        """Refuse what would do nothing beside the other fields.

        Raises:
            UnsupportedError: There is such a field.
        """
        kind = config.get("InputType")
        csv_files = self._kind in {"file", "flatten", "athena"} and kind == "CSV"
        uses = {
            "CSVHeaderLocation": (csv_files, "InputType CSV"),
            "CSVDelimiter": (csv_files, "InputType CSV"),
            "CSVHeaders": (csv_files and config.get("CSVHeaderLocation") == "GIVEN", "CSVHeaderLocation GIVEN"),
            "ItemsPointer": (self._kind in {"file", "flatten"} and kind == "JSON", "InputType JSON"),
            "InputType": (self._kind != "listing", "Transformation LOAD_AND_FLATTEN"),
            "ManifestType": (not self._listing, "s3:getObject"),
            "Transformation": (self._listing, "s3:listObjectsV2"),
        }
        for field, (used, where) in uses.items():
            if field in config and not used:
                raise UnsupportedError(
                    f"state {self._state!r} has {field} {config[field]!r} in ReaderConfig, which does nothing here: "
                    f"remove it; it belongs to {where}"
                )

    def _kind_of(self, config: Mapping[str, Any]) -> str:
        if self._listing:
            return "flatten" if config.get("Transformation") == "LOAD_AND_FLATTEN" else "listing"
        manifest, kind = config.get("ManifestType"), config.get("InputType")
        if manifest == "ATHENA_DATA":
            return "athena"
        if manifest == "S3_INVENTORY" or kind == "MANIFEST":
            if manifest is not None and kind not in {None, "MANIFEST"}:
                raise UnsupportedError(f"state {self._state!r}: an S3 inventory takes no InputType, got {kind!r}")
            return "inventory"
        return "file"

    def _format_of(self, config: Mapping[str, Any]) -> Format:
        kind = str(config.get("InputType"))
        if self._kind in {"listing", "inventory"}:
            return Format(kind="CSV")
        allowed = ("CSV", "JSONL", "PARQUET") if self._kind == "athena" else _TYPES
        if kind not in allowed:
            raise UnsupportedError(f"state {self._state!r} has InputType {kind!r}: use one of {', '.join(allowed)}")
        pointer = config.get("ItemsPointer", "")
        if pointer and (not pointer.startswith("/") or len(pointer) >= limits.MAX_ITEMS_POINTER_LENGTH):
            raise UnsupportedError(
                f"state {self._state!r} has ItemsPointer {pointer!r}: give a JSON Pointer under "
                f"{limits.MAX_ITEMS_POINTER_LENGTH} characters that begins with '/'"
            )
        headers = config.get("CSVHeaders") if config.get("CSVHeaderLocation") == "GIVEN" else None
        if kind == "CSV" and "CSVHeaderLocation" not in config:
            raise UnsupportedError(f"state {self._state!r}: CSV needs CSVHeaderLocation: FIRST_ROW or GIVEN")
        if kind == "CSV" and config.get("CSVHeaderLocation") == "GIVEN" and not headers:
            raise UnsupportedError(f"state {self._state!r}: CSVHeaderLocation GIVEN needs CSVHeaders")
        return Format(kind=kind, pointer=pointer, headers=headers, delimiter=config.get("CSVDelimiter", "COMMA"))

    def max_items(self, evaluation: EvaluationContext) -> int:
        """Return the most items to read; 0, none and what is more stand for AWS's limit.

        Raises:
            StateError: It is negative.
        """
        value = self._max_items.get(evaluation)
        if value is not None and value < 0:
            raise failed("field MaxItems must be positive")
        # Recorded: a path that leads to more reads everything.
        return min(value or limits.MAX_ITEMS, limits.MAX_ITEMS)

    def open(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Source:
        """Return the reader of one map run.

        Raises:
            StateError: Its arguments are wrong.
        """
        place = self._arguments(evaluation)
        wanted = self._known
        if not isinstance(place, dict) or not set(place) <= wanted:
            raise runtime(f"ItemReader takes {', '.join(sorted(wanted))}, got: {dumps(place)}")
        missing = ({"Bucket"} if self._listing else {"Bucket", "Key"}) - set(place)
        if missing or not all(isinstance(value, str) for value in place.values()):
            raise runtime(f"ItemReader needs {', '.join(sorted(missing or wanted))} as strings, got: {dumps(place)}")
        services = frame.services
        client = services.clients.client("s3", frame.execution.machine.role)
        return Source(
            client=client,
            place=place,
            kind=self._kind,
            format=replace(self._format, folder=services.workdir),
            frame=frame,
        )


__all__ = ["Chunk", "ReaderField", "Source"]
