"""What several rooms of the tests share: a local AWS, the CDK CLI, and the example app once synthesized.

No test can reach AWS: credentials and endpoint of the machine are taken out of the environment here, before anything
is imported that would read them.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import settings

from tests.deployments import deploy, shared_aws
from tests.jsii_in_one_process import reach_it_directly
from tests.s3 import LocalS3
from tests.sharing import share

__all__ = ["deploy", "shared_aws"]

ROOT = Path(__file__).resolve().parents[1]
SELECTION = Path(__file__).with_name("selection.toml")
START_SECONDS = 30
CLI_SECONDS = 300
QUICK_EXAMPLES = 20
NO_AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    # Nothing listens there; tests with a local AWS name its endpoint.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "CDK_DISABLE_VERSION_CHECK": "1",
    # Newer CDKs put a validator of templates into each process that synthesizes, which costs more than the synthesis
    # itself. What the referees judge is synthesized under it all the same.
    "CDK_VALIDATION": "false",
}

# What a terminal, a locale or a shell of the caller's would change in what tests see. Proxies stay, for the tests that
# install packages, but never for this machine itself.
CALLERS = {"CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PY_COLORS", "PYTHONWARNINGS"}
SETTLED = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC"}

for name in [name for name in os.environ if name.startswith("AWS_") or name in CALLERS]:
    del os.environ[name]
os.environ.update(NO_AWS | SETTLED)
for name in ("NO_PROXY", "no_proxy"):
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost", "[::1]"]))
time.tzset()
# A shell's background jobs ignore it, and so would all processes that tests start and interrupt.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
# An environment that isn't activated gives the tests, and jsii in them, its own Node.js all the same.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

reach_it_directly()

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Whoever looks for garbage looks at all tests there are, again and again, and none of them is any until the end.
gc.disable()

# Modules that tests share assert as tests do.
pytest.register_assert_rewrite("tests.cli", "tests.construct", "tests.local", "tests.runs")

share()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and mark what runs on the wheel and on the oldest CDK too."""
    selection = tomllib.loads(SELECTION.read_text(encoding="utf-8"))
    places = {name: place for place, name in enumerate(selection["longest_first"])}
    files = {item: item.path.relative_to(SELECTION.parent).as_posix() for item in items}
    # Processes that run tests side by side must agree on their names.
    if astray := [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6}", item.nodeid)]:
        raise pytest.UsageError(f"a test is named after an object's address: give ids to {astray[0]}")
    for item, file in files.items():
        for mark in ("wheel", "oldest_cdk"):
            if file.startswith(tuple(selection[mark]["runs"])):
                item.add_marker(mark)
    items.sort(key=lambda item: places.get(files[item], len(places)))
    if items and items[0].config.option.markexpr == "not slow":
        _try_fewer_examples(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Look for garbage from now on, among what is made from now on."""
    gc.freeze()
    _count_what_is_frozen_once()
    # Seldom: most of what tests make goes when the last one lets go of it.
    gc.set_threshold(100_000, 50, 50)
    gc.enable()


def _count_what_is_frozen_once() -> None:
    """Let whoever asks how much is frozen have the number at once: it is counted one by one, and that is all tests."""
    counters: Any = gc
    count, freeze, unfreeze = gc.get_freeze_count, gc.freeze, gc.unfreeze
    known: list[int] = []

    def get_freeze_count() -> int:
        if not known:
            known.append(count())
        return known[0]

    def and_count_again(change: Callable[[], None]) -> Callable[[], None]:
        def changed() -> None:
            known.clear()
            change()

        return changed

    counters.get_freeze_count = get_freeze_count
    counters.freeze, counters.unfreeze = and_count_again(freeze), and_count_again(unfreeze)


def _try_fewer_examples(items: list[pytest.Item]) -> None:
    """Let `make test` try a third of each property's examples; `make test-all` tries as many as each test says."""
    tests: dict[int, Any] = {}
    for item in items:
        test: Any = getattr(item, "obj", None)
        if hasattr(test, "hypothesis"):
            tests[id(test)] = test
    for test in tests.values():
        own = test._hypothesis_internal_use_settings  # noqa: SLF001 - what the decorator sets too
        most = max(2, min(own.max_examples // 3, QUICK_EXAMPLES))
        test._hypothesis_internal_use_settings = settings(own, max_examples=most)  # noqa: SLF001


class MakeOnce(Protocol):
    """Makes a folder that nobody changes, once for all processes of a test run."""

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of a name, which the first one to ask has made."""


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Makes what takes long and is only read, behind a lock."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make_folder(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return make_folder


class RunCdk(Protocol):
    """Runs the CDK CLI."""

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
        """Return what it printed; it must succeed."""


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an AWS API on loopback: ministack.

    It differs from S3 in one thing that tests must look at themselves: it accepts parts under 5 MiB.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("aws")
    environment = {
        **os.environ,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",  # it would bind to a port of its own
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ministack"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real S3 API: multipart uploads, checksums, ranges and conditions.

    Clients of this process reach it without a connection, others on loopback.
    """
    s3 = LocalS3(tmp_path_factory.mktemp("s3"))
    with s3.answering():
        yield s3.url


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_ministack/health", timeout=5):  # noqa: S310 - our own URL
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if process.poll() is not None:
                message = f"the local AWS ended at once with code {process.returncode}"
                raise RuntimeError(message) from error
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="session")
def run_cdk() -> RunCdk:
    """The CDK CLI of the checkout."""
    cdk = ROOT / "node_modules" / ".bin" / "cdk"
    node = shutil.which("node")
    assert cdk.exists(), "the CDK CLI is missing: run make setup"
    assert node is not None

    def run(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
        done = subprocess.run(
            [node, str(cdk), *arguments],
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CLI_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"cdk {' '.join(arguments)}\n{done.stdout}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def example_assembly(run_cdk: RunCdk, make_once: MakeOnce) -> Path:
    """The cloud assembly of app.py, made once by the real ``cdk synth``.

    One of its functions has Pillow, which comes from the package index the first time, else from the user's cache.
    """
    # A finding of the validation ends the synthesis, by a flag of cdk.json.
    validated = {"CDK_VALIDATION": "true"}
    folder = make_once(
        "assembly", lambda new: run_cdk("synth", "--quiet", "--output", str(new / "cdk.out"), env=validated)
    )
    return folder / "cdk.out"


@pytest.fixture(scope="session")
def example_templates(example_assembly: Path) -> dict[str, dict[str, Any]]:
    """The templates of app.py by stack."""
    suffix = ".template.json"
    files = sorted(example_assembly.glob(f"*{suffix}"))
    assert files
    return {file.name.removesuffix(suffix): json.loads(file.read_text()) for file in files}
