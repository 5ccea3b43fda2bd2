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
        help="Folder that holds the state of the running local AWS.",
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
            message = f"a fault is NAME=SHARE, as in throttle=0.1, got {value!r}"
            raise click.BadParameter(message) from None
    return shares


def _write_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


class _Local(click.Group):
    """Commands whose errors are one line, and that run where what they need is installed."""

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
        from cdk_distributed_map.local.embedded.errors import DeployError, EmbeddedAwsError  # noqa: PLC0415

        try:
            return super().invoke(ctx)
        except (LocalError, AssemblyError, DeployError, EmbeddedAwsError, OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Local, short_help="AWS on this machine: up, deploy, env, fire, status, down.")
def local() -> None:
    """AWS on this machine: an engine for state machines, and an embedded AWS for S3 and everything else.

    \b
    distmap local up
    eval "$(distmap local env)"
    distmap local deploy
    distmap run Squares --watch
    distmap local down

    Everything listens on the loopback interface only and cannot reach real AWS.
    """


@local.command()
@_folder
@click.option("--port", type=int, default=0, help="Port of the endpoint. Default: a free one.")
@click.option("--region", default="us-east-1", show_default=True, help="Region of the local AWS.")
@click.option("--account", default="000000000000", show_default=True, help="Account of the local AWS.")
@click.option(
    "--iam", type=click.Choice(["on", "off"]), default="on", show_default=True,
    help="Enforce the policies of roles.",
)  # fmt: skip
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Folder for state that outlives the process, except executions. Default: in memory.",
)
@click.option(
    "--clock", type=click.Choice(["virtual", "real"]), default="virtual", show_default=True,
    help="virtual: waits of state machines take no time while nothing else is running.",
)  # fmt: skip
@click.option("--dispatch-rates", is_flag=True, help="Start children no faster than AWS does.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=SHARE", callback=_faults,
    help="Inject a fault with a probability from 0 to 1, as in throttle=0.1. Can be repeated. Names: "
    "throttle, inactive, crash, hang, lost_answer, express_duplicate, index_by_file, s3_error.",
)  # fmt: skip
@json_option
def up(
    folder: Path, *, port: int, region: str, iam: str, state: Path | None, clock: str, as_json: bool, **options: Any
) -> None:
    """Start the local AWS in the background and print its environment."""
    control, started = _control(), time.monotonic()
    running = control.up(
        folder=folder,
        port=port,
        region=region,
        iam=iam == "on",
        state=state,
        virtual_clock=clock == "virtual",
        **options,
    )
    _show.say(f"{running} ({time.monotonic() - started:.1f} s)", err=True)
    if as_json:
        _write_json({**running.as_json(), "environment": control.env(folder=folder)})
    else:
        click.echo(control.env_script(folder=folder), nl=False)


@local.command()
@_folder
@json_option
def down(folder: Path, *, as_json: bool) -> None:
    """Stop the local AWS and everything it started."""
    ended = _control().down(folder=folder)
    if as_json:
        _write_json({"ended": ended})
    else:
        _show.say("stopped" if ended else "nothing was running", err=True)


@local.command()
@_folder
@json_option
def status(folder: Path, *, as_json: bool) -> int:
    """Show what is running, always as JSON."""
    del as_json
    running = _control().status(folder=folder)
    if running is None:
        _show.say("nothing is running", err=True)
        return _exit.ERROR
    _write_json(running.as_json())
    return _exit.SUCCESS


@local.command()
@_folder
@click.option("--shell", type=click.Choice(["sh", "fish", "powershell"]), default="sh", show_default=True)
@json_option
def env(folder: Path, shell: str, *, as_json: bool) -> None:
    """Print the variables that point AWS tools to the local AWS."""
    control = _control()
    if as_json:
        _write_json(control.env(folder=folder))
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
    """Deploy what cdk synth wrote, without npm. STACKS are names or patterns; default: all."""
    progress = functools.partial(_show.say, err=as_json)
    outputs = _control().deploy(assembly, *stacks, folder=folder, progress=progress)
    if as_json:
        _write_json(outputs)
        return
    for stack, values in outputs.items():
        for name, value in values.items():
            _show.say(f"{stack}.{name} = {value}")


@local.command(short_help="Let a schedule fire now.")
@_folder
@click.argument("schedule")
@json_option
def fire(folder: Path, schedule: str, *, as_json: bool) -> None:
    """Let a schedule of the local AWS fire now, whatever its time.

    SCHEDULE is its name, or a part of it that no other has, such as the construct's id.
    """
    import boto3  # noqa: PLC0415 - heavy

    from cdk_distributed_map.local.embedded import schedules  # noqa: PLC0415 - see _control

    variables = _control().env(folder=folder)
    client = boto3.client(
        "scheduler",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        name = schedules.fire(client, schedule)
    except schedules.ScheduleError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        _write_json({"schedule": name, "withinSeconds": schedules.SECONDS})
    else:
        click.echo(f"{name} fires within {schedules.SECONDS} s")


@local.command(short_help="Install the local AWS into its own environment.")
@click.option(
    "--from", "requirement", metavar="PATH", help="Wheel or folder of this package. Default: the package index."
)
@json_option
def install(requirement: str | None, *, as_json: bool) -> int:
    """Install the local AWS, which needs one exact release of botocore, into an environment of its own.

    Use it where pip can't install cdk-distributed-map[local] beside your boto3. `distmap local` then runs there.
    """
    code = _local_environment.install(requirement, functools.partial(_show.say, err=True))
    if as_json:
        _write_json({"environment": str(_local_environment.folder()), "installed": code == _exit.SUCCESS})
    return code
