"""A last look at the rendered state machines: what must never be missing is there, whatever else changed them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import Stack, Stage
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct, IValidation

from cdk_distributed_map.graphs import is_distributed, parse, processor, walk
from cdk_distributed_map.settings import synthesis_warnings
from distmap import limits

_JSON_PATH_FIELDS = frozenset({"InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector", "ItemsPath"})
"""Fields that Step Functions refuses in a JSONata state."""


def problems(definition: dict[str, Any], labels: Sequence[str]) -> list[str]:
    """Return what is wrong with the maps of these labels in a definition, in words."""
    problems_found = []
    maps = [(name, state) for name, state in walk(definition) if state.get("Type") == "Map" and "Label" in state]
    for name, state in maps:
        if state["Label"] not in labels:
            continue
        writer = state.get("ResultWriter", {})
        arguments = writer.get("Arguments", writer.get("Parameters", {}))
        if not writer.get("Resource") or not arguments.get("Bucket") or not arguments.get("Prefix"):
            problems_found.append(
                f"map {name!r} has lost its ResultWriter, so its results would vanish: take out the override that "
                "removes it"
            )
        if "Retry" in state:
            problems_found.append(f"map {name!r} has a Retry, which would run all items again: retry inside the worker")
        problems_found += _language_problems(state, top=definition.get("QueryLanguage", "JSONPath"))
    problems_found += _inline_problems(definition, labels)
    every = [state["Label"] for _, state in maps]
    repeated = sorted({label for label in every if every.count(label) > 1})
    return problems_found + [
        f"label {label!r} is on more than one map of a state machine: give one of the maps another label"
        for label in repeated
    ]


def _inline_problems(definition: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return which of the maps are in an inline map, whose iterations have the name of one execution in common."""
    # Of inline maps inside each other, the innermost is named: it comes last.
    within = {
        inner: name
        for name, state in walk(definition)
        if not is_distributed(state)
        for inner, inner_state in walk(processor(state), children=False)
        if inner_state.get("Label") in labels
    }
    return [
        f"map {inner!r} is inside the inline map {name!r}, whose iterations are one execution and would overwrite each "
        "other's items and mix their results: give that map the mode DISTRIBUTED, so that each iteration is an "
        "execution of its own"
        for inner, name in within.items()
    ]


def _language_problems(state: dict[str, Any], *, top: str) -> list[str]:
    """Return what is wrong with the query languages of a map's children."""
    problems_found = []
    for name, child in walk(processor(state)):
        language = child.get("QueryLanguage", top)
        if language == "JSONPath" and top == "JSONata":
            problems_found.append(
                f"state {name!r} is in JSONPath inside a state machine in JSONata, which Step Functions refuses: give "
                "the worker's states query_language=QueryLanguage.JSONATA"
            )
        wrong = sorted(_JSON_PATH_FIELDS & child.keys()) if language == "JSONata" else []
        if wrong:
            problems_found.append(
                f"state {name!r} is in JSONata but has {', '.join(wrong)}, which only JSONPath knows: write it in "
                "JSONata, with query_language=QueryLanguage.JSONATA on the state"
            )
    return problems_found


@jsii.implements(IValidation)
class DefinitionCheck:
    """Checks the pipeline's state machine, and every other one of the stage that holds its fragment.

    It sees what the constructs render, the definition put into a ``CfnStateMachine`` by hand included, but not what
    ``add_property_override`` changes after them.

    Args:
        scope: The pipeline, which warnings are about.
        state_machine: Its own state machine.
        role: Role of that.
        labels: Labels of its maps.
        has_express_children: Whether any of its maps has Express children.
        has_fragment: Tells whether its states are in other state machines too.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        state_machine: sfn.StateMachine,
        role: iam.IRole,
        labels: Sequence[str],
        has_express_children: bool,
        has_fragment: Callable[[], bool],
    ) -> None:
        self._scope = scope
        self._state_machine = state_machine
        self._role = role
        self._labels = labels
        self._has_express_children = has_express_children
        self._has_fragment = has_fragment

    def validate(self) -> list[str]:
        """Return what is wrong, for the synthesis to fail with."""
        # Compared by path: jsii doesn't always give the same object for the same construct.
        own = f"{self._state_machine.node.path}/"
        problems_found: list[str] = []
        for machine in self._machines():
            is_own = machine.node.path.startswith(own)
            text = Stack.of(machine).resolve(machine.definition_string)
            try:
                definition = parse(text)
            except ValueError as error:
                if is_own:
                    problems_found.append(
                        f"the definition of the state machine can't be read, so it can't be checked: {error}"
                    )
                continue
            labels = {state.get("Label") for _, state in walk(definition)}
            if not is_own and labels.isdisjoint(self._labels):
                continue
            problems_found += [*problems(definition, self._labels), *_parent_problems(machine)]
            self._look_at_trust(machine, is_own=is_own)
            if is_own:
                self._look_at_name(machine)
            size = len(json.dumps(text).encode())
            if size > limits.MAX_DEFINITION_BYTES:
                problems_found.append(
                    f"the definition has {size:,} bytes, the limit is {limits.MAX_DEFINITION_BYTES:,}"
                )
        return problems_found

    def _look_at_trust(self, machine: sfn.CfnStateMachine, *, is_own: bool) -> None:
        role = self._role if is_own else getattr(machine.node.scope, "role", None)
        if self._has_express_children and role is not None:
            synthesis_warnings.express_role_trust(self._scope, role, machine=machine.node.path)

    def _look_at_name(self, machine: sfn.CfnStateMachine) -> None:
        """Warn where the template that this synthesis overwrites has the state machine under another name."""
        stack, stage = Stack.of(machine), Stage.of(machine)
        file = None if stage is None else Path(stage.outdir, stack.template_file)
        if file is None or not file.is_file():
            return
        before = json.loads(file.read_text()).get("Resources", {}).get(stack.get_logical_id(machine))
        name = stack.resolve(machine.state_machine_name)
        if before is not None and before["Properties"].get("StateMachineName") != name:
            synthesis_warnings.state_machine_replaced(self._scope, before["Properties"].get("StateMachineName"), name)

    def _machines(self) -> Iterable[sfn.CfnStateMachine]:
        places: list[Construct] = [self._state_machine]
        stage = Stage.of(self._scope)
        if self._has_fragment() and stage is not None:
            places = [stage]
        for place in places:
            for child in place.node.find_all():
                if isinstance(child, sfn.CfnStateMachine) and child.definition_string is not None:
                    yield child


def _parent_problems(machine: sfn.CfnStateMachine) -> list[str]:
    if machine.state_machine_type != "EXPRESS":
        return []
    remedy = "make it STANDARD (the map's children can still be Express)"
    return [f"the state machine {machine.node.path!r} is EXPRESS, which can't run a Distributed Map: {remedy}"]
