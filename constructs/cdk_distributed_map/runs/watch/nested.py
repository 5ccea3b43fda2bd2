"""Which children of a run's maps may have Map Runs of their own, and which of them were looked at.

No call of AWS tells all Map Runs of an execution: those of its children have to be asked for, child by child. A child
is asked again for as long as it runs, because its map may start late and there may be several one after another.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from cdk_distributed_map.runs.aws.descriptions import MapRun

_RUNNING: Final = "RUNNING"


class Page(NamedTuple):
    """A page of what belongs to something."""

    arn: str
    token: str | None = None
    last: bool = False
    """Whether it is of the last pass over the children of a map: one that began when the map had ended."""


class Children:
    """The children of the maps that may have Map Runs inside them."""

    def __init__(self) -> None:
        self._started: dict[str, int] = {}
        self._ended_maps: set[str] = set()
        self._to_list: deque[Page] = deque()
        self._to_ask: deque[Page] = deque()
        self._ended: dict[str, bool] = {}
        self._counted: set[str] = set()
        self._given_up = False

    def give_up(self) -> None:
        """Ask for nothing more: it isn't allowed."""
        self._given_up = True

    def saw_map(self, described: MapRun) -> None:
        """Note the state of a map that may have others inside."""
        running = described.status == _RUNNING
        if described.arn not in self._started or (running and described.arn in self._ended_maps):
            self._to_list.append(Page(described.arn))
        (self._ended_maps.discard if running else self._ended_maps.add)(described.arn)
        self._started[described.arn] = described.children.total - described.children.pending

    def next_page(self) -> Page | None:
        """Return the page of children to ask for, None where there is none."""
        return self._to_list[0] if self._to_list and not self._given_up else None

    def saw_page(self, answer: Any) -> None:
        """Note the answer of ListExecutions for that page."""
        page = self._to_list.popleft()
        last = page.last if page.token is not None else page.arn in self._ended_maps
        for child in answer["executions"]:
            if child["executionArn"] not in self._ended:
                self._to_ask.appendleft(Page(child["executionArn"]))
            self._ended[child["executionArn"]] = child["status"] != _RUNNING
        if "nextToken" in answer:
            self._to_list.append(Page(page.arn, answer["nextToken"], last))
        elif not last:
            self._to_list.append(Page(page.arn))  # the maps take turns

    def next_child(self) -> Page | None:
        """Return the child whose Map Runs are to be asked for, None where there is none."""
        return self._to_ask[0] if self._to_ask and not self._given_up else None

    def saw_child(self, answer: Any) -> list[str]:
        """Note the answer of ListMapRuns for that child, and return the ARNs of its Map Runs."""
        page = self._to_ask.popleft()
        if answer["mapRuns"] or self._ended[page.arn]:
            self._counted.add(page.arn)
        if "nextToken" in answer:
            self._to_ask.appendleft(Page(page.arn, answer["nextToken"]))
        elif not self._ended[page.arn]:
            self._to_ask.append(Page(page.arn))
        return [entry["mapRunArn"] for entry in answer["mapRuns"]]

    @property
    def left_out(self) -> int:
        """Children that were started and whose maps aren't known: at most so many have any."""
        return max(0, sum(self._started.values()) - len(self._counted))
