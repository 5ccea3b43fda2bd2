"""A release: a version, a changelog, a commit and a signed tag."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- It.\n\n## [0.1.0] - 2026-01-01\n"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distmap_release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of its own, whose tags are signed by a key of its own."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("nothing makes a key to sign with")
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0.1.0"\n', encoding="utf-8")
    run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key"))
    run(folder, "git", "init", "--quiet")
    (tmp_path / "signers").write_text(f"me@example.com {(tmp_path / 'key.pub').read_text()}", encoding="utf-8")
    settings = {"user.name": "Me", "user.email": "me@example.com", "gpg.format": "ssh"}
    settings |= {"user.signingkey": str(tmp_path / "key"), "gpg.ssh.allowedSignersFile": str(tmp_path / "signers")}
    for name, value in settings.items():
        run(folder, "git", "config", name, value)
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "Begin")
    return folder


def test_a_release_has_a_version_a_changelog_and_a_signed_tag(release: ModuleType, checkout: Path) -> None:
    release.prepare(checkout, "0.2.0", "2026-02-03")
    assert 'version = "0.2.0"' in (checkout / "pyproject.toml").read_text(encoding="utf-8")
    written = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]\n\n## [0.2.0] - 2026-02-03\n\n### Added\n\n- It.\n" in written
    assert run(checkout, "git", "log", "-1", "--format=%s") == "Release 0.2.0\n"
    run(checkout, "git", "verify-tag", "v0.2.0")
    assert run(checkout, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize("version", ["0.1.0", "0.0.9", "0.2", "next"])
def test_fails_when_the_version_is_not_a_later_one(release: ModuleType, checkout: Path, version: str) -> None:
    with pytest.raises(SystemExit, match=r"later than 0\.1\.0"):
        release.prepare(checkout, version, "2026-02-03")


def test_fails_when_something_is_not_committed(release: ModuleType, checkout: Path) -> None:
    (checkout / "new.txt").write_text("x", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"new\.txt"):
        release.prepare(checkout, "0.2.0", "2026-02-03")


def test_fails_when_nothing_is_unreleased(release: ModuleType) -> None:
    with pytest.raises(SystemExit, match="nothing under"):
        release.released("# Changelog\n\n## [Unreleased]\n\n## [0.1.0]\n", "0.2.0", "2026-02-03")
