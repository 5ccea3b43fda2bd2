"""The protocols that the embedded AWS knows by itself are those of botocore's models."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import get_session
from ministack.core import responses

from cdk_distributed_map.local.embedded.protocols import PROTOCOLS, know_protocols


@pytest.fixture(scope="module")
def session() -> Any:
    return get_session()


@pytest.mark.parametrize("service", PROTOCOLS)
def test_a_protocol_is_what_botocore_says(service: str, session: Any) -> None:
    metadata = session.get_service_model({"states": "stepfunctions"}.get(service, service)).metadata
    protocol, version = PROTOCOLS[service]
    assert metadata["protocol"] == protocol
    assert protocol != "json" or metadata["jsonVersion"] == version


def test_the_rest_of_a_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    load = responses._service_model  # noqa: SLF001 - ministack's
    monkeypatch.setattr(responses, "_service_model", load)
    know_protocols()
    found = responses._service_model  # noqa: SLF001 - as above
    assert found("dynamodb").metadata == {"protocol": "json", "jsonVersion": "1.0"}
    assert "PutItem" in found("dynamodb").operation_names
    assert found("athena") is load("athena")
