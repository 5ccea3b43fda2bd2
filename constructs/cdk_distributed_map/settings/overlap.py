"""Whether runs that are started by a schedule or an event may overlap."""

from __future__ import annotations

import enum


class Overlap(enum.Enum):
    """What becomes of a start while another run of the pipeline is going on.

    .. versionadded:: 0.1.0
    """

    ALLOW = "allow"
    """Both run at once."""
    SKIP = "skip"
    """It comes to nothing."""
    WAIT = "wait"
    """It waits until no run goes on: for up to two weeks, then it fails."""
