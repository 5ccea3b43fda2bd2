"""``python -m cdk_distributed_map.local``: the process that ``distmap local up`` starts."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence

from cdk_distributed_map.local import control
from cdk_distributed_map.local.control import LocalError
from cdk_distributed_map.local.embedded.errors import EmbeddedAwsError
from cdk_distributed_map.local.guardian import GuardianError


def main(arguments: Sequence[str]) -> int:
    """Run the local AWS until it is told to end; return the exit status of the process.

    Args:
        arguments: One: the arguments of :func:`control.serve` as JSON.
    """
    if len(arguments) != 1:
        sys.stderr.write("this is what the local AWS runs in: start it with 'distmap local up'\n")
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        control.serve(**json.loads(arguments[0]))
    except (LocalError, EmbeddedAwsError, GuardianError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
