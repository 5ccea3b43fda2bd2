"""A plan of 1, 10 and 100 million items: seconds and memory, with and without a search for settings.

python benchmarks/plan.py
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time

from cdk_distributed_map.plan import Platform, Setting, Times, Work, alternatives, forecast
from cdk_distributed_map.prices import Prices

MILLION = 1_000_000
SIZES = (1, 10, 100)
SETTING = Setting(batch=100, express=True, concurrency=1_000)


def measure(millions: int, *, tune: bool) -> tuple[float, float]:
    """Return the seconds of a plan, and the most memory of its process in MB."""
    work = Work(items=millions * MILLION, times=Times.of(0.05, 0.3), accounts=True)
    begin = time.process_time()
    if tune:
        alternatives(work, SETTING, platform=Platform(), prices=Prices(), tune=True)
    else:
        forecast(work, SETTING)
    taken = time.process_time() - begin
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Measure each size in a process of its own, and write a table."""
    sys.stdout.write(f"{'items':>12}  {'':<8}{'CPU s':>9}{'MB':>7}\n")
    spawn = multiprocessing.get_context("spawn")
    for millions in SIZES:
        for tune in (False, True):
            with spawn.Pool(1) as pool:
                seconds, megabytes = pool.apply(measure, (millions,), {"tune": tune})
            what = "--tune" if tune else "plan"
            sys.stdout.write(f"{millions * MILLION:>12,}  {what:<8}{seconds:>9.2f}{megabytes:>7.0f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
