"""``python -m cdk_distributed_map.local``: the local AWS from the command line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cdk_distributed_map.local import control
from cdk_distributed_map.local.control import LocalError
from cdk_distributed_map.local.embedded.assembly import AssemblyError
from cdk_distributed_map.local.embedded.deploy import DeployError
from cdk_distributed_map.local.embedded.process import EmbeddedAwsError
from cdk_distributed_map.local.guardian import GuardianError
from cdk_distributed_map.local.server import ACCOUNT, REGION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return int(given.run(given))
    except (LocalError, AssemblyError, DeployError, EmbeddedAwsError, GuardianError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cdk_distributed_map.local", description="AWS on this machine.")
    commands = parser.add_subparsers(required=True, metavar="command")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--folder", type=Path, default=control.FOLDER, help="where it is noted what runs (%(default)s)")
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument("--port", type=int, default=0, help="port of the endpoint (one that is free)")
    settings.add_argument("--region", default=REGION, help="region it is in (%(default)s)")
    settings.add_argument("--account", default=ACCOUNT, help="account it is (%(default)s)")
    settings.add_argument("--iam", choices=("on", "off"), default="on", help="whether IAM is enforced (%(default)s)")
    settings.add_argument("--state", type=Path, help="folder in which its state is kept (in memory)")
    settings.add_argument(
        "--clock", choices=("virtual", "real"), default="virtual", help="whether waits pass at once (%(default)s)"
    )
    settings.add_argument("--dispatch-rates", action="store_true", help="start children no faster than AWS does")
    settings.add_argument(
        "--fault", action="append", default=[], type=_fault, metavar="NAME=SHARE", help="what is to go wrong"
    )

    add = commands.add_parser
    add("up", parents=[shared, settings], help="start it in the background").set_defaults(run=_up)
    add("serve", parents=[shared, settings], help="run it in this process").set_defaults(run=_serve)
    add("down", parents=[shared], help="end it").set_defaults(run=_down)
    add("status", parents=[shared], help="say what runs").set_defaults(run=_status)
    env = add("env", parents=[shared], help="print the environment to set")
    env.add_argument(
        "--shell", choices=("sh", "fish", "powershell"), default="sh", help="for which shell (%(default)s)"
    )
    env.set_defaults(run=_env)
    deploy = add("deploy", parents=[shared], help="deploy what cdk synth wrote")
    deploy.add_argument("--assembly", type=Path, default=Path("cdk.out"), help="folder of the assembly (%(default)s)")
    deploy.add_argument("stacks", nargs="*", help="names or patterns of stacks (all)")
    deploy.set_defaults(run=_deploy)
    return parser


def _fault(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    return name, float(share)


def _up(given: argparse.Namespace) -> int:
    began = time.monotonic()
    running = control.up(
        folder=given.folder,
        port=given.port,
        region=given.region,
        account=given.account,
        iam=given.iam == "on",
        state=given.state,
        virtual_clock=given.clock == "virtual",
        dispatch_rates=given.dispatch_rates,
        faults=dict(given.fault),
    )
    sys.stderr.write(f"{running} ({time.monotonic() - began:.1f} s)\n")
    sys.stdout.write(control.env_script(folder=given.folder))
    return 0


def _serve(given: argparse.Namespace) -> int:
    control.serve(
        folder=given.folder,
        port=given.port,
        region=given.region,
        account=given.account,
        iam=given.iam == "on",
        state=given.state,
        virtual_clock=given.clock == "virtual",
        dispatch_rates=given.dispatch_rates,
        faults=dict(given.fault),
    )
    return 0


def _down(given: argparse.Namespace) -> int:
    ended = control.down(folder=given.folder)
    sys.stderr.write("ended\n" if ended else "nothing was running\n")
    return 0


def _status(given: argparse.Namespace) -> int:
    running = control.status(folder=given.folder)
    if running is None:
        sys.stderr.write("nothing runs\n")
        return 1
    sys.stdout.write(json.dumps(running.as_json(), indent=2) + "\n")
    return 0


def _env(given: argparse.Namespace) -> int:
    sys.stdout.write(control.env_script(folder=given.folder, shell=given.shell))
    return 0


def _deploy(given: argparse.Namespace) -> int:
    outputs = control.deploy(
        given.assembly,
        *given.stacks,
        folder=given.folder,
        progress=lambda line: print(line, flush=True),  # noqa: T201 - progress
    )
    for stack, values in outputs.items():
        for name, value in values.items():
            print(f"{stack}.{name} = {value}")  # noqa: T201 - what was asked for
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
