"""The ARNs of Step Functions, taken apart and put together.

```
arn:<partition>:states:<region>:<account>:stateMachine:<machine>
                                          execution:<machine>:<execution>
                                          mapRun:<machine>/<label>:<uuid>
                                          execution:<machine>/<label>:<uuid>           a Standard child
                                          express:<machine>/<label>:<name>:<uuid>      an Express child
```
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote

from cdk_distributed_map.runs.errors import InputError

_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


class Arn(NamedTuple):
    """An ARN of Step Functions."""

    partition: str
    region: str
    account: str
    kind: str
    """``stateMachine``, ``execution``, ``express`` or ``mapRun``."""
    machine: str
    """Name of the state machine, without a label."""
    label: str
    """Label of the map a Map Run or a child belongs to; empty elsewhere."""
    name: str
    """Name of the execution, of the child or of the Map Run; empty for a state machine."""

    def text(self) -> str:
        """Return the ARN as text."""
        machine = f"{self.machine}/{self.label}" if self.label else self.machine
        name = f":{self.name}" if self.name else ""
        return f"arn:{self.partition}:states:{self.region}:{self.account}:{self.kind}:{machine}{name}"

    def machine_arn(self) -> str:
        """Return the ARN of the state machine."""
        return self._replace(kind="stateMachine", label="", name="").text()

    def execution_arn(self, name: str) -> str:
        """Return the ARN of an execution of the state machine."""
        return self._replace(kind="execution", label="", name=name).text()


def is_arn(text: str) -> bool:
    """Tell whether a name is an ARN."""
    return text.startswith("arn:")


def parse(text: str) -> Arn:
    """Take an ARN apart.

    Raises:
        InputError: It is no ARN of Step Functions.
    """
    parts = text.split(":", 6)
    if len(parts) < 7 or parts[0] != "arn" or parts[2] != "states":
        raise InputError(
            f"{text!r} is no ARN of Step Functions: "
            "arn:aws:states:<region>:<account>:execution:<state machine>:<execution> is one"
        )
    _, partition, _, region, account, kind, rest = parts
    machine, _, name = rest.partition(":")
    machine, _, label = machine.partition("/")
    return Arn(partition, region, account, kind, machine, label, name)


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
