"""What an invocation comes to, by processes that really run."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_distributed_map.local.execution.services import Invocation
from cdk_distributed_map.local.functions import Functions, ServiceError
from cdk_distributed_map.local.functions.results import exit_message
from distmap import limits

CLIENTS = pytest.mark.parametrize("native", [True, False], ids=["native", "stand-in"])
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="measured through /proc")


def answer(result: Any) -> Any:
    return json.loads(result.payload)


@CLIENTS
def test_answers_with_what_the_handler_returns(lab: Any, *, native: bool) -> None:
    lab.settings["native_client"] = native
    result = lab.call("echo", '{"ä": [1, 2.5, null]}'.encode())
    assert answer(result) == {"ä": [1, 2.5, None]}
    assert (result.status, result.function_error, result.executed_version) == ("success", None, "$LATEST")


@CLIENTS
def test_an_error_is_what_aws_runtime_client_makes_of_it(lab: Any, *, native: bool) -> None:
    lab.settings["native_client"] = native
    result = lab.call("fail", b'"missing"')
    error = answer(result)
    assert (error["errorType"], error["errorMessage"]) == ("KeyError", "'missing'")
    assert error["requestId"] == result.request_id
    assert '"/var/task/handlers.py"' in error["stackTrace"][0]
    assert (result.function_error, result.status) == ("Unhandled", "error")


@CLIENTS
@pytest.mark.parametrize("size", [1_000_000, 5_500_000], ids=["1 MB", "5.5 MB"])
def test_large_events_and_answers_arrive_whole(lab: Any, *, native: bool, size: int) -> None:
    lab.settings["native_client"] = native
    lab.configure(memory_mb=512)
    event = json.dumps("y" * size).encode()
    assert lab.call("echo", event).payload == event


@CLIENTS
def test_a_process_stays_warm_and_each_concurrent_execution_has_its_own(
    lab: Any, tmp_path: Path, *, native: bool
) -> None:
    lab.settings["native_client"] = native
    lab.configure(timeout=60)
    (tmp_path / "met").mkdir()
    meeting = json.dumps({"folder": str(tmp_path / "met"), "expected": 3}).encode()

    async def work(functions: Functions) -> list[Any]:
        one_after_the_other = [answer(await functions.run("count", b"{}")) for _ in range(3)]
        met = await asyncio.gather(*(functions.run("meet", meeting) for _ in range(3)))
        return [*one_after_the_other, [answer(result) for result in met]]

    first, second, third, met = lab.run(work)
    assert first[0] == second[0] == third[0]
    assert [first[1], second[1], third[1]] == [1, 2, 3]
    assert len(set(met)) == 3


@CLIENTS
def test_the_context_is_that_of_the_function(lab: Any, *, native: bool) -> None:
    lab.settings["native_client"] = native
    lab.configure(timeout=7, memory_mb=256, log_group="/mine")
    result = lab.call("context_of")
    context = answer(result)
    assert 5_000 < context.pop("left") <= 7_000
    assert context == {
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:context_of",
        "id": result.request_id,
        "name": "context_of",
        "memory": "256",
        "group": "/mine",
        "version": "$LATEST",
    }


def test_a_timeout_ends_the_process_and_has_lambdas_words(lab: Any) -> None:
    lab.configure(timeout=1)

    async def work(functions: Functions) -> tuple[Any, list[int], Any]:
        result = await functions.run("sleep", b"600")
        after = await functions.run("sleep", b"0")
        return result, functions.pids, after

    result, pids, after = lab.run(work)
    message = f"RequestId: {result.request_id} Error: Task timed out after 1.00 seconds"
    assert answer(result) == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    assert (result.status, result.function_error) == ("timeout", "Unhandled")
    assert result.duration_ms >= 1_000
    assert "Status: timeout" in result.log
    assert answer(after) == "slept"
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("handler", "event", "words"),
    [
        ("leave", b"3", "Runtime exited with error: exit status 3"),
        ("leave", b"0", "Runtime exited without providing a reason"),
        ("signalled", b"9", "Runtime exited with error: signal: killed"),
        ("signalled", b"11", "Runtime exited with error: signal: segmentation fault"),
    ],
    ids=["exit 3", "exit 0", "killed", "segmentation fault"],
)
def test_the_end_of_a_process_fails_its_invocation(lab: Any, handler: str, event: bytes, words: str) -> None:
    result = lab.call(handler, event)
    expected = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {result.request_id} Error: {words}"}
    assert answer(result) == expected
    assert "Error Type: Runtime.ExitError" in result.log


def test_an_answer_above_six_megabytes_is_refused(lab: Any) -> None:
    lab.configure(memory_mb=512)
    result = lab.call("large", str(limits.MAX_INVOCATION_PAYLOAD_BYTES).encode())
    size = limits.MAX_INVOCATION_PAYLOAD_BYTES + 2
    assert answer(result)["errorType"] == "Function.ResponseSizeTooLarge"
    assert f"({size} bytes)" in answer(result)["errorMessage"]


def test_fails_when_the_event_is_above_six_megabytes(lab: Any) -> None:
    with pytest.raises(ServiceError, match="must be smaller than 6291456 bytes") as caught:
        lab.call("echo", b" " * (limits.MAX_INVOCATION_PAYLOAD_BYTES + 1))
    assert (caught.value.code, caught.value.status) == ("RequestTooLargeException", 413)


@LINUX
@pytest.mark.parametrize("handler", ["hoard", "hoard_slowly"], ids=["at once", "slowly"])
def test_more_memory_than_the_function_has_ends_it(lab: Any, handler: str) -> None:
    lab.configure(timeout=30)
    result = lab.call(handler, b"200000000")
    message = f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed"
    assert answer(result) == {"errorType": "Runtime.OutOfMemory", "errorMessage": message}


@LINUX
def test_peak_memory_is_that_of_each_invocation(lab: Any) -> None:
    lab.configure(memory_mb=512)

    async def work(functions: Functions) -> list[Any]:
        return [await functions.run("hoard", event) for event in (b"1000", b"150000000", b"1000")]

    before, much, after = lab.run(work)
    assert before.peak_memory_mb < 60
    assert 140 < much.peak_memory_mb < 220
    assert after.peak_memory_mb < 60


def test_an_init_error_names_what_the_runtime_client_found(lab: Any) -> None:
    lab.define("gone", handler="nowhere.handler")
    result = lab.call("gone")
    assert answer(result)["errorType"] == "Runtime.ImportModuleError"
    assert answer(result)["errorMessage"] == "Unable to import module 'nowhere': No module named 'nowhere'"
    assert result.error_type == "Runtime.ImportModuleError"


def test_a_handler_that_is_missing_says_so(lab: Any) -> None:
    assert answer(lab.call("no_such_handler"))["errorType"] == "Runtime.HandlerNotFound"


def test_an_answer_that_is_not_json_says_so(lab: Any) -> None:
    assert answer(lab.call("unserialisable"))["errorType"] == "Runtime.MarshalError"


def test_a_start_that_ends_the_process_fails_the_invocation(lab: Any, code: Path) -> None:
    (code / "dies.py").write_text("import os; os._exit(4)")
    lab.define("dies", handler="dies.handler")
    assert "exit status 4" in answer(lab.call("dies"))["errorMessage"]


def test_a_slow_start_is_tried_again_within_the_timeout(lab: Any, code: Path, tmp_path: Path) -> None:
    marks = tmp_path / "starts"
    script = f"open({str(marks)!r}, 'a').write('x')\nimport time; time.sleep(0.8)\ndef handler(e, c): return 'up'\n"
    (code / "slow.py").write_text(script)
    lab.settings["init_seconds"] = 0.3
    lab.define("slow", handler="slow.handler", timeout=10)
    assert answer(lab.call("slow")) == "up"
    assert marks.read_text() == "xx"


def test_a_start_slower_than_the_timeout_times_out(lab: Any, code: Path) -> None:
    (code / "slow.py").write_text("import time; time.sleep(600)\n")
    lab.settings["init_seconds"] = 0.2
    lab.define("slow", handler="slow.handler", timeout=1)
    assert answer(lab.call("slow"))["errorType"] == "Sandbox.Timedout"


def test_the_log_is_lambdas(lab: Any) -> None:
    async def work(functions: Functions) -> list[Any]:
        return [await functions.run("say", event) for event in (b'"one"', b'"two"')]

    first, second = lab.run(work)
    lines = first.log.splitlines()
    assert lines[0] == f"START RequestId: {first.request_id} Version: $LATEST"
    assert lines[1:3] == ["said one", "and to stderr"]
    assert lines[3] == f"END RequestId: {first.request_id}"
    pattern = r"REPORT RequestId: \S+\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
    assert re.match(pattern, lines[4])
    assert "Init Duration" in first.log
    assert "Init Duration" not in second.log
    assert "said one" not in second.log
    assert lab.finished == [first, second]


def test_steps_functions_gets_its_answer(lab: Any) -> None:
    got = lab.run(lambda functions: functions.invoke(Invocation(function="echo", payload='{"a":1}')))
    assert (json.loads(got.payload), got.status, got.function_error) == ({"a": 1}, 200, None)
    failed = lab.run(lambda functions: functions.invoke(Invocation(function="fail", payload='"x"')))
    assert failed.function_error == "Unhandled"


def test_an_event_nobody_waits_for_is_delivered_and_tried_again(lab: Any, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    lab.faults.lost_answer = 1.0

    async def work(functions: Functions) -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        functions.asynchronous.sleep = sleep
        got = await functions.invoke(Invocation(function="mark", payload=json.dumps(str(marks)), wait=False))
        assert got.status == 202
        while functions.asynchronous.under_way:
            await asyncio.sleep(0.01)
        assert waits == [60.0, 120.0]

    lab.run(work)
    assert marks.read_text() == "xxx"


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "exit status 1"), (-15, "signal: terminated"), (-64, "signal: signal 64")],
    ids=["status", "signal", "unnamed signal"],
)
def test_how_a_process_ended_is_said_as_lambda_says_it(code: int, words: str) -> None:
    assert exit_message("id", code) == f"RequestId: id Error: Runtime exited with error: {words}"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_error_messages_are_json_whatever_they_say(value: Any) -> None:
    with warnings.catch_warnings():
        error = ServiceError("Code", json.dumps(value), status=400)
    assert json.loads(error.body())["Message"] == json.dumps(value)


def test_stack_traces_name_the_places_of_lambda(lab: Any) -> None:
    # One frame of the runtime client's, and some of the standard library's.
    result = lab.call("no_arguments")
    assert json.loads(result.payload)["stackTrace"][0].startswith(
        '  File "/var/runtime/awslambdaric/bootstrap.py", line '
    )
    result = lab.call("parse", b'"{"')
    frames = "".join(json.loads(result.payload)["stackTrace"])
    assert re.search(r'File "/var/lang/lib/python3\.\d+/json/__init__\.py", line ', frames)
    assert 'File "/var/task/' in frames
    assert str(Path.home()) not in frames
