"""The states of a pipeline: find the items, capture them, map over them, combine the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.definition import express as express_module
from cdk_distributed_map.definition import item_files, map_load, map_warnings, rounds, tolerance
from cdk_distributed_map.definition.item_files import HAS_FILE, ITEMS
from cdk_distributed_map.definition.lambda_task import LambdaTask
from cdk_distributed_map.definition.map_state import ItemFileMap, ItemMap
from cdk_distributed_map.definition.worker_states import worker_states
from cdk_distributed_map.names import item_file_label
from cdk_distributed_map.resources.map_resources import AccountResources, MapResources, RunLocation
from cdk_distributed_map.settings import expressions, retry
from cdk_distributed_map.settings.expressions import quote, wrap
from cdk_distributed_map.settings.readings import CapturedItems, StateItems, reader
from distmap import limits, wire

_ITEM = "$states.context.Map.Item"


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
        if resources.account is not None and not location.nested:
            self._account_for(resources.account, maps[-1])
        if resources.combine is not None:
            combine = self._combine(resources.combine)
            for end in self._ends:
                end.next(combine)
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

    def _account_for(self, account: AccountResources, rounds_map: ItemMap) -> None:
        states = rounds.AccountStates(
            self,
            account,
            resources=self._resources,
            name=self._name,
            task=self._task,
            run=self._location.run,
            rounds_map=rounds_map,
        )
        for end in self._ends:
            end.next(states.account)
        self._ends = [states.done]

    def _name(self, what: str) -> str:
        return f"{self._resources.label} {what}"

    # -- before the map

    def _before(self, source_map: ItemMap, file_map: ItemMap | None) -> sfn.State:
        begin: sfn.State = source_map
        if self._resources.capture is not None:
            begin = self._capture(self._resources.capture, source_map)
        if self._location.nested:
            return begin
        keep = None
        if self._resources.account is not None:
            keep = rounds.first_variables(tolerance.rendered(self, self._resources.map))
        find = sfn.Choice(
            self,
            "FindItems",
            state_name=self._name("find items"),
            query_language=sfn.QueryLanguage.JSONATA,
            assign=keep,
        )
        folders = [f"{self._location.payload_prefix}{kind}/" for kind in (wire.RUNS_FOLDER, wire.ITEM_FILES_FOLDER)]
        bucket, own_items = self._location.bucket.bucket_name, self._source_is_items()
        wrong = item_files.is_wrong(bucket, folders, own_items=own_items)
        refuse = item_files.refuse(
            self, bucket, folders, state_name=self._name("item file refused"), own_items=own_items
        )
        find.when(sfn.Condition.jsonata(wrap(wrong)), refuse)
        map_of_file = source_map if file_map is None else file_map
        find.when(sfn.Condition.jsonata(wrap(HAS_FILE)), map_of_file, assign=keep)
        return find.otherwise(begin)

    def _source_is_items(self) -> bool:
        source = self._resources.map.items
        return isinstance(source, StateItems) and source.may_be_in(self, ITEMS)

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
            too_many = f"$exists({ITEMS}.count) ? {ITEMS}.count > {limit} : true"
            captured.when(sfn.Condition.jsonata(wrap(too_many)), self._too_many(limit))
        captured.when(sfn.Condition.jsonata(wrap(f"{ITEMS}.count = 0")), self._no_items())
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
                f'"max_items is " & $string({limit}) & " and the capture function answered " & $string({ITEMS}) & '
                '": let it end at maxItems of its event, and answer the count, as capture_items does"'
            ),
        )

    def _no_items(self) -> sfn.Pass:
        """Return what a run goes to that has captured nothing: what AWS makes of an empty file isn't documented."""
        output = {"run": self._location.run, "items": wrap(ITEMS), "results": wrap("null"), "mapRunArn": wrap("null")}
        self._nothing = sfn.Pass(
            self, "NoItems", state_name=self._name("no items"), query_language=sfn.QueryLanguage.JSONATA, outputs=output
        )
        return self._nothing

    def _task(
        self, id: str, what: str, function: lambda_.IFunction, *, payload: dict[str, Any], output: Any
    ) -> LambdaTask:
        settings = {"function": function, "payload": payload, "output": output, "retry": retry.OF_CRASHES}
        task = LambdaTask(self, id, state_name=self._name(what), **settings)
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
        source_map = ItemMap(
            self,
            "Map",
            state_name=self._name("map"),
            label=resources.label,
            child_type=resources.map.child_type,
            fields={
                **fields,
                **self._selector(enveloped_file=captured, has_rounds=not resources.has_item_file_map),
                **self._common(has_rounds=not resources.has_item_file_map, counted=captured),
            },
            statements=[*statements, *self._writer_statements()],
        )
        states = worker_states(
            resources.worker, source_map, name=resources.label, express=resources.map.express, nested=_nested_flow
        )
        source_map.process_with(states)
        self._catch(source_map)
        return source_map

    def _item_file_map(self, source_map: ItemMap) -> ItemMap:
        resources = self._resources
        selector = self._selector(enveloped_file=True, has_rounds=True) if resources.map.enveloped else {}
        item_file_map = ItemFileMap(
            self,
            "ItemFileMap",
            source_map=source_map,
            inner_labels=resources.copied_labels(),
            state_name=self._name("map item file"),
            label=item_file_label(resources.label),
            child_type=resources.map.child_type,
            fields={**self._item_file_reader(), **selector, **self._common(has_rounds=True, counted=True)},
            statements=self._item_file_statements(),
        )
        self._catch(item_file_map)
        return item_file_map

    def _item_file_reader(self) -> dict[str, Any]:
        arguments = {"Bucket": self._location.bucket.bucket_name, "Key": wrap(f"{ITEMS}.key")}
        return reader("getObject", arguments, {"InputType": "JSONL"})

    def _item_file_statements(self) -> list[iam.PolicyStatement]:
        location = self._location
        if location.nested:
            nested = permissions.runs(location.payload_prefix, wire.NESTED_FOLDER, "*", wire.ITEMS_FILE)
            return permissions.read_objects(location.bucket, nested)
        kept_files = f"{location.payload_prefix}{wire.ITEM_FILES_FOLDER}/*"
        return permissions.read_objects(location.bucket, permissions.runs(location.payload_prefix), kept_files)

    def _writer_statements(self) -> list[iam.PolicyStatement]:
        # The same for a nested map: an asterisk matches slashes, and so the folders that its results are in.
        pattern = permissions.runs(self._location.payload_prefix, wire.RESULTS_FOLDER, "*")
        return permissions.write_results(self._resources.results_bucket, pattern)

    def _selector(self, *, enveloped_file: bool, has_rounds: bool) -> dict[str, Any]:
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
            is_enveloped = f"{ITEMS}.enveloped = true"
            chosen = value if own is None else expressions.source_text(own)
            selector = {
                "index": wrap(f"{is_enveloped} ? {value}.index : {index}"),
                "value": wrap(f"{is_enveloped} ? {value}.value : {chosen}"),
            }
            if several:
                selector["source"] = wrap(f"{is_enveloped} and $exists({value}.source) ? {value}.source : null")
        # The order in which what reads results looks for them; what else there is comes between the two.
        selector["value"] = selector.pop("value")
        if settings.batches is None:
            selector["run"] = self._location.run
            if has_rounds and self._resources.account is not None and settings.nests:
                selector["run"] = {**self._location.run, "round": wrap(f"$exists({ITEMS}.round) ? {ITEMS}.round : 0")}
        return {"ItemSelector": selector}

    def _common(self, *, has_rounds: bool, counted: bool) -> dict[str, Any]:
        """Return the fields that both maps have.

        Args:
            has_rounds: Whether rounds run in this map, where there is an account.
            counted: Whether the number of items may be known before it reads them.
        """
        settings = self._resources.map
        account = None if self._location.nested else self._resources.account
        has_rounds = has_rounds and account is not None
        concurrency = expressions.number(
            self, settings.max_concurrency, name="max_concurrency", bounds=(1, limits.MAX_CONCURRENT_CHILDREN)
        )
        fields: dict[str, Any] = {"MaxConcurrency": concurrency}
        if account is None:
            fields |= tolerance.declared(self, settings)
        else:
            chosen, number = account.accounting.early_stop_percentage, rounds.ROUND if has_rounds else None
            fields |= tolerance.early_stop(self, settings, chosen, counted=counted, number_of_round=number)
        if settings.batches is not None:
            run = self._location.run if settings.enveloped else None
            load = map_load.of(self, self._resources, over_item_file=counted)
            batcher = settings.batches.render(self, run=run, load=load)
            if has_rounds:
                batcher = rounds.smaller_batches(batcher, rounds.ROUND)
            elif self._location.nested:
                batcher = rounds.smaller_batches(batcher, rounds.OUTER_ROUND)
            fields["ItemBatcher"] = batcher
        prefix = f"{self._location.folder} & {quote('/' + wire.RESULTS_FOLDER)}"
        if has_rounds:
            prefix = rounds.results_prefix(self._location.folder)
        fields["ResultWriter"] = settings.results.render(bucket=self._resources.results_bucket, prefix=wrap(prefix))
        fields["Output"] = {
            "run": self._location.run,
            "items": wrap(
                f'({HAS_FILE}) ? $merge([{{"bucket": {quote(self._location.bucket.bucket_name)}}}, {ITEMS}]) : null'
            ),
            "results": {
                "bucket": wrap("$states.result.ResultWriterDetails.Bucket"),
                "key": wrap("$states.result.ResultWriterDetails.Key"),
            },
            "mapRunArn": wrap("$states.result.MapRunArn"),
        }
        variables = {} if account is None else rounds.map_variables(tolerance.rendered(self, settings))
        return {**fields, "Assign": variables} if variables else fields

    # -- after the map

    def _combine(self, function: lambda_.IFunction) -> LambdaTask:
        keys = ["run", "items", "results", "mapRunArn"]
        if self._resources.account is not None and not self._location.nested:
            keys.append("ledger")
        return self._task(
            "Combine",
            "combine",
            function,
            payload={key: wrap(f"$states.input.{key}") for key in keys},
            output=wrap('$merge([$states.input, {"combined": $states.result.Payload}])'),
        )


def _statements_of(state: sfn.State) -> Sequence[iam.PolicyStatement]:
    if isinstance(state, ItemMap):
        return state.statements
    return (state._task_policies or []) if isinstance(state, sfn.TaskStateBase) else []  # noqa: SLF001 - protected in the L2, which is what Python's one underscore says


def _nested_flow(scope: Construct, resources: MapResources, location: RunLocation) -> Flow:
    return Flow(scope, "Nested", resources=resources, location=location)
