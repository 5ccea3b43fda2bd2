"""What an account may use at once: asked of AWS, where that is allowed."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber

from cdk_distributed_map.runs import Client
from cdk_distributed_map.runs.errors import AwsError
from cdk_distributed_map.runs.foresight.quotas import account_quotas

LIMITS = {"AccountLimit": {"ConcurrentExecutions": 3_000}}


def test_quotas_are_those_of_the_account(client: Client) -> None:
    names = {
        "StateTransition throttle token bucket size": 5_000.0,
        "StateTransition throttle token refill rate per second": 1_500.0,
        "StartExecution throttle token refill rate per second": 300.0,
    }
    page = {"Quotas": [{"QuotaName": name, "Value": value} for name, value in names.items()]}
    with Stubber(client.aws.functions()) as functions, Stubber(client.aws.service_quotas()) as quotas:
        functions.add_response("get_account_settings", LIMITS)
        quotas.add_response("list_service_quotas", page, {"ServiceCode": "states"})

        assert account_quotas(client.aws) == {"account_concurrency": 3_000, "transitions": 1_500}


def test_fails_when_quotas_may_not_be_read(client: Client) -> None:
    with Stubber(client.aws.functions()) as functions, Stubber(client.aws.service_quotas()) as quotas:
        functions.add_response("get_account_settings", LIMITS)
        quotas.add_client_error("list_service_quotas", "AccessDeniedException", "not for you")

        with pytest.raises(AwsError, match="asking for the account's quotas of Step Functions"):
            account_quotas(client.aws)
