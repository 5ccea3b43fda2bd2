"""The account function: rounds, tolerance, what it writes, and that it comes to the same end whatever interrupts it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from distmap import DeadlineError, DistmapError, EventError, PermanentError, ResultsError, account_run
from distmap.wire import Run, RunLedger
from tests.runtime.account_lab import LOST, Lab, answer_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CRASH = ("Runtime.ExitError", '{"errorMessage": "Runtime exited with error: exit status 1"}')


@pytest.fixture
def lab(s3: S3Client, run: Run, make_export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lab]:
    def make(values: Any, **settings: Any) -> Lab:
        return Lab(s3, run, make_export, values, **settings)

    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: None)
    return make


def fail_with(error: type[Exception], *which: int) -> Callable[[Any], Any]:
    def work(item: int) -> int:
        if item in which:
            message = f"item {item}"
            raise error(message)
        return item

    return work


def name_of(error: pytest.ExceptionInfo[BaseException]) -> str:
    """What Lambda, and so Step Functions, calls an error."""
    return error.type.__name__


# -- all is well


@pytest.mark.parametrize("batched", [True, False], ids=["batches", "single items"])
def test_a_run_whose_items_all_succeeded_is_over_with_its_first_map(lab: Callable[..., Lab], *, batched: bool) -> None:
    this = lab(range(25), batched=batched)

    ledger = this.finish()

    assert ledger == {
        "captured": 25,
        "succeeded": 25,
        "failed": 0,
        "unprocessed": 0,
        "pending": 0,
        "missing": 0,
        "duplicates": 0,
        "recovered": 0,
        "rounds": 0,
        "addsUp": True,
        "errors": [],
        "bucket": this.run["bucket"],
        "key": "runs/run-1/ledger.json",
    }
    written = this.stored("ledger.json")
    assert (written["status"], written["complete"], written["capturedFrom"]) == ("SUCCEEDED", True, "item file")
    assert written.keys() == RunLedger.__annotations__.keys()
    assert not this.has("failures.jsonl")


def test_a_run_without_items_is_over(lab: Callable[..., Lab]) -> None:
    this = lab([])
    event = {
        "run": this.run,
        "items": this.items,
        "results": None,
        "mapRunArn": None,
        "redriveCount": 0,
        "account": this.settings,
        "continuation": None,
    }

    assert this.account(event)["ledger"]["captured"] == 0
    assert this.stored("ledger.json")["complete"]


def test_the_metrics_of_a_run_are_a_line_of_its_log(
    lab: Callable[..., Lab], log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    lab(range(4), work=fail_with(ValueError, 3), toleratedFailureCount=1).finish()

    (line,) = [line for line in log_lines() if "_aws" in line]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Distmap", [["Pipeline"]])
    values = {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    assert values == {
        "ItemsCaptured": 4,
        "ItemsSucceeded": 3,
        "ItemsFailed": 1,
        "ItemsUnprocessed": 0,
        "ItemsPending": 0,
        "ItemsMissing": 0,
        "ItemsRecovered": 0,
        "ItemsDuplicated": 0,
        "Rounds": 0,
    }
    assert line["Pipeline"] == "Stack/Squares"


# -- rounds


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param(lambda indexes: answer_of(indexes, left=indexes[-2:]), id="left unprocessed"),
        pytest.param(lambda indexes: answer_of(indexes, gone=indexes[-2:]), id="left out by the answer"),
        pytest.param(lambda _indexes: LOST, id="child without a record"),
        pytest.param(lambda _indexes: CRASH, id="crash"),
        pytest.param(lambda _indexes: ("Sandbox.Timedout", "{}"), id="timeout of the function"),
        pytest.param(lambda _indexes: ("Lambda.TooManyRequestsException", "{}"), id="throttled"),
        pytest.param(lambda _indexes: (None, None, "TIMED_OUT"), id="timeout of the child"),
    ],
)
def test_what_did_not_succeed_for_no_fault_of_its_own_runs_again_by_itself(
    lab: Callable[..., Lab], ends: Callable[[list[int]], Any]
) -> None:
    this = lab(range(30), child=lambda number, indexes: ends(indexes) if number == 0 and 15 in indexes else None)

    ledger = this.finish()

    assert (ledger["succeeded"], ledger["recovered"], ledger["rounds"]) == (30, len(this.read(this.rounds[0])), 1)
    assert this.waits == [10]
    (items,) = this.rounds
    assert items["firstRun"] == this.run["id"]
    assert items["key"] == "runs/run-1/rounds/1/items.jsonl"
    origin: Any = items["origin"]
    assert origin["items"] == this.items
    assert origin["results"]["key"] == "runs/run-1/results/map-0/manifest.json"
    assert [item["value"] for item in this.read(items)] == [item["index"] for item in this.read(items)]


def test_the_answer_has_what_the_run_began_with(lab: Callable[..., Lab]) -> None:
    this = lab(range(3), child=lambda number, _indexes: CRASH if number == 0 else None)
    this.map(this.items)
    first = this.event

    this.map(this.account()["again"]["items"])
    answer = this.account()

    for name in ("run", "items", "results", "mapRunArn"):
        assert answer[name] == first[name]


def test_items_that_failed_run_again_only_where_that_is_declared(lab: Callable[..., Lab]) -> None:
    this = lab(range(10), work=fail_with(ValueError, 3), toleratedFailureCount=1)

    ledger = this.finish()

    assert (ledger["failed"], ledger["rounds"]) == (1, 0)
    assert ledger["errors"] == [{"error": "ValueError", "count": 1}]


@pytest.mark.parametrize("errors", [None, ["States.ALL"], ["ValueError"]], ids=["none named", "all", "named"])
def test_rerun_has_items_that_failed_run_again(lab: Callable[..., Lab], errors: list[str] | None) -> None:
    tried: list[int] = []

    def work(item: int) -> int:
        tried.append(item)
        if item == 3 and tried.count(3) < 3:
            raise ValueError
        return item

    this = lab(range(10), work=work, rerun={"rounds": 2, "errors": errors, "permanentErrors": []})

    ledger = this.finish()

    assert (ledger["succeeded"], ledger["recovered"], ledger["rounds"]) == (10, 1, 2)
    assert this.waits == [10, 20]


def test_rerun_goes_for_the_errors_that_are_named_and_as_many_rounds(lab: Callable[..., Lab]) -> None:
    def work(item: int) -> int:
        raise {1: ValueError, 2: KeyError}[item] if item else ValueError

    this = lab(range(3), work=work, rerun={"rounds": 1, "errors": ["KeyError"], "permanentErrors": []})

    with pytest.raises(DistmapError) as raised:
        this.finish()

    assert name_of(raised) == "Distmap.ToleranceExceeded"
    assert [[item["index"] for item in this.read(items)] for items in this.rounds] == [[2]]
    assert [(each["index"], each["attempt"]) for each in this.stored("failures.jsonl")] == [(2, 1), (0, 0), (1, 0)]


class GoneError(PermanentError):
    """An error of a user's own."""


