"""``combine_results``: a function of every result becomes the combine function of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from time import monotonic
from typing import Any, Final, overload

from distmap._chain import chain_of
from distmap._clients import s3_client
from distmap._deadline import Deadline, check_reserve
from distmap._errors import EventError
from distmap._events import check_run
from distmap._garbage import long_lived_objects_left_alone
from distmap._json import plain
from distmap._log import log_line
from distmap._process import Handler
from distmap._results import Results
from distmap._signature import UserFunction
from distmap._spill import inline_or_spill
from distmap.wire import ResultsPlace, Run

_EXPECTED: Final = "a combine function takes what the pipeline sends to it: {'run', 'items', 'results', 'mapRunArn'}"
_RESERVE_SHARE: Final = 0.1
_RESERVE_MOST_SECONDS: Final = 5.0


@overload
def combine_results(function: Callable[..., Any], /) -> Handler: ...


@overload
def combine_results(*, reserve_seconds: float | None = ...) -> Callable[[Callable[..., Any]], Handler]: ...


def combine_results(
    function: Callable[..., Any] | None = None,
    /,
    *,
    reserve_seconds: float | None = None,
) -> Handler | Callable[[Callable[..., Any]], Handler]:
    """Make the combine function of a run of a function of its results.

    The function gets :class:`distmap.Results`, an iterable of every item's :class:`distmap.Result`, and the Lambda
    context if it has a second parameter. The results are streamed from S3 in constant memory: values, failures and
    items that were never tried, each index once, redrives included; in a retry, those of all runs of its chain. What
    the function returns is the run's ``combined`` output; over 240 KiB it goes to the run's bucket, and a reference to
    it takes its place.

    .. versionadded:: 0.1.0

    Args:
        function: The user's function.
        reserve_seconds: Time to keep before the function's deadline for the answer; when it begins with results
            left, the combine function fails and says how far it got. By default a tenth of the time left at the
            start, at most 5 seconds.

    Returns:
        The handler; the undecorated function is its ``__wrapped__``, which takes any iterable of results.

    Raises:
        TypeError: The function cannot be called with results.
        ValueError: The reserve is negative.

    Example:
        >>> from distmap import Result
        >>> @combine_results
        ... def handler(results):
        ...     return sum(result.value for result in results if result.succeeded)
        >>> handler.__wrapped__([Result(0, 4), Result(1, 9)])
        13
    """
    check_reserve(reserve_seconds)

    def decorate(function: Callable[..., Any]) -> Handler:
        combine = UserFunction(function, decorator="combine_results", argument="the results")
        if combine.is_generator:
            message = f"@combine_results: {combine.name} yields; return the combined answer instead"
            raise TypeError(message)

        def handler(event: Any, context: Any = None) -> Any:
            started = monotonic()
            run, place = _read_event(event)
            deadline = Deadline(context, reserve=reserve_seconds, share=_RESERVE_SHARE, most=_RESERVE_MOST_SECONDS)
            captured, count = _counts(event)
            chain = chain_of(s3_client(), run, event.get("items"))
            results = Results(
                s3_client(),
                place,
                run=run,
                captured=captured,
                expected=count if chain is None else chain.captured,
                chain=chain,
                deadline=deadline,
                rounds=_rounds(event),
                accounted=True,
            )
            with long_lived_objects_left_alone():
                answer, size = plain(combine.bind(context)(results), what="the combined answer")
            log_line(
                "results combined",
                context=context,
                run=run["name"],
                runId=run["id"],
                mapRun=event.get("mapRunArn"),
                succeeded=results.counts["SUCCEEDED"],
                failed=results.counts["FAILED"],
                unprocessed=results.counts["UNPROCESSED"],
                duplicates=results.duplicates,
                bytes=size,
                durationMs=round((monotonic() - started) * 1000, 3),
            )
            return inline_or_spill(answer, size, run=run, name="combined", what="the combined answer")

        return update_wrapper(handler, function)

    return decorate if function is None else decorate(function)


def _counts(event: Any) -> tuple[int | None, int | None]:
    """Return how many items the source has, and how many of them the map read; None for what isn't known.

    A retry's items are some of its first run's, and have the indexes that they had there.
    """
    items = event.get("items")
    count = items.get("count") if isinstance(items, dict) else None
    if type(count) is not int or count < 0:
        return None, None
    return None if items.get("enveloped") else count, count


def _rounds(event: Any) -> int:
    """Return how many rounds the run had: none where it doesn't account for itself."""
    ledger = event.get("ledger")
    rounds = ledger.get("rounds") if isinstance(ledger, dict) else None
    return rounds if type(rounds) is int and rounds > 0 else 0


def _read_event(event: Any) -> tuple[Run, ResultsPlace | None]:
    if not isinstance(event, dict) or not event.keys() >= {"run", "results"}:
        message = f"{_EXPECTED}; got {event!r:.200}"
        raise EventError(message)
    place = event["results"]
    if place is None:  # nothing was captured, so no map ran
        return check_run(event["run"], _EXPECTED), None
    if not isinstance(place, dict) or not all(isinstance(place.get(key), str) for key in ("bucket", "key")):
        message = f"{_EXPECTED}; got results: {place!r:.200}"
        raise EventError(message)
    return check_run(event["run"], _EXPECTED), {"bucket": place["bucket"], "key": place["key"]}
