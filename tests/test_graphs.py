"""The one walker of states: what holds states, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.graphs import inside, is_distributed, processor, walk


def a_map(*names: str, mode: str | None = None, field: str = "ItemProcessor", **states: Any) -> dict[str, Any]:
    config = {} if mode is None else {"ProcessorConfig": {"Mode": mode}}
    return {"Type": "Map", field: {**config, "States": {**{name: {"Type": "Pass"} for name in names}, **states}}}


DEFINITION = {
    "States": {
        "Both": {"Type": "Parallel", "Branches": [{"States": {"Left": a_map("Deep", mode="INLINE")}}, {"States": {}}]},
        "Many": a_map("Child", mode="DISTRIBUTED", Inner=a_map("Grandchild", mode="DISTRIBUTED")),
        "Older": a_map("Iteration", field="Iterator"),
    }
}


def test_every_state_is_found_before_those_inside_it() -> None:
    assert [name for name, _ in walk(DEFINITION)] == [
        "Both", "Left", "Deep", "Many", "Child", "Inner", "Grandchild", "Older", "Iteration",
    ]  # fmt: skip


def test_children_of_distributed_maps_can_be_left_out() -> None:
    assert [name for name, _ in walk(DEFINITION, children=False)] == [
        "Both",
        "Left",
        "Deep",
        "Many",
        "Older",
        "Iteration",
    ]


def test_a_state_that_holds_none_has_nothing_inside() -> None:
    assert list(inside({"Type": "Pass"})) == []
    assert processor({"Type": "Pass"}) == {}


@pytest.mark.parametrize(("mode", "expected"), [("DISTRIBUTED", True), ("INLINE", False), (None, False)])
def test_the_mode_says_whether_a_map_is_distributed(mode: str | None, *, expected: bool) -> None:
    assert is_distributed(a_map("Child", mode=mode)) is expected


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"States": None},
        {"States": ["A"]},
        {"States": {"A": "no state"}},
        {"States": {"A": {"Branches": None, "ItemProcessor": None, "Iterator": 1}}},
        {"States": {"A": {"Branches": [1, None], "ItemProcessor": {"ProcessorConfig": None}}}},
    ],
    ids=["empty", "null", "list", "text", "nulls", "numbers"],
)
def test_any_json_can_be_looked_through(odd: dict[str, Any]) -> None:
    assert [name for name, _ in walk(odd)] in ([], ["A"])
