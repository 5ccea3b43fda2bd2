"""ARNs, taken apart and put together: those of any service, and those of Step Functions.

```
arn:<partition>:states:<region>:<account>:stateMachine:<machine>
                                          stateMachine:<machine>:<version or alias>
                                          execution:<machine>:<execution>
                                          mapRun:<machine>/<label>:<uuid>
                                          execution:<machine>/<label>:<uuid>           a Standard child
                                          express:<machine>:<name>:<uuid>
                                          express:<machine>/<label>:<name>:<uuid>      an Express child
```

The client and the engine take ARNs apart by the same rules because both ask here. This module knows nobody else.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
"""

from __future__ import annotations

from typing import NamedTuple


class Arn(NamedTuple):
    """An ARN of any service."""

    partition: str
    service: str
    region: str
    """Empty where the service's ARNs have none."""
    account: str
    """Likewise."""
    resource: str
    """What is after the account: ``function:<name>:<qualifier>``, ``role/<path>/<name>``, ``<bucket>/<key>``."""

    def text(self) -> str:
        """Return the ARN as text."""
        return ":".join(("arn", *self))

    def unqualified(self) -> str:
        """Return the ARN of a function or state machine itself, where this one is of a version or alias."""
        return self._replace(resource=":".join(self.resource.split(":")[:2])).text()


class StatesArn(NamedTuple):
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
    """Name of the execution, of the child or of the Map Run, the version or alias; empty for a state machine."""

    def text(self) -> str:
        """Return the ARN as text."""
        machine = f"{self.machine}/{self.label}" if self.label else self.machine
        name = f":{self.name}" if self.name else ""
        return f"arn:{self.partition}:states:{self.region}:{self.account}:{self.kind}:{machine}{name}"

    def machine_arn(self) -> str:
        """Return the ARN of the state machine."""
        return self._replace(kind="stateMachine", label="", name="").text()

    def execution_arn(self, name: str) -> str:
        """Return the ARN of a Standard execution of the state machine."""
        return self._replace(kind="execution", label="", name=name).text()

    def express_arn(self, name: str) -> str:
        """Return the ARN of an Express execution of the state machine."""
        return self._replace(kind="express", label="", name=name).text()


def is_arn(text: str) -> bool:
    """Tell whether a name is meant to be an ARN."""
    return text.startswith("arn:")


def split(text: str) -> Arn | None:
    """Take an ARN apart; None for any other text."""
    parts = text.split(":", 5)
    return Arn(*parts[1:]) if len(parts) == 6 and parts[0] == "arn" else None


def split_states(text: str) -> StatesArn | None:
    """Take an ARN of Step Functions apart; None for any other text."""
    arn = split(text)
    if arn is None or arn.service != "states":
        return None
    kind, colon, rest = arn.resource.partition(":")
    if not colon:
        return None
    machine, _, name = rest.partition(":")
    machine, _, label = machine.partition("/")
    return StatesArn(arn.partition, arn.region, arn.account, kind, machine, label, name)


def parse(text: str) -> Arn:
    """Take an ARN apart.

    Raises:
        ValueError: It is none.
    """
    arn = split(text)
    if arn is None:
        raise ValueError(f"an ARN must be arn:<partition>:<service>:<region>:<account>:<resource>, got {text!r}")
    return arn
