"""The embedded AWS: ministack, in a process of its own on loopback, kept away from everything of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError

from cdk_distributed_map.local.embedded import sdk
from cdk_distributed_map.local.embedded.errors import EmbeddedAwsError
from cdk_distributed_map.local.embedded.event_rules import PUT_PATH, TARGETS_PATH, TARGETS_VARIABLE
from cdk_distributed_map.local.embedded.headers import SECRET, SECRET_VARIABLE
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.guardian import Guardian

START_SECONDS: Final = 30.0
# Below what Linux, macOS and Windows take for outgoing connections.
_PORTS: Final = range(20_000, 32_000)
_STOP_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 5.0
_TAIL_CHARACTERS: Final = 2_000
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")


class GoneError(BotoCoreError):
    """A request can't be answered any more."""

    fmt = "the embedded AWS has ended"


class EmbeddedAws:
    """ministack on loopback.

    Args:
        guardian: Ends it with the engine.
        scratch: Folder for its temporary files and its log.
        region: Region it is in.
        account: Account it is.
        iam: Whether it enforces IAM.
        state: Folder in which its state is kept when it ends, objects at once, and found again; None keeps it in
            memory.
        endpoint: URL that its own calls go to, and what rules of EventBridge match; None for its own, and nowhere.
        port: Port it listens on. Default: one that is free.

    Raises:
        EmbeddedAwsError: ministack isn't installed.
    """

    def __init__(
        self,
        *,
        guardian: Guardian,
        scratch: Path,
        region: str = "us-east-1",
        account: str = "000000000000",
        iam: bool = True,
        state: Path | None = None,
        endpoint: str | None = None,
        port: int | None = None,
    ) -> None:
        if importlib.util.find_spec("ministack") is None:
            message = (
                "ministack, the AWS that runs locally, is not installed: install cdk-distributed-map[local]. It takes "
                "one botocore alone: where that doesn't go with the boto3 here, use an environment of its own, which "
                "`distmap local install` makes for the command"
            )
            raise EmbeddedAwsError(message)
        self.port = port if port is not None else free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keys = Keys.new()
        """Credentials of the account's root, as long as it runs."""
        self.secret = secrets.token_urlsafe(32)
        """What lets the engine in, and whom it passes on."""
        self.lost = False
        """Whether it could not write all of its state when it ended."""
        self._guardian = guardian
        self.scratch, self.state = scratch, state
        self._region = region
        self._account = account
        self._iam = iam
        self._engine = endpoint
        self._endpoint = endpoint if endpoint is not None else self.url
        self._process: subprocess.Popen[bytes] | None = None
        self.killed = False
        """Whether the one that had its state before was killed: all but its objects is as it was at its start."""

    @property
    def pid(self) -> int:
        """Its process; 0 before it is started."""
        return self._process.pid if self._process is not None else 0

    @property
    def log(self) -> Path:
        """File with what it wrote."""
        return self.scratch / "aws.log"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            EmbeddedAwsError: It ended, or didn't answer in time.
        """
        # Without -P our modules, which are beside that file, would hide those that Python's own json is fast by.
        command = [sys.executable, "-P", str(Path(__file__).with_name("process_main.py"))]
        if self.state is not None:
            lock = self.state / "lock"
            self.killed = lock.exists() and lock.stat().st_size > 0
            command.append(str(lock))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.scratch,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: Ctrl-C is for the engine, which stops this in order.
                start_new_session=True,
            )
        self._guardian.watch(self._process.pid)
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            code = self._process.poll()
            if code is not None:
                self._fail(f"ended at once with code {code}")
            if time.monotonic() > give_up:
                self.stop()
                self._fail(f"did not answer within {START_SECONDS:.0f} seconds")
            time.sleep(0.02)

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            EmbeddedAwsError: It has ended.
        """
        code = self._process.poll() if self._process is not None else None
        if code is not None:
            self._fail(f"has ended with code {code}")

    def stop(self) -> None:
        """End it; it writes its state first, where that is kept."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            if self.state is None:
                # Nothing is lost, and taking itself apart takes it a while.
                process.kill()
            else:
                process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._guardian.release(process.pid)
        self._process = None
        self.lost = self.state is not None and (self.state / "lock").stat().st_size > 0

    def clients(self, *, pool: int = 50) -> Callable[[str], Any]:
        """Return what gives clients of its own port, by the name of the service: for the engine alone.

        Args:
            pool: Connections each of them keeps.
        """
        return sdk.clients(self.url, region=self._region, keys=self.keys, sent=self.sent, pool=pool)

    def sent(self, *, request: Any, **_: Any) -> None:
        """Let a request of the engine in, or end it at once where the embedded AWS has ended.

        Raises:
            GoneError: It has: there is nothing to try again, as boto3 does where it can't connect.
        """
        if self._process is not None and self._process.poll() is not None:
            raise GoneError
        request.headers[SECRET] = self.secret

    def put_events(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Put events on buses of EventBridge, as services of AWS do.

        Args:
            records: The events, as the embedded AWS keeps them.

        Raises:
            LookupError: There is no such bus.
            OSError: It doesn't answer.
        """
        try:
            with self._open(PUT_PATH, json.dumps(records).encode()):
                pass
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            raise LookupError(records[0]["EventBusName"]) from error

    def _answers(self) -> bool:
        try:
            # Until it listens, that is all there is to know, and asked for often.
            socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_SECONDS).close()
            with self._open("/_ministack/health"):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _open(self, path: str, body: bytes | None = None) -> Any:
        # No proxy: a proxy of this machine would be asked for loopback too.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self.url + path, body, {SECRET: self.secret})  # noqa: S310 - our own address
        return opener.open(request, timeout=_ANSWER_SECONDS)

    def _fail(self, what: str) -> None:
        tail = self.log.read_text(errors="replace")[-_TAIL_CHARACTERS:].strip()
        message = f"the embedded AWS on port {self.port} {what}: {tail or 'it wrote nothing'}"
        raise EmbeddedAwsError(message)

    def _environment(self) -> dict[str, str]:
        variables = {name: os.environ[name] for name in _KEPT if name in os.environ}
        variables |= {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": self._region,
            "MINISTACK_ACCOUNT_ID": self._account,
            "AUTH": "true" if self._iam else "false",
            "LOG_LEVEL": "WARNING",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AWS_ACCESS_KEY_ID": self.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key,
            SECRET_VARIABLE: self.secret,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "*",
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "TEMP": str(self.scratch),
            # No container is ever started or ended.
            "DOCKER_HOST": f"unix://{self.scratch / 'no-docker'}",
        }
        if self._engine is not None:
            variables[TARGETS_VARIABLE] = self._engine + TARGETS_PATH
        if self.state is not None:
            variables |= {
                "PERSIST_STATE": "1",
                "STATE_DIR": str(self.state / "services"),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(self.state / "s3"),
            }
        return variables


def free_port() -> int:
    """Return a port of loopback that was free just now, and that no outgoing connection is given before it is used."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", random.choice(_PORTS)))  # noqa: S311 - no secret
            return int(probe.getsockname()[1])
