"""Every way that docs/item.md says an item can take is proved by a test that exists."""

from __future__ import annotations

import pytest

from distmap.wire import OutputLedger
from tests.docs.links import DOCS, functions_of, linked_tests

pytestmark = pytest.mark.checkout

TEXT = (DOCS / "item.md").read_text(encoding="utf-8")
PROOFS = linked_tests(TEXT)
# The header and the line below it aside.
WAYS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| way |")]


@pytest.mark.parametrize(("test", "path"), PROOFS, ids=[test for test, _ in PROOFS])
def test_the_test_of_a_way_exists(test: str, path: str) -> None:
    assert test in functions_of(path)


def test_every_way_has_a_test() -> None:
    assert len(WAYS) > 20
    assert [way for way in WAYS if "](../tests/" not in way] == []


def test_every_number_of_the_ledger_is_explained() -> None:
    outcomes = {"captured", "succeeded", "failed", "unprocessed", "pending", "missing", "duplicates", "recovered"}
    assert outcomes <= OutputLedger.__annotations__.keys()
    assert {outcome for outcome in outcomes if not any(f"`{outcome}`" in way for way in WAYS)} == set()
