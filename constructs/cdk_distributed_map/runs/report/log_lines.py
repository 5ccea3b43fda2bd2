"""Lines of a log group, as many of them as a report reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.notices import ProgressNotice

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.handles import RunHandle

MOST: Final = 200_000
"""Lines that are read for a run: CloudWatch Logs gives 10,000 in a call, and few calls a second."""
_MARGIN: Final = timedelta(minutes=1)


@dataclass
class Lines:
    """Reads lines of a run's time.

    Attributes:
        left: How many more are read.
    """

    run: RunHandle
    start: datetime
    end: datetime | None
    left: int = MOST

    def read(self, group: str, pattern: str) -> Iterator[tuple[float, str]]:
        """Yield time and text of the lines of a group that fit a pattern; none where there is no such group.

        Raises:
            AwsError: AWS refused a call.
        """
        options: dict[str, Any] = {
            "logGroupName": group,
            "filterPattern": pattern,
            "startTime": math.floor((self.start - _MARGIN).timestamp() * 1000),
            "PaginationConfig": {"MaxItems": max(self.left, 1)},
        }
        if self.end is not None:
            options["endTime"] = math.ceil((self.end + _MARGIN).timestamp() * 1000)
        notice = ProgressNotice(self.run.aws.notice, lambda done: f"reading the log {group}: {done:,} lines")
        with errors(f"reading the log group {group!r}"):
            client = self.run.aws.logs()
            try:
                for page in client.get_paginator("filter_log_events").paginate(**options):
                    for event in page["events"]:
                        notice(1)
                        self.left -= 1
                        yield event["timestamp"] / 1000, event["message"].rstrip()
            except client.exceptions.ResourceNotFoundException:
                return  # a function that never ran may have no log group yet


def entry_of(text: str) -> dict[str, Any]:
    """Return the JSON object that a line is; an empty one where it is none."""
    if not text.startswith("{"):
        return {}
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
