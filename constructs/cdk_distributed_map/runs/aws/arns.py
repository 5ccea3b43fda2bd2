"""The ARNs of Step Functions, as people give them and as the console knows them."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from cdk_distributed_map.arns import StatesArn, split_states
from cdk_distributed_map.runs.errors import InputError

_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def parse(text: str) -> StatesArn:
    """Take an ARN apart.

    Raises:
        InputError: It is no ARN of Step Functions.
    """
    arn = split_states(text)
    if arn is None:
        raise InputError(
            f"{text!r} is no ARN of Step Functions: "
            "arn:aws:states:<region>:<account>:execution:<state machine>:<execution> is one"
        )
    return arn


def console_url(arn: str) -> str:
    """Return where the AWS console shows a state machine, an execution, a child or a Map Run."""
    parsed = parse(arn)
    host = _CONSOLES.get(parsed.partition, _CONSOLES["aws"])
    page = {
        "stateMachine": "statemachines/view",
        "mapRun": "maprun",
        "express": "express-executions/details",
    }.get(parsed.kind, "v2/executions/details")
    return f"https://{parsed.region}.{host}/states/home?region={parsed.region}#/{page}/{quote(arn, safe=':')}"
