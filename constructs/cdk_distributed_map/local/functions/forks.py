"""Starts processes of Python functions as forks of one that has loaded boto3, which is most of their start.

A fork must not be told from a process of its own. So whatever would load other code in place of what is loaded by
then, a module of that name among the function's own or a variable that the interpreter looks at as it starts, has its
function started alone; and so has everything where forks aren't safe, which is anywhere but on Linux.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from io import FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple

from cdk_distributed_map.local.functions.launch import ALONE, CHILD, INTERPRETER, WORKER
from cdk_distributed_map.local.guardian import Guardian

_LOGGER: Final = logging.getLogger("cdk_distributed_map.local")
_KILLED: Final = -9
_STOP_SECONDS: Final = 10
_OF_THE_INTERPRETER: Final = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_")


class Forked(NamedTuple):
    """A process that was forked."""

    pid: int
    ended: Future[int]

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        return self.ended.result()


class _Server:
    """One process that others are forked from."""

    def __init__(self, python: str, libraries: str, *, guardian: Guardian, scratch: Path) -> None:
        self._guardian = guardian
        self._lock = threading.Lock()
        self._asked: deque[Future[Forked]] = deque()
        self._running: dict[int, Future[int]] = {}
        self._open = True
        self._closing = False
        self.loaded: Future[frozenset[str]] = Future()
        """Modules that a fork finds loaded, by the first part of their names."""
        self._socket, theirs = socket.socketpair()
        command = [python, *ALONE, str(CHILD / "fork_main.py")]
        command.append(json.dumps({"libraries": libraries, "socket": theirs.fileno()}))
        # By the folder, the guardian finds what a fork of a fork left running.
        environment = {**INTERPRETER, "TZ": ":UTC", "PATH": os.environ.get("PATH", os.defpath)}
        environment |= {"TMPDIR": str(scratch), "HOME": str(scratch)}
        arguments = (command, environment, scratch, theirs)
        # The kernel ends a child with the thread that made it: this one lasts as long.
        self._thread = threading.Thread(target=self._live, args=arguments, name="distmap-forks", daemon=True)
        self._thread.start()

    def _live(self, command: list[str], environment: dict[str, str], cwd: Path, theirs: socket.socket) -> None:
        try:
            with theirs:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            _warn(f"couldn't be started ({error})")
            self._end(error)
            return
        self._guardian.watch(process.pid)
        with self._socket.makefile("rb") as answers, contextlib.suppress(OSError):
            for line in answers:
                self._take(json.loads(line))
        if not self._closing:
            _warn("has ended")
        process.kill()
        process.wait()
        self._guardian.release(process.pid)
        self._end(ConnectionError("the process that functions are forked from has ended"))

    def _take(self, answer: Mapping[str, Any]) -> None:
        if "born" in answer:
            ended: Future[int] = Future()
            self._running[answer["born"]] = ended
            self._asked.popleft().set_result(Forked(answer["born"], ended))
        elif "error" in answer:
            self._asked.popleft().set_exception(OSError(answer["error"], os.strerror(answer["error"])))
        elif "ended" in answer:
            self._running.pop(answer["ended"]).set_result(answer["code"])
        else:
            self.loaded.set_result(frozenset(answer["loaded"]))

    def _end(self, error: OSError) -> None:
        with self._lock:
            self._open = False
        if not self.loaded.done():
            self.loaded.set_result(frozenset())
        while self._asked:
            self._asked.popleft().set_exception(error)
        while self._running:
            self._running.popitem()[1].set_result(_KILLED)

    def start(self, request: bytes, output: FileIO) -> Future[Forked] | None:
        """Ask for a fork; return None where it has ended."""
        born: Future[Forked] = Future()
        with self._lock:
            if not self._open:
                return None
            self._asked.append(born)
            try:
                socket.send_fds(self._socket, [len(request).to_bytes(4, "big")], [output.fileno()])
                self._socket.sendall(request)
            except OSError:
                # Whoever reads from it sees its end, too; it doesn't answer this one any more.
                self._asked.remove(born)
                self._open = False
                return None
        return born

    def close(self) -> None:
        """End it and what it forked."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_STOP_SECONDS)
        self._socket.close()


def _warn(what: str) -> None:
    # Once for each: nothing is asked of it afterwards.
    _LOGGER.warning("the process that functions are forked from %s: they start in processes of their own, slower", what)


class Forks:
    """The processes that those of an engine's functions are forked from: one for each Python.

    Args:
        guardian: Ends them with the engine.
        scratch: Folder for temporary files.
    """

    def __init__(self, *, guardian: Guardian, scratch: Path) -> None:
        self._guardian, self._scratch = guardian, scratch
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, str], _Server] = {}
        self._closed = sys.platform != "linux"

    def start(self, command: list[str], environment: Mapping[str, str], cwd: Path, output: FileIO) -> Forked | None:
        """Fork what a command would start.

        Args:
            command: Command line of the function's process.
            environment: Its environment.
            cwd: Its working directory.
            output: File for what it writes.

        Returns:
            The process; None where it has to be started by its command.

        Raises:
            OSError: It can't be started: its folder has gone, or the system has no room for one more.
        """
        if str(WORKER) not in command or _is_read_by_interpreter(environment):
            return None
        settings = json.loads(command[-1])
        server = self._server(command[0], settings["libraries"])
        loaded = server.loaded.result() if server is not None else frozenset()
        if server is None or not loaded or loaded & _own_modules(settings):
            return None
        request = {"arguments": command[-2:], "environment": dict(environment), "cwd": str(cwd)}
        born = server.start(json.dumps(request).encode(), output)
        with contextlib.suppress(ConnectionError):
            return born.result() if born is not None else None
        return None

    def _server(self, python: str, libraries: str) -> _Server | None:
        with self._lock:
            if self._closed:
                return None
            server = self._servers.get((python, libraries))
            if server is None:
                server = _Server(python, libraries, guardian=self._guardian, scratch=self._scratch)
                self._servers[python, libraries] = server
            return server

    def close(self) -> None:
        """End them."""
        with self._lock:
            self._closed = True
            servers = list(self._servers.values())
        for server in servers:
            server.close()


def _is_read_by_interpreter(environment: Mapping[str, str]) -> bool:
    own = environment.items() - INTERPRETER.items()
    return any(name.startswith(_OF_THE_INTERPRETER) for name, _ in own)


def _own_modules(settings: Mapping[str, str]) -> set[str]:
    """Return the first parts of the names of what a function and its layers may import."""
    layers = Path(settings["opt"], "python")
    names: set[str] = set()
    for folder in (Path(settings["task_root"]), layers, *layers.glob("lib/python*/site-packages")):
        with contextlib.suppress(OSError):
            names |= {name.partition(".")[0] for name in os.listdir(folder)}  # noqa: PTH208 - names alone
    return names
