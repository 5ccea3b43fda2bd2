"""Other settings for the same work: those of which none is both cheaper and faster than another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from cdk_distributed_map.plan._bill import make_bill
from cdk_distributed_map.plan._forecast import seconds_of
from cdk_distributed_map.plan._platform import Platform
from cdk_distributed_map.plan._work import Setting, Work, problems
from cdk_distributed_map.prices import Prices
from distmap import limits

Objective = Literal["cost", "time", "balanced"]
OBJECTIVES: Final = ("cost", "time", "balanced")
_BATCHES: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10)
_CONCURRENCIES: Final = (0.5, 1, 2, 5, 10)
_STEPS: Final = (1, 2, 5)
_MEMORIES: Final = (128, 256, 512, 1_024, 1_769, 3_008)
_EQUAL: Final = 0.01
"""Share that two times or costs may differ by and be taken for the same: simulated times aren't exacter."""
_MOST: Final = 8


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A setting, with what the work takes and costs under it.

    .. versionadded:: 0.1.0
    """

    setting: Setting
    seconds: float
    """In the median, where each speed is in the middle of its range."""
    dollars: float
    is_current: bool = False
    is_pareto: bool = True
    """Whether no other is both cheaper and faster."""

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        setting = self.setting
        return {
            "batch": setting.batch,
            "express": setting.express,
            "concurrency": setting.concurrency,
            "memoryMb": setting.memory_mb,
            "seconds": round(self.seconds, 1),
            "dollars": round(self.dollars, 6),
            "current": self.is_current,
            "pareto": self.is_pareto,
        }


def with_setting(work: Work, setting: Setting, current: Setting) -> Work:
    """Return the work under another setting: what is reserved for the children grows with them."""
    if work.reserved is None or work.reserved >= setting.concurrency or setting.concurrency <= current.concurrency:
        return work
    return replace(work, reserved=setting.concurrency)


def evaluate(
    work: Work, setting: Setting, *, current: Setting, platform: Platform, prices: Prices, seed: int = 0
) -> Alternative | None:
    """Return what a setting takes and costs; None where AWS would refuse it or end it.

    .. versionadded:: 0.1.0
    """
    changed = with_setting(work, setting, current)
    if problems(changed, setting):
        return None
    return Alternative(
        setting=setting,
        seconds=seconds_of(changed, setting, platform, seed=seed),
        dollars=make_bill(changed, setting, platform=platform, price=prices).total,
        is_current=setting == current,
    )


def alternatives(
    work: Work,
    current: Setting,
    *,
    platform: Platform,
    prices: Prices,
    tune: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Alternative]:
    """Return settings of which none is both cheaper and faster than another, the cheapest first, with today's.

    .. versionadded:: 0.1.0

    Args:
        work: What is to be done.
        current: Today's setting, which is among those returned unless AWS would refuse it.
        platform: Quotas and speeds.
        prices: Prices.
        tune: Whether to look at settings of any size. Default: at some around today's.
        seed: Seed of the simulation.
        progress: Called with how many settings were looked at, and how many there are.
    """
    tried: dict[Setting, Alternative | None] = {}
    tried_settings: Sequence[Setting] = list(
        _every(work, current, platform) if tune else _around(work, current, platform)
    )
    wanted = list(dict.fromkeys([current, *tried_settings]))
    for number, setting in enumerate(wanted):
        tried[setting] = evaluate(work, setting, current=current, platform=platform, prices=prices, seed=seed)
        if progress is not None:
            progress(number + 1, len(wanted))
    results = [alternative for alternative in tried.values() if alternative is not None]
    front = pareto(results)
    shown = [alternative for alternative in results if alternative.is_current and alternative not in front]
    return sorted(
        [*front, *(replace(alternative, is_pareto=False) for alternative in shown)],
        key=lambda alternative: alternative.dollars,
    )


def pareto(alternatives_found: Iterable[Alternative]) -> list[Alternative]:
    """Return those that none is cheaper than and faster, the cheapest first.

    .. versionadded:: 0.1.0
    """
    front: list[Alternative] = []
    for alternative in sorted(
        alternatives_found,
        key=lambda alternative: (alternative.dollars, alternative.seconds, _size(alternative.setting)),
    ):
        if not front or alternative.seconds < front[-1].seconds:
            front.append(alternative)
    return front


def fewer(front: Sequence[Alternative], most: int = _MOST) -> list[Alternative]:
    """Return so many of them at most: the ends, today's, and what lies evenly between, by time.

    .. versionadded:: 0.1.0
    """
    front = [
        alternative
        for at, alternative in enumerate(front)
        if alternative.is_current or not _hardly_cheaper(alternative, front[at + 1 :])
    ]
    if len(front) <= most:
        return front
    kept = {0, len(front) - 1, *(at for at, alternative in enumerate(front) if alternative.is_current)}
    logs = [math.log(max(alternative.seconds, 1e-9)) for alternative in front]
    low, high = min(logs), max(logs)
    for step in range(1, most):
        if len(kept) >= most:
            break
        target = high - (high - low) * step / (most - 1)
        kept.add(min(range(len(front)), key=lambda at: abs(logs[at] - target)))
    return [front[at] for at in sorted(kept)]


def _hardly_cheaper(one: Alternative, dearer: Sequence[Alternative]) -> bool:
    """Tell whether another costs about the same and takes less time."""
    most = one.dollars * (1 + _EQUAL)
    return any(each.dollars <= most and each.seconds < one.seconds for each in dearer)


def best(choices: Sequence[Alternative], objective: Objective) -> Alternative | None:
    """Return the best by an objective: the cheapest, the fastest, or what is least far from both; None of none.

    .. versionadded:: 0.1.0

    Raises:
        ValueError: There is no such objective.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if not choices:
        return None
    cheapest, fastest = (min(getattr(alternative, name) for alternative in choices) for name in ("dollars", "seconds"))
    near = 1 + _EQUAL

    def rank(alternative: Alternative) -> tuple[float, float]:
        if objective == "cost":
            return (0 if alternative.dollars <= cheapest * near else alternative.dollars), alternative.seconds
        if objective == "time":
            return (0 if alternative.seconds <= fastest * near else alternative.seconds), alternative.dollars
        product = alternative.dollars / max(cheapest, 1e-12) * alternative.seconds / max(fastest, 1e-12)
        return product, alternative.dollars

    return min(choices, key=rank)


