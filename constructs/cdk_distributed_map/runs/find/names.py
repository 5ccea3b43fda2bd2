"""Names of runs: unique, readable, and safe in an ARN, in an S3 key and on a command line."""

from __future__ import annotations

import difflib
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from cdk_distributed_map.runs.errors import InputError
from distmap.limits import MAX_NAME_LENGTH

_ALLOWED: Final = re.compile(r"[A-Za-z0-9._-]+\Z")
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another
_RANDOM_LETTERS: Final = 5
_SUFFIX: Final = re.compile(r"-retry-(\d+)\Z")

_ALIKE: Final = 0.6
"""How alike two names have to be for one to be taken for a slip of the other, from 0 to 1."""
LATEST: Final = "latest"
"""Stands for the run that was started last."""


def new_name(label: str, *, now: datetime | None = None) -> str:
    """Return a new name for a run: ``squares-20261121-143005-k7m2p``.

    The random end makes two runs of the same second differ: 28 million possibilities.

    Args:
        label: What the run is of.
        now: Time of the start. Default: now.
    """
    at = datetime.now(UTC) if now is None else now
    end = "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM_LETTERS))
    stamp = f"{at:%Y%m%d-%H%M%S}-{end}"
    # Room is left for the names of retries.
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[: MAX_NAME_LENGTH - len(stamp) - 12].strip("-")
    return f"{slug or 'run'}-{stamp}"


def is_name(text: str) -> bool:
    """Tell whether a run can be called so, by Step Functions too: names of others are looked up as well."""
    return 0 < len(text) <= MAX_NAME_LENGTH and "/" not in text and ":" not in text


def check_name(name: str) -> str:
    """Return a name that was given for a run.

    Narrower than Step Functions, whose names may hold characters that S3 keys and shells don't take well:
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html.

    Raises:
        InputError: It can't be one.
    """
    if not _ALLOWED.match(name) or len(name) > MAX_NAME_LENGTH:
        raise InputError(
            f"a run's name has 1 to {MAX_NAME_LENGTH} letters, digits, '.', '_' and '-', got {name!r}: leave it out to "
            "get a unique one"
        )
    if name == LATEST:
        raise InputError(f"a run can't be named {LATEST!r}, which stands for the last one: choose another name")
    return name


def retry_name(root: str, number: int) -> str:
    """Return the name of a run's retry: ``<root>-retry-<number>``.

    Args:
        root: Name of the first run.
        number: Which retry, from 1.
    """
    suffix = f"-retry-{number}"
    return f"{root[: MAX_NAME_LENGTH - len(suffix)]}{suffix}"


def retry_number(name: str) -> int | None:
    """Return which retry a name says it is, None where it says nothing."""
    suffix = _SUFFIX.search(name)
    return None if suffix is None else int(suffix[1])


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return which of the names there are a wrong one was meant to be, upper and lower case aside; None: none."""
    by_case = {other.lower(): other for other in names}
    matches = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=_ALIKE)
    return by_case[matches[0]] if matches else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the question to put into a message: ``; did you mean 'Squares'?``, or nothing."""
    similar = closest(name, names)
    return "" if similar is None else f"; did you mean {similar!r}?"
