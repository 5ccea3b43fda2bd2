"""The construct."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import permissions
from cdk_distributed_map.definition import foresight
from cdk_distributed_map.definition.check import DefinitionCheck
from cdk_distributed_map.definition.flow import Flow
from cdk_distributed_map.plan import Forecast, plan
from cdk_distributed_map.resources import account as account_module
from cdk_distributed_map.resources import grants, imported, log_groups, observability
from cdk_distributed_map.resources import payload_bucket as payload_bucket_module
from cdk_distributed_map.resources.functions import FunctionSettings
from cdk_distributed_map.resources.imported import ImportedPipeline
from cdk_distributed_map.resources.map_resources import AccountResources, create_map_resources, root_location
from cdk_distributed_map.resources.observability import Alarms
from cdk_distributed_map.resources.run_events import PipelineEvents
from cdk_distributed_map.resources.state_machine import create_state_machine
from cdk_distributed_map.settings import checks, kinds
from cdk_distributed_map.settings.accounting import Accounting, Rerun
from cdk_distributed_map.settings.batching import Batching
from cdk_distributed_map.settings.combiner import Combiner
from cdk_distributed_map.settings.concurrency import DEFAULT_MAX_CONCURRENCY
from cdk_distributed_map.settings.results import Results
from cdk_distributed_map.settings.sources import ItemSource
from cdk_distributed_map.settings.workers import MapSettings, Worker
from distmap import limits


class DistributedMapPipeline(PipelineEvents):
    """Runs a worker over every item of a large data set on Step Functions Distributed Map.

    Creates a payload bucket, the capture and worker functions where they aren't given, a role with exact
    permissions, a log group and the state machine. An execution takes the input that the source needs; or
    ``{"items": {"key": "runs/.../items.jsonl"}}`` to run on an item file (JSON Lines) that is in the payload bucket
    already, whatever the source: that is how failed items are run again. So ``items`` of an input is that, or the
    items themselves where the source reads them there, and a run whose ``items`` are neither is refused.

    A run accounts for its items: ``ledger`` of its output says how many succeeded and what became of the others,
    ``runs/<name>/ledger.json`` and ``failures.jsonl`` say it in full, and a run in which more items than are tolerated
    did not succeed fails with ``Distmap.ToleranceExceeded``, or with ``Distmap.ItemsMissing`` where items are in no
    result. What was left undone for no fault of its own runs again inside the run.

    The ids of what it makes are stable: ``PayloadBucket``, ``Worker``, ``Capture``, ``Combine``, ``Account`` (each with
    ``Role``, ``Logs`` and ``Policy`` appended for its role, its log group and its rights), ``Role``, ``LogGroup``,
    ``StateMachine``, ``Flow``, ``Fragment``, ``Nested``, ``AccountForFailedRuns``, ``Alarms``, ``Dashboard``,
    ``SkippingStarter``, ``WaitingStarter``, ``Schedule``, ``StartOnObject``, ``StartOnEvent``, ``Parameter``.

    .. versionadded:: 0.1.0

    Args:
        scope: Parent.
        id: Construct id; the map's label is made from it.
        items: Source of the items.
        worker: What processes the items.
        max_concurrency: Maximum number of children at a time, 1 to 10,000: a number, a JSONPath or JSONata.
            Default: 100.
        batching: How items are grouped into batches. Default: ``Batching.automatic()`` for a ``Worker.python`` whose
            handler is decorated with ``process_items``; for any other worker one item for each child, which costs
            most.
        child_type: Standard or Express children. Default: Standard.
        tolerated_failure_count: Number of items that may fail: a number, a JSONPath or JSONata. Default: 0.
        tolerated_failure_percentage: Share of items that may fail, in percent: a number, a JSONPath or JSONata.
            Default: 0.
        item_selector: Value that a child gets for an item, built from ``JsonPath.string_at("$$.Map.Item.Value...")``
            and the like. Default: the item.
        results: How and where results are exported. Default: everything, as JSON Lines, to the payload bucket.
        combine: A function over all results. Default: none.
        on_failure: States that handle every error of a run. Default: an error fails the run. A run that has handled
            its error can't be redriven, because AWS redrives only runs that failed; its failed items can still be run
            again from an item file.
        payload_bucket: Bucket for the files of runs. Default: a new one, encrypted, TLS only, without public access.
        payload_prefix: Prefix of the keys in that bucket, up to 240 bytes with a slash at the end; required if
            pipelines share a bucket. Default: none.
        expire_runs_after: When a run's files in the payload bucket expire, in days: at least 14, so that redrives find
            them. Not for an imported bucket. Default: 30 days in a bucket that a pipeline created, else never.
        removal_policy: What happens to the new bucket (only destroyed if empty) and the log groups when the stack is
            deleted. Default: they are retained.
        encryption_key: Customer-managed key for all resources of the construct. Adding it to a deployed pipeline, or
            removing it, replaces the state machine and ends its runs, unless ``state_machine_name`` stays the same.
            Default: AWS's own keys.
        role: Role of the state machine. Default: a new one.
        state_machine_name: Name of the state machine. A different name than that of the deployed pipeline makes
            CloudFormation replace the state machine, which ends its runs. Default: generated by CloudFormation, or by
            the construct if ``encryption_key`` is set, because the key's conditions name the state machine.
        label: Label of the map, up to 40 characters. Default: derived from the id.
        timeout: Maximum duration of a run. Default: AWS's year.
        log_level: What the state machine logs; ``OFF`` creates no log group. Default: errors.
        log_execution_data: Whether logs contain inputs and outputs. Default: they don't.
        log_group: Log group of the state machine, preferably with a name under ``/aws/vendedlogs/states/``. Default: a
            new one, with such a name.
        log_retention: How long logs are kept in the log groups that the construct creates. Default: one month.
        tracing: Whether X-Ray traces runs. Default: it doesn't.
        alarms: Alarms to create. Default: none.
        dashboard: Whether to create a dashboard. Default: none.
        comment: Comment of the state machine. Default: none.
        rerun: Which items that failed run again by themselves, how often and for which errors. Default: none; what did
            not succeed for no fault of its own runs again anyway.
        accounting: How a run accounts for its items. Default: in all parts, see :class:`Accounting`.
        on_items_failed: Queues and event buses that get a message for each item that did not succeed, after the last
            round, at least once. Default: none; ``failures.jsonl`` of the run has them.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: AWS would reject or silently ignore a setting; the message says the value, the limit and the
            remedy.

    Example::

        DistributedMapPipeline(
            self,
            "Squares",
            items=ItemSource.s3_objects(bucket, prefix="numbers/"),
            worker=Worker.python("worker", handler="handler.handler"),
            batching=Batching(max_items=100),
        )
    """

    payload_bucket: s3.IBucket
    results_bucket: s3.IBucket
    capture: lambda_.IFunction | None
    combine: lambda_.IFunction | None
    account: lambda_.IFunction | None
    role: iam.IRole
    log_group: logs.ILogGroup | None
    state_machine: sfn.StateMachine
    dashboard: cloudwatch.Dashboard | None
    label: str
    labels: list[str]

    @kinds.checked
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        items: ItemSource,
        worker: Worker,
        max_concurrency: float | str | None = None,
        batching: Batching | None = None,
        child_type: sfn.StateMachineType | None = None,
        tolerated_failure_count: float | str | None = None,
        tolerated_failure_percentage: float | str | None = None,
        item_selector: Mapping[str, Any] | None = None,
        results: Results | None = None,
        combine: Combiner | None = None,
        on_failure: sfn.IChainable | None = None,
        payload_bucket: s3.IBucket | None = None,
        payload_prefix: str | None = None,
        expire_runs_after: Duration | None = None,
        removal_policy: RemovalPolicy | None = None,
        encryption_key: kms.IKey | None = None,
        role: iam.IRole | None = None,
        state_machine_name: str | None = None,
        label: str | None = None,
        timeout: Duration | None = None,
        log_level: sfn.LogLevel | None = None,
        log_execution_data: bool | None = None,
        log_group: logs.ILogGroup | None = None,
        log_retention: logs.RetentionDays | None = None,
        tracing: bool | None = None,
        alarms: Alarms | None = None,
        dashboard: bool | None = None,
        comment: str | None = None,
        rerun: Rerun | None = None,
        accounting: Accounting | None = None,
        on_items_failed: Sequence[sqs.IQueue | events.IEventBus] | sqs.IQueue | events.IEventBus | None = None,
    ) -> None:
        super().__init__(scope, id)
        # None means the default, here and in every other class: whoever passes arguments on needs no cases.
        payload_prefix = "" if payload_prefix is None else payload_prefix
        removal_policy = RemovalPolicy.RETAIN if removal_policy is None else removal_policy
        log_level = sfn.LogLevel.ERROR if log_level is None else log_level
        log_execution_data = False if log_execution_data is None else log_execution_data
        log_retention = logs.RetentionDays.ONE_MONTH if log_retention is None else log_retention
        tracing = False if tracing is None else tracing
        settings = MapSettings(
            items=items.reading,
            worker=worker,
            max_concurrency=DEFAULT_MAX_CONCURRENCY if max_concurrency is None else max_concurrency,
            batching=batching,
            child_type=sfn.StateMachineType.STANDARD if child_type is None else child_type,
            tolerated_failure_count=tolerated_failure_count,
            tolerated_failure_percentage=tolerated_failure_percentage,
            item_selector=item_selector,
            results=Results() if results is None else results,
            combine=combine,
            label=label,
        )
        _check(payload_prefix, timeout, expiry=expire_runs_after)
        if encryption_key is not None:
            grants.allow_logs(self, encryption_key)
        self.payload_bucket = payload_bucket_module.payload_bucket(
            self,
            existing=payload_bucket,
            prefix=payload_prefix,
            expiry=expire_runs_after,
            timeout=timeout,
            removal_policy=removal_policy,
            encryption_key=encryption_key,
        )
        functions = FunctionSettings(
            log_retention=log_retention, removal_policy=removal_policy, encryption_key=encryption_key, tracing=tracing
        )
        self._resources = create_map_resources(
            self,
            settings,
            default_label=id,
            bucket=self.payload_bucket,
            payload_prefix=payload_prefix,
            functions=functions,
        )
        account = account_module.create_account(
            self,
            accounting,
            rerun=rerun,
            failed_items=_listed(on_items_failed),
            functions=functions,
            maps=self._resources,
            payload=self.payload_bucket,
            prefix=payload_prefix,
        )
        self._resources = dataclasses.replace(self._resources, account=account)
        self.account = None if account is None else account.function
        self.results_bucket = self._resources.results_bucket
        self.capture, self.combine = self._resources.capture, self._resources.combine
        self.label, self.labels = self._resources.label, self._resources.labels()
        self._payload_prefix = payload_prefix
        self._key = encryption_key
        self._fragment: Flow | None = None
        self._location = root_location(self.payload_bucket, payload_prefix)
        self.role = grants.state_machine_role(self) if role is None else grants.trusting(role)
        self.log_group = log_groups.destination(
            self,
            level=log_level,
            execution_data=log_execution_data,
            existing=log_group,
            retention=log_retention,
            removal_policy=removal_policy,
            encryption_key=encryption_key,
        )
        self._flow = Flow(self, "Flow", resources=self._resources, location=self._location, on_failure=on_failure)
        self.state_machine = create_state_machine(
            self,
            self._flow,
            statements=self._flow.statements(),
            labels=self.labels,
            role=self.role,
            name=state_machine_name,
            comment=comment,
            timeout=timeout,
            log_group=self.log_group,
            log_level=log_level,
            log_execution_data=log_execution_data,
            tracing=tracing,
            encryption_key=encryption_key,
        )
        if account is not None:
            name = self.state_machine.state_machine_name
            account_module.allow_describing_map_runs(self, account, machine_name=name, labels=self.labels)
            if account.accounting.accounts_for_failed_runs:
                account_module.account_for_failed_runs(self, "AccountForFailedRuns", account, self.state_machine)
        self.node.add_validation(
            DefinitionCheck(
                self,
                state_machine=self.state_machine,
                role=self.role,
                labels=self.labels,
                has_express_children=self.has_express_children,
                has_fragment=lambda: self.has_fragment,
            )
        )
        self.dashboard = self._observe(account, alarms, with_dashboard=dashboard is True)

    def _observe(
        self, account: AccountResources | None, alarms: Alarms | None, *, with_dashboard: bool
    ) -> cloudwatch.Dashboard | None:
        """Create the alarms and return the dashboard, those of them that were asked for."""
        worker = self._resources.worker.observed
        if alarms is not None:
            accounting = None if account is None else account.accounting
            reports_failed_runs = accounting is not None and accounting.accounts_for_failed_runs
            has_metrics = accounting is not None and accounting.emits_metrics
            alarms.create(
                Construct(self, "Alarms"),
                machine=self.state_machine,
                worker=worker,
                account=self.account if reports_failed_runs else None,
                pipeline=account_module.dimension(self) if has_metrics else None,
            )
        if not with_dashboard:
            return None
        children = [("failed", self.metric_children_failed()), ("succeeded", self.metric_children_succeeded())]
        return observability.dashboard(
            self, machine=self.state_machine, items=self._dashboard_items(), children=children, worker=worker
        )

    @property
    def fragment(self) -> sfn.StateMachineFragment:
        """The same states once more, to be chained inside a state machine of your own.

        They share the bucket and the functions with the pipeline's own state machine, and work in JSONPath and in
        JSONata machines. Your machine's role gets what they need. ``on_failure`` isn't part of them: use
        ``fragment.to_single_state().add_catch(...)``.

        An execution of your machine writes to ``runs/<its name>/`` of the payload bucket, as one of the pipeline's own
        machine does: enter the fragment once in an execution, and don't give executions of both machines one name.
        """
        if self._fragment is None:
            self._fragment = Flow(self, "Fragment", resources=self._resources, location=self._location)
            if self._resources.account is not None:
                account_module.allow_describing_map_runs(
                    self, self._resources.account, machine_name="*", labels=self.labels
                )
        return self._fragment

    @property
    def has_fragment(self) -> bool:
        """Whether ``fragment`` was used."""
        return self._fragment is not None

    @property
    def has_express_children(self) -> bool:
        """Whether the children of any of its maps are Express executions."""
        return self._resources.has_express_children

    # -- what it takes and costs

    @kinds.checked
    def plan(
        self,
        *,
        items: int,
        item_seconds: float,
        item_p99: float | None = None,
        item_bytes: float | None = None,
        nested_items: int | None = None,
        region: str | None = None,
    ) -> Forecast:
        """Return what a run is expected to take and cost, by the settings that are declared; ``cdk synth`` prints it.

        A test can hold it to limits, so that a change that makes a nightly run ten times dearer fails:
        :func:`cdk_distributed_map.testing.assert_plan`. ``distmap plan`` says more, and says it of deployed pipelines.

        Args:
            items: Number of items.
            item_seconds: Seconds that an item takes, in the median.
            item_p99: Seconds that 99 of 100 items take at most. Default: all take the same.
            item_bytes: Bytes of an item. Default: few.
            nested_items: Items of each nested map. Default: 1.
            region: Region whose quotas and prices count. Default: the stack's, or us-east-1 where that isn't known.

        Raises:
            ValueError: AWS would refuse such a run, or end it.
        """
        forecast = plan(
            foresight.describe(self.state_machine, name=self.node.path),
            items=items,
            item_seconds=item_seconds,
            item_p99=item_p99,
            region=region,
            item_bytes=item_bytes,
            nested_items=nested_items,
        )
        foresight.tell(self, forecast)
        return forecast

    # -- for other apps

    @classmethod
    @kinds.checked
    def from_attributes(
        cls,
        scope: Construct,
        id: str,
        *,
        state_machine_arn: str,
        payload_bucket: s3.IBucket | str,
        payload_prefix: str | None = None,
        results_bucket: s3.IBucket | str | None = None,
        combine: lambda_.IFunction | None = None,
        metrics_name: str | None = None,
        encryption_key: kms.IKey | None = None,
    ) -> ImportedPipeline:
        """Return a pipeline that another app deploys, with its grants and metrics.

        Args:
            scope: Parent.
            id: Construct id.
            state_machine_arn: ARN of its state machine.
            payload_bucket: Its payload bucket, or the name of it, which stands for a bucket with ``encryption_key``.
            payload_prefix: Its prefix in that bucket. Default: none.
            results_bucket: The bucket that results are exported to, or the name of it. Default: the payload bucket.
            combine: Its combine function, which who operates runs may call. Default: none.
            metrics_name: ``<stack name>/<path of the pipeline in the stack>``, the dimension of the metrics of items.
                Default: none, and the metrics of items can't be had.
            encryption_key: Its customer-managed key. Default: none.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: The ARN isn't one of a state machine, or the prefix can't be one.
        """
        return ImportedPipeline(
            scope,
            id,
            state_machine_arn=state_machine_arn,
            payload_bucket=payload_bucket,
            payload_prefix=payload_prefix,
            results_bucket=results_bucket,
            combine=combine,
            metrics_name=metrics_name,
            encryption_key=encryption_key,
        )

    @classmethod
    @kinds.checked
    def from_parameter(
        cls, scope: Construct, id: str, parameter_name: str, *, encryption_key: kms.IKey | None = None
    ) -> ImportedPipeline:
        """Return a pipeline that another app deploys, by the parameter that :meth:`export_to_parameter` made.

        CloudFormation reads the parameter at deployment, in the account and Region of ``scope``.

        Args:
            scope: Parent.
            id: Construct id.
            parameter_name: Name of the parameter, known when the app is synthesized.
            encryption_key: The pipeline's customer-managed key, which its buckets have as well. Default: none.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: Systems Manager takes no such name.
        """
        return imported.from_parameter(scope, id, parameter_name, encryption_key=encryption_key)

    @kinds.checked
    def export_to_parameter(self, parameter_name: str, *, id: str | None = None) -> ssm.StringParameter:
        """Write what :meth:`from_parameter` needs in another app into a parameter of Systems Manager.

        Args:
            parameter_name: Name of the parameter, such as ``/pipelines/squares``.
            id: Construct id, for more than one. Default: ``Parameter``.

        Raises:
            ValueError: Systems Manager takes no such name.
        """
        return ssm.StringParameter(
            self,
            "Parameter" if id is None else id,
            parameter_name=imported.checked_parameter_name(parameter_name),
            description=f"distmap: the pipeline {self.node.path}",
            string_value=imported.exported(
                self.state_machine.state_machine_arn,
                payload_bucket=self.payload_bucket,
                payload_prefix=self._payload_prefix,
                results_bucket=self.results_bucket,
                combine_arn=self._combine_arn(),
                metrics_name=account_module.dimension(self),
            ),
        )

    # -- what its grants need

    def _taker(self, grantee: iam.IGrantable) -> iam.IGrantable:
        return grants.taker(
            self,
            grantee,
            roles=(self.role, self.state_machine.role),
            functions=self._resources.functions(),
            flow=self._flow,
            statements=self._statements_of_states(),
        )

    def _statements_of_states(self) -> Sequence[iam.PolicyStatement]:
        return self._flow.statements()

    def _arn(self, resource: str, rest: str) -> str:
        return permissions.states_arn(self, resource, f"{self.state_machine.state_machine_name}{rest}")

    def _operated_labels(self) -> Sequence[str]:
        return self.labels

    def _combine_arn(self) -> str | None:
        return None if self.combine is None else self.combine.function_arn

    # -- runs of other state machines

    @kinds.checked
    def account_for_failed_runs_of(self, id: str, state_machine: sfn.IStateMachine) -> events.Rule:
        """Account for the runs of a state machine of yours that has the :attr:`fragment`, where they don't succeed.

        The pipeline's own state machine has such a rule anyway. What the fragment's states account for themselves needs
        none.

        Raises:
            ValueError: The pipeline doesn't account for its runs.
        """
        account = self._resources.account
        if account is None:
            raise ValueError(f"the pipeline {self.node.path!r} doesn't account for its runs: see its accounting")
        return account_module.account_for_failed_runs(self, id, account, state_machine)


def _listed(
    targets: Sequence[sqs.IQueue | events.IEventBus] | sqs.IQueue | events.IEventBus | None,
) -> list[sqs.IQueue | events.IEventBus]:
    if targets is None:
        return []
    return list(targets) if isinstance(targets, Sequence) else [targets]


def _check(payload_prefix: str, timeout: Duration | None, *, expiry: Duration | None) -> None:
    checks.payload_prefix(payload_prefix)
    if timeout is not None and not timeout.is_unresolved():
        checks.whole_number("timeout", timeout.to_seconds(), least=1, most=limits.MAX_EXECUTION_SECONDS, unit="seconds")
    if expiry is not None and not expiry.is_unresolved():
        checks.whole_number("expire_runs_after", expiry.to_days(integral=False), least=1, most=36_500, unit="days")
