"""``make demo``: two pipelines of the example app, from synthesis to ledger, on this machine alone.

It runs the commands that a user would run, and shows them: the real CDK CLI synthesizes and deploys, the command
``distmap`` starts, watches and accounts. Only the account is a local one. At the end the totals are checked against a
plain loop on disk, and what was counted is priced as AWS would.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.plan import Cost, invocations, standard_children
from cdk_distributed_map.runs import Client, Run

ROOT = Path(__file__).resolve().parent.parent
STACKS = ("SourceCode", "Ranges")
NUMBER, CHUNK = 100_000, 5
ITEMS_FAILED = 4  # exit code of distmap: some items failed, within the tolerance

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; return 0 where every total is right."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="distmap-demo-") as name, LocalAws() as aws:
        aws.invocations = []
        environment = aws.environment(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        say = Stage(Path(name), environment)
        say.title("Synthesize and deploy, with the CDK CLI, to AWS on this machine")
        say.run("cdk", "synth", "--quiet", "--output", str(say.folder / "cdk.out"), *STACKS, cwd=ROOT, hide=True)
        say.run("cdk", "bootstrap", "aws://000000000000/us-east-1", hide=True)
        app = str(say.folder / "cdk.out")
        say.run("cdk", "deploy", "--app", app, "--require-approval", "never", *STACKS, hide=True)
        client = Client(endpoint_url=aws.endpoint_url, region="us-east-1")

        say.title("Main act: Python's own standard library, one item for each of its files")
        files = standard_library()
        upload(aws, output_of(aws, "SourceCode", "DataBucket"), files)
        say.run("distmap", "run", "SourceCode", "--watch", accept=(0, ITEMS_FAILED))
        say.run("distmap", "ledger", "SourceCode", accept=(0, ITEMS_FAILED))
        run = client.run("SourceCode")
        right = check_totals(run, files)
        cost = cost_of(aws, run)

        say.title(f"Ranges: {NUMBER:,} numbers by {CHUNK}, {NUMBER // CHUNK:,} items")
        say.run("distmap", "run", "Ranges", "--input", json.dumps({"number": NUMBER, "chunk": CHUNK}), "--watch")
        say.run("distmap", "ledger", "Ranges")
        run = client.run("Ranges")
        right &= check("sum of squares", combined(run)["sum"], sum(n * n for n in range(NUMBER)))
        cost += cost_of(aws, run)

        say.title("What this would have cost on AWS (us-east-1, without free tier)")
        console.print(
            f"Step Functions ${cost.step_functions:.4f}, Lambda ${cost.functions:.4f}, together ${cost.total:.4f}"
        )
        console.print(f"[dim]{time.monotonic() - started:.0f} s in all[/]")
    return 0 if right else 1


class Stage:
    """Shows commands and runs them in the local account."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = {**environment, "NO_COLOR": "1"} if not console.is_terminal else dict(environment)

    def title(self, text: str) -> None:
        """Begin a part."""
        console.print()
        if console.is_terminal:
            console.rule(f"[bold]{text}", align="left")
        else:
            console.print(f"== {text}")

    def run(self, *command: str, cwd: Path | None = None, hide: bool = False, accept: tuple[int, ...] = (0,)) -> None:
        """Show a command and run it; what it prints is shown, or (``hide``) only where it fails.

        Raises:
            SystemExit: It failed.
        """
        shown = shlex.join(part.removeprefix(f"{self.folder}/") for part in command)
        console.print(f"[bold cyan]$ {shown}[/]" if console.is_terminal else f"$ {shown}")
        program = shutil.which(command[0], path=self._environment["PATH"])
        if program is None:
            raise SystemExit(f"{command[0]} isn't installed here: run make setup")
        output = subprocess.PIPE if hide else None
        started = time.monotonic()
        with console.status(f"{command[0]} at work") if hide else nullcontext():
            done = subprocess.run(
                [program, *command[1:]],
                cwd=self.folder if cwd is None else cwd,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT if hide else None,
                text=True,
                check=False,
            )
        if done.returncode not in accept:
            raise SystemExit(f"{done.stdout or ''}\n{shown} failed with code {done.returncode}")
        if hide:
            console.print(f"  done in {time.monotonic() - started:.0f} s")


