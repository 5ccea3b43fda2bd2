"""Watching: the rates it asks at, and what it survives. Hours pass at once: the clock is the test's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdk_distributed_map.runs import Client, CredentialsError, NotFoundError, Pipeline, Progress, Run, RunFailedError
from cdk_distributed_map.runs.aws.pace import Paces
from cdk_distributed_map.runs.watch.watcher import Watcher
from tests.cli.command import progress_line

MOST_STEPS = 200_000


def watching(run: Run, *, notice: Callable[[str], None] | None = None) -> Watcher:
    """Return a watcher that asks as often as it does at AWS, though the fake is on this machine."""
    return Watcher(run, notice=notice, paces=Paces())


@pytest.fixture
def pipeline(client: Client, states: Any, definitions: dict[str, str]) -> Pipeline:
    return client.pipeline(states.add_machine("Squares", definitions["Squares"]))


@pytest.fixture
def nested(client: Client, states: Any, definitions: dict[str, str]) -> Pipeline:
    return client.pipeline(states.add_machine("Outer", definitions["Outer"]))


@pytest.fixture
def simulate(clock: Any) -> Callable[..., list[Progress]]:
    """Runs watchers side by side, each as soon as it is due, until all have ended or the time is up."""

    def run(watchers: Sequence[Watcher], *, seconds: float) -> list[Progress]:
        waiting = dict.fromkeys(watchers, clock.now)
        seen: list[Progress] = []
        for _ in range(MOST_STEPS):
            watcher = min(waiting, key=lambda each: waiting[each], default=None)
            if watcher is None or waiting[watcher] > seconds:
                return seen
            clock.now = max(clock.now, waiting[watcher])
            progress = watcher.step(clock.now)
            if progress is not None:
                seen.append(progress)
            if progress is not None and progress.final:
                del waiting[watcher]
            else:
                waiting[watcher] = max(clock.now + 0.05, watcher.due(clock.now))
        raise AssertionError(f"no end after {MOST_STEPS} steps")

    return run


# One watcher's rate says what five come to, each with a pace of its own; five at once are the same over and over.
@pytest.mark.parametrize("watchers", [1, pytest.param(5, marks=pytest.mark.slow)], ids=["one watcher", "five watchers"])
def test_rates_stay_under_the_quotas(
    watchers: int, pipeline: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "long", label="Squares", items=1_000_000, seconds=1200)
    seen = simulate([watching(pipeline.run("long")) for _ in range(watchers)], seconds=1500)
    assert sum(each.final for each in seen) == watchers
    assert not states.throttled
    # Not only is the burst never used up: the long-run rate is under the refill, so that it would never be.
    for action, (_, refill) in {
        "DescribeMapRun": (200, 1),
        "ListMapRuns": (100, 1),
        "DescribeExecution": (250, 10),
    }.items():
        at_five = states.calls[action] / watchers * 5
        assert at_five <= refill * clock.now + 10 * 5, action
        assert states.buckets[action].lowest > 0.5 * states.buckets[action].size, action
    # It is worth watching all the same.
    assert states.calls["DescribeMapRun"] >= watchers * clock.now / 6


@pytest.mark.slow
def test_five_watchers_of_nested_maps_stay_under_the_quotas(
    nested: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]], add_inner: Callable[..., None]
) -> None:
    run = states.add_run(nested.arn, "deep", label="Outer", items=40, seconds=600)
    add_inner(run, 40)
    seen = simulate([watching(nested.run("deep")) for _ in range(5)], seconds=900)
    assert sum(each.final for each in seen) == 5
    assert not states.throttled
    assert seen[-1].nested_runs["Outer-Nested"] >= 10
    assert seen[-1].nested["Outer-Nested"].total >= 10 * 7


@pytest.fixture
def add_inner(states: Any, clock: Any) -> Callable[..., None]:
    """Gives each of the first children of a run a map of 7 items."""

    def add(run: Any, children: int, *, late: float = 0) -> None:
        for number in range(children):
            child = run.arn.replace(":execution:Outer:", ":execution:Outer/Outer:") + f"-{number}"
            arn = run.map.arn.replace("/Outer:", "/Outer-Nested:") + f"-{number}"
            run.children[child] = [type(run.map)(arn, "Outer-Nested", 7, 120, 0, clock.now + late)]

    return add


def test_nested_maps_that_begin_late_are_found(
    nested: Pipeline, states: Any, simulate: Callable[..., list[Progress]], add_inner: Callable[..., None]
) -> None:
    run = states.add_run(nested.arn, "late", label="Outer", items=3, seconds=300)
    add_inner(run, 3, late=60)
    last = simulate([watching(nested.run("late"))], seconds=600)[-1]
    assert (last.nested_runs, last.nested_left_out) == ({"Outer-Nested": 3}, 0)
    assert last.nested["Outer-Nested"].succeeded == 3 * 7


def test_nested_maps_of_a_run_that_has_ended_are_told(
    nested: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]], add_inner: Callable[..., None]
) -> None:
    run = states.add_run(nested.arn, "over", label="Outer", items=4, seconds=10)
    add_inner(run, 4)
    clock.now = 1000.0
    last = simulate([watching(nested.run("over"))], seconds=1100)[-1]
    assert (last.final, last.nested_runs, last.nested_left_out) == (True, {"Outer-Nested": 4}, 0)


def test_nested_maps_that_were_not_looked_at_are_said_to_be_left_out(
    nested: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]], add_inner: Callable[..., None]
) -> None:
    run = states.add_run(nested.arn, "wide", label="Outer", items=500, seconds=60)
    add_inner(run, 500)
    last = simulate([watching(nested.run("wide"))], seconds=600)[-1]
    assert last.final
    assert clock.now < 90  # nobody is kept waiting for them
    assert last.nested_left_out >= 500 - last.nested_runs["Outer-Nested"] > 0
    assert f"nested maps of up to {last.nested_left_out} children" in progress_line(last)


def test_maps_of_the_user_beside_the_pipeline_are_outermost_ones(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    run = states.add_run(pipeline.arn, "chain", label="Squares", items=100, seconds=60)
    arn = run.map.arn.replace("/Squares:", "/Own:")
    run.others.append(type(run.map)(arn, "Own", 7, 30, 0, 20.0))
    last = simulate([watching(pipeline.run("chain"))], seconds=600)[-1]
    assert [(each.label, each.items.succeeded) for each in last.maps] == [("Squares", 100), ("Own", 7)]
    assert last.nested == {}
    assert "Squares 100/100, Own 7/7" in progress_line(last)


@pytest.mark.parametrize("started", [1.0, 3.0], ids=["listed in the order of their starts", "listed the other way"])
def test_maps_are_told_in_the_order_in_which_they_started(
    started: float, pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    run = states.add_run(pipeline.arn, "chain", label="Squares", items=100, seconds=60)
    run.map.started = 2.0
    run.others.append(type(run.map)(run.map.arn.replace("/Squares:", "/Own:"), "Own", 7, 30, started=started))
    last = simulate([watching(pipeline.run("chain"))], seconds=600)[-1]
    assert [each.label for each in last.maps] == (["Own", "Squares"] if started < 2 else ["Squares", "Own"])


def test_machine_of_several_pipelines_can_be_watched(
    client: Client, states: Any, definitions: dict[str, str], simulate: Callable[..., list[Progress]]
) -> None:
    both = json.loads(definitions["Squares"])
    both["States"] |= {f"{name} again": state for name, state in both["States"].items()}
    chain = client.pipeline(states.add_machine("Chain", json.dumps(both)))
    states.add_run(chain.arn, "run", label="Squares", items=100, seconds=60)
    with pytest.raises(NotFoundError, match="several pipelines"):
        _ = chain.definition
    assert simulate([watching(chain.run("run"))], seconds=600)[-1].items.succeeded == 100


def test_last_progress_is_final_and_complete(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=1000, seconds=90, failed=3, tolerance=5)
    seen = simulate([watching(pipeline.run("run"))], seconds=300)
    last = seen[-1]
    assert last.final
    assert last.complete
    assert last.status == "SUCCEEDED"
    assert last.items_failed
    assert (last.items.succeeded, last.items.failed, last.items.pending) == (997, 3, 0)
    assert last.eta_seconds is None
    middle = seen[len(seen) // 2]
    assert middle.rate == pytest.approx(1000 / 90, rel=0.2)
    assert middle.eta_seconds is not None


def test_throttling_makes_it_ask_less_often_and_recover(
    pipeline: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=1000, seconds=1200)
    said: list[str] = []
    watcher = watching(pipeline.run("run"), notice=said.append)
    simulate([watcher], seconds=100)
    usual = states.calls["DescribeMapRun"]
    states.faults.extend([("DescribeMapRun", 400, "ThrottlingException")] * 6)
    simulate([watcher], seconds=clock.now + 300)
    assert states.calls["DescribeMapRun"] - usual < 15  # 60 at the usual rate
    seen = simulate([watcher], seconds=3000)
    assert seen[-1].final
    assert "AWS throttles: asking less often" in said


@pytest.mark.parametrize(
    ("fault", "words"),
    [((0, ""), "no answer"), ((400, "ExpiredTokenException"), "renew"), ((503, "ServiceUnavailable"), "failed to")],
    ids=["lost network", "expired credentials", "service down"],
)
def test_trouble_only_makes_it_wait(
    fault: tuple[int, str], words: str, pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=1000, seconds=300)
    said: list[str] = []
    _ = pipeline.definition
    watcher = watching(pipeline.run("run"), notice=said.append)
    states.faults.extend([("*", *fault)] * 8)
    seen = simulate([watcher], seconds=2000)
    assert seen[-1].final
    assert seen[-1].items.succeeded == 1000
    assert any(words in text for text in said)
    assert len(said) < 8


def test_fresh_credentials_are_picked_up(
    pipeline: Pipeline,
    states: Any,
    clock: Any,
    simulate: Callable[..., list[Progress]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=10, seconds=60)
    watcher = watching(pipeline.run("run"))
    simulate([watcher], seconds=10)
    before = pipeline.aws.sfn(paced=True)
    states.faults.append(("DescribeExecution", 400, "ExpiredTokenException"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    assert simulate([watcher], seconds=1000)[-1].final
    after = pipeline.aws.sfn(paced=True)
    assert after is not before
    assert after._request_signer._credentials.access_key == "renewed"  # type: ignore[attr-defined] # noqa: SLF001 - botocore's


def test_fails_when_there_are_no_credentials(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    pipeline.aws.renew()
    with pytest.raises(CredentialsError, match="sign in"):
        simulate([watching(pipeline.run("run"))], seconds=100)


def test_fails_when_the_run_does_not_exist(
    pipeline: Pipeline, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    with pytest.raises(NotFoundError, match="doesn't know the run 'none'"):
        simulate([watching(pipeline.run("none"))], seconds=100)
    assert clock.now > 20  # a run that was just started may not be known yet


def test_waiting_for_a_run_that_is_not_known_is_said(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    said: list[str] = []
    watcher = watching(pipeline.run("new"), notice=said.append)
    simulate([watcher], seconds=5)
    states.add_run(pipeline.arn, "new", label="Squares", items=10, seconds=5)
    assert simulate([watcher], seconds=100)[-1].final
    assert said == ["AWS doesn't know the run 'new' yet: waiting for 30 s at most"]


def test_time_that_runs_ahead_here_makes_no_negative_durations(pipeline: Pipeline, states: Any) -> None:
    states.add_run(pipeline.arn, "run", label="Squares")
    described = pipeline.run("run").describe()
    ahead = replace(described, started=described.started + timedelta(days=20_000))
    assert ahead.seconds == 0


def test_run_without_a_map_ends_too(pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]) -> None:
    run = states.add_run(pipeline.arn, "run")
    run.ended = ("FAILED", 5.0)
    run.error = "CaptureError"
    last = simulate([watching(pipeline.run("run"))], seconds=100)[-1]
    assert (last.final, last.status, last.error, last.maps) == (True, "FAILED", "CaptureError", ())


def test_run_that_ends_before_its_map_was_looked_at_is_told_whole(
    pipeline: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "short", label="Squares", items=100, seconds=1)
    paces = Paces()
    watcher = Watcher(pipeline.run("short"), paces=paces)
    for clock.now in (0.0, 0.1):
        watcher.step(clock.now)
    # Its end is learnt in the step in which its map is due, and the list of its maps is not.
    clock.now = 10.0
    paces.map_runs.was_throttled(clock.now)
    watcher.step(clock.now)
    *_, last = simulate([watcher], seconds=60)
    assert (last.final, last.items.succeeded) == (True, 100)


@pytest.mark.parametrize(
    "denied",
    [
        ("ListExecutions", ":mapRun:Outer/Outer:"),
        ("ListMapRuns", ":execution:Outer/Outer:"),
        ("DescribeMapRun", ":mapRun:Outer/Outer-Nested:"),
    ],
    ids=["children", "maps of a child", "nested map"],
)
def test_nested_maps_that_may_not_be_asked_for_are_left_out_and_said_to_be(
    denied: tuple[str, str],
    nested: Pipeline,
    states: Any,
    simulate: Callable[..., list[Progress]],
    add_inner: Callable[..., None],
) -> None:
    run = states.add_run(nested.arn, "run", label="Outer", items=1, seconds=60)
    add_inner(run, 1)
    states.denied.add(denied)
    said: list[str] = []
    last = simulate([watching(nested.run("run"), notice=said.append)], seconds=300)[-1]
    assert (last.final, last.items.succeeded, last.nested, last.nested_left_out) == (True, 1, {}, 1)
    assert any("not counted: watching 'run': AccessDeniedException" in text for text in said)


@pytest.mark.parametrize("action", ["ListMapRuns", "DescribeMapRun", "DescribeExecution"])
def test_answers_that_are_behind_are_waited_out(
    action: str, pipeline: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=100, seconds=30)
    watcher = watching(pipeline.run("run"))
    code = "ResourceNotFound" if action == "DescribeMapRun" else "ExecutionDoesNotExist"
    for clock.now in (0.0, 5.0, 10.0):
        states.faults.extend([(action, 400, code)] * 2)
        watcher.step(clock.now)
    last = simulate([watcher], seconds=200)[-1]
    assert not [fault for fault in states.faults if fault[0] != action]
    assert (last.final, last.items.succeeded, last.complete) == (True, 100, True)


def test_map_run_that_never_becomes_known_is_said_not_to_be_counted(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=100, seconds=30)
    states.faults.extend([("DescribeMapRun", 400, "ResourceNotFound")] * 200)
    said: list[str] = []
    last = simulate([watching(pipeline.run("run"), notice=said.append)], seconds=300)[-1]
    assert (last.final, last.complete, last.maps) == (True, False, ())
    assert "AWS doesn't know it, though it listed it" in said[-1]


def test_run_on_this_machine_is_asked_about_often(pipeline: Pipeline, states: Any, clock: Any) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=100, seconds=1)
    watcher = Watcher(pipeline.run("run"))
    for step in range(40):
        clock.now = step * 0.05
        progress = watcher.step(clock.now)
        if progress is not None and progress.final:
            break
    assert clock.now < 1.5


@pytest.mark.parametrize(
    ("status", "error", "cause", "said"),
    [
        (
            "FAILED",
            "States.ItemReaderFailed",
            "no such \x1b[31mkey",
            r"nightly: FAILED: States.ItemReaderFailed: no such \u001b[31mkey",
        ),
        ("TIMED_OUT", "States.Timeout", None, "nightly: TIMED_OUT: States.Timeout"),
        ("ABORTED", None, None, "nightly: ABORTED"),
    ],
    ids=["failed", "timed out", "stopped"],
)
def test_check_raises_the_error_of_a_run_that_failed(
    status: str, error: str | None, cause: str | None, said: str
) -> None:
    progress = Progress(name="nightly", status=status, started=None, stopped=None, maps=(), error=error, cause=cause)

    with pytest.raises(RunFailedError) as raised:
        progress.check()

    assert str(raised.value) == said


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING"])
def test_check_lets_a_run_pass_that_has_not_failed(status: str) -> None:
    progress = Progress(name="nightly", status=status, started=None, stopped=None, maps=())

    assert progress.check() is progress
