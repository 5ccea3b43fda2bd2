"""Metrics of a run's items, as a line of a log that CloudWatch makes metrics of.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Any, Final

NAMESPACE: Final = "Distmap"
DIMENSION: Final = "Pipeline"
METRICS: Final = {
    "ItemsCaptured": "captured",
    "ItemsSucceeded": "succeeded",
    "ItemsFailed": "failed",
    "ItemsUnprocessed": "unprocessed",
    "ItemsPending": "pending",
    "ItemsMissing": "missing",
    "ItemsRecovered": "recovered",
    "ItemsDuplicated": "duplicates",
    "Rounds": "rounds",
}
"""Metrics by name, each with the member of the ledger that it is."""


def emit(pipeline: str, ledger: dict[str, Any]) -> None:
    """Write the metrics of a run to standard output, which Lambda sends to CloudWatch Logs.

    Args:
        pipeline: What tells the metrics of one pipeline from those of others.
        ledger: The run's ``ledger.json``.
    """
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[DIMENSION]],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in METRICS],
    }
    line = {
        "_aws": {"Timestamp": round(time.time() * 1000), "CloudWatchMetrics": [directive]},
        DIMENSION: pipeline,
        **{name: ledger[member] for name, member in METRICS.items()},
        "run": ledger["run"],
    }
    with suppress(Exception):  # the function may have closed standard output
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
