"""Metrics that functions log in CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

MARK: Final = '"CloudWatchMetrics"'
"""What is in every line with metrics."""
_MOST_DIMENSIONS: Final = 30
_MOST_METRICS: Final = 100
_MOST_VALUES: Final = 100
_RESOLUTIONS: Final = (1, 60)


class MetricError(ValueError):
    """CloudWatch would take no metrics from a line."""


def metrics_of(line: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the metrics of a line: the namespace of each, and a datum as PutMetricData takes it.

    Raises:
        MetricError: The line isn't in the format; no metric of it counts then.
    """
    if MARK not in line:
        return []
    try:
        document = json.loads(line)
    except ValueError as error:
        message = f"it is no JSON by itself ({error}): print the document alone, in one line"
        raise MetricError(message) from error
    if not isinstance(document, dict) or not isinstance(document.get("_aws"), dict):
        return []
    metadata = document["_aws"]
    stamp = metadata.get("Timestamp")
    _check(_is_number(stamp), "_aws.Timestamp must be milliseconds since 1970", stamp)
    directives = metadata.get("CloudWatchMetrics")
    _check(isinstance(directives, list), "_aws.CloudWatchMetrics must be an array", directives)
    at = datetime.fromtimestamp(stamp / 1000, UTC)
    return [found for directive in directives for found in _of(directive, document, at)]


def _of(directive: Any, document: Mapping[str, Any], at: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    _check(isinstance(directive, dict), "each of CloudWatchMetrics must be an object", directive)
    namespace, sets, metrics = (directive.get(name) for name in ("Namespace", "Dimensions", "Metrics"))
    _check(isinstance(namespace, str) and bool(namespace), "Namespace must be text", namespace)
    _check(isinstance(sets, list) and all(isinstance(each, list) for each in sets), "Dimensions must be arrays", sets)
    _check(
        isinstance(metrics, list) and len(metrics) <= _MOST_METRICS, "Metrics must be an array of up to 100", metrics
    )
    for metric in metrics:
        _check(isinstance(metric, dict) and isinstance(metric.get("Name"), str), "each metric needs a Name", metric)
        given = document.get(metric["Name"])
        values = given if isinstance(given, list) else [given]
        numbers = len(values) <= _MOST_VALUES and all(map(_is_number, values))
        _check(numbers, f"{metric['Name']!r} must be a number or up to 100 of them", given)
        resolution = metric.get("StorageResolution", 60)
        _check(resolution in _RESOLUTIONS, "StorageResolution must be 1 or 60", resolution)
        for names in sets:
            yield (
                namespace,
                {
                    "MetricName": metric["Name"],
                    "Dimensions": _dimensions(names, document),
                    "Timestamp": at,
                    "Values": values,
                    "Unit": metric.get("Unit", "None"),
                    "StorageResolution": resolution,
                },
            )


def _dimensions(names: list[Any], document: Mapping[str, Any]) -> list[dict[str, str]]:
    _check(len(names) <= _MOST_DIMENSIONS, "a metric has up to 30 dimensions", names)
    for name in names:
        known = isinstance(name, str) and isinstance(document.get(name), str)
        _check(known, f"the dimension {name!r} must be text at the top of the document", document.get(str(name)))
    return [{"Name": name, "Value": document[name]} for name in names]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(right: bool, rule: str, got: Any) -> None:  # noqa: FBT001 - what is checked
    if not right:
        shown = json.dumps(got, default=str)[:100]
        message = f"{rule}, got {shown}"
        raise MetricError(message)
