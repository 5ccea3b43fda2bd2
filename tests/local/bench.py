"""An embedded AWS, the engine in front of it, and a Lambda in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cdk_distributed_map.local import Answer, Engine, Invocation, InvokeError

Handler = Callable[[Any], Any]
GIVE_UP_SECONDS = 300.0
ROLE = "arn:aws:iam::000000000000:role/test"


class InProcessLambda:
    """Runs the functions of the embedded AWS in threads of this process, with Lambda's error payloads.

    The embedded AWS runs functions too, but doesn't say the type of an error.

    Args:
        client: Lambda client of the embedded AWS.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._loaded: dict[str, Handler] = {}
        self._lock = threading.Lock()
        self.handlers: dict[str, Handler] = {}
        """Functions that exist only here, by name."""
        self.invocations = 0

    async def invoke(self, invocation: Invocation) -> Answer:
        """Call a function in a thread of its own, which nothing waits for at the end of the tests."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def run() -> None:
            try:
                answer = self._invoke(invocation)
            except InvokeError as error:
                self._tell(loop, future, error)
            else:
                self._tell(loop, future, answer)

        threading.Thread(target=run, daemon=True).start()
        return await future

    @staticmethod
    def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Answer], outcome: Answer | InvokeError) -> None:
        def settle() -> None:
            if not future.done():
                if isinstance(outcome, InvokeError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

        if not loop.is_closed():
            loop.call_soon_threadsafe(settle)

    def _invoke(self, invocation: Invocation) -> Answer:
        name = invocation.function.split(":function:")[-1].split(":")[0]
        handler = self.handlers.get(name) or self._code(name)
        request_id = str(uuid.uuid4())
        with self._lock:
            self.invocations += 1
        try:
            payload = json.dumps(handler(json.loads(invocation.payload)))
        except InvokeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its error
            stack = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
            shown = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "requestId": request_id,
                "stackTrace": stack,
            }
            return Answer(payload=json.dumps(shown), function_error="Unhandled", request_id=request_id)
        return Answer(payload=payload, request_id=request_id)

    def _code(self, name: str) -> Handler:
        if name not in self._loaded:
            try:
                location = self._client.get_function(FunctionName=name)["Code"]["Location"]
            except ClientError as error:
                raise InvokeError(
                    error.response["Error"]["Code"], error.response["Error"]["Message"], status=404
                ) from error
            with urllib.request.urlopen(location) as answer:  # noqa: S310 - the embedded AWS's own address
                archive = zipfile.ZipFile(io.BytesIO(answer.read()))
            folder = Path(tempfile.mkdtemp())
            archive.extractall(folder)
            spec = importlib.util.spec_from_file_location(f"handler_{uuid.uuid4().hex}", folder / "handler.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
            spec.loader.exec_module(module)
            sys.dont_write_bytecode = before
            self._loaded[name] = lambda event: module.handler(event, None)
        return self._loaded[name]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The engine, and clients for it."""

    sfn: Any
    s3: Any
    functions: InProcessLambda
    engine: Engine
    url: str

    def machine(self, definition: dict[str, Any], *, express: bool = False) -> str:
        """Create a state machine."""
        arn: str = self.sfn.create_state_machine(
            name=f"m{uuid.uuid4().hex[:12]}",
            definition=json.dumps(definition),
            roleArn=ROLE,
            type="EXPRESS" if express else "STANDARD",
        )["stateMachineArn"]
        return arn

    def engine_machine(self, definition: dict[str, Any]) -> str:
        """Create a state machine that the embedded AWS takes as it is."""
        arn = self.machine({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
        self.sfn.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))
        return arn

    def start(self, definition: dict[str, Any], input: Any = None) -> str:
        """Start an execution of a new state machine."""
        arn: str = self.sfn.start_execution(
            stateMachineArn=self.machine(definition), input=json.dumps({} if input is None else input)
        )["executionArn"]
        return arn

    def ended(self, execution: str) -> dict[str, Any]:
        """Wait for an execution's end and describe it."""
        while True:
            found: dict[str, Any] = self.sfn.describe_execution(executionArn=execution)
            if found["status"] != "RUNNING":
                return found
            # Of a child it isn't told when it ends.
            if not self.engine.wait(execution, seconds=GIVE_UP_SECONDS):
                time.sleep(0.005)

    def run(self, definition: dict[str, Any], input: Any = None) -> dict[str, Any]:
        """Run a definition to its end."""
        return self.ended(self.start(definition, input))

    def output(self, definition: dict[str, Any], input: Any = None) -> Any:
        """Run a definition that succeeds and return its output."""
        found = self.run(definition, input)
        assert found["status"] == "SUCCEEDED", (found.get("error"), found.get("cause"))
        return json.loads(found["output"])

    def events(self, execution: str) -> list[dict[str, Any]]:
        """Return an execution's history."""
        found: list[dict[str, Any]] = self.sfn.get_execution_history(executionArn=execution, maxResults=1000)["events"]
        return found

    def map_run(self, execution: str) -> dict[str, Any]:
        """Describe an execution's only map run."""
        (entry,) = self.sfn.list_map_runs(executionArn=execution)["mapRuns"]
        found: dict[str, Any] = self.sfn.describe_map_run(mapRunArn=entry["mapRunArn"])
        return found

    def bucket(self, objects: dict[str, bytes] | None = None) -> str:
        """Create a bucket with objects."""
        name = f"b{uuid.uuid4().hex[:16]}"
        self.s3.create_bucket(Bucket=name)
        for key, body in (objects or {}).items():
            self.s3.put_object(Bucket=name, Key=key, Body=body)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of a bucket."""
        listing = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for entry in listing.get("Contents", [])]

    def body(self, bucket: str, key: str) -> bytes:
        """Return an object."""
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    @staticmethod
    def mapped(states: dict[str, Any] | None = None, *, kind: str = "STANDARD", **fields: Any) -> dict[str, Any]:
        """Return a definition that is one Distributed Map in JSONata over ``$states.input.items``."""
        inner = states or {"Each": {"Type": "Pass", "End": True}}
        state = {
            "Type": "Map",
            "Label": "Each",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind},
                "StartAt": next(iter(inner)),
                "States": inner,
            },
            "End": True,
            **fields,
        }
        if "ItemReader" not in fields and "Items" not in fields:
            state["Items"] = "{% $states.input.items %}"
        return {"QueryLanguage": "JSONata", "StartAt": "Map", "States": {"Map": state}}

    @staticmethod
    def task(function: str, **fields: Any) -> dict[str, Any]:
        """Return the states of a child that calls a function with its input."""
        return {
            "Work": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
                "Output": "{% $states.result.Payload %}",
                "End": True,
                **fields,
            }
        }

    @staticmethod
    def reader(bucket: str, key: str, **config: Any) -> dict[str, Any]:
        """Return an ItemReader of a file."""
        place = {"Bucket": bucket, "Key": key}
        return {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config, "Arguments": place}

    @staticmethod
    def writer(bucket: str, **config: Any) -> dict[str, Any]:
        """Return a ResultWriter to a bucket, under ``out/``."""
        place = {"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": bucket, "Prefix": "out"}}
        return {**place, "WriterConfig": config} if config else place

    @staticmethod
    def failing_on(*bad: Any) -> Handler:
        """Return a handler that fails on some events."""

        def work(event: Any) -> Any:
            if event in bad:
                raise ValueError(f"bad item {event}")
            return event

        return work
