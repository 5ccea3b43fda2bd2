"""Compiles a definition into states, and runs a graph of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from cdk_distributed_map.graphs import walk
from cdk_distributed_map.local.asl.express import refuse_in_express
from cdk_distributed_map.local.asl.flow import JSON_PATH, JSONATA
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.asl.rules import TOP, check, check_state
from cdk_distributed_map.local.asl.scopes import check_scopes
from cdk_distributed_map.local.distributed.state import DistributedMapState
from cdk_distributed_map.local.errors import UnsupportedError
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.choice import ChoiceState
from cdk_distributed_map.local.states.fail import FailState
from cdk_distributed_map.local.states.inline_map import InlineMapState
from cdk_distributed_map.local.states.parallel import ParallelState
from cdk_distributed_map.local.states.pass_state import PassState
from cdk_distributed_map.local.states.state import State
from cdk_distributed_map.local.states.succeed import SucceedState
from cdk_distributed_map.local.states.task import TaskState
from cdk_distributed_map.local.states.wait import WaitState
from cdk_distributed_map.local.tasks.resources import integration

_BRANCH_FIELDS: Final = frozenset({"StartAt", "States", "Comment", "QueryLanguage"})
_PROCESSOR_FIELDS: Final = _BRANCH_FIELDS | {"ProcessorConfig"}
_CONFIG_FIELDS: Final = {"INLINE": {"Mode"}, "DISTRIBUTED": {"Mode", "ExecutionType"}}
_TOP_FIELDS: Final = frozenset({"StartAt", "States", "Comment", "Version", "TimeoutSeconds", "QueryLanguage"})
_SIMPLE: Final[dict[str, type[State]]] = {
    each.type: each for each in (PassState, SucceedState, FailState, WaitState, ChoiceState)
}


class Program:
    """A compiled graph of states.

    Args:
        start: Name of the first.
        states: All of them.
        timeout: Most seconds an execution may take, if limited.
        logged: The definition's comment.
    """

    def __init__(self, start: str, states: Mapping[str, State], *, timeout: int | None = None) -> None:
        self.start = start
        self.states = states
        self.timeout = timeout

    async def run(self, input: Json, frame: ExecutionFrame) -> Json:
        """Run from the first state, or from where a redrive goes on, and return the output."""
        progress, path = frame.execution.progress, frame.path
        name: str | None = self.start
        value = input
        checkpoint = progress.checkpoints.get(path)
        if checkpoint is not None:
            name, value = checkpoint.state, checkpoint.input
            frame.variables = dict(checkpoint.variables)
            frame.resumed = checkpoint
        elif path in progress.outputs:
            return progress.outputs[path]
        while name is not None:
            outcome = await self.states[name].run(value, frame)
            value, name = outcome.output, outcome.next
        progress.ended(path, value)
        return value


@lru_cache(maxsize=256)
def compile_definition(text: str, *, express: bool = False) -> Program:
    """Compile a state machine's definition.

    Args:
        text: The definition.
        express: Whether its executions are Express.

    Raises:
        UnsupportedError: It has what the engine doesn't run; the message names it and the remedy.
    """
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise UnsupportedError(f"the definition is not JSON: {error}") from error
    if not isinstance(definition, dict):
        raise UnsupportedError(f"the definition is {definition!r}: give an object with StartAt and States")
    unknown = sorted(set(definition) - _TOP_FIELDS)
    if unknown:
        raise UnsupportedError(f"the definition has the field {unknown[0]!r}: use {', '.join(sorted(_TOP_FIELDS))}")
    check("the definition", definition, TOP)
    program = _graph(definition, definition.get("QueryLanguage", JSON_PATH), timeout=definition.get("TimeoutSeconds"))
    names = [name for name, _ in walk(definition)]
    again = sorted({name for name in names if names.count(name) > 1})
    if again:
        raise UnsupportedError(
            f"the state {again[0]!r} is there twice: give each state of a state machine a name of its own, inside maps "
            "and branches too"
        )
    labels = [state["Label"] for _, state in walk(definition) if "Label" in state]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise UnsupportedError(f"the Label {twice[0]!r} is on two maps: give each Distributed Map its own")
    check_scopes(definition, _targets)
    if express:
        refuse_in_express(definition)
    return program


def _graph(fields: Mapping[str, Any], language: str, *, timeout: int | None = None) -> Program:
    states = fields.get("States")
    if not isinstance(states, dict) or fields.get("StartAt") not in states:
        raise UnsupportedError(f"StartAt names {fields.get('StartAt')!r}, which is not among the States")
    language = fields.get("QueryLanguage", language)
    program = Program(
        fields["StartAt"], {name: compile_state(name, each, language) for name, each in states.items()}, timeout=timeout
    )
    _check_transitions(fields["StartAt"], states)
    return program


def _inner(where: str, known: frozenset[str], language: str) -> Any:
    def compile_inner(fields: Any) -> Program:
        if not isinstance(fields, dict):
            raise UnsupportedError(f"{where} is {fields!r}: give an object with StartAt and States")
        unknown = sorted(set(fields) - known)
        if unknown:
            raise UnsupportedError(
                f"{where} has the field {unknown[0]!r}, which the local engine doesn't run: remove it; it takes "
                f"{', '.join(sorted(known))}"
            )
        return _graph(fields, language)

    return compile_inner


def compile_state(name: str, fields: Any, outer: str) -> State:
    """Compile one state.

    Args:
        name: Its name.
        fields: Its fields.
        outer: Query language of what it is in.

    Raises:
        UnsupportedError: It has what the engine doesn't run; the message names it and the remedy.
    """
    check_state(name, fields)
    kind = fields.get("Type")
    language = fields.get("QueryLanguage", outer)
    if language not in {JSON_PATH, JSONATA}:
        raise UnsupportedError(f"state {name!r} has QueryLanguage {language!r}: give {JSON_PATH} or {JSONATA}")
    if outer == JSONATA and language == JSON_PATH:
        raise UnsupportedError(
            f"state {name!r} has QueryLanguage {JSON_PATH!r} in a state machine of {JSONATA}, which AWS refuses: give "
            f"{JSON_PATH} to the state machine and {JSONATA} to single states"
        )
    if kind in _SIMPLE:
        return _SIMPLE[kind](name, fields, language)
    if kind == "Task":
        return TaskState(name, fields, language, integration)
    if kind == "Parallel":
        return ParallelState(name, fields, language, _inner(f"a branch of state {name!r}", _BRANCH_FIELDS, outer))
    if kind == "Map":
        return _map(name, fields, language, outer)
    raise UnsupportedError(
        f"state {name!r} has Type {kind!r}: use one of {sorted([*_SIMPLE, 'Map', 'Parallel', 'Task'])}"
    )


def _map(name: str, fields: Mapping[str, Any], language: str, outer: str) -> State:
    processor = fields.get("ItemProcessor", fields.get("Iterator"))
    if not isinstance(processor, dict) or ("ItemProcessor" in fields and "Iterator" in fields):
        raise UnsupportedError(f"state {name!r} must have ItemProcessor: give the states that run for each item")
    config = processor.get("ProcessorConfig", {})
    if not isinstance(config, dict):
        raise UnsupportedError(f"state {name!r} has ProcessorConfig {config!r}: give an object with Mode")
    mode = config.get("Mode", "INLINE")
    if mode not in {"INLINE", "DISTRIBUTED"}:
        raise UnsupportedError(f"state {name!r} has the processor mode {mode!r}: give INLINE or DISTRIBUTED")
    unknown = sorted(set(config) - _CONFIG_FIELDS[mode])
    if unknown:
        raise UnsupportedError(
            f"state {name!r} has {unknown[0]!r} in ProcessorConfig, which does nothing with Mode {mode}: remove it"
        )
    if {"ItemSelector", "Parameters"} <= set(fields):
        raise UnsupportedError(f"state {name!r} has Parameters beside ItemSelector: keep ItemSelector")
    compile_inner = _inner(f"the ItemProcessor of state {name!r}", _PROCESSOR_FIELDS, outer)
    if mode == "DISTRIBUTED":
        return DistributedMapState(name, fields, language, compile_inner)
    return InlineMapState(name, fields, language, compile_inner)


def _check_transitions(start: str, states: Mapping[str, Any]) -> None:
    targets = {name: _targets(fields) for name, fields in states.items()}
    for name, found in targets.items():
        for target in found:
            if target not in states:
                raise UnsupportedError(f"state {name!r} goes to {target!r}, which is not a state of the same level")
    reached, ahead = {start}, [start]
    while ahead:
        new = set(targets[ahead.pop()]) - reached
        reached |= new
        ahead += new
    lost = sorted(set(states) - reached)
    if lost:
        raise UnsupportedError(
            f"no state goes to state {lost[0]!r}, which AWS refuses: remove it, or name it in a Next"
        )


def _targets(fields: Mapping[str, Any]) -> list[str]:
    entries = [fields, *fields.get("Choices", []), *(fields.get("Catch") or [])]
    return [entry[key] for entry in entries for key in ("Next", "Default") if key in entry]