@pytest.mark.parametrize("batched", [True, False], ids=["batches", "single items"])
@pytest.mark.parametrize(
    ("error", "declared"),
    [(PermanentError, ()), (GoneError, ()), (KeyError, (LookupError,)), (KeyError, ("KeyError",))],
    ids=["itself", "a class below it", "a named class", "a name"],
)
def test_permanent_errors_run_in_no_round(
    lab: Callable[..., Lab], error: type[Exception], declared: Any, *, batched: bool
) -> None:
    this = lab(
        range(5),
        work=fail_with(error, 2),
        permanent_errors=declared,
        batched=batched,
        rerun={"rounds": 5, "errors": None, "permanentErrors": []},
        toleratedFailureCount=1,
    )

    ledger = this.finish()

    assert (ledger["failed"], ledger["rounds"]) == (1, 0)
    (failed,) = this.stored("failures.jsonl")
    assert failed["error"] == (error.__name__ if batched else "PermanentError")
    assert error.__name__ in f"{failed['error']} {failed['cause']}"


TIMED_OUT = (None, None, "TIMED_OUT")


@pytest.mark.parametrize(
    ("named", "ends", "again"),
    [
        (["States.Timeout"], TIMED_OUT, True),
        (["States.Timeout"], ("States.Timeout", ""), True),
        (["States.Timeout"], ("Store.Busy", ""), False),
        (["States.TaskFailed"], ("Store.Busy", ""), True),
        (["States.TaskFailed"], TIMED_OUT, False),
        (["States.ALL"], TIMED_OUT, True),
        (["Store.Busy", "States.Timeout"], ("Store.Busy", ""), True),
        (["Store"], ("Store.Busy", ""), False),
    ],
    ids=["timeout", "timeout-of-a-task", "not-timeout", "failed", "not-failed", "all", "name", "part-of-a-name"],
)
def test_errors_are_named_as_in_a_retry(
    lab: Callable[..., Lab], named: list[str], ends: tuple[Any, ...], *, again: bool
) -> None:
    """No rounds but those of rerun, so that what is no fault of an item doesn't run again anyway."""
    rerun = {"rounds": 2, "errors": named, "permanentErrors": []}
    this = lab(range(4), child=lambda _number, _indexes: ends, rounds=0, rerun=rerun, toleratedFailurePercentage=100)
    this.finish()
    assert len(this.rounds) == (2 if again else 0)


@pytest.mark.parametrize(
    ("named", "ends", "rounds"),
    [
        (["States.Timeout"], TIMED_OUT, 0),
        (["States.TaskFailed"], ("Sandbox.Timedout", ""), 0),
        (["States.TaskFailed"], TIMED_OUT, 2),
        (["States.ALL"], CRASH, 0),
        (["KeyError"], CRASH, 2),
    ],
    ids=["timeout", "failed", "not-failed", "all", "another"],
)
def test_permanent_errors_are_named_as_in_a_retry(
    lab: Callable[..., Lab], named: list[str], ends: tuple[Any, ...], rounds: int
) -> None:
    rerun = {"rounds": 2, "errors": None, "permanentErrors": named}
    this = lab(range(1), child=lambda _number, _indexes: ends, rerun=rerun, toleratedFailurePercentage=100)
    this.finish()
    assert len(this.rounds) == rounds


