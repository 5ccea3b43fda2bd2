"""Faults on request: what goes wrong on AWS now and then, made to go wrong here as often as a test wants it.

One object is shared by the interpreter and the functions, and may be changed while a run is under way.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection
from dataclasses import dataclass, field, fields


@dataclass(kw_only=True)
class Faults:
    """How often each fault happens, as a share of its occasions between 0 and 1. By default nothing fails.

    Args:
        throttle: Invocations refused with ``TooManyRequestsException`` before the function sees them.
        inactive: Invocations refused with ``CodeArtifactUserPendingException``, as those of a function are that nobody
            has called for weeks.
        crash: Invocations whose process is killed as soon as it has its event.
        hang: Invocations whose process stops for good when it has its event, until the function's timeout ends it.
        lost_answer: Invocations that do all their work and are killed before the answer is taken: what makes
            at-least-once visible.
        express_duplicate: Express children that run twice, side by side: AWS runs them at least once. What they do
            is done twice, and one of the two results counts.
        s3_error: Requests of state machines to S3, retries of the SDK included, that S3 answers with ``InternalError``.
        index_by_file: Map Runs whose ``Map.Item.Index`` begins anew in each of several files: it isn't documented
            whether AWS numbers the items of such a map through, as is done here without it.
        functions: Names of the functions whose invocations ``throttle``, ``inactive``, ``crash``, ``hang`` and
            ``lost_answer`` strike. Default: all functions, the one that accounts for a run included.
        seed: Makes a series of faults repeatable in one thread of calls. Default: a new series each time.

    Raises:
        TypeError: ``functions`` is a text.
        ValueError: A share is not between 0 and 1.
    """

    throttle: float = 0.0
    inactive: float = 0.0
    crash: float = 0.0
    hang: float = 0.0
    lost_answer: float = 0.0
    express_duplicate: float = 0.0
    s3_error: float = 0.0
    index_by_file: float = 0.0
    functions: Collection[str] | None = None
    seed: int | None = None
    _random: random.Random = field(init=False, repr=False, compare=False)
    _lock: threading.Lock = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - which call fails is no secret
        for name in SHARES:
            _check(name, getattr(self, name))

    def __setattr__(self, name: str, value: object) -> None:
        if name in SHARES:
            _check(name, value)
        if name == "functions" and isinstance(value, str):
            message = f"the functions that faults strike must be a collection of names, got {value!r}; give [{value!r}]"
            raise TypeError(message)
        super().__setattr__(name, value)

    def set(self, name: str, share: float) -> None:
        """Set how often a fault happens.

        Raises:
            ValueError: There is no fault of that name, or the share is not between 0 and 1.
        """
        _check_name(name)
        setattr(self, name, share)

    def strikes(self, name: str, *, function: str | None = None) -> bool:
        """Say whether a fault happens on this occasion.

        Args:
            name: The fault.
            function: Name of the function that is invoked. Default: this is no invocation.

        Raises:
            ValueError: There is no fault of that name.
        """
        _check_name(name)
        if function is not None and self.functions is not None and function not in self.functions:
            return False
        share = float(getattr(self, name))
        if share == 0.0:
            return False
        with self._lock:
            return self._random.random() < share


def _check_name(name: str) -> None:
    if name not in SHARES:
        message = f"unknown fault {name!r}; faults are {', '.join(sorted(SHARES))}"
        raise ValueError(message)


def _check(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = f"the share of the fault {name!r} must be between 0 and 1, got {value!r}"
        raise ValueError(message)


SHARES = frozenset(f.name for f in fields(Faults) if f.default == 0.0)
