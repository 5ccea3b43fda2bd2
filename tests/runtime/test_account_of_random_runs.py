"""The account of random runs agrees, item by item, with a record that is kept beside them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmap import DistmapError, PermanentError, Results
from distmap.wire import Run
from tests.runtime.account_lab import LOST, Lab, answer_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CRASH = ("Runtime.ExitError", "{}")
TIMEOUT = ("States.Timeout", None, "TIMED_OUT")
COUNTED = ("FAILED", "UNPROCESSED", "MISSING")


class Truth:
    """What became of each item in each map, and how children and items of a random run behave."""

    def __init__(self, seed: int, faults: float) -> None:
        self.random = random.Random(seed)  # noqa: S311 - what is drawn is no secret
        self.faults = faults
        self.outcomes: dict[int, list[tuple[int, str]]] = {}
        self.number = 0

    def child(self, number: int, indexes: list[int]) -> Any:
        self.number = number
        if self.random.random() >= self.faults:
            return None
        fate = self.random.choice([LOST, CRASH, TIMEOUT, "left", "gone"])
        some = set(self.random.sample(indexes, self.random.randint(1, len(indexes))))
        for index in indexes:
            if fate in {"left", "gone"}:
                left = "UNPROCESSED" if fate == "left" else "MISSING"
                self.note(index, left if index in some else "SUCCEEDED")
            else:
                self.note(index, "MISSING" if fate is LOST else "FAILED")
        if fate in {"left", "gone"}:
            return answer_of(indexes, **{fate: sorted(some)})
        return fate

    def work(self, index: int) -> int:
        drawn = self.random.random()
        error = ValueError if drawn < self.faults / 2 else PermanentError if drawn < self.faults * 0.6 else None
        self.note(index, "SUCCEEDED" if error is None else "FAILED")
        if error is not None:
            raise error
        return index

    def note(self, index: int, outcome: str) -> None:
        self.outcomes.setdefault(index, []).append((self.number, outcome))

    def last(self) -> dict[int, tuple[int, str]]:
        """The rule: a success of any map counts, otherwise what the last one said that had the item."""
        return {
            index: next((each for each in told if each[1] == "SUCCEEDED"), told[-1])
            for index, told in self.outcomes.items()
        }


@pytest.fixture
def emptied(s3: S3Client, bucket: str) -> Callable[[], None]:
    def empty() -> None:
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        if found:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": each["Key"]} for each in found]})

    return empty


DRAWN = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "captured": st.integers(1, 30),
        "batch": st.sampled_from([1, 3, 10]),
        "batched": st.booleans(),
        "faults": st.sampled_from([0.0, 0.1, 0.4, 0.9]),
        "rounds": st.integers(0, 3),
        "rerun": st.one_of(st.none(), st.integers(1, 3)),
        "count": st.one_of(st.none(), st.integers(0, 4)),
        "percentage": st.one_of(st.none(), st.sampled_from([0, 0.1, 10, 33.3, 100])),
        "redrives": st.integers(0, 1),
        "pieces": st.booleans(),
        "from_file": st.booleans(),
    }
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=DRAWN)
def test_the_account_agrees_with_a_record_beside_the_run(
    s3: S3Client,
    run: Run,
    make_export: Callable[..., Any],
    emptied: Callable[[], None],
    lambda_context: Callable[[float], Any],
    *,
    drawn: dict[str, Any],
) -> None:
    emptied()
    captured, rerun, from_file = drawn["captured"], drawn["rerun"], drawn["from_file"]
    truth = Truth(drawn["seed"], drawn["faults"])
    lab = Lab(
        s3,
        run,
        make_export,
        range(captured),
        work=truth.work,
        child=truth.child,
        batch=drawn["batch"],
        batched=drawn["batched"],
        captured=from_file,
        rounds=drawn["rounds"],
        rerun=None if rerun is None else {"rounds": rerun, "errors": ["ValueError"], "permanentErrors": []},
        toleratedFailureCount=drawn["count"],
        toleratedFailurePercentage=drawn["percentage"],
    )
    if drawn["pieces"]:
        lab.context = lambda: lambda_context(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distmap._account.items_of_map_run", lambda _arn: captured)
        error = attempt(lab.finish)
        for _ in range(drawn["redrives"]):
            if error is not None:
                error = attempt(lab.redrive)

    expected = truth.last()
    counts = Counter(outcome for _, outcome in expected.values())
    ledger = lab.stored("ledger.json")
    assert {name: ledger[name.lower()] for name in (*COUNTED, "SUCCEEDED")} == {
        name: counts[name] for name in (*COUNTED, "SUCCEEDED")
    }
    assert (ledger["captured"], ledger["addsUp"], ledger["duplicates"]) == (captured, True, 0)
    assert ledger["recovered"] == sum(number > 0 and told == "SUCCEEDED" for number, told in expected.values())
    assert error == verdict(counts, captured, drawn["count"], drawn["percentage"])
    bad = {index: told for index, told in expected.items() if told[1] != "SUCCEEDED"}
    failures = lab.stored("failures.jsonl") if lab.has("failures.jsonl") else []
    assert Counter(each["index"] for each in failures) == Counter(bad.keys())
    for each in failures:
        number, outcome = bad[each["index"]]
        assert (each["attempt"], each["outcome"].replace("TIMED_OUT", "FAILED")) == (number, outcome)
        # Of an item that no file has, neither its own nor a child's, only the index is known.
        assert each["item"] == each["index"] or (each["item"] is None and outcome == "MISSING" and not from_file)
    if not counts["MISSING"]:
        results = Results(s3, lab.first_results, run=run, rounds=ledger["rounds"], accounted=True)
        assert {each.index: each.status for each in results} == {index: told for index, (_, told) in expected.items()}


def attempt(step: Callable[[], Any]) -> str | None:
    try:
        step()
    except DistmapError as error:
        return type(error).__name__
    return None


def verdict(counts: Counter[str], captured: int, count: int | None, percentage: float | None) -> str | None:
    if counts["MISSING"]:
        return "Distmap.ItemsMissing"
    bad = sum(counts[name] for name in COUNTED)
    most = [Fraction(count)] if count is not None else []
    most += [Fraction(str(percentage)) * captured / 100] if percentage is not None else []
    return "Distmap.ToleranceExceeded" if bad > min(most, default=Fraction(0)) else None