def test_errors_are_permanent_by_the_declaration_of_the_pipeline_too(lab: Callable[..., Lab]) -> None:
    this = lab(
        range(5),
        work=fail_with(KeyError, 2),
        rerun={"rounds": 5, "errors": None, "permanentErrors": ["KeyError"]},
        toleratedFailureCount=1,
    )

    assert this.finish()["rounds"] == 0


def test_an_item_that_crashes_its_batch_is_alone_at_last(lab: Callable[..., Lab]) -> None:
    this = lab(
        range(1_000),
        batch=100,
        child=lambda _number, indexes: CRASH if 345 in indexes else None,
        rounds=5,
        toleratedFailureCount=1,
    )

    ledger = this.finish()

    assert (ledger["succeeded"], ledger["failed"], ledger["rounds"]) == (999, 1, 4)
    assert ledger["errors"] == [{"error": "Runtime.ExitError", "count": 1}]
    # 100 of which 90 come through, 10 of which 9 do, and then twice the one.
    assert [items["count"] for items in this.rounds] == [100, 10, 1, 1]


def test_rounds_end_after_two_without_progress_the_second_of_single_items(lab: Callable[..., Lab]) -> None:
    this = lab(range(20), batch=100, child=lambda _number, _indexes: CRASH, rounds=10, toleratedFailurePercentage=100)

    ledger = this.finish()

    # Batches of 100, 10, 1, 1: the second round has the smallest ones, and none of them succeeded.
    assert (ledger["rounds"], ledger["failed"]) == (2, 20)


@pytest.mark.parametrize(("lost", "tolerated", "rounds"), [(10, 0, 1), (11, 0, 0), (11, 40, 1)], ids=str)
def test_a_run_whose_first_map_lost_most_items_has_no_rounds(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, lost: int, tolerated: int, rounds: int
) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: 200)
    this = lab(
        range(200),
        captured=False,
        child=lambda number, indexes: CRASH if number == 0 and indexes[0] < 10 * lost else None,
        toleratedFailurePercentage=tolerated,
    )
    if rounds:
        assert (this.finish()["recovered"], len(this.rounds)) == (10 * lost, 1)
        return
    with pytest.raises(DistmapError, match="110 of 200 items did not succeed"):
        this.finish()
    assert this.rounds == []
    (note,) = this.stored("ledger.json")["notes"]
    assert "no round was run for them" in note
    assert this.redrive()["succeeded"] == 200


def test_one_round_without_progress_does_not_end_the_rounds(lab: Callable[..., Lab]) -> None:
    this = lab(range(20), batch=1, child=lambda number, indexes: LOST if 7 in indexes and number < 2 else None)

    assert (this.finish()["succeeded"], len(this.rounds)) == (20, 2)


def test_rounds_end_with_the_most_of_them(lab: Callable[..., Lab]) -> None:
    this = lab(range(10), child=lambda number, indexes: LOST if max(indexes) >= number else None, batch=1, rounds=3)

    with pytest.raises(DistmapError, match=r"^\d of 10 items are in no result file, such as") as raised:
        this.finish()

    assert name_of(raised) == "Distmap.ItemsMissing"
    assert len(this.rounds) == 3


@pytest.mark.parametrize(("rounds", "waits"), [(5, [10, 20, 40, 60, 60])])
def test_waits_grow_up_to_the_longest(lab: Callable[..., Lab], rounds: int, waits: list[int]) -> None:
    this = lab(range(6), batch=1, child=lambda number, indexes: CRASH if max(indexes) > number else None, rounds=rounds)

    this.finish()

    assert this.waits == waits


def test_a_round_reads_its_items_from_children_where_no_file_has_them(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: 20)
    this = lab(range(20), captured=False, child=lambda number, indexes: CRASH if number == 0 and 3 in indexes else None)

    ledger = this.finish()

    assert (ledger["captured"], ledger["succeeded"], ledger["recovered"]) == (20, 20, 10)
    assert this.stored("ledger.json")["capturedFrom"] == "map run"


def test_a_round_reads_its_items_from_children_where_the_file_has_changed(lab: Callable[..., Lab]) -> None:
    this = lab(range(20), child=lambda number, indexes: CRASH if number == 0 and 3 in indexes else None)
    this.map(this.items)
    this.s3.put_object(Bucket=this.run["bucket"], Key="runs/run-1/items.jsonl", Body=b'"another"\n')

    answer = this.account()

    assert [item["value"] for item in this.read(answer["again"]["items"])] == list(range(10))


def test_items_that_are_nowhere_are_missing_for_good(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: 20)
    this = lab(range(20), captured=False, child=lambda _number, indexes: LOST if 3 in indexes else None)

    with pytest.raises(DistmapError) as raised:
        this.finish()

    assert name_of(raised) == "Distmap.ItemsMissing"
    assert (len(this.rounds), this.stored("ledger.json")["missing"]) == (0, 10)


