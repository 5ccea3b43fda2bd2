"""What an account function is called with: after a map, or when a run has ended otherwise."""

from __future__ import annotations

import json
import os
from datetime import datetime
from math import isfinite
from typing import Any, Final, NamedTuple

from distmap._errors import EventError
from distmap._events import check_run
from distmap.wire import AccountSettings, ItemFile, ResultsPlace, Run, run_prefix

_EXPECTED: Final = (
    "an account function takes what the pipeline sends to it: {'run', 'items', 'results', 'mapRunArn', "
    "'redriveCount', 'account', 'continuation'}, or the change of an execution's status that EventBridge sends"
)
_MOST_CHARACTERS: Final = 500
ENDED_BADLY: Final = ("FAILED", "TIMED_OUT", "ABORTED")
"""Statuses of runs that nobody else accounts for."""

ACCOUNT_VARIABLE: Final = "DISTMAP_ACCOUNT"
"""Environment variable: the :class:`AccountSettings` of the pipeline, as JSON, for runs that ended badly. What comes
from the input of a run is null there: nobody holds those to a tolerance."""

RUNS_VARIABLE: Final = "DISTMAP_RUNS"
"""Environment variable: ``{"bucket", "prefix"}`` of the payload, as JSON."""


class Ended(NamedTuple):
    """How a run ended that didn't succeed."""

    status: str
    stopped: datetime | None
    error: str | None
    cause: str | None

    @property
    def because(self) -> str:
        """Its error and cause, to go on a sentence with; nothing where it has none."""
        if not self.error:
            return ""
        cause = " ".join((self.cause or "").split())[:_MOST_CHARACTERS]
        return f": {self.error}: {cause}" if cause else f": {self.error}"


class Request(NamedTuple):
    """What is to be accounted for."""

    run: Run
    settings: AccountSettings
    items: ItemFile | None
    """The items that the run began with; None where its map reads its source."""
    results: ResultsPlace | None
    """What the first map exported."""
    map_run: str | None
    """ARN of that."""
    latest: ResultsPlace | None
    """What the latest map exported."""
    round: int | None
    """Number of the latest round; None where only the files tell it."""
    redrive_count: int
    continuation: dict[str, Any] | None
    ended: Ended | None = None
    """None after a map."""
    untried_inside: tuple[int, ...] = ()
    """How many items of nested maps were still to be tried, before each of the last rounds."""


def read_request(event: Any) -> Request:
    """Take an event apart.

    Raises:
        EventError: It is none of an account function.
    """
    if not isinstance(event, dict):
        message = f"{_EXPECTED}; got {event!r:.200}"
        raise EventError(message)
    if isinstance(event.get("detail"), dict) and event.get("source") == "aws.states":
        return _ended_badly(event["detail"])
    return _after_map(event)


def _after_map(event: dict[str, Any]) -> Request:
    if not event.keys() >= {"run", "items", "results", "account"}:
        message = f"{_EXPECTED}; got {event!r:.200}"
        raise EventError(message)
    run = check_run(event["run"], _EXPECTED)
    items, results, map_run = event["items"], _place(event["results"]), event.get("mapRunArn")
    latest, number, untried = results, 0, ()
    if not (items is None or isinstance(items, dict)):
        message = f"{_EXPECTED}; got items: {items!r:.200}"
        raise EventError(message)
    if items is not None and "round" in items:
        number, origin, untried = items["round"], items.get("origin"), tuple(items.get("untriedInside", ()))
        if type(number) is not int or number < 1 or not isinstance(origin, dict):
            message = f"{_EXPECTED}; got the items of a round without its number or its origin: {items!r:.200}"
            raise EventError(message)
        items, results, map_run = origin.get("items"), _place(origin.get("results")), origin.get("mapRunArn")
    continuation, redrives = event.get("continuation"), event.get("redriveCount", 0)
    if not (continuation is None or isinstance(continuation, dict)) or type(redrives) is not int or redrives < 0:
        message = f"{_EXPECTED}; got continuation: {continuation!r:.100}, redriveCount: {redrives!r:.100}"
        raise EventError(message)
    settings = check_settings(event["account"])
    return Request(
        run, settings, items, results, map_run, latest, number, redrives, continuation, untried_inside=untried
    )


def _place(place: Any) -> ResultsPlace | None:
    if place is None:
        return None
    if not isinstance(place, dict) or not all(isinstance(place.get(key), str) for key in ("bucket", "key")):
        message = f"{_EXPECTED}; got results: {place!r:.200}"
        raise EventError(message)
    return {"bucket": place["bucket"], "key": place["key"]}


def _ended_badly(detail: dict[str, Any]) -> Request:
    try:
        arn, name, status = detail["executionArn"], detail["name"], detail["status"]
        runs = json.loads(os.environ[RUNS_VARIABLE])
        settings = check_settings(json.loads(os.environ[ACCOUNT_VARIABLE]))
        bucket, prefix = runs["bucket"], run_prefix(name, runs["prefix"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"{_EXPECTED}; of a change of status something is missing, or of the environment: {error!r}"
        raise EventError(message) from error
    run: Run = {"id": arn, "name": name, "bucket": bucket, "prefix": prefix, "path": ""}
    stopped = detail.get("stopDate")
    moment = datetime.fromtimestamp(stopped / 1000).astimezone() if isinstance(stopped, (int, float)) else None
    ended = Ended(status, moment, detail.get("error"), detail.get("cause"))
    redrives = detail.get("redriveCount")
    return Request(
        run,
        settings,
        _items_of_input(detail.get("input"), bucket),
        None,
        None,
        None,
        None,
        redrives if type(redrives) is int else 0,
        None,
        ended,
    )


def _items_of_input(text: Any, bucket: str) -> ItemFile | None:
    """Return the item file that a run was started on; None where it was started on none, or that isn't known."""
    try:
        execution_input = json.loads(text)
    except (TypeError, ValueError):
        return None
    items = execution_input.get("items") if isinstance(execution_input, dict) else None
    if not isinstance(items, dict) or not isinstance(items.get("key"), str):
        return None
    found: Any = {"bucket": bucket, **items}
    return found if isinstance(found["bucket"], str) else None


def check_settings(settings: Any) -> AccountSettings:
    """Return the settings if they are some.

    Raises:
        EventError: A number isn't one, or is out of its range.
    """
    if not isinstance(settings, dict):
        message = f"{_EXPECTED}; got account: {settings!r:.200}"
        raise EventError(message)
    for name, most in (("toleratedFailureCount", None), ("toleratedFailurePercentage", 100)):
        value = settings.get(name)
        if value is not None and not _is_number(value, most):
            limit = "" if most is None else f" to {most}"
            message = f"{name} must be a number from 0{limit}, got {value!r:.100}"
            raise EventError(message)
    for name, default in (("rounds", 0), ("waitSeconds", 0), ("backoffRate", 1), ("maxWaitSeconds", 0)):
        value = settings.get(name)
        if not _is_number(default if value is None else value, None):
            message = f"{name} must be a number from 0, got {value!r:.100}"
            raise EventError(message)
    return settings  # type: ignore[return-value] # just checked


def _is_number(value: Any, most: float | None) -> bool:
    known = type(value) in (int, float) and isfinite(value) and value >= 0
    return known and (most is None or value <= most)
