"""What a deployed definition says of a pipeline: where its files are, and how its maps read and write.

The definition is the one place that is always there and always true: no tag, parameter or output of the stack has
to be kept in step with it, and it works for a pipeline's fragment inside somebody's own state machine too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdk_distributed_map.graphs import is_distributed, processor, walk
from cdk_distributed_map.runs.errors import NotFoundError
from distmap.wire import NESTED_FOLDER, RUNS_FOLDER

_PREFIX: Final = re.compile(r'\("(?P<runs>(?:[^"\\]|\\.)*)" & \$states\.context\.Execution\.Name\)')
_ITEM_FILE_KEY: Final = "$states.input.items.key"
_NESTED_FOLDER: Final = re.compile(rf'"/{NESTED_FOLDER}/(?P<folder>[^"/]+)"')
_PLAIN_VALUE: Final = "$states.context.Map.Item.Value"


@dataclass(frozen=True, kw_only=True)
class NestedMap:
    """A Distributed Map inside the children of another."""

    folder: str
    """Its folder in those of runs; the label, but for a copy of the map, which shares the folder."""
    results_bucket: str
    batched: bool
    nested: tuple[NestedMap, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MapDefinition:
    """One Distributed Map of a pipeline."""

    label: str
    bucket: str
    """The payload bucket."""
    payload_prefix: str
    """Where in it the pipeline's files begin; empty or ending in a slash."""
    results_bucket: str
    transformation: str
    """``NONE``, ``COMPACT`` or ``FLATTEN``."""
    output_type: str
    """``JSON`` or ``JSONL``."""
    express: bool
    batched: bool
    enveloped: bool
    """Whether children get items with their identity."""
    selects: bool
    """Whether an item selector makes the value that a child gets from the item."""
    input_type: str
    """Format of an item file: ``JSONL`` where nothing else is said."""
    reads_item_file: bool
    """Whether it is the map that reads an item file named by the input."""
    nested: tuple[str, ...] = ()
    """Labels of the maps inside its children, outermost first."""
    nested_maps: tuple[NestedMap, ...] = ()
    """Those of them that are the pipeline's own: a map in a user's own states has no files of ours."""
    foreign_maps: tuple[str, ...] = ()
    """Names of the Distributed Maps inside its children that are not."""
    max_items_per_batch: int | str | None = None
    """How many items a batch has at most: a number, or where the input has it; None where that isn't set."""
    functions: tuple[str, ...] = ()
    """Names or ARNs of the functions that its children call themselves."""

    @property
    def runs_prefix(self) -> str:
        """Where the folders of runs are, ending in a slash."""
        return f"{self.payload_prefix}{RUNS_FOLDER}/"


@dataclass(frozen=True, kw_only=True)
class PipelineDefinition:
    """The maps of a pipeline."""

    source: MapDefinition
    """The map over the source."""
    item_file: MapDefinition
    """The map over an item file; the same one where the source is such a file."""
    accounts: bool = False
    """Whether its runs account for themselves, and run again what did not succeed."""
    combine: str | None = None
    """Name or ARN of the function that combines the results of a run; None where there is none."""

    def by_label(self, label: str) -> MapDefinition | None:
        """Return the outermost map of this label."""
        return next((read_map for read_map in (self.source, self.item_file) if read_map.label == label), None)


@dataclass(frozen=True, kw_only=True)
class Nesting:
    """Which Distributed Maps of a state machine, whoever's they are, have others inside them."""

    outer: frozenset[str]
    """Labels of those that have."""
    plain: frozenset[str]
    """Labels of those that haven't."""
    unlabelled_outer: bool
    unlabelled_plain: bool

    def knows(self, label: str) -> bool:
        """Tell whether a map has this label."""
        return label in self.outer or label in self.plain

    def may_nest(self, label: str) -> bool:
        """Tell whether the children of a map may run maps: also where its label is not known.

        AWS makes the label of a map that has none, and a definition may have changed since a run began.
        """
        if self.knows(label):
            return label in self.outer
        return self.unlabelled_outer or not self.unlabelled_plain


def read_nesting(text: str) -> Nesting:
    """Return which Distributed Maps of a definition have others inside them."""
    labels: dict[bool, set[str]] = {True: set(), False: set()}
    unlabelled = {True: False, False: False}
    for _, state in walk(json.loads(text)):
        if is_distributed(state):
            outer = any(is_distributed(each) for _, each in walk(processor(state)))
            if "Label" in state:
                labels[outer].add(state["Label"])
            else:
                unlabelled[outer] = True
    return Nesting(
        outer=frozenset(labels[True]),
        plain=frozenset(labels[False]),
        unlabelled_outer=unlabelled[True],
        unlabelled_plain=unlabelled[False],
    )


def read_definition(text: str, *, machine: str) -> PipelineDefinition:
    """Return what the definition of a state machine says of the pipeline in it.

    Args:
        text: The definition, as DescribeStateMachine gives it.
        machine: Name of the state machine, for messages.

    Raises:
        NotFoundError: It has no pipeline, or several.
    """
    states = [state for _, state in walk(json.loads(text), children=False)]
    maps = [read_map for state in states if (read_map := _read_map(state)) is not None]
    sources = [read_map for read_map in maps if not read_map.reads_item_file]
    files = [read_map for read_map in maps if read_map.reads_item_file]
    if not files:
        raise NotFoundError(
            f"the state machine {machine!r} has no map of a DistributedMapPipeline in it: name the pipeline's own "
            "state machine, or its stack and construct as 'Stack/Construct'"
        )
    if len(files) > 1:
        labels = ", ".join(file.label for file in files)
        raise NotFoundError(
            f"the state machine {machine!r} has several pipelines in it ({labels}): name the one you mean by its own "
            "state machine"
        )
    return PipelineDefinition(
        source=sources[0] if sources else files[0],
        item_file=files[0],
        accounts=any(map(_is_account, states)),
        combine=next(filter(None, map(_combines, states)), None),
    )


