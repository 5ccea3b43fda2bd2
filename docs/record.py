"""Records the terminal session of docs/cli.md, as text and as a picture: ``make recording``.

Everything in it happened: a pipeline is synthesized and deployed to AWS on this machine, and the commands are run as a
user would run them. Durations alone are replaced, since they are never the same twice. There are no other programs for
this because those that record a terminal also record how fast it was.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cdk_distributed_map.local.server import LocalAws

DOCS: Final = Path(__file__).resolve().parent
RECORDED: Final = DOCS / "recorded"
COLUMNS: Final = 80
ORDERS: Final = 60
ITEMS_FAILED: Final = 4  # exit code of distmap: some items failed, within the tolerance
COMMANDS: Final = (
    ("distmap run Orders --name june --watch", ITEMS_FAILED),
    ("distmap ledger Orders june", ITEMS_FAILED),
    ("python put_right.py", 0),
    ("distmap retry Orders june --watch", 0),
    ("distmap ledger Orders june", 0),
)
# Fonts of the machine alone: a picture in a README must not ask a network for any.
PICTURE: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>distmap: a run with failures, its ledger, a retry and the merged ledger</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
  <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def synthesize(folder: Path) -> None:
    """Write the cloud assembly of the pipeline."""
    import aws_cdk as cdk  # noqa: PLC0415 - it starts Node, which takes a second
    from aws_cdk import aws_s3 as s3  # noqa: PLC0415 - likewise

    from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, ItemSource, Worker  # noqa: PLC0415

    app = cdk.App(analytics_reporting=False, outdir=str(folder))
    stack = cdk.Stack(app, "Orders")
    bucket = s3.Bucket(stack, "Data")
    pipeline = DistributedMapPipeline(
        stack,
        "Orders",
        items=ItemSource.captured(Capture.s3_listing(bucket, prefixes=["orders/"])),
        worker=Worker.python(str(RECORDED / "worker"), handler="handler.handler"),
        batching=Batching(max_items=10),
        tolerated_failure_percentage=10,
        # One child after the other: failures are told in the same order every time.
        max_concurrency=1,
        state_machine_name="Orders",
    )
    bucket.grant_read(pipeline.worker, "orders/*")
    cdk.CfnOutput(stack, "DataBucket", value=bucket.bucket_name)
    app.synth()


def upload(aws: LocalAws, bucket: str) -> None:
    """Upload the orders, some of them damaged."""
    sys.path.insert(0, str(RECORDED))
    try:
        import put_right  # type: ignore[import-not-found]  # noqa: PLC0415 - a program of the session itself
    finally:
        sys.path.remove(str(RECORDED))
    s3 = aws.client("s3")
    for number in range(ORDERS):
        order: dict[str, Any] = put_right.order(number)
        if number in put_right.WITHOUT_PRICE:
            del order["lines"][0]["cents"]
        body = json.dumps(order)
        s3.put_object(
            Bucket=bucket,
            Key=f"orders/{number:03}.json",
            Body=body[: len(body) // 2] if number in put_right.CUT_OFF else body,
        )


def execute(command: str, *, code: int, environment: Mapping[str, str]) -> str:
    """Return what a command of the session prints, colours included.

    Raises:
        SystemExit: It ended with another code than it should.
    """
    program, *arguments = shlex.split(command)
    found = sys.executable if program == "python" else shutil.which(program, path=environment["PATH"])
    if found is None:
        raise SystemExit(f"{program} isn't installed here: run make setup")
    done = subprocess.run(
        [found, *arguments],
        cwd=RECORDED,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != code:
        raise SystemExit(f"{done.stdout}\n{command} ended with code {done.returncode} instead of {code}")
    return done.stdout


def mask(output: str) -> str:
    """Return what was printed with one duration, one measure of items, one bucket and one time of its objects."""
    output = re.sub(r"(?<=  )(?:\d+m)?\d+s(?=\s*$)", "1s", output, flags=re.MULTILINE)
    output = re.sub(
        r"^time of an item: .*$",
        "time of an item: median 4ms, p99 50ms, most 50ms (item 0); memory 90 MB",
        output,
        flags=re.MULTILINE,
    )
    output = re.sub(r"(?<=-)[0-9a-f]{13}(?=\")", "0f3ef9c0fdca8", output)
    return re.sub(r"(?<=\"lastModified\": \")[^\"]+", "2026-06-30T22:00:00Z", output)


def session() -> str:
    """Run the session, and return everything that was on the terminal."""
    with tempfile.TemporaryDirectory(prefix="distmap-recording-") as name, LocalAws() as aws:
        synthesize(Path(name, "cdk.out"))
        bucket = aws.deploy(Path(name, "cdk.out"))["Orders"]["DataBucket"]
        upload(aws, bucket)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "NO_COLOR", "FORCE_"))}
        environment = {
            **kept,
            **aws.environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "BUCKET": bucket,
            # A terminal as rich knows it, of which the last frame of a live display is kept.
            "TTY_COMPATIBLE": "1",
            "TTY_INTERACTIVE": "0",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "COLUMNS": str(COLUMNS),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONWARNINGS": "ignore",
        }
        parts = []
        for command, code in COMMANDS:
            lines = mask(execute(command, code=code, environment=environment)).splitlines()
            while lines and not Text.from_ansi(lines[-1]).plain.strip():
                lines.pop()
            parts.append("\n".join([f"\x1b[1;36m$ {command}\x1b[0m", *lines, ""]))
    return "\n".join(parts)


def draw(recorded: str) -> tuple[str, str]:
    """Return a session as plain text and as a picture, both as wide as its terminal."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=False
    )
    for line in recorded.splitlines():
        console.print(*Text.from_ansi(line).wrap(console, COLUMNS), sep="\n", highlight=False, no_wrap=True)
    text = "\n".join(line.rstrip() for line in console.export_text(clear=False).splitlines()) + "\n"
    picture = console.export_svg(title="distmap", code_format=PICTURE, unique_id="distmap")
    return text, "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


def main() -> None:
    """Record the session."""
    text, picture = draw(session())
    (DOCS / "session.txt").write_text(text, encoding="utf-8")
    (DOCS / "session.svg").write_text(picture, encoding="utf-8")
    sys.stdout.write("docs/session.txt and docs/session.svg are recorded\n")


if __name__ == "__main__":
    main()
