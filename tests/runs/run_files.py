"""Files of runs, byte for byte as Step Functions writes them."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from cdk_distributed_map.runs import Pipeline
from distmap.wire import Run as WireRun
from tests.runs.fake_executions import ACCOUNT, EPOCH

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class RunFiles:
    """Writes the files of one map run, as its ResultWriter would.

    A redrive's manifest names all files of successes that there are, and children that failed or are pending as this
    attempt left them: those that it didn't change are exported again.
    """

    def __init__(
        self,
        s3: S3Client,
        run: WireRun,
        *,
        machine: str = "Squares",
        label: str = "Squares",
        transformation: str = "NONE",
        output_type: str = "JSONL",
        map_run: str | None = None,
        part_records: int = 1000,
        express: bool = False,
        suffix: str | None = None,
    ) -> None:
        self.s3, self.run = s3, run
        self.transformation, self.output_type = transformation, output_type
        self.uuid = str(uuid.uuid4()) if map_run is None else map_run
        self.machine, self.label = f"{ACCOUNT}:stateMachine:{machine}/{label}", label
        self.map_run_arn = f"{ACCOUNT}:mapRun:{machine}/{label}:{self.uuid}"
        self.part_records, self.express = part_records, express
        self.suffix = output_type.lower() if suffix is None else suffix
        self.records: dict[str, list[str]] = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
        self._tried: set[str] = set()
        """Inputs of the children in these records."""
        self._left: dict[str, list[str]] = {"FAILED": [], "PENDING": []}
        """Records of what the attempt before left."""
        self._succeeded: list[dict[str, Any]] = []

    @property
    def folder(self) -> str:
        return f"{self.run['prefix']}/results/{self.uuid}"

    def items(self, values: list[Any]) -> None:
        """Write the captured items."""
        body = "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)
        self.s3.put_object(Bucket=self.run["bucket"], Key=f"{self.run['prefix']}/items.jsonl", Body=body.encode())

    def input(self, items: list[tuple[int, Any]]) -> str:
        batch = {
            "BatchInput": {"distmap": {"run": self.run}},
            "Items": [{"index": index, "value": value} for index, value in items],
        }
        return json.dumps(batch, separators=(",", ":"))

    def child(
        self,
        items: list[tuple[int, Any]],
        status: str = "SUCCEEDED",
        *,
        output: Any = None,
        error: str | None = None,
        cause: str | None = None,
        seconds: float = 1.0,
        started: int = 0,
    ) -> None:
        """Add a child. A batch's output is that of the runtime, which the test gives or which squares nothing."""
        self.child_of(
            self.input(items),
            status,
            output=answer_of(items) if output is None else output,
            error=error,
            cause=cause,
            seconds=seconds,
            started=started,
        )

    def child_of(
        self,
        text: str,
        status: str = "SUCCEEDED",
        *,
        output: Any = None,
        error: str | None = None,
        cause: str | None = None,
        seconds: float = 1.0,
        started: int = 0,
    ) -> None:
        """Add a child by its input."""
        kind = status if status in {"SUCCEEDED", "PENDING"} else "FAILED"
        self._tried.add(text)
        if kind == "SUCCEEDED" and self.transformation != "NONE":
            self.records[kind].append(_dumps(output))
            return
        record: dict[str, Any] = {"Input": text, "InputDetails": {"Included": True}, "Status": status}
        if kind != "PENDING":
            record |= self._ran(started, seconds)
        if kind == "SUCCEEDED":
            record |= {"Output": _dumps(output)}
        elif kind == "FAILED" and status == "ABORTED" and error is None:
            record |= {
                "Cause": f"The map run execution [{self.map_run_arn}] which was managing this resource was aborted"
            }
        elif kind == "FAILED":
            record |= {"Cause": cause or "", "Error": error or "States.TaskFailed"}
        if not self.express and kind == "SUCCEEDED":
            reason = "Execution is SUCCEEDED and cannot be redriven"
            record |= {"RedriveStatus": "NOT_REDRIVABLE", "RedriveStatusReason": reason}
        elif not self.express and kind == "FAILED":
            record |= {"RedriveStatus": "REDRIVABLE_BY_MAP_RUN"}
        self.records[kind].append(_dumps(dict(sorted(record.items()))))

    def _ran(self, started: int, seconds: float) -> dict[str, Any]:
        """The fields of a child that ran, however it ended."""
        name = str(uuid.uuid4())
        of_map = self.map_run_arn.rpartition(":")[0]
        arn = f"{of_map.replace(':mapRun:', ':execution:')}:{name}"
        if self.express:
            arn = f"{of_map.replace(':mapRun:', ':express:')}:{name}:{uuid.uuid4()}"
        start, stop = (
            time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(EPOCH + at)) for at in (started, started + seconds)
        )
        return {
            "ExecutionArn": arn,
            "Name": name,
            "OutputDetails": {"Included": True},
            "RedriveCount": 0,
            "StartDate": start,
            "StateMachineArn": self.machine,
            "StopDate": stop,
        }

    def write(self, *, redrive: int = 0, manifest: bool = True, folder: str | None = None) -> str:
        """Write what was added, and return the manifest's key."""
        base = (self.folder if folder is None else folder) + (f"/Redrive-{redrive}" if redrive else "")
        if redrive:
            for status, left in self._left.items():
                self.records[status] += [each for each in left if json.loads(each)["Input"] not in self._tried]
        self._left = {status: list(self.records[status]) for status in ("FAILED", "PENDING")}
        files: dict[str, list[dict[str, Any]]] = {}
        for status, records in self.records.items():
            files[status] = []
            for number in range(0, len(records), self.part_records):
                part = records[number : number + self.part_records]
                body = (
                    "[" + ",".join(part) + "]" if self.output_type == "JSON" else "".join(f"{each}\n" for each in part)
                )
                key = f"{base}/{status}_{number // self.part_records}.{self.suffix}"
                self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=body.encode())
                files[status].append({"Key": key, "Size": len(body.encode())})
        self._succeeded += files["SUCCEEDED"]
        files["SUCCEEDED"] = list(self._succeeded)
        self.records = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
        self._tried = set()
        key = f"{base}/manifest.json"
        if manifest:
            text = {"DestinationBucket": self.run["bucket"], "MapRunArn": self.map_run_arn, "ResultFiles": files}
            self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=json.dumps(text).encode())
        return key


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def answer_of(
    items: list[tuple[int, Any]],
    *,
    failed: dict[int, tuple[str, str]] | None = None,
    unprocessed: list[int] | None = None,
) -> dict[str, Any]:
    """What the runtime answers for a batch."""
    bad, left = failed or {}, unprocessed or []
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": {"of": value}}
            for index, value in items
            if index not in bad and index not in left
        ],
        "batchItemFailures": [
            {"itemIdentifier": str(index), "error": error, "cause": cause} for index, (error, cause) in bad.items()
        ],
        "batchItemsUnprocessed": [str(index) for index in left],
    }


def wire_run(pipeline: Pipeline, name: str) -> WireRun:
    """What the states say of a run to its children."""
    run = pipeline.run(name)
    return {
        "id": run.arn,
        "name": name,
        "bucket": pipeline.definition.item_file.bucket,
        "prefix": run.prefix.removesuffix("/"),
        "path": "",
    }
