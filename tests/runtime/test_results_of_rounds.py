"""Results and combine over the rounds of a run: each item once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from distmap import DistmapError, Results, ResultsError, combine_results
from distmap.wire import Run
from tests.runtime.account_lab import LOST, Lab, answer_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def fail_in_rounds(*, until: int) -> Callable[[int], int]:
    tried: list[int] = []

    def work(item: int) -> int:
        tried.append(item)
        if item % 5 == 3 and tried.count(item) <= until:
            message = f"attempt {tried.count(item)}"
            raise ValueError(message)
        return item

    return work


@pytest.fixture
def finished(
    s3: S3Client, run: Run, make_export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Lab, Any]]:
    def make(*, until: int, **settings: Any) -> tuple[Lab, Any]:
        monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: None)
        lab = Lab(
            s3,
            run,
            make_export,
            range(20),
            work=fail_in_rounds(until=until),
            rerun={"rounds": 2, "errors": None, "permanentErrors": []},
            toleratedFailurePercentage=100,
            **settings,
        )
        return lab, lab.finish()

    return make


def event_of(lab: Lab, ledger: Any) -> dict[str, Any]:
    results = {"bucket": lab.run["bucket"], "key": "runs/run-1/results/map-0/manifest.json"}
    return {"run": lab.run, "items": lab.items, "results": results, "mapRunArn": None, "ledger": ledger}


@combine_results
def outcomes_of(results: Any) -> list[Any]:
    return sorted([result.index, result.status, result.value, result.cause] for result in results)


def test_an_item_that_succeeded_in_a_round_is_a_success(finished: Callable[..., tuple[Lab, Any]]) -> None:
    lab, ledger = finished(until=1)

    assert ledger["rounds"] == 1
    assert outcomes_of(event_of(lab, ledger)) == [[item, "SUCCEEDED", item, None] for item in range(20)]


def test_an_item_that_failed_in_every_round_is_told_as_it_failed_last(
    finished: Callable[..., tuple[Lab, Any]],
) -> None:
    lab, ledger = finished(until=3)

    found = outcomes_of(event_of(lab, ledger))

    assert ledger["rounds"] == 2
    assert [each for each in found if each[1] == "FAILED"] == [
        [item, "FAILED", None, "attempt 3"] for item in (3, 8, 13, 18)
    ]
    assert len(found) == 20


def test_results_find_the_rounds_by_themselves(s3: S3Client, finished: Callable[..., tuple[Lab, Any]]) -> None:
    lab, ledger = finished(until=1)

    results = Results(s3, event_of(lab, ledger)["results"])

    assert sorted((result.index, result.status) for result in results) == [(item, "SUCCEEDED") for item in range(20)]


def test_an_item_of_which_its_last_round_tells_nothing_has_no_result(
    s3: S3Client, run: Run, make_export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: None)
    lab = Lab(
        s3,
        run,
        make_export,
        range(20),
        work=fail_in_rounds(until=3),
        rerun={"rounds": 1, "errors": None, "permanentErrors": []},
        rounds=0,
        child=lambda number, indexes: LOST if number == 1 and 8 in indexes else None,
    )
    with pytest.raises(DistmapError):
        lab.finish()

    results = Results(s3, event_of(lab, None)["results"])

    assert 8 not in {result.index for result in results}
    assert sum(results.counts.values()) == 19


def test_items_that_an_answer_left_out_are_those_of_the_round_that_had_them(
    finished: Callable[..., tuple[Lab, Any]],
) -> None:
    lab, ledger = finished(
        until=0, child=lambda number, indexes: answer_of(indexes, gone=[8]) if number == 0 and 8 in indexes else None
    )

    assert outcomes_of(event_of(lab, ledger)) == [[item, "SUCCEEDED", item, None] for item in range(20)]


def test_failures_that_are_too_many_to_wait_are_read_again(
    finished: Callable[..., tuple[Lab, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, ledger = finished(until=3)
    expected = outcomes_of(event_of(lab, ledger))
    monkeypatch.setattr("distmap._results.WAITING_BYTES", 0)

    assert outcomes_of(event_of(lab, ledger)) == expected


def test_fails_when_the_results_of_a_round_are_gone(
    s3: S3Client, finished: Callable[..., tuple[Lab, Any]], keys_in: Callable[[str], list[str]]
) -> None:
    lab, ledger = finished(until=1)
    for key in keys_in(lab.run["bucket"]):
        if "/rounds/1/results/" in key:
            s3.delete_object(Bucket=lab.run["bucket"], Key=key)

    with pytest.raises(ResultsError, match="the results of round 1 are not in"):
        outcomes_of(event_of(lab, ledger))
