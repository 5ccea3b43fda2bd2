"""The account that a run wrote of itself, ``ledger.json``: read as a :class:`Ledger`, and held against a recount."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.ledger.nested import NestedAccount
from cdk_distributed_map.runs.ledger.of_run import Ledger
from distmap._item_states import ErrorCount, Example, ItemStates
from distmap._measured import is_measures
from distmap._reconcile import ChainLink
from distmap._stream import is_missing, lines, object_chunks
from distmap.wire import FAILURES_FILE, LEDGER_FILE, BatchMeasures

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunSummary
    from cdk_distributed_map.runs.find.handles import RunHandle

_NUMBERS: Final = ("captured", "succeeded", "failed", "timed_out", "unprocessed", "pending", "missing", "duplicates")
_OF_NESTED: Final = (
    *("map_runs", "captured", "succeeded", "failed", "timed_out", "unprocessed", "pending", "missing", "duplicates"),
    *("counted_by_results", "not_begun"),
)


def where(run: RunHandle, file: str = LEDGER_FILE) -> str:
    """Return the address of a run's own account, or of the file of what did not succeed."""
    return f"s3://{run.pipeline.definition.item_file.bucket}/{run.prefix}{file}"


def own_account(run: RunHandle, described: RunSummary | None) -> Ledger | None:
    """Return what a run says of itself; None where it says nothing, or nothing yet of its latest attempt.

    Args:
        run: The run.
        described: What AWS says of it; None where AWS has forgotten it, so that what it said is its last word.

    Raises:
        AwsError: AWS refused a call.
    """
    bucket, key = run.pipeline.definition.item_file.bucket, f"{run.prefix}{LEDGER_FILE}"
    with errors(f"reading s3://{bucket}/{key}"):
        try:
            document = json.loads(b"".join(object_chunks(run.aws.s3(), bucket, key)))
        except ValueError:
            return None
        except Exception as error:
            if is_missing(error):
                return None
            raise
    try:
        if document["run"] != run.name:
            return None
        if described is not None and (document["redriveCount"], document["status"]) != (
            described.redrives,
            described.status,
        ):
            return None
        return _ledger(document)
    except (AttributeError, KeyError, TypeError):
        return None  # not as an account function writes it: what it says is in no shape to be believed


def _ledger(document: dict[str, Any]) -> Ledger:
    numbers: dict[str, Any] = {
        name: _number(document, name) for name in (*_NUMBERS, "unidentified", "rounds", "recovered")
    }
    return Ledger(
        run=document["run"],
        status=document["status"],
        captured_from=document["capturedFrom"],
        **numbers,
        errors=tuple(_error(each) for each in document["errors"]),
        missing_examples=tuple(document["missingExamples"]),
        problems=tuple(document["problems"]),
        notes=tuple(document["notes"]),
        run_error=document["runError"],
        chain=tuple(
            ChainLink(name=each["run"], status=each["status"], items=each["items"]) for each in document["chain"]
        ),
        nested=tuple(_nested(each) for each in document["nested"]),
        error=document["error"],
        cause=document["cause"],
        pushed=min((each["pushed"] for each in document["pushed"]), default=None),
        measures=_measures(document),
        states=ItemStates(0),
        document=document,
    )


def _number(document: dict[str, Any], name: str) -> int:
    first, *rest = name.split("_")
    value = document[first + "".join(map(str.capitalize, rest))]
    if type(value) is not int:
        raise TypeError(name)
    return value


def _measures(document: dict[str, Any]) -> BatchMeasures | None:
    measures = document.get("measures")
    if measures is not None and not is_measures(measures):
        raise TypeError("measures")
    return measures


def _error(error: dict[str, Any]) -> ErrorCount:
    examples = [
        Example(example["index"], example["cause"], example["child"], example.get("source"), example.get("input"))
        for example in error["examples"]
    ]
    return ErrorCount(
        error["error"],
        error["timedOut"],
        error["count"],
        tuple(examples),
        error.get("permanent", False),
        error.get("place"),
        error.get("message", ""),
        error.get("traceback"),
    )


def _nested(document: dict[str, Any]) -> NestedAccount:
    numbers: dict[str, Any] = {name: _number(document, name) for name in _OF_NESTED}
    return NestedAccount(label=document["label"], problems=list(document["problems"]), **numbers)


def differences(own: Ledger, recounted: Ledger, *, run: RunHandle) -> Iterator[str]:
    """Yield what a run's own account and a recount from its files don't agree on, a message each."""
    account_says = f"the run's own account, {where(run)}, says"
    for name in (*_NUMBERS, "unidentified", "rounds", "recovered"):
        one, other = getattr(own, name), getattr(recounted, name)
        if one != other:
            yield f"{account_says} {name.replace('_', ' ')} {one:,}, and its files say {other:,}"
    ones, others = _errors(own), _errors(recounted)
    for key in dict.fromkeys([*ones, *others]):
        if ones.get(key, 0) != others.get(key, 0):
            yield f"{account_says} {key} {ones.get(key, 0):,}, and its files say {others.get(key, 0):,}"
    inner, counted = ({each.label: each for each in ledger.nested} for ledger in (own, recounted))
    for label in dict.fromkeys([*inner, *counted]):
        sizes = [each[label].counted_by_results if label in each else 0 for each in (inner, counted)]
        # Of how many Map Runs AWS tells the number of items is no matter of the files.
        left_out = {"counted_by_results", *(("captured", "missing") if sizes[0] != sizes[1] else ())}
        for name in [name for name in _OF_NESTED if name not in left_out]:
            one, other = (getattr(each[label], name) if label in each else 0 for each in (inner, counted))
            if one != other:
                yield f"{account_says} {label}: {name.replace('_', ' ')} {one:,}, and its files say {other:,}"


def _errors(ledger: Ledger) -> dict[str, int]:
    counts: dict[str, int] = {}
    for error in ledger.errors:
        kind = f"{error.error}{' (timed out)' if error.timed_out else ''}{' (permanent)' if error.permanent else ''}"
        counts[kind] = counts.get(kind, 0) + error.count
    return counts


def failed_items(run: RunHandle) -> Iterator[dict[str, Any]] | None:
    """Yield what the run wrote of items of its outermost map that did not succeed: :class:`distmap.wire.FailedItem`.

    Returns:
        The items; None where the file is gone.
    """
    bucket, key = run.pipeline.definition.item_file.bucket, f"{run.prefix}{FAILURES_FILE}"
    with errors(f"reading s3://{bucket}/{key}"):
        try:
            run.aws.s3().head_object(Bucket=bucket, Key=key)
        except Exception as error:
            if is_missing(error):
                return None
            raise
    return _lines(run, bucket, key)


def _lines(run: RunHandle, bucket: str, key: str) -> Iterator[dict[str, Any]]:
    with errors(f"reading s3://{bucket}/{key}"):
        for line in lines(object_chunks(run.aws.s3(), bucket, key)):
            outcome = json.loads(line)
            if "map" in outcome:
                return  # items of nested maps come last
            yield outcome
