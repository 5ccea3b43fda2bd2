"""Checks of single values. A value known only at deployment (a token) or from the input passes every one."""

from __future__ import annotations

import math
import re
from typing import Any

from aws_cdk import Stack, Token
from aws_cdk import aws_s3 as s3
from constructs import IConstruct

from cdk_distributed_map import names
from distmap import limits

_MOST_PREFIX_BYTES = 240
"""The id of a rule has 255 characters, and a key 1,024 bytes.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html"""


_LITERAL_OF_TOKENS = "${Token["
_LARGEST_TOKEN = -1e200
"""The CDK takes numbers about -1.9e289 for those it doesn't know yet."""


def is_token(value: object) -> bool:
    """Tell whether a value is known only at deployment, or has a part that is.

    Node, which has to be asked for the rest, takes a hundred times as long to say so of a plain string or number.
    https://docs.aws.amazon.com/cdk/v2/guide/tokens.html
    """
    if value is None or (isinstance(value, str) and _LITERAL_OF_TOKENS not in value):
        return False
    if isinstance(value, int | float) and (not math.isfinite(value) or value > _LARGEST_TOKEN):
        return False
    return Token.is_unresolved(value)


def is_known(value: object) -> bool:
    """Tell whether a value is a number or a literal string known now: no token, no path, no JSONata."""
    if value is None or is_token(value):
        return False
    return not (isinstance(value, str) and value.startswith(("$", "{%")))


def whole_number(
    name: str, value: float | str | None, *, least: int, most: int, remedy: str = "", unit: str = ""
) -> None:
    """Check a whole number within bounds.

    Raises:
        TypeError: It isn't a number.
        ValueError: It is fractional or out of bounds.
    """
    if not is_known(value):
        return
    _is_number(name, value)
    assert isinstance(value, int | float)  # noqa: S101 - narrows the type that the line above checked
    if value != int(value):
        raise ValueError(f"{name} must be a whole number{unit and f' of {unit}'}, got {value!r}")
    if not least <= value <= most:
        bounds = f"between {least:,} and {most:,}{unit and f' {unit}'}"
        raise ValueError(f"{name} must be {bounds}, got {value:,}{remedy and f': {remedy}'}")


def positive(name: str, value: float | str | None, *, unit: str) -> None:
    """Check a number over 0, fractions allowed.

    Raises:
        TypeError: It isn't a number.
        ValueError: It is 0 or less.
    """
    if not is_known(value):
        return
    _is_number(name, value)
    assert isinstance(value, int | float)  # noqa: S101 - narrows the type that the line above checked
    if value <= 0:
        raise ValueError(f"{name} must be over 0 {unit}, got {value!r}")


def percentage(name: str, value: float | str | None) -> None:
    """Check a percentage, fractions allowed.

    Raises:
        TypeError: It isn't a number.
        ValueError: It is not within 0 and 100.
    """
    if not is_known(value):
        return
    _is_number(name, value)
    assert isinstance(value, int | float)  # noqa: S101 - narrows the type that the line above checked
    if not 0 <= value <= 100:
        raise ValueError(f"{name} must be between 0 and 100 percent, got {value!r}")


def tolerances(count: float | str | None, percentage: float | str | None) -> None:
    """Check that neither tolerance is 0 beside one that isn't: AWS takes such a 0 for not set.

    Raises:
        ValueError: One is.
    """
    if not (is_known(count) and is_known(percentage)) or (count == 0) == (percentage == 0):
        return
    zero, other = ("count", "percentage") if count == 0 else ("percentage", "count")
    raise ValueError(
        f"tolerated_failure_{zero} is 0 beside a tolerated_failure_{other} of {percentage if count == 0 else count!r}, "
        "and AWS takes such a 0 for not set: take it out, or the other one to tolerate nothing"
    )


def _is_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{name} must be a number, a JSONPath such as '$.limit' or JSONata as '{{% ... %}}', got {value!r}"
        )
    if math.isnan(value) or math.isinf(value):
        raise ValueError(f"{name} must be a number, got {value!r}")


