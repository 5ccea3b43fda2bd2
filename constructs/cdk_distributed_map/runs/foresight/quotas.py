"""What an account may use at once, as AWS tells it."""

from __future__ import annotations

import re
from typing import Final

from cdk_distributed_map.runs.aws.sessions import Aws, errors

_TRANSITIONS: Final = re.compile(r"(?=.*StateTransition)(?=.*refill)", re.IGNORECASE)
"""How Service Quotas calls the state transitions that an account's Standard executions make in a second."""


def account_quotas(aws: Aws) -> dict[str, float]:
    """Return quotas of an account, by the names that a plan has for them.

    Raises:
        AwsError: AWS refused a call: it takes ``lambda:GetAccountSettings`` and ``servicequotas:ListServiceQuotas``.
    """
    with errors("asking for the account's Lambda concurrency"):
        limit = aws.functions().get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    found: dict[str, float] = {"account_concurrency": limit}
    with errors("asking for the account's quotas of Step Functions"):
        for page in aws.service_quotas().get_paginator("list_service_quotas").paginate(ServiceCode="states"):
            for quota in page["Quotas"]:
                if _TRANSITIONS.match(quota["QuotaName"]):
                    found["transitions"] = quota["Value"]
    return found
