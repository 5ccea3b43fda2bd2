"""The report: one page with everything in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from cdk_distributed_map.runs import Pipeline
from cdk_distributed_map.runs.report import charts, page
from cdk_distributed_map.runs.report.log_lines import MOST, Lines
from cdk_distributed_map.runs.report.retries import retries_in_log
from cdk_distributed_map.runs.report.timeline import Timeline
from tests.runs.report.scene import PLACE

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Checks that every tag is closed, and keeps what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.events: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        if tag in {"script", "link", "img", "iframe", "object", "form"}:
            self.fetched.append(tag)
        self.events += [name for name in given if name.startswith("on")]
        self.links += [str(given["href"])] if "href" in given else []
        self.ids += [str(given["id"])] if "id" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def parsed(text: str) -> Page:
    found = Page()
    found.feed(text)
    found.text = re.sub(r"\s+", " ", found.text)
    return found


def test_page_is_whole_and_fetches_nothing(distmap: Callable[..., Any], finished: Any, tmp_path: Any) -> None:
    distmap("report", "Squares", "first", "-o", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = parsed(text)
    assert (found.open, found.fetched, found.events) == ([], [], [])
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    for words in ("items captured", "Every item is accounted for", "Throughput", "Concurrency", "Durations"):
        assert words in found.text
    assert "prefers-color-scheme: dark" in text
    assert re.search(r"<rect [^>]*height=\"140.0\"", text)  # the largest bar fills its chart
    # There was one run, and nothing before it.
    assert "Runs" not in found.text
    assert "Compared" not in found.text
    inner = {link[1:] for link in found.links if link.startswith("#")}
    assert inner <= set(found.ids)


def test_report_answers_what_an_operator_asks(report: page.RunReport) -> None:
    told = report.to_json()
    assert (told["run"], told["runBefore"]) == ("tuesday", "monday")
    # Which items are slow: four batches of ten, and one of two.
    assert told["itemSeconds"]["p50"] == pytest.approx(5, rel=0.05)
    assert told["itemSeconds"]["slowest"] == 10.0
    assert {each["index"] for each in told["slowestItems"][:4]} == {9, 19, 29, 39}
    first, again = told["runs"]
    # Memory and time near the limit, cold starts, and the one that was stopped before it could say whose it was.
    calls = first["invocations"]
    assert (calls["number"], calls["failed"], calls["coldStarts"]) == (5, {"timeout": 1}, 4)
    assert (calls["mostMemoryMB"], calls["nearMemory"], calls["nearTimeout"]) == (480.0, 1, 2)
    assert again["invocations"]["number"] == 1
    # Throttles and retries, of the child whose history is there.
    assert first["retries"]["byError"] == {"Lambda.TooManyRequestsException": 2, "Lambda.Unknown": 1}
    assert first["retries"]["throttled"] == 2
    # A chain shows its runs apart: status, duration, cost of each.
    assert [(each["run"], each["status"], each["seconds"], each["children"]) for each in told["runs"]] == [
        ("tuesday", "SUCCEEDED", 240.0, 4),
        ("tuesday-retry-1", "SUCCEEDED", 30.0, 1),
    ]
    assert first["dollars"] > again["dollars"] > 0
    # What bound it, of all the time there was.
    assert first["boundBy"] == "below MaxConcurrency"
    assert sum(first["time"].values()) == pytest.approx(240)
    assert first["time"]["after the map"] == 70
    changes = told["comparison"]
    assert changes["duration"] == {"now": 240.0, "before": 300.0}
    assert changes["slowest item"] == {"now": 10.0, "before": 5.0}
    assert changes["most memory"] == {"now": 203, "before": 203}
    # What a plan would have said of it, by its own items and their times.
    planned = {each["term"]: each for each in told["predicted"]}
    assert planned["items"]["predicted"] == planned["items"]["measured"] == 40
    assert planned["time of the run"]["measured"] == 240
    assert planned["time of the run"]["predicted"] > 0
    assert planned["cost in all"]["measured"] == pytest.approx(first["dollars"], rel=0.01)
    assert told["settings"]["items in a child"] == "batches of up to 10 items, 10 in the mean"
    assert told["settings"]["MaxConcurrency"] == "4"


def test_page_says_it_to_people_and_data_is_never_code(report: page.RunReport) -> None:
    text = page.render(report)
    found = parsed(text)
    assert (found.open, found.fetched, found.events) == ([], [], [])
    assert "<script" not in text
    assert "\u202e" not in text
    assert "<script>alert(1)</script>" in found.text  # in items, messages, tracebacks and the combined output, as text
    for words in (
        "1 of 40 items did not succeed",
        f"1 item: ValueError at {PLACE}",
        'item 14: bad number 14 {"v": 14}',
        "most memory, of 512; 1 at 90% or more",
        "longest, of 1m00s; 2 at 80% of the timeout or more",
        "cold starts, 412ms in the mean",
        "2 times because of throttling",
        "Throttles and retries throttles other retries failed invocations",
        "What bound it: below MaxConcurrency, 1m",
        "4 of 4 children at a time at most: the worker was throttled. To be faster: raise the worker's concurrency.",
        "The runs side by side, without the time between them: tuesday, tuesday-retry-1.",
        "monday, both without their retries. this run before change duration 4m00s 5m00s -20% better",
        "measured / predicted time of the run",
        "Prices of us-east-1",
        "Not in it: S3 requests",
        'combined output { "total": 20540,',
        "distmap retry Squares tuesday --watch",
        "distmap failures Squares tuesday",
        """distmap run Squares --input '{"number": 40, "chunk": 1}' --watch""",
    ):
        assert words in found.text, words


def test_a_chain_has_no_dead_gap_on_its_time_axis(report: page.RunReport) -> None:
    drawn = charts.over_time(report.runs, limit=4)
    assert [chart.title for chart in drawn] == ["Throughput", "Concurrency", "Cold starts", "Throttles and retries"]
    for chart in drawn:
        first, again = chart.parts  # two hours apart
        assert "tuesday: 2026-11-19 11:07:00 to 11:09:" in first.says
        assert "tuesday-retry-1: 2026-11-19 13:06:" in again.says
        assert first.share + again.share == pytest.approx(100, abs=2)
        assert first.share > again.share > 10
    concurrency = drawn[1]
    assert (concurrency.limit, concurrency.limit_says) == (0.0, "MaxConcurrency 4")
    assert len(concurrency.bars) > 60


def test_attempts_of_express_children_are_in_the_log_of_the_state_machine(scene: Pipeline, states: Any) -> None:
    """Express children have no histories; lines of others, and of what went well, don't count."""

    def line(kind: str, child: str, **details: str) -> str:
        arn = f"arn:aws:states:us-east-1:123456789012:express:{child}:a:b"
        return json.dumps({"type": kind, "execution_arn": arn, "details": details})

    states.log_lines = [
        line("TaskFailed", "Squares/Squares", error="Lambda.TooManyRequestsException"),
        line("TaskFailed", "Squares/Squares", error="Lambda.TooManyRequestsException"),
        line("TaskTimedOut", "Squares/Squares"),
        line("TaskFailed", "Other/Squares", error="Lambda.TooManyRequestsException"),
        line("TaskSucceeded", "Squares/Squares"),
        "no JSON",
    ]
    run, timeline = scene.run("monday"), Timeline()
    described = run.describe()
    lines = Lines(run, described.started, described.stopped)
    found = retries_in_log(lines, timeline)
    assert (found.errors, found.throttled) == ({"Lambda.TooManyRequestsException": 2, "TaskTimedOut": 1}, 2)
    (segment,) = timeline.segments()
    assert {name: sum(amounts) for name, amounts in segment.amounts.items()} == {"throttles": 2, "other retries": 1}
    assert lines.left == MOST - 6


def test_report_does_without_what_it_may_not_see(scene: Pipeline, states: Any) -> None:
    for action in ("GetExecutionHistory", "FilterLogEvents", "ListExecutions"):
        states.denied.add((action, ""))
    report = page.gather(scene.run("tuesday"))
    told = report.to_json()
    assert [each["invocations"] for each in told["runs"]] == [None, None]
    assert [each["retries"] for each in told["runs"]] == [None, None]
    assert told["runBefore"] is None
    text = parsed(page.render(report)).text
    assert "not authorized" in text
    assert "The worker measured at most 203 MB of memory" in text
    # Without the log, the function costs no more than if it ran for all of its children's time.
    assert report.costs[0].at_most
    assert "at most $" in text


@pytest.mark.parametrize(
    ("most", "text"), [(0.0312, "0.03"), (0.5, "0.5"), (1.0, "1"), (12.34, "12.3"), (2500.0, "2,500")]
)
def test_most_of_a_chart_is_not_told_as_nothing(most: float, text: str) -> None:
    assert charts.short_number(most) == text