def test_a_run_of_some_items_of_another_has_rounds_under_their_identities(lab: Callable[..., Lab]) -> None:
    this = lab([], child=lambda number, indexes: CRASH if number == 0 and 70 in indexes else None, batch=2)
    lines = "".join(f'{{"index":{index},"value":"{index}"}}\n' for index in (7, 70, 700))
    key = "runs/run-0/retries/run-1/items.jsonl"
    this.s3.put_object(Bucket=this.run["bucket"], Key=key, Body=lines.encode())
    this.items = {
        "bucket": this.run["bucket"],
        "key": key,
        "count": 3,
        "enveloped": True,
        "firstRun": "arn:aws:states:us-east-1:123456789012:execution:Squares:run-0",
    }

    ledger = this.finish()

    assert (ledger["captured"], ledger["succeeded"], ledger["missing"], ledger["recovered"]) == (3, 3, 0, 2)
    assert this.read(this.rounds[0]) == [{"index": 7, "value": "7"}, {"index": 70, "value": "70"}]
    assert this.rounds[0]["firstRun"] == this.items["firstRun"]


# -- tolerance


@pytest.mark.parametrize(
    ("count", "percentage", "captured", "most"),
    [
        (None, None, 10, 0),
        (0, None, 10, 0),
        (3, None, 10, 3),
        (None, 0, 10, 0),
        (None, 10, 50, 5),
        (None, 0.1, 1_000, 1),
        (None, 0.1, 999, 0),
        (None, 12.5, 16, 2),
        (None, 100, 10, 10),
        (5, 10, 20, 2),
        (1, 50, 20, 1),
    ],
)
@pytest.mark.parametrize("over", [0, 1], ids=["at the edge", "one more"])
@pytest.mark.parametrize("batched", [True, False], ids=["batches", "single items"])
def test_tolerance_is_kept_exactly_for_items(
    lab: Callable[..., Lab], count: float, percentage: float, captured: int, most: int, *, batched: bool, over: int
) -> None:
    settings = {"toleratedFailureCount": count, "toleratedFailurePercentage": percentage, "batched": batched}
    bad = min(most + over, captured)
    this = lab(range(captured), work=fail_with(ValueError, *range(bad)), batch=100, **settings)

    if bad == most:
        assert this.finish()["failed"] == most
        return
    with pytest.raises(DistmapError) as raised:
        this.finish()
    assert name_of(raised) == "Distmap.ToleranceExceeded"
    assert this.stored("ledger.json")["status"] == "FAILED"


def test_the_cause_has_the_counts_and_the_most_frequent_errors(lab: Callable[..., Lab]) -> None:
    def work(item: int) -> int:
        if item < 7:
            raise ValueError
        if item < 9:
            raise KeyError(item)
        return item

    this = lab(
        range(1_000),
        work=work,
        batch=100,
        toleratedFailurePercentage=1,
        rounds=0,
        child=lambda _number, indexes: answer_of(indexes, left=indexes[-3:]) if 999 in indexes else None,
    )

    with pytest.raises(DistmapError) as raised:
        this.finish()

    assert str(raised.value) == (
        "12 of 1,000 items did not succeed (9 failed, 3 unprocessed), and 1% (10) are tolerated: ValueError 7, "
        f"KeyError 2; see s3://{this.run['bucket']}/runs/run-1/failures.jsonl"
    )
    written = this.stored("ledger.json")
    assert (written["error"], written["cause"]) == ("Distmap.ToleranceExceeded", str(raised.value))


def test_fails_when_items_are_missing_whatever_is_tolerated(lab: Callable[..., Lab]) -> None:
    this = lab(range(20), toleratedFailurePercentage=100, child=lambda _number, indexes: LOST if 3 in indexes else None)

    with pytest.raises(DistmapError, match="1 of 20 items are in no result file, such as 3") as raised:
        this.finish()

    assert name_of(raised) == "Distmap.ItemsMissing"


def test_fails_when_an_account_does_not_add_up(lab: Callable[..., Lab]) -> None:
    this = lab(range(20))
    this.map(this.items)
    this.s3.delete_object(Bucket=this.run["bucket"], Key="runs/run-1/results/map-0/SUCCEEDED_0.jsonl")

    with pytest.raises(DistmapError, match=r"SUCCEEDED_0.jsonl is missing") as raised:
        this.finish(this.account())

    assert name_of(raised) == "Distmap.ItemsMissing"


# -- what is written of items that did not succeed


def test_failures_are_told_one_a_line_as_they_ended_last(lab: Callable[..., Lab]) -> None:
    def child(number: int, indexes: list[int]) -> Any:
        if 5 in indexes:
            return answer_of(indexes, left=[5] if number == 0 else [], gone=[5] if number else [])
        return ("States.Timeout", "too slow", "TIMED_OUT") if 15 in indexes else None

    this = lab(range(20), work=fail_with(ValueError, 8), child=child, rounds=1, toleratedFailurePercentage=100)

    with pytest.raises(DistmapError):
        this.finish()

    told = {each["index"]: each for each in this.stored("failures.jsonl")}
    assert told.keys() == {5, 15}
    assert {key: told[5][key] for key in ("outcome", "error", "cause", "child", "attempt", "item")} == {
        "outcome": "MISSING",
        "error": None,
        "cause": None,
        "child": None,
        "attempt": 1,
        "item": 5,
    }
    assert (told[15]["outcome"], told[15]["error"], told[15]["attempt"]) == ("TIMED_OUT", "States.Timeout", 1)
    assert "execution:Squares/Map:" in told[15]["child"]


# -- what interrupts it


