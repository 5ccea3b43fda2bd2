"""Starts the local AWS in the background, finds it again, and ends it: what ``distmap local`` is made of.

A file in the project's folder says what runs. It is trusted only as far as the endpoint it names answers with the
token in it: after a crash, another process may have the port and the process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.local.embedded.address import ACCOUNT, REGION, check_address
from cdk_distributed_map.local.embedded.environment import environment_script, local_environment
from cdk_distributed_map.local.embedded.errors import KILLED
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.endpoints.health import HEALTH_PATH, health_answer
from cdk_distributed_map.local.faults import Faults

if TYPE_CHECKING:
    from cdk_distributed_map.local.embedded.deploy import Progress

FOLDER: Final = Path(".distmap")
START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.05
_TAIL_CHARACTERS: Final = 2_000


class LocalError(RuntimeError):
    """The local AWS isn't there, is there already, or didn't start."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A local AWS in the background.

    Args:
        pid: Its process.
        token: What its endpoint knows too, and no other on its port.
        access_key: Access key id of its account's root.
        secret_key: Secret key of its account's root.
        endpoint: URL of its endpoint.
        region: Region it is in.
        account: Account it is.
        iam: Whether it enforces IAM.
        state: Folder in which it keeps its state; None where it is in memory.
        started: When it was started, in seconds since the epoch.
        virtual_clock: Whether waits of state machines pass at once when nothing real is running.
        dispatch_rates: Whether a map starts its children no faster than AWS does.
        faults: What goes wrong, and how often: shares by the names of :class:`Faults`.
        killed: Whether the one that had the state before was killed: all but objects is as it was when it last ended.
    """

    pid: int
    token: str = field(repr=False)
    access_key: str
    secret_key: str = field(repr=False)
    endpoint: str
    region: str
    account: str
    iam: bool
    state: str | None
    started: float
    virtual_clock: bool = True
    dispatch_rates: bool = False
    faults: dict[str, float] = field(default_factory=dict)
    killed: bool = False

    @property
    def keys(self) -> Keys:
        """Credentials of its account's root."""
        return Keys(self.access_key, self.secret_key)

    def as_json(self) -> dict[str, Any]:
        """Return what to tell machines: all but what lets whoever has it in, or pass for it."""
        fields = asdict(self)
        del (
            fields["token"],
            fields["access_key"],
            fields["secret_key"],
            fields["virtual_clock"],
            fields["dispatch_rates"],
        )
        return {**fields, "virtualClock": self.virtual_clock, "dispatchRates": self.dispatch_rates}

    def __str__(self) -> str:
        """Return what to tell whoever started it."""
        text = f"AWS runs at {self.endpoint}, process {self.pid}"
        return f"{KILLED}\n{text}" if self.killed else text


def up(
    *,
    folder: Path = FOLDER,
    port: int = 0,
    region: str = REGION,
    account: str = ACCOUNT,
    iam: bool = True,
    state: Path | None = None,
    virtual_clock: bool = True,
    dispatch_rates: bool = False,
    faults: Mapping[str, float] | None = None,
) -> Running:
    """Start the local AWS in the background and return once it answers; return what runs where it runs already.

    Args:
        folder: Folder of the file that says what runs, and of its log.
        port: Port of the endpoint. Default: one that is free.
        region: Region it is in.
        account: Account it is.
        iam: Whether IAM is enforced.
        state: Folder in which its state is kept. Default: in memory.
        virtual_clock: Whether waits of state machines pass at once when nothing real is running.
        dispatch_rates: Whether a map starts its children no faster than AWS does.
        faults: What is to go wrong: shares by the names of :class:`Faults`. Default: nothing.

    Raises:
        LocalError: One runs already with other settings, or it didn't start.
        ValueError: There is no such fault, port, Region or account.
        OSError: Nothing can be written in the folder, or in that of the state.
    """
    check_address(port=port, region=region, account=account)
    shares = {name: share for name, share in (faults or {}).items() if share}
    faults_of(shares)
    wanted = {
        "region": region,
        "account": account,
        "iam": iam,
        "state": None if state is None else str(state.resolve()),
        "virtual_clock": virtual_clock,
        "dispatch_rates": dispatch_rates,
        "faults": shares,
    }
    for needed in (folder, state):
        if needed is not None:
            needed.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        running = status(folder=folder)
        if running is None:
            settings = {**wanted, "port": port, "folder": str(folder.resolve())}
            command = [sys.executable, "-m", "cdk_distributed_map.local", json.dumps(settings)]
            return _started(command, folder)
    has = {name: getattr(running, name) for name in wanted}
    if port and running.endpoint != f"http://127.0.0.1:{port}":
        wanted["port"], has["port"] = port, running.endpoint.rsplit(":", 1)[1]
    if has != wanted:
        differing = ", ".join(f"{name} {has[name]}" for name in wanted if wanted[name] != has[name])
        message = f"a local AWS runs already, with {differing}: end it first with down"
        raise LocalError(message)
    return running


