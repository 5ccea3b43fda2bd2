"""Items that did not succeed, pushed to queues and event buses: each at least once, counted, and refusals said."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from distmap import DistmapError, account_run
from distmap.wire import FailedItemsTarget, Run
from tests.runtime.account_lab import LOST, Lab

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

QUEUE: FailedItemsTarget = {"kind": "queue", "name": "https://sqs.us-east-1.amazonaws.com/123456789012/failed"}
FIFO: FailedItemsTarget = {"kind": "queue", "name": "https://sqs.us-east-1.amazonaws.com/123456789012/failed.fifo"}
BUS: FailedItemsTarget = {"kind": "bus", "name": "arn:aws:events:us-east-1:123456789012:event-bus/failed"}
TARGETS = [QUEUE, FIFO, BUS]
RUN_ID = "arn:aws:states:us-east-1:123456789012:execution:Squares:run-1"

_UNSENDABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Services:
    """SQS and EventBridge, with their limits.

    Attributes:
        taken: What each target took.
        refuses: Says, of an attempt and the body of a message, the code by which it is refused; None where it isn't.
        requests_refused: Errors of whole requests to come, by target.
        most_bytes: The most that a queue takes in a message.
    """

    def __init__(self) -> None:
        self.taken: dict[str, list[dict[str, Any]]] = {each["name"]: [] for each in TARGETS}
        self.groups: list[tuple[str, str]] = []
        self.refuses: Callable[[int, dict[str, Any]], str | None] = lambda _attempt, _body: None
        self.requests_refused: dict[str, list[Exception | None]] = {}
        self.most_bytes = 262_144
        self.attempts: Counter[tuple[str, Any]] = Counter()
        self.resources: set[str] = set()
        self.clients: set[tuple[str, str | None]] = set()

    def client_of(self, service: str, region: str | None) -> Services:
        self.clients.add((service, region))
        return self

    def _take(self, target: str, texts: list[str], overhead: int) -> list[str | None]:
        waiting = self.requests_refused.get(target)
        error = waiting.pop(0) if waiting else None
        if error is not None:
            raise error
        assert 1 <= len(texts) <= 10
        sizes = [len(text.encode()) + overhead for text in texts]
        assert sum(sizes) <= 262_144
        codes: list[str | None] = []
        for size, text in zip(sizes, texts, strict=True):
            body = json.loads(text)
            attempt = self.attempts[target, body["index"]]
            self.attempts[target, body["index"]] += 1
            code = "InvalidParameterValue" if size > self.most_bytes else self.refuses(attempt, body)
            if code is None:
                self.taken[target].append(body)
            codes.append(code)
        return codes

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        entries, url = request["Entries"], request["QueueUrl"]
        assert len({each["Id"] for each in entries}) == len(entries)
        assert not any(_UNSENDABLE.search(each["MessageBody"]) for each in entries)
        for each in entries:
            assert ("MessageGroupId" in each) == url.endswith(".fifo") == ("MessageDeduplicationId" in each)
            if url.endswith(".fifo"):
                self.groups.append((each["MessageGroupId"], each["MessageDeduplicationId"]))
        codes = self._take(url, [each["MessageBody"] for each in entries], 0)
        failed = [
            {"Id": each["Id"], "Code": code, "Message": "no", "SenderFault": code == "InvalidParameterValue"}
            for each, code in zip(entries, codes, strict=True)
            if code is not None
        ]
        return {"Failed": failed} if failed else {}

    def put_events(self, **request: Any) -> dict[str, Any]:
        entries = request["Entries"]
        ((name, source, kind),) = {(each["EventBusName"], each["Source"], each["DetailType"]) for each in entries}
        assert (source, kind) == ("distmap", "Distmap Item Failed")
        self.resources.update(*(each["Resources"] for each in entries))
        codes = self._take(name, [each["Detail"] for each in entries], len(source + kind + RUN_ID))
        return {
            "FailedEntryCount": len(codes) - codes.count(None),
            "Entries": [
                {"EventId": "1"} if code is None else {"ErrorCode": code, "ErrorMessage": "no"} for code in codes
            ],
        }

    def indexes(self, target: FailedItemsTarget) -> list[int]:
        return sorted(each["index"] for each in self.taken[target["name"]])


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    made = Services()
    monkeypatch.setattr("distmap._targets.client_of", made.client_of)
    monkeypatch.setattr("distmap._push.sleep", waited.append)
    waited.clear()
    return made


waited: list[float] = []


@pytest.fixture
def lab(s3: S3Client, run: Run, make_export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lab]:
    def make(values: Any, *, targets: list[FailedItemsTarget] = TARGETS, tolerated: float = 100, **more: Any) -> Lab:
        return Lab(s3, run, make_export, values, targets=targets, toleratedFailurePercentage=tolerated, **more)

    monkeypatch.setattr("distmap._account.items_of_map_run", lambda _arn: None)
    return make


def fails(*which: int) -> Callable[[Any], Any]:
    def work(item: Any) -> Any:
        number = item["n"] if isinstance(item, dict) else item
        if number in which:
            message = f"item {number}"
            raise ValueError(message)
        return number

    return work


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "you may not"}}, "SendMessageBatch")


def told(this: Lab) -> dict[str, tuple[int, int, str | None]]:
    """How many items each target took by the ledger, of how many, and why it took no more."""
    return {each["name"]: (each["pushed"], each["of"], each["error"]) for each in this.stored("ledger.json")["pushed"]}


# -- all is well


def test_items_that_did_not_succeed_are_pushed_once_the_rounds_are_over(
    lab: Callable[..., Lab], services: Services
) -> None:
    def child(number: int, indexes: list[int]) -> Any:
        return ("Runtime.ExitError", "exit status 1") if 25 in indexes and number == 0 else None

    this = lab(range(30), work=fails(3, 25), child=child)

    ledger = this.finish()

    assert (ledger["failed"], ledger["pushed"]) == (2, 2)
    for target in TARGETS:
        assert services.indexes(target) == [3, 25]
        assert told(this)[target["name"]] == (2, 2, None)
    first, second = sorted(services.taken[QUEUE["name"]], key=lambda each: each["index"])
    assert first.pop("place").endswith(" in work")
    assert first.pop("traceback").endswith("ValueError: item 3")
    assert {name: first[name] for name in first if name != "child"} == {
        "pipeline": "Stack/Squares",
        "runId": RUN_ID,
        "runName": "run-1",
        "key": f"{RUN_ID}/3",
        "index": 3,
        "outcome": "FAILED",
        "error": "ValueError",
        "cause": "item 3",
        "attempt": 0,
        "item": 3,
    }
    assert "execution:Squares/Map:" in first["child"]
    assert second["attempt"] == 1
    assert services.resources == {RUN_ID}


def test_a_target_that_is_named_twice_is_told_once(lab: Callable[..., Lab], services: Services) -> None:
    assert lab(range(5), work=fails(1), targets=[QUEUE, BUS, QUEUE]).finish()["pushed"] == 1
    assert services.indexes(QUEUE) == services.indexes(BUS) == [1]


def test_nothing_is_pushed_where_everything_succeeded(lab: Callable[..., Lab], services: Services) -> None:
    this = lab(range(5))

    assert this.finish()["pushed"] == 0
    assert not any(services.taken.values())


def test_a_run_without_targets_says_nothing_of_pushing(lab: Callable[..., Lab], services: Services) -> None:
    assert "pushed" not in lab(range(5), work=fails(1), targets=[]).finish()
    assert not any(services.taken.values())


def test_items_are_pushed_where_the_run_fails_for_them(lab: Callable[..., Lab], services: Services) -> None:
    this = lab(range(20), tolerated=5, child=lambda _number, indexes: LOST if 3 in indexes else None, batch=2)

    with pytest.raises(DistmapError):
        this.finish()

    assert services.indexes(QUEUE) == [3]
    assert services.taken[QUEUE["name"]][0]["outcome"] == "MISSING"


def test_items_of_a_retry_have_the_key_of_their_first_run(lab: Callable[..., Lab], services: Services) -> None:
    this = lab(range(3), work=fails(1))
    first = RUN_ID.replace("run-1", "run-0")
    assert this.items is not None
    this.items["firstRun"] = first

    this.finish()

    assert services.taken[QUEUE["name"]][0]["key"] == f"{first}/1"


def test_a_fifo_queue_has_a_group_for_each_item_and_tells_ends_of_one_apart(
    lab: Callable[..., Lab], services: Services
) -> None:
    attempts = Counter[int]()

    def work(item: int) -> int:
        attempts[item] += 1
        message = f"attempt {attempts[item]}"
        raise ValueError(message)

    this = lab(range(3), tolerated=0, work=work, targets=[FIFO])
    for act in (this.finish, this.redrive):
        with pytest.raises(DistmapError):
            act()

    assert len(services.groups) == len({once for _, once in services.groups}) == 6
    assert Counter(Counter(group for group, _ in services.groups).values()) == {2: 3}


# -- size


def test_a_large_item_is_pushed_by_reference(lab: Callable[..., Lab], services: Services, s3: S3Client) -> None:
    def child(_number: int, _indexes: list[int]) -> Any:
        return ("ValueError", "\x01" * 32_768)

    values = [{"n": number, "text": "ä" * 120_000 if number == 1 else "x"} for number in range(3)]
    this = lab(values, batch=1, batched=False, child=child, selects=True)

    assert this.finish()["pushed"] == 3
    for target in TARGETS:
        small, large, _ = sorted(services.taken[target["name"]], key=lambda each: each["index"])
        assert small["item"] == values[0]
        assert len(small["cause"]) == 32_768
        assert "item" not in large
        assert len(large["cause"]) == 20_000
        place = large["itemAt"]
        line = s3.get_object(
            Bucket=place["bucket"], Key=place["key"], Range=place["range"], IfMatch=place["etag"]
        )["Body"].read()  # fmt: skip
        assert json.loads(line)["item"] == values[1]
        assert this.stored("failures.jsonl")[place["line"]] == json.loads(line)


def test_batches_have_no_more_bytes_than_a_request_may(lab: Callable[..., Lab], services: Services) -> None:
    values = [{"n": number, "text": "ä" * 40_000} for number in range(12)]
    this = lab(values, work=fails(*range(12)), batch=2)

    assert this.finish()["pushed"] == 12
    assert services.indexes(BUS) == list(range(12))


def test_what_a_queue_takes_no_message_of_is_pushed_by_reference(lab: Callable[..., Lab], services: Services) -> None:
    services.most_bytes = 2_000
    values = [{"n": number, "text": "x" * (3_000 * number)} for number in range(3)]
    this = lab(values, work=fails(0, 1, 2))

    assert this.finish()["pushed"] == 3
    assert [("item" in each, "itemAt" in each) for each in services.taken[QUEUE["name"]]].count((False, True)) == 2


def test_text_that_no_message_may_have_is_escaped(lab: Callable[..., Lab], services: Services) -> None:
    values = [{"n": 0, "text": "\x00\ufffe\uffff\U0001f600\u2028"}]
    this = lab(values, work=fails(0))

    this.finish()

    assert [each["item"] for each in services.taken[QUEUE["name"]]] == values


# -- refusals


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "KmsThrottled", "ServiceUnavailable"])
def test_what_is_refused_for_the_moment_is_sent_again(lab: Callable[..., Lab], services: Services, code: str) -> None:
    services.refuses = lambda attempt, body: code if body["index"] % 3 == 0 and attempt < 3 else None
    this = lab(range(25), work=fails(*range(25)))

    assert this.finish()["pushed"] == 25
    for target in TARGETS:
        assert services.indexes(target) == list(range(25))
    assert set(waited) == {0.1, 0.2, 0.4}


def test_a_request_that_is_throttled_as_a_whole_is_sent_again(lab: Callable[..., Lab], services: Services) -> None:
    services.requests_refused = {each["name"]: [refused("RequestThrottled")] * 2 for each in TARGETS}

    assert lab(range(3), work=fails(1)).finish()["pushed"] == 1


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(refused("AccessDenied"), id="denied"),
        pytest.param(refused("AWS.SimpleQueueService.NonExistentQueue"), id="deleted"),
        pytest.param(EndpointConnectionError(endpoint_url="https://sqs"), id="not reached"),
    ],
)
def test_fails_when_a_target_refuses_and_says_so(lab: Callable[..., Lab], services: Services, error: Exception) -> None:
    services.requests_refused[QUEUE["name"]] = [error] * 100
    this = lab(range(30), work=fails(*range(12)))

    with pytest.raises(DistmapError) as raised:
        this.finish()

    assert raised.type.__name__ == "Distmap.PushFailed"
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else "EndpointConnectionError"
    text = f"12 of 12 items that did not succeed were not taken by the queue {QUEUE['name']}: {code}"
    assert str(raised.value).startswith(text)
    assert services.indexes(BUS) == services.indexes(FIFO) == list(range(12))
    written = this.stored("ledger.json")
    assert (written["status"], written["error"], written["cause"]) == (
        "FAILED",
        "Distmap.PushFailed",
        str(raised.value),
    )
    assert [each["pushed"] for each in written["pushed"]] == [0, 12, 12]


def test_fails_when_items_stay_refused(lab: Callable[..., Lab], services: Services) -> None:
    services.refuses = lambda _attempt, body: "InvalidParameterValue" if body["index"] in {4, 17} else None
    this = lab(range(30), work=fails(*range(30)), targets=[BUS])

    with pytest.raises(DistmapError, match=r"2 of 30 .* the event bus arn:.*: InvalidParameterValue: no; a redrive"):
        this.finish()

    assert told(this) == {BUS["name"]: (28, 30, "InvalidParameterValue: no")}


def test_fails_when_a_bus_refuses_each_event_for_what_it_is(lab: Callable[..., Lab], services: Services) -> None:
    services.refuses = lambda _attempt, _body: "AccessDeniedException"
    this = lab(range(30), work=fails(*range(30)), targets=[BUS])

    with pytest.raises(DistmapError, match=r"30 of 30 .*: AccessDeniedException: no"):
        this.finish()

    assert set(services.attempts.values()) == {1}


def test_targets_are_asked_in_their_own_region(lab: Callable[..., Lab], services: Services) -> None:
    def elsewhere(target: FailedItemsTarget) -> FailedItemsTarget:
        return {"kind": target["kind"], "name": target["name"].replace("us-east-1", "eu-west-1")}

    here: FailedItemsTarget = {"kind": "queue", "name": "http://localhost:4566/000000000000/failed"}
    services.taken |= {each["name"]: [] for each in (elsewhere(QUEUE), elsewhere(BUS), here)}

    lab(range(3), work=fails(1), targets=[elsewhere(QUEUE), elsewhere(BUS), here]).finish()

    assert services.clients == {("sqs", "eu-west-1"), ("events", "eu-west-1"), ("sqs", None)}


def test_a_run_that_fails_for_its_items_says_too_what_was_not_pushed(
    lab: Callable[..., Lab], services: Services
) -> None:
    services.requests_refused[BUS["name"]] = [refused("AccessDenied")] * 100
    this = lab(range(10), work=fails(2), tolerated=0)

    with pytest.raises(DistmapError, match=r"1 of 10 items did not succeed .*; 1 of 1 items .* event bus") as raised:
        this.finish()

    assert raised.type.__name__ == "Distmap.ToleranceExceeded"
    assert this.stored("ledger.json")["cause"] == str(raised.value)


def test_a_redrive_pushes_what_was_not_taken_and_nothing_else(lab: Callable[..., Lab], services: Services) -> None:
    services.requests_refused[QUEUE["name"]] = [refused("AccessDenied")] * 100
    this = lab(range(30), work=fails(*range(12)))
    with pytest.raises(DistmapError):
        this.finish()
    failures = this.stored("failures.jsonl")
    services.requests_refused.clear()

    ledger = this.redrive()

    assert ledger["pushed"] == 12
    assert this.rounds == []
    for target in TARGETS:
        assert services.indexes(target) == list(range(12))
    assert this.stored("failures.jsonl") == failures
    assert this.stored("ledger.json")["status"] == "SUCCEEDED"


def test_a_redrive_goes_on_with_the_first_item_that_was_not_taken(
    lab: Callable[..., Lab], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._push.WINDOW_LINES", 10)
    services.refuses = lambda _attempt, body: "InvalidParameterValue" if body["index"] == 15 else None
    this = lab(range(30), work=fails(*range(30)), targets=[QUEUE])
    with pytest.raises(DistmapError):
        this.finish()
    lines = [each["index"] for each in this.stored("failures.jsonl")]
    services.refuses = lambda _attempt, _body: None

    assert this.redrive()["pushed"] == 30

    again = Counter(services.indexes(QUEUE))
    assert set(again) == set(range(30))
    assert {index for index, times in again.items() if times == 2} == set(lines[lines.index(15) + 1 :])


# -- over several invocations, and accounted for twice


@pytest.mark.parametrize("poisoned", [False, True], ids=["all taken", "one refused"])
def test_pushing_goes_on_in_other_invocations(
    lab: Callable[..., Lab],
    services: Services,
    lambda_context: Callable[[float], Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    poisoned: bool,
) -> None:
    monkeypatch.setattr("distmap._push.WINDOW_LINES", 4)
    if poisoned:
        services.refuses = lambda _attempt, body: "InvalidParameterValue" if body["index"] == 2 else None
    this = lab(range(30), work=fails(*range(30)), batch=30)
    this.context = lambda: lambda_context(0)

    if poisoned:
        with pytest.raises(DistmapError, match="1 of 30 items"):
            this.finish()
    else:
        assert this.finish()["pushed"] == 30

    assert this.continuations >= 8
    for target in TARGETS:
        assert services.indexes(target) == [index for index in range(30) if not (poisoned and index == 2)]


def test_a_file_that_was_written_anew_in_between_is_pushed_anew(
    lab: Callable[..., Lab],
    services: Services,
    lambda_context: Callable[[float], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distmap._push.WINDOW_LINES", 4)
    this = lab(range(6), work=fails(*range(6)), batch=30, targets=[QUEUE])
    this.context = lambda: lambda_context(0)
    this.map(this.items)

    def rewrite(attempt: int, body: dict[str, Any]) -> None:
        if (attempt, body["index"]) == (0, 5):
            lines = b"".join(json.dumps(each).encode() + b" \n" for each in this.stored("failures.jsonl"))
            this.s3.put_object(Bucket=this.run["bucket"], Key="runs/run-1/failures.jsonl", Body=lines)

    services.refuses = rewrite

    assert this.finish(this.account())["pushed"] == 6
    assert set(services.indexes(QUEUE)) == set(range(6))


def test_an_account_that_is_made_again_pushes_nothing_again(lab: Callable[..., Lab], services: Services) -> None:
    this = lab(range(10), work=fails(1, 2))
    first = this.finish()

    assert this.account()["ledger"] == first
    assert services.indexes(QUEUE) == [1, 2]


def test_a_redrive_pushes_what_did_not_succeed_then(lab: Callable[..., Lab], services: Services) -> None:
    broken = {1, 2}

    def work(item: int) -> int:
        if item in broken:
            raise ValueError
        return item

    this = lab(range(10), work=work, tolerated=0)
    with pytest.raises(DistmapError):
        this.finish()
    broken.remove(1)
    with pytest.raises(DistmapError):
        this.redrive()

    assert [(each["index"], each["attempt"]) for each in services.taken[QUEUE["name"]]] == [(1, 0), (2, 0), (2, 1)]
    assert told(this)[QUEUE["name"]] == (1, 1, None)


@pytest.fixture
def ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sends what EventBridge sends of a run."""

    def send(this: Lab, status: str) -> None:
        monkeypatch.setenv("DISTMAP_ACCOUNT", json.dumps({**this.settings, "toleratedFailurePercentage": None}))
        monkeypatch.setenv("DISTMAP_RUNS", json.dumps({"bucket": run["bucket"], "prefix": ""}))
        detail = {"executionArn": run["id"], "name": run["name"], "status": status, "stopDate": 1, "input": "{}"}
        account_run({"source": "aws.states", "detail": detail}, this.context())

    return send


