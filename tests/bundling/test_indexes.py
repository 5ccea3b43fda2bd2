"""Where packages come from is said as ever to pip and uv, and who says it keeps the secrets in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cdk_distributed_map import Bundling
from tests.bundling.assets import QUICK, bundle, code, fails
from tests.bundling.wheelhouse import PASSWORD, SECRET, USER, add_wheel
from tests.construct.lab import Lab

INDEXES = {"pip": "PIP_INDEX_URL", "uv": "UV_DEFAULT_INDEX"}


def assert_no_secret(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("how", ["pip, environment", "uv, environment", "pip, requirements", "uv, requirements"])
def test_a_private_index_has_its_packages(
    lab: Lab, private_index: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    installer, said = how.split(", ")
    address = f"http://{USER}:{PASSWORD}@{private_index}"
    text = "plain\n"
    if said == "environment":
        monkeypatch.setenv(INDEXES[installer], address)
    else:
        text = f"--index-url {address}\nplain\n"
    folder = bundle(lab, text, bundling=Bundling.wheels(installer=installer))

    assert (folder / "plain" / "__init__.py").is_file()
    assert_no_secret(Path(lab.app.synth().directory))
    assert_no_secret(Path(os.environ["DISTMAP_CACHE"]))
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_fails_when_a_private_index_refuses(
    lab: Lab, private_index: str, monkeypatch: pytest.MonkeyPatch, installer: str
) -> None:
    monkeypatch.setenv(INDEXES[installer], f"http://{USER}:{SECRET}@wrong@{private_index}")
    message = fails(lab, "plain==1.0", bundling=Bundling.wheels(installer=installer))

    assert f"a package index refuses {installer} plain" in message
    assert "give it credentials that may read, in" in message
    assert SECRET not in message
    assert "wrong" not in message


@pytest.mark.parametrize("kind", ["poetry.lock", "Pipfile.lock", "Pipfile"])
def test_indexes_of_a_lock_are_asked_too(
    lab: Lab, wheels: Path, private_index: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    digest = add_wheel(wheels, "own")
    text = {
        "poetry.lock": (
            f'[[package]]\nname = "own"\nversion = "1.0"\ngroups = ["main"]\nfiles = [{{hash = "sha256:{digest}"}}]\n'
            f'source = {{type = "legacy", url = "http://{private_index}", reference = "own"}}\n'
            '[metadata]\nlock-version = "2.1"\n'
        ),
        "Pipfile.lock": json.dumps(
            {
                "_meta": {
                    "sources": [
                        {"name": "pypi", "url": "http://127.0.0.1:1/never"},
                        {"name": "own", "url": f"http://{private_index}"},
                    ]
                },
                "default": {"own": {"version": "==1.0", "hashes": [f"sha256:{digest}"], "index": "own"}},
            }
        ),
        "Pipfile": f'[[source]]\nname = "own"\nurl = "http://{private_index}"\n[packages]\nown = "==1.0"\n',
    }[kind]
    (lab.code / kind).write_text(text)
    netrc = lab.code.with_name("netrc")
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD.replace('%25', '%')}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("UV_DEFAULT_INDEX", (wheels / "no-index").as_uri())
    (wheels / "no-index").mkdir()

    assert (code(lab, bundling=QUICK) / "own" / "__init__.py").is_file()
