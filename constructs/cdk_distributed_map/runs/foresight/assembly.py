"""Pipelines that ``cdk synth`` wrote, found by the names that deployed ones have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cdk_distributed_map import names
from cdk_distributed_map.graphs import parse
from cdk_distributed_map.plan import Described, described
from cdk_distributed_map.runs.errors import AmbiguousNameError, InputError

_MACHINE: Final = "AWS::StepFunctions::StateMachine"
_ENVIRONMENT: Final = re.compile(r"aws://[^/]+/(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\Z")


@dataclass(frozen=True)
class _Stack:
    name: str
    region: str | None
    template: Mapping[str, Any]

    def resources(self, kind: str) -> dict[str, Mapping[str, Any]]:
        every = self.template.get("Resources", {})
        return {logical: each.get("Properties", {}) for logical, each in every.items() if each.get("Type") == kind}


def find(folder: Path, name: str) -> Described | None:
    """Return a pipeline of an assembly; None where it has none of this name.

    Args:
        folder: What ``cdk synth`` wrote.
        name: ``Construct``, ``Stack/Construct``, or a stack with a single pipeline.

    Raises:
        NotFoundError: Several have this name.
        InputError: The folder holds no assembly, or one that can't be read.
    """
    stacks = list(_stacks(folder))
    stack_name, slash, path = name.partition("/")
    machines = [
        (stack, logical)
        for stack in stacks
        for logical in stack.resources(_MACHINE)
        if logical == names.logical_id(path if slash else name) and (not slash or stack.name == stack_name)
    ]
    if not machines and not slash:
        of_stack = [(each, each.resources(_MACHINE)) for each in stacks if each.name == name]
        machines = [
            (stack, logical)
            for stack, known in of_stack
            for logical in names.of_stack({logical: logical for logical in known})
        ]
        machines = machines or [pair for pair in _machines(stacks) if _is_called(*pair, name)]
    if len(machines) > 1:
        known = ", ".join(f"{stack.name}: {logical}" for stack, logical in machines)
        raise AmbiguousNameError(
            f"{folder} has several pipelines {name!r} ({known}): say which, as in 'Stack/Construct'"
        )
    if not machines:
        return None
    stack, logical = machines[0]
    return described(stack.template, logical, name=name, region=stack.region)


def known_names(folder: Path) -> list[str]:
    """Return the state machines of an assembly, as ``Stack: logical id``."""
    return [f"{stack.name}: {logical}" for stack, logical in _machines(list(_stacks(folder)))]


def _machines(stacks: list[_Stack]) -> Iterator[tuple[_Stack, str]]:
    yield from ((stack, logical) for stack in stacks for logical in stack.resources(_MACHINE))


def _is_called(stack: _Stack, logical: str, name: str) -> bool:
    properties = stack.resources(_MACHINE)[logical]
    if properties.get("StateMachineName") == name:
        return True
    try:
        return names.is_of(name, json.dumps(parse(properties.get("DefinitionString"), name_numbers=True)))
    except ValueError:
        return False  # not ours: its definition is somewhere else


def _stacks(folder: Path) -> Iterator[_Stack]:
    manifest = _json(folder / "manifest.json")
    for artifact in manifest.get("artifacts", {}).values():
        properties = artifact.get("properties", {})
        if artifact.get("type") == "aws:cloudformation:stack":
            file = folder / properties["templateFile"]
            region = _ENVIRONMENT.match(str(artifact.get("environment", "")))
            name = properties.get("stackName", file.name.partition(".")[0])
            yield _Stack(name, None if region is None else region["region"], _json(file))
        elif artifact.get("type") == "cdk:cloud-assembly":
            yield from _stacks(folder / properties["directoryName"])


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}; write the assembly with `cdk synth`") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}; write the assembly anew with `cdk synth`") from error
