"""A folder of small wheels that tests make themselves, so that nothing is fetched from a network."""

from __future__ import annotations

import base64
import hashlib
import http.server
import urllib.parse
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

AARCH64, X86_64 = 183, 62


def elf(machine: int) -> bytes:
    """Return the beginning of a compiled module, as far as it says for which machine."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little") + bytes(44)


def add_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    files: Mapping[str, bytes] | None = None,
    requires: Sequence[str] = (),
    scripts: Mapping[str, str] | None = None,
    extras: Sequence[str] = (),
    python: str | None = None,
) -> str:
    """Write a wheel and return its sha256."""
    info = f"{name}-{version}.dist-info"
    content = {f"{name}/__init__.py": f"VERSION = {version!r}\n".encode(), **(files or {})}
    needed = "".join(f"Provides-Extra: {each}\n" for each in extras)
    needed += "" if python is None else f"Requires-Python: {python}\n"
    needed += "".join(f"Requires-Dist: {each}\n" for each in requires)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}".encode()
    pure = str(tag.endswith("none-any")).lower()
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: {pure}\nTag: {tag}\n".encode()
    if scripts:
        lines = "".join(f"{key} = {value}\n" for key, value in scripts.items())
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
    record = "".join(f"{key},sha256={_digest(value)},{len(value)}\n" for key, value in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    file = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for key, value in content.items():
            wheel.writestr(key, value)
    return hashlib.sha256(file.read_bytes()).hexdigest()


SECRET = "s3kr1t"
USER, PASSWORD = "somebody", f"{SECRET}%25"
"""As in an address; the password has an escaped character."""


class PrivateIndex(http.server.SimpleHTTPRequestHandler):
    """A folder of wheels as a package index, for one user: https://peps.python.org/pep-0503/."""

    def do_GET(self) -> None:
        given = f"{USER}:{urllib.parse.unquote(PASSWORD)}".encode()
        if self.headers.get("Authorization") != f"Basic {base64.b64encode(given).decode()}":
            self._answer(401, b"")
            return
        path = urllib.parse.unquote(self.path)
        if not path.startswith("/simple/"):
            self._answer(200, (Path(self.directory) / path[1:]).read_bytes())
            return
        project = path.split("/")[2]
        wheels = sorted(Path(self.directory).glob(f"{project}-*.whl"))
        links = "".join(f'<a href="/{wheel.name}">{wheel.name}</a>' for wheel in wheels)
        self._answer(200 if wheels else 404, links.encode())

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.send_header("Content-Type", "application/octet-stream" if body[:2] == b"PK" else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
