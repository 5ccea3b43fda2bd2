"""The catalogue of errors: none is missing, and each is told with the address of its entry."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Annotations, Match

import distmap
from cdk_distributed_map import runs
from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.local import errors as engine_errors
from cdk_distributed_map.settings import synthesis_warnings
from distmap import limits, pages
from tests.docs.site import DOCS, ROOT, load

pytestmark = pytest.mark.checkout

TEXT = (DOCS / "errors.md").read_text(encoding="utf-8")
ANCHORS = set(re.findall(r'^<a id="([^"]+)">', TEXT, re.MULTILINE))


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    return load("error_catalogue")


def test_the_page_is_as_the_code_is(catalogue: ModuleType) -> None:
    assert catalogue.problems() == []
    assert catalogue.render() == TEXT, "run make docs"


def test_errors_of_aws_that_this_package_knows_are_there(catalogue: ModuleType) -> None:
    known = {name for name in limits.NO_FAULT_ERRORS if "." in name}
    known |= {each for each in vars(engine_errors).values() if isinstance(each, str) and each.startswith("States.")}
    assert len(known) > 30
    assert catalogue.untold_errors(known - {engine_errors.ALL}) == set()


def test_fails_when_an_id_has_no_words(catalogue: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    told = catalogue.catalogue()
    lacking = {**told, "warnings": {**told["warnings"]}, "runs": {**told["runs"], "Gone": ["", "", ""]}}
    del lacking["warnings"]["NoAccount"]
    monkeypatch.setattr(catalogue, "catalogue", lambda: lacking)
    assert catalogue.problems() == [
        "warnings: NoAccount isn't in error_catalogue.toml",
        "runs: Gone isn't in the code",
    ]


@pytest.mark.parametrize(
    "error",
    [runs.NotFoundError("x"), runs.AwsError("x", code="Denied"), distmap.NotJsonError("x"), BundlingError("x")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_tells_its_address(error: BaseException) -> None:
    assert error.__notes__ == [f"see docs/errors.md#{type(error).__name__}"]
    assert type(error).__name__ in ANCHORS


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("Distmap.ToleranceExceeded", "docs/errors.md#ToleranceExceeded"),
        ("States.ItemReaderFailed", "docs/errors.md#States.ItemReaderFailed"),
        ("MyError", None),
        (None, None),
    ],
    ids=str,
)
def test_the_error_of_a_run_has_an_address(name: str | None, page: str | None) -> None:
    assert pages.address_of_run_error(name) == page
    assert page is None or page.partition("#")[2] in ANCHORS


def test_a_warning_tells_its_address() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    synthesis_warnings.warn(stack, synthesis_warnings.LARGE_RESERVATION, "the worker reserves much")
    message: Any = Match.string_like_regexp(r"reserves much \(docs/errors\.md#LargeReservation\)")
    assert Annotations.from_stack(stack).find_warning("/Stack", message)


def test_the_address_is_that_of_the_page() -> None:
    assert (ROOT / pages.ERRORS).is_file()
