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
    """What is kept of each child.

    .. versionadded:: 0.1.0
    """

    NONE = "NONE"
    """Everything: input, output, status and times. It alone ties every result to its item."""
    COMPACT = "COMPACT"
    """The output of each child that succeeded, for readers that want nothing else; those that failed keep everything.
    Only what ``process_items`` answers names its items then, so that other workers' results can't be accounted for one
    by one, nor those of their batches at all: synthesis warns of it."""
    FLATTEN = "FLATTEN"
    """Like COMPACT, and outputs that are arrays are put into one."""

    def __str__(self) -> str:
        """Return what AWS calls it."""
        return str(self.value)


class OutputType(enum.Enum):
    """Format of the result files.

    .. versionadded:: 0.1.0
    """

    JSON = "JSON"
    JSONL = "JSONL"


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Results:
    """Where and how results are exported, to ``runs/<execution name>/results/<map run id>/``.

    .. versionadded:: 0.1.0

    Args:
        transformation: Default: ``NONE``.
        output_type: Default: ``JSONL``, which is read line by line.
        bucket: Bucket of the results, in the Region and account of the state machine. Default: the payload bucket.
    """

    transformation: Transformation | None = None
    output_type: OutputType | None = None
    bucket: s3.IBucket | None = None

    @property
    def names_items(self) -> bool:
        """Whether the results of all workers can be tied to their items."""
        return self.transformation in {None, Transformation.NONE}

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