def test_an_invocation_that_is_tried_again_answers_the_same(lab: Callable[..., Lab]) -> None:
    this = lab(range(30), child=lambda number, indexes: CRASH if number < 2 and 15 in indexes else None)
    answer: Any = {}
    for items in (this.items, None, None):
        this.map(items or answer["again"]["items"])
        answer = this.account()
        assert this.account() == answer

    assert answer["ledger"]["rounds"] == 2


def test_an_invocation_that_fails_the_run_fails_it_again_and_emits_its_metrics_once(
    lab: Callable[..., Lab], log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    this = lab(range(30), work=fail_with(ValueError, 1))
    for _ in range(2):
        if not this.event:
            this.map(this.items)
        with pytest.raises(DistmapError) as raised:
            this.account()
        assert name_of(raised) == "Distmap.ToleranceExceeded"

    assert len([line for line in log_lines() if "_aws" in line]) == 1


def test_a_redrive_runs_everything_again_that_did_not_succeed(lab: Callable[..., Lab]) -> None:
    broken = True

    def work(item: int) -> int:
        if broken and item in {3, 14}:
            raise ValueError
        return item

    this = lab(range(20), work=work, rounds=1)
    with pytest.raises(DistmapError):
        this.finish()
    with pytest.raises(DistmapError):
        this.redrive()
    assert [items["count"] for items in this.rounds] == [2]
    assert this.stored("ledger.json")["redriveCount"] == 1

    broken = False
    ledger = this.redrive()

    assert (ledger["succeeded"], ledger["recovered"], ledger["rounds"]) == (20, 2, 2)
    assert this.stored("failures.jsonl") == []
    assert this.stored("ledger.json")["status"] == "SUCCEEDED"


@pytest.mark.parametrize("captured", [True, False], ids=["item file", "source"])
def test_an_account_that_goes_on_in_other_invocations_is_the_same(
    lab: Callable[..., Lab],
    lambda_context: Callable[[float], Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    captured: bool,
) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: 60)

    def child(number: int, indexes: list[int]) -> Any:
        if number == 0 and 15 in indexes:
            return CRASH
        return answer_of(indexes, left=indexes[-1:]) if number < 2 and 25 in indexes else None

    def outcome(context: Any) -> tuple[Any, Any, Any]:
        this = lab(
            range(60),
            work=fail_with(ValueError, 41, 42, 59),
            child=child,
            captured=captured,
            toleratedFailureCount=3,
            batch=5,
        )
        this.context = context
        ledger = this.finish()
        files = [sorted(this.read(items), key=lambda item: int(item["index"])) for items in this.rounds]
        failures = sorted(this.stored("failures.jsonl"), key=lambda item: int(item["index"]))
        written = this.stored("ledger.json")
        continuations.append(this.continuations)
        written["measures"] = written["measures"]["items"]  # how long they took is another matter each time
        return written, files, [ledger, failures]

    continuations: list[int] = []
    whole = outcome(lambda: None)
    pieces = outcome(lambda: lambda_context(0))

    assert pieces == whole
    assert continuations[0] == 0
    assert continuations[1] > 8


def test_fails_when_a_continuation_is_none_of_this_account(lab: Callable[..., Lab]) -> None:
    this = lab(range(3))
    event = {**this.map(this.items), "continuation": {"snapshot": "another"}}

    with pytest.raises(EventError, match="the continuation is none of this account's"):
        account_run(event)


# -- runs that ended badly


@pytest.fixture
def ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Sends what EventBridge sends of a run."""

    def send(this: Lab, status: str, **detail: Any) -> Any:
        settings = {**this.settings, "toleratedFailurePercentage": None}
        monkeypatch.setenv("DISTMAP_ACCOUNT", json.dumps(settings))
        monkeypatch.setenv("DISTMAP_RUNS", json.dumps({"bucket": run["bucket"], "prefix": ""}))
        event = {
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "detail": {
                "executionArn": run["id"],
                "stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:Squares",
                "name": run["name"],
                "status": status,
                "startDate": 1_700_000_000_000,
                "stopDate": 1_700_000_100_000,
                "input": "{}",
                "redriveCount": 0,
                **detail,
            },
        }
        return account_run(event, this.context())

    return send


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_a_run_that_ended_badly_is_accounted_for(
    lab: Callable[..., Lab], ended: Callable[..., Any], log_lines: Callable[[], list[dict[str, Any]]], status: str
) -> None:
    this = lab(range(20), work=fail_with(ValueError, 3))
    this.map(this.items)

    ended(this, status, error="States.ExceedToleratedFailureThreshold", cause="too many")

    written = this.stored("ledger.json")
    assert (written["status"], written["captured"], written["succeeded"], written["failed"]) == (status, 20, 19, 1)
    assert (written["error"], written["cause"]) == ("States.ExceedToleratedFailureThreshold", "too many")
    assert [each["index"] for each in this.stored("failures.jsonl")] == [3]
    assert len([line for line in log_lines() if "_aws" in line]) == 1

    ended(this, status)  # events come at least once
    assert [line for line in log_lines() if "_aws" in line] == []


@pytest.mark.parametrize("status", ["TIMED_OUT", "ABORTED"])
def test_items_of_a_run_that_ended_before_the_export_are_pending(
    lab: Callable[..., Lab], make_export: Callable[..., Any], ended: Callable[..., Any], status: str
) -> None:
    this = lab(range(20))
    export = make_export(map_run="map-0")
    export.write_manifest(export.folder, {"SUCCEEDED": [], "FAILED": [], "PENDING": []})

    ended(this, status)

    written = this.stored("ledger.json")
    assert (written["captured"], written["pending"], written["complete"]) == (20, 20, True)
    assert {each["outcome"] for each in this.stored("failures.jsonl")} == {"PENDING"}


def test_the_export_of_a_run_that_failed_is_waited_for(
    lab: Callable[..., Lab],
    make_export: Callable[..., Any],
    ended: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    this = lab(range(20))
    export = make_export(map_run="map-0")
    export.write_manifest(export.folder, {"SUCCEEDED": [], "FAILED": [], "PENDING": []})
    monkeypatch.setattr("distmap._account.sleep", lambda _seconds: this.map(this.items))

    ended(
        this,
        "FAILED",
        error="States.ExceedToleratedFailureThreshold",
        stopDate=datetime.now(UTC).timestamp() * 1000,
    )

    assert this.stored("ledger.json")["succeeded"] == 20


def test_fails_when_the_export_of_a_run_is_not_there_in_time(
    lab: Callable[..., Lab],
    make_export: Callable[..., Any],
    ended: Callable[..., Any],
    lambda_context: Callable[[float], Any],
) -> None:
    this = lab(range(20))
    export = make_export(map_run="map-0")
    export.write_manifest(export.folder, {"SUCCEEDED": [], "FAILED": [], "PENDING": []})
    this.context = lambda: lambda_context(0)

    with pytest.raises(ResultsError, match="are not there yet"):
        ended(
            this,
            "FAILED",
            error="States.ExceedToleratedFailureThreshold",
            stopDate=datetime.now(UTC).timestamp() * 1000,
        )

    assert not this.has("ledger.json")


def test_a_run_that_ended_badly_is_accounted_for_over_several_attempts(
    lab: Callable[..., Lab], ended: Callable[..., Any], lambda_context: Callable[[float], Any]
) -> None:
    this = lab(range(60), work=fail_with(ValueError, 3, 44), batch=5)
    this.map(this.items)
    this.context = lambda: lambda_context(0)
    attempts = 1
    while not this.has("ledger.json"):
        attempts += 1
        with suppress(DeadlineError):
            ended(this, "FAILED")

    assert attempts > 4
    written = this.stored("ledger.json")
    assert (written["succeeded"], written["failed"]) == (58, 2)
    assert [each["index"] for each in this.stored("failures.jsonl")] == [3, 44]


def test_a_run_that_ended_before_it_had_items_says_so(lab: Callable[..., Lab], ended: Callable[..., Any]) -> None:
    this = lab([], captured=False)

    ended(this, "FAILED", error="CaptureError", cause="no listing")

    written = this.stored("ledger.json")
    assert (written["captured"], written["capturedFrom"], written["complete"]) == (0, "unknown", False)
    assert written["runError"] == "'run-1' failed before it read an item: CaptureError: no listing"


def test_a_run_that_failed_in_a_round_has_the_rounds_before_it_too(
    lab: Callable[..., Lab], ended: Callable[..., Any]
) -> None:
    this = lab(range(20), child=lambda number, indexes: CRASH if 3 in indexes and number == 0 else None)
    this.map(this.items)
    this.map(this.account()["again"]["items"])

    ended(this, "FAILED")

    written = this.stored("ledger.json")
    assert (written["succeeded"], written["recovered"], written["rounds"]) == (20, 10, 1)


def test_a_round_that_never_began_changes_nothing(lab: Callable[..., Lab], ended: Callable[..., Any]) -> None:
    this = lab(range(20), child=lambda _number, indexes: CRASH if 3 in indexes else None)
    this.map(this.items)
    this.account()

    ended(this, "ABORTED")

    written = this.stored("ledger.json")
    assert (written["failed"], written["pending"], written["rounds"]) == (10, 0, 0)


def test_a_run_that_failed_after_its_account_gets_its_status_alone(
    lab: Callable[..., Lab], ended: Callable[..., Any], log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    this = lab(range(20))
    this.finish()
    before = this.stored("ledger.json")
    log_lines()

    ended(this, "FAILED", error="CombineError")

    failed = {"status": "FAILED", "error": "CombineError", "cause": None}
    chain = [{**before["chain"][0], "status": "FAILED"}]
    assert this.stored("ledger.json") == {**before, **failed, "chain": chain}
    assert [line for line in log_lines() if "_aws" in line] == []


def test_a_redrive_that_begins_after_the_account_heals_the_status_of_a_run(
    lab: Callable[..., Lab], ended: Callable[..., Any], log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    this = lab(range(20))
    this.finish()
    before = this.stored("ledger.json")
    ended(this, "FAILED", error="CombineError")
    log_lines()

    ended(this, "SUCCEEDED", redriveCount=1)

    assert this.stored("ledger.json") == {**before, "redriveCount": 1}
    ended(this, "FAILED", error="CombineError")  # late, or twice
    assert this.stored("ledger.json") == {**before, "redriveCount": 1}
    assert [line for line in log_lines() if "_aws" in line] == []


def test_a_run_that_succeeds_by_itself_is_left_as_its_account_has_it(
    lab: Callable[..., Lab], ended: Callable[..., Any]
) -> None:
    this = lab(range(20))
    ended(this, "SUCCEEDED")
    assert not this.has("ledger.json")
    this.finish()
    before = this.stored("ledger.json")

    ended(this, "SUCCEEDED")

    assert this.stored("ledger.json") == before


def test_a_run_that_its_account_failed_is_accounted_for_once(
    lab: Callable[..., Lab], ended: Callable[..., Any]
) -> None:
    this = lab(range(20), work=fail_with(ValueError, 3))
    with pytest.raises(DistmapError):
        this.finish()
    before = this.stored("ledger.json")

    ended(this, "FAILED", error="Distmap.ToleranceExceeded", cause="{}")

    assert this.stored("ledger.json") == before


def test_what_is_no_end_is_passed_over(lab: Callable[..., Lab], ended: Callable[..., Any]) -> None:
    this = lab(range(20))

    ended(this, "SUCCEEDED")

    assert not this.has("ledger.json")


# -- events


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": {}}, "got a run that lacks"),
        ({"items": "s3://a/b"}, "got items: 's3://a/b'"),
        ({"items": {"bucket": "b", "key": "k", "round": 0, "origin": {}}}, "got the items of a round without"),
        ({"results": {"bucket": "b"}}, "got results"),
        ({"redriveCount": "1"}, "redriveCount: '1'"),
        ({"continuation": "x"}, "got continuation: 'x'"),
        ({"account": None}, "got account: None"),
    ],
    ids=["run", "items", "items of a round", "results", "redrive count", "continuation", "account"],
)
def test_fails_when_an_event_is_none(run_nowhere: Run, changes: dict[str, Any], message: str) -> None:
    event = {"run": run_nowhere, "items": None, "results": None, "account": {}, **changes}

    with pytest.raises(EventError, match=message):
        account_run(event)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("toleratedFailureCount", -1),
        ("toleratedFailureCount", "5"),
        ("toleratedFailurePercentage", 101),
        ("toleratedFailurePercentage", True),
        ("waitSeconds", float("nan")),
    ],
)
def test_fails_when_a_setting_from_the_input_is_no_number(run_nowhere: Run, name: str, value: Any) -> None:
    event = {"run": run_nowhere, "items": None, "results": None, "account": {name: value}}

    with pytest.raises(EventError, match=f"{name} must be a number from 0"):
        account_run(event)


# -- items of several files, maps inside children, and what breaks in between


def test_items_of_several_files_have_rounds_under_their_identities(
    s3: S3Client, run: Run, make_export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: 6)
    envelopes = [{"index": index, "source": f"s3://in/{name}", "value": name} for name in "ab" for index in range(3)]
    lab = Lab(s3, run, make_export, [], captured=False, batch=2, work=lambda item: item)
    monkeypatch.setattr(lab, "read", lambda items: Lab.read(lab, items) if items else envelopes)
    lab.child = lambda number, indexes: CRASH if number == 0 and indexes == [2, 0] else None

    ledger = lab.finish()

    assert (ledger["captured"], ledger["succeeded"], ledger["recovered"], ledger["missing"]) == (6, 6, 2, 0)
    assert Lab.read(lab, lab.rounds[0]) == [envelopes[2], envelopes[3]]


def test_the_account_of_a_run_has_that_of_the_maps_inside_its_children(
    s3: S3Client, lab: Callable[..., Lab], make_export: Callable[..., Any]
) -> None:
    this = lab(range(2), batched=False)
    inner = {"label": "Inner", "batched": False, "resultsBucket": this.run["bucket"], "nested": []}
    this.settings["nested"] = [inner]
    for outer in range(2):
        export = make_export(map_run=f"inner-{outer}")
        export.folder = f"runs/run-1/nested/Inner/{outer}/results/inner-{outer}/"
        for index in range(3):
            export.run_child(this.worker, {"index": index, "value": 1, "run": {**this.run, "path": f"/{outer}"}})
        export.write()
        s3.put_object(Bucket=this.run["bucket"], Key=f"runs/run-1/nested/Inner/{outer}/items.jsonl", Body=b"1\n" * 3)

    assert this.finish()["succeeded"] == 2

    (nested,) = this.stored("ledger.json")["nested"]
    assert (nested["label"], nested["mapRuns"], nested["captured"], nested["succeeded"]) == ("Inner", 2, 6, 6)


def test_what_did_not_succeed_has_the_items_of_nested_maps_too(
    s3: S3Client, lab: Callable[..., Lab], make_export: Callable[..., Any]
) -> None:
    this = lab(range(2), batched=False, work=fail_with(ValueError, 7), toleratedFailurePercentage=100)
    innermost = {"label": "Innermost", "batched": False, "resultsBucket": this.run["bucket"], "nested": []}
    this.settings["nested"] = [{**innermost, "label": "Inner", "nested": [innermost]}]
    for label, path in (("Inner", "/0"), ("Inner", "/1"), ("Innermost", "/0/0"), ("Innermost", "/1/0")):
        folder = f"runs/run-1/nested/{label}{path}"
        export = make_export(map_run=f"{label}-1")
        export.folder = f"{folder}/results/{label}-1/"
        for index, value in enumerate((1, 7)[: 1 + (label == "Innermost")]):
            export.run_child(this.worker, {"index": index, "value": value, "run": {**this.run, "path": path}})
        export.write()
        lost = path == "/1/0"
        s3.put_object(Bucket=this.run["bucket"], Key=f"{folder}/items.jsonl", Body=b"1\n" * (index + 1 + lost))

    with pytest.raises(DistmapError, match="nested maps doesn't add up"):
        this.finish()

    told = this.stored("failures.jsonl")
    assert [(each["map"], each["path"], each["index"], each["outcome"], each["item"]) for each in told] == [
        ("Innermost", "0/0", 1, "FAILED", 7),
        ("Innermost", "1/0", 1, "FAILED", 7),
        ("Innermost", "1/0", 2, "MISSING", None),
    ]
    assert this.stored("ledger.json")["failuresKey"] == f"{this.run['prefix']}/failures.jsonl"


def test_items_of_a_nested_map_that_are_missing_fail_the_run(lab: Callable[..., Lab]) -> None:
    this = lab(range(2), batched=False, toleratedFailurePercentage=100)
    this.settings["nested"] = [{"label": "Inner", "batched": False, "resultsBucket": this.run["bucket"], "nested": []}]

    with pytest.raises(DistmapError, match="the account of nested maps doesn't add up") as raised:
        this.finish()

    assert name_of(raised) == "Distmap.ItemsMissing"


def test_a_ledger_tells_how_long_an_item_took(lab: Callable[..., Lab]) -> None:
    this = lab(range(25), work=fail_with(ValueError, 3), toleratedFailurePercentage=100)
    this.finish()
    # Batches of ten and one of five, each of which took a second.
    assert this.stored("ledger.json")["itemSeconds"] == 0.2


def test_a_ledger_has_what_workers_measured_in_all_rounds(lab: Callable[..., Lab]) -> None:
    this = lab(range(25), work=fail_with(ValueError, 3), toleratedFailurePercentage=100)
    this.finish()
    measures = this.stored("ledger.json")["measures"]
    assert measures["items"] == 25  # a failure is measured too
    assert measures["median"] <= measures["p99"] <= measures["most"] <= measures["seconds"]
    assert int(measures["slowest"]) in range(25)
    assert measures["memoryMB"] > 0


def test_a_ledger_of_workers_that_measure_nothing_says_so(lab: Callable[..., Lab]) -> None:
    this = lab(range(20), child=lambda _number, _indexes: CRASH, rounds=0, toleratedFailurePercentage=100)
    this.finish()
    assert this.stored("ledger.json")["measures"] is None


def test_a_ledger_of_children_that_all_failed_does_not_tell_how_long_an_item_took(lab: Callable[..., Lab]) -> None:
    this = lab(range(20), child=lambda _number, _indexes: CRASH, rounds=0, toleratedFailurePercentage=100)
    this.finish()
    assert this.stored("ledger.json")["itemSeconds"] is None


@pytest.mark.parametrize("name", ["rounds/1/items.jsonl", "failures.jsonl"])
def test_a_file_that_could_not_be_written_to_its_end_is_not_there(
    lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rounds = int(name.startswith("rounds"))
    this = lab(range(30), child=lambda _number, _indexes: CRASH, rounds=rounds)
    this.map(this.items)
    with monkeypatch.context() as broken:
        broken.setattr("distmap._upload.ItemUpload.complete", interrupt)
        with pytest.raises(InterruptedError):
            this.account()
    assert not this.has(name)
    assert not this.has("ledger.json")

    if rounds:
        assert this.account()["again"]["items"]["count"] == 30
    else:
        with pytest.raises(DistmapError):
            this.account()
        assert len(this.stored("failures.jsonl")) == 30


def interrupt(*_: Any) -> None:
    raise InterruptedError


def test_a_file_whose_upload_another_attempt_completed_is_written_again(
    lab: Callable[..., Lab], lambda_context: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PART_BYTES", "MIN_PART_BYTES"):
        monkeypatch.setattr(f"distmap._upload.{name}", 2**18)
    large = "x" * 1024
    this = lab(
        [large] * 600,
        child=lambda number, _indexes: CRASH if number == 0 else None,
        batch=50,
        toleratedFailurePercentage=75,
    )
    event = this.map(this.items)
    this.context = lambda: lambda_context(0)
    continuation = None
    while True:
        answer: Any = account_run({**event, "continuation": continuation}, lambda_context(0))
        if "again" in answer:
            break
        last, continuation = continuation, answer["continuation"]

    assert account_run({**event, "continuation": last}, lambda_context(0)) is not None
    assert this.account()["again"]["items"]["count"] == 600
    assert this.finish(this.account())["succeeded"] == 600


def test_the_code_of_the_account_function_is_its_handler() -> None:
    path = Path(__file__).parents[2] / "lambdas" / "account_run" / "handler.py"
    spec = importlib.util.spec_from_file_location("account_run_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.handler is account_run
