"""The account of a run, made by the deployed pipeline, and what runs again by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration

from cdk_distributed_map.settings import checks, kinds
from distmap import limits

DEFAULT_ROUNDS = 10
"""Where one attempt in ten is lost, less than one of a hundred million items is left after eight rounds. Each round
costs a tenth of the one before it then, and two in a row that bring nothing end them, so more of them seldom run."""
DEFAULT_MEMORY_MB = 1769
"""At which Lambda gives one whole CPU: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html."""

_MOST_ROUNDS = 1_000
"""So that the history of an execution, which has 25,000 events, has room for them."""


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Rerun:
    """Which items that failed by their own fault run again, inside the same run.

    What did not succeed for no fault of its own (left near a deadline, lost with its child, throttled out) runs again
    anyway: see :class:`Accounting`. An item whose worker raised ``distmap.PermanentError`` doesn't.

    .. versionadded:: 0.2.0

    Args:
        rounds: Most rounds for items that failed. Default: 3.
        errors: Names of the errors to run again for, such as ``["ConnectionError", "States.Timeout"]``. As in a Retry,
            ``States.Timeout`` is every child that timed out, ``States.TaskFailed`` every other error, and
            ``States.ALL`` both. Default: every error that isn't permanent.
        permanent_errors: Names of errors for which running again is pointless. Default: ``PermanentError`` alone.
        wait: Time before the first round, in whole seconds. Default: 10 seconds.
        backoff_rate: Factor from the wait before one round to that before the next, at least 1. Default: 2.
        max_wait: Longest wait, in whole seconds. Default: 15 minutes.

    Raises:
        ValueError: A number is out of bounds, a list of names is empty, or a name is in both.

    Example::

        rerun=Rerun(rounds=2, errors=["ThrottlingError"], wait=Duration.minutes(1))
    """

    rounds: int | None = None
    errors: Sequence[str] | None = None
    permanent_errors: Sequence[str] | None = None
    wait: Duration | None = None
    backoff_rate: float | None = None
    max_wait: Duration | None = None

    def __post_init__(self) -> None:
        checks.whole_number("rerun rounds", self.rounds, least=1, most=_MOST_ROUNDS)
        for name, errors in (("errors", self.errors), ("permanent_errors", self.permanent_errors)):
            _check_names(f"rerun {name}", errors)
        both = sorted(set(self.errors or ()) & set(self.permanent_errors or ()))
        if both:
            raise ValueError(f"rerun has {both[0]!r} among errors and permanent_errors: take it out of one of them")
        if self.backoff_rate is not None and not 1 <= self.backoff_rate <= limits.MAX_EXECUTION_SECONDS:
            raise ValueError(f"rerun backoff_rate must be at least 1, got {self.backoff_rate!r}")
        for name, duration in (("wait", self.wait), ("max_wait", self.max_wait)):
            if duration is not None and not duration.is_unresolved():
                seconds = duration.to_seconds(integral=False)
                most = limits.MAX_EXECUTION_SECONDS
                checks.whole_number(f"rerun {name}", seconds, least=0, most=most, unit="seconds")


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Accounting:
    """How a run accounts for its items: the parts that can be turned off, and what then isn't true any more.

    After the map a function reconciles what was exported with what was captured, puts the account into the output of
    the run, writes ``ledger.json`` and ``failures.jsonl``, and holds the run to the declared tolerance. What did not
    succeed for no fault of its own runs again, in rounds, until all is done or two rounds in a row bring nothing.

    .. versionadded:: 0.2.0

    Args:
        rounds: Most rounds; 0 for none. Then items that were left near a deadline or lost with a child that crashed
            stay undone until somebody runs ``distmap retry``. Default: 10.
        metrics: Whether metrics of items are emitted. Without them ``metric_items_failed`` and its neighbours have no
            data and can't be asked for. Default: they are.
        failed_runs: Whether runs that fail, time out or are stopped are accounted for too, by a rule on their status.
            Without it, nobody knows what became of the items of such a run before ``distmap ledger`` is run.
            Default: they are.
        early_stop_percentage: Share of the items at whose failure Step Functions stops the map, a number, a JSONPath or
            JSONata; 100 never stops it early, so that a run that goes all wrong is paid for to its end. Default: the
            tolerance and 25 points more, and as much as 100 items or 10 batches; where the number of items isn't known
            before the map has read them, 250,000 items and the tolerance of 100 million; 100 where each item has a map
            of its own.
        memory_size: Memory of the account function in MB. Default: 1,769, at which it has one CPU.

    Raises:
        ValueError: A number is out of bounds.
    """

    rounds: int | None = None
    metrics: bool | None = None
    failed_runs: bool | None = None
    early_stop_percentage: float | str | None = None
    memory_size: int | None = None

    def __post_init__(self) -> None:
        checks.whole_number("accounting rounds", self.rounds, least=0, most=_MOST_ROUNDS)
        checks.percentage("accounting early_stop_percentage", self.early_stop_percentage)
        most = limits.MAX_FUNCTION_MEMORY_MB
        checks.whole_number("accounting memory_size", self.memory_size, least=256, most=most, unit="MB")

    @staticmethod
    def none() -> Accounting:
        """No account at all: to AWS a batch then succeeds or fails as a whole.

        The tolerance counts children, nothing runs again by itself, the output and the metrics say nothing of items,
        and ``combine`` gets what the one map exported. ``distmap ledger`` still accounts for the run when it is asked.
        """
        return _NoAccounting()

    @property
    def is_on(self) -> bool:
        """Whether there is an account function."""
        return True

    @property
    def emits_metrics(self) -> bool:
        """Whether metrics of items are emitted."""
        return self.is_on and self.metrics is not False

    @property
    def accounts_for_failed_runs(self) -> bool:
        """Whether runs that fail are accounted for."""
        return self.is_on and self.failed_runs is not False


@dataclass(frozen=True, kw_only=True)
class _NoAccounting(Accounting):
    @property
    def is_on(self) -> bool:
        return False


def _check_names(name: str, errors: Sequence[str] | None) -> None:
    if errors is None:
        return
    if isinstance(errors, str) or len(errors) == 0:
        raise ValueError(f"{name} must be a list of at least one name of an error, got {errors!r}")
    for error in errors:
        checks.text(f"an error in {name}", error)