def test_items_of_a_run_that_ended_badly_are_pushed_once(
    lab: Callable[..., Lab], services: Services, ended: Callable[..., None]
) -> None:
    this = lab(range(20), work=fails(3))
    this.map(this.items)

    ended(this, "ABORTED")
    ended(this, "ABORTED")

    assert services.indexes(QUEUE) == services.indexes(BUS) == [3]
    assert told(this)[QUEUE["name"]] == (1, 1, None)


def test_what_was_not_taken_when_a_run_failed_is_pushed_by_the_next_attempt(
    lab: Callable[..., Lab], services: Services, ended: Callable[..., None]
) -> None:
    services.requests_refused[BUS["name"]] = [refused("AccessDenied")]
    this = lab(range(20), work=fails(3))
    this.map(this.items)

    with pytest.raises(DistmapError, match="event bus"):
        ended(this, "TIMED_OUT")
    assert this.stored("ledger.json")["status"] == "TIMED_OUT"
    ended(this, "TIMED_OUT")

    assert services.indexes(QUEUE) == services.indexes(BUS) == [3]


def test_pushing_for_a_run_that_ended_badly_goes_on_in_the_next_attempt(
    lab: Callable[..., Lab],
    services: Services,
    ended: Callable[..., None],
    lambda_context: Callable[[float], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distmap._push.WINDOW_LINES", 4)
    this = lab(range(10), work=fails(*range(10)), batch=30)
    this.map(this.items)
    this.context = lambda: lambda_context(0)

    attempts = 1
    while True:
        try:
            ended(this, "FAILED")
            break
        except DistmapError as error:
            assert "the next attempt of this invocation goes on with" in str(error)  # noqa: PT017
            attempts += 1

    assert attempts > 3
    assert set(services.indexes(QUEUE)) == set(range(10))
    assert told(this)[QUEUE["name"]] == (10, 10, None)


def test_a_run_that_failed_for_a_target_goes_on_by_the_rule_and_its_redrive_pushes_nothing_again(
    lab: Callable[..., Lab], services: Services, ended: Callable[..., None]
) -> None:
    services.requests_refused[QUEUE["name"]] = [refused("AccessDenied")]
    this = lab(range(20), work=fails(3, 4))
    with pytest.raises(DistmapError):
        this.finish()

    ended(this, "FAILED")
    assert services.indexes(QUEUE) == [3, 4]
    this.redrive()

    assert services.indexes(QUEUE) == services.indexes(FIFO) == [3, 4]
