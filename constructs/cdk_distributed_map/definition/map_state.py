"""The Distributed Map state, with everything the L2 leaves out or renders wrongly."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.graphs import walk
from cdk_distributed_map.names import item_file_label, item_file_state


class ItemMap(sfn.DistributedMap):
    """A Distributed Map whose fields are given as they are rendered.

    The L2 drops a tolerance or concurrency of 0, renders batch input and reader arguments as literals, lacks
    readers, and drops the result writer depending on a feature flag. So it is used for what it does right (the
    graph, the children's permissions, the label checks) and the fields are added here.

    Args:
        scope: Parent.
        id: Construct id.
        state_name: Name of the state.
        label: Label of the map.
        child_type: Standard or Express children.
        fields: Rendered fields of the state.
        statements: What the state machine's role needs for them.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_name: str,
        label: str,
        child_type: sfn.StateMachineType,
        fields: Mapping[str, Any],
        statements: Sequence[iam.PolicyStatement],
    ) -> None:
        super().__init__(
            scope,
            id,
            state_name=state_name,
            label=label,
            map_execution_type=child_type,
            query_language=sfn.QueryLanguage.JSONATA,
        )
        self._fields = dict(fields)
        self.label_name = label
        self.statements = list(statements)
        self.first_state: sfn.State | None = None

    def process_with(self, chain: sfn.IChainable) -> None:
        """Set the states of a child."""
        self.first_state = chain.start_state
        self.item_processor(chain)

    def add_retry(self, **_options: Any) -> NoReturn:
        """Refuse: a retry of the map starts a new Map Run over all items, those that succeeded included.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "a Retry on a Distributed Map would run all items again, those that succeeded too: retry inside the "
            "worker, redrive the execution, or run the failed items again from an item file"
        )

    def to_state_json(self, top_level_query_language: sfn.QueryLanguage | None = None) -> dict[str, Any]:
        """Return the state; called more than once in a synthesis, so nothing is changed here."""
        state = super().to_state_json(top_level_query_language)
        processor = {**state["ItemProcessor"], **self._children(top_level_query_language)}
        return dict(_with_nulls({**state, "ItemProcessor": processor, **self._fields}))

    def _children(self, top_level: sfn.QueryLanguage | None) -> dict[str, Any]:
        """Return the states of a child, each with the query language it is written in.

        The L2 renders them as if they were in a JSONPath machine, whatever they are in. And it names no language on
        a JSONPath state, while it is nowhere said that such a state inside a JSONata map stays one.
        """
        processor = self._processor
        if processor is None:
            raise ValueError(f"map {self.node.path!r} has no states to run for its items")
        graph: dict[str, Any] = dict(processor.to_graph_json(top_level))
        if top_level != sfn.QueryLanguage.JSONATA:
            for _, state in walk(graph):
                state.setdefault("QueryLanguage", "JSONPath")
        return graph

    def _when_bound_to_graph(self, graph: sfn.StateGraph) -> None:
        super()._when_bound_to_graph(graph)
        for statement in self.statements:
            graph.register_policy_statement(statement)


class ItemFileMap(ItemMap):
    """The same map over an item file instead of its source.

    ItemReader can't be chosen at run time, so a pipeline whose source isn't a file in the payload bucket has this
    second map beside it. Its children are a copy of the first one's, under other names.

    Args:
        scope: Parent.
        id: Construct id.
        source_map: The first map.
        state_name: Name of the state.
        label: Label of the map.
        child_type: Standard or Express children.
        fields: Rendered fields of the state.
        statements: What the state machine's role needs for them.
        inner_labels: Labels of the maps inside its children.
    """

    def __init__(
        self, scope: Construct, id: str, *, source_map: ItemMap, inner_labels: Sequence[str] = (), **options: Any
    ) -> None:
        super().__init__(scope, id, **options)
        self._source_map = source_map
        self.item_processor(self._placeholder(f"{options['state_name']} children", inner_labels))

    def _placeholder(self, name: str, inner_labels: Sequence[str]) -> sfn.IChainable:
        """Return states for the L2 to see; copies of the source map's are put in their place when it is rendered.

        They hold a map for each that is among the copies, since the L2 gives the role of a state machine, whosever it
        is, the right to redrive the children of just the maps that it sees.
        """
        language = sfn.QueryLanguage.JSONATA
        chain = sfn.Chain.start(sfn.Pass(self, "Copied", state_name=name, query_language=language))
        for label in inner_labels:
            inner = sfn.DistributedMap(
                self, f"Copied{label}", state_name=f"{name} {label}", label=label, query_language=language
            )
            inner.item_processor(
                sfn.Pass(self, f"Copied{label}Child", state_name=f"{name} {label} child", query_language=language)
            )
            chain = chain.next(inner)
        return chain

    def to_state_json(self, top_level_query_language: sfn.QueryLanguage | None = None) -> dict[str, Any]:
        """Return the state with the children of the source map."""
        processor = self._source_map.to_state_json(top_level_query_language)["ItemProcessor"]
        return {**super().to_state_json(top_level_query_language), "ItemProcessor": renamed(processor)}


def _with_nulls(value: Any) -> Any:
    """Return a state whose nulls survive jsii, which drops every key without a value: as a token of null."""
    if isinstance(value, Mapping):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    return sfn.JsonPath.DISCARD if value is None else value


def renamed(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a graph of states under other names: a name occurs once in a state machine."""
    result = dict(copy.deepcopy(dict(graph)))
    result["StartAt"] = item_file_state(graph["StartAt"])
    result["States"] = {item_file_state(name): _renamed_state(state) for name, state in graph["States"].items()}
    return result


def _renamed_state(state: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(copy.deepcopy(dict(state)))
    for key in ("Next", "Default"):
        if isinstance(result.get(key), str):
            result[key] = item_file_state(result[key])
    for key in ("Choices", "Catch"):
        for entry in result.get(key, []):
            entry["Next"] = item_file_state(entry["Next"])
    for key in ("ItemProcessor", "Iterator"):
        if key in result:
            result[key] = renamed(result[key])
    if "Branches" in result:
        result["Branches"] = [renamed(branch) for branch in result["Branches"]]
    if "Label" in result:
        result["Label"] = item_file_label(result["Label"])
    return result
