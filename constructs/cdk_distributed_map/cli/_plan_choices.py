"""Other settings of a plan, within what a run may cost and take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.cli import _show

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Alternative, Inputs, Objective, Setting

_SECONDS_BETWEEN_WORDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Other settings, within what a run may cost and take."""

    current: Setting
    shown: list[Alternative]
    best: Alternative | None
    objective: Objective
    max_cost: float | None
    max_time: float | None

    @property
    def is_limited(self) -> bool:
        """Whether a cost or a time was given."""
        return self.max_cost is not None or self.max_time is not None

    @property
    def limits_text(self) -> str:
        """The limits, in words."""
        cost = [] if self.max_cost is None else [f"costs at most {self.max_cost:g} USD"]
        time = [] if self.max_time is None else [f"takes at most {self.max_time:g} s"]
        return " and ".join([*cost, *time])

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON."""
        from cdk_distributed_map.plan import changes  # noqa: PLC0415 - see plan

        best = (
            None if self.best is None else {**self.best.to_json(), "changes": changes(self.best.setting, self.current)}
        )
        return {"alternatives": [each.to_json() for each in self.shown], "objective": self.objective, "best": best}


def choices(inputs: Inputs, options: dict[str, Any]) -> Choices:
    """Return other settings of a plan."""
    from cdk_distributed_map.plan import alternatives, best, fewer  # noqa: PLC0415 - see plan

    max_cost, max_time = options["max_cost"], options["max_time"]
    others = alternatives(
        inputs.work,
        inputs.setting,
        platform=inputs.platform,
        prices=inputs.prices,
        tune=options["tune"],
        seed=options["seed"],
        progress=_progress() if options["tune"] else None,
    )
    within = [
        alternative
        for alternative in others
        if (max_cost is None or alternative.dollars <= max_cost)
        and (max_time is None or alternative.seconds <= max_time)
    ]
    shown, chosen = fewer(within), best(within, options["objective"])
    if chosen is not None and chosen not in shown:
        shown = sorted([*shown, chosen], key=lambda alternative: alternative.dollars)
    return Choices(
        current=inputs.setting,
        shown=shown,
        best=chosen,
        objective=options["objective"],
        max_cost=max_cost,
        max_time=max_time,
    )


def _progress() -> Callable[[int, int], None]:
    """Return what says every two seconds how far a search is."""
    last = time.monotonic()

    def progress(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_BETWEEN_WORDS:
            last = time.monotonic()
            _show.say(f"{done} of {of} settings looked at", err=True)

    return progress