def _started(command: list[str], folder: Path) -> Running:
    """Start the local AWS and return it once it answers.

    Raises:
        LocalError: It didn't start.
    """
    _file(folder).unlink(missing_ok=True)
    with _log(folder).open("ab") as log:
        begins = log.tell()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    give_up = time.monotonic() + START_SECONDS
    try:
        while (running := status(folder=folder)) is None:
            if process.poll() is not None or time.monotonic() > give_up:
                message = f"the local AWS didn't start: {_said(folder, begins)}"
                raise LocalError(message)
            time.sleep(_PAUSE_SECONDS)
    except BaseException:
        with contextlib.suppress(OSError):
            process.terminate()
        process.wait()
        raise
    # It outlives this process, which therefore doesn't wait for it.
    process.returncode = 0
    return running


def _said(folder: Path, begins: int) -> str:
    """Return what was written to the log from some place on: of an exception that nobody expected its last line."""
    with _log(folder).open("rb") as log:
        log.seek(begins)
        text = log.read().decode("utf-8", "replace").strip()
    if not text:
        return f"it said nothing within {START_SECONDS:.0f} seconds"
    if "Traceback (most recent call last)" in text:
        return f"{text.splitlines()[-1]} (the whole of it is in {_log(folder).resolve()})"
    return text[-_TAIL_CHARACTERS:]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Start and end nothing in a folder while another process does: two at once would leave one that nobody finds."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only: elsewhere nothing keeps two processes apart
    except ImportError:
        yield
        return
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def faults_of(shares: Mapping[str, float]) -> Faults:
    """Return faults by their names.

    Raises:
        ValueError: There is no such fault, or its share is not between 0 and 1.
    """
    faults = Faults()
    for name, share in shares.items():
        faults.set(name, share)
    return faults


def down(*, folder: Path = FOLDER) -> bool:
    """End the local AWS, and exactly what it started; say whether one was running.

    Raises:
        LocalError: It doesn't end.
    """
    if not folder.is_dir():
        return False
    with _alone(folder):
        return _ended(folder)


def _ended(folder: Path) -> bool:
    running = status(folder=folder)
    if running is None:
        _file(folder).unlink(missing_ok=True)
        return False
    os.kill(running.pid, signal.SIGTERM)
    give_up = time.monotonic() + _STOP_SECONDS
    while _file(folder).exists():
        if not _alive(running.pid):
            _file(folder).unlink(missing_ok=True)
        elif time.monotonic() > give_up:
            message = f"the local AWS, process {running.pid}, doesn't end: end it with kill -9 {running.pid}"
            raise LocalError(message)
        else:
            time.sleep(_PAUSE_SECONDS)
    return True


