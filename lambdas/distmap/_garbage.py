"""The garbage collector, kept away from what never becomes garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_lived_objects_left_alone() -> Iterator[None]:
    """Keep what exists now out of collections while the block runs.

    Parsing millions of values makes the collector look through all that is alive again and again, and with boto3
    imported that is a quarter of a million objects, which stay for the life of the process: a third of the time.
    """
    if gc.get_freeze_count():  # the function's author did it already, and for longer
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
