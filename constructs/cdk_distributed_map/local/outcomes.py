"""Scripted outcomes: what a task answers, in place of what it calls, by its state and by the item that it is for.

One object is shared by the tests and the engine, like the faults, which strike at random where outcomes are certain.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from cdk_distributed_map.local.mock_file import responses_of
from cdk_distributed_map.names import item_file_state

Item = int | str | None
Kind = Literal["give", "fail", "time_out", "exhausted"]

# What befalls a call, rather than one of the items that it is for.
_OF_CALLS: Final = ("States.", "Lambda.", "Sandbox.", "Runtime.", "Extension.", "Function.")
_MISSING: Final = "{} for {} must be a whole number over 0, or None for always, got {!r}"


@dataclass(kw_only=True)
class Outcome:
    """One outcome, and how often it is still due.

    Attributes:
        state: Name of the state.
        kind: What happens.
        item: The item that it is for, None for every call of the state.
        left: How often it is still due, None for always.
        result: What is given; of ``exhausted``, how many calls went before.
        error: Name of the error.
        cause: Its cause.
        is_checked: Whether a result, and an error, are held to the API's model.
        used: How often it was met.
    """

    state: str
    kind: Kind
    item: Item = None
    left: int | None = None
    result: Any = None
    error: str | None = None
    cause: str | None = None
    is_checked: bool = True
    used: int = 0

    @property
    def is_of_call(self) -> bool:
        """Whether it befalls the whole call, with whichever items it is for."""
        return self.kind in {"time_out", "exhausted"} or (self.error or "").startswith(_OF_CALLS)

    def is_of(self, state: str) -> bool:
        """Whether it is of a state, or of the one in the map over item files that is made from it."""
        return state in {self.state, item_file_state(self.state)}

    def is_for(self, index: int, identifier: str) -> bool:
        """Whether it is for an item."""
        return self.item == (identifier if isinstance(self.item, str) else index) and self.item is not None

    def __str__(self) -> str:
        of_item = "" if self.item is None else f" for item {self.item}"
        return f"{self.kind} of the state {self.state!r}{of_item}"


class Due(NamedTuple):
    """What is due in one call."""

    whole: Outcome | None
    """What the call itself meets."""
    items: dict[int, Outcome]
    """What items of it meet, by their position in it."""


@dataclass
class Outcomes:
    """What tasks answer in place of what they call. By default nothing is scripted.

    Outcomes of a state, and of an item, follow each other in the order in which they were scripted; when all of them
    are over, the call is made. Those for an item go before those for the state. A call that is scripted asks nobody,
    IAM neither; all else is as it is: retries, tolerance, rounds, history and results. The states of a pipeline are
    there once more in its map over item files, which retries and rounds use: ``Squares process`` names both.

    .. versionadded:: 0.1.0

    Example::

        local_aws.outcomes.fail("Squares process", "Throttling", item=3, times=2)  # and then succeeds
        local_aws.outcomes.time_out("Squares process", item=7)
        local_aws.outcomes.give("Tell", {"MessageId": "1"})
    """

    _scripted: list[Outcome] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def give(self, state: str, result: Any, *, item: Item = None, times: int | None = None, check: bool = True) -> None:
        """Let a task succeed.

        Args:
            state: Name of the state, in whichever state machine.
            result: What the API answers, such as ``{"Payload": 3}`` of ``lambda:invoke``. For an item that a pipeline
                gives to a function: the result of that item alone.
            item: The item that it is for: its index, or what names it in answers (``<source>#<index>``) where a map
                reads several files. Default: every call of the state.
            times: How often. Default: always.
            check: Whether a result is held to the model of the API.

        Raises:
            ValueError: ``times`` is no whole number over 0.
            TypeError: The result isn't JSON.
        """
        try:
            result = json.loads(json.dumps(result, allow_nan=False))
        except (TypeError, ValueError) as error:
            message = f"the result for the state {state!r} must be JSON ({error}), got {result!r:.80}"
            raise TypeError(message) from error
        self._add(Outcome(state=state, kind="give", item=item, left=times, result=result, is_checked=check))

    def fail(
        self,
        state: str,
        error: str,
        *,
        cause: str = "scripted by a test",
        item: Item = None,
        times: int | None = None,
        check: bool = True,
    ) -> None:
        """Let a task, or an item of its batch, fail.

        Args:
            state: Name of the state.
            error: Name of the error. With ``item``, one that begins with ``States.``, ``Lambda.``, ``Sandbox.``,
                ``Runtime.``, ``Extension.`` or ``Function.`` befalls the whole batch, any other the item alone.
            cause: Its cause.
            item: The item that it is for. Default: every call of the state.
            times: How often. Default: always.
            check: Whether the error of an SDK integration must be one that the service has.

        Raises:
            ValueError: ``times`` is no whole number over 0.
        """
        outcome = Outcome(state=state, kind="fail", item=item, left=times, error=error, cause=cause, is_checked=check)
        self._add(outcome)

    def time_out(self, state: str, *, item: Item = None, times: int | None = None) -> None:
        """Let a task run out of time, with whichever items it is for: ``States.Timeout``.

        Args:
            state: Name of the state.
            item: The item that it is for. Default: every call of the state.
            times: How often. Default: always.

        Raises:
            ValueError: ``times`` is no whole number over 0.
        """
        self._add(Outcome(state=state, kind="time_out", item=item, left=times))

    def read(self, file: str | Path, state_machine: str, test_case: str) -> None:
        """Take the outcomes of a test case from a mock configuration file of Step Functions Local.

        A state that is called more often than it has responses fails its execution, as nothing is said of that call.

        Args:
            file: The file, such as ``MockConfigFile.json``.
            state_machine: Name of the state machine in the file.
            test_case: Name of the test case.

        Raises:
            ValueError: The file has no such test case, or isn't a mock configuration.
            OSError: It can't be read.
        """
        for state, responses in responses_of(Path(file), state_machine, test_case).items():
            calls = sum(times for times, _ in responses)
            for times, response in responses:
                if "Return" in response:
                    self.give(state, response["Return"], times=times, check=False)
                else:
                    thrown = response["Throw"]
                    self.fail(state, thrown["Error"], cause=thrown.get("Cause", ""), times=times, check=False)
            self._add(Outcome(state=state, kind="exhausted", result=calls))

    def clear(self) -> None:
        """Script nothing any more."""
        with self._lock:
            self._scripted.clear()

    def check(self) -> None:
        """Check that every outcome was met: a misspelt state would script nothing.

        Raises:
            AssertionError: One wasn't; the message names it.
        """
        unmet = [str(each) for each in self._scripted if not each.used and each.kind != "exhausted"]
        if unmet:
            message = (
                f"no call met what was scripted: {', '.join(unmet)}; name a state that calls something, and an item "
                "that reaches it"
            )
            raise AssertionError(message)

    def scripts(self, state: str) -> bool:
        """Say whether anything is scripted for a state."""
        return any(each.is_of(state) for each in self._scripted)

    def due(self, state: str, items: Sequence[tuple[int, str]], *, together: bool) -> Due:
        """Return what is due in a call, which is taken for met.

        Args:
            state: Name of the state.
            items: Index and identifier of each item that the call is for.
            together: Whether what befalls an item befalls the whole call.
        """
        with self._lock:
            ahead = [each for each in self._scripted if each.is_of(state) and each.left != 0]
            found: dict[int, Outcome] = {}
            for position, (index, identifier) in enumerate(items):
                outcome = next((each for each in ahead if each.is_for(index, identifier)), None)
                if outcome is not None:
                    found[position] = outcome
            whole = next((each for each in found.values() if together or each.is_of_call), None)
            if whole is None and not found:
                whole = next((each for each in ahead if each.item is None), None)
            met = [*found.values()] if whole is None else [whole]
            for each in met:
                each.used += 1
                each.left = None if each.left is None else each.left - 1
        return Due(whole, {} if whole is not None else found)

    def _add(self, outcome: Outcome) -> None:
        times = outcome.left
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            message = _MISSING.format("times", outcome, times)
            raise ValueError(message)
        with self._lock:
            self._scripted.append(outcome)
