"""Lets a schedule of EventBridge Scheduler fire now: nobody waits for three o'clock in the morning.

It fires as it does by the clock, by a second schedule with the same target that is due at once and then gone: its role
is asked, and what doesn't reach the target is said, as with any other.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

SECONDS: Final = 1
"""How often the embedded AWS looks at its schedules."""
_COPY: Final = "distmap-fires-"


class ScheduleError(LookupError):
    """No schedule has such a name, or several do."""


def fire(client: Any, name: str) -> str:
    """Let a schedule fire, within a second, and return its whole name.

    Args:
        client: A boto3 client of Scheduler.
        name: Its name, or a part of it that no other has.

    Raises:
        ScheduleError: There is none, or there are several.
    """
    pages = client.get_paginator("list_schedules").paginate()
    found = {each["Name"]: each["GroupName"] for page in pages for each in page["Schedules"]}
    found = {each: group for each, group in found.items() if not each.startswith(_COPY)}
    fitting = [each for each in found if name in each]
    chosen = name if name in found else fitting[0] if len(fitting) == 1 else None
    if chosen is None:
        known = ", ".join(sorted(fitting or found)) or "none"
        which = f"several schedules have {name!r} in their name" if fitting else f"no schedule has the name {name!r}"
        raise ScheduleError(f"{which}: name one of those that are deployed: {known}")
    schedule = client.get_schedule(Name=chosen, GroupName=found[chosen])
    client.create_schedule(
        Name=f"{_COPY}{uuid.uuid4().hex}",
        GroupName=found[chosen],
        ScheduleExpression=f"at({datetime.now(UTC).isoformat(timespec='seconds').removesuffix('+00:00')})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=schedule["Target"],
        ActionAfterCompletion="DELETE",
    )
    return chosen
