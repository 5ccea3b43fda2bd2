# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""``distmap local``: AWS on this machine."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _exit, _local_environment, _show
from cdk_distributed_map.cli._options import json_option

if TYPE_CHECKING:
    from types import ModuleType


_ARGUMENTS: Final = "distmap.local.arguments"


def _control() -> ModuleType:
    """Return the module that does the work; it needs the extra ``local``."""
    from cdk_distributed_map.local import control  # noqa: PLC0415 - heavy, and an extra of its own

    return control


def _folder(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--folder", type=click.Path(path_type=Path), default=Path(".distmap"), show_default=True,
        help="Where it is noted what runs.",
    )(command)  # fmt: skip


def _faults(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Return shares by the names of faults."""
    del context, parameter
    shares = {}
    for value in values:
        name, _, share = value.partition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            message = f"a fault is given as NAME=SHARE, as in throttle=0.1, got {value!r}"
            raise click.BadParameter(message) from None
    return shares


def _tell(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


class _Local(click.Group):
    """Commands whose errors are told in a line, and that run where what they need is installed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments for another environment's command."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, in the environment of its own where this one lacks what it needs."""
        arguments: list[str] = ctx.meta[_ARGUMENTS]
        if arguments[:1] == ["install"]:
            return super().invoke(ctx)
        missing = _local_environment.missing()
        if missing and not {"-h", "--help"} & set(arguments):
            interpreter = _local_environment.python()
            if interpreter is None:
                raise click.ClickException(_local_environment.advice(missing))
            return _local_environment.hand_over(interpreter, arguments)
        if missing:
            return super().invoke(ctx)
        from cdk_distributed_map.local.control import LocalError  # noqa: PLC0415
        from cdk_distributed_map.local.embedded.assembly import AssemblyError  # noqa: PLC0415 - see _control
        from cdk_distributed_map.local.embedded.deploy import DeployError  # noqa: PLC0415
        from cdk_distributed_map.local.embedded.process import EmbeddedAwsError  # noqa: PLC0415

        try:
            return super().invoke(ctx)
        except (LocalError, AssemblyError, DeployError, EmbeddedAwsError, OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Local, short_help="AWS on this machine: up, deploy, env, status, down.")
def local() -> None:
    """AWS on this machine: S3 and the rest embedded, state machines by our own engine.

    \b
    distmap local up
    eval "$(distmap local env)"
    distmap local deploy
    distmap run Squares --watch
    distmap local down

    Everything listens on loopback only, and nothing of it can reach real AWS.
    """


@local.command()
@_folder
@click.option("--port", type=int, default=0, help="Port of the endpoint. Default: one that is free.")
@click.option("--region", default="us-east-1", show_default=True, help="Region it is in.")
@click.option(
    "--iam", type=click.Choice(["on", "off"]), default="on", show_default=True,
    help="Whether the roles of state machines and functions are enforced.",
)  # fmt: skip
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Folder to keep its state in, all but executions. Default: in memory.",
)
@click.option(
    "--clock", type=click.Choice(["virtual", "real"]), default="virtual", show_default=True,
    help="Whether waits of state machines pass at once when nothing real is running.",
)  # fmt: skip
@click.option("--dispatch-rates", is_flag=True, help="Let maps start children no faster than AWS does.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=SHARE", callback=_faults,
    help="What is to go wrong, as a share of its occasions between 0 and 1: throttle=0.1. Again for each: "
    "throttle, inactive, crash, hang, lost_answer, express_duplicate, index_by_file, s3_error.",
)  # fmt: skip
@json_option
def up(
    folder: Path, *, port: int, region: str, iam: str, state: Path | None, clock: str, as_json: bool, **given: Any
) -> None:
    """Start it in the background, and print the environment to set."""
    control, began = _control(), time.monotonic()
    running = control.up(
        folder=folder,
        port=port,
        region=region,
        iam=iam == "on",
        state=state,
        virtual_clock=clock == "virtual",
        **given,
    )
    _show.say(f"{running} ({time.monotonic() - began:.1f} s)", err=True)
    if as_json:
        _tell({**running.as_json(), "environment": control.env(folder=folder)})
    else:
        click.echo(control.env_script(folder=folder), nl=False)


@local.command()
@_folder
@json_option
def down(folder: Path, *, as_json: bool) -> None:
    """End it, and everything it started."""
    ended = _control().down(folder=folder)
    if as_json:
        _tell({"ended": ended})
    else:
        _show.say("ended" if ended else "nothing was running", err=True)


@local.command()
@_folder
@json_option
def status(folder: Path, *, as_json: bool) -> int:
    """Say what runs, as JSON in any case."""
    del as_json
    running = _control().status(folder=folder)
    if running is None:
        _show.say("nothing runs", err=True)
        return _exit.ERROR
    _tell(running.as_json())
    return _exit.SUCCESS


@local.command()
@_folder
@click.option("--shell", type=click.Choice(["sh", "fish", "powershell"]), default="sh", show_default=True)
@json_option
def env(folder: Path, shell: str, *, as_json: bool) -> None:
    """Print the environment that makes every AWS tool use it."""
    control = _control()
    if as_json:
        _tell(control.env(folder=folder))
    else:
        click.echo(control.env_script(folder=folder, shell=shell), nl=False)


@local.command(short_help="Deploy what cdk synth wrote.")
@_folder
@click.option(
    "--assembly", type=click.Path(path_type=Path), default=Path("cdk.out"), show_default=True,
    help="Folder that cdk synth wrote.",
)  # fmt: skip
@click.argument("stacks", nargs=-1)
@json_option
def deploy(folder: Path, assembly: Path, stacks: tuple[str, ...], *, as_json: bool) -> None:
    """Deploy what cdk synth wrote, without npm; STACKS are names or patterns, all by default."""
    progress = functools.partial(_show.say, err=as_json)
    outputs = _control().deploy(assembly, *stacks, folder=folder, progress=progress)
    if as_json:
        _tell(outputs)
        return
    for stack, values in outputs.items():
        for name, value in values.items():
            _show.say(f"{stack}.{name} = {value}")


@local.command(short_help="Make an environment of its own for it.")
@click.option("--from", "requirement", metavar="PATH", help="Wheel or folder of this package. Default: the index.")
@json_option
def install(requirement: str | None, *, as_json: bool) -> int:
    """Make an environment of its own for the local AWS, which takes one release of botocore alone.

    For where pip can't install cdk-distributed-map[local] beside the boto3 there is. `distmap local` runs there then.
    """
    code = _local_environment.install(requirement, functools.partial(_show.say, err=True))
    if as_json:
        _tell({"environment": str(_local_environment.folder()), "installed": code == _exit.SUCCESS})
    return code
