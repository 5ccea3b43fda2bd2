"""What the tests of the engine share: an engine in front of an embedded AWS, and a whole local AWS for assemblies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cdk_distributed_map.local import Endpoint, Engine
from cdk_distributed_map.local.iam.roles import RolePolicies
from cdk_distributed_map.local.server import LocalAws
from tests.local.assemblies import Writer
from tests.local.bench import Bench, InProcessLambda
from tests.local.roles import ACCOUNT, Roles


@pytest.fixture(scope="session")
def aws_url(aws_endpoint: str) -> str:
    """Address of the embedded AWS."""
    return aws_endpoint


@pytest.fixture(scope="session")
def client(aws_url: str) -> Callable[..., Any]:
    """Make clients of the embedded AWS, or of another endpoint."""

    def make(service: str, url: str | None = None) -> Any:
        return boto3.client(
            service,
            endpoint_url=url or aws_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}, inject_host_prefix=False, retries={"max_attempts": 1}),
        )

    return make


@pytest.fixture(scope="session")
def bench(aws_url: str, client: Callable[..., Any]) -> Iterator[Bench]:
    """An engine behind an endpoint."""
    functions = InProcessLambda(client("lambda"))
    with Engine(endpoint_url=aws_url, invoker=functions) as engine, Endpoint(engine, upstream_url=aws_url) as endpoint:
        yield Bench(
            sfn=client("stepfunctions", endpoint.url),
            s3=client("s3"),
            functions=functions,
            engine=engine,
            url=endpoint.url,
        )


@pytest.fixture
def assembly(tmp_path: Path) -> Writer:
    """Writes an assembly."""
    return Writer(tmp_path / "cdk.out")


@pytest.fixture
def physical(local: LocalAws) -> Callable[[str, str], str]:
    """Looks up physical names."""

    def look_up(stack: str, logical: str) -> str:
        client = local.client("cloudformation")
        resources = client.describe_stack_resources(StackName=stack)["StackResources"]
        return next(str(r["PhysicalResourceId"]) for r in resources if r["LogicalResourceId"] == logical)

    return look_up


@pytest.fixture(scope="session")
def local(shared_aws: LocalAws) -> LocalAws:
    """A local AWS."""
    return shared_aws


@pytest.fixture
def roles(local: LocalAws) -> Roles:
    """Roles of the local AWS."""
    return Roles(local=local, policies=RolePolicies(local.client, region="us-east-1", account=ACCOUNT))
