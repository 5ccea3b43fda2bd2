"""The metrics that only a pipeline made here has: of its children and its worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map.resources import account as account_module
from cdk_distributed_map.resources import observability
from cdk_distributed_map.resources.map_resources import MapResources
from cdk_distributed_map.resources.pipeline_base import PipelineBase
from cdk_distributed_map.settings.jobs import BatchJob, EcsTask

_OF_OTHERS: Mapping[type, tuple[str, str]] = {
    EcsTask: ("a task of ECS", "use the cluster and the task definition that Worker.ecs_task was given"),
    BatchJob: ("a job of AWS Batch", "use the job definition and the queue that Worker.batch_job was given"),
}
"""What a worker is that is no function, and what to use instead."""
_CHILD_FAILURES = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")


class PipelineMetrics(PipelineBase):
    """The part of a pipeline that gives these metrics: use :class:`DistributedMapPipeline`."""

    state_machine: sfn.StateMachine
    log_group: logs.ILogGroup | None
    _resources: MapResources

    @property
    def worker(self) -> lambda_.IFunction:
        """The worker function, durable or not; that of the innermost map, where maps are nested.

        Raises:
            ValueError: The worker isn't a function.
        """
        function = self._resources.worker.observed
        if function is None:
            job = self._resources.worker.innermost.job
            kind, remedy = _OF_OTHERS.get(type(job), ("a chain of states", "use what the states call"))
            raise ValueError(f"the worker is {kind}, not a function: {remedy}")
        return function

    def metric_children_failed(self, **options: Any) -> cloudwatch.IMetric:
        """Children that failed, timed out or were stopped: a batch counts once, whatever is in it.

        Options are ``period``, ``statistic``, ``unit``, ``account`` and ``region``, and ``label`` and ``color`` of the
        sum over the maps; default: sum over five minutes.
        """
        return self._children(_CHILD_FAILURES, "children failed", options)

    def metric_children_succeeded(self, **options: Any) -> cloudwatch.IMetric:
        """Children that succeeded: a batch counts once, whatever is in it. Options: as above."""
        return self._children(("ExecutionsSucceeded",), "children succeeded", options)

    def metric_worker_throttles(self, **options: Any) -> cloudwatch.Metric:
        """Throttled invocations of the worker.

        Raises:
            ValueError: The worker isn't a function.
        """
        return self.worker.metric_throttles(**options)

    def metric_worker_errors(self, **options: Any) -> cloudwatch.Metric:
        """Failed invocations of the worker.

        Raises:
            ValueError: The worker isn't a function.
        """
        return self.worker.metric_errors(**options)

    def _children(self, names: tuple[str, ...], label: str, options: dict[str, Any]) -> cloudwatch.IMetric:
        return observability.children_metric(
            self.state_machine, self._resources.root_labels(), names, label=label, options=options
        )

    def _dashboard_items(self) -> list[cloudwatch.IMetric]:
        account = self._resources.account
        if account is None or not account.accounting.emits_metrics:
            return []
        return [
            self.metric_items_succeeded(),
            self.metric_items_failed(),
            self.metric_items_unprocessed(),
            self.metric_items_missing(),
            self.metric_items_recovered(),
        ]

    def _metrics_name(self) -> str:
        account = self._resources.account
        if account is None or not account.accounting.emits_metrics:
            raise ValueError(
                f"the pipeline {self.node.path!r} emits no metrics of items: leave out Accounting(metrics=False) and "
                "Accounting.none(), or use metric_children_failed and its neighbours, which count children"
            )
        return account_module.dimension(self)

    def _statements_of_states(self) -> Sequence[iam.PolicyStatement]:
        """Return what the states need of the role."""
        raise NotImplementedError
