"""Pages of the reference that are made when the site is built: commands, wire shapes, and who may do what."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import aws_cdk as cdk
import click
import generate
import schemas
import site_pages
from aws_cdk import aws_iam as iam

from cdk_distributed_map import Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.cli._main import cli
from distmap import limits

WORKER = schemas.FOLDER.parent.parent / "lambdas" / "range_squares"
# What people and programs are allowed by the pipeline's methods.
GRANTS = {
    "Starts": ("grant_start_execution", "starts runs: a caller, a schedule of your own"),
    "Operates": ("grant_operate", "watches, changes, stops and redrives runs"),
    "Reads": ("grant_read_results", "reads items, results, manifests and ledgers"),
    "Puts": ("grant_put_items", "writes item files, as `distmap retry` and `--items` do"),
}

SFN = "https://docs.aws.amazon.com/step-functions/latest/dg/"
# Files of a run that have one of the wire shapes.
SHAPES_OF_FILES = (
    ("items.jsonl", "Envelope", "of a retry and a round; of a capture, each line is the item itself"),
    ("results/<map run id>/manifest.json", "Manifest", "AWS's"),
    ("ledger.json", "RunLedger", ""),
    ("failures.jsonl", "FailedItem", ""),
)

# What the pipeline makes itself.
ROLES = {
    "Role": "The state machine",
    "WorkerRole": "The worker, beside what you grant to it",
    "CaptureRole": "The capture function",
    "CombineRole": "The combine function",
    "AccountRole": "The account function",
}


def commands_page() -> str:
    """Return every command with its arguments, its options and its help."""
    parts = [
        "# Commands\n",
        "What `distmap COMMAND --help` says. [The command](../cli.md) tells how they go together.\n",
    ]
    context = click.Context(cli, info_name="distmap", terminal_width=80)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            parts += _command(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(parts)


def _command(command: click.Command, context: click.Context) -> list[str]:
    path = context.command_path
    parts = [f"## {path}\n", f"```text\n{command.get_usage(context)}\n```\n", _words(command.help or "")]
    rows = [found for each in command.get_params(context) if (found := each.get_help_record(context)) is not None]
    if rows:
        parts += [
            "| option | |",
            "|---|---|",
            *(f"| {_code(names)} | {_cell(text)} |" for names, text in rows),
            "",
        ]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                parts += _command(inner, click.Context(inner, info_name=name, parent=context))
    return parts


def _words(text: str) -> str:
    """Return a help text as Markdown: what click leaves as it is, is code."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            parts.append(f"```text\n{paragraph.removeprefix(chr(8)).strip(chr(10))}\n```\n")
        else:
            parts.append(f"{_cell(paragraph)}\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Return a text as a cell of a table: none of it is HTML, a link or emphasis."""
    words = " ".join(text.split()).replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([*\[\]|])", r"\\\1", words)


def _code(text: str) -> str:
    """Return code as a cell of a table; readers of Markdown don't agree on how a bar in it is written."""
    if "|" not in text:
        return f"`{text}`"
    return f"<code>{re.sub(r'[|<>[]', lambda found: f'&#{ord(found[0])};', text)}</code>"


def shapes_page() -> str:
    """Return every wire shape with its members."""
    parts = [
        "# Wire shapes\n",
        "What travels between the map, the functions, the files and you. Each is a JSON Schema too.\n",
    ]
    for name in sorted(schemas.shapes()):
        shape = schemas.schema(name)
        required = set(shape.get("required", []))
        parts += [f"## {name}\n", f"{shape['description']} [JSON Schema](../schemas/{name}.schema.json).\n"]
        parts += ["| member | type | required | |", "|---|---|---|---|"]
        for member, about in shape["properties"].items():
            always = "yes" if member in required else ""
            parts.append(f"| `{member}` | {_type(about)} | {always} | {_cell(about.get('description', ''))} |")
        parts.append("")
    return "\n".join(parts)


def _type(about: dict[str, Any]) -> str:
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    if "anyOf" in about:
        return " or ".join(_type(each) for each in about["anyOf"])
    if about.get("type") == "array":
        return f"array of {_type(about['items'])}"
    if isinstance(inner := about.get("additionalProperties"), dict):
        return f"object of {_type(inner)}"
    return str(about.get("type", "any"))


def permissions_page() -> str:
    """Return what each role of a pipeline with a capture and a combine function may do."""
    app = cdk.App(analytics_reporting=False)
    stack = cdk.Stack(app, "Stack")
    pipeline = DistributedMapPipeline(
        stack,
        "Squares",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.python(str(WORKER), handler="handler.handler"),
        combine=Combiner.python(str(WORKER), handler="handler.combine"),
    )
    for name, (method, _) in GRANTS.items():
        getattr(pipeline, method)(iam.Role(stack, name, assumed_by=iam.AccountRootPrincipal()))
    resources = app.synth().get_stack_by_name("Stack").template["Resources"]
    rights: dict[str, set[str]] = {}
    for resource in resources.values():
        if resource["Type"] != "AWS::IAM::Policy":
            continue
        rows = {row for each in resource["Properties"]["PolicyDocument"]["Statement"] for row in _rows(each)}
        for role in resource["Properties"]["Roles"]:
            rights.setdefault(re.sub(r"[0-9A-F]{8}$", "", role["Ref"]), set()).update(rows)
    parts = [
        "# Permissions\n",
        "Of a pipeline with a capture and a combine function, as its template has them; `{Name}` is a resource of it.",
        "Whoever deploys it needs what the CDK needs: the roles of `cdk bootstrap`.\n",
    ]
    for name, (method, words) in GRANTS.items():
        parts += [f"## Who {words}\n", f"`pipeline.{method}(role)`:\n", *_table(rights.pop(name))]
    for name, words in ROLES.items():
        parts += [f"## {words}\n", f"The role `{name}`:\n", *_table(rights.pop(f"Squares{name}"))]
    if rights:
        message = f"the pipeline has roles that no words are about: {', '.join(sorted(rights))}; add them to ROLES"
        raise ValueError(message)
    return "\n".join(parts)


def _table(rows: set[str]) -> list[str]:
    return ["| actions | resource | condition |", "|---|---|---|", *sorted(rows), ""]


def _rows(statement: dict[str, Any]) -> list[str]:
    listed = [value if isinstance(value, list) else [value] for value in (statement["Action"], statement["Resource"])]
    names = ", ".join(f"`{each}`" for each in listed[0])
    condition = "; ".join(
        f"`{key}` {', '.join(f'`{_text(each)}`' for each in (value if isinstance(value, list) else [value]))}"
        for test in statement.get("Condition", {}).values()
        for key, value in test.items()
    )
    return [f"| {names} | `{_text(each)}` | {condition} |" for each in listed[1]]


def _text(value: Any) -> str:
    """Return an ARN as people write it: references as the ids of resources."""
    if isinstance(value, str):
        return value
    (kind, inner) = next(iter(value.items()))
    if kind == "Fn::Join":
        text = "".join(map(_text, inner[1]))
        return re.sub(r"^arn:\{Partition\}:(\w+):\{Region\}:\{AccountId\}:", r"\1:", text)
    if kind == "Fn::Select":
        return _selected(*inner)
    name = inner if isinstance(inner, str) else inner[0]
    return f"{{{re.sub('[0-9A-F]{8}$', '', name.removeprefix('AWS::').removeprefix('Squares'))}}}"


def _selected(place: int, split: dict[str, Any]) -> str:
    """Return what a template takes out of an ARN that it makes: one of its parts, or what names that."""
    divider, whole = split["Fn::Split"]
    text = _text(whole)
    parts = text.split(divider)
    return parts[int(place)] if int(place) < len(parts) else text


def files_page() -> str:
    """Return the files of a run, who writes each, and which shape it has."""
    parts = [
        "# Files of a run\n",
        "Of each run below `<prefix>runs/<name of the run>/` in the payload bucket, where `<prefix>` is the pipeline's",
        "`payload_prefix`, empty by default. [The account of a run](../account.md) says what is in them.\n",
        generate.files_table(),
        "\nFiles of items that you keep are below `<prefix>items/`.\n",
        "| file | each line, or the whole | |",
        "|---|---|---|",
    ]
    for key, shape, words in SHAPES_OF_FILES:
        parts.append(f"| `{key}` | [{shape}](shapes.md#{shape.lower()}) | {words} |")
    return "\n".join([*parts, ""])


def limits_page() -> str:
    """Return what is checked at synthesis, and every limit that the package goes by, with its source."""
    parts = [
        "# Limits\n",
        "The numbers that the construct, the plan and the local engine go by: AWS's, and our own, made from them.",
        "Some of AWS's can be raised: see the page that each group comes from.\n",
        "## Checked when you synthesize\n",
        generate.limits_table(),
        "",
    ]
    for (title, source), entries in limits_by_source():
        parts += [f"## {title}\n", *([f"From {source}\n"] if source else []), "| limit | value | |", "|---|---|---|"]
        parts += [f"| `{name}` | {_amount(name, value)} | {_cell(words)} |" for name, value, words in entries]
        parts.append("")
    return "\n".join(parts)


def limits_by_source() -> list[tuple[tuple[str, str], list[tuple[str, Any, str]]]]:
    """Return the limits by the comment that says where they are from: name, value and words."""
    source_text = inspect.getsource(limits)
    lines = source_text.splitlines()
    groups: list[tuple[tuple[str, str], list[tuple[str, Any, str]]]] = []
    body = ast.parse(source_text).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        start = first = node.lineno - 1
        while lines[start - 1].startswith("#"):
            start -= 1
        if start < first:
            groups.append((_source(" ".join(line.lstrip("# ") for line in lines[start:first])), []))
        words = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        groups[-1][1].append((node.target.id, getattr(limits, node.target.id), site_pages.as_markdown(str(words))))
    return groups


def _source(comment: str) -> tuple[str, str]:
    """Return what a comment calls its limits, and the links to where they are from."""
    comment = re.sub(r"\bSFN ([\w-]+\.html)", rf"{SFN}\1", comment)
    title = ", ".join(re.findall(r'"([^"]+)"', comment)) or comment
    addresses = [each.rstrip(",:") for each in re.findall(r"https?://\S+", comment)]
    return title, ", ".join(f"<{each}>" for each in addresses)


def _amount(name: str, value: Any) -> str:
    """Return a value with its unit, which its name ends with."""
    if isinstance(value, frozenset):
        return ", ".join(f"`{each}`" for each in sorted(value))
    unit = {"BYTES": "bytes", "SECONDS": "s", "MB": "MB", "DAYS": "days", "CHARACTERS": "characters"}
    return f"{value:,} {unit.get(name.rpartition('_')[2], '')}".strip()


PAGES = {
    "commands": commands_page,
    "shapes": shapes_page,
    "files": files_page,
    "permissions": permissions_page,
    "limits": limits_page,
}
