"""What follows the runs of a pipeline: event rules for those that have ended."""

from __future__ import annotations

from aws_cdk import aws_events as events

from cdk_distributed_map.resources.starts import PipelineStarts
from cdk_distributed_map.settings import kinds


class PipelineEvents(PipelineStarts):
    """The part of a pipeline that tells of its runs: use :class:`DistributedMapPipeline`."""

    @kinds.checked
    def on_finished(self, id: str, *, target: events.IRuleTarget | None = None) -> events.Rule:
        """Make an event rule for every run that ends, however it ends."""
        return self._rule(id, target, ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])

    @kinds.checked
    def on_failed(self, id: str, *, target: events.IRuleTarget | None = None) -> events.Rule:
        """Make an event rule for every run that fails, times out or is stopped."""
        return self._rule(id, target, ["FAILED", "TIMED_OUT", "ABORTED"])

    def _rule(self, id: str, target: events.IRuleTarget | None, statuses: list[str]) -> events.Rule:
        rule = events.Rule(
            self,
            id,
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [self.state_machine.state_machine_arn], "status": statuses},
            ),
        )
        if target is not None:
            rule.add_target(target)
        return rule
