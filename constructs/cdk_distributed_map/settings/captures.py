"""Capture: a function that writes the items of a run to the payload bucket before the map reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.settings import checks, code_folder, expressions, kinds
from cdk_distributed_map.settings.bundling import Bundling, Wheels
from cdk_distributed_map.settings.functions import DEFAULT_MEMORY_MB, PythonFunction
from cdk_distributed_map.settings.handlers import Role
from distmap import limits, wire

_BUILT_IN_TIMEOUT = Duration.minutes(15)


class Capture:
    """Captures the items of a run: use the factories.

    The function gets :class:`distmap.wire.CaptureEvent` and answers :class:`distmap.wire.ItemFile`; the runtime's
    ``capture_items`` does both for a generator of items. Retrying it overwrites the same file.

    .. versionadded:: 0.1.0
    """

    resumable: bool = False
    """Whether a long capture goes on in another invocation."""
    existing: lambda_.IFunction | None = None
    """An existing function; None where one is to be built."""
    description: str = "captures the items of a run"
    """Description of the function to build."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def declared(self) -> PythonFunction | None:
        """The function to build; None for an existing one."""
        return None

    @staticmethod
    @kinds.checked
    def ranges(
        *,
        number: float | str | None = None,
        chunk: float | str | None = None,
        start: float | str | None = None,
        inclusive: bool | None = None,
        memory_size: int | None = None,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
    ) -> Capture:
        """Ranges of ``chunk`` numbers, over ``number`` numbers: ``{"from": 0, "to": 5}``, ``{"from": 5, "to": 10}`` ...

        As in Python's ``range``, a range begins at ``from`` and ends before ``to``. The last one may be shorter.

        Args:
            number: How many numbers there are, or where that stands in the execution's input. Default: ``$.number``,
                and 10 where the input has none.
            chunk: Numbers in a range, or where it stands in the input. Default: ``$.chunk``, and 1 where the input has
                none.
            start: First number, or where it stands in the input. Default: 0.
            inclusive: Whether ``to`` is the last number of its range: with ``start=1`` the ranges are
                ``{"from": 1, "to": 5}``, ``{"from": 6, "to": 10}`` ... Default: it is the number after it.
            memory_size: Memory of the capture function in MB. Default: 512.
            vpc: VPC to attach the capture function to; it must reach S3 from there. Default: none.
            vpc_subnets: Which of its subnets. Default: the private ones.
            security_groups: Default: a new one for the function.

        Raises:
            ValueError: A literal is not a whole number of at least 0 (``number``, ``start``) or 1 (``chunk``), or they
                make more than 100 million items, or numbers over 2**53 - 1, which JSON doesn't keep exact.
        """
        for name, value, least in (("number", number, 0), ("chunk", chunk, 1), ("start", start, 0)):
            checks.whole_number(name, value, least=least, most=limits.MAX_EXACT_INTEGER)
        start = 0 if start is None else start
        inclusive = False if inclusive is None else inclusive
        if checks.is_known(number) and checks.is_known(start):
            end = int(number) + int(start)  # type: ignore[arg-type]  # both are numbers by the check
            checks.whole_number("start + number", end, least=0, most=limits.MAX_EXACT_INTEGER)
        if checks.is_known(number) and checks.is_known(chunk):
            items = -(-int(number) // int(chunk))  # type: ignore[arg-type]  # both are numbers by the check
            if items > limits.MAX_ITEMS:
                raise ValueError(
                    f"number {number:,} in ranges of {chunk:,} makes {items:,} items, a map reads at most "
                    f"{limits.MAX_ITEMS:,}: use a larger chunk"
                )
        settings = {
            "kind": "ranges",
            "number": _given_or("$states.input.number", wire.DEFAULT_NUMBER) if number is None else number,
            "chunk": _given_or("$states.input.chunk", wire.DEFAULT_CHUNK) if chunk is None else chunk,
            "start": start,
            "inclusive": inclusive,
        }
        network = _Network(vpc, vpc_subnets, security_groups)
        return _BuiltIn(settings=settings, memory_size=memory_size, network=network)

    @staticmethod
    @kinds.checked
    def s3_listing(
        bucket: s3.IBucket,
        *,
        prefixes: Sequence[str] | None = None,
        suffix: str | None = None,
        min_bytes: float | str | None = None,
        max_bytes: float | str | None = None,
        modified_after: str | None = None,
        modified_before: str | None = None,
        min_age: Duration | None = None,
        max_age: Duration | None = None,
        memory_size: int | None = None,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
    ) -> Capture:
        """The objects of a bucket, filtered.

        Args:
            bucket: Bucket to list.
            prefixes: Prefixes to list, each a literal or a path into the input. Default: the whole bucket.
            suffix: Only keys that end so. Default: all.
            min_bytes: Only objects of at least this size, in bytes. Default: 1, which skips empty objects and the
                folders that consoles make.
            max_bytes: Only objects of at most this size, in bytes. Default: any.
            modified_after: Only objects last modified at or after this ISO 8601 date-time. Default: any.
            modified_before: Only objects last modified before it. Default: any.
            min_age: Only objects at least this old when the run starts. Default: any.
            max_age: Only objects at most this old when the run starts. Default: any.
            memory_size: Memory of the capture function in MB. Default: 512.
            vpc: VPC to attach the capture function to; it must reach S3 from there. Default: none.
            vpc_subnets: Which of its subnets. Default: the private ones.
            security_groups: Default: a new one for the function.

        Raises:
            ValueError: No prefix, a negative size, a date-time that isn't one, or bounds between which nothing is.
        """
        prefixes = ("",) if prefixes is None else prefixes
        min_bytes = 1 if min_bytes is None else min_bytes
        if len(prefixes) == 0:
            raise ValueError("prefixes must not be empty: leave it out to list the whole bucket")
        for prefix in prefixes:
            if checks.is_known(prefix):
                checks.plain_key("prefixes", prefix)
        checks.whole_number("min_bytes", min_bytes, least=0, most=limits.MAX_EXACT_INTEGER, unit="bytes")
        checks.whole_number("max_bytes", max_bytes, least=0, most=limits.MAX_EXACT_INTEGER, unit="bytes")
        if checks.is_known(min_bytes) and checks.is_known(max_bytes) and min_bytes > max_bytes:  # type: ignore[operator]  # both are numbers by the check
            raise ValueError(
                f"min_bytes must not be over max_bytes, got {min_bytes} and {max_bytes}: nothing would match"
            )
        _check_ages(modified_after, modified_before, min_age, max_age)
        settings = {
            "kind": "s3Listing",
            "prefixes": list(prefixes),
            "suffix": suffix,
            "minBytes": min_bytes,
            "maxBytes": max_bytes,
            "modifiedAfter": modified_after,
            "modifiedBefore": modified_before,
            "minAgeSeconds": None if min_age is None else min_age.to_seconds(),
            "maxAgeSeconds": None if max_age is None else max_age.to_seconds(),
        }
        network = _Network(vpc, vpc_subnets, security_groups)
        return _BuiltIn(settings=settings, memory_size=memory_size, network=network, bucket=bucket)

    @staticmethod
    @kinds.checked
    def python(
        folder: str,
        *,
        handler: str,
        runtime: lambda_.Runtime | None = None,
        architecture: lambda_.Architecture | None = None,
        memory_size: int | None = None,
        ephemeral_storage: Size | None = None,
        timeout: Duration | None = None,
        environment: Mapping[str, str] | None = None,
        layers: Sequence[lambda_.ILayerVersion] | None = None,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
        exclude: Sequence[str] | None = None,
        bundling: Bundling | None = None,
    ) -> Capture:
        """Your own Python function, built from a folder, with the runtime put in.

        The arguments are those of :meth:`Worker.python`, but the timeout's default is 15 minutes.
        """
        return _Built(
            PythonFunction(
                folder=folder,
                handler=handler,
                role=Role.CAPTURE,
                runtime=runtime,
                architecture=architecture,
                memory_size=DEFAULT_MEMORY_MB if memory_size is None else memory_size,
                ephemeral_storage=ephemeral_storage,
                timeout=_BUILT_IN_TIMEOUT if timeout is None else timeout,
                environment=environment,
                layers=() if layers is None else layers,
                vpc=vpc,
                vpc_subnets=vpc_subnets,
                security_groups=security_groups,
                exclude=() if exclude is None else exclude,
                bundling=Wheels() if bundling is None else bundling,
            )
        )

    @staticmethod
    @kinds.checked
    def function(function: lambda_.IFunction) -> Capture:
        """An existing function. It gets permission to write the items of runs if its role is known."""
        return _Existing(function)

    def event_settings(self, scope: Construct) -> dict[str, Any]:
        """Return what the event has under ``capture``, rendered."""
        del scope
        return {}

    def listed(self) -> list[tuple[s3.IBucket, str]]:
        """Return the buckets and prefixes that are listed, where they are known."""
        return []

    def statements(self) -> list[iam.PolicyStatement]:
        """Return what the function's role needs beyond writing the items."""
        return []


@dataclass(frozen=True)
class _Network:
    vpc: ec2.IVpc | None = None
    vpc_subnets: ec2.SubnetSelection | None = None
    security_groups: Sequence[ec2.ISecurityGroup] | None = None


@dataclass(frozen=True, kw_only=True)
class _BuiltIn(Capture):
    settings: dict[str, Any]
    network: _Network
    memory_size: int | None = None
    bucket: s3.IBucket | None = None
    resumable: bool = field(default=True, init=False)
    description: str = field(default="distmap: captures the items of a run", init=False)

    @property
    def declared(self) -> PythonFunction:
        return PythonFunction(
            folder=str(code_folder.built_in("capture_input")),
            handler="handler.handler",
            role=Role.CAPTURE,
            memory_size=DEFAULT_MEMORY_MB if self.memory_size is None else self.memory_size,
            timeout=_BUILT_IN_TIMEOUT,
            vpc=self.network.vpc,
            vpc_subnets=self.network.vpc_subnets,
            security_groups=self.network.security_groups,
        )

    def event_settings(self, scope: Construct) -> dict[str, Any]:
        rendered = {key: _setting(scope, key, value) for key, value in self.settings.items()}
        return rendered if self.bucket is None else {**rendered, "bucket": self.bucket.bucket_name}

    def listed(self) -> list[tuple[s3.IBucket, str]]:
        suffix = self.settings.get("suffix")
        # Files of runs end in .json or .jsonl, spilled answers too.
        if self.bucket is None or (suffix is not None and not suffix.endswith((".json", ".jsonl"))):
            return []
        return [(self.bucket, prefix) for prefix in self.settings["prefixes"] if checks.is_known(prefix)]

    def statements(self) -> list[iam.PolicyStatement]:
        if self.bucket is None:
            return []
        prefixes = self.settings["prefixes"]
        # A prefix from the input, like an empty one, can be any.
        known = all(checks.is_known(prefix) and prefix != "" for prefix in prefixes)
        return permissions.list_objects(self.bucket, prefixes if known else None)


def _given_or(path: str, default: int) -> str:
    """Return JSONata for what the input has at a path, and a default where it leaves it out."""
    return expressions.wrap(f"$exists({path}) ? {path} : {default}")


def _check_ages(after: str | None, before: str | None, min_age: Duration | None, max_age: Duration | None) -> None:
    times = {"modified_after": after, "modified_before": before}
    known = {name: _moment(name, text) for name, text in times.items() if text is not None and checks.is_known(text)}
    if len(known) == len(times) and known["modified_after"] >= known["modified_before"]:
        raise ValueError(f"modified_after must be before modified_before, got {after!r} and {before!r}")
    ages = [age.to_seconds() for age in (min_age, max_age) if age is not None and not age.is_unresolved()]
    for age in ages:
        if age > limits.MAX_AGE_SECONDS:
            raise ValueError(f"ages must be at most {limits.MAX_AGE_SECONDS:,} s (a thousand years), got {age:,} s")
    if len(ages) == 2 and ages[0] > ages[1]:
        raise ValueError(f"min_age must not be over max_age, got {ages[0]:,} s and {ages[1]:,} s: nothing would match")


def _moment(name: str, text: str) -> datetime:
    moment = wire.date_time(text)
    if moment is None:
        raise ValueError(f"{name} must be {wire.DATE_TIME}, got {text!r}")
    return moment


def _setting(scope: Construct, key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_setting(scope, key, item) for item in value]
    if isinstance(value, str) and not checks.is_known(value) and not checks.is_token(value):
        return expressions.expression(scope, value, name=key)
    if isinstance(value, bool):
        return value
    return expressions.number(scope, value, name=key) if isinstance(value, int | float) else value


@dataclass(frozen=True)
class _Built(Capture):
    function_declared: PythonFunction

    @property
    def declared(self) -> PythonFunction:
        return self.function_declared


@dataclass(frozen=True)
class _Existing(Capture):
    existing: lambda_.IFunction
