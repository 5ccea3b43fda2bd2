"""Concurrency, bounds, faults, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_distributed_map.local.faults import SHARES, Faults
from cdk_distributed_map.local.functions import Functions, FunctionSettings, InvokeResult, ServiceError
from cdk_distributed_map.local.functions.concurrency import Concurrency
from cdk_distributed_map.local.functions.forks import Forks
from cdk_distributed_map.local.functions.load import Load
from cdk_distributed_map.local.guardian import Guardian

GIVE_UP_SECONDS = 120


def answer(result: Any) -> Any:
    return json.loads(result.payload)


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    # One that has ended but was not collected yet still has an id.
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


async def outcomes(calls: list[Any]) -> list[str]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [str(r.reason if isinstance(r, ServiceError) else cast("InvokeResult", r).status) for r in results]


def test_reserved_concurrency_throttles_what_is_beyond(lab: Any) -> None:
    lab.define("sleep", reserved_concurrency=2)
    got = lab.run(lambda functions: outcomes([functions.run("sleep", b"0.3") for _ in range(5)]))
    assert got == ["success"] * 2 + ["ReservedFunctionConcurrentInvocationLimitExceeded"] * 3


def test_fails_when_a_function_reserves_none(lab: Any) -> None:
    lab.define("echo", reserved_concurrency=0)
    with pytest.raises(ServiceError, match="TooManyRequestsException: Rate Exceeded") as caught:
        lab.call("echo")
    assert caught.value.status == 429
    assert json.loads(caught.value.body())["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_the_account_has_what_is_not_reserved(lab: Any) -> None:
    lab.settings["account_concurrency"] = 5
    lab.define("echo", reserved_concurrency=3)
    got = lab.run(lambda functions: outcomes([functions.run("sleep", b"0.3") for _ in range(4)]))
    assert got == ["success"] * 2 + ["ConcurrentInvocationLimitExceeded"] * 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=80),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 4)),
)
def test_concurrency_never_exceeds_its_bounds(steps: list[tuple[str, bool]], reservations: dict[str, int]) -> None:
    account = 10
    limit = Concurrency(account)
    running: dict[str, int] = {"a": 0, "b": 0, "c": 0}
    for name, enters in steps:
        reserved = reservations.get(name)
        if enters:
            try:
                limit.acquire(name, reserved, reservations)
            except ServiceError:
                free = account - sum(reservations.values()) - sum(running[n] for n in running if n not in reservations)
                assert running[name] >= reserved if reserved is not None else free <= 0
                continue
            running[name] += 1
        elif running[name]:
            limit.release(name, reserved)
            running[name] -= 1
        assert limit.running(name) == running[name]
        assert all(running[n] <= most for n, most in reservations.items())
        assert sum(running.values()) <= account


def test_processes_are_bounded_and_invocations_wait_their_turn(lab: Any) -> None:
    lab.settings |= {"processes": 2, "max_processes": 2}
    seen: list[int] = []

    async def work(functions: Functions) -> list[str]:
        async def look() -> None:
            while True:
                seen.append(len(functions.pids))
                await asyncio.sleep(0.01)

        looking = asyncio.get_running_loop().create_task(look())
        try:
            return await outcomes([functions.run("sleep", b"0.05") for _ in range(10)])
        finally:
            looking.cancel()

    assert lab.run(work) == ["success"] * 10
    assert max(seen) == 2


@pytest.mark.parametrize("busy", [False, True], ids=["machine with time", "busy machine"])
def test_the_pool_grows_where_invocations_wait(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, busy: bool
) -> None:
    monkeypatch.setattr(Load, "has_time", lambda _: not busy)
    lab.settings |= {"processes": 1, "max_processes": 4, "grow_seconds": 0.05}
    lab.configure(timeout=60)
    event = json.dumps({"folder": str(tmp_path / "met"), "expected": 4}).encode()
    (tmp_path / "met").mkdir()
    # Each of them waits for the others, so it takes four processes.
    got = lab.run(lambda functions: outcomes([functions.run("meet", event) for _ in range(4)]))
    assert got == ["success"] * 4


def test_the_load_is_looked_at() -> None:
    load = Load()
    give_up = time.monotonic() + GIVE_UP_SECONDS
    looks = load.looked_at
    while load.looked_at == looks and time.monotonic() < give_up:
        load.look()
        time.sleep(0.05)
    assert load.looked_at > looks
    assert load.has_time() in {True, False}


def test_a_function_gets_a_process_though_another_one_has_them_all(lab: Any) -> None:
    lab.settings |= {"processes": 1, "max_processes": 1}
    lab.configure(timeout=600)

    async def work(functions: Functions) -> Any:
        slow = asyncio.ensure_future(functions.run("sleep", b"300"))
        await asyncio.sleep(0.2)
        result = await functions.run("echo", b"1")
        assert not slow.done()
        slow.cancel()
        return answer(result)

    assert lab.run(work) == 1


def test_idle_processes_are_ended(lab: Any) -> None:
    lab.settings["idle_seconds"] = 0.1

    async def work(functions: Functions) -> None:
        await functions.run("echo", b"1")
        (pid,) = functions.pids
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while functions.pids and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        assert functions.pids == []
        assert not alive(pid)

    lab.run(work)


def test_a_new_revision_gets_new_processes(lab: Any, code: Path) -> None:
    async def work(functions: Functions) -> tuple[Any, Any]:
        before = answer(await functions.run("count", b"{}"))
        lab.configure(revision="2")
        return before, answer(await functions.run("count", b"{}"))

    before, after = lab.run(work)
    assert before[0] != after[0]
    assert after[1] == 1


def test_a_process_whose_credentials_end_is_not_used_again(lab: Any) -> None:
    async def work(functions: Functions) -> tuple[Any, Any]:
        lab.folder.expires = time.time() + 1
        before = answer(await functions.run("count", b"{}"))
        lab.folder.expires = float("inf")
        return before, answer(await functions.run("count", b"{}"))

    before, after = lab.run(work)
    assert before[0] != after[0]


def test_a_cancelled_invocation_ends_its_process(lab: Any, tmp_path: Path) -> None:
    mark = tmp_path / "begun"

    async def work(functions: Functions) -> None:
        lab.configure(timeout=600)
        call = asyncio.ensure_future(functions.run("touch_then_wait", json.dumps(str(mark)).encode()))
        while not mark.exists():
            await asyncio.sleep(0.01)
        (pid,) = functions.pids
        call.cancel()
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while functions.pids and time.monotonic() < give_up:
            await asyncio.sleep(0.01)
        assert functions.pids == []
        assert not alive(pid)

    lab.run(work)


def test_throttling_on_request(lab: Any) -> None:
    lab.faults = Faults(throttle=0.5, seed=7)
    got = lab.run(lambda functions: outcomes([functions.run("echo", b"1") for _ in range(40)]))
    assert 8 < got.count("CallerRateLimitExceeded") < 32
    assert got.count("CallerRateLimitExceeded") + got.count("success") == 40


def test_fails_when_a_function_is_inactive_on_request(lab: Any) -> None:
    lab.faults = Faults(inactive=1.0)
    with pytest.raises(ServiceError, match="CodeArtifactUserPendingException: Lambda is initializing") as caught:
        lab.call("echo")
    assert caught.value.status == 409


def test_a_crash_on_request(lab: Any) -> None:
    lab.faults = Faults(crash=1.0)
    assert "signal: killed" in answer(lab.call("echo"))["errorMessage"]


class SlowForks(Forks):
    """A process is at work for a while before it is said to be there."""

    def start(self, *arguments: Any) -> Any:
        """Start one."""
        forked = super().start(*arguments)
        time.sleep(0.3)
        return forked


@pytest.fixture
def slow_forks(lab: Any, tmp_path: Path) -> Iterator[None]:
    lab.forks = SlowForks(guardian=lab.guardian, scratch=tmp_path)
    yield
    lab.forks.close()


@pytest.mark.usefixtures("slow_forks")
def test_a_process_that_is_quicker_than_the_news_of_it_crashes_on_request(lab: Any) -> None:
    lab.faults = Faults(crash=1.0)
    lab.configure(timeout=20)
    assert "signal: killed" in answer(lab.call("echo"))["errorMessage"]


@pytest.mark.usefixtures("slow_forks")
def test_a_process_that_is_quicker_than_the_news_of_it_is_known_and_measured(lab: Any) -> None:
    async def work(functions: Functions) -> tuple[InvokeResult, list[int]]:
        return await functions.run("context_of", b"{}"), functions.pids

    result, pids = lab.run(work)
    assert result.peak_memory_mb is not None
    assert len(pids) == 1


def test_hanging_on_request_lasts_until_the_timeout(lab: Any) -> None:
    lab.faults = Faults(hang=1.0)
    lab.configure(timeout=1)
    assert answer(lab.call("echo"))["errorType"] == "Sandbox.Timedout"


def test_every_invocation_of_a_process_has_the_whole_time(lab: Any) -> None:
    lab.configure(timeout=2)
    lab.settings = {"processes": 1, "max_processes": 1}

    async def work(functions: Functions) -> list[str]:
        # Together the first two take longer than one of them may.
        return [(await functions.run("sleep", payload)).status for payload in (b"1.2", b"1.2", b"600")]

    assert lab.run(work) == ["success", "success", "timeout"]


def test_a_lost_answer_means_the_work_was_done(lab: Any, tmp_path: Path) -> None:
    lab.faults = Faults(lost_answer=1.0)
    result = lab.call("mark", json.dumps(str(tmp_path / "mark")).encode())
    assert result.error_type == "Runtime.ExitError"
    assert (tmp_path / "mark").read_text() == "x"


@pytest.mark.parametrize("share", [-0.1, 1.1, True, "1"], ids=repr)
def test_fails_when_a_share_is_not_between_0_and_1(share: Any) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1, got"):
        Faults(crash=share)
    with pytest.raises(ValueError, match="must be between 0 and 1, got"):
        Faults().hang = share


def test_fails_when_a_fault_is_unknown() -> None:
    with pytest.raises(ValueError, match="unknown fault 'flood'"):
        Faults().strikes("flood")


@pytest.mark.parametrize("name", sorted(SHARES))
def test_faults_repeat_with_their_seed(name: str) -> None:
    def series() -> list[bool]:
        faults = Faults(seed=3)
        faults.set(name, 0.5)
        return [faults.strikes(name) for _ in range(50)]

    assert series() == series()
    assert len(set(series())) == 2


@pytest.mark.parametrize("name", ["crash", "lost_answer"])
def test_invocations_fail_of_the_functions_that_are_named(lab: Any, name: str) -> None:
    lab.faults = Faults(functions=["mark"])
    lab.faults.set(name, 1.0)
    assert answer(lab.call("sleep", b"0")) == "slept"
    assert lab.call("mark", b'"/dev/null"').error_type == "Runtime.ExitError"


@pytest.mark.parametrize("name", ["throttle", "inactive"])
def test_functions_that_are_named_are_refused(lab: Any, name: str) -> None:
    lab.faults = Faults(functions=["mark"])
    lab.faults.set(name, 1.0)
    assert answer(lab.call("sleep", b"0")) == "slept"
    with pytest.raises(ServiceError):
        lab.call("mark", b'"/dev/null"')


def test_fails_when_the_functions_of_faults_are_one_text() -> None:
    with pytest.raises(TypeError, match=r"must be a collection of names, got 'mark'; give \['mark'\]"):
        Faults(functions="mark")
    with pytest.raises(TypeError, match="must be a collection of names"):
        Faults().functions = "mark"


@pytest.mark.parametrize(
    "settings",
    [{"processes": 0}, {"max_processes": 0}, {"account_concurrency": 0}, {"idle_seconds": -1}, {"init_seconds": -1.0}],
    ids=str,
)
def test_fails_when_a_setting_is_out_of_its_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must"):
        FunctionSettings(**settings)


def test_what_a_handler_started_ends_with_its_process(lab: Any) -> None:
    grandchild = answer(lab.call("spawn"))
    until(lambda: not alive(grandchild))


ENGINE = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
import lab as labs
from cdk_distributed_map.local.guardian import Guardian

async def work(functions):
    spawned = json.loads((await functions.run("spawn", b"{}")).payload)
    busy = [asyncio.ensure_future(functions.run("sleep", b"600")) for _ in range(2)]
    while len(functions.pids) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(float(sys.argv[4]))
    print(json.dumps([*functions.pids, spawned, lab.guardian.pid]), flush=True)
    await asyncio.gather(*busy)

scratch = Path(sys.argv[1])
lab = labs.Lab(scratch, Path(sys.argv[2]), Guardian(scratch=scratch))
lab.configure(timeout=900)
lab.run(work)
"""


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.05, 0.2], ids=str)
def test_nothing_survives_when_the_engine_is_killed(tmp_path: Path, code: Path, moment: float) -> None:
    scratch = tmp_path / "engine"
    scratch.mkdir()
    command = [sys.executable, "-c", ENGINE, str(scratch), str(code), str(Path(__file__).parent), str(moment)]
    engine = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert engine.stdout is not None
    pids = json.loads(engine.stdout.readline())
    assert len(pids) == 5
    assert all(alive(pid) for pid in pids)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    engine.stdout.close()
    until(lambda: not any(alive(pid) for pid in pids))
    until(lambda: not scratch.exists())


def test_functions_run_and_end_without_their_guardian(lab: Any) -> None:
    async def work(functions: Functions) -> Any:
        os.kill(lab.guardian.pid, signal.SIGKILL)
        until(lambda: not alive(lab.guardian.pid))
        return answer(await functions.run("count", b"{}"))

    pid, _ = lab.run(work)
    until(lambda: not alive(pid))


def test_a_guardian_lets_go_of_what_has_ended(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    guardian = Guardian()
    guardian.watch(sleeper.pid)
    guardian.release(sleeper.pid)
    guardian.close()
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()
