"""Where a run's items would come from, by the definition and the input that the run would get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from cdk_distributed_map.plan import Reads, read_path
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files.item_formats import CsvDialect

FileKind = Literal["JSON", "JSONL", "CSV", "PARQUET"]
_DELIMITERS: Final = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}

_OF_INPUT: Final = re.compile(
    r"\$(?:states\.input|states\.context\.Execution\.Input|distmapInput|\$\.Execution\.Input)?(?P<path>(?:\.\w+)*)"
)
_OR_ELSE: Final = re.compile(r"\$exists\((?P<path>[\w.$]+)\) \? (?P=path) : (?P<else>-?[\d.]+|\"[^\"]*\"|null)")
_REMEDY: Final = "give the number of items (--items), or a file of them"


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """How a file of items is read."""

    kind: FileKind
    dialect: CsvDialect = field(default_factory=CsvDialect)
    """How CSV is written."""


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """An object of S3 that holds the items, or that lists the files which do."""

    bucket: str
    key: str
    format: FileFormat
    manifest: str | None = None
    """``S3_INVENTORY`` or ``ATHENA_DATA``, where it is a list of files."""


@dataclass(frozen=True, kw_only=True)
class ListingSource:
    """Objects of S3: the items themselves, or files of them."""

    bucket: str
    prefixes: tuple[str, ...]
    loaded: FileFormat | None = None
    """How each object is read, where it is a file of items."""
    capture: Mapping[str, Any] | None = None
    """Settings of the capture function that lists them; None where the map does."""


@dataclass(frozen=True, kw_only=True)
class RangesSource:
    """Ranges of numbers."""

    settings: Mapping[str, Any]
    """Of the capture function."""


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """Items in the run's input."""

    items: list[Any]


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file of items on this machine."""

    path: Path
    format: FileFormat


Source = FileSource | ListingSource | RangesSource | ArraySource | LocalFile

_KINDS: Final[dict[str, FileKind]] = {
    ".jsonl": "JSONL",
    ".ndjson": "JSONL",
    ".json": "JSON",
    ".csv": "CSV",
    ".parquet": "PARQUET",
}
_COMPRESSED: Final = (".gz", ".zst")


def source_named(text: str) -> Source:
    """Return what a user names as the items: a file, or an object, a prefix or the manifest of an inventory in S3.

    Raises:
        InputError: The name doesn't show the format.
    """
    if not text.startswith("s3://"):
        return LocalFile(path=Path(text), format=FileFormat(kind=_kind(text)))
    bucket, _, key = text.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(f"items in S3 are s3://bucket/key, or s3://bucket/prefix/, got {text!r}")
    if not key or key.endswith("/"):
        return ListingSource(bucket=bucket, prefixes=(key,))
    if key.endswith("manifest.json"):
        return FileSource(bucket=bucket, key=key, format=FileFormat(kind="CSV"), manifest="S3_INVENTORY")
    return FileSource(bucket=bucket, key=key, format=FileFormat(kind=_kind(key)))


def _kind(name: str) -> FileKind:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix
    if suffix not in _KINDS:
        raise InputError(
            f"the name {name!r} doesn't show the format of the items: end it in {', '.join(_KINDS)}, or name a prefix "
            "in S3 that ends in a slash"
        )
    return _KINDS[suffix]


def source_of(reads: Reads, input: Any) -> Source:
    """Return where the items would come from.

    Args:
        reads: What the definition says.
        input: The run's input.

    Raises:
        InputError: The definition and the input don't say it.
    """
    if reads.capture is not None:
        return _captured(reads.capture, input)
    if not reads.reader:
        items = value_of(reads.items, input, what="the items")
        if isinstance(items, Mapping):
            items = [{"Key": key, "Value": value} for key, value in items.items()]
        if not isinstance(items, list):
            raise InputError(
                f"the map takes its items from {reads.items}, and the input has {items!r:.100} there: pass the input "
                f"that the run would get (--input), or {_REMEDY}"
            )
        return ArraySource(items=items)
    return _read(reads.reader, input)


def source_for(definition: Mapping[str, Any], input: Any, *, named: str | None = None) -> Source:
    """Return where the items of a run come from: what the user names, or else the source of its state machine.

    Args:
        definition: The state machine.
        input: The run's input.
        named: A file, or a place in S3. Default: none.

    Raises:
        InputError: The name doesn't show the format, or the definition and the input don't say what the source is.
    """
    return source_of(read_path(definition).reads, input) if named is None else source_named(named)


def _captured(capture: Mapping[str, Any], input: Any) -> Source:
    settings = {name: value_of(each, input, what=f"the capture's {name}") for name, each in capture.items()}
    if settings.get("kind") == "ranges":
        return RangesSource(settings=settings)
    if settings.get("kind") == "s3Listing":
        return ListingSource(bucket=settings["bucket"], prefixes=tuple(settings["prefixes"]), capture=settings)
    raise InputError(f"a capture function of your own finds the items, which nothing else can count: {_REMEDY}")


def _read(reader: Mapping[str, Any], input: Any) -> Source:
    arguments = reader.get("Arguments", reader.get("Parameters")) or {}
    config = reader.get("ReaderConfig") or {}
    if "ItemsPointer" in config:
        raise InputError(f"the items are inside a JSON document, at {config['ItemsPointer']!r}: {_REMEDY}")

    def named(name: str) -> Any:
        path = f"{name}.$"
        return value_of(arguments[path] if path in arguments else arguments.get(name), input, what=f"the {name}")

    bucket = named("Bucket")
    if str(reader.get("Resource", "")).endswith(":listObjectsV2"):
        loaded = _format(config) if config.get("Transformation") == "LOAD_AND_FLATTEN" else None
        return ListingSource(bucket=bucket, prefixes=(named("Prefix") or "",), loaded=loaded)
    return FileSource(bucket=bucket, key=named("Key"), format=_format(config), manifest=config.get("ManifestType"))


def _format(config: Mapping[str, Any]) -> FileFormat:
    has_own_names = config.get("CSVHeaderLocation") == "GIVEN"
    return FileFormat(
        kind=config.get("InputType", "JSON"),
        # Step Functions has rules of its own for what RFC 4180 has none for.
        dialect=CsvDialect(
            delimiter=_DELIMITERS.get(config.get("CSVDelimiter", "COMMA"), ","),
            columns=tuple(config.get("CSVHeaders", ())) if has_own_names else None,
            strict=False,
        ),
    )


def value_of(value: Any, input: Any, *, what: str) -> Any:
    """Return what a value of a definition is for an input: itself, or what a path into the input leads to.

    Raises:
        InputError: It is another expression, or names a resource that the template only makes.
    """
    if isinstance(value, list):
        return [value_of(each, input, what=what) for each in value]
    if not isinstance(value, str):
        return value
    if "${" in value:
        raise InputError(
            f"{what} is a resource of the stack ({value}): deploy it, and name the deployed pipeline by its ARN; or "
            f"{_REMEDY}"
        )
    is_jsonata = value.startswith("{%") and value.endswith("%}")
    if not is_jsonata and not value.startswith("$"):
        return value
    text = value.removeprefix("{%").removesuffix("%}").strip() if is_jsonata else value
    if text == "null":
        return None
    otherwise: Any = _MISSING
    if (match := _OR_ELSE.fullmatch(text)) is not None:
        text, otherwise = match["path"], _literal(match["else"])
    path = _OF_INPUT.fullmatch(text)
    if path is None:
        raise InputError(f"{what} is computed when a run starts ({text:.200}): {_REMEDY}")
    return _at(input, path["path"], otherwise, what=what)


_MISSING: Final = object()


def _literal(text: str) -> Any:
    if text == "null":
        return None
    if text.startswith('"'):
        return text[1:-1]
    return float(text) if "." in text else int(text)


def _at(input: Any, path: str, otherwise: Any, *, what: str) -> Any:
    value = input
    for name in path.split(".")[1:]:
        if not isinstance(value, Mapping) or name not in value:
            if otherwise is not _MISSING:
                return otherwise
            raise InputError(f"{what} is {path[1:]!r} of the input, which hasn't it: pass the run's input (--input)")
        value = value[name]
    return value
