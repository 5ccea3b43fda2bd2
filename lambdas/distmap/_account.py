"""``account_run``: what became of every item of a run, its tolerance kept, and the next round.

The handler of the account function. It has no state but the files of the run: each invocation reads everything anew, so
that one that is tried again comes to the same end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from distmap._account_event import ENDED_BADLY, Ended, Request, read_request
from distmap._account_reading import Reading, items_of_map_run, nested_reading
from distmap._clients import s3_client
from distmap._deadline import Deadline, Endless
from distmap._errors import (
    DeadlineError,
    DistmapError,
    EventError,
    ResultsError,
    error_text,
    name_of,
)
from distmap._failures import FailuresFile
from distmap._garbage import long_lived_objects_left_alone
from distmap._ledger_file import document, output_ledger, put_ledger, read_ledger, redriven, with_status
from distmap._log import log_line
from distmap._metrics import emit
from distmap._noting import Problems
from distmap._push import Push, is_pushed, is_same_account, push_error, to_push
from distmap._reconcile import UNKNOWN, Account, ChainLink, add_up, notes_on
from distmap._rerun import RoundFile, decide, wait_seconds
from distmap._snapshot import Snapshot, load, save
from distmap._tolerance import verdict
from distmap._upload import UploadLostError
from distmap.wire import FAILURES_FILE, LEDGER_FILE, AccountAnswer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RESERVE_SHARE: Final = 0.2
_RESERVE_MOST_SECONDS: Final = 60.0
"""A snapshot of a hundred million states, and the end of an upload."""
_POLL_SECONDS: Final = 5.0
_EXPORT_SECONDS: Final = {"States.ExceedToleratedFailureThreshold": 300.0, "States.Runtime": 60.0}
"""How long after its end the results of a run that failed are waited for, by its error: a map that fails for another
reason has exported what there is, or never will."""
_KILLED_SECONDS: Final = 60.0
"""Likewise where it timed out or was stopped: whether anything is exported then isn't documented."""
_ENDED_SO: Final = {"FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}
_READING: Final = ("read", "nested")
_AFTER_ROUNDS: Final = ("failures", "push")
_TOLD_OF_PUSH: Final = ("kind", "name", "pushed", "of", "error")


def account_run(event: Any, context: Any = None) -> AccountAnswer | None:
    """Account for the items of a run: the handler of the account function.

    After a map it answers the ledger, the items of another round, or where it goes on in another invocation; it raises
    where the run is to fail. Called with the change of status of a run that ended badly it writes the ledger of that;
    where such a run succeeds by a redrive that began after its account, it corrects the status there.

    .. versionadded:: 0.1.0

    Args:
        event: Of the shape :class:`distmap.wire.AccountEvent`, or what EventBridge sends of an execution.
        context: The Lambda context.

    Raises:
        EventError: The event is none of these, or a setting in it is wrong.
        DistmapError: Named ``Distmap.ItemsMissing`` where items are in no result or the account doesn't add up, else
            ``Distmap.ToleranceExceeded`` where more items did not succeed than are tolerated.
        ResultsError: The results of a run that ended badly aren't there yet; Lambda tries again.
    """
    request = read_request(event)
    deadline = Deadline(context, reserve=None, share=_RESERVE_SHARE, most=_RESERVE_MOST_SECONDS)
    s3 = s3_client()
    with long_lived_objects_left_alone():
        work = _Work(s3, request, deadline, context)
        if request.ended is None:
            return work.after_map()
        if request.ended.status in ENDED_BADLY:
            work.ended_badly(request.ended)
        elif request.ended.status == "SUCCEEDED":
            work.ended_well()
        return None


class _Work:
    def __init__(self, s3: S3Client, request: Request, deadline: Deadline, context: Any) -> None:
        self._s3 = s3
        self._request = request
        self._deadline = deadline
        self._context = context
        self._started = monotonic()
        self._reading = Reading(s3, request, describe=items_of_map_run)
        self._nested = nested_reading(s3, request, describe=items_of_map_run)
        self._previous = read_ledger(s3, request.run)
        self._base, self._everything = redriven(self._previous, request)
        self._failures = 0

    # -- after a map

    def after_map(self) -> AccountAnswer:
        """Answer what happens after a map."""
        snapshot = self._resume()
        stage = "read" if snapshot is None else snapshot.header["stage"]
        if stage in _READING:
            unfinished = self._read(stage)
            if unfinished is not None:
                return self._goes_on(unfinished)
        if stage not in _AFTER_ROUNDS:
            answer = self._round(snapshot if stage == "round" else None)
            if answer is not None:
                return answer
        account = self._account("SUCCEEDED")
        error = verdict(account, self._request.settings, self._failures_address(account))
        ledger = self._previous
        if stage != "push" or ledger is None:
            unfinished = self._write_failures(account, snapshot if stage == "failures" else None)
            if unfinished is not None:
                return self._goes_on(unfinished)
            ledger = self._write_ledger(account, None if error is None else (_name(error), error_text(error)))
            snapshot = None
        is_due = snapshot is not None or not self._deadline.is_near()
        unfinished, error = self._push(ledger, error, snapshot, is_due=is_due)
        if unfinished is not None:
            return self._goes_on(unfinished)
        if error is not None:
            raise error
        return {**self._as_begun(), "ledger": output_ledger(self._request.run, account, ledger)}

    def _read(self, stage: str) -> Snapshot | None:
        """Read what became of the items, then of those of nested maps; return what is left of that."""
        if stage == "read":
            if not self._reading.go_on(self._deadline):
                return Snapshot({"stage": "read"}, b"", b"")
            self._reading.settle()
        if not self._nested.go_on(self._reading.states, self._deadline):
            return Snapshot({"stage": "nested"}, b"", b"")
        return None

    def _round(self, snapshot: Snapshot | None) -> AccountAnswer | None:
        """Answer another round, or that its items are still being written; None where there is none."""
        decision = decide(self._reading, base=self._base, everything=self._everything, nested=self._nested.accounts)
        if not decision.number:
            return None
        file = RoundFile(self._s3, self._reading, decision)
        if snapshot is not None:
            file.resume(snapshot.header["writer"], snapshot.written)
        try:
            if not file.go_on(self._deadline):
                suspended, written = file.suspend()
                return self._goes_on(Snapshot({"stage": "round", "writer": suspended}, b"", written))
            items = file.complete()
        except UploadLostError:
            # Another attempt of this invocation completed it, or gave it up: the file is begun again, as a whole.
            file = RoundFile(self._s3, self._reading, decision)
            if not file.go_on(Endless()):
                raise
            items = file.complete()
        if items is None:
            return None
        rounds_run = self._reading.plan[-1].number - self._base
        wait = wait_seconds(self._request.settings, rounds_run)
        self._log("round begins", round=items["round"], items=items["count"], waitSeconds=wait)
        return {**self._as_begun(), "again": {"items": items, "waitSeconds": wait}}

    # -- runs that ended badly

    def ended_badly(self, ended: Ended) -> None:
        """Account for a run that failed, timed out or was stopped, where that isn't done yet."""
        previous, redrives = self._previous, self._request.redrive_count
        if previous is not None and previous["redriveCount"] > redrives:
            return
        if previous is not None and previous["redriveCount"] == redrives:
            if previous["status"] != ended.status:
                # It failed after its account, in what comes then: its items are what they were.
                previous = with_status(previous, self._request)
                put_ledger(self._s3, self._request.run, previous)
            self._push_of_ended(previous, is_due=True)
            return
        name = f"ended-{redrives}"
        snapshot = load(self._s3, self._request.run, name)
        if snapshot is not None:
            self._take_up(snapshot)
        else:
            self._wait_for_export(ended)
        stage = "read" if snapshot is None else snapshot.header["stage"]
        unfinished = self._read(stage) if stage in _READING else None
        if unfinished is not None:
            self._goes_on_by_itself(name, unfinished)
        account = self._account(ended.status)
        unfinished = self._write_failures(account, snapshot if stage == "failures" else None)
        if unfinished is not None:
            self._goes_on_by_itself(name, unfinished)
        now = read_ledger(self._s3, self._request.run)
        if now is None or now["redriveCount"] < redrives:  # a redrive may have been quicker
            ledger = self._write_ledger(account, (ended.error, ended.cause))
            self._push_of_ended(ledger, is_due=not self._deadline.is_near())

    def ended_well(self) -> None:
        """Correct the status of a run that had failed after its account, and that a redrive brought to a good end.

        A redrive that came to the account again has a ledger of its own.
        """
        previous = self._previous
        if previous is not None and previous["redriveCount"] < self._request.redrive_count:
            put_ledger(self._s3, self._request.run, with_status(previous, self._request))

    def _push_of_ended(self, ledger: dict[str, Any], *, is_due: bool) -> None:
        unfinished, error = self._push(ledger, None, None, is_due=is_due)
        if unfinished is not None:
            message = "not all items are pushed: the next attempt of this invocation goes on with them"
            raise DeadlineError(message)
        if error is not None:
            raise error

    def _wait_for_export(self, ended: Ended) -> None:
        patience = _EXPORT_SECONDS.get(ended.error or "", 0.0) if ended.status == "FAILED" else _KILLED_SECONDS
        now = datetime.now(UTC)
        # The event's clock may be ahead of this one.
        until = (now if ended.stopped is None else min(ended.stopped, now)) + timedelta(seconds=patience)
        while True:
            self._reading.find_files()
            latest = self._reading.plan[-1]
            if latest.exported or not latest.sources or datetime.now(UTC) >= until:
                break
            if self._deadline.is_near():
                message = (
                    f"the results of {self._request.run['name']!r} are not there yet: Step Functions writes them "
                    "after the run has ended"
                )
                raise ResultsError(message)
            sleep(_POLL_SECONDS)
        self._reading.begin()

    def _goes_on_by_itself(self, name: str, snapshot: Snapshot) -> None:
        """Leave the rest to Lambda's own next attempt.

        Raises:
            DeadlineError: Always.
        """
        self._save(snapshot, name=name)
        message = "the account is not complete: the next attempt of this invocation goes on with it"
        raise DeadlineError(message)

    # -- what both do

    def _resume(self) -> Snapshot | None:
        """Take up what an earlier invocation left, or begin."""
        continuation = self._request.continuation
        if continuation is None:
            self._reading.begin()
            return None
        name = continuation.get("snapshot")
        snapshot = load(self._s3, self._request.run, name) if isinstance(name, str) else None
        if snapshot is None or snapshot.header["of"] != self._of():
            message = f"the continuation is none of this account's: {continuation!r:.200}"
            raise EventError(message)
        self._take_up(snapshot)
        return snapshot

    def _take_up(self, snapshot: Snapshot) -> None:
        self._reading.resume(snapshot.header["reading"], snapshot.states)
        self._nested.resume(snapshot.header["nested"])

    def _of(self) -> list[Any]:
        return [self._request.run["id"], self._request.round, self._request.redrive_count]

    def _save(self, snapshot: Snapshot, *, name: str | None = None) -> str:
        suspended = {"reading": self._reading.suspend(), "nested": self._nested.suspend()}
        header = {**snapshot.header, "of": self._of(), **suspended}
        states = bytes(self._reading.states.bytes)
        return save(self._s3, self._request.run, Snapshot(header, states, snapshot.written), name=name)

    def _goes_on(self, snapshot: Snapshot) -> AccountAnswer:
        name = self._save(snapshot)
        self._log("account goes on", stage=snapshot.header["stage"])
        return {**self._as_begun(), "continuation": {"snapshot": name}}

    def _as_begun(self) -> AccountAnswer:
        request = self._request
        return {"run": request.run, "items": request.items, "results": request.results, "mapRunArn": request.map_run}

    def _account(self, status: str) -> Account:
        reading, request, run = self._reading, self._request, self._request.run
        nested = self._nested.accounts
        # A copy: what is added here would be added again by the next invocation.
        problems = Problems(reading.problems.kept, reading.problems.more)
        numbers = add_up(reading.states, reading.captured, reading.numbers, problems.add)
        source, run_error = reading.captured_from, None
        if not numbers["captured"] and source != "item file" and request.ended is not None:
            source = UNKNOWN
            run_error = f"{run['name']!r} {_ENDED_SO[status]} before it read an item{request.ended.because}"
        account = Account(
            run=run["name"],
            status=status,
            captured_from=source,
            problems=problems.messages(),
            notes=tuple(reading.notes),
            run_error=run_error,
            chain=(ChainLink(name=run["name"], status=status, items=numbers["captured"]),),
            nested=nested,
            **numbers,
        )
        return replace(account, notes=(*notes_on(account), *account.notes))

    def _write_failures(self, account: Account, snapshot: Snapshot | None) -> Snapshot | None:
        """Write what did not succeed; return what is left of that."""
        if is_same_account(self._request, self._previous):
            return None
        if not account.has_failures and (self._previous is None or not self._previous.get("failuresKey")):
            return None  # no file, nor one of before a redrive that would say what isn't so any more
        file = self._failures_file(account)
        if snapshot is not None:
            file.resume(snapshot.header["writer"], snapshot.written)
        try:
            if not file.go_on(self._deadline):
                suspended, written = file.suspend()
                return Snapshot({"stage": "failures", "writer": suspended}, b"", written)
            self._failures = file.complete()
        except UploadLostError:
            file = self._failures_file(account)
            file.go_on(Endless())
            self._failures = file.complete()
        return None

    def _failures_file(self, account: Account) -> FailuresFile:
        nested = None
        if account.nested_unsuccessful:
            outermost = set().union(*(nested_map.outermost for nested_map in account.nested))
            # AWS is asked for nothing new, so that the file tells what the account does.
            nested = nested_reading(self._s3, self._request, describe=self._nested.described.get, only=outermost)
        return FailuresFile(self._s3, self._reading, nested=nested)

    def _push(
        self, ledger: dict[str, Any], error: DistmapError | None, snapshot: Snapshot | None, *, is_due: bool
    ) -> tuple[Snapshot | None, DistmapError | None]:
        """Push what did not succeed; return what is left for another invocation, and what the run fails with."""
        progress = ledger.get("pushed") or []
        if is_pushed(progress):
            return None, error
        push = Push(self._s3, self._request, progress)
        if snapshot is not None:
            push.resume(snapshot.header["push"])
        suspended = None if is_due and push.go_on(self._deadline) else push.suspend()
        if suspended is None:
            failure = push_error(progress, error)
            if failure is not error and failure is not None and self._request.ended is None:
                ledger |= {"status": "FAILED", "error": _name(failure), "cause": error_text(failure)}
            error = failure
        put_ledger(self._s3, self._request.run, ledger)
        self._log("items pushed", pushed=[{key: target[key] for key in _TOLD_OF_PUSH} for target in progress])
        return None if suspended is None else Snapshot({"stage": "push", "push": suspended}, b"", b""), error

    def _write_ledger(self, account: Account, error: tuple[str | None, str | None] | None) -> dict[str, Any]:
        """Write the ledger, emit the metrics of it, and return it."""
        request, reading = self._request, self._reading
        previous = self._previous if is_same_account(request, self._previous) else None
        pushed = to_push(request, previous, self._failures)
        ledger = document(request, reading, account, base=self._base, error=error, pushed=pushed)
        put_ledger(self._s3, request.run, ledger)
        again = self._previous is not None and self._previous["redriveCount"] == request.redrive_count
        if request.settings["metrics"] and not again:
            emit(request.settings["pipeline"], ledger)
        self._log(
            "items accounted for",
            status=ledger["status"],
            error=ledger["error"],
            **{key: ledger[key] for key in ("captured", "succeeded", "failed", "unprocessed", "pending", "missing")},
            rounds=ledger["rounds"],
            recovered=ledger["recovered"],
            problems=len(account.problems),
        )
        return ledger

    def _failures_address(self, account: Account) -> str:
        run = self._request.run
        name = FAILURES_FILE if account.has_failures else LEDGER_FILE
        return f"s3://{run['bucket']}/{run['prefix']}/{name}"

    def _log(self, message: str, **fields: object) -> None:
        log_line(
            message,
            context=self._context,
            run=self._request.run["name"],
            runId=self._request.run["id"],
            **fields,
            durationMs=round((monotonic() - self._started) * 1000, 3),
        )


def _name(error: DistmapError) -> str:
    name: str = name_of(type(error))
    return name
