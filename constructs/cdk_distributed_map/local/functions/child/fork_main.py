"""Runs in a process that processes of functions are forked from: boto3, half of what they start with, is loaded once.

It never runs anything of a function's. A fork of it becomes what :mod:`worker_main` would be in a process of its own:
its own session, folder, environment, path and output. Linux only: elsewhere a fork of threads and frameworks isn't
safe. Arguments: one JSON object with `libraries` and `socket`, the number of the socket it is asked at.

A request is four bytes of length and a JSON object, with the file that takes the output; an answer is a line of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

import worker_main  # type: ignore[import-not-found] # beside this file

_REQUEST_HEAD = 4


def _load(libraries: str) -> list[str]:
    """Load what functions find on Lambda, and nothing that looks at the environment while it is loaded."""
    standard = list(sys.path)
    sys.path.insert(0, libraries)
    import boto3  # noqa: F401, PLC0415 - of the libraries

    _read_ahead()
    sys.path[:] = standard
    sys.path_importer_cache.clear()
    gc.collect()
    gc.freeze()
    return sorted({name.partition(".")[0] for name in sys.modules} - {"__main__", "worker_main"})


def _read_ahead() -> None:
    """Keep what boto3 reads of its own for a client of S3, which is most of what a function's first client takes."""
    from botocore.loaders import JSONFileLoader, Loader  # noqa: PLC0415 - of the libraries

    reader: Any = JSONFileLoader
    load, kept = reader.load_file, dict[str, Any]()

    def load_file(loader: Any, path: str) -> Any:
        return kept[path] if path in kept else load(loader, path)

    class Keeping(JSONFileLoader):
        def load_file(self, file_path: str) -> Any:
            kept[file_path] = found = super().load_file(file_path)
            return found

    # Only what comes with it: what is added to that may differ between functions.
    own = Loader(file_loader=Keeping(), include_default_search_paths=False)
    own.search_paths.append(Loader.BUILTIN_DATA_PATH)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        own.load_data(name)
    for name in ("service-2", "endpoint-rule-set-1"):
        own.load_service_model("s3", name)
    reader.load_file = load_file


def _receive(server: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Return a request and the file of its output, None where nobody will ask any more."""
    head, files, _, _ = socket.recv_fds(server, _REQUEST_HEAD, 1)
    if not files:
        return None
    left = int.from_bytes(head, "big")
    parts: list[bytes] = []
    while left:
        part = server.recv(left)
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return json.loads(b"".join(parts)), files[0]


def _become(request: dict[str, Any], output: int, ready: int) -> None:
    """Make a fork look like a process that was just started, and say so."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        os.setsid()
        os.chdir(request["cwd"])
    except OSError as error:
        os.write(ready, str(error.errno).encode())
        os._exit(1)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    # Python sets it itself as it starts, where this machine lacks the locale.
    coerced = {"LC_CTYPE": os.environ["LC_CTYPE"]} if "LC_CTYPE" in os.environ else {}
    os.environ.clear()
    os.environ.update(coerced | request["environment"])
    time.tzset()
    sys.argv[:] = request["arguments"]
    # As it is found in a process of its own, by those who start processes that import it again.
    sys.modules["__main__"] = sys.modules.pop("worker_main")
    vars(sys.modules["__main__"])["__name__"] = "__main__"
    if "__mp_main__" in sys.modules:
        sys.modules["__mp_main__"] = sys.modules["__main__"]
    os.close(ready)


def _fork(server: socket.socket, wakeups: tuple[int, int]) -> bool:
    """Answer a request; return whether this is the new process."""
    received = _receive(server)
    if received is None:
        os._exit(0)
    request, output = received
    waiting, ready = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        # The system has no room for one more: none of the others suffers for it.
        for file in (waiting, ready, output):
            os.close(file)
        _answer(server, {"error": error.errno})
        return False
    if pid == 0:
        server.close()
        for file in (waiting, *wakeups):
            os.close(file)
        _become(request, output, ready)
        return True
    os.close(ready)
    os.close(output)
    # It is told of once it leads its group: it can be ended from then on, with all that it starts.
    failed = os.read(waiting, 16)
    os.close(waiting)
    if failed:
        os.waitpid(pid, 0)
        _answer(server, {"error": int(failed)})
    else:
        _answer(server, {"born": pid})
    return False


def _answer(server: socket.socket, answer: dict[str, Any]) -> None:
    server.sendall(json.dumps(answer).encode() + b"\n")


def _tell_of_ends(server: socket.socket, wakeup: int) -> None:
    os.read(wakeup, 4096)
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _answer(server, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def main() -> None:
    """Fork until nobody asks any more, or return in a fork."""
    settings = json.loads(sys.argv[1])
    worker_main.die_with_parent()
    server = socket.socket(fileno=settings["socket"])
    wakeups = os.pipe()
    os.set_blocking(wakeups[1], False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeups[1])
    _answer(server, {"loaded": _load(settings["libraries"])})
    own = os.getpid()
    while True:
        ready, _, _ = select.select([server.fileno(), wakeups[0]], [], [])
        if wakeups[0] in ready:
            _tell_of_ends(server, wakeups[0])
        if server.fileno() in ready and _fork(server, wakeups):
            break
    worker_main.die_with_parent(own)


if __name__ == "__main__":
    run = worker_main.main
    main()
    run()
