"""Where an item failed: the innermost frame of the user's own code, and the traceback from there up.

Only looked at once an item has failed: an item that succeeds pays nothing for it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from traceback import StackSummary, TracebackException
from types import TracebackType
from typing import Any, Final

TRACEBACK_CHARACTERS: Final = 2_000
"""Most of a traceback that is kept: its beginning and, of it more, its end."""

_BEGINNING: Final = 600
_MOST_CAUSES: Final = 5
_OWN_FOLDER: Final = str(Path(__file__).parent)
_STANDARD_LIBRARY: Final = str(Path(os.__file__).parent)
# The layers, the runtime and the Python of Lambda, and what was installed anywhere.
_FOREIGN: Final = re.compile(
    r"^(?:/opt/|/var/(?:runtime|lang)/|<)|[/\\](?:site-packages|dist-packages)[/\\]|/lib/python3\.\d+/|[/\\]distmap[/\\]_"
)
_OURS_OR_IMPORT: Final = re.compile(r"[/\\]distmap[/\\]_|^<frozen importlib|[/\\]importlib[/\\]__init__\.py$")
_OF_LAMBDA: Final = re.compile(r"^/var/task/|^.*/asset\.[0-9a-f]+/")
_FRAME: Final = re.compile(r'\s*File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>.+)')


def place_of(error: BaseException) -> str | None:
    """Return where an error came from in the user's own code, such as ``handler.py:14 in enrich``.

    Of an error that none of that code was running for, it is where that came from by which it was caused: what an item
    waited for when its time was over.

    That is the innermost frame that is neither ours, nor the standard library's, nor of an installed package or layer.
    Where there is none it is the first frame that isn't ours: the decorated function, in a layer itself.

    Returns:
        None where no code of the user's was running: what was returned isn't JSON, or the function isn't Python's.
    """
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        found = None if cause is None else _own_frame(_traceback_of(cause))
        if cause is None or found is not None:
            break
        cause = _cause_of(cause)
    traceback = found or _after_ours(_traceback_of(error))
    if traceback is None:
        return None
    code = traceback.tb_frame.f_code
    if found is None and code.co_filename.startswith((_STANDARD_LIBRARY + os.sep + "json", "<")):
        return None  # it read or wrote JSON for us
    shown = _shown_of(code.co_filename) or Path(code.co_filename).name
    return f"{shown}:{traceback.tb_lineno} in {code.co_name}"


def _own_frame(traceback: TracebackType | None) -> TracebackType | None:
    found = None
    while traceback is not None:
        if _shown_of(traceback.tb_frame.f_code.co_filename) is not None:
            found = traceback
        traceback = traceback.tb_next
    return found


def _traceback_of(error: BaseException) -> TracebackType | None:
    try:
        return error.__traceback__
    except Exception:  # noqa: BLE001 - an error of the user's may compute its attributes, and fail
        return None


def _cause_of(error: BaseException) -> BaseException | None:
    try:
        return error.__cause__ or error.__context__
    except Exception:  # noqa: BLE001 - likewise
        return None


def traceback_of(error: BaseException) -> str | None:
    """Return the traceback of an error and its causes without our own frames, cut in its middle where it is long."""
    try:
        formatter = TracebackException.from_exception(error)
        _leave_ours_out(formatter)
        text = "".join(formatter.format())
        text = text.encode("utf-8", "backslashreplace").decode().rstrip("\n")
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - an error of the user's may compute its attributes, and fail
        return None
    if len(text) <= TRACEBACK_CHARACTERS:
        return text
    return f"{text[:_BEGINNING]}\n  ...\n{text[_BEGINNING + 7 - TRACEBACK_CHARACTERS :]}"


def place_in(stack: Any) -> str | None:
    """Return the place in the ``stackTrace`` that Lambda's Python runtime answers for what a handler raised.

    There is no telling the files of packages beside the handler from the user's own by their names.
    """
    if not isinstance(stack, list):
        return None
    frames = [found for line in stack if isinstance(line, str) for found in [_FRAME.match(line)] if found]
    own = [frame for frame in frames if not _FOREIGN.search(frame["file"])]
    if not own:
        return None
    file = own[-1]["file"]
    shown = _OF_LAMBDA.sub("", file)
    return f"{Path(file).name if shown == file else shown}:{own[-1]['line']} in {own[-1]['name']}"


def traceback_in(stack: Any) -> str | None:
    """Return what is kept of such a ``stackTrace``: its end, without our own frames and those of an import."""
    if not isinstance(stack, list) or not stack or not all(isinstance(line, str) for line in stack):
        return None
    shown = [line for line in stack if not ((frame := _FRAME.match(line)) and _OURS_OR_IMPORT.search(frame["file"]))]
    return "\n".join(line.rstrip("\n") for line in shown or stack)[-TRACEBACK_CHARACTERS:]


def _leave_ours_out(formatter: TracebackException) -> None:
    below = [formatter]
    while below:
        each = below.pop()
        frames = [frame for frame in each.stack or () if not frame.filename.startswith(_OWN_FOLDER)]
        # A headline without frames under it says nothing.
        each.stack = StackSummary.from_list(frames) if frames else None  # type: ignore[assignment] # format() takes it
        below += [inner for inner in (each.__cause__, each.__context__, *(each.exceptions or ())) if inner is not None]


def _after_ours(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        traceback = traceback.tb_next
    return traceback


@cache
def _shown_of(file: str) -> str | None:
    """Return how a file of the user's own code is shown; None for any other."""
    if _FOREIGN.search(file) or file.startswith((_OWN_FOLDER, _STANDARD_LIBRARY)):
        return None
    root = os.environ.get("LAMBDA_TASK_ROOT")
    for folder in [*([root] if root else []), *_search_path()]:
        try:
            inside = Path(file).relative_to(folder)
        except ValueError:
            continue
        return None if inside.parts[0] in _installed_in(folder) else inside.as_posix()
    return Path(file).name


def _search_path() -> Iterable[str]:
    """Return the folders that modules are looked for in, the longest first: one may be inside another."""
    return sorted((each for each in sys.path if each), key=len, reverse=True)


@cache
def _installed_in(folder: str) -> frozenset[str]:
    """Return the first names of what installed packages have in a folder: dependencies lie beside the handler there."""
    names = set()
    for record in Path(folder).glob("*.dist-info/RECORD"):
        try:
            lines = record.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        names |= {re.split(r"[/,]", line, maxsplit=1)[0] for line in lines}
    return frozenset(names)
