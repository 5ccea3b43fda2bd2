"""A wheelhouse, a cache and a function's folder for each test."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundling.wheelhouse import PrivateIndex, add_wheel
from tests.construct.lab import Lab

OF_THE_MACHINE = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DISTMAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packages"


@pytest.fixture(scope="session")
def known_to_uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of uv: without one, it asks Python what it is each time."""
    return tmp_path_factory.mktemp("uv")


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, known_to_uv: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip and uv take wheels from, with one in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(known_to_uv))
    add_wheel(folder, "plain", scripts={"plain": "plain:main"})
    return folder


@pytest.fixture
def package_index(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package index of this machine, as pip and uv find it without these tests."""
    assert wheels.is_dir()
    for name in ("PIP_CONFIG_FILE", "PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_OFFLINE", "UV_FIND_LINKS", "UV_CACHE_DIR"):
        monkeypatch.delenv(name)
    for name, value in OF_THE_MACHINE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def private_index(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The wheelhouse as an index that asks who wants to know: its address without the credentials."""
    handler = functools.partial(PrivateIndex, directory=str(wheels))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_OFFLINE", "UV_FIND_LINKS"):
            monkeypatch.delenv(name)
        yield f"127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()
        serving.join()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