def _is_account(state: Mapping[str, Any]) -> bool:
    """Tell whether a state calls the account function: by what it sends, a :class:`distmap.wire.AccountEvent`."""
    arguments = state.get("Arguments")
    payload = arguments.get("Payload") if isinstance(arguments, dict) else None
    return isinstance(payload, dict) and {"run", "redriveCount", "account", "continuation"} <= payload.keys()


def _combines(state: Mapping[str, Any]) -> str | None:
    """Return the function that a state calls to combine results, by what it sends; None where it does none of that."""
    arguments = state.get("Arguments")
    payload = arguments.get("Payload") if isinstance(arguments, dict) else None
    if not isinstance(payload, dict) or payload.keys() - {"ledger"} != {"run", "items", "results", "mapRunArn"}:
        return None
    name = arguments.get("FunctionName") if isinstance(arguments, dict) else None
    return name if isinstance(name, str) else None


def _read_map(state: Mapping[str, Any]) -> MapDefinition | None:
    """Return what a state says where it is an outermost map of a pipeline."""
    output = state.get("Output")
    run = output.get("run") if isinstance(output, dict) else None
    if state.get("Type") != "Map" or not isinstance(run, dict) or run.get("path") != "":
        return None
    prefix = _PREFIX.search(str(run.get("prefix", "")))
    writer = state.get("ResultWriter", {})
    arguments = writer.get("Arguments", {})
    if prefix is None or not isinstance(run.get("bucket"), str) or "Bucket" not in arguments:
        return None
    config = writer.get("WriterConfig", {})
    reader = state.get("ItemReader", {})
    selector = state.get("ItemSelector")
    enveloped = isinstance(selector, dict) and {"index", "value"} <= selector.keys()
    runs: str = json.loads(f'"{prefix["runs"]}"')
    return MapDefinition(
        label=str(state.get("Label", "")),
        bucket=run["bucket"],
        payload_prefix=runs.removesuffix(f"{RUNS_FOLDER}/"),
        results_bucket=arguments["Bucket"],
        transformation=config.get("Transformation", "NONE"),
        output_type=config.get("OutputType", "JSON"),
        express=processor(state)["ProcessorConfig"].get("ExecutionType") == "EXPRESS",
        batched="ItemBatcher" in state,
        max_items_per_batch=state.get("ItemBatcher", {}).get("MaxItemsPerBatch"),
        enveloped=enveloped,
        selects=_selects(selector, enveloped=enveloped),
        input_type=reader.get("ReaderConfig", {}).get("InputType", "JSONL"),
        reads_item_file=_ITEM_FILE_KEY in str(reader.get("Arguments", {}).get("Key", "")),
        nested=tuple(_labels(processor(state))),
        nested_maps=tuple(_nested_maps(processor(state))),
        foreign_maps=tuple(_foreign_maps(processor(state))),
        functions=tuple(dict.fromkeys(_functions(processor(state)))),
    )


def _selects(selector: object, *, enveloped: bool) -> bool:
    if not isinstance(selector, dict) or not enveloped:
        return selector is not None
    value = str(selector["value"]).removeprefix("{%").removesuffix("%}").strip()
    return value.rpartition(" : ")[2].strip() != _PLAIN_VALUE


def _labels(graph: Mapping[str, Any]) -> Iterator[str]:
    yield from (state["Label"] for _, state in walk(graph) if is_distributed(state) and "Label" in state)


def _nested_maps(graph: Mapping[str, Any]) -> Iterator[NestedMap]:
    for _, state in walk(graph, children=False):
        arguments = state.get("ResultWriter", {}).get("Arguments", {})
        folder_match = _NESTED_FOLDER.search(str(arguments.get("Prefix", "")))
        if state.get("Type") == "Map" and folder_match is not None and "Bucket" in arguments:
            yield NestedMap(
                folder=folder_match["folder"],
                results_bucket=arguments["Bucket"],
                batched="ItemBatcher" in state,
                nested=tuple(_nested_maps(processor(state))),
            )


def _is_own(state: Mapping[str, Any]) -> bool:
    return _NESTED_FOLDER.search(str(state.get("ResultWriter", {}).get("Arguments", {}).get("Prefix", ""))) is not None


def _foreign_maps(graph: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of Distributed Maps that aren't the pipeline's own, those inside them aside."""
    for name, state in walk(graph, children=False):
        if _is_own(state):
            yield from _foreign_maps(processor(state))
        elif is_distributed(state):
            yield state.get("Label", name)


def _functions(graph: Mapping[str, Any]) -> Iterator[str]:
    for _, state in walk(graph, children=False):
        arguments = state.get("Arguments", state.get("Parameters", {}))
        name = arguments.get("FunctionName") if isinstance(arguments, dict) else None
        if isinstance(name, str) and not name.startswith("{%"):
            yield name
