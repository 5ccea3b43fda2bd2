"""Looks at what roles may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from tests.construct.resources.single_permissions import Permissions, single

if TYPE_CHECKING:
    from tests.construct.lab import Lab


@pytest.fixture
def singled() -> Callable[[Iterable[dict[str, Any]]], Permissions]:
    """Splits statements into single permissions."""
    return single


@pytest.fixture
def allowed() -> Callable[[Lab, Any], Permissions]:
    """What a role or user of a lab's stack may do by its policies."""
    return lambda lab, role: single(lab.statements(lab.role_id(role)))
