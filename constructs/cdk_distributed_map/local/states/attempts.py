"""Retry and Catch: what Task, Parallel and Map do when an attempt fails."""

from __future__ import annotations

import abc
import random
from collections.abc import Mapping
from typing import Any, ClassVar

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA, reference_path
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.asl.paths import NotFoundError, compile_path, put
from cdk_distributed_map.local.asl.templates import Template
from cdk_distributed_map.local.errors import StateError, UnsupportedError
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.state import Outcome, State

_RETRY_FIELDS = frozenset(
    {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy", "Comment"}
)
_CATCH_FIELDS = frozenset({"ErrorEquals", "Next", "ResultPath", "Output", "Assign", "Comment"})


def matches(names: list[str], error: StateError, *, task: bool = True) -> bool:
    """Tell whether a retrier or catcher with these ErrorEquals is for an error."""
    if error.terminal:
        return False
    for name in names:
        if name == error.error and name is not None:
            return True
        if name == errors.ALL and not error.hidden_from_all:
            return True
        if name == errors.TASK_FAILED and task and error.error != errors.TIMEOUT and not error.hidden_from_all:
            return True
        if name == errors.HEARTBEAT and error.missed_heartbeat:
            return True
    return False


class Retrier:
    """One entry of Retry.

    Args:
        fields: Its fields.
        state: Name of the state.
    """

    def __init__(self, fields: Mapping[str, Any], state: str) -> None:
        _refuse(fields, _RETRY_FIELDS, state, "Retry")
        self.errors: list[str] = list(fields["ErrorEquals"])
        self.max_attempts: int = fields.get("MaxAttempts", 3)
        self._interval: int = fields.get("IntervalSeconds", 1)
        self._rate: float = fields.get("BackoffRate", 2.0)
        self._cap: int | None = fields.get("MaxDelaySeconds")
        self._jitter: str = fields.get("JitterStrategy", "NONE")
        if self._jitter not in {"NONE", "FULL"}:
            raise UnsupportedError(f"state {state!r} has JitterStrategy {self._jitter!r}: give FULL or NONE")

    def delay(self, attempt: int) -> float:
        """Return the seconds before an attempt, the first retry being 0."""
        seconds = self._interval * self._rate ** min(attempt, 200)
        if self._cap is not None:
            seconds = min(seconds, self._cap)
        return random.uniform(0, seconds) if self._jitter == "FULL" else seconds  # noqa: S311 - not for secrets


class Catcher:
    """One entry of Catch.

    Args:
        fields: Its fields.
        at: Its place in Catch.
        state: The state.
    """

    def __init__(self, fields: Mapping[str, Any], at: int, state: State) -> None:
        _refuse(fields, _CATCH_FIELDS, state.name, "Catch")
        jsonata = state.language == JSONATA
        wrong = {"ResultPath"} if jsonata else {"Output"}
        if wrong & set(fields):
            raise UnsupportedError(f"state {state.name!r} has {min(wrong)} in Catch, which {state.language} hasn't")
        self.errors: list[str] = list(fields["ErrorEquals"])
        self.next: str = fields["Next"]
        self._path: str | None = fields.get("ResultPath", "$")
        if self._path is not None:
            reference_path(self._path, f"Catch of state {state.name!r}")
        self._output: Template | None = (
            state.flow.template(fields["Output"], f"Catch[{at}]/Output") if "Output" in fields else None
        )
        self._assign: Template | None = (
            state.flow.template(fields["Assign"], f"Catch[{at}]/Assign") if "Assign" in fields else None
        )

    def output(self, evaluation: EvaluationContext, failed: EvaluationContext) -> Json:
        """Return what the next state gets."""
        if self._output is not None:
            return self._output(failed)
        if self._path is None:
            return evaluation.input
        try:
            return put(compile_path(self._path), evaluation.input, failed.root)
        except NotFoundError as error:
            raise errors.conflict(self._path, dumps(evaluation.input)) from error

    def assigned(self, failed: EvaluationContext) -> Mapping[str, Json]:
        """Return the variables to set."""
        return {} if self._assign is None else self._assign(failed)


class AttemptingState(State, abc.ABC):
    """A state that can fail, be retried and be caught."""

    attempt_fields: ClassVar[frozenset[str]] = frozenset({"Retry", "Catch", "Assign"})
    failed_event: ClassVar[str | None] = None
    """Event of the state's failure after all its attempts."""

    def __init__(self, name: str, fields: Mapping[str, Any], language: str) -> None:
        super().__init__(name, fields, language)
        self.retriers = [Retrier(each, name) for each in fields.get("Retry") or []]
        self.catchers = [Catcher(each, at, self) for at, each in enumerate(fields.get("Catch") or [])]

    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """Attempt until it succeeds, is caught or fails."""
        counts = [0] * len(self.retriers)
        retries = 0
        while True:
            attempted = self._numbered(evaluation, retries)
            try:
                inner = self.flow.enter(attempted)
                result = await self._attempted(inner, frame)
                output = self.flow.output(inner, result)
                assigned = self.flow.assigned(inner, result)
            except StateError as raised:
                error = raised.placed_in(self.name, entered)
                frame.evaluation_failed(error, self.name)
                error.location = None
                delay = self._retry(error, counts)
                if delay is None:
                    return self._caught(error, attempted, frame)
                frame.execution.progress.discard((*frame.path, self.name))
                await frame.services.clock.sleep(delay)
                retries += 1
                continue
            frame.execution.progress.discard((*frame.path, self.name))
            return self.exit(frame, evaluation, output, assigned, self.next)

    async def _attempted(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Make an attempt, or do what a test has scripted for a whole Map or Parallel; a task asks for its calls."""
        outcomes = frame.services.outcomes
        if self.type != "Task" and outcomes.scripts(self.name):
            whole = outcomes.due(self.name, [], together=True).whole
            if whole is not None:
                if whole.kind == "give":
                    return whole.result
                raise StateError(errors.TIMEOUT if whole.error is None else whole.error, whole.cause)
        return await self.attempt(evaluation, frame)

    def _numbered(self, evaluation: EvaluationContext, retries: int) -> EvaluationContext:
        state = {**evaluation.context["State"], "RetryCount": retries}
        return evaluation.with_context({**evaluation.context, "State": state})

    def _retry(self, error: StateError, counts: list[int]) -> float | None:
        for at, retrier in enumerate(self.retriers):
            if matches(retrier.errors, error):
                if counts[at] >= retrier.max_attempts:
                    return None
                counts[at] += 1
                return retrier.delay(counts[at] - 1)
        return None

    def _caught(self, error: StateError, evaluation: EvaluationContext, frame: ExecutionFrame) -> Outcome:
        if self.failed_event is not None and (error.inside or not error.terminal):
            frame.event(self.failed_event)
        error.inside = False
        for catcher in self.catchers:
            if matches(catcher.errors, error):
                shown = {"Error": error.error, "Cause": error.cause}
                failed = evaluation.with_error({key: value for key, value in shown.items() if value is not None})
                output = catcher.output(evaluation, failed)
                frame.execution.progress.discard((*frame.path, self.name))
                return self.exit(frame, evaluation, output, catcher.assigned(failed), catcher.next)
        raise error

    @abc.abstractmethod
    async def attempt(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Make one attempt and return its result."""


def _refuse(fields: Mapping[str, Any], known: frozenset[str], state: str, where: str) -> None:
    unknown = sorted(set(fields) - known)
    if unknown:
        raise UnsupportedError(f"state {state!r} has {unknown[0]!r} in {where}: use {', '.join(sorted(known))}")
    if not isinstance(fields.get("ErrorEquals"), list) or not fields["ErrorEquals"]:
        raise UnsupportedError(f"state {state!r} has an entry of {where} without ErrorEquals: give a list of errors")
