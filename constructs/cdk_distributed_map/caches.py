"""Where things are kept between runs that can be made again: found by their hash, and free to be deleted."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of this package: ``DISTMAP_CACHE``, or ``distmap`` in the user's cache folder.

    Where there is no home to write to, as in some containers, it is one that is removed in the end.
    """
    override = os.environ.get("DISTMAP_CACHE")
    if override is not None:
        return Path(override)
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(OSError, RuntimeError):
        folder = (Path(base) if base else Path.home() / ".cache") / "distmap"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return _passing_folder()


@functools.cache
def _passing_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="distmap-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
