"""What starts the runs of a pipeline by itself: schedules, objects that come into S3, and other events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map.resources import grants
from cdk_distributed_map.resources.metrics import PipelineMetrics
from cdk_distributed_map.resources.starter import starter
from cdk_distributed_map.settings import checks, kinds, synthesis_warnings
from cdk_distributed_map.settings.overlap import Overlap
from distmap import wire


class PipelineStarts(PipelineMetrics):
    """The part of a pipeline that starts its runs: use :class:`DistributedMapPipeline`."""

    payload_bucket: s3.IBucket
    results_bucket: s3.IBucket
    _key: kms.IKey | None
    _payload_prefix: str

    @kinds.checked
    def schedule(
        self,
        schedule: scheduler.ScheduleExpression,
        *,
        input: Mapping[str, Any] | None = None,
        overlap: Overlap | None = None,
        id: str | None = None,
    ) -> scheduler.Schedule:
        """Start runs by a schedule of EventBridge Scheduler.

        Runs don't overlap unless ``overlap`` says so: a small state machine looks whether any run of the pipeline goes
        on, whoever started it, and names the run that it starts by the one before, so that of starts at the same
        moment one wins.

        Args:
            schedule: When, as ``ScheduleExpression.rate(Duration.hours(1))``.
            input: Input of the runs. Default: an empty object.
            overlap: What becomes of a start while a run goes on. Default: it is skipped.
            id: Construct id, for more than one schedule. Default: ``Schedule``.
        """
        overlap = Overlap.SKIP if overlap is None else overlap
        event = {} if input is None else dict(input)
        target = scheduler_targets.StepFunctionsStartExecution(
            self._started(overlap), input=scheduler.ScheduleTargetInput.from_object(event)
        )
        return scheduler.Schedule(self, "Schedule" if id is None else id, schedule=schedule, target=target)

    @kinds.checked
    def start_on_s3_event(
        self,
        bucket: s3.IBucket,
        *,
        prefix: str | None = None,
        suffix: str | None = None,
        input: events.RuleTargetInput | Mapping[str, Any] | None = None,
        overlap: Overlap | None = None,
        id: str | None = None,
    ) -> events.Rule:
        """Start a run for each object that comes into a bucket.

        The bucket is set to send its events to EventBridge where it is made in this app.

        Args:
            bucket: The bucket.
            prefix: Only objects whose key begins so. Default: any.
            suffix: Only objects whose key ends so. Default: any.
            input: Input of the run. Default: ``{"bucket", "key", "size", "etag"}`` of the object, which
                ``ItemSource.from_execution_input(...)`` takes as it is.
            overlap: What becomes of a start while a run goes on. Default: it waits.
            id: Construct id, for more than one rule. Default: ``StartOnObject``.

        Raises:
            ValueError: The files of the runs themselves would start runs, without an end.
        """
        prefix, suffix = "" if prefix is None else prefix, "" if suffix is None else suffix
        checks.plain_key("prefix", prefix)
        checks.plain_key("suffix", suffix)
        self._check_no_loop(bucket, prefix)
        self._send_events(bucket)
        detail: dict[str, Any] = {"bucket": {"name": [bucket.bucket_name]}}
        if prefix or suffix:
            detail["object"] = {"key": [_matching(prefix, suffix)]}
        pattern = events.EventPattern(source=["aws.s3"], detail_type=["Object Created"], detail=detail)
        if input is None:
            of_object = {
                name: events.EventField.from_path(f"$.detail.object.{name}") for name in ("key", "size", "etag")
            }
            event_input: events.RuleTargetInput | Mapping[str, Any] = {
                "bucket": events.EventField.from_path("$.detail.bucket.name"),
                **of_object,
            }
        else:
            event_input = input
        return self._rule_of(pattern, event_input, overlap, "StartOnObject" if id is None else id)

    @kinds.checked
    def start_on_event(
        self,
        event_pattern: events.EventPattern,
        *,
        event_bus: events.IEventBus | None = None,
        input: events.RuleTargetInput | Mapping[str, Any] | None = None,
        overlap: Overlap | None = None,
        id: str | None = None,
    ) -> events.Rule:
        """Start a run for each event of EventBridge that matches a pattern.

        Args:
            event_pattern: What an event must be.
            event_bus: Where it comes. Default: the account's default bus.
            input: Input of the run. Default: the event.
            overlap: What becomes of a start while a run goes on. Default: it waits.
            id: Construct id, for more than one rule. Default: ``StartOnEvent``.
        """
        return self._rule_of(event_pattern, input, overlap, "StartOnEvent" if id is None else id, bus=event_bus)

    def _rule_of(
        self,
        pattern: events.EventPattern,
        input: events.RuleTargetInput | Mapping[str, Any] | None,
        overlap: Overlap | None,
        id: str,
        *,
        bus: events.IEventBus | None = None,
    ) -> events.Rule:
        event_input = events.RuleTargetInput.from_object(dict(input)) if isinstance(input, Mapping) else input
        machine = self._started(Overlap.WAIT if overlap is None else overlap)
        rule = events.Rule(self, id, event_pattern=pattern, event_bus=bus)
        rule.add_target(targets.SfnStateMachine(machine, input=event_input, role=self._role_of_rules(machine)))
        return rule

    def _role_of_rules(self, machine: sfn.StateMachine) -> iam.IRole:
        """Return the role by which rules start a state machine: that of the L2 may be used for any account.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html
        """
        own_id = f"{machine.node.id}RuleRole"
        existing = self.node.try_find_child(own_id)
        if isinstance(existing, iam.Role):
            return existing
        role = grants.role_of(self, own_id, "events.amazonaws.com")
        machine.grant_start_execution(role)
        return role

    def _started(self, overlap: Overlap) -> sfn.StateMachine:
        """Return what is started: the pipeline's own state machine, or the one that starts it when it may."""
        if overlap is Overlap.ALLOW:
            return self.state_machine
        return starter(self, self.state_machine, overlap, self._key)

    def _check_no_loop(self, bucket: s3.IBucket, prefix: str) -> None:
        runs = f"{self._payload_prefix}{wire.RUNS_FOLDER}/"
        own = {self.payload_bucket.node.path, self.results_bucket.node.path}
        if bucket.node.path not in own or checks.is_token(prefix) or checks.is_token(runs):
            return
        if prefix.startswith(runs) or runs.startswith(prefix):
            raise ValueError(
                f"the bucket {bucket.node.path!r} holds the files of the runs under {runs!r}, which the prefix "
                f"{prefix!r} takes in, so that each run would start others: give another prefix, or another bucket"
            )

    def _send_events(self, bucket: s3.IBucket) -> None:
        definition = bucket.node.default_child
        if not isinstance(bucket, s3.Bucket) or not isinstance(definition, s3.CfnBucket):
            synthesis_warnings.warn(
                self,
                synthesis_warnings.BUCKET_SENDS_NO_EVENTS,
                f"the bucket {bucket.node.path!r} isn't made here: objects in it start no runs unless it sends its "
                "events to EventBridge",
            )
        elif bucket.node.try_find_child("Notifications") is not None:
            # Its notifications are set by the CDK's function, which would undo what is set otherwise.
            bucket.enable_event_bridge_notification()
        else:
            definition.add_property_override(
                "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True
            )


def _matching(prefix: str, suffix: str) -> dict[str, str]:
    if not suffix:
        return {"prefix": prefix}
    if not prefix:
        return {"suffix": suffix}
    # Asterisks are refused before; a backslash of a key's own would make the next character plain.
    return {"wildcard": "*".join(part.replace("\\", "\\\\") for part in (prefix, suffix))}
