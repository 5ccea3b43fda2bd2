"""Packages of one's own that requirements name by their paths: folders and archives are built into wheels first.

No index has a wheel of them. They are built here once, whatever installs them: uv builds nothing where it may take
wheels alone, and pip can't do it where other requirements have hashes.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cdk_distributed_map.bundling.errors import BundlingError

_ARCHIVES: Final = (".tar.gz", ".zip")
_NAMED: Final = re.compile(r"^(?P<name>[\w.-]+)\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<place>.+)$")
_EXTRAS: Final = re.compile(r"^(?P<place>.*?)(?P<extras>\[[^\]]*\])?$")


def own_package(folder: Path, line: str) -> Path | None:
    """Return the folder or file that a requirement names, None where it names a package of an index or an address."""
    if line.startswith("-"):
        return None
    _, place, _, _ = _parts(line)
    if place.startswith("file:"):
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(place).path or place.removeprefix("file:")))
    elif "://" in place:
        return None
    else:
        path = Path(place)
    looks_like_one = place.startswith((".", "/", "file:")) or place.endswith((".whl", *_ARCHIVES))
    return folder / path if looks_like_one or ("/" in place and (folder / path).exists()) else None


def built(lines: Sequence[str], folder: Path, build: Callable[[Path], Path]) -> Iterator[str]:
    """Yield the lines, with wheels in place of what must be built.

    Args:
        lines: Requirements.
        folder: Where their paths begin.
        build: Builds a folder or an archive, and returns the wheel.

    Raises:
        BundlingError: One isn't there, or has compiled parts.
    """
    hashed = any("--hash" in line for line in lines)
    for line in lines:
        path = own_package(folder, line)
        if path is None:
            yield line
            continue
        if not path.exists():
            raise BundlingError(f"{line!r} names {path}, which isn't there: its path begins at {folder}")
        wheel = path if path.suffix == ".whl" else build(path.resolve())
        if wheel != path and not wheel.name.endswith("-none-any.whl"):
            raise BundlingError(
                f"{line!r} has compiled parts, which would be for this machine: name a wheel of it that was built for "
                "Lambda, or build it in a container with bundling=Bundling.docker()"
            )
        _, _, extras, rest = _parts(line)
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        digest = f" --hash=sha256:{sha256}" if hashed and "--hash" not in rest else ""
        name = wheel.name.partition("-")[0]
        yield f"{name}{extras} @ {wheel.resolve().as_uri()}{rest}{digest}"


def _parts(line: str) -> tuple[str, str, str, str]:
    """Return name, place, extras, and what comes after them: a marker and options."""
    after = re.search(r"\s+;|;\s|\s+--", line)
    text, rest = (line, "") if after is None else (line[: after.start()], f" {line[after.start() :].strip()}")
    named = _NAMED.match(text.strip())
    if named is not None:
        return named["name"], named["place"].partition("#")[0].strip(), named["extras"] or "", rest
    plain = _EXTRAS.match(text.strip().partition("#")[0])
    assert plain is not None  # noqa: S101 - it fits any text
    return "", plain["place"], plain["extras"] or "", rest
