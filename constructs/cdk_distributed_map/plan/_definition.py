"""What a definition says of a map that a plan needs: the way to it, how it reads, batches and starts its children."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdk_distributed_map.graphs import is_distributed, processor, walk
from cdk_distributed_map.plan._work import Source
from distmap import limits

_ACCOUNT_KEYS: Final = {"run", "redriveCount", "account", "continuation"}
_BY_ROUND: Final = re.compile(r"\$max\(\[1, \$floor\((?P<size>.*) / \$power\(10, \$distmapRound\)\)\]\)\Z")
_OF_COUNT: Final = re.compile(r"\(+\$n := .*?; (?:\$type\(\$n\) = \"number\" \? )?(?P<size>\$max\(\[1, .*)\Z")


@dataclass(frozen=True, kw_only=True)
class Called:
    """A function that a run calls beside those of its children."""

    role: str
    """``capture``, ``account`` or ``combine``."""
    name: str
    """As the definition names it."""


@dataclass(frozen=True, kw_only=True)
class MapFacts:
    """A Distributed Map, as its definition has it."""

    label: str
    source: Source
    most_items: int | None
    """Items that its reader reads at most; None for all."""
    express: bool
    concurrency: int | None
    """None where it is computed when a run starts."""
    batch: int | str
    """Items of a batch at most; JSONata where that is computed when a run starts."""
    batch_bytes: int
    states: int
    """States that a child goes through."""
    function: str | None
    """The function that a child calls, as the definition names it; None for none."""
    results_bucket: str
    nested: MapFacts | None
    """The map inside its children."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Where a run's items are, as its definition has it: values may be expressions over the run's input.

    .. versionadded:: 0.1.0
    """

    reader: Mapping[str, Any]
    """The map's ItemReader; empty where it takes its items from the state's input."""
    items: Any = None
    """What it takes from there."""
    capture: Mapping[str, Any] | None = None
    """Settings of the capture function that writes the items first; empty for a function of the user's own."""


@dataclass(frozen=True, kw_only=True)
class PathFacts:
    """A map with the states around it."""

    map: MapFacts
    reads: Reads
    states: int
    """States of the run itself, those of its children aside."""
    called: tuple[Called, ...]
    rounds: int
    """Rounds that its account runs at most; 0 where it has no account."""


def read_path(definition: Mapping[str, Any]) -> PathFacts:
    """Return the map that a run over its own source goes through.

    .. versionadded:: 0.1.0

    Raises:
        ValueError: The definition has no Distributed Map.
    """
    path = list(_path(definition))
    distributed = next((state for state in path if is_distributed(state)), None)
    if distributed is None:
        distributed = next((state for _, state in walk(definition) if is_distributed(state)), None)
    if distributed is None:
        raise ValueError("the state machine has no Distributed Map: there is nothing to plan")
    called, rounds, before = [], 0, True
    capture: Mapping[str, Any] | None = None
    for state in path:
        before = before and state is not distributed
        payload, name = _payload(state), function_name(state)
        if name is None:
            continue
        accounts = isinstance(payload, Mapping) and payload.keys() >= _ACCOUNT_KEYS
        if accounts and isinstance(payload["account"], Mapping):
            rounds = _whole(payload["account"].get("rounds")) or 0
        role = "account" if accounts else "capture" if before else "combine"
        if role == "capture":
            settings = payload.get("capture") if isinstance(payload, Mapping) else None
            capture = settings if isinstance(settings, Mapping) else {}
        called.append(Called(role=role, name=name))
    return PathFacts(
        map=_map(distributed, captured=capture is not None),
        reads=Reads(reader=distributed.get("ItemReader") or {}, items=_state_items(distributed), capture=capture),
        states=len(path),
        called=tuple(called),
        rounds=rounds,
    )


def _state_items(state: Mapping[str, Any]) -> Any:
    """Return what a map takes its items from: JSONata, or a path as JSONPath has it."""
    return state["Items"] if "Items" in state else state.get("ItemsPath", "$")


def function_name(state: Mapping[str, Any]) -> str | None:
    """Return the function that a state calls, as the definition names it; None for none."""
    resource = str(state.get("Resource", ""))
    if ":lambda:" in resource and ":function:" in resource:
        return resource
    arguments = state.get("Arguments", state.get("Parameters"))
    name = arguments.get("FunctionName") if isinstance(arguments, Mapping) else None
    return name if isinstance(name, str) and ":lambda:invoke" in resource else None


