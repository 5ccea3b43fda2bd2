"""Functions from a folder of handlers, run by real processes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.functions import (
    Credentials,
    FunctionConfig,
    Functions,
    FunctionSettings,
    InvokeResult,
)
from cdk_distributed_map.local.functions.forks import Forks
from cdk_distributed_map.local.guardian import Guardian

T = TypeVar("T")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
RUNTIME = "python3.11"

HANDLERS = """
import os, sys, time, json, signal, subprocess, threading

calls = 0

def echo(event, context): return event

def count(event, context):
    global calls
    calls += 1
    return [os.getpid(), calls]

def no_arguments(): return None

def parse(event, context): return json.loads(event)

def context_of(event, context):
    return {
        "arn": context.invoked_function_arn, "id": context.aws_request_id, "name": context.function_name,
        "memory": context.memory_limit_in_mb, "left": context.get_remaining_time_in_millis(),
        "group": context.log_group_name, "version": context.function_version,
    }

def environment(event, context): return dict(os.environ)

def path(event, context): return [sys.path, os.getcwd(), sys.version_info[:2]]

def sleep(event, context):
    time.sleep(event)
    return "slept"

def fail(event, context): raise KeyError(event)

def say(event, context):
    print("said", event)
    sys.stderr.write("and to stderr\\n")

def leave(event, context): os._exit(event)

def signalled(event, context): os.kill(os.getpid(), event)

def large(event, context): return "x" * event

def unserialisable(event, context): return {1, 2}

def hoard(event, context):
    held = bytearray(event)
    return len(held)

def hoard_slowly(event, context):
    held = []
    while True:
        held.append(bytearray(4_000_000))
        time.sleep(0.002)

def spawn(event, context):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return child.pid

def import_boto3(event, context):
    import boto3
    return boto3.__file__

def import_module(event, context):
    __import__(event)
    return sys.modules[event].__file__

def touch_then_wait(event, context):
    open(event, "w").close()
    time.sleep(600)

def meet(event, context):
    # Waits until as many invocations as are expected are under way at once.
    open(os.path.join(event["folder"], str(os.getpid())), "w").close()
    while len(os.listdir(event["folder"])) < event["expected"]:
        time.sleep(0.01)
    return os.getpid()

def mark(event, context):
    with open(event, "a") as file:
        file.write("x")
    return "marked"
"""


class Folder:
    """The catalog of the functions in one folder: the name of a function is that of its handler."""

    def __init__(self, base: FunctionConfig) -> None:
        self.base = base
        self.others: dict[str, FunctionConfig] = {}
        self.expires = float("inf")

    async def function(self, name: str, qualifier: str | None) -> FunctionConfig:
        """Return the function of a handler."""
        del qualifier
        if name in self.others:
            return self.others[name]
        return dataclasses.replace(self.base, name=name, arn=ARN + name, handler=f"handlers.{name}")

    async def credentials(self, config: FunctionConfig) -> Credentials:
        """Return dummies."""
        return Credentials(access_key="AKID", secret_key="secret", token=config.role or "", expires=self.expires)

    def reservations(self) -> Mapping[str, int]:
        """Return what was reserved."""
        return {c.arn: c.reserved_concurrency for c in self.others.values() if c.reserved_concurrency is not None}


class Lab:
    """Functions that run, and what is needed to make them."""

    def __init__(self, scratch: Path, code: Path, guardian: Guardian, forks: Forks | None = None) -> None:
        self.scratch = scratch
        self.guardian = guardian
        self.forks = forks
        """What processes are forked from; None for one of each run's own."""
        self.folder = Folder(FunctionConfig(name="", arn="", handler="", runtime=RUNTIME, code=code, revision="1"))
        self.settings: dict[str, Any] = {}
        self.faults = Faults()
        self.finished: list[InvokeResult] = []
        self.warnings: list[str] = []

    def configure(self, **changes: Any) -> None:
        """Change what all functions have."""
        self.folder.base = dataclasses.replace(self.folder.base, **changes)

    def define(self, name: str, **changes: Any) -> None:
        """Give one function what the others don't have."""
        base = dataclasses.replace(self.folder.base, name=name, arn=ARN + name, handler=f"handlers.{name}")
        self.folder.others[name] = dataclasses.replace(base, **changes)

    def run(self, work: Callable[[Functions], Awaitable[T]]) -> T:
        """Run something with the functions; end their processes afterwards."""

        async def main() -> T:
            functions = Functions(
                self.folder,
                endpoint="http://127.0.0.1:9",
                guardian=self.guardian,
                scratch=self.scratch,
                settings=FunctionSettings(**self.settings),
                faults=self.faults,
                finished=lambda _, result: self.finished.append(result),
                warn=self.warnings.append,
                forks=self.forks,
            )
            try:
                return await work(functions)
            finally:
                await functions.close()

        return asyncio.run(main())

    def call(self, name: str, payload: bytes = b"{}") -> InvokeResult:
        """Call one function once."""
        return self.run(lambda functions: functions.run(name, payload))
