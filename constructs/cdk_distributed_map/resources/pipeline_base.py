"""What a pipeline offers to others, whether it is made here or by another app: its grants and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.resources import grants, observability
from cdk_distributed_map.settings import kinds


class PipelineBase(Construct):
    """The grants and metrics that :class:`DistributedMapPipeline` and :class:`ImportedPipeline` share."""

    payload_bucket: s3.IBucket
    results_bucket: s3.IBucket
    state_machine: sfn.IStateMachine
    _key: kms.IKey | None
    _payload_prefix: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.node.path!r}>"

    # -- grants

    @kinds.checked
    def grant_start_execution(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal start runs.

        Give functions that the pipeline calls this grant, or the others here, rather than those of ``state_machine``:
        the L2 would write them into the default policy of the function's role, which the function waits for, as the
        state machine waits for the function, and CloudFormation refuses such a circle.
        """
        return self.state_machine.grant_start_execution(self._taker(grantee))

    @kinds.checked
    def grant_put_items(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal put item files into the payload bucket, which a run on an item file (a retry) needs."""
        return grants.grant_put_items(self.payload_bucket, self._payload_prefix, self._taker(grantee))

    @kinds.checked
    def grant_read_results(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal read the files of runs (items, results, manifests, spilled answers) and kept item files."""
        results = None if self.results_bucket is self.payload_bucket else self.results_bucket
        return grants.grant_read_results(self.payload_bucket, results, self._payload_prefix, self._taker(grantee))

    @kinds.checked
    def grant_operate(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a principal watch, change, stop and redrive runs, their Map Runs and their children.

        And call the combine function, with which ``distmap combine`` makes the answer of a run anew.
        """
        return grants.grant_operate(
            self.state_machine.state_machine_arn,
            self._arn,
            self._operated_labels(),
            self._taker(grantee),
            encryption_key=self._key,
            combine_arn=self._combine_arn(),
        )

    # -- metrics

    def metric_started(self, **options: Any) -> cloudwatch.Metric:
        """Runs started. Options are those of ``cloudwatch.MetricOptions``; default: sum over five minutes."""
        return self.state_machine.metric_started(**options)

    def metric_succeeded(self, **options: Any) -> cloudwatch.Metric:
        """Runs that succeeded, those within their tolerance included."""
        return self.state_machine.metric_succeeded(**options)

    def metric_failed(self, **options: Any) -> cloudwatch.Metric:
        """Runs that failed."""
        return self.state_machine.metric_failed(**options)

    def metric_timed_out(self, **options: Any) -> cloudwatch.Metric:
        """Runs that timed out."""
        return self.state_machine.metric_timed_out(**options)

    def metric_aborted(self, **options: Any) -> cloudwatch.Metric:
        """Runs that were stopped."""
        return self.state_machine.metric_aborted(**options)

    def metric_items_captured(self, **options: Any) -> cloudwatch.Metric:
        """Items that runs were to process. A run reports once, when its account is complete; so do the metrics below.

        Options are those of ``cloudwatch.MetricOptions``; default: sum over five minutes.

        Raises:
            ValueError: The pipeline emits no metrics of items.
        """
        return self._items("ItemsCaptured", options)

    def metric_items_succeeded(self, **options: Any) -> cloudwatch.Metric:
        """Items that succeeded, in whichever round. Options and errors: as above."""
        return self._items("ItemsSucceeded", options)

    def metric_items_failed(self, **options: Any) -> cloudwatch.Metric:
        """Items that failed, those that timed out included, after the last round. Options and errors: as above."""
        return self._items("ItemsFailed", options)

    def metric_items_unprocessed(self, **options: Any) -> cloudwatch.Metric:
        """Items left near a deadline, after the last round. Options and errors: as above."""
        return self._items("ItemsUnprocessed", options)

    def metric_items_pending(self, **options: Any) -> cloudwatch.Metric:
        """Items that were never tried, because the run ended before. Options and errors: as above."""
        return self._items("ItemsPending", options)

    def metric_items_missing(self, **options: Any) -> cloudwatch.Metric:
        """Items of which no result says anything. Options and errors: as above."""
        return self._items("ItemsMissing", options)

    def metric_items_recovered(self, **options: Any) -> cloudwatch.Metric:
        """Items that succeeded in a round, after they had not before it. Options and errors: as above."""
        return self._items("ItemsRecovered", options)

    def metric_items_duplicated(self, **options: Any) -> cloudwatch.Metric:
        """Results beyond the first of an item. Options and errors: as above."""
        return self._items("ItemsDuplicated", options)

    def metric_rounds(self, **options: Any) -> cloudwatch.Metric:
        """Rounds in which items ran again. Options and errors: as above."""
        return self._items("Rounds", options)

    def _items(self, name: str, options: dict[str, Any]) -> cloudwatch.Metric:
        return observability.items_metric(self._metrics_name(), name, options)

    # -- what differs

    def _taker(self, grantee: iam.IGrantable) -> iam.IGrantable:
        """Return what takes a grant to a principal."""
        return grantee

    def _arn(self, resource: str, rest: str) -> str:
        """Return the ARN of a resource of Step Functions whose name is the state machine's and ``rest``."""
        raise NotImplementedError

    def _operated_labels(self) -> Sequence[str]:
        """Return the labels of all maps, or a pattern of them."""
        raise NotImplementedError

    def _combine_arn(self) -> str | None:
        """Return the combine function's ARN, where there is one."""
        raise NotImplementedError

    def _metrics_name(self) -> str:
        """Return the dimension of the metrics of items."""
        raise NotImplementedError
