# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""The group of commands, and how errors end them."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any, Final, NoReturn

import click

from cdk_distributed_map.cli import _exit, _show

_EPILOG: Final = f"""{_exit.epilog()}
\b
PIPELINE is Construct, Stack/Construct, a state machine's name, or an ARN.
RUN is a run's name or ARN, or 'latest'.
"""

# Where each command is: its module is imported when the command is used, or when all are listed.
COMMANDS: Final = {
    "plan": "_plan:plan",
    "run": "_start:run",
    "watch": "_start:watch",
    "results": "_results:results",
    "ledger": "_results:ledger",
    "failures": "_results:failures",
    "report": "_results:report",
    "retry": "_control:retry",
    "combine": "_control:combine",
    "redrive": "_control:redrive",
    "stop": "_control:stop",
    "update": "_control:update",
    "pipelines": "_inspect:pipelines",
    "list": "_inspect:list_",
    "describe": "_inspect:describe",
    "logs": "_logs:logs",
    "open": "_inspect:open_",
    "local": "_local:local",
    "completion": "_completion:completion",
}
_FORMER: Final = {"start": "run"}
"""Names that commands had before, which still work and are shown nowhere."""


class _Commands(click.Group):
    """Commands that are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order people need them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        cmd_name = _FORMER.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"cdk_distributed_map.cli.{module}"), name)
        if cmd_name in _exit.JUDGING or any(option.name == "watching" for option in command.params):
            command.epilog = _exit.epilog()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; of one that there isn't, say which may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from cdk_distributed_map.runs.find.names import closest  # noqa: PLC0415 - only where a name is wrong

            guess = closest(args[0], COMMANDS)
            if guess is None or "id you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {guess!r}?", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has seen enough (``| head``) is no error."""
        try:
            returned = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Nothing must be written when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _exit.SUCCESS
        return returned


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cdk-distributed-map", prog_name="distmap")
def cli() -> None:
    """Run a Distributed Map pipeline, watch it, and account for every item.

    \b
    distmap run Squares --input '{"number": 100000, "chunk": 5}' --watch
    distmap ledger Squares
    distmap retry Squares --watch

    Region, credentials and endpoint come from the environment or a profile, as with every AWS tool.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal can't show is written as an escape, and fails no command.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run_command(arguments))


def run_command(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code, with what went wrong on standard error."""
    from cdk_distributed_map.runs.errors import (  # noqa: PLC0415 - not needed to complete a word
        ResultFilesError,
        RunFailedError,
        RunsError,
    )

    try:
        returned: Any = cli.main(arguments, prog_name="distmap", standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        message = io.StringIO()
        error.show(file=message)
        _show.say(message.getvalue().rstrip("\n"), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _show.say("interrupted", err=True)
        return _exit.INTERRUPTED
    except RunsError as error:
        _show.say("\n".join([f"distmap: {error}", *getattr(error, "__notes__", [])]), err=True)
        codes = {ResultFilesError: _exit.UNACCOUNTED, RunFailedError: _exit.RUN_FAILED}
        return next((code for kind, code in codes.items() if isinstance(error, kind)), _exit.ERROR)
    except OSError as error:
        # A disk that is full, a folder that is write-protected: the message says what and where.
        where = "" if error.filename is None else f"{error.filename}: "
        _show.say(f"distmap: {where}{error.strerror or error}", err=True)
        return _exit.ERROR
    return returned if isinstance(returned, int) else _exit.SUCCESS
