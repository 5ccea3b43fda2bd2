"""Options and arguments that commands share."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cdk_distributed_map import runs  # whose client is imported on use: a --help needs none
from cdk_distributed_map.cli import _show
from cdk_distributed_map.runs.text import visible

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Run


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json``: ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(command)


def aws_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--profile``, ``--region``, ``--endpoint-url`` and ``--json``: ``client`` and ``as_json``."""

    @click.option("--profile", metavar="NAME", help="Profile of the AWS configuration.")
    @click.option("--region", metavar="REGION", help="AWS Region.")
    @click.option("--endpoint-url", metavar="URL", help="One endpoint for all services, such as that of a local AWS.")
    @json_option
    @functools.wraps(command)
    def with_client(*, profile: str | None, region: str | None, endpoint_url: str | None, **options: Any) -> Any:
        client = runs.Client(profile=profile, region=region, endpoint_url=endpoint_url)
        client.aws.notice = _say
        try:
            return command(client=client, **options)
        finally:
            client.aws.close()

    return with_client


def _say(text: str) -> None:
    _show.say(text, err=True)


def run_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments ``PIPELINE [RUN]``; it gets ``target`` and ``name``."""
    for argument in (
        click.argument("name", metavar="[RUN]", required=False),
        click.argument("target", metavar="PIPELINE|RUN"),
    ):
        command = argument(command)
    return command


def find_run(client: Client, target: str, name: str | None) -> Run:
    """Return the run that the arguments name."""
    return client.run(target, name)


def command(verb: str, run: Run) -> str:
    """Return a command line for a run, with its connection options and the name that the user gave its pipeline."""
    aws = run.aws
    arguments = ["distmap", verb, run.pipeline.called, run.name]
    for option, value in (
        ("--profile", aws.profile),
        ("--region", aws.region),
        ("--endpoint-url", aws.endpoint_url),
    ):
        arguments += [] if value is None else [option, value]
    return shlex.join(arguments)


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before something that can't be undone, unless the user has confirmed it already.

    Raises:
        click.UsageError: There is nobody to ask.
        click.ClickException: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to confirm at: pass --yes")
    if not click.confirm(visible(question), err=True):
        raise click.ClickException("nothing was done")
