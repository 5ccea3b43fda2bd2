"""Processes of functions are forked where that can't be told from a process of their own, and only there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="functions are forked on Linux alone")

# In a process of its own, boto3 is loaded by nobody but the function.
PROBE = """
import atexit, os, socket, stat, sys

def files():
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            continue  # the listing's own
        if not is_socket:
            yield os.path.basename(os.readlink(f"/proc/self/fd/{number}")).partition(":")[0]
            continue
        # Lambda's client keeps one connection or two to where events come from.
        with socket.socket(fileno=os.dup(number)) as one:
            if one.family != socket.AF_INET:
                yield one.family.name

def loaded(event, context): return "boto3" in sys.modules

def look(event, context):
    import __main__, boto3, random, signal, tempfile
    # One that isn't closed keeps its pipe for as long as its process hasn't ended.
    with os.popen("env") as child:
        inherited = child.read()
    return {
        "environment": sorted(os.environ), "c": inherited.count("TABLE=t"), "cwd": os.getcwd(),
        "path": sys.path, "argv": sys.argv, "main": [__main__.__name__, os.path.basename(__main__.__file__)],
        "group": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()], "random": random.random(),
        "files": sorted(files()), "scratch": tempfile.gettempdir(), "flags": list(sys.flags),
        "signals": [str(signal.getsignal(s)).split(" at ")[0] for s in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE)],
        "modules": [name for name in sys.modules if "main" in name], "zone": __import__("time").tzname,
        "encoding": [sys.stdout.encoding, sys.stdout.line_buffering, sys.stderr.encoding, sys.stdin.read()],
    }

def end(event, context):
    atexit.register(lambda: open(event, "w").close())
    sys.exit(3)

def parents(event, context): return [os.getpid(), os.getppid()]

def clients(event, context):
    import boto3, hashlib, json
    made = [boto3.Session().client(name) for name in ("s3", "s3", "stepfunctions")]
    shapes = [[c.meta.service_model.shape_for(s).type_name for s in c.meta.service_model.shape_names] for c in made]
    return [hashlib.sha256(json.dumps(shapes).encode()).hexdigest(), [c.meta.endpoint_url for c in made],
            made[0].generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"}).split("?")[0],
            boto3.Session().get_available_regions("s3")]
"""
ALONE = {"PYTHONHASHSEED": "1"}
"""What has a function started in a process of its own."""


@pytest.fixture(autouse=True)
def probe(lab: Any, code: Path) -> None:
    """Functions that look around."""
    (code / "probe.py").write_text(PROBE)
    for name in ("loaded", "look", "end", "parents", "clients"):
        lab.define(name, handler=f"probe.{name}")


def answer(result: Any) -> Any:
    return json.loads(result.payload)


def test_a_function_is_forked_from_a_process_that_has_loaded_boto3(lab: Any) -> None:
    assert answer(lab.call("loaded")) is True


@pytest.mark.parametrize(
    "variable", ["PYTHONPATH", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "LD_LIBRARY_PATH", "LANG", "LC_ALL"]
)
def test_a_variable_of_the_interpreters_has_its_function_started_alone(lab: Any, variable: str) -> None:
    lab.define(
        "loaded", handler="probe.loaded", environment={variable: "C"} if "L" in variable[:2] else {variable: "1"}
    )
    assert answer(lab.call("loaded")) is False


@pytest.mark.parametrize("name", ["boto3.py", "botocore/__init__.py", "urllib3/__init__.py", "csv.py"])
@pytest.mark.parametrize("place", ["code", "opt/python", "opt/python/lib/python3.11/site-packages"])
def test_what_brings_a_module_of_its_own_is_started_alone(lab: Any, code: Path, name: str, place: str) -> None:
    file = (code if place == "code" else code.parent / place) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    lab.define("loaded", handler="probe.loaded", layers=code.parent / "opt")
    lab.define("import_module", handler="handlers.import_module", layers=code.parent / "opt")
    assert answer(lab.call("loaded")) is False
    module = name.partition("/")[0].removesuffix(".py")
    assert answer(lab.call("import_module", json.dumps(module).encode())) == str(file)


def test_a_fork_looks_like_a_process_of_its_own(lab: Any) -> None:
    lab.define("look", handler="probe.look", environment={"TABLE": "t"})
    forked = answer(lab.call("look"))
    lab.define("look", handler="probe.look", environment={"TABLE": "t", **ALONE}, revision="2")
    alone = answer(lab.call("look"))
    assert forked.pop("random") != alone.pop("random")
    assert {*alone.pop("environment")} - {*forked.pop("environment")} == ALONE.keys()
    assert forked.pop("scratch") != alone.pop("scratch")
    # The one flag of theirs that differs says that hashes are as the variable has them.
    flags = (forked.pop("flags"), alone.pop("flags"))
    assert sum(a != b for a, b in zip(*flags, strict=True)) <= 1
    assert forked == alone


def test_clients_of_a_fork_are_those_of_a_process_of_its_own(lab: Any) -> None:
    lab.define("clients", handler="probe.clients", timeout=60)
    forked = answer(lab.call("clients"))
    lab.define("clients", handler="probe.clients", environment=ALONE, revision="2", timeout=60)
    assert answer(lab.call("clients")) == forked


def test_processes_differ_in_what_is_drawn_at_random(lab: Any) -> None:
    async def two(functions: Any) -> list[Any]:
        return list(await asyncio.gather(functions.run("look", b"0"), functions.run("look", b"0")))

    first, second = (answer(result)["random"] for result in lab.run(two))
    assert first != second


def test_what_is_to_be_done_at_the_exit_is_done(lab: Any, tmp_path: Path) -> None:
    file = tmp_path / "ended"
    result = lab.call("end", json.dumps(str(file)).encode())
    assert "exit status 3" in answer(result)["errorMessage"]
    assert file.exists()


def test_functions_go_on_in_processes_of_their_own_where_the_one_they_are_forked_from_was_killed(
    lab: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lab.forks = None

    async def kill_between(functions: Any) -> list[Any]:
        pid, parent = answer(await functions.run("parents", b"0"))
        assert parent not in (os.getpid(), pid)
        os.kill(parent, signal.SIGKILL)
        while pid in functions.pids:
            await asyncio.sleep(0)
        return [answer(await functions.run("parents", b"0")), answer(await functions.run("loaded", b"0"))]

    (pid, parent), loaded = lab.run(kill_between)
    assert parent == os.getpid()
    assert loaded is False
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    (said,) = caplog.messages
    assert said == (
        "the process that functions are forked from has ended: they start in processes of their own, slower"
    )


def test_nothing_is_left_of_it(lab: Any, caplog: pytest.LogCaptureFixture) -> None:
    lab.forks = None
    pid, parent = answer(lab.call("parents"))
    assert caplog.messages == []
    for gone in (pid, parent):
        with pytest.raises(ProcessLookupError):
            os.kill(gone, 0)
