"""``distmap plan``: what it says of a pipeline in a cloud assembly, and of a deployed one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Outcome

Distmap = Callable[..., Outcome]


@pytest.fixture
def planned(distmap: Distmap, assembly: Path) -> Callable[..., Any]:
    """Plans a pipeline of the assembly, and returns the JSON."""

    def run(*arguments: str) -> Any:
        outcome = distmap("plan", *arguments, "--assembly", str(assembly), "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)

    return run


def input_of(plan: Any, name: str) -> tuple[Any, str]:
    (found,) = [(each["value"], each["origin"]) for each in plan["inputs"] if each["name"] == name]
    return found


SQUARES = ("Squares", "--items", "100_000", "--item-seconds", "0.05")


def test_inputs_come_from_the_template_and_say_so(planned: Callable[..., Any]) -> None:
    plan = planned(*SQUARES)

    assert plan["children"] == 1_000
    assert input_of(plan, "items") == (100_000, "given")
    assert input_of(plan, "items of a batch") == (100, "template")
    assert input_of(plan, "max_concurrency") == (50, "template")
    assert input_of(plan, "memory of the function, MB") == (1_024, "template")
    assert input_of(plan, "reserved concurrency") == (None, "template")
    assert input_of(plan, "bytes of an item") == (150.0, "assumed")
    assert input_of(plan, "Region") == ("sa-east-1", "template")


def test_items_are_counted_where_they_are(planned: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("id,name\n" + "1,x\n" * 2_500)
    ranges = planned("Squares", "--item-seconds", "0.05", "--input", '{"number": 7000, "chunk": 7}')
    counted = planned("Squares", "--item-seconds", "0.05", "--items", str(file))
    given = planned("Jobs/Outer", "--item-seconds", "0.1", "--nested-items", "3", "--input", '{"items": [1, 2]}')

    assert input_of(ranges, "items") == (1_000, "counted")
    assert input_of(counted, "items") == (2_500, "counted")
    assert input_of(counted, "bytes of an item") == (len('{"id":"1","name":"x"}'), "counted")
    assert input_of(given, "items") == (2, "counted")


def test_cost_is_by_service_with_the_prices_of_the_region(planned: Callable[..., Any]) -> None:
    plan = planned(*SQUARES)
    charges = {(each["service"], each["what"]): each for each in plan["charges"]}

    starts = charges["Step Functions", "starts and states of children"]
    assert (starts["quantity"], starts["unit_price"]) == (2_000, 37.5e-6)
    assert starts["dollars"] == pytest.approx(0.075)
    time = charges["Lambda", "time, with cold starts"]
    assert time["quantity"] == pytest.approx(100_000 * 0.05, rel=0.01)
    assert {what for _, what in charges} >= {"account time", "capture time", "combine time"}
    assert sum(each["dollars"] for each in charges.values()) == pytest.approx(plan["dollars"], abs=1e-5)


def test_time_is_a_range_with_phases_and_a_limit(planned: Callable[..., Any]) -> None:
    plan = planned(*SQUARES)
    seconds = plan["seconds"]

    # 1,000 batches of 5 s, 50 at a time
    assert 100 < seconds["p10"] <= seconds["p50"] <= seconds["p90"] < 120
    assert sum(plan["phases"].values()) == pytest.approx(seconds["p50"], abs=0.5)
    assert plan["limits"][0]["name"] == "concurrency"
    assert "raise max_concurrency" in plan["limits"][0]["remedy"]


def test_an_automatic_batch_is_what_the_run_will_compute(planned: Callable[..., Any]) -> None:
    few, many = (planned("Automatic", "--items", n, "--item-seconds", "0.1") for n in ("1000", "50_000"))

    # Two batches for each of ten children; at most as many as fit 60 s less what the worker keeps.
    assert input_of(few, "items of a batch") == (50, "template")
    assert input_of(many, "items of a batch") == (550, "template")


def test_a_listing_an_alias_and_a_parameter_are_looked_through(planned: Callable[..., Any]) -> None:
    plan = planned("Listed", "--items", "5_000", "--item-seconds", "0.05")

    assert plan["items"] == 1_000  # the most that its reader reads
    assert input_of(plan, "Express children") == (True, "template")
    assert input_of(plan, "max_concurrency") == (7, "template")
    assert input_of(plan, "timeout of the function, s") == (30, "template")
    assert input_of(plan, "GET requests of an item") == (1.0, "assumed")
    assert [each for each in plan["charges"] if each["what"] == "logs of Step Functions"]


def test_a_nested_map_has_the_children_of_all_its_map_runs(planned: Callable[..., Any]) -> None:
    plan = planned("Jobs/Outer", "--items", "20", "--nested-items", "10", "--item-seconds", "0.1")

    assert plan["items"] == plan["children"] == 200
    # Five at a time, each with the fixed seconds of a Map Run.
    assert plan["seconds"]["p50"] > 20 / 5 * 4
    own = next(each for each in plan["charges"] if each["what"] == "states of the run")
    assert own["quantity"] > 20 * 2


def test_what_is_given_goes_before_the_template(planned: Callable[..., Any]) -> None:
    plan = planned(*SQUARES, "--batch", "1000", "--express", "--concurrency", "20", "--memory", "512", "--region",
                   "eu-west-1", "--item-p99", "0.06", "--failures", "0.1")  # fmt: skip

    assert plan["children"] == 100
    assert plan["setting"]["express"] is True
    assert plan["setting"]["memory_mb"] == 512
    assert input_of(plan, "items of a batch") == (1_000, "given")
    assert input_of(plan, "Region") == ("eu-west-1", "given")
    assert input_of(plan, "share of items that a round runs again") == (0.1, "given")


def test_quotas_and_prices_can_be_given_in_files(planned: Callable[..., Any], tmp_path: Path) -> None:
    quotas, prices = tmp_path / "quotas.json", tmp_path / "prices.json"
    quotas.write_text('{"standard_starts": 1}')
    prices.write_text('{"transition": 0, "as_of": "2027-01-01"}')
    plan = planned(*SQUARES, "--quotas", str(quotas), "--prices", str(prices))

    assert plan["seconds"]["p50"] > 999
    assert plan["limits"][0]["name"] == "starts"
    assert plan["pricesAsOf"] == "2027-01-01"
    assert "starts and states of children" not in {each["what"] for each in plan["charges"] if each["dollars"]}


def test_a_plan_is_one_screen_of_80_columns(distmap: Distmap, assembly: Path) -> None:
    outcome = distmap("plan", *SQUARES, "--item-p99", "0.3", "--assembly", str(assembly))
    lines = outcome.out.splitlines()

    assert outcome.code == 0
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 60
    assert "Squares: 100,000 items in 1,000 children, Standard, of up to 100" in lines
    assert [line for line in lines if line.startswith("phases") and " steady " in line]
    assert [line for line in lines if line.startswith("children") and "█" in line]
    assert "-> raise max_concurrency" in outcome.out


def test_other_settings_are_shown_with_the_lines_to_change(planned: Callable[..., Any]) -> None:
    plan = planned(*SQUARES, "--objective", "cost", "--max-time", "2m")

    assert len(plan["alternatives"]) > 1
    assert all(each["seconds"] <= 120 for each in plan["alternatives"])
    assert plan["best"]["dollars"] < plan["dollars"]
    assert f"batching=Batching(max_items={plan['best']['batch']})," in plan["best"]["changes"]


def test_settings_that_work_are_found_where_todays_do_not(planned: Callable[..., Any]) -> None:
    plan = planned("Squares", "--items", "1000", "--item-seconds", "9", "--tune")

    assert "the function ends after 60 s" in plan["error"]
    assert 1 <= plan["best"]["batch"] <= 6


@pytest.mark.parametrize(
    ("limit", "message"),
    [(["--max-cost", "0.001"], "costs at most 0.001 USD"), (["--max-time", "5"], "takes at most 5 s")],
    ids=["cost", "time"],
)
def test_fails_when_no_setting_keeps_a_limit(distmap: Distmap, assembly: Path, limit: list[str], message: str) -> None:
    outcome = distmap("plan", *SQUARES, *limit, "--assembly", str(assembly))

    assert outcome.code == 6
    assert f"no setting {message}" in outcome.err


def test_a_deployed_pipeline_is_described_by_aws(
    distmap: Distmap, squares: Any, tmp_path: Path, environment: None
) -> None:
    del environment
    outcome = distmap(
        "plan", squares.arn, "--items", "100", "--item-seconds", "0.1", "--assembly", str(tmp_path), "--json"
    )
    plan = json.loads(outcome.out)

    assert outcome.code == 0
    assert input_of(plan, "items of a batch") == (10, "deployed")
    assert input_of(plan, "Region") == ("us-east-1", "deployed")


def test_a_finished_run_tells_how_long_an_item_takes(
    distmap: Distmap, squares: Any, finished: Any, tmp_path: Path
) -> None:
    del finished
    arguments = ("plan", squares.arn, "--assembly", str(tmp_path), "--json")
    outcome = distmap(*arguments, "--from-run", "latest", "--items", "5000")
    plan = json.loads(outcome.out)

    # Two batches of ten took a second each.
    assert outcome.code == 0, outcome.err
    assert input_of(plan, "seconds of an item, median") == (0.1, "measured")
    assert input_of(plan, "items") == (5_000, "given")
    assert plan["children"] == 500

    against = json.loads(distmap(*arguments, "--against", "first").out)["against"]
    terms = {each["term"]: each for each in against}
    assert terms["items"]["ratio"] == terms["time of a child"]["ratio"] == 1
    # The fake counts each item as a child.
    assert terms["starts and states of children"]["measured"] == pytest.approx(20 * 2 * 25e-6)


def test_a_run_starts_where_its_plan_is_within_limits(
    distmap: Distmap, squares: Any, states: Any, finished: Any, tmp_path: Path
) -> None:
    before = len(states.executions)
    told = ("--plan", "--item-count", "1000", "--item-seconds", "0.1")
    refused = distmap("run", squares.arn, *told, "--max-hours", "0.0001", "--max-cost", "0.0001")
    given = '{"number": 40}'
    latest = distmap("run", squares.arn, "--plan", "--max-hours", "0.0001", "--input", given)
    (tmp_path / "mine.jsonl").write_text("1\n2\n3\n")
    mine = distmap("run", squares.arn, "--plan", "--max-hours", "0.0001", "--items", str(tmp_path / "mine.jsonl"))

    assert (refused.code, refused.out, latest.code, mine.code) == (6, "", 6, 6)
    assert "over the limit: it costs" in refused.err
    assert "over the limit: it takes" in refused.err
    # Counted at the source, or in the file; the time of an item is that of the latest run.
    assert "40 items in 4 children" in latest.err
    assert "3 items in 1 child take" in mine.err
    assert len(states.executions) == before
    started = distmap("run", squares.arn, *told, "--max-hours", "10", "--name", "planned")
    assert started.code == 0, started.err
    assert "1,000 items in 100 children take about" in started.err
    assert started.out.startswith("planned\n")


def test_fails_when_a_limit_is_given_without_a_plan(distmap: Distmap, squares: Any) -> None:
    outcome = distmap("run", squares.arn, "--max-cost", "1")

    assert (outcome.code, outcome.out) == (2, "")
    assert "--max-cost needs --plan" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["Outer", "--item-seconds", "1"], 1, "'items' of the input, which hasn't it: pass the run's input (--input)"),
        (["Squares", "--items", "1"], 2, "say how long an item takes"),
        (["Squares", "--items", "-1"], 2, "must be a whole one of at least 0, or name a file of them, got '-1'"),
        (["Squares", "--items", "none.csv", "--item-seconds", "1"], 1, "can't be read from none.csv"),
        (["Squares", "--items", "1", "--item-seconds", "1", "--measure-memory", "512,1024"], 2, "needs --measure"),
        (["Squares", "--item-seconds", "1", "--measure", "9"], 2, "--measure tells how long an item takes: leave it"),
        (["Squares", "--measure", "9", "--measure-memory", "512"], 2, "sizes of memory are two or more numbers"),
        (["Squares", "--measure", "9", "--measure-memory", "1,x"], 2, "from 128 to 10,240 MB, as 512,1024,2048"),
        (["Squares", "--items", "1", "--item-p99", "1"], 2, "--item-p99 needs --item-seconds"),
        (["Squares", "--max-time", "soon"], 2, "a time is a number with s, m, h or d, as 30m, got 'soon'"),
        (["Squares", "--items", "1000", "--item-seconds", "9"], 1, "the function ends after 60 s"),
        (["Squares", "--items", "9", "--item-seconds", "50", "--express", "--batch", "9"], 1, "end after 300 s"),
        (["Squares", "--items", "1", "--item-seconds", "1", "--item-bytes", "300000"], 1, "a child takes 262,144"),
        (["Squares", "--items", "100000001", "--item-seconds", "1"], 1, "items must be from 0 to 100,000,000"),
        (["Squares", "--items", "1", "--item-seconds", "1", "--item-p99", "0.5"], 1, "at least the median"),
        (["Squares", "--items", "1", "--item-seconds", "1", "--memory", "64"], 1, "memory_mb must be from 128"),
        (["Nobody", "--items", "1", "--item-seconds", "1"], 1, "has no pipeline 'Nobody' (its state machines are "),
        (["Twins", "--items", "1", "--item-seconds", "1"], 1, "has several pipelines 'Twins'"),
        (["Jobs", "--items", "1", "--item-seconds", "1"], 1, "has several pipelines 'Jobs'"),
    ],
    ids=[
        "items",
        "seconds",
        "number",
        "file",
        "no number to measure",
        "two times",
        "one size",
        "sizes",
        "p99",
        "duration",
        "lambda",
        "express",
        "bytes",
        "many",
        "order",
        "memory",
        "name",
        "twice",
        "stack",
    ],
)
def test_fails_when_a_plan_can_not_be_made(
    distmap: Distmap, assembly: Path, arguments: list[str], code: int, message: str
) -> None:
    outcome = distmap("plan", *arguments, "--assembly", str(assembly))

    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("[]", "must be an object of numbers by name"), ('{"starts": 1}', "quotas have no 'starts'")],
    ids=["json", "array", "name"],
)
def test_fails_when_a_file_of_quotas_is_none(
    distmap: Distmap, assembly: Path, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "quotas.json"
    file.write_text(text)
    outcome = distmap("plan", *SQUARES, "--assembly", str(assembly), "--quotas", str(file))

    assert outcome.code == 1
    assert message in outcome.err


def test_fails_when_there_is_no_assembly_and_no_such_pipeline(distmap: Distmap, tmp_path: Path) -> None:
    outcome = distmap("plan", *SQUARES, "--assembly", str(tmp_path / "none"))

    assert outcome.code == 1
    assert "write one with `cdk synth`" in outcome.err
