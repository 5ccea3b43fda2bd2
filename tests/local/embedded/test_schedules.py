"""How soon the embedded AWS sees that a schedule is due."""

from __future__ import annotations

import pytest
from ministack.services import eventbridge, scheduler

from cdk_distributed_map.local.embedded.event_rules import look_at_schedules
from cdk_distributed_map.local.embedded.schedules import SECONDS


def test_schedules_are_looked_at_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    intervals = [(scheduler, "_SCHEDULE_TICK_INTERVAL"), (eventbridge, "_SCHEDULER_TICK_INTERVAL")]
    for service, name in intervals:
        monkeypatch.setattr(service, name, getattr(service, name))
    look_at_schedules()
    assert [getattr(service, name) for service, name in intervals] == [SECONDS, SECONDS] == [1, 1]
