"""What pip and uv say, in a developer's words: what they are doing, and why they couldn't."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cdk_distributed_map.bundling.target import Target, ThisMachine

WAYS_OUT: Final = (
    "build it for Lambda in a container with bundling=Bundling.docker(), or take it from a layer with layers=[...] and "
    "leave it out of {file}"
)
_LAST_LINES: Final = 12
_DOING: Final = re.compile(r"^\s*(Collecting|Downloading|Building)\s+([^\s(]+)[^(]*(\(\d[^)]*\))?")
_OFFLINE: Final = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|Max retries exceeded|ProxyError|ConnectTimeout|"
    r"Connection (?:refused|broken)|network (?:is unreachable|was disabled)|dns error|error sending request|"
    r"client error \(Connect\)|connectivity is disabled|[Cc]ould not connect|operation timed out",
)
_REFUSED: Final = re.compile(
    r"\b40[137] (?:Client )?Error|\(40[137] \w+|HTTP error 40[137]|Credentials not correct|Unauthorized|\bForbidden\b"
)
_MISSING: Final = (
    re.compile(r"No matching distribution found for ([A-Za-z0-9][\w.\-]*(?:\[[^\]]*\])?\s*[^\s;,(]*)"),
    re.compile(r"([A-Za-z0-9][\w.\-]*\S*) has no (?:usable )?wheels"),
    re.compile(r"only ([A-Za-z0-9][\w.\-]*)\S* is available and \S+ has no"),
    re.compile(r"([A-Za-z0-9][\w.\-]*) was not found in the (?:package registry|provided package locations|cache)"),
    re.compile(r"there (?:is|are) no versions? of ([A-Za-z0-9][\w.\-]*[^\s,]*)"),
)
_PYTHON: Final = re.compile(
    r"Package '(?P<name>[^']+)' requires a different Python: \S+ not in '(?P<needs>[^']+)'|"
    r"(?P<uv_name>[A-Za-z0-9][^\s,]*) (?:requires|depends on) Python ?(?P<uv_needs>[^\s]+) and"
)
_FAILED: Final = re.compile(r"(?:Failed to (?:fetch|download)|exceeded with url):? +\W*(?:\S*/)?([A-Za-z0-9][^\s/`]*)")


def doing_what(said: Sequence[str]) -> str:
    """Return what the last lines of an installer say that it is doing."""
    if said and said[-1].startswith(("Installing", "Prepared")):
        return "unpacking them"
    for line in reversed(said):
        found = _DOING.match(line)
        if found is not None:
            what, name, size = found.groups()
            doing = "looking for" if what == "Collecting" else what.lower()
            return f"{doing} {name.rpartition('/')[2]}{f' {size}' if size else ''}"
    return "asking the package index"


def why(installer: str, output: str, target: Target | ThisMachine, file: Path) -> str:
    """Return the reason for which an installer gave up.

    Args:
        installer: ``pip`` or ``uv``.
        output: All that it said.
        target: What runs the packages.
        file: What asks for them.
    """
    said = without_secrets(output)
    folded = re.sub(r"[\s│╰─▶]+", " ", said)
    missing = next((found[1].strip() for pattern in _MISSING if (found := pattern.search(folded))), None)
    if _OFFLINE.search(said):
        return _offline(installer, said, missing, file)
    if _REFUSED.search(said):
        what = "what is asked for" if missing is None else missing
        return (
            f"a package index refuses {installer} {what}, which {file} asks for: give it credentials that may read, in "
            f"{installer}'s own configuration, ~/.netrc or a keyring:\n{_end(said)}"
        )
    if "HASHES" in said or "hash mismatch" in said.lower():
        return f"a package that {file} asks for isn't the one whose hash it has:\n{_end(said)}"
    other = _PYTHON.search(folded)
    if other is not None:
        name, needs = other["name"] or other["uv_name"], other["needs"] or other["uv_needs"]
        return (
            f"{name}, which {file} asks for, needs Python {needs}, and this is for {target}: ask for another version "
            "of it, or give the function another runtime="
        )
    if missing is not None:
        return (
            f"{missing}, which {file} asks for, has no wheel for {target} in the package index, if there is such a "
            f"version: {WAYS_OUT.format(file=file.name)}"
        )
    return f"{installer} can't install what {file} asks for on {target}:\n{_end(said)}"


def why_not_built(installer: str, output: str, path: Path, file: Path) -> str:
    """Return the reason for which a package of the user's own wasn't built.

    Args:
        installer: ``pip`` or ``uv``.
        output: All that it said.
        path: Where the package is.
        file: What asks for it.
    """
    said = without_secrets(output)
    if _OFFLINE.search(said):
        return _offline(installer, said, f"what builds {path}", file)
    return f"{installer} can't build {path}, which {file} asks for:\n{_end(said)}"


def _offline(installer: str, said: str, missing: str | None, file: Path) -> str:
    if missing is None:
        failed = _FAILED.search(said.replace("/ ", " ").replace("/\n", "\n"))
        missing = "packages" if failed is None else failed[1].rstrip("/")
    where = "PIP_NO_INDEX=1 PIP_FIND_LINKS" if installer == "pip" else "UV_OFFLINE=1 UV_FIND_LINKS"
    certificate = "PIP_CERT" if installer == "pip" else "SSL_CERT_FILE"
    untrusted = f"its certificate isn't trusted here (name a file of those that are as {certificate}); "
    return (
        f"{installer} can't reach a package index for {missing}, which {file} asks for: "
        f"{untrusted if 'certificate' in said else ''}synthesize once with a connection, after which the packages are "
        f"in the cache; or give a folder of wheels as {where}=<folder>"
    )


def without_secrets(text: str) -> str:
    """Return a text without the credentials of addresses in it."""
    return re.sub(r"(\w+://)[^/\s]+@", r"\1****@", text)


def _end(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-_LAST_LINES:])
