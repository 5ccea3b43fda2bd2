"""The names that people know pipelines by, told apart from what is deployed.

The client and the local AWS find the same state machine by the same name because both ask here. It calls nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.graphs import walk
from distmap.limits import MAX_LABEL_LENGTH, MAX_NAME_LENGTH

_MACHINE: Final = "StateMachine"
_PIPELINE_ID: Final = re.compile(rf"{_MACHINE}[0-9A-F]{{8}}\Z")
_HUMAN: Final = re.compile(rf"(?:.*-)?(?P<construct>[^-]+){_MACHINE}[0-9A-F]{{8}}(?:-[A-Za-z0-9]+)?")
_HUMAN_LENGTH: Final = 240
LABEL_FORBIDDEN: Final = re.compile(r"""[\s?*<>{}\[\]:;,\\|^~$#%&`"/\x00-\x1f\x7f-\x9f]""")
"""Characters that AWS refuses in the label of a map."""
_LABEL_SUFFIX = "-ItemFile"
_STATE_SUFFIX = " (item file)"


def label_from(construct: str) -> str:
    """Return a label made from a construct's id: what AWS refuses taken out, at most 40 characters."""
    cleaned = LABEL_FORBIDDEN.sub("", construct).encode("ascii", "ignore").decode()
    return cleaned[:MAX_LABEL_LENGTH] or "Map"


def item_file_label(label: str) -> str:
    """Return the label of the map over an item file."""
    return _ended(label, _LABEL_SUFFIX, most=MAX_LABEL_LENGTH, digits=6)


def item_file_state(name: str) -> str:
    """Return the name of a state in the map over an item file."""
    return _ended(name, _STATE_SUFFIX, most=MAX_NAME_LENGTH, digits=8)


def _ended(name: str, suffix: str, *, most: int, digits: int) -> str:
    """Return a name with a suffix, shortened where it must be: names that begin alike never become the same one."""
    if len(name) + len(suffix) <= most:
        return f"{name}{suffix}"
    digest = hashlib.sha256(name.encode()).hexdigest()[:digits]
    return f"{name[: most - len(suffix) - digits - 1]}-{digest}{suffix}"


def logical_id(path: str) -> str:
    """Return the logical id that the CDK gives to the state machine of the pipeline at a path in its stack.

    The CDK makes it of the path and of a checksum of it, so it can be told without the template:
    https://docs.aws.amazon.com/cdk/v2/guide/identifiers.html#identifiers-logical-ids.

    Args:
        path: Ids of the constructs from below the stack to the pipeline, with slashes between them.
    """
    parts = [part for part in [*path.split("/"), _MACHINE, "Resource"] if part != "Default"]
    checksum = hashlib.md5("/".join(parts).encode(), usedforsecurity=False).hexdigest()[:8].upper()
    human: list[str] = []
    for part in parts:
        if part != "Resource" and not (human and human[-1].endswith(part)):
            human.append(part)
    return re.sub("[^A-Za-z0-9]", "", "".join(human))[:_HUMAN_LENGTH] + checksum


def of_construct(construct: str, machines: Mapping[str, str]) -> list[str]:
    """Return the ARNs of state machines whose names were made for a construct.

    CloudFormation makes the name of a state machine from its logical id; local engines put the stack before it.

    Args:
        construct: The construct's id.
        machines: ARNs by name.
    """
    pattern = re.compile(rf"(?:.*-)?{logical_id(construct)}(?:-[A-Za-z0-9]+)?\Z")
    return [arn for name, arn in machines.items() if pattern.match(name)]


def of_stack(resources: Mapping[str, str]) -> list[str]:
    """Return the state machines of the pipelines of a stack; all of its state machines where none is a pipeline's.

    Args:
        resources: Its state machines by logical id.
    """
    pipelines = [arn for logical, arn in resources.items() if _PIPELINE_ID.search(logical)]
    return pipelines if len(pipelines) == 1 else list(resources.values())


def is_of(construct: str, definition: str) -> bool:
    """Tell whether a definition has the pipeline of a construct in it, whatever its state machine is called.

    That tells a pipeline whose state machine has a name of its own, as a key of the user's or ``state_machine_name``
    gives it one. The map's label is made from the construct's id.

    Args:
        construct: The construct's id, or the label it was given.
        definition: Definition of a state machine.
    """
    return not labels_in(definition).isdisjoint({construct, label_from(construct)})


def labels_in(definition: str) -> set[str]:
    """Return the labels of the outermost maps of the pipelines in a definition, those over item files too."""
    try:
        graph = json.loads(definition)
    except ValueError:
        return set()
    if not isinstance(graph, dict):
        return set()
    return {str(state.get("Label", "")) for _, state in walk(graph, children=False) if _is_ours(state)}


def pipeline_labels(definition: str) -> list[str]:
    """Return the labels of the pipelines in a definition: those of their sources."""
    labels = labels_in(definition)
    of_files = {item_file_label(label) for label in labels}
    return sorted(labels - of_files)


def human(machine: str) -> str | None:
    """Return what the name of a state machine, or its logical id, says of its construct; None where it says nothing."""
    found = _HUMAN.fullmatch(machine)
    return None if found is None else found["construct"]


def _is_ours(state: Mapping[str, Any]) -> bool:
    output = state.get("Output")
    run = output.get("run") if isinstance(output, dict) else None
    return state.get("Type") == "Map" and isinstance(run, dict) and run.get("path") == ""
