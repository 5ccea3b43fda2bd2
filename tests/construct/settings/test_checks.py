"""What is told apart without a question to Node is told apart as Node would."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_distributed_map.settings import checks

TOKENS: dict[str, Any] = {
    "text": cdk.Aws.REGION,
    "text-with-more-around": f"a-{cdk.Aws.ACCOUNT_ID}-z",
    "number": cdk.Token.as_number({"Ref": "Number"}),
    "list": cdk.Token.as_list({"Ref": "List"}),
    "object": cdk.Fn.condition_not(cdk.Fn.condition_equals("a", "b")),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_is_one(token: Any) -> None:
    assert checks.is_token(token)
    assert cdk.Token.is_unresolved(token)


@given(st.text() | st.integers(-(2**53), 2**53) | st.floats(-1e300, 1e300) | st.booleans() | st.lists(st.text()))
def test_nothing_else_is_one(value: Any) -> None:
    assert checks.is_token(value) == cdk.Token.is_unresolved(value)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf"), "${Token", "$.number"], ids=str)
def test_what_node_is_not_to_be_asked_is_none(value: Any) -> None:
    assert not checks.is_token(value)