def standard_library() -> dict[str, Path]:
    """Return the files of Python's standard library by key, without installed packages."""
    root = Path(sysconfig.get_path("stdlib"))
    found = (path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts)
    return {f"source/{path.relative_to(root).as_posix()}": path for path in found if path.is_file()}


def upload(aws: LocalAws, bucket: str, files: Mapping[str, Path]) -> None:
    """Put the files into the bucket, eight at a time."""
    s3 = aws.client("s3")

    def put(entry: tuple[str, Path]) -> None:
        key, path = entry
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    columns = [TextColumn("uploading"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn()]
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(8) as pool,
    ):
        task = progress.add_task("", total=len(files))
        for _ in pool.map(put, files.items()):
            progress.advance(task)
    console.print(f"{len(files):,} files uploaded")


def output_of(aws: LocalAws, stack: str, name: str) -> str:
    """Return an output of a deployed stack."""
    (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    value: str = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}[name]
    return value


def combined(run: Run) -> dict[str, Any]:
    """Return what the combine function of a run answered."""
    output = run.describe().output
    if not isinstance(output, dict):
        raise SystemExit(f"run {run.name} has no output: {output!r}")
    answer: dict[str, Any] = output["combined"]
    return answer


def check_totals(run: Run, files: Mapping[str, Path]) -> bool:
    """Compare the run's totals with those of a plain loop over the same files."""
    analyse = analyser()
    totals: dict[str, Any] = {"files": 0, "lines": 0, "functions": 0, "classes": 0}
    failed: dict[str, int] = {}
    for path in files.values():
        if path.stat().st_size == 0:
            continue  # capture skips empty objects
        try:
            facts = analyse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            failed[type(error).__name__] = failed.get(type(error).__name__, 0) + 1
            continue
        totals["files"] += 1
        for name, value in facts.items():
            totals[name] += value
    answer = combined(run)
    right = [check(name, answer[name], value) for name, value in totals.items()]
    return all([*right, check("files that aren't Python", answer["failed"], failed)])


def analyser() -> Callable[[bytes], dict[str, int]]:
    """Return the function that the worker uses, for the loop to use it too."""
    folder = ROOT / "lambdas" / "source_code"
    sys.path.insert(0, str(folder))
    try:
        import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - the worker's own module
    finally:
        sys.path.remove(str(folder))
    analyse: Callable[[bytes], dict[str, int]] = handler.analyse
    return analyse


def check(what: str, got: Any, expected: Any) -> bool:
    """Show a value beside what a plain loop gives."""
    number = f"{got:,}" if isinstance(got, int) else json.dumps(got, sort_keys=True)
    right = bool(got == expected)
    verdict = "as a plain loop gives" if right else f"but a plain loop gives {expected}"
    console.print(f"  {what + ':':26}{number}, {verdict}")
    return right


def cost_of(aws: LocalAws, run: Run) -> Cost:
    """Return what a run would have cost on AWS: its children, its own states, and every invocation as it was billed."""
    cost = Cost()
    for described in run.map_runs():
        cost += standard_children(described.children.total)
    arn = run.describe().arn
    pages = aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
    own = sum(event["type"].endswith("StateEntered") for page in pages for event in page["events"])
    cost += Cost(
        step_functions=standard_children(1, states=own).step_functions - standard_children(1, states=0).step_functions
    )
    measured, aws.invocations = aws.invocations or [], []
    for _, result in measured:
        cost += invocations([result.billed_ms], memory_mb=result.memory_size_mb)
    return cost


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        click.echo("\nstopped; nothing is left running", err=True)
        sys.exit(130)
