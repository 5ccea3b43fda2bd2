# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""``distmap local``: AWS on this machine."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdk_distributed_map.cli import _exit, _show
from cdk_distributed_map.cli._options import json_option

if TYPE_CHECKING:
    from types import ModuleType


def _control() -> ModuleType:
    """Return the module that does the work; it needs the extra ``local``.

    Raises:
        ClickException: The extra isn't installed.
    """
    try:
        from cdk_distributed_map.local import control  # noqa: PLC0415 - heavy, and an extra of its own
    except ImportError as error:
        message = f"{error.name} isn't installed: run pip install 'cdk-distributed-map[local]'"
        raise click.ClickException(message) from error
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
    """Commands whose errors are told in a line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        _control()
        from cdk_distributed_map.local._assembly import AssemblyError  # noqa: PLC0415 - see _control
        from cdk_distributed_map.local._deploy import DeployError  # noqa: PLC0415
        from cdk_distributed_map.local._embedded import EmbeddedAwsError  # noqa: PLC0415
        from cdk_distributed_map.local.control import LocalError  # noqa: PLC0415

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
    "throttle, inactive, crash, hang, lost_answer, express_duplicate, s3_error.",
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


@local.command()
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
