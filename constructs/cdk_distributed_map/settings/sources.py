"""Where the items of a run come from: what users declare, checked argument by argument."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_s3 as s3

from cdk_distributed_map.settings import checks, expressions, kinds
from cdk_distributed_map.settings.captures import Capture
from cdk_distributed_map.settings.formats import CsvDelimiter, FileFormat
from cdk_distributed_map.settings.readings import (
    CapturedItems,
    FileItems,
    InputFile,
    InputLocation,
    ItemReading,
    ListedObjects,
    StateItems,
)


@dataclass(frozen=True, kw_only=True)
class ItemSource:
    """Where the items of a run come from: use the factories.

    ``max_items`` of any source is a whole number, a JSONPath or JSONata; default: all items, up to AWS's
    100 million. Buckets must be in the Region of the state machine. What each reader gives to a child is
    described in
    https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html.

    .. versionadded:: 0.1.0
    """

    reading: ItemReading
    """How they are read."""

    @staticmethod
    @kinds.checked
    def captured(capture: Capture, *, max_items: float | str | None = None) -> ItemSource:
        """Items that a function writes to the payload bucket first: any number from any place.

        Args:
            capture: The built-in ranges or S3 listing, or your own function.
            max_items: Maximum number of items to capture. The built-in captures and ``capture_items`` stop there; a
                function without it must stop at ``maxItems`` of its event, because a run fails if its capture wrote
                more. An item file that the input names is always run completely. Default: all.
        """
        return ItemSource(reading=CapturedItems(capture, max_items=max_items))

    @staticmethod
    @kinds.checked
    def s3_objects(
        bucket: s3.IBucket | Sequence[s3.IBucket],
        *,
        prefix: str | None = None,
        load: FileFormat | None = None,
        max_items: float | str | None = None,
        bucket_path: str | None = None,
        key_prefix: str | None = None,
    ) -> ItemSource:
        """The objects of a bucket, listed by the map itself.

        An empty object, such as a folder made in a console, is an item too; ``Capture.s3_listing`` skips them.

        Args:
            bucket: Bucket to list, in the account of the state machine; or a list of those that the input may name.
            prefix: Only keys that begin so, best with a slash at the end: a literal, or where it stands in the
                execution's input, as a JSONPath or JSONata. Default: the whole bucket.
            load: Format of the objects, to get the rows inside them instead of their metadata. Default: each
                item is an object's ``Key``, ``Size``, ``Etag``, ``LastModified`` and ``StorageClass``.
            max_items: Maximum number of items to process. Default: all.
            bucket_path: Where the bucket's name is in the input, for a list of buckets. Default: ``$.bucket``.
            key_prefix: What the prefixes from the input begin with, to narrow the role. Default: any.
        """
        place = _input_location(bucket, bucket_path, key_prefix, key=prefix, name="prefix")
        if prefix is not None and not place.names_key:
            checks.literal_key("prefix", prefix)
        if load is not None and load.config.get("ItemsPointer") is not None:
            raise ValueError("load can't have an items_pointer: AWS takes one for a single JSON file only")
        return ItemSource(reading=ListedObjects(place=place, prefix=prefix, load=load, max_items=max_items))

    @staticmethod
    @kinds.checked
    def json(
        bucket: s3.IBucket,
        key: str,
        *,
        items_pointer: str | None = None,
        version_id: str | None = None,
        expected_bucket_owner: str | None = None,
        max_items: float | str | None = None,
    ) -> ItemSource:
        """A JSON file in S3: one item per array element, or per key and value of an object.

        Of an object's items a child gets the values; ``item_selector={"key.$": "$$.Map.Item.Key", ...}`` keeps the
        keys too.

        Args:
            bucket: Bucket of the file.
            key: Key of the file.
            items_pointer: JSON Pointer to the array or object inside the file. Default: the whole file.
            version_id: Version of the object. Default: the current one.
            expected_bucket_owner: Account that must own the bucket. Default: not checked.
            max_items: Maximum number of items to process. Default: all.
        """
        form = FileFormat.json(items_pointer=items_pointer)
        return _file(bucket, key, form, max_items, version_id=version_id, owner=expected_bucket_owner)

    @staticmethod
    @kinds.checked
    def json_lines(
        bucket: s3.IBucket,
        key: str,
        *,
        version_id: str | None = None,
        expected_bucket_owner: str | None = None,
        max_items: float | str | None = None,
    ) -> ItemSource:
        """A JSON Lines file in S3: one item per line. The arguments are those of :meth:`json`."""
        form = FileFormat.json_lines()
        return _file(bucket, key, form, max_items, version_id=version_id, owner=expected_bucket_owner)

    @staticmethod
    @kinds.checked
    def csv(
        bucket: s3.IBucket,
        key: str,
        *,
        headers: Sequence[str] | None = None,
        delimiter: CsvDelimiter | None = None,
        version_id: str | None = None,
        expected_bucket_owner: str | None = None,
        max_items: float | str | None = None,
    ) -> ItemSource:
        """A CSV file in S3: one item per row, an object from header to string.

        Args:
            bucket: Bucket of the file.
            key: Key of the file.
            headers: Names of the columns where the file has no header row. Default: the first row has them.
            delimiter: Default: comma.
            version_id: Version of the object. Default: the current one.
            expected_bucket_owner: Account that must own the bucket. Default: not checked.
            max_items: Maximum number of items to process. Default: all.
        """
        form = FileFormat.csv(headers=headers, delimiter=delimiter)
        return _file(bucket, key, form, max_items, version_id=version_id, owner=expected_bucket_owner)

    @staticmethod
    @kinds.checked
    def parquet(
        bucket: s3.IBucket,
        key: str,
        *,
        version_id: str | None = None,
        expected_bucket_owner: str | None = None,
        max_items: float | str | None = None,
    ) -> ItemSource:
        """A Parquet file in S3: one item per row. AWS reads only its current version.

        Raises:
            ValueError: A version is given.
        """
        if version_id is not None:
            raise ValueError(
                f"version_id {version_id!r} can't be read from Parquet, which Step Functions reads only in its current "
                "version: leave it out, or copy that version to a key of its own"
            )
        return _file(bucket, key, FileFormat.parquet(), max_items, owner=expected_bucket_owner)

    @staticmethod
    @kinds.checked
    def inventory(
        bucket: s3.IBucket | Sequence[s3.IBucket],
        manifest_key: str,
        *,
        data_bucket: s3.IBucket | None = None,
        data_prefix: str | None = None,
        max_items: float | str | None = None,
        bucket_path: str | None = None,
        key_prefix: str | None = None,
    ) -> ItemSource:
        """An S3 Inventory report in CSV: one item per object listed in it.

        Args:
            bucket: Bucket of the manifest; or a list of those that the input may name.
            manifest_key: Key of its ``manifest.json``: a literal, or where it stands in the execution's input, since
                each day has another one.
            data_bucket: Bucket of the data files the manifest names. Default: the manifest's.
            data_prefix: Where the data files are, for the role. Default: ``data/`` beside the folder of the
                manifest's date, where S3 Inventory writes them; ``data/`` under ``key_prefix``, where the key comes
                from the input.
            max_items: Maximum number of items to process. Default: all.
            bucket_path: Where the bucket's name is in the input, for a list of buckets. Default: ``$.bucket``.
            key_prefix: What the keys from the input begin with, to narrow the role: the folder of the inventory's
                configuration, ending in a slash. Default: any.

        Raises:
            ValueError: The key doesn't end in ``manifest.json``.
        """
        place = _input_location(bucket, bucket_path, key_prefix, key=manifest_key, name="manifest_key")
        if not place.names_key:
            checks.literal_key("manifest_key", manifest_key)
        if data_prefix is None and place.names_key:
            if not place.key_prefix.endswith("/"):
                raise ValueError(
                    "data_prefix is needed where manifest_key comes from the input: give it, or the inventory's folder "
                    "as key_prefix='inventory/<bucket>/<configuration>/'"
                )
            data_prefix = f"{place.key_prefix}data/"
        if not place.names_key and not checks.is_token(manifest_key) and not manifest_key.endswith("manifest.json"):
            raise ValueError(f"manifest_key must name an inventory's manifest.json, got {manifest_key!r}")
        if data_prefix is None:
            if checks.is_token(manifest_key):
                raise ValueError("data_prefix is needed where manifest_key is known only at deployment")
            parts = manifest_key.split("/")[:-2]
            data_prefix = "/".join([*parts, "data/"])
        checks.literal_key("data_prefix", data_prefix)
        return ItemSource(
            reading=FileItems(
                place=place,
                key=manifest_key,
                config={"ManifestType": "S3_INVENTORY"},
                data=(place.buckets if data_bucket is None else (data_bucket,), data_prefix),
                max_items=max_items,
            )
        )

    @staticmethod
    @kinds.checked
    def athena_manifest(
        bucket: s3.IBucket | Sequence[s3.IBucket],
        manifest_key: str,
        *,
        format: FileFormat,
        data_prefix: str,
        data_bucket: s3.IBucket | None = None,
        max_items: float | str | None = None,
        bucket_path: str | None = None,
        key_prefix: str | None = None,
    ) -> ItemSource:
        """The data files of an Athena ``UNLOAD``: one item per row of any of them.

        Args:
            bucket: Bucket of the manifest; or a list of those that the input may name.
            manifest_key: Key of the ``...-manifest.csv`` of the query: a literal, or where it stands in the execution's
                input, since each query has another one.
            format: Format of the data files: CSV with headers given (Athena writes none), JSON Lines or Parquet.
            data_prefix: Where the data files are (the query's ``TO`` without the bucket), for the role.
            data_bucket: Their bucket. Default: the manifest's.
            max_items: Maximum number of items to process. Default: all.
            bucket_path: Where the bucket's name is in the input, for a list of buckets. Default: ``$.bucket``.
            key_prefix: What the keys from the input begin with, to narrow the role. Default: any.

        Raises:
            ValueError: CSV without given headers, or JSON.
        """
        place = _input_location(bucket, bucket_path, key_prefix, key=manifest_key, name="manifest_key")
        if not place.names_key:
            checks.literal_key("manifest_key", manifest_key)
        checks.literal_key("data_prefix", data_prefix)
        if format.input_type == "JSON":
            raise ValueError("format must be csv, json_lines or parquet: Athena unloads JSON as one text per line")
        if format.input_type == "CSV" and not format.headers_given:
            raise ValueError(
                "format is CSV without headers: Athena writes no header row, so give FileFormat.csv(headers=[...])"
            )
        return ItemSource(
            reading=FileItems(
                place=place,
                key=manifest_key,
                config={"ManifestType": "ATHENA_DATA", **format.render()},
                data=(place.buckets if data_bucket is None else (data_bucket,), data_prefix),
                max_items=max_items,
            )
        )

    @staticmethod
    @kinds.checked
    def from_execution_input(
        *,
        buckets: Sequence[s3.IBucket],
        format: FileFormat,
        bucket_path: str | None = None,
        key_path: str | None = None,
        key_prefix: str | None = None,
        max_items: float | str | None = None,
    ) -> ItemSource:
        """One S3 file that the execution's own input names.

        Args:
            buckets: Buckets it may be in: what the role may read.
            format: Format of the file.
            bucket_path: Where the bucket's name is in the input. Default: ``$.bucket``.
            key_path: Where the key is in the input. Default: ``$.key``.
            key_prefix: What the keys begin with, to narrow the role. Default: any key of the buckets.
            max_items: Maximum number of items to process. Default: all.

        Raises:
            ValueError: No bucket, or a path that isn't one.
        """
        bucket_path = "$.bucket" if bucket_path is None else bucket_path
        key_path = "$.key" if key_path is None else key_path
        if len(buckets) == 0:
            raise ValueError(
                "buckets must name at least one bucket that the input may name: the role is scoped to them"
            )
        for name, path in (("bucket_path", bucket_path), ("key_path", key_path)):
            if checks.is_known(path):
                raise ValueError(f"{name} must be a path into the input such as '$.bucket', got {path!r}")
        checks.plain_key("key_prefix", key_prefix or "")
        return ItemSource(
            reading=InputFile(
                buckets=tuple(buckets),
                config=format.render(),
                bucket_path=bucket_path,
                key_path=key_path,
                key_prefix="" if key_prefix is None else key_prefix,
                max_items=max_items,
            )
        )

    @staticmethod
    @kinds.checked
    def state_array(path: str | None = None, *, max_items: float | str | None = None) -> ItemSource:
        """An array in the state's input (one item per element), or an object (one per key and value).

        The whole input has at most 256 KiB; beyond that put the items into a file. An object under ``$.items`` that
        has the field ``key`` is taken for the item file of a run (see :class:`DistributedMapPipeline`), and where the
        path is another one, whatever is under ``$.items`` of an input that is an object.

        Args:
            path: Where it is; ``$`` where it is the whole input. Default: ``$.items``.
            max_items: Not supported by AWS here, and refused.

        Raises:
            ValueError: ``max_items`` is given.
        """
        if max_items is not None:
            raise ValueError(
                "max_items needs an item reader; slice the array instead, as in '{% $states.input.items[[0..9]] %}'"
            )
        return ItemSource(reading=StateItems(path="$.items" if path is None else path))


def _file(
    bucket: s3.IBucket,
    key: str,
    form: FileFormat,
    max_items: float | str | None,
    *,
    version_id: str | None = None,
    owner: str | None = None,
) -> ItemSource:
    checks.literal_key("key", key)
    if owner is not None and not checks.is_token(owner) and not re.fullmatch(r"\d{12}", owner):
        raise ValueError(f"expected_bucket_owner must be an account number of 12 digits, got {owner!r}")
    for name, value in (("version_id", version_id), ("expected_bucket_owner", owner)):
        if value is not None:
            checks.text(name, value)
    place = InputLocation(buckets=(bucket,))
    return ItemSource(
        reading=FileItems(
            place=place, key=key, config=form.render(), max_items=max_items, version_id=version_id, owner=owner
        )
    )


def _input_location(
    bucket: s3.IBucket | Sequence[s3.IBucket],
    bucket_path: str | None,
    key_prefix: str | None,
    *,
    key: str | None,
    name: str,
) -> InputLocation:
    several = isinstance(bucket, list | tuple)
    buckets = tuple(bucket) if isinstance(bucket, list | tuple) else (bucket,)
    if len(buckets) == 0:
        raise ValueError("bucket must name at least one bucket that the input may name, got []: list them")
    if bucket_path is not None and not several:
        raise ValueError("bucket_path needs a list of the buckets that the input may name: give bucket=[...]")
    if several:
        bucket_path = "$.bucket" if bucket_path is None else bucket_path
        if not expressions.is_expression(bucket_path):
            raise ValueError(f"bucket_path must be a path into the input such as '$.bucket', got {bucket_path!r}")
    names_key = expressions.is_expression(key)
    if key_prefix is not None and not names_key:
        raise ValueError(f"key_prefix narrows what the input may name, but {name} is no path into it: leave it out")
    checks.plain_key("key_prefix", key_prefix or "")
    return InputLocation(buckets=buckets, bucket_path=bucket_path, key_prefix=key_prefix or "", names_key=names_key)
