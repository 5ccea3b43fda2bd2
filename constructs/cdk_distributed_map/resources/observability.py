"""Metrics, alarms and the dashboard of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.settings import checks, kinds
from distmap import limits, wire

_THROTTLES = 100
_OF_PARTS = frozenset({"account", "period", "region", "statistic", "unit"})
_OF_SUMS = frozenset({"color", "label", "period"})


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Alarms:
    """Alarms for what an operator must see: failed and timed-out runs, missing items, a throttled worker.

    .. versionadded:: 0.1.0

    Args:
        actions: What each alarm does, such as ``SnsAction(topic)``. Default: nothing but changing its state.
        throttles: Throttled invocations of the worker in five minutes that raise the alarm. Default: 100.
        items_failed: Items failed in five minutes, whatever the tolerance, that raise the alarm. Default: no alarm; a
            run with more than are tolerated fails.

    Raises:
        ValueError: A number isn't a whole number of at least 1, or ``items_failed`` is given where the pipeline emits
            no metrics of items.
    """

    actions: Sequence[cloudwatch.IAlarmAction] | None = None
    throttles: int | None = None
    items_failed: int | None = None

    def __post_init__(self) -> None:
        checks.whole_number("items_failed", self.items_failed, least=1, most=limits.MAX_ITEMS, unit="items")
        checks.whole_number(
            "throttles", self.throttles, least=1, most=2**53, remedy="an alarm at 0 would always be raised"
        )

    def create(
        self,
        scope: Construct,
        *,
        machine: sfn.StateMachine,
        worker: lambda_.IFunction | None,
        account: lambda_.IFunction | None,
        pipeline: str | None,
    ) -> None:
        """Make the alarms under ``scope``.

        Args:
            scope: Where they are made.
            machine: The state machine.
            worker: The worker, where it is a function.
            account: The function that accounts for runs that fail, where there is one.
            pipeline: Dimension of the metrics of items, where they are emitted.
        """
        period = Duration.minutes(5)
        wanted: list[tuple[str, cloudwatch.IMetric, int, str]] = [
            ("RunsFailed", machine.metric_failed(period=period), 1, "a run of the pipeline failed"),
            ("RunsTimedOut", machine.metric_timed_out(period=period), 1, "a run of the pipeline timed out"),
        ]
        if worker is not None:
            throttles = worker.metric_throttles(period=period)
            most = _THROTTLES if self.throttles is None else self.throttles
            wanted.append(("WorkerThrottled", throttles, most, "the worker is being throttled"))
        if pipeline is not None:
            missing = items_metric(pipeline, "ItemsMissing", {"period": period})
            wanted.append(("ItemsMissing", missing, 1, "items of a run are in no result"))
        if account is not None:
            # What Lambda gives up after its attempts: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html
            dropped = account.metric("AsyncEventsDropped", statistic="Sum", period=period)
            wanted.append(("RunNotAccountedFor", dropped, 1, "a run that failed was not accounted for"))
        if self.items_failed is not None:
            if pipeline is None:
                raise ValueError(
                    "items_failed of Alarms needs metrics of items, which accounting turns off: leave it out"
                )
            failed = items_metric(pipeline, "ItemsFailed", {"period": period})
            wanted.append(("ItemsFailed", failed, self.items_failed, "items of the pipeline failed"))
        for alarm_id, metric, threshold, text in wanted:
            alarm = cloudwatch.Alarm(
                scope,
                alarm_id,
                metric=metric,
                threshold=threshold,
                evaluation_periods=1,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                alarm_description=text,
            )
            for action in self.actions or ():
                alarm.add_alarm_action(action)


def children_metric(
    machine: sfn.IStateMachine, labels: Sequence[str], names: Sequence[str], *, label: str, options: Mapping[str, Any]
) -> cloudwatch.IMetric:
    """Return the sum of metrics of the labelled children.

    Map Runs have no metrics of their own: their children report as state machines named ``<state machine>/<label>``.
    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html

    Raises:
        TypeError: An option isn't one of such a sum.
    """
    metric_options = {name: value for name, value in options.items() if value is not None}
    unknown = sorted(metric_options.keys() - _OF_PARTS - _OF_SUMS)
    if unknown:
        raise TypeError(
            f"the sum over the children of a map takes {', '.join(sorted(_OF_PARTS | _OF_SUMS))}, got {unknown[0]!r}"
        )
    period = metric_options.get("period", Duration.minutes(5))
    of_parts = {
        "statistic": "Sum",
        **{name: metric_options[name] for name in _OF_PARTS & metric_options.keys()},
        "period": period,
    }
    of_sum = {
        "label": label,
        **{name: metric_options[name] for name in _OF_SUMS & metric_options.keys()},
        "period": period,
    }
    # Ids must differ from those of every other metric that a graph or alarm of the user's shows beside these.
    parts = {
        f"{name[0].lower()}{name[1:]}{at}_{machine.node.addr[-8:]}": cloudwatch.Metric(
            namespace="AWS/States",
            metric_name=name,
            dimensions_map={"StateMachineArn": f"{machine.state_machine_arn}/{label}"},
            **of_parts,
        )
        for at, label in enumerate(labels)
        for name in names
    }
    expression = " + ".join(f"FILL({part}, 0)" for part in parts)
    return cloudwatch.MathExpression(expression=expression, using_metrics=parts, **of_sum)


def items_metric(pipeline: str, name: str, options: Mapping[str, Any]) -> cloudwatch.Metric:
    """Return a metric of items, which the account function emits for a run when its account is complete."""
    chosen = {"statistic": "Sum", **{key: value for key, value in options.items() if value is not None}}
    return cloudwatch.Metric(
        namespace=wire.METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map={wire.METRICS_DIMENSION: pipeline},
        **chosen,
    )


def dashboard(
    scope: Construct,
    *,
    machine: sfn.StateMachine,
    items: Sequence[cloudwatch.IMetric],
    children: Sequence[tuple[str, cloudwatch.IMetric]],
    worker: lambda_.IFunction | None,
) -> cloudwatch.Dashboard:
    """Make a dashboard of the runs, their children and the worker."""
    board = cloudwatch.Dashboard(scope, "Dashboard")
    runs = [machine.metric_started(), machine.metric_succeeded(), machine.metric_failed(), machine.metric_timed_out()]
    board.add_widgets(
        cloudwatch.GraphWidget(title="Runs", left=runs, width=12),
        cloudwatch.GraphWidget(title="Children", left=[metric for _, metric in children], width=12),
    )
    if items:
        board.add_widgets(cloudwatch.GraphWidget(title="Items", left=list(items), width=24))
    if worker is not None:
        board.add_widgets(
            cloudwatch.GraphWidget(
                title="Worker",
                left=[worker.metric_invocations(), worker.metric_errors(), worker.metric_throttles()],
                right=[worker.metric_duration()],
                width=12,
            ),
            cloudwatch.GraphWidget(
                title="Concurrency of the worker",
                left=[worker.metric("ConcurrentExecutions", statistic="Maximum")],
                width=12,
            ),
        )
    # Map Runs of the whole account: these metrics have no dimensions.
    account = [
        cloudwatch.Metric(namespace="AWS/States", metric_name=name, dimensions_map={}, statistic="Maximum")
        for name in ("ApproximateOpenMapRunCount", "OpenMapRunLimit", "ApproximateMapRunBacklogSize")
    ]
    board.add_widgets(cloudwatch.GraphWidget(title="Map Runs of the account", left=list(account), width=24))
    return board
