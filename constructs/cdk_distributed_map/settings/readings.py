"""How the items of a run are read: each source renders its reader, states its IAM and validates itself.

What is read in each way is described in
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aws_cdk import Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.settings import checks, expressions, synthesis_warnings
from cdk_distributed_map.settings.captures import Capture
from cdk_distributed_map.settings.formats import FileFormat
from distmap import limits


class ItemReading(abc.ABC):
    """How items are read, whatever users call their source."""

    max_items: float | str | None = None
    is_small: bool = False
    """Whether there can't be very many items."""

    @property
    def reads_several_files(self) -> bool:
        """Whether the map reads items in several files, which AWS may number one by one: that isn't documented."""
        return False

    @abc.abstractmethod
    def render(self, scope: Construct) -> dict[str, Any]:
        """Return the fields of the map state that read the items."""

    @abc.abstractmethod
    def statements(self, scope: Construct) -> list[iam.PolicyStatement]:
        """Return what the state machine's role needs to read them."""

    def validate(self, scope: Construct) -> None:
        """Check what only the place of the pipeline tells.

        Raises:
            ValueError: A bucket is known to be in another Region, or ``max_items`` is out of bounds.
        """
        del scope
        checks.whole_number("max_items", self.max_items, least=1, most=limits.MAX_ITEMS)

    def listed(self) -> list[tuple[s3.IBucket, str]]:
        """Return the buckets and prefixes that are listed, where they are known."""
        return []

    def known_count(self) -> int | None:
        """Return the number of items where it is bounded by a literal, else ``None``."""
        return (
            int(self.max_items) if isinstance(self.max_items, int | float) and checks.is_known(self.max_items) else None
        )

    def count(self, scope: Construct) -> str | None:
        """Return JSONata for the number of items where a state knows it before the map reads them, else ``None``."""
        del scope
        return None

    def _config(self, scope: Construct, config: dict[str, Any]) -> dict[str, Any]:
        if self.max_items is None:
            return config
        return {
            **config,
            "MaxItems": expressions.number(scope, self.max_items, name="max_items", bounds=(1, limits.MAX_ITEMS)),
        }


