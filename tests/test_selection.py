"""No test is forgotten: CI runs each on the sources, and it is said of each whether it runs on wheel and oldest CDK."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))
SELECTION = tomllib.loads((TESTS / "selection.toml").read_text(encoding="utf-8"))
ENVIRONMENTS = ["wheel", "oldest_cdk"]


def marks_of(target: str) -> str | None:
    """Return which marks a target of the Makefile chooses by; None where it runs everything."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    chosen = re.search(r' -m "([^"]+)"', found[1])
    return None if chosen is None else chosen[1]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_it_is_said_of_every_file_whether_it_runs_there(environment: str) -> None:
    lists = SELECTION[environment]
    undecided = [file for file in FILES if not file.startswith((*lists["runs"], *lists["same"]))]
    assert undecided == [], f"put them into selection.toml, [{environment}]"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("of", ["runs", "same"])
def test_every_entry_names_files_that_are_there(environment: str, of: str) -> None:
    assert [entry for entry in SELECTION[environment][of] if not any(file.startswith(entry) for file in FILES)] == []
    twice = set(SELECTION[environment]["runs"]) & set(SELECTION[environment]["same"])
    assert twice == set()


def test_the_longest_files_are_there() -> None:
    longest = SELECTION["longest_first"]
    assert [file for file in longest if file not in FILES] == []
    assert len(set(longest)) == len(longest)


def test_marks_are_those_of_the_selection(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        for environment in ENVIRONMENTS:
            chosen = item.path.relative_to(TESTS).as_posix().startswith(tuple(SELECTION[environment]["runs"]))
            assert chosen == (item.get_closest_marker(environment) is not None), item.nodeid


@pytest.mark.checkout
def test_ci_runs_all_tests_on_the_sources_and_what_can_differ_elsewhere() -> None:
    steps = re.findall(r"^step make (\S+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert steps == ["setup", "lint", "test-all", "test-wheel", "test-min"]
    assert marks_of("test-all") is None
    assert marks_of("test") == "not slow"
    assert marks_of("test-min") == "oldest_cdk and not newer_cdk"
    assert '"wheel and not checkout"' in (ROOT / ".ci" / "test_wheel.py").read_text(encoding="utf-8")


@pytest.mark.checkout
def test_every_run_of_tests_prints_the_ten_slowest() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (options,) = re.findall(r"^PYTEST := (.*)$", makefile, re.MULTILINE)
    assert "--durations=10 " in options
    for target in ("test", "test-all", "test-min", "test-wheel"):
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        assert recipe is not None
        assert " $(PYTEST) " in recipe[1], target
