"""The client and the local AWS find the same pipeline by the same name, whatever its state machine is called."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map import names
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import AmbiguousNameError, Client, NotFoundError
from tests.deployments import Deploy


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    import aws_cdk as cdk
    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_stepfunctions as sfn

    from cdk_distributed_map import DistributedMapPipeline, ItemSource, Worker

    folder = tmp_path_factory.mktemp("finding")
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    key = kms.Key(stack, "Key")
    options: dict[str, dict[str, Any]] = {
        "Plain": {},
        "Named-one": {"state_machine_name": "orders"},
        "Keyed": {"encryption_key": key},
        "Labelled": {"state_machine_name": "other", "label": "mine"},
    }
    for name, given in options.items():
        DistributedMapPipeline(
            stack,
            name,
            items=ItemSource.state_array("$.items"),
            worker=Worker.states(lambda scope: sfn.Pass(scope, "Pass")),
            max_concurrency=1,
            **given,
        )
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    return shared_aws


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("Plain", "PlainStateMachine"),
        ("Stack/Plain", "PlainStateMachine"),
        ("Named-one", "orders"),
        ("Stack/Named-one", "orders"),
        ("orders", "orders"),
        ("Keyed", "Keyed"),
        ("Stack/Keyed", "Keyed"),
        ("Stack/Labelled", "other"),
        ("mine", "other"),
    ],
)
def test_client_and_local_aws_find_the_same(name: str, machine: str, engine: LocalAws) -> None:
    pipeline = Client(endpoint_url=engine.endpoint_url).pipeline(name)
    assert machine in pipeline.name
    assert engine.state_machine(name) == pipeline.arn


def test_runs_of_a_pipeline_with_a_name_of_its_own_are_found_by_construct(engine: LocalAws) -> None:
    engine.run("Keyed", {"items": [1, 2]}, name="first").check()
    run = Client(endpoint_url=engine.endpoint_url).run("Keyed")
    assert (run.name, run.ledger().succeeded) == ("first", 2)


@pytest.mark.parametrize("name", ["None", "Stack/None", "Stack"])
def test_fails_when_neither_finds_a_pipeline(name: str, engine: LocalAws) -> None:
    with pytest.raises((NotFoundError, AmbiguousNameError)):
        Client(endpoint_url=engine.endpoint_url).pipeline(name)
    with pytest.raises(LookupError):
        engine.state_machine(name)


@pytest.mark.parametrize("text", ["", "[]", '{"States": 1}', '{"States": {"a": 1}}', '{"States": {"a": {}}}'])
def test_definition_of_anything_has_no_pipeline(text: str) -> None:
    assert not names.is_of("Squares", text)
