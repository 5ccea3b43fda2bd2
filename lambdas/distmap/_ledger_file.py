"""``ledger.json`` of a run: what is in it, and what an earlier one says of a redrive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from distmap._account_event import Request
from distmap._account_reading import Reading
from distmap._errors import ItemsMissingError, ToleranceExceededError, name_of
from distmap._item_seconds import item_seconds
from distmap._json import encode
from distmap._reconcile import Account
from distmap._stream import is_missing, object_chunks
from distmap._tolerance import most_frequent
from distmap.wire import FAILURES_FILE, LEDGER_FILE, OutputLedger, PushedTo, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FAILED_BY_ACCOUNT: Final = frozenset({name_of(ToleranceExceededError), name_of(ItemsMissingError)})


def document(
    request: Request,
    reading: Reading,
    account: Account,
    *,
    base: int,
    error: tuple[str | None, str | None] | None,
    pushed: list[PushedTo],
) -> dict[str, Any]:
    """Return the ledger of a run.

    Args:
        request: What was to be accounted for.
        reading: What was read.
        account: What it adds up to.
        base: The round after which the run was redriven last; 0 where it wasn't.
        error: Name and cause of what the run fails with, or failed with.
        pushed: How far each target is that gets messages of the items that did not succeed.
    """
    name, cause = (None, None) if error is None else error
    status = "FAILED" if error is not None and request.ended is None else account.status
    return {
        **account.to_json(),
        "status": status,
        "chain": [{"run": request.run["name"], "status": status, "items": account.captured}],
        "rounds": reading.plan[-1].number,
        "roundsBefore": base,
        "recovered": reading.succeeded[-1] - reading.succeeded[0],
        "redriveCount": request.redrive_count,
        "itemSeconds": item_seconds(reading),
        "measures": reading.measured.total(),
        "error": name,
        "cause": cause,
        "failuresKey": f"{request.run['prefix']}/{FAILURES_FILE}" if account.has_failures else None,
        "pushed": pushed,
    }


def with_status(ledger: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return the ledger of a run that ended otherwise than its account knew: its items are what they were."""
    ended = request.ended
    if ended is None:
        return ledger
    return {
        **ledger,
        "status": ended.status,
        "chain": [{**each, "status": ended.status} for each in ledger["chain"]],
        "redriveCount": request.redrive_count,
        "error": ended.error,
        "cause": ended.cause,
    }


def put_ledger(s3: S3Client, run: Run, ledger: dict[str, Any]) -> None:
    """Write the ledger of a run."""
    s3.put_object(
        Bucket=run["bucket"],
        Key=f"{run['prefix']}/{LEDGER_FILE}",
        Body=encode(ledger, what="the ledger"),
        ContentType="application/json",
    )


def read_ledger(s3: S3Client, run: Run) -> dict[str, Any] | None:
    """Return the ledger that an earlier invocation wrote, perhaps before a redrive; None where there is none."""
    try:
        found = json.loads(b"".join(object_chunks(s3, run["bucket"], f"{run['prefix']}/{LEDGER_FILE}")))
    except ValueError:
        return None
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return found if isinstance(found, dict) and type(found.get("redriveCount")) is int else None


def redriven(previous: dict[str, Any] | None, request: Request) -> tuple[int, bool]:
    """Return after which round a run was redriven last, and whether that was after its account had failed it."""
    if previous is None:
        return 0, False
    if previous["redriveCount"] < request.redrive_count and previous.get("error") in _FAILED_BY_ACCOUNT:
        return previous["rounds"], True
    return previous.get("roundsBefore", 0), False


def output_ledger(run: Run, account: Account, ledger: dict[str, Any]) -> OutputLedger:
    """Return what the output of a run has of its ledger: small, whatever the run."""
    output: OutputLedger = {
        "captured": account.captured,
        "succeeded": account.succeeded,
        "failed": account.failed,
        "unprocessed": account.unprocessed,
        "pending": account.pending,
        "missing": account.missing,
        "duplicates": account.duplicates,
        "recovered": ledger["recovered"],
        "rounds": ledger["rounds"],
        "addsUp": account.adds_up,
        "errors": most_frequent(account),
        "bucket": run["bucket"],
        "key": f"{run['prefix']}/{LEDGER_FILE}",
    }
    if ledger["pushed"]:
        output["pushed"] = min(each["pushed"] for each in ledger["pushed"])
    return output
