# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Completion of commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cdk_distributed_map.cli import _exit


@click.command(short_help="Write the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Write the script that completes commands and options in a shell.

    \b
    eval "$(distmap completion bash)"          in ~/.bashrc
    eval "$(distmap completion zsh)"           in ~/.zshrc
    distmap completion fish > ~/.config/fish/completions/distmap.fish
    """
    from cdk_distributed_map.cli._main import cli  # noqa: PLC0415 - it imports this module on use

    shell_class = get_completion_class(shell)
    assert shell_class is not None  # noqa: S101 - the choices above all have one
    click.echo(shell_class(cli, {}, "distmap", "_DISTMAP_COMPLETE").source())
    return _exit.SUCCESS
