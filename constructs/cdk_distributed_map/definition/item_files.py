"""Item files that an input names: which are taken, and what refuses the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.settings.expressions import quote, wrap

ITEMS: Final = "$states.input.items"
"""JSONata: what the input has of items."""
HAS_FILE: Final = f'$type($states.input) = "object" and $type({ITEMS}) = "object" and $type({ITEMS}.key) = "string"'
"""JSONata: whether that is an item file."""

_SHOWN: Final = 1_000
"""How many characters of a wrong input are shown: a cause has an end."""


def is_wrong(bucket_name: str, folders: Sequence[str], *, own_items: bool) -> str:
    """Return JSONata that is true where the input has ``items`` that are neither an item file nor the source's.

    Args:
        bucket_name: Name of the payload bucket.
        folders: Where item files may be in it.
        own_items: Whether the source reads its items there.
    """
    starts = " or ".join(
        f"$substring({ITEMS}.key, 0, $length({quote(folder)})) = {quote(folder)}" for folder in folders
    )
    bucket = f"($not($exists({ITEMS}.bucket)) or {ITEMS}.bucket = {quote(bucket_name)})"
    enveloped = f'($not($exists({ITEMS}.enveloped)) or $type({ITEMS}.enveloped) in ["boolean", "null"])'
    # What an input of a round has, which the account alone makes.
    enveloped += f" and $not($exists({ITEMS}.round))"
    # A condition of its own: not every JSONata leaves out the right of an "and" that is false already.
    right = f"({HAS_FILE} ? {bucket} and {enveloped} and ({starts}) : false)"
    has_items = f'$type($states.input) = "object" and $exists({ITEMS})'
    if own_items:
        own = f'$type({ITEMS}) = "array" or $type({ITEMS}) = "object" and $not($exists({ITEMS}.key))'
        right = f"{own} or {right}"
    return f"{has_items} and $not({right})"


def refuse(scope: Construct, bucket_name: str, folders: Sequence[str], *, state_name: str, own_items: bool) -> sfn.Fail:
    """Return what a run with wrong ``items`` ends in; the arguments are those of :func:`is_wrong`."""
    shape = f"name a file of them in the payload bucket, under {' or '.join(folders)}, as "
    shape += f'{{"bucket": "{bucket_name}", "key": "{folders[-1]}..."}}'
    remedy = "copy the file there, or leave items out to use the pipeline's own source"
    if own_items:
        shape = f"be an array of items, an object of them without the field key, or {shape}"
        remedy = "copy the file there, or give the items themselves"
    return sfn.Fail(
        scope,
        "ItemFileRefused",
        state_name=state_name,
        query_language=sfn.QueryLanguage.JSONATA,
        error="Distmap.ItemFileRefused",
        cause=wrap(
            f"{quote(f'items in the input must {shape}, got ')} & "
            f"$substring($string({ITEMS}), 0, {_SHOWN}) & {quote(f': {remedy}')}"
        ),
    )
