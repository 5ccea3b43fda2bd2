"""The inputs of a plan, each with where it comes from: a template, a deployment, a run, the user, or an assumption."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from cdk_distributed_map.plan._batches import batch_size
from cdk_distributed_map.plan._definition import MapFacts, PathFacts, computed_batch, read_path
from cdk_distributed_map.plan._platform import Platform
from cdk_distributed_map.plan._times import Times
from cdk_distributed_map.plan._work import Setting, Step, Work
from cdk_distributed_map.prices import Prices
from distmap import limits

Origin = Literal["given", "template", "deployed", "measured", "counted", "sampled", "assumed", "quota"]

_ITEM_BYTES: Final = {"listing": 300.0}
"""An object of a listing, with its identity; other items are taken to be small."""
_USUAL_ITEM_BYTES: Final = 150.0
_USUAL_CONCURRENCY: Final = 1_000
_USUAL_MEMORY_MB: Final = 128
"""What a function has that says nothing."""
_USUAL_TIMEOUT: Final = 3.0
_LOGGED_EVENT_BYTES: Final = 1_500.0
_EVENTS_OF_A_CHILD: Final = 2
_EVENTS_OF_A_TASK: Final = 5


@dataclass(frozen=True, kw_only=True)
class FunctionFacts:
    """What is known of a function; None for what isn't.

    .. versionadded:: 0.1.0
    """

    memory_mb: int | None = None
    timeout: float | None = None
    reserved: int | None = None
    architecture: str = "x86_64"
    traced: bool = False


@dataclass(frozen=True, kw_only=True)
class Described:
    """A state machine as a template or AWS describes it.

    .. versionadded:: 0.1.0
    """

    name: str
    definition: Mapping[str, Any]
    origin: Literal["template", "deployed"]
    functions: Mapping[str, FunctionFacts] = field(default_factory=dict)
    """By the names that the definition has for them."""
    region: str | None = None
    logs_all: bool = False
    """Whether Step Functions logs every event."""
    traced: bool = False
    kms: bool = False
    """Whether each request to the bucket of results asks KMS for a key."""


@dataclass(frozen=True)
class Fact:
    """A value, and where it comes from.

    .. versionadded:: 0.1.0
    """

    value: Any
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of a plan, as people read it.

    .. versionadded:: 0.1.0
    """

    name: str
    value: Any
    text: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that a forecast needs.

    .. versionadded:: 0.1.0
    """

    name: str
    work: Work
    setting: Setting
    platform: Platform
    prices: Prices
    listed: tuple[Input, ...]


class _Sheet:
    """Takes the best known value of each input, and keeps a list of them."""

    def __init__(self, facts: Mapping[str, Fact], origin: Origin) -> None:
        self.facts, self.origin = facts, origin
        self.listed: list[Input] = []

    def take(self, name: str, described: Any, assumed: Any, *, words: str, shown: str = "{:,}") -> Any:
        """Return a given value, or else the described one, or else the assumed one."""
        fact = self.facts.get(name)
        if fact is None:
            fact = Fact(assumed, "assumed") if described is None else Fact(described, self.origin)
        self.note(words, fact.value, fact.origin, shown=shown)
        return fact.value

    def note(self, words: str, value: Any, origin: Origin, *, shown: str = "{:,}") -> None:
        text = value if isinstance(value, str) else "none" if value is None else shown.format(value)
        self.listed.append(Input(name=words, value=value, text=text, origin=origin))


def inputs_of(described: Described, facts: Mapping[str, Fact], *, platform: Platform, prices: Prices) -> Inputs:
    """Return what a plan of a described state machine is made from.

    .. versionadded:: 0.1.0

    Args:
        described: The state machine.
        facts: What is known beside that, by the names of :class:`Work` and :class:`Setting`: ``items`` and ``times`` at
            least. They go before what is described.
        platform: Quotas and speeds.
        prices: Prices.

    Raises:
        ValueError: The state machine has no Distributed Map, or a number is out of bounds.
    """
    path = read_path(described.definition)
    sheet = _Sheet(facts, described.origin)
    inner = path.map if path.map.nested is None else path.map.nested
    outer, items = _items(sheet, path.map)
    times = _times(sheet)
    usual = _ITEM_BYTES.get(inner.source, _USUAL_ITEM_BYTES)
    item_bytes = sheet.take("item_bytes", None, usual, words="bytes of an item", shown="{:,.0f}")
    express = bool(sheet.take("express", inner.express, None, words="Express children", shown="{}"))
    concurrency = sheet.take("concurrency", inner.concurrency, _USUAL_CONCURRENCY, words="max_concurrency")
    function = _function(sheet, described, inner)
    batch = _batch(sheet, replace(inner, express=express), items, times, concurrency=concurrency, function=function)
    memory = _USUAL_MEMORY_MB if function.memory_mb is None else function.memory_mb
    setting = Setting(
        batch=batch, express=express, concurrency=concurrency, memory_mb=memory, architecture=function.architecture
    )
    work = Work(
        items=outer * items,
        times=times,
        times_memory_mb=_of(facts, "times_memory_mb", memory),
        cpu_share=_of(facts, "cpu_share", 0.0),
        items_at_once=_of(facts, "items_at_once", 1),
        used_mb=_of(facts, "used_mb", None),
        item_bytes=item_bytes,
        batch_bytes=inner.batch_bytes,
        source=inner.source,
        calls_function=inner.function is not None,
        reserved=function.reserved,
        timeout=limits.MAX_FUNCTION_SECONDS if function.timeout is None else function.timeout,
        states=sheet.take("states", inner.states, 1, words="states of a child"),
        retried=sheet.take("retried", None, 0.0, words="share of children tried twice", shown="{:g}"),
        run_again=_run_again(sheet, path),
        rounds=_of(facts, "rounds", min(path.rounds, 1)),
        accounts=any(each.role == "account" for each in path.called),
        parent_states=path.states,
        steps=_steps(path, described),
        **_requests(sheet, inner, described),
        sfn_log_bytes=_logged(inner) if described.logs_all else 0.0,
        traced=function.traced,
        **_nesting(path, outer),
    )
    sheet.note(
        "Lambda concurrency of the account",
        platform.account_concurrency,
        facts["quotas_origin"].origin if "quotas_origin" in facts else "assumed",
    )
    sheet.note("Region", prices.region, _of_origin(facts, "region", described))
    return Inputs(
        name=described.name, work=work, setting=setting, platform=platform, prices=prices, listed=tuple(sheet.listed)
    )


def _of_origin(facts: Mapping[str, Fact], name: str, described: Described) -> Origin:
    if name in facts:
        return facts[name].origin
    return "assumed" if described.region is None else described.origin


def _function(sheet: _Sheet, described: Described, inner: MapFacts) -> FunctionFacts:
    """Return what is taken of the function of a map; nothing where its children call none."""
    if inner.function is None:
        return FunctionFacts()
    known = described.functions.get(inner.function, FunctionFacts())
    memory = sheet.take("memory_mb", known.memory_mb, _USUAL_MEMORY_MB, words="memory of the function, MB")
    if "used_mb" in sheet.facts:
        used = sheet.facts["used_mb"]
        sheet.note("memory that a process of it had at most, MB", used.value, used.origin)
    return FunctionFacts(
        memory_mb=memory,
        timeout=sheet.take("timeout", known.timeout, _USUAL_TIMEOUT, words="timeout of the function, s"),
        reserved=_reserved(sheet, known),
        architecture=sheet.take("architecture", known.architecture, None, words="architecture"),
        traced=known.traced,
    )


def _of(facts: Mapping[str, Fact], name: str, otherwise: Any) -> Any:
    return facts[name].value if name in facts else otherwise


def _items(sheet: _Sheet, outermost: MapFacts) -> tuple[int, int]:
    """Return the items of the source, and those of each nested map; both are the same where nothing is nested."""
    if "items" not in sheet.facts:
        raise ValueError("a plan needs the number of items: give it")
    items = sheet.take("items", None, 0, words="items")
    if outermost.most_items is not None and items > outermost.most_items:
        items = outermost.most_items
        sheet.note("items that the map reads", items, sheet.origin)
    if outermost.nested is None:
        return 1, items
    return items, sheet.take("nested_items", None, 1, words="items of each nested map")


def _times(sheet: _Sheet) -> Times:
    fact = sheet.facts.get("times", Fact(Times.of(limits.USUAL_ITEM_SECONDS), "assumed"))
    times: Times = fact.value
    sheet.note("seconds of an item, median", times.quantile(0.5), fact.origin, shown="{:.4g}")
    sheet.note(
        "seconds of an item, p99", times.quantile(0.99), _of(sheet.facts, "p99_origin", fact.origin), shown="{:.4g}"
    )
    return times


def _reserved(sheet: _Sheet, known: FunctionFacts) -> int | None:
    # For a function that is known, no value means that nothing is reserved.
    described = Fact(known.reserved, "assumed" if known.memory_mb is None else sheet.origin)
    fact = sheet.facts.get("reserved", described)
    sheet.note("reserved concurrency", fact.value, fact.origin)
    reserved: int | None = fact.value
    return reserved


def _batch(
    sheet: _Sheet, inner: MapFacts, items: int, times: Times, *, concurrency: int, function: FunctionFacts
) -> int:
    words = "items of a batch"
    described = inner.batch if isinstance(inner.batch, int) else computed_batch(inner.batch, items)
    if described is None and "batch" not in sheet.facts:
        # As the construct computes it where it knows how long an item takes.
        described = batch_size(
            items,
            concurrency=min(concurrency, function.reserved or concurrency),
            timeout=function.timeout,
            item_seconds=max(times.quantile(0.99), 1e-6),
            express=inner.express,
        )
        return int(sheet.take("", None, described, words=words))
    batch: int = sheet.take("batch", described, 1, words=words)
    return max(1, batch)


def _run_again(sheet: _Sheet, path: PathFacts) -> float:
    if not path.rounds:
        return 0.0
    share: float = sheet.take("run_again", None, 0.0, words="share of items that a round runs again", shown="{:g}")
    return share


def _steps(path: PathFacts, described: Described) -> tuple[Step, ...]:
    steps = []
    for each in path.called:
        function = described.functions.get(each.name, FunctionFacts())
        memory = _USUAL_MEMORY_MB if function.memory_mb is None else function.memory_mb
        steps.append(Step(role=each.role, memory_mb=memory, architecture=function.architecture))
    return tuple(steps)


def _requests(sheet: _Sheet, inner: MapFacts, described: Described) -> dict[str, Any]:
    gets = 1.0 if inner.source == "listing" and inner.function is not None else 0.0
    return {
        "item_gets": sheet.take("item_gets", None, gets, words="GET requests of an item", shown="{:g}"),
        "item_puts": sheet.take("item_puts", None, 0.0, words="PUT requests of an item", shown="{:g}"),
        "kms": described.kms,
    }


def _logged(inner: MapFacts) -> float:
    return (_EVENTS_OF_A_CHILD + _EVENTS_OF_A_TASK * inner.states) * _LOGGED_EVENT_BYTES


def _nesting(path: PathFacts, outer: int) -> dict[str, Any]:
    if path.map.nested is None:
        return {}
    at_once = limits.MAX_CONCURRENT_CHILDREN if path.map.concurrency is None else path.map.concurrency
    return {
        "map_runs": max(1, outer),
        "map_runs_at_once": max(1, min(outer, at_once, limits.MAX_OPEN_MAP_RUNS)),
        "outer_states": math.ceil(outer * (1 + path.map.states)),
    }
