"""The states of a pipeline: find the items, capture them, map over them, combine the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Token
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.definition import express as express_module
from cdk_distributed_map.definition import map_warnings
from cdk_distributed_map.definition.lambda_task import LambdaTask
from cdk_distributed_map.definition.map_state import ItemFileMap, ItemMap
from cdk_distributed_map.definition.worker_states import worker_states
from cdk_distributed_map.names import item_file_label
from cdk_distributed_map.resources.map_resources import MapResources, RunLocation
from cdk_distributed_map.settings import expressions
from cdk_distributed_map.settings.expressions import quote, wrap
from cdk_distributed_map.settings.sources import CapturedItems, StateItems, reader
from distmap import limits, wire

_ITEM = "$states.context.Map.Item"
_ITEMS = "$states.input.items"
_SHOWN = 1_000
"""How many characters of a wrong input are shown: a cause has an end."""
_HAS_FILE = f'$type($states.input) = "object" and $type({_ITEMS}) = "object" and $type({_ITEMS}.key) = "string"'


class Flow(sfn.StateMachineFragment):
    """The states, ready to be chained: ``Find items``, ``Capture``, the maps and ``Combine``.

    Args:
        scope: Parent.
        id: Construct id.
        resources: What was made for the map.
        location: Where the run's files are.
        on_failure: Where every error of these states goes. Default: it ends the execution.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        resources: MapResources,
        location: RunLocation,
        on_failure: sfn.IChainable | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._resources = resources
        self._location = location
        self._on_failure = on_failure
        self.map = self._source_map()
        self.item_file_map = (
            self._item_file_map(self.map) if resources.has_item_file_map and not location.nested else None
        )
        maps = [self.map] if self.item_file_map is None else [self.map, self.item_file_map]
        if resources.map.express:
            express_module.check(self, self.map.to_state_json()["ItemProcessor"])
        self._nothing: sfn.Pass | None = None
        self._start = self._before(self.map, self.item_file_map)
        self._ends: list[sfn.INextable] = [*maps, *([] if self._nothing is None else [self._nothing])]
        if resources.combine is not None:
            combine = self._combine(resources.combine)
            for each in self._ends:
                each.next(combine)
            self._ends = [combine]
        map_warnings.add(self, resources.map, worker_seconds=resources.worker.timeout_seconds())

    def to_single_state(self, *, state_id: str | None = None, **options: Any) -> sfn.Parallel:
        """Wrap the states into one, named after the label: every fragment's own id is the same."""
        return super().to_single_state(state_id=self._resources.label if state_id is None else state_id, **options)

    @property
    def labels(self) -> list[str]:
        """Labels of its maps that the L2 knows."""
        return [child.label_name for child in self.node.find_all() if isinstance(child, ItemMap)]

    def statements(self) -> list[iam.PolicyStatement]:
        """Return what the states need of a role, those of the user's own chains included."""
        states = [child for child in self.node.find_all() if isinstance(child, sfn.State)]
        chains = [child.first_state for child in states if isinstance(child, ItemMap) and child.first_state is not None]
        if self._on_failure is not None:
            chains.append(self._on_failure.start_state)
        for first in chains:
            reachable = sfn.State.find_reachable_states(first, include_error_handlers=True)
            states += [state for state in reachable if state not in states]
        return [statement for state in states for statement in _statements_of(state)]

    @property
    def start_state(self) -> sfn.State:
        """First state."""
        return self._start

    @property
    def end_states(self) -> list[sfn.INextable]:
        """Last states."""
        return self._ends

    def _name(self, what: str) -> str:
        return f"{self._resources.label} {what}"

    # -- before the map

    def _before(self, source_map: ItemMap, file_map: ItemMap | None) -> sfn.State:
        begin: sfn.State = source_map
        if self._resources.capture is not None:
            begin = self._capture(self._resources.capture, source_map)
        if self._location.nested:
            return begin
        find = sfn.Choice(
            self, "FindItems", state_name=self._name("find items"), query_language=sfn.QueryLanguage.JSONATA
        )
        folders = [f"{self._location.payload_prefix}{kind}/" for kind in (wire.RUNS_FOLDER, wire.ITEM_FILES_FOLDER)]
        find.when(sfn.Condition.jsonata(wrap(self._is_wrong(folders))), self._refuse(folders))
        find.when(sfn.Condition.jsonata(wrap(_HAS_FILE)), source_map if file_map is None else file_map)
        return find.otherwise(begin)

    def _is_wrong(self, folders: Sequence[str]) -> str:
        """Return JSONata that is true where the input has ``items`` that are neither an item file nor the source's."""
        starts = " or ".join(f"$substring({_ITEMS}.key, 0, $length({quote(each)})) = {quote(each)}" for each in folders)
        bucket = f"($not($exists({_ITEMS}.bucket)) or {_ITEMS}.bucket = {quote(self._location.bucket.bucket_name)})"
        enveloped = f'($not($exists({_ITEMS}.enveloped)) or $type({_ITEMS}.enveloped) in ["boolean", "null"])'
        # A condition of its own: not every JSONata leaves out the right of an "and" that is false already.
        right = f"({_HAS_FILE} ? {bucket} and {enveloped} and ({starts}) : false)"
        there = f'$type($states.input) = "object" and $exists({_ITEMS})'
        if self._source_is_items():
            own = f'$type({_ITEMS}) = "array" or $type({_ITEMS}) = "object" and $not($exists({_ITEMS}.key))'
            right = f"{own} or {right}"
        return f"{there} and $not({right})"

    def _source_is_items(self) -> bool:
        source = self._resources.map.items
        return isinstance(source, StateItems) and source.may_be_in(self, _ITEMS)

    def _refuse(self, folders: Sequence[str]) -> sfn.Fail:
        bucket = self._location.bucket.bucket_name
        shape = f"name a file of them in the payload bucket, under {' or '.join(folders)}, as "
        shape += f'{{"bucket": "{bucket}", "key": "{folders[-1]}..."}}'
        remedy = "copy the file there, or leave items out to use the pipeline's own source"
        if self._source_is_items():
            shape = f"be an array of items, an object of them without the field key, or {shape}"
            remedy = "copy the file there, or give the items themselves"
        return sfn.Fail(
            self,
            "ItemFileRefused",
            state_name=self._name("item file refused"),
            query_language=sfn.QueryLanguage.JSONATA,
            error="Distmap.ItemFileRefused",
            cause=wrap(
                f"{quote(f'items in the input must {shape}, got ')} & "
                f"$substring($string({_ITEMS}), 0, {_SHOWN}) & {quote(f': {remedy}')}"
            ),
        )

    def _capture(self, function: lambda_.IFunction, then: ItemMap) -> sfn.State:
        source = self._resources.map.items
        assert isinstance(source, CapturedItems)  # noqa: S101 - narrows the type
        capture, most = source.capture, source.most(self)
        going_on = "$exists($states.input.items.continuation)"
        again = f"{going_on} ? $states.input.items.continuation : null"
        # Going on, the input has what capture answered last. It is handed over on its own, and would be in it twice.
        # $sift has no result where nothing is left, hence the $merge.
        others = '$merge([{}, $sift($states.input, function($value, $key) {$key != "items"})])'
        own_input = f"{going_on} ? {others} : $states.input"
        task = self._task(
            "Capture",
            "capture",
            function,
            payload={
                "input": wrap(own_input if capture.resumable else "$states.input"),
                "run": self._location.run,
                "key": wrap(f"{self._location.folder} & {quote('/' + wire.ITEMS_FILE)}"),
                "capture": capture.event_settings(self),
                "continuation": wrap(again) if capture.resumable else None,
                "maxItems": source.most(self, bounds=(1, limits.MAX_ITEMS)),
            },
            output=wrap(
                '$merge([$type($states.input) = "object" ? $states.input : {}, {"items": $states.result.Payload}])'
            ),
        )
        captured = sfn.Choice(
            self, "Captured", state_name=self._name("captured all"), query_language=sfn.QueryLanguage.JSONATA
        )
        if capture.resumable:
            captured.when(sfn.Condition.jsonata(wrap("$exists($states.input.items.continuation)")), task)
        if most is not None:
            limit = expressions.source_text(most)
            too_many = f"$exists({_ITEMS}.count) ? {_ITEMS}.count > {limit} : true"
            captured.when(sfn.Condition.jsonata(wrap(too_many)), self._too_many(limit))
        captured.when(sfn.Condition.jsonata(wrap(f"{_ITEMS}.count = 0")), self._no_items())
        captured.otherwise(then)
        task.next(captured)
        return task

    def _too_many(self, limit: str) -> sfn.Fail:
        """Return what ends a run whose capture went past the most items: those that no map read would be missing."""
        return sfn.Fail(
            self,
            "TooManyItems",
            state_name=self._name("too many items"),
            query_language=sfn.QueryLanguage.JSONATA,
            error="Distmap.TooManyItems",
            cause=wrap(
                f'"max_items is " & $string({limit}) & " and the capture function answered " & $string({_ITEMS}) & '
                '": let it end at maxItems of its event, and answer the count, as capture_items does"'
            ),
        )

    def _no_items(self) -> sfn.Pass:
        """Return what a run goes to that has captured nothing: what AWS makes of an empty file isn't documented."""
        output = {"run": self._location.run, "items": wrap(_ITEMS), "results": wrap("null"), "mapRunArn": wrap("null")}
        self._nothing = sfn.Pass(
            self, "NoItems", state_name=self._name("no items"), query_language=sfn.QueryLanguage.JSONATA, outputs=output
        )
        return self._nothing

    def _task(
        self, id: str, what: str, function: lambda_.IFunction, *, payload: dict[str, Any], output: Any
    ) -> LambdaTask:
        task = LambdaTask(self, id, state_name=self._name(what), function=function, payload=payload, output=output)
        self._catch(task)
        return task

    def _catch(self, state: sfn.TaskStateBase | sfn.DistributedMap) -> None:
        if self._on_failure is not None:
            outputs = {"run": self._location.run, "error": wrap("$states.errorOutput")}
            state.add_catch(self._on_failure, outputs=outputs)

    # -- the maps

    def _source_map(self) -> ItemMap:
        resources, source = self._resources, self._resources.map.items
        captured = isinstance(source, CapturedItems)
        fields = self._item_file_reader() if captured else source.render(self)
        statements = source.statements(self)
        if captured:
            statements = [*statements, *self._item_file_statements()]
        made = ItemMap(
            self,
            "Map",
            state_name=self._name("map"),
            label=resources.label,
            child_type=resources.map.child_type,
            fields={**fields, **self._selector(enveloped_file=captured), **self._common()},
            statements=[*statements, *self._writer_statements()],
        )
        states = worker_states(
            resources.worker, made, name=resources.label, express=resources.map.express, nested=_nested_flow
        )
        made.process_with(states)
        self._catch(made)
        return made

    def _item_file_map(self, source_map: ItemMap) -> ItemMap:
        resources = self._resources
        selector = self._selector(enveloped_file=True) if resources.map.enveloped else {}
        made = ItemFileMap(
            self,
            "ItemFileMap",
            source_map=source_map,
            inner_labels=resources.copied_labels(),
            state_name=self._name("map item file"),
            label=item_file_label(resources.label),
            child_type=resources.map.child_type,
            fields={**self._item_file_reader(), **selector, **self._common()},
            statements=self._item_file_statements(),
        )
        self._catch(made)
        return made

    def _item_file_reader(self) -> dict[str, Any]:
        arguments = {"Bucket": self._location.bucket.bucket_name, "Key": wrap(f"{_ITEMS}.key")}
        return reader("getObject", arguments, {"InputType": "JSONL"})

    def _item_file_statements(self) -> list[iam.PolicyStatement]:
        location = self._location
        if location.nested:
            nested = permissions.runs(location.payload_prefix, wire.NESTED_FOLDER, "*", wire.ITEMS_FILE)
            return permissions.read_objects(location.bucket, nested)
        kept = f"{location.payload_prefix}{wire.ITEM_FILES_FOLDER}/*"
        return permissions.read_objects(location.bucket, permissions.runs(location.payload_prefix), kept)

    def _writer_statements(self) -> list[iam.PolicyStatement]:
        # The same for a nested map: an asterisk matches slashes, and so the folders that its results are in.
        pattern = permissions.runs(self._location.payload_prefix, wire.RESULTS_FOLDER, "*")
        return permissions.write_results(self._resources.results_bucket, pattern)

    def _selector(self, *, enveloped_file: bool) -> dict[str, Any]:
        """Return ItemSelector; an item file that holds envelopes (a retry) keeps the identities in it."""
        settings = self._resources.map
        own = None
        if settings.item_selector is not None:
            own = expressions.template(self, settings.item_selector, name="item_selector")
        if not settings.enveloped:
            return {} if own is None else {"ItemSelector": own}
        index, value = f"{_ITEM}.Index", f"{_ITEM}.Value"
        selector: dict[str, Any] = {"index": wrap(index), "value": wrap(value) if own is None else own}
        several = settings.items.reads_several_files
        if several:
            selector["source"] = wrap(f"{_ITEM}.Source")
        if enveloped_file and not self._location.nested:
            kept = f"{_ITEMS}.enveloped = true"
            chosen = value if own is None else expressions.source_text(own)
            selector = {
                "index": wrap(f"{kept} ? {value}.index : {index}"),
                "value": wrap(f"{kept} ? {value}.value : {chosen}"),
            }
            if several:
                selector["source"] = wrap(f"{kept} and $exists({value}.source) ? {value}.source : null")
        # The order in which what reads results looks for them; what else there is comes between the two.
        selector["value"] = selector.pop("value")
        if settings.batching is None:
            selector["run"] = self._location.run
        return {"ItemSelector": selector}

    def _common(self) -> dict[str, Any]:
        settings = self._resources.map
        concurrency = expressions.number(
            self, settings.max_concurrency, name="max_concurrency", bounds=(1, limits.MAX_CONCURRENT_CHILDREN)
        )
        fields: dict[str, Any] = {"MaxConcurrency": concurrency, **self._tolerance()}
        if settings.batching is not None:
            run = self._location.run if settings.enveloped else None
            fields["ItemBatcher"] = settings.batching.render(self, run=run)
        prefix = wrap(f"{self._location.folder} & {quote('/' + wire.RESULTS_FOLDER)}")
        fields["ResultWriter"] = settings.results.render(bucket=self._resources.results_bucket, prefix=prefix)
        fields["Output"] = {
            "run": self._location.run,
            "items": wrap(
                f'({_HAS_FILE}) ? $merge([{{"bucket": {quote(self._location.bucket.bucket_name)}}}, {_ITEMS}]) : null'
            ),
            "results": {
                "bucket": wrap("$states.result.ResultWriterDetails.Bucket"),
                "key": wrap("$states.result.ResultWriterDetails.Key"),
            },
            "mapRunArn": wrap("$states.result.MapRunArn"),
        }
        return fields

    def _tolerance(self) -> dict[str, Any]:
        """Return the tolerances; where both are given and one turns out to be 0, both are: AWS takes 0 for not set."""
        settings = self._resources.map
        values = {"count": settings.tolerated_failure_count, "percentage": settings.tolerated_failure_percentage}
        rendered = {
            kind: expressions.number(self, value, name=f"tolerated_failure_{kind}")
            for kind, value in values.items()
            if value is not None
        }
        if len(rendered) == len(values):
            count, percentage = rendered["count"], rendered["percentage"]
            rendered = {"count": _zero_with(count, percentage), "percentage": _zero_with(percentage, count)}
        return {f"ToleratedFailure{kind.title()}": value for kind, value in rendered.items()}

    # -- after the map

    def _combine(self, function: lambda_.IFunction) -> LambdaTask:
        return self._task(
            "Combine",
            "combine",
            function,
            payload={key: wrap(f"$states.input.{key}") for key in ("run", "items", "results", "mapRunArn")},
            output=wrap('$merge([$states.input, {"combined": $states.result.Payload}])'),
        )


def _zero_with(value: float | str, other: float | str) -> float | str:
    """Return a tolerance, or what makes it 0 where the other one is."""
    if 0 in (value, other):
        return 0
    if not expressions.is_jsonata(other) or Token.is_unresolved(value):
        return value
    return wrap(f"{expressions.source_text(other)} = 0 ? 0 : {expressions.source_text(value)}")


def _statements_of(state: sfn.State) -> Sequence[iam.PolicyStatement]:
    if isinstance(state, ItemMap):
        return state.statements
    return (state._task_policies or []) if isinstance(state, sfn.TaskStateBase) else []  # noqa: SLF001 - protected in the L2, which is what Python's one underscore says


def _nested_flow(scope: Construct, resources: MapResources, location: RunLocation) -> Flow:
    return Flow(scope, "Nested", resources=resources, location=location)
