"""A plan of 1, 10 and 100 million items: seconds and memory, with and without a search for settings.

python benchmarks/plan.py
python benchmarks/plan.py --engine 1_000_000     # so many children in the engine's simulated time, beside their plan
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from random import Random
from typing import Any

from cdk_distributed_map.local.simulation import simulate
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


def beside_engine(children: int) -> None:
    """Run children of a hundred items in the engine's simulated time, and plan them, without fixed seconds.

    More than some 50,000 of them end in an error that counts for nothing here, after all of them have ended: their
    results have more than 256 KiB, and there is nothing to export them to.
    """
    times, rng = Times.of(0.05, 0.3), Random(1)  # noqa: S311 - it keeps no secret
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": "work", "Payload": {}},
        "Retry": [
            {
                "ErrorEquals": ["Lambda.TooManyRequestsException"],
                "IntervalSeconds": 1,
                "BackoffRate": 2,
                "MaxDelaySeconds": 60,
                "MaxAttempts": 99,
                "JitterStrategy": "FULL",
            }
        ],
        "End": True,
    }
    state: dict[str, Any] = {
        "Type": "Map",
        "Label": "Map",
        "Items": f"{{% [1..{children}] %}}",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "Work",
            "States": {"Work": task},
        },
        "MaxConcurrency": SETTING.concurrency,
        "Output": "{% null %}",
        "End": True,
    }
    definition = {"QueryLanguage": "JSONata", "StartAt": "Map", "States": {"Map": state}}
    begin = time.process_time()
    found = simulate(definition, seconds=lambda _: times.draw(rng, SETTING.batch))
    engine = time.process_time() - begin
    nothing = dict.fromkeys(["start_seconds", "end_seconds", "child_seconds", "cold_seconds"], 0)
    platform = Platform().changed({**nothing, "express_starts": 1000, "rows": 1e12, "file_bytes": 1e15})
    begin = time.process_time()
    plan = forecast(Work(items=children * SETTING.batch, times=times), SETTING, platform=platform)
    unit = 1024**2 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    sys.stdout.write(
        f"{children * SETTING.batch:,} items in {children:,} children\n"
        f"engine: {found.seconds:,.1f} s; {engine:,.0f} CPU s, {memory:,.0f} MB\n"
        f"plan:   {plan.p50:,.1f} s (p10 {plan.p10:,.1f}, p90 {plan.p90:,.1f}); "
        f"{time.process_time() - begin:,.1f} CPU s\n"
    )


def main() -> None:
    """Measure each size in a process of its own, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=int, metavar="CHILDREN", help="run so many children in the engine instead")
    arguments = parser.parse_args()
    if arguments.engine is not None:
        beside_engine(arguments.engine)
        return
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
