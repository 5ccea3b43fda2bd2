"""Watching: the rates it asks at, and what it survives. Hours pass at once: the clock is the test's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cdk_distributed_map.runs import Client, CredentialsError, NotFoundError, Pipeline, Progress
from cdk_distributed_map.runs._watch import Watcher

MOST_STEPS = 200_000


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


@pytest.mark.parametrize("watchers", [1, 5], ids=["one watcher", "five watchers"])
def test_rates_stay_under_the_quotas(
    watchers: int, pipeline: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "long", label="Squares", items=1_000_000, seconds=1200)
    seen = simulate([Watcher(pipeline.run("long")) for _ in range(watchers)], seconds=1500)
    assert sum(each.final for each in seen) == watchers
    assert not states.throttled
    # Not only is the burst never used up: the long-run rate is under the refill, so that it would never be.
    for action, (_, refill) in {
        "DescribeMapRun": (200, 1),
        "ListMapRuns": (100, 1),
        "DescribeExecution": (250, 10),
    }.items():
        burst = 10 * watchers
        assert states.calls[action] <= refill * clock.now + burst, action
        assert states.buckets[action].lowest > 0.5 * states.buckets[action].size, action
    # It is worth watching all the same.
    assert states.calls["DescribeMapRun"] >= watchers * clock.now / 6


def test_five_watchers_of_nested_maps_stay_under_the_quotas(
    nested: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]], add_inner: Callable[..., None]
) -> None:
    run = states.add_run(nested.arn, "deep", label="Outer", items=40, seconds=600)
    add_inner(run, 40)
    seen = simulate([Watcher(nested.run("deep")) for _ in range(5)], seconds=900)
    assert sum(each.final for each in seen) == 5
    assert not states.throttled
    assert seen[-1].nested_runs["Outer-Nested"] >= 10
    assert seen[-1].nested["Outer-Nested"].total >= 10 * 7


@pytest.fixture
def add_inner(states: Any, clock: Any) -> Callable[..., None]:
    def add(run: Any, children: int) -> None:
        for number in range(children):
            child = run.arn.replace(":execution:Outer:", ":execution:Outer/Outer:") + f"-{number}"
            inner = type(run.map)(
                run.map.arn.replace("/Outer:", "/Outer-Nested:") + f"-{number}", "Outer-Nested", 7, 120, 0, clock.now
            )
            run.children[child] = [inner]

    return add


def test_last_progress_is_final_and_complete(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares", items=1000, seconds=90, failed=3, tolerance=5)
    seen = simulate([Watcher(pipeline.run("run"))], seconds=300)
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
    watcher = Watcher(pipeline.run("run"), notice=said.append)
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
    watcher = Watcher(pipeline.run("run"), notice=said.append)
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
    watcher = Watcher(pipeline.run("run"))
    simulate([watcher], seconds=10)
    before = pipeline.aws.sfn(paced=True)
    states.faults.append(("DescribeExecution", 400, "ExpiredTokenException"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    assert simulate([watcher], seconds=1000)[-1].final
    after = pipeline.aws.sfn(paced=True)
    assert after is not before
    assert after._request_signer._credentials.access_key == "renewed"  # type: ignore[attr-defined] # botocore's own


def test_fails_when_there_are_no_credentials(
    pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]], monkeypatch: pytest.MonkeyPatch
) -> None:
    states.add_run(pipeline.arn, "run", label="Squares")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    pipeline.aws.renew()
    with pytest.raises(CredentialsError, match="sign in"):
        simulate([Watcher(pipeline.run("run"))], seconds=100)


def test_fails_when_the_run_does_not_exist(
    pipeline: Pipeline, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    with pytest.raises(NotFoundError, match="doesn't know the run 'none'"):
        simulate([Watcher(pipeline.run("none"))], seconds=100)
    assert clock.now > 20  # a run that was just started may not be known yet


def test_run_without_a_map_ends_too(pipeline: Pipeline, states: Any, simulate: Callable[..., list[Progress]]) -> None:
    run = states.add_run(pipeline.arn, "run")
    run.ended = ("FAILED", 5.0)
    run.error = "CaptureError"
    last = simulate([Watcher(pipeline.run("run"))], seconds=100)[-1]
    assert (last.final, last.status, last.error, last.maps) == (True, "FAILED", "CaptureError", ())


def test_run_that_ends_before_its_map_was_looked_at_is_told_whole(
    pipeline: Pipeline, states: Any, clock: Any, simulate: Callable[..., list[Progress]]
) -> None:
    states.add_run(pipeline.arn, "short", label="Squares", items=100, seconds=1)
    watcher = Watcher(pipeline.run("short"))
    for clock.now in (0.0, 0.1):
        watcher.step(clock.now)
    # Its end is learnt in the step in which its map is due, and the list of its maps is not.
    clock.now = 10.0
    watcher._list_pace.was_throttled(clock.now)
    watcher.step(clock.now)
    *_, last = simulate([watcher], seconds=60)
    assert (last.final, last.items.succeeded) == (True, 100)
