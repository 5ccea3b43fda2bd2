"""Results: what the map exports, always.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_s3 as s3

from cdk_distributed_map.settings import kinds


class Transformation(enum.Enum):
    """What is kept of each child."""

    NONE = "NONE"
    """Everything: input, output, status and times. What the client reads best: it alone ties a result to its item
    without reading the source again."""
    COMPACT = "COMPACT"
    """The output of each child. Failed children keep everything."""
    FLATTEN = "FLATTEN"
    """Like COMPACT, and outputs that are arrays are put into one."""


class OutputType(enum.Enum):
    """Format of the result files."""

    JSON = "JSON"
    JSONL = "JSONL"


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Results:
    """Where and how results are exported, to ``runs/<execution name>/results/<map run id>/``.

    Args:
        transformation: Default: ``NONE``.
        output_type: Default: ``JSONL``, which is read line by line.
        bucket: Bucket of the results, in the Region and account of the state machine. Default: the payload bucket.
    """

    transformation: Transformation | None = None
    output_type: OutputType | None = None
    bucket: s3.IBucket | None = None

    def render(self, *, bucket: s3.IBucket, prefix: str) -> dict[str, Any]:
        """Return ResultWriter."""
        chosen = Transformation.NONE if self.transformation is None else self.transformation
        form = OutputType.JSONL if self.output_type is None else self.output_type
        return {
            "Resource": f"arn:{Aws.PARTITION}:states:::s3:putObject",
            "Arguments": {"Bucket": bucket.bucket_name, "Prefix": prefix},
            "WriterConfig": {
                "Transformation": chosen.value,
                "OutputType": form.value,
            },
        }
