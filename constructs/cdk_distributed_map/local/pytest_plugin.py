"""Fixtures that run a cloud assembly in tests. Turn them on with ``pytest_plugins`` in the root conftest.py.

Example::

    pytest_plugins = ["cdk_distributed_map.local.pytest_plugin"]

    def test_squares(local_aws):
        local_aws.deploy("cdk.out", "Ranges")
        run = local_aws.run("Ranges", {"number": 100, "chunk": 5}).check()
        assert run.output["combined"]["total"] == 328350
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import boto3
import pytest

from cdk_distributed_map.local.cloud import CloudAws
from cdk_distributed_map.local.deployed import DeployedAws
from cdk_distributed_map.local.embedded.environment import misleading_variables
from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.server import LocalAws


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that takes tests of ``any_aws`` to an account."""
    words = "run the tests that use any_aws on the account that the environment (AWS_PROFILE ...) leads to"
    parser.getgroup("distmap").addoption("--on-aws", action="store_true", help=words)


@pytest.fixture(scope="session")
def local_aws_session() -> Iterator[LocalAws]:
    """AWS on this machine, the same for all tests of the session: what one deploys, the next one finds."""
    with LocalAws() as aws:
        yield aws


@pytest.fixture
def local_aws(local_aws_session: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """AWS on this machine, with its environment set, so that ``boto3.client("s3")`` in a test reaches it too.

    Faults that the test turned on are off again afterwards, and outcomes that it scripted are over. One that no call
    met fails it.
    """
    for name, value in local_aws_session.environment().items():
        monkeypatch.setenv(name, value)
    for name in misleading_variables(os.environ):
        monkeypatch.delenv(name, raising=False)
    # What ``boto3.client`` has asked before keeps the credentials that it found then.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    local_aws_session.invocations = []
    yield local_aws_session
    local_aws_session.invocations = None
    reset(local_aws_session)


@pytest.fixture
def any_aws(request: pytest.FixtureRequest) -> DeployedAws:
    """AWS on this machine or, with the option ``--on-aws``, the account that the environment leads to.

    What a test deploys there stays there.
    """
    if request.config.getoption("--on-aws", default=False):
        return CloudAws()
    found: LocalAws = request.getfixturevalue("local_aws")
    return found


def reset(aws: LocalAws) -> None:
    """Turn faults off, and end what is scripted.

    Raises:
        AssertionError: No call met an outcome that was scripted.
    """
    for name, value in vars(Faults()).items():
        if not name.startswith("_") and name != "seed":
            setattr(aws.faults, name, value)
    try:
        aws.outcomes.check()
    finally:
        aws.outcomes.clear()
