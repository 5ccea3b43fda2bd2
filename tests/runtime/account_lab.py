"""A run without its state machine: maps that export as Step Functions does, and the account function between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from distmap import account_run, process_items
from distmap.wire import AccountSettings, ItemFile, ResultsPlace, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SETTINGS: AccountSettings = {
    "pipeline": "Stack/Squares",
    "toleratedFailureCount": None,
    "toleratedFailurePercentage": None,
    "rounds": 3,
    "rerun": None,
    "waitSeconds": 10,
    "backoffRate": 2,
    "maxWaitSeconds": 60,
    "metrics": True,
    "enveloped": True,
    "batched": True,
    "selects": False,
    "resultsBucket": "",
    "nested": [],
    "targets": [],
}

LOST = object()
"""A child of which nothing is exported."""

Child = Callable[[int, list[int]], Any]
"""Says how a child of a round with these items ends: None for the worker's own answer, an error of the whole child as
``(error, cause)``, :data:`LOST`, or what the worker answers."""


class Lab:
    """One run.

    Attributes:
        rounds: The item file of each round.
        waits: What was waited before each.
    """

    def __init__(
        self,
        s3: S3Client,
        run: Run,
        make_export: Callable[..., Any],
        values: Sequence[Any],
        *,
        work: Callable[[Any], Any] = lambda item: item,
        child: Child = lambda _number, _indexes: None,
        batch: int = 10,
        captured: bool = True,
        permanent_errors: Sequence[Any] = (),
        **settings: Any,
    ) -> None:
        self.s3, self.run, self.make_export, self.values = s3, run, make_export, values
        self.worker = process_items(fail_at_percentage=None, permanent_errors=permanent_errors)(work)
        self.child, self.batch, self.captured = child, batch, captured
        self.settings: Any = {**SETTINGS, "resultsBucket": run["bucket"], **settings}
        self.context: Callable[[], Any] = lambda: None
        self.rounds: list[ItemFile] = []
        self.waits: list[int] = []
        self.continuations = 0
        self.redrives = 0
        self.items = self.capture() if captured else None
        self.event: dict[str, Any] = {}

    def capture(self) -> ItemFile:
        body = "".join(json.dumps(value) + "\n" for value in self.values).encode()
        key = f"{self.run['prefix']}/items.jsonl"
        self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=body)
        return {"bucket": self.run["bucket"], "key": key, "count": len(self.values)}

    def read(self, items: ItemFile | None) -> list[dict[str, Any]]:
        if items is None or not items.get("enveloped"):
            return [{"index": index, "value": value} for index, value in enumerate(self.values)]
        body = self.s3.get_object(Bucket=items["bucket"], Key=items["key"])["Body"].read()
        return [json.loads(line) for line in body.splitlines()]

    def map(self, items: ItemFile | None) -> dict[str, Any]:
        """Run a map, and return the event of the account after it."""
        number = 0 if items is None else items.get("round", 0)
        export = self.make_export(map_run=f"map-{number}", number=number)
        envelopes = self.read(items)
        size = max(1, self.batch // 10**number) if self.settings["batched"] else 1
        for start in range(0, len(envelopes), size):
            self._child(export, number, envelopes[start : start + size])
        self.event = {
            "run": self.run,
            "items": items,
            "results": export.write(),
            "mapRunArn": export.map_run_arn,
            "redriveCount": self.redrives,
            "account": self.settings,
            "continuation": None,
        }
        return self.event

    def _child(self, export: Any, number: int, envelopes: list[dict[str, Any]]) -> None:
        if self.settings["batched"]:
            event: dict[str, Any] = {"BatchInput": {"distmap": {"run": self.run}}, "Items": envelopes}
        else:
            event = {**envelopes[0], "run": self.run}
        ends = self.child(number, [each["index"] for each in envelopes])
        if ends is None:
            export.run_child(self.worker, event)
        elif ends is LOST:
            return
        elif isinstance(ends, tuple):
            export.failed(event, *ends)
        else:
            export.succeeded(event, ends)

    def account(self, event: dict[str, Any] | None = None) -> Any:
        """Call the account function until its account is complete, and return what it answers."""
        event = self.event if event is None else event
        continuation = None
        while True:
            answer: Any = account_run(json.loads(json.dumps({**event, "continuation": continuation})), self.context())
            if "continuation" not in answer:
                return answer
            assert {**event, **answer}["items"] is not event["items"] or answer["run"] == event["run"]
            continuation = json.loads(json.dumps(answer["continuation"]))
            self.continuations += 1

    def finish(self, answer: Any = None) -> Any:
        """Run maps and accounts until the end, and return the ledger of the output."""
        if answer is None:
            self.map(self.items)
            answer = self.account()
        while "again" in answer:
            again = answer["again"]
            self.rounds.append(again["items"])
            self.waits.append(again["waitSeconds"])
            self.map(again["items"])
            answer = self.account()
        return answer["ledger"]

    @property
    def first_results(self) -> ResultsPlace:
        """Where the map of the source exported."""
        return {"bucket": self.run["bucket"], "key": f"{self.run['prefix']}/results/map-0/manifest.json"}

    def redrive(self) -> Any:
        """Go on after the account has failed the run, as a redrive of the execution does."""
        self.redrives += 1
        return self.finish(self.account({**self.event, "redriveCount": self.redrives}))

    def stored(self, name: str) -> Any:
        """Return a file of the run: the values in a file of lines, else the one value."""
        body = self.s3.get_object(Bucket=self.run["bucket"], Key=f"{self.run['prefix']}/{name}")["Body"].read()
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in body.splitlines()]
        return json.loads(body)

    def has(self, name: str) -> bool:
        found = self.s3.list_objects_v2(Bucket=self.run["bucket"], Prefix=f"{self.run['prefix']}/{name}")
        return found["KeyCount"] > 0


def answer_of(indexes: list[int], *, left: Sequence[int] = (), gone: Sequence[int] = ()) -> dict[str, Any]:
    """The answer of a worker that left some items unprocessed, and told nothing of others."""
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": index} for index in indexes if index not in {*left, *gone}
        ],
        "batchItemFailures": [],
        "batchItemsUnprocessed": [str(index) for index in indexes if index in left],
    }
