"""What strangers find."""

from __future__ import annotations

import pytest

from cdk_distributed_map.local.server import LocalAws


@pytest.fixture
def embedded_url(local: LocalAws) -> str:
    """Where the embedded AWS listens, which no client is told."""
    embedded = local._aws  # noqa: SLF001 - found here as a stranger finds it who tries all ports
    assert embedded is not None
    return embedded.url
