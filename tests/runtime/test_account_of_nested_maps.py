"""The tolerance of a nested map is about its items: each of its map runs is held to it, by the run around it.

What is left of one for no fault of its own runs again with the item around it, where the run would fail otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pytest

from distmap import DistmapError, Results, process_items
from distmap.wire import Run
from tests.runtime.account_lab import LOST, Lab, answer_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


CRASH = ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: exit status 1")
STOPPED = type("States.ExceedToleratedFailureThreshold", (Exception,), {})


class Nest(Lab):
    """A run whose items are lists: each the items of an inner map, in one batch that succeeds whatever fails in it.

    Attributes:
        bad: Inner items that fail.
        broken: Outer items that fail for themselves.
        ends: Says how the inner child of an outer item ends, at an attempt from 0, as ``child`` of a lab.
        strict: Whether Step Functions fails an outer item for an inner child that fails.
        begun: The outer items whose inner maps were begun, in order.
    """

    def __init__(
        self, *given: Any, tolerance: Any, bad: Collection[int] = (), broken: Collection[int] = (), **settings: Any
    ) -> None:
        super().__init__(*given, batched=False, work=self.work, **settings)
        self.bad, self.broken, self.begun = set(bad), broken, list[int]()
        self.ends: Callable[[int, int, list[int]], Any] = lambda _outer, _attempt, _indexes: None
        self.strict = False
        self.inner = process_items(fail_at_percentage=None)(self.inner_work)
        kept = {} if tolerance is None else {"tolerance": tolerance}
        place = {"batched": True, "resultsBucket": self.run["bucket"], "nested": []}
        self.settings["nested"] = [{"label": "Inner", **place, **kept}]

    def work(self, rows: list[int]) -> int:
        """Run the inner map of an outer item: its rows are ten times its index, and the numbers after that."""
        outer = rows[0] // 10
        attempt = self.begun.count(outer)
        self.begun.append(outer)
        export = self.make_export(map_run=f"inner-{outer}-{len(self.begun)}")
        export.folder = f"{self.run['prefix']}/nested/Inner/{outer}/results/inner-{outer}-{len(self.begun)}/"
        envelopes = [{"index": index, "value": value} for index, value in enumerate(rows)]
        event = {"BatchInput": {"distmap": {"run": {**self.run, "path": f"/{outer}"}}}, "Items": envelopes}
        ends = self.ends(outer, attempt, [*range(len(rows))])
        if ends is None:
            export.run_child(self.inner, event)
        elif isinstance(ends, tuple):
            export.failed(event, *ends)
        elif ends is not LOST:
            export.succeeded(event, ends)
        export.write()
        key = f"{self.run['prefix']}/nested/Inner/{outer}/items.jsonl"
        self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=b"1\n" * len(rows))
        if self.strict and isinstance(ends, tuple):
            raise STOPPED
        if outer in self.broken:
            message = "the outer item itself"
            raise ValueError(message)
        return outer

    def left_behind(self) -> list[str]:
        """Return the keys of what nested maps and rounds left."""
        found = self.s3.list_objects_v2(Bucket=self.run["bucket"], Prefix=f"{self.run['prefix']}/").get("Contents", [])
        return [each["Key"] for each in found if "/nested/" in each["Key"] or "/rounds/" in each["Key"]]

    def inner_work(self, item: int) -> int:
        if item in self.bad:
            message = f"item {item}"
            raise ValueError(message)
        return item


def tolerate(count: float | None = None, percentage: float | None = None) -> dict[str, float | None]:
    return {"toleratedFailureCount": count, "toleratedFailurePercentage": percentage}


@pytest.fixture
def nest(s3: S3Client, run: Run, make_export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(values: Any, **settings: Any) -> Nest:
        return Nest(s3, run, make_export, values, **settings)

    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: None)
    return make


EDGES = [
    (tolerate(), 0, "none is tolerated"),
    (tolerate(count=2), 2, "2 are tolerated"),
    (tolerate(percentage=25), 2, r"25% \(2\) are tolerated"),
    (tolerate(percentage=37.5), 3, r"37.5% \(3\) are tolerated"),
    (tolerate(count=1, percentage=50), 1, r"50% \(4\) and at most 1 are tolerated"),
    (tolerate(count=0, percentage=50), 0, r"50% \(4\) and at most 0 are tolerated"),
]


ROWS = [list(range(8)), list(range(10, 18))]
NAMES = ["none", "count", "percentage", "decimal", "both", "no-count"]


@pytest.mark.parametrize(("tolerance", "most"), [each[:2] for each in EDGES], ids=NAMES)
def test_tolerance_of_a_nested_map_is_kept_at_its_edge(
    nest: Callable[..., Nest], tolerance: dict[str, Any], most: int
) -> None:
    assert nest(ROWS, tolerance=tolerance, bad=range(10, 10 + most)).finish()["succeeded"] == 2


@pytest.mark.parametrize(("tolerance", "most", "words"), EDGES, ids=NAMES)
def test_fails_when_one_item_more_of_a_nested_map_did_not_succeed(
    nest: Callable[..., Nest], tolerance: dict[str, Any], most: int, words: str
) -> None:
    over = nest(ROWS, tolerance=tolerance, bad=range(10, 11 + most))
    told = f"^{most + 1} of 8 items of the nested map Inner in item 1 did not succeed, and {words}; see s3://"
    with pytest.raises(DistmapError, match=told) as raised:
        over.finish()
    assert raised.type.__name__ == "Distmap.ToleranceExceeded"
    stored = over.stored("ledger.json")
    assert (stored["status"], stored["succeeded"], stored["nested"][0]["failed"]) == ("FAILED", 2, most + 1)


def test_each_map_run_is_held_to_the_tolerance_of_a_nested_map_by_itself(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11], [20, 21]], tolerance=tolerate(count=1), bad=[0, 10, 20])

    assert this.finish()["succeeded"] == 3


def test_fails_when_several_map_runs_go_over_the_tolerance(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11], [20, 21]], tolerance=tolerate(), bad=[0, 10, 20])

    with pytest.raises(DistmapError, match="more than are tolerated in 2 other map runs of it"):
        this.finish()


def test_items_inside_an_item_that_failed_are_not_held_to_it_again(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate(), bad=[10], broken=[1], toleratedFailureCount=1)

    ledger = this.finish()

    assert (ledger["succeeded"], ledger["failed"]) == (1, 1)


@pytest.mark.parametrize("settings", [{}, {"tolerance": None}], ids=["a definition of before", "from the input"])
def test_a_tolerance_that_nobody_knows_fails_no_run(nest: Callable[..., Nest], settings: dict[str, Any]) -> None:
    this = nest([[0, 1]], tolerance=None, bad=[0])
    this.settings["nested"][0] |= settings

    assert this.finish()["succeeded"] == 1


@pytest.mark.parametrize("captured", [True, False], ids=["item file", "source"])
def test_a_redrive_runs_the_items_around_what_was_not_tolerated(
    nest: Callable[..., Nest], monkeypatch: pytest.MonkeyPatch, *, captured: bool
) -> None:
    monkeypatch.setattr("distmap._account.items_of_map_run", lambda arn: 2 if "inner" in arn else 3)
    this = nest([[0, 1], [10, 11], [20, 21]], tolerance=tolerate(), bad=[10], captured=captured)
    with pytest.raises(DistmapError, match="in item 1 did not succeed"):
        this.finish()

    this.bad.clear()
    ledger = this.redrive()

    assert [each["count"] for each in this.rounds] == [1]
    assert this.read(this.rounds[0]) == [{"index": 1, "value": [10, 11]}]
    assert (ledger["captured"], ledger["succeeded"], ledger["rounds"], ledger["addsUp"]) == (3, 3, 1, True)
    (inner,) = this.stored("ledger.json")["nested"]
    assert (inner["captured"], inner["succeeded"], inner["failed"]) == (6, 6, 0)
    assert this.begun == [0, 1, 2, 1]
    assert (ledger["duplicates"], inner["duplicates"]) == (0, 0)


def once(
    ends: Callable[[list[int]], Any], *, outer: int = 1, attempts: int = 1
) -> Callable[[int, int, list[int]], Any]:
    """Have the inner child of one outer item end so, at its first attempts."""
    return lambda of, attempt, indexes: ends(indexes) if of == outer and attempt < attempts else None


UNTRIED: dict[str, Callable[[list[int]], Any]] = {
    "left": lambda indexes: answer_of(indexes, left=[1]),
    "in no answer": lambda indexes: answer_of(indexes, gone=[1]),
    "lost": lambda _indexes: LOST,
    "crashed": lambda _indexes: CRASH,
    "throttled out": lambda _indexes: ("Lambda.TooManyRequestsException", "Rate Exceeded."),
}


@pytest.mark.parametrize("ends", UNTRIED.values(), ids=UNTRIED)
def test_untried_items_of_a_nested_map_run_again_with_the_item_around_them(
    nest: Callable[..., Nest], ends: Callable[[list[int]], Any]
) -> None:
    this = nest([[0, 1], [10, 11], [20, 21]], tolerance=tolerate())
    this.ends = once(ends)

    ledger = this.finish()

    assert this.begun == [0, 1, 2, 1]
    assert this.read(this.rounds[0]) == [{"index": 1, "value": [10, 11]}]
    assert (ledger["succeeded"], ledger["rounds"], ledger["duplicates"], ledger["addsUp"]) == (3, 1, 0, True)
    (inner,) = this.stored("ledger.json")["nested"]
    told = (inner["mapRuns"], inner["captured"], inner["succeeded"], inner["duplicates"], inner["problems"])
    assert told == (3, 6, 6, 0, [])
    assert not this.has("failures.jsonl")


def test_an_item_whose_inner_map_was_stopped_for_a_crash_runs_again(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate())
    this.ends, this.strict = once(UNTRIED["crashed"]), True

    ledger = this.finish()

    assert this.begun == [0, 1, 1]
    assert (ledger["succeeded"], ledger["failed"], ledger["recovered"], ledger["rounds"]) == (2, 0, 1, 1)
    assert this.stored("ledger.json")["nested"][0]["succeeded"] == 4


def test_a_tolerance_that_nobody_knows_lets_what_crashed_run_again_too(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=None)
    this.ends, this.strict = once(UNTRIED["crashed"]), True

    assert this.finish()["recovered"] == 1


def test_untried_items_within_the_tolerance_of_a_nested_map_are_left(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate(count=1))
    this.ends = once(UNTRIED["left"])

    assert this.finish()["rounds"] == 0
    assert this.stored("ledger.json")["nested"][0]["unprocessed"] == 1


def test_missing_items_of_a_nested_map_run_again_whatever_is_tolerated(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate(percentage=100))
    this.ends = once(UNTRIED["in no answer"])

    assert this.finish()["rounds"] == 1
    assert this.stored("ledger.json")["nested"][0]["succeeded"] == 4


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"batched": True}], ids=["no rounds", "failed too"])
def test_nothing_runs_again_where_that_would_not_save_the_run(
    nest: Callable[..., Nest], settings: dict[str, Any]
) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate(), bad=[] if "rounds" in settings else [0, 10])
    this.settings["rounds"] = settings.get("rounds", 3)
    this.ends = once(UNTRIED["left"], outer=0 if "rounds" in settings else 5)

    with pytest.raises(DistmapError, match="of the nested map Inner"):
        this.finish()

    assert this.begun == [0, 1]


def test_rounds_for_a_nested_map_end_after_two_without_progress(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate(), rounds=9)
    this.ends = once(UNTRIED["left"], attempts=99)

    with pytest.raises(DistmapError, match="1 of 2 items of the nested map Inner in item 1 did not succeed"):
        this.finish()

    assert this.begun == [0, 1, 1, 1]


def test_rounds_for_a_nested_map_go_on_while_they_bring_something(nest: Callable[..., Nest]) -> None:
    this = nest([[*range(5)]], tolerance=tolerate(), rounds=9)
    this.ends = lambda _outer, attempt, indexes: answer_of(indexes, left=[at for at in indexes if at != attempt])

    assert this.finish()["rounds"] == 4
    assert this.stored("ledger.json")["nested"][0]["succeeded"] == 5


def test_items_that_succeeded_in_any_round_have_the_result_of_the_last(nest: Callable[..., Nest]) -> None:
    this = nest([[0, 1], [10, 11]], tolerance=tolerate())
    this.ends = once(UNTRIED["left"])
    this.worker = process_items(fail_at_percentage=None)(lambda rows: [this.work(rows), len(this.begun)])

    this.finish()

    results = Results(this.s3, this.first_results)
    assert {result.index: result.value for result in results} == {0: [0, 1], 1: [1, 3]}
    assert results.duplicates == 0


def test_an_account_of_nested_maps_that_goes_on_in_other_invocations_is_the_same(
    nest: Callable[..., Nest], lambda_context: Callable[[float], Any]
) -> None:
    def outcome(context: Callable[[], Any]) -> tuple[int, Any]:
        this = nest([[10 * at, 10 * at + 1, 10 * at + 2] for at in range(5)], tolerance=tolerate(count=1), bad=[1, 42])
        this.ends = once(UNTRIED["crashed"], outer=2)
        this.context = context
        for key in this.left_behind():  # what the other one left
            this.s3.delete_object(Bucket=this.run["bucket"], Key=key)
        ledger, written = this.finish(), this.stored("ledger.json")
        return this.continuations, [ledger, written["nested"], written["errors"], this.stored("failures.jsonl")]

    continuations, whole = outcome(lambda: None)
    assert continuations == 0
    continuations, pieces = outcome(lambda: lambda_context(0))
    assert pieces == whole
    assert continuations > 10
    assert [each["path"] for each in whole[-1]] == ["0", "4"]