def changes(setting: Setting, current: Setting) -> list[str]:
    """Return the lines of Python that make a pipeline's setting another.

    .. versionadded:: 0.1.0
    """
    lines = []
    if setting.batch != current.batch:
        lines.append(f"batching=Batching(max_items={setting.batch}),")
    if setting.express != current.express:
        lines.append(f"child_type=sfn.StateMachineType.{'EXPRESS' if setting.express else 'STANDARD'},")
    if setting.concurrency != current.concurrency:
        lines.append(f"max_concurrency={setting.concurrency},")
    if setting.memory_mb != current.memory_mb:
        lines.append(f"worker=Worker.python(..., memory_size={setting.memory_mb}),")
    return lines


def _size(setting: Setting) -> tuple[int, int, int]:
    return setting.concurrency, setting.memory_mb, setting.batch


# -- which are looked at


def _around(work: Work, current: Setting, platform: Platform) -> Iterator[Setting]:
    for batch in _clamped([current.batch * each for each in _BATCHES], 1, _most_batch(work)):
        most = _most_concurrency(work, platform)
        for concurrency in _clamped([current.concurrency * each for each in _CONCURRENCIES], 1, most):
            yield from _kinds(work, current, batch, concurrency)


def _every(work: Work, current: Setting, platform: Platform) -> Iterator[Setting]:
    for batch in _round_numbers(_most_batch(work)):
        # More children at once than there are is the same as all of them.
        children = work.children(replace(current, batch=batch))
        most = min(_most_concurrency(work, platform), max(1, children))
        for concurrency in _round_numbers(most):
            yield from _kinds(work, current, batch, concurrency)


def _kinds(work: Work, current: Setting, batch: int, concurrency: int) -> Iterator[Setting]:
    # Where nothing is known of what memory changes, less of it would always seem better.
    memories = dict.fromkeys([current.memory_mb, *(_MEMORIES if work.cpu_share and work.calls_function else ())])
    for express in (False, True) if not work.outer_states else (current.express,):
        for memory in memories:
            yield replace(current, batch=batch, express=express, concurrency=concurrency, memory_mb=memory)


def _most_concurrency(work: Work, platform: Platform) -> int:
    if not work.calls_function:
        return limits.MAX_CONCURRENT_CHILDREN
    allowed = platform.account_concurrency
    if work.reserved is not None:
        # Lambda keeps some for the functions that reserve none.
        allowed = max(work.reserved, platform.account_concurrency - limits.UNRESERVABLE_CONCURRENCY)
    return max(1, min(limits.MAX_CONCURRENT_CHILDREN, allowed // work.map_runs_at_once))


def _most_batch(work: Work) -> int:
    return max(1, min(math.ceil(work.items / work.map_runs), work.batch_items(Setting(batch=limits.MAX_ITEMS))))


def _clamped(sizes: Iterable[float], least: int, most: int) -> list[int]:
    return sorted({min(max(round(each), least), most) for each in sizes})


def _round_numbers(most: int) -> list[int]:
    """Return 1, 2, 5, 10 and so on up to a number, and that."""
    numbers = [step * 10**power for power in range(9) for step in _STEPS]
    return [*(number for number in numbers if number < most), most]