def functions(definition: Mapping[str, Any]) -> list[str]:
    """Return the functions that a definition names, each once.

    .. versionadded:: 0.1.0
    """
    return list(dict.fromkeys(name for _, state in walk(definition) if (name := function_name(state)) is not None))


def _payload(state: Mapping[str, Any]) -> Any:
    arguments = state.get("Arguments", state.get("Parameters"))
    return arguments.get("Payload") if isinstance(arguments, Mapping) else None


def _path(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the states that an ordinary run goes through, each once: of a choice, what comes by default."""
    states, seen = graph.get("States", {}), set()
    name = graph.get("StartAt")
    while name in states and name not in seen:
        seen.add(name)
        state = states[name]
        yield state
        choices = state.get("Choices") or [{}]
        name = state.get("Next", state.get("Default", choices[0].get("Next")))


def _map(state: Mapping[str, Any], *, captured: bool) -> MapFacts:
    graph = processor(state)
    inside = [state for _, state in walk(graph, children=False)]
    nested = next((state for state in inside if is_distributed(state)), None)
    batcher = state.get("ItemBatcher") or {}
    writer = state.get("ResultWriter") or {}
    reader = (state.get("ItemReader") or {}).get("ReaderConfig") or {}
    most_bytes = _whole(batcher.get("MaxInputBytesPerBatch"))
    function = None if nested is not None else next(filter(None, map(function_name, inside)), None)
    return MapFacts(
        label=str(state.get("Label", "")),
        source=_source(state, captured=captured),
        most_items=_whole(reader.get("MaxItems")),
        express=graph.get("ProcessorConfig", {}).get("ExecutionType") == "EXPRESS",
        concurrency=_concurrency(state),
        batch=batcher.get("MaxItemsPerBatch", limits.MAX_ITEMS) if "ItemBatcher" in state else 1,
        batch_bytes=limits.MAX_BATCH_BYTES if most_bytes is None else most_bytes,
        states=len(inside),
        function=function,
        results_bucket=str((writer.get("Arguments", writer.get("Parameters")) or {}).get("Bucket", "")),
        nested=None if nested is None else _map(nested, captured=False),
    )


def _source(state: Mapping[str, Any], *, captured: bool) -> Source:
    reader = state.get("ItemReader")
    if not isinstance(reader, Mapping):
        return "state"
    if str(reader.get("Resource", "")).endswith(":listObjectsV2"):
        return "listing"
    return "captured" if captured else "file"


def _concurrency(state: Mapping[str, Any]) -> int | None:
    if "MaxConcurrencyPath" in state:
        return None
    value = state.get("MaxConcurrency", 0)
    number = _whole(value)
    return None if number is None else number or limits.MAX_CONCURRENT_CHILDREN


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# -- the size of a batch, where the definition computes it


def computed_batch(text: str, items: int) -> int | None:
    """Return how many items a batch of so many has at most by a definition's JSONata; None where that isn't known.

    What the construct renders is arithmetic over the number of items and the round, which is 0 here.
    """
    size = text.strip().removeprefix("{%").removesuffix("%}").strip()
    if (by_round := _BY_ROUND.match(size)) is not None:
        size = by_round["size"]
    if (of_count := _OF_COUNT.match(size)) is not None:
        size = _whole_call(of_count["size"])
    try:
        value: float = _value(ast.parse(re.sub(r"\$(?=\w)", "", size), mode="eval").body, {"n": float(items)})
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return max(1, min(limits.MAX_ITEMS, math.floor(value)))


def _whole_call(text: str) -> str:
    """Return the call that a text begins with."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and not depth:
            return text[: place + 1]
    return text


_OPERATIONS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_CALLS: Final[dict[str, Callable[..., float]]] = {"min": min, "max": max, "floor": math.floor, "ceil": math.ceil}


def _value(node: ast.expr, names: Mapping[str, float]) -> Any:
    """Return the value of arithmetic that Python and JSONata write alike.

    Raises:
        ValueError: It is something else.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List(elts=each):
            return [_value(one, names) for one in each]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _CALLS:
            return _CALLS[name](_value(argument, names))
        case _:
            raise ValueError("no arithmetic")