def reader(action: str, arguments: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return an ItemReader field."""
    rendered: dict[str, Any] = {"Resource": f"arn:{Aws.PARTITION}:states:::s3:{action}", "Arguments": arguments}
    return {"ItemReader": {**rendered, "ReaderConfig": config} if config else rendered}


@dataclass(frozen=True, kw_only=True)
class InputLocation:
    """Which buckets and keys a source may name, where some of it comes from the input."""

    buckets: tuple[s3.IBucket, ...]
    bucket_path: str | None = None
    """Where the bucket's name is in the input, where it isn't the one bucket."""
    key_prefix: str = ""
    names_key: bool = False
    """Whether the key or prefix comes from the input."""

    def bucket_name(self, scope: Construct) -> str:
        """Return the bucket's name as it is rendered."""
        if self.bucket_path is None:
            return self.buckets[0].bucket_name
        return expressions.expression(scope, self.bucket_path, name="bucket_path")

    def key(self, scope: Construct, key: str, *, name: str) -> str:
        """Return a key or prefix as it is rendered."""
        return expressions.expression(scope, key, name=name) if self.names_key else key


@dataclass(frozen=True)
class CapturedItems(ItemReading):
    """Items in the file that capture wrote; the map reads it as it reads any item file of the payload bucket."""

    capture: Capture
    max_items: float | str | None = None

    def render(self, scope: Construct) -> dict[str, Any]:
        """Return nothing of its own: the reader is the pipeline's item-file reader."""
        del scope
        return {}

    def statements(self, scope: Construct) -> list[iam.PolicyStatement]:
        """Return nothing of its own."""
        del scope
        return []

    def listed(self) -> list[tuple[s3.IBucket, str]]:
        """Return what the capture lists."""
        return self.capture.listed()

    def most(self, scope: Construct, *, bounds: tuple[int, int] | None = None) -> float | str | None:
        """Return the most items to capture, rendered and held to bounds; None for all.

        Not ``MaxItems`` of the reader: what the file holds beyond it would be items of the run that are missing, and
        a retry, whose items are a file too, would leave some out.
        """
        if self.max_items is None:
            return None
        return expressions.number(scope, self.max_items, name="max_items", bounds=bounds)


@dataclass(frozen=True, kw_only=True)
class ListedObjects(ItemReading):
    """Objects listed by the map."""

    place: InputLocation
    prefix: str | None
    load: FileFormat | None
    max_items: float | str | None = None

    @property
    def reads_several_files(self) -> bool:
        """Whether it reads what is inside the objects."""
        return self.load is not None

    def render(self, scope: Construct) -> dict[str, Any]:
        """Return the reader: a listing, of metadata or of what is inside the objects."""
        arguments = {"Bucket": self.place.bucket_name(scope)}
        if self.prefix is not None:
            arguments["Prefix"] = self.place.key(scope, self.prefix, name="prefix")
        config = {} if self.load is None else {"Transformation": "LOAD_AND_FLATTEN", **self.load.render()}
        return reader("listObjectsV2", arguments, self._config(scope, config))

    def statements(self, scope: Construct) -> list[iam.PolicyStatement]:
        """Return the right to list, and to read where the objects are loaded."""
        del scope
        prefix = self.place.key_prefix if self.place.names_key else self.prefix or ""
        statements: list[iam.PolicyStatement] = []
        for bucket in self.place.buckets:
            statements += permissions.list_objects(bucket, [prefix] if prefix else None)
            if self.load is not None:
                statements += permissions.read_objects(bucket, f"{prefix}*")
        return statements

    def listed(self) -> list[tuple[s3.IBucket, str]]:
        """Return what is listed, unless the input says it."""
        known = not self.place.names_key and (self.prefix is None or checks.is_known(self.prefix))
        return [(bucket, self.prefix or "") for bucket in self.place.buckets] if known else []

    def validate(self, scope: Construct) -> None:
        """Check the Region."""
        super().validate(scope)
        if self.load is not None and not self.place.names_key:
            synthesis_warnings.empty_objects(scope, self.load.input_type, self.prefix)
        if self.prefix is not None and not self.place.names_key:
            synthesis_warnings.unlikely_key(scope, "prefix", self.prefix, bucket=self.place.buckets[0], is_file=False)
        for bucket in self.place.buckets:
            checks.same_region(scope, bucket, name="the bucket of s3_objects")
            checks.same_account(scope, bucket, name="the bucket of s3_objects")


@dataclass(frozen=True, kw_only=True)
class FileItems(ItemReading):
    """Items in one file of S3, or in the files that a manifest names."""

    place: InputLocation
    key: str
    config: dict[str, Any]
    data: tuple[Sequence[s3.IBucket], str] | None = None
    version_id: str | None = None
    owner: str | None = None
    max_items: float | str | None = None

    @property
    def reads_several_files(self) -> bool:
        """Whether the file is a manifest that names others."""
        return "ManifestType" in self.config

    def render(self, scope: Construct) -> dict[str, Any]:
        """Return the reader of the file."""
        place = self.place
        arguments = {"Bucket": place.bucket_name(scope), "Key": place.key(scope, self.key, name="manifest_key")}
        if self.version_id is not None:
            arguments["VersionId"] = self.version_id
        if self.owner is not None:
            arguments["ExpectedBucketOwner"] = self.owner
        return reader("getObject", arguments, self._config(scope, self.config))

    def statements(self, scope: Construct) -> list[iam.PolicyStatement]:
        """Return the right to read the file, and the data files under it."""
        del scope
        key = f"{self.place.key_prefix}*" if self.place.names_key else self.key
        statements: list[iam.PolicyStatement] = []
        for bucket in self.place.buckets:
            statements += permissions.read_objects(bucket, key, version=self.version_id is not None)
        data, prefix = ((), "") if self.data is None else self.data
        for bucket in data:
            statements += permissions.read_objects(bucket, f"{prefix}*")
        return statements

    def validate(self, scope: Construct) -> None:
        """Check the Regions."""
        super().validate(scope)
        if not self.place.names_key:
            synthesis_warnings.unlikely_key(scope, "key", self.key, bucket=self.place.buckets[0], is_file=True)
        for bucket in self.place.buckets:
            checks.same_region(scope, bucket, name="the bucket of the items")
        for bucket in () if self.data is None else self.data[0]:
            checks.same_region(scope, bucket, name="the bucket of the data files")


@dataclass(frozen=True, kw_only=True)
class InputFile(ItemReading):
    """Items in one file of S3 that the input names."""

    buckets: tuple[s3.IBucket, ...]
    config: dict[str, Any]
    bucket_path: str
    key_path: str
    key_prefix: str
    max_items: float | str | None = None

    def render(self, scope: Construct) -> dict[str, Any]:
        """Return the reader of the file."""
        arguments = {
            "Bucket": expressions.expression(scope, self.bucket_path, name="bucket_path"),
            "Key": expressions.expression(scope, self.key_path, name="key_path"),
        }
        return reader("getObject", arguments, self._config(scope, self.config))

    def statements(self, scope: Construct) -> list[iam.PolicyStatement]:
        """Return the right to read what the input may name."""
        del scope
        return [
            statement
            for bucket in self.buckets
            for statement in permissions.read_objects(bucket, f"{self.key_prefix}*")
        ]

    def validate(self, scope: Construct) -> None:
        """Check the Regions."""
        super().validate(scope)
        for bucket in self.buckets:
            checks.same_region(scope, bucket, name="a bucket of from_execution_input")


@dataclass(frozen=True, kw_only=True)
class StateItems(ItemReading):
    """Items in the state's input."""

    path: str
    is_small: bool = field(default=True, init=False)

    def may_be_in(self, scope: Construct, field: str) -> bool:
        """Tell whether the items may be in a field of the input, which an expression comes to in more ways than one."""
        name = field.rpartition(".")[2]
        return re.search(rf"\b{name}\b", expressions.to_jsonata(scope, self.path, name="state_array")) is not None

    def render(self, scope: Construct) -> dict[str, Any]:
        """Return where the items are."""
        return {"Items": expressions.expression(Stack.of(scope), self.path, name="state_array")}

    def count(self, scope: Construct) -> str:
        """Return the length of the array, or the number of the object's keys."""
        items = expressions.to_jsonata(Stack.of(scope), self.path, name="state_array")
        return f'($i := {items}; $type($i) = "object" ? $count($keys($i)) : $count($i))'

    def statements(self, scope: Construct) -> list[iam.PolicyStatement]:
        """Return nothing: the input needs no permission."""
        del scope
        return []