def text(name: str, value: str, *, remedy: str = "", most: int | None = None) -> None:
    """Check that a string isn't empty and not too long.

    Raises:
        TypeError: It isn't a string.
        ValueError: It is empty or longer than ``most`` characters.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if value == "":
        raise ValueError(f"{name} must not be empty{remedy and f': {remedy}'}")
    if most is not None and not is_token(value) and len(value) > most:
        raise ValueError(f"{name} must have at most {most:,} characters, got {len(value):,}{remedy and f': {remedy}'}")


def literal_key(name: str, value: str) -> None:
    """Check an S3 key or prefix that stands in the template: not a path into the input.

    Raises:
        ValueError: It is empty, too long for S3, looks like a path into the input, or is surely no key.
    """
    text(name, value)
    if is_token(value):
        return
    size = len(value.encode(errors="surrogatepass"))
    if size > limits.MAX_KEY_BYTES:
        raise ValueError(f"{name} must have at most {limits.MAX_KEY_BYTES:,} bytes, as any S3 key, got {size:,}")
    if value.startswith(("$.", "$$.", "$[", "{%")):
        raise ValueError(
            f"{name} got {value!r}: a key that comes from the input needs ItemSource.from_execution_input, "
            "which names the buckets it may read"
        )
    plain_key(name, value)


def payload_prefix(value: str) -> None:
    """Check the prefix of a pipeline's files in its payload bucket.

    Raises:
        ValueError: It doesn't end in a slash, or can't be that of keys and of a lifecycle rule.
    """
    known = "" if is_token(value) else value
    if known and (not known.endswith("/") or known.startswith("/")):
        raise ValueError(f"payload_prefix must end in a slash and not begin with one, got {value!r}")
    size = len(known.encode())
    if size > _MOST_PREFIX_BYTES:
        raise ValueError(
            f"payload_prefix must have at most {_MOST_PREFIX_BYTES} bytes, got {size:,}: S3 limits the id of a "
            "lifecycle rule and the keys of a run, which hold it"
        )
    plain_key("payload_prefix", value)


def plain_key(name: str, value: str) -> None:
    """Check that an S3 key or prefix, or a part of one, says what it means to S3 and to IAM.

    S3 takes ``*`` and ``?`` as they are, and IAM as patterns: nothing would be found, and more allowed than was meant.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html

    Raises:
        ValueError: It is an address or a pattern, or begins with a slash.
    """
    if is_token(value):
        return
    address = re.match(r"(?:s3[an]?://|https?://)[^/]*/?|arn:[\w-]*:s3:::[^/]*/?", value, re.IGNORECASE)
    if address is not None:
        raise ValueError(
            f"{name} must be a key inside the bucket, got the address {value!r}: give {value[address.end() :]!r} alone"
        )
    if value.startswith("/"):
        raise ValueError(
            f"{name} must not begin with a slash, got {value!r}: S3's keys don't, so give {value.lstrip('/')!r}; where "
            "they really do, give it as Fn.join('', ['/', ...])"
        )
    pattern = re.search(r"[*?]|\$\{", value)
    if pattern is not None:
        before = value[: pattern.start()]
        raise ValueError(
            f"{name} must not hold {pattern[0]!r}, got {value!r}: S3 knows no patterns, and IAM would take it for one; "
            f"give what the keys begin with, such as {before!r}; Capture.s3_listing(suffix=...) takes what they end in"
        )


def label(value: str) -> None:
    """Check the label of a Distributed Map.

    Raises:
        ValueError: It is empty, longer than 40 characters, or has a character that AWS refuses or that breaks
            the ARNs (``/``) or the metrics (non-ASCII) made from it.
    """
    text("label", value, remedy="leave it out to have one made from the construct's id")
    if is_token(value):
        raise ValueError("label must be known at synthesis: it is part of the ARNs that the role is scoped to")
    if len(value) > limits.MAX_LABEL_LENGTH:
        raise ValueError(f"label must have at most {limits.MAX_LABEL_LENGTH} characters, got {len(value)}: {value!r}")
    found = names.LABEL_FORBIDDEN.search(value)
    if found is not None:
        raise ValueError(f"label must not hold {found[0]!r}, got {value!r}: use letters, digits, '-' and '_'")
    if not value.isascii():
        raise ValueError(f"label must be ASCII, got {value!r}: anything else breaks CloudWatch metrics")


def same_region(scope: IConstruct, bucket: s3.IBucket, *, name: str) -> None:
    """Check that a bucket isn't known to be in another Region than the state machine.

    Raises:
        ValueError: Both Regions are known and differ.
    """
    here, there = Stack.of(scope).region, bucket.env.region
    if _differ(here, there):
        raise ValueError(
            f"{name} is in {there}, the state machine in {here}: Step Functions reads and writes only buckets of its "
            "own Region, so put the pipeline there or replicate the data"
        )


def same_account(scope: IConstruct, bucket: s3.IBucket, *, name: str) -> None:
    """Check that a bucket isn't known to be in another account than the state machine.

    Raises:
        ValueError: Both accounts are known and differ.
    """
    here, there = Stack.of(scope).account, bucket.env.account
    if _differ(here, there):
        raise ValueError(
            f"{name} is in the account {there}, the state machine in {here}: Step Functions lists and writes only "
            "buckets of its own account, so put the pipeline there or replicate the data"
        )


def _differ(here: str, there: str) -> bool:
    return not (is_token(here) or is_token(there) or here == there)
