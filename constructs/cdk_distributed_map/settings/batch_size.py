"""The size of an automatic batch, as JSONata that a map computes when a run starts.

Terms are numbers, where they are known at synthesis, or JSONata: what is known is computed here, so that a definition
holds no more than what depends on the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Token

from cdk_distributed_map.settings import checks, expressions
from cdk_distributed_map.settings.expressions import quote, wrap
from distmap import limits

_LEAST_ITEM_BYTES = 2
"""A digit and a comma."""

Term = float | str
"""A number, or JSONata without its braces that yields one."""


@dataclass(frozen=True, kw_only=True)
class MapLoad:
    """What the size of a batch depends on beside the settings of batching: the load of one map."""

    concurrency: Sequence[Term]
    """What bounds the children at once; the least counts."""
    count: str | None
    """JSONata of the number of items; None where it isn't known."""
    may_lack_count: bool
    """Whether what ``count`` yields may be nothing."""
    is_source: bool
    """Whether the items may be those of the source: of another item file only its own count tells."""
    at_most: Term | None
    """Most items that are read; None for all."""
    seconds: Term | None
    """How long a child's work may take; None where nothing ends it."""
    express: bool
    """Whether the children are Express executions."""


def term(rendered: float | str) -> Term:
    """Return a rendered number (:func:`expressions.number`) as a term: the text of a token stands in JSONata too."""
    if expressions.is_jsonata(rendered):
        return expressions.source_text(rendered)
    return Token.as_string(rendered) if checks.is_token(rendered) else float(rendered)


def least(*terms: Term) -> Term:
    """Return the least of some terms."""
    known = [each for each in terms if not isinstance(each, str)]
    computed = list(dict.fromkeys(each for each in terms if isinstance(each, str)))
    if not computed:
        return min(known)
    texts = [*([_text(min(known))] if known else []), *computed]
    return texts[0] if len(texts) == 1 else f"$min([{', '.join(texts)}])"


def items_in(seconds: Term, item_seconds: Term) -> Term:
    """Return how many items a worker can do before it must answer; 0 where not even one."""
    if isinstance(seconds, str):
        share, most = limits.WORKER_RESERVE_SHARE, _text(limits.WORKER_RESERVE_MOST_SECONDS)
        left: Term = f"($t := {seconds}; $t - $min([$t * {share}, {most}]))"
    else:
        left = seconds - min(seconds * limits.WORKER_RESERVE_SHARE, limits.WORKER_RESERVE_MOST_SECONDS)
    if isinstance(left, str) or isinstance(item_seconds, str):
        return f"$floor({_text(left)} / {_text(item_seconds)})"
    return math.floor(left / item_seconds)


def positive(jsonata: str, *, name: str) -> str:
    """Return JSONata that fails where what it yields is no number over 0."""
    message = quote(f"{name} must be a number over 0, got ")
    return (
        f'($s := {jsonata}; $bad := $type($s) = "number" ? $s <= 0 : true; $bad ? $error({message} & $string($s)) : $s)'
    )


def size(
    load: MapLoad, *, item_seconds: Term | None, item_count: Term | None, max_items: Term | None, max_bytes: Term | None
) -> float | str:
    """Return MaxItemsPerBatch.

    Args:
        load: The load of the map.
        item_seconds: Seconds that an item takes, None where that isn't set.
        item_count: Number of items where the load lacks it, None where that isn't set.
        max_items: Most items of a batch, None where that isn't set.
        max_bytes: Most bytes of a batch, None for as many as AWS allows.
    """
    caps = _caps(load, item_seconds=item_seconds, max_items=max_items, max_bytes=max_bytes)
    at_once = least(*load.concurrency)
    bound = f"$c := {at_once}; " if isinstance(at_once, str) else ""
    at_once = "$c" if bound else at_once
    unknown = [*caps, *([limits.USUAL_BATCH_ITEMS] if max_items is None else [])]
    if load.at_most is not None:
        unknown.append(_share(load.at_most, at_once, express=load.express))
    otherwise = _at_least_one(least(*unknown))
    count, is_certain = load.count, not load.may_lack_count
    if item_count is not None and load.is_source:
        count_text = _text(item_count if load.at_most is None else least(item_count, load.at_most))
        count, is_certain = count_text if count is None else f"$exists({count}) ? {count} : {count_text}", True
    if count is None:
        return otherwise if not isinstance(otherwise, str) else wrap(_block(bound, otherwise))
    chosen = _at_least_one(least(*caps, _share("$n", at_once, express=load.express)))
    if not is_certain:
        chosen = f'$type($n) = "number" ? {chosen} : {otherwise}'
    return wrap(_block(f"$n := {count}; {bound}", str(chosen)))


def _caps(load: MapLoad, *, item_seconds: Term | None, max_items: Term | None, max_bytes: Term | None) -> list[Term]:
    """Return what a batch has at most whatever the number of items."""
    caps: list[Term] = []
    if max_items is not None:
        caps.append(max_items)
    elif item_seconds is None:
        caps.append(limits.USUAL_BATCH_ITEMS)
    if load.seconds is not None and (item_seconds is not None or max_items is None):
        fitting = items_in(load.seconds, limits.USUAL_ITEM_SECONDS if item_seconds is None else item_seconds)
        caps.append(fitting if isinstance(fitting, str) else max(1, fitting))
    if not caps:
        most = max_bytes if isinstance(max_bytes, int | float) else limits.MAX_BATCH_BYTES
        caps.append(max(1, most // _LEAST_ITEM_BYTES))
    return caps


def _share(count: Term, at_once: Term, *, express: bool) -> Term:
    """Return how many items a child gets, so that each that may run at once has its children.

    With more items than that, as few children as start in time, so long as there is one for each.
    """
    rate = limits.EXPRESS_DISPATCH_PER_SECOND if express else limits.STANDARD_DISPATCH_PER_SECOND
    in_time = rate * limits.BATCH_DISPATCH_SECONDS
    if not isinstance(count, str) and not isinstance(at_once, str):
        each = math.ceil(count / (limits.BATCHES_AT_ONCE * at_once))
        return max(each, min(math.floor(count / at_once), math.ceil(count / in_time)))
    number, divisor = _text(count), _text(at_once)
    twice = (
        f"({limits.BATCHES_AT_ONCE} * {divisor})"
        if isinstance(at_once, str)
        else _text(limits.BATCHES_AT_ONCE * at_once)
    )
    each_text = f"$ceil({number} / {twice})"
    most_at_once = limits.MAX_CONCURRENT_CHILDREN if isinstance(at_once, str) else at_once
    if limits.BATCHES_AT_ONCE * most_at_once <= in_time:
        return each_text
    return f"$max([{each_text}, $min([$floor({number} / {divisor}), $ceil({number} / {in_time})])])"


def _at_least_one(value: Term) -> Term:
    return f"$max([1, {value}])" if isinstance(value, str) else _whole(value)


def _block(bindings: str, value: str) -> str:
    return f"({bindings}{value})" if bindings else value


def _text(value: Term) -> str:
    return value if isinstance(value, str) else str(_whole(value))


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
