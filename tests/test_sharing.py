"""What clients share in the tests stays each client's own where it changes."""

from __future__ import annotations

import boto3
import pytest
from botocore.hooks import EventAliaser, HierarchicalEmitter


def test_a_handler_of_a_client_is_called_for_that_client_alone() -> None:
    session = boto3.Session()
    first, second = (session.client("s3", endpoint_url="http://127.0.0.1:1") for _ in range(2))
    called: list[str] = []
    first.meta.events.register("choose-service.s3.Own", lambda **_: called.append("first"))
    second.meta.events.register("choose-service.s3.Own", lambda **_: called.append("second"))
    first.meta.events.emit("choose-service.s3.Own")
    assert called == ["first"]


def test_handlers_of_a_copy_begin_as_those_of_what_was_copied_and_change_alone() -> None:
    called: list[str] = []

    def one(**_: object) -> None:
        called.append("one")

    def two(**_: object) -> None:
        called.append("two")

    original = EventAliaser(HierarchicalEmitter())
    original.register("a.b.c", one)
    original.register_last("a", two)
    copied = original.__copy__()
    copied.register_first("a.b", two)
    copied.unregister("a", two)
    original.register("a.b.c", two)
    original.unregister("a.b.c", one)
    original.unregister("a.none.c", one)  # what isn't there is no error of botocore's

    copied.emit("a.b.c")
    assert called == ["one", "two"]
    called.clear()
    original.emit("a.b.c")
    assert called == ["two", "two"]


@pytest.mark.parametrize("service", ["s3", "stepfunctions"])
def test_clients_of_several_sessions_are_of_one_model(service: str) -> None:
    clients = [
        boto3.Session(region_name=region).client(service, endpoint_url="http://127.0.0.1:1")
        for region in ("us-east-1", "eu-west-1")
    ]
    assert clients[0].meta.service_model is clients[1].meta.service_model
    assert [client.meta.region_name for client in clients] == ["us-east-1", "eu-west-1"]
