"""The tolerance of a nested map is about its items: each of its map runs is held to it, by the run around it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pytest

from distmap import DistmapError, process_items
from distmap.wire import Run
from tests.runtime.account_lab import Lab

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Nest(Lab):
    """A run whose items are lists: each the items of an inner map, in one batch that succeeds whatever fails in it.

    Attributes:
        bad: Inner items that fail.
        broken: Outer items that fail for themselves.
        begun: How many inner maps were begun.
    """

    def __init__(
        self, *given: Any, tolerance: Any, bad: Collection[int] = (), broken: Collection[int] = (), **settings: Any
    ) -> None:
        super().__init__(*given, batched=False, work=self.work, **settings)
        self.bad, self.broken, self.begun = set(bad), broken, 0
        self.inner = process_items(fail_at_percentage=None)(self.inner_work)
        kept = {} if tolerance is None else {"tolerance": tolerance}
        place = {"batched": True, "resultsBucket": self.run["bucket"], "nested": []}
        self.settings["nested"] = [{"label": "Inner", **place, **kept}]

    def work(self, rows: list[int]) -> int:
        """Run the inner map of an outer item: its rows are ten times its index, and the numbers after that."""
        outer, self.begun = rows[0] // 10, self.begun + 1
        export = self.make_export(map_run=f"inner-{outer}-{self.begun}")
        export.folder = f"{self.run['prefix']}/nested/Inner/{outer}/results/inner-{outer}-{self.begun}/"
        envelopes = [{"index": index, "value": value} for index, value in enumerate(rows)]
        run = {**self.run, "path": f"/{outer}"}
        export.run_child(self.inner, {"BatchInput": {"distmap": {"run": run}}, "Items": envelopes})
        export.write()
        key = f"{self.run['prefix']}/nested/Inner/{outer}/items.jsonl"
        self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=b"1\n" * len(rows))
        if outer in self.broken:
            message = "the outer item itself"
            raise ValueError(message)
        return outer

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
    assert this.begun == 4