def status(*, folder: Path = FOLDER) -> Running | None:
    """Return what runs, None where nothing does."""
    try:
        running = Running(**json.loads(_file(folder).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    # No proxy: one of this machine would be asked for loopback too.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        challenge = secrets.token_hex(16)
        with opener.open(f"{running.endpoint}{HEALTH_PATH}?challenge={challenge}", timeout=10) as answer:
            answered = json.loads(answer.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
        return None
    wanted = {"pid": running.pid, "answer": health_answer(running.token, challenge, running.pid)}
    return running if answered == wanted else None


def env(*, folder: Path = FOLDER) -> dict[str, str]:
    """Return the environment variables that make AWS tools work on what runs.

    Raises:
        LocalError: Nothing runs.
    """
    running = _need(folder)
    return local_environment(running.endpoint, running.region, running.keys)


def env_script(*, folder: Path = FOLDER, shell: str = "sh") -> str:
    """Return the commands that set the environment in a shell: ``eval "$(... env)"``.

    Args:
        folder: Folder of the file that says what runs.
        shell: ``sh``, ``fish`` or ``powershell``.

    Raises:
        LocalError: Nothing runs.
        ValueError: The shell is another one.
    """
    return environment_script(env(folder=folder), shell)


def deploy(
    assembly: str | Path = "cdk.out", *stacks: str, folder: Path = FOLDER, progress: Progress | None = None
) -> dict[str, dict[str, str]]:
    """Deploy a cloud assembly to what runs; see :meth:`LocalAws.deploy`.

    Raises:
        LocalError: Nothing runs.
        AssemblyError: The folder is no assembly, or has no such stack.
        DeployError: A stack was refused.
    """
    # boto3, which nothing else here needs.
    from cdk_distributed_map.local.embedded import sdk  # noqa: PLC0415
    from cdk_distributed_map.local.functions.deployment import deploy as deploy_to  # noqa: PLC0415

    running = _need(folder)
    client = sdk.clients(running.endpoint, region=running.region, keys=running.keys)
    return deploy_to(Path(assembly), stacks, client, account=running.account, region=running.region, progress=progress)


def serve(*, folder: str | Path, **settings: Any) -> None:
    """Run the local AWS in this process until it is told to end; what :func:`up` starts.

    Args:
        folder: Folder of the file that says what runs.
        settings: Arguments of :class:`LocalAws`, but ``faults`` by their names.
    """
    # The engine, which only the process that is it needs.
    from cdk_distributed_map.local.server import LocalAws  # noqa: PLC0415

    folder, shares = Path(folder), settings.pop("faults", {})

    def end(signum: int, frame: object) -> None:
        del frame
        raise SystemExit(128 + signum)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with LocalAws(**settings, faults=faults_of(shares)) as aws:
        state = settings.get("state")
        running = Running(
            pid=os.getpid(),
            token=aws.token,
            access_key=aws.keys.access_key,
            secret_key=aws.keys.secret_key,
            endpoint=aws.endpoint_url,
            region=aws.region,
            account=aws.account,
            iam=settings.get("iam", True),
            state=None if state is None else str(state),
            started=time.time(),
            virtual_clock=settings.get("virtual_clock", True),
            dispatch_rates=settings.get("dispatch_rates", False),
            faults=shares,
            killed=aws.killed,
        )
        folder.mkdir(parents=True, exist_ok=True)
        written = _file(folder).with_suffix(".new")
        written.unlink(missing_ok=True)
        # Whoever reads it can do everything here: it is there for nobody else from the start.
        with open(written, "x", encoding="utf-8", opener=_for_owner) as file:
            file.write(json.dumps(asdict(running), indent=2) + "\n")
        written.replace(_file(folder))
        try:
            aws.watch()
        finally:
            aws.close()
            _file(folder).unlink(missing_ok=True)


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _need(folder: Path) -> Running:
    running = status(folder=folder)
    if running is None:
        message = f"no local AWS runs, or not in {folder.resolve()}: start it with 'distmap local up'"
        raise LocalError(message)
    return running


def _file(folder: Path) -> Path:
    return folder / "local.json"


def _log(folder: Path) -> Path:
    return folder / "local.log"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
