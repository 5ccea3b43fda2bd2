"""Writes docs/errors.md: every error and warning of the package, from the code, and AWS's own: ``make docs``."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "errors.md"
PACKAGE: Final = ROOT / "constructs" / "cdk_distributed_map"
RUNTIME: Final = ROOT / "lambdas" / "distmap"
# Rooms whose messages are read at a synthesis, by the folders and files that hold them.
SYNTHESIS: Final = ("settings", "resources", "definition", "pipeline.py", "permissions.py")
_HEAD: Final = """\
# Errors and warnings

Every error and warning of this package by its id, and the errors that AWS gives a Distributed Map. `make docs` writes
this page from the code. Every message ends with the address of its entry, such as `docs/errors.md#DispatchRate`.

- [Warnings at synthesis](#warnings-at-synthesis) and [errors at synthesis](#errors-at-synthesis)
- [Errors of a run](#errors-of-a-run) and [AWS's errors of a run](#awss-errors-of-a-run)
- [Errors inside functions](#errors-inside-functions)
- [Errors of the client and the command](#errors-of-the-client-and-the-command)
- [Errors of the local AWS](#errors-of-the-local-aws)
- [Exit codes of the command](#exit-codes-of-the-command)
"""


@cache
def catalogue() -> dict[str, Any]:
    """Return what is said of each id beyond the code."""
    return tomllib.loads((ROOT / "docs" / "error_catalogue.toml").read_text(encoding="utf-8"))


@cache
def trees() -> dict[str, ast.Module]:
    """Return every module of the package and the runtime, by its name below them."""
    found = {}
    for folder in (PACKAGE, RUNTIME):
        for path in sorted(folder.rglob("*.py")):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            name = f"distmap.{name}" if folder == RUNTIME else name
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def warning_ids() -> dict[str, str]:
    """Return the id of every warning by the constant that has it."""
    (tree,) = [tree for name, tree in trees().items() if name == "settings.synthesis_warnings"]
    return {
        node.target.id: str(node.value.value).removeprefix("distmap:")
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id.isupper()
        and not node.target.id.startswith("_")
        and isinstance(node.value, ast.Constant)
        and str(node.value.value).startswith("distmap:")
    }


def warning_messages() -> dict[str, str]:
    """Return the message of each warning, with what is filled in as names."""
    ids, found = warning_ids(), {}
    for tree in trees().values():
        for call in calls(tree, {"warn"}):
            if len(call.args) == 3 and (name := ast.unparse(call.args[1]).rpartition(".")[2]) in ids:
                found[ids[name]] = words_of(call.args[2])
    return found


def run_errors() -> set[str]:
    """Return the names after ``Distmap.`` of what fails a run."""
    texts = [path.read_text(encoding="utf-8") for folder in (PACKAGE, RUNTIME) for path in folder.rglob("*.py")]
    return {name for text in texts for name in re.findall(r'"Distmap\.(\w+)"', text)}


def error_classes() -> dict[str, ast.ClassDef]:
    """Return every public exception of the package and the runtime, by module and name."""
    classes = [
        (module, node) for module, tree in trees().items() for node in tree.body if isinstance(node, ast.ClassDef)
    ]
    bases = {"Exception", "ValueError", "RuntimeError", "LookupError", "TypeError", "OSError", "BotoCoreError"}
    known: dict[str, ast.ClassDef] = {}
    while True:
        names = bases | {node.name for node in known.values()}
        new = {
            f"{module}.{node.name}": node
            for module, node in classes
            if not node.name.startswith("_") and names & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        }
        if new == known:
            return known
        known = new


def reaching_users() -> dict[str, dict[str, ast.ClassDef]]:
    """Return the exceptions that users meet, by part of the catalogue and name."""
    internal, parts = catalogue()["internal"], ("runtime", "client", "bundling", "local")
    found: dict[str, dict[str, ast.ClassDef]] = {part: {} for part in parts}
    rooms = {"distmap": "runtime", "runs": "client", "bundling": "bundling", "local": "local"}
    for name, node in error_classes().items():
        is_internal = node.name in internal["names"] or name in internal["modules"]
        if not is_internal and (part := rooms.get(name.partition(".")[0])):
            found[part][node.name] = node
    return found


def synthesis_messages() -> dict[str, list[str]]:
    """Return what is raised at a synthesis, by the module that checks it."""
    found: dict[str, list[str]] = {}
    for module, tree in trees().items():
        if not f"{module.replace('.', '/')}.py".startswith(SYNTHESIS):
            continue
        raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        calls_ = [each for each in raised if isinstance(each, ast.Call) and len(each.args) == 1]
        messages = {words_of(each.args[0]) for each in calls_ if ast.unparse(each.func) in {"ValueError", "TypeError"}}
        if messages := {each for each in messages if " " in each}:
            found[module] = sorted(messages)
    return found


def calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    """Return the calls of functions of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def words_of(node: ast.expr) -> str:
    """Return the text of a message: what is filled in stands as a name in angle brackets."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp):
        return words_of(node.left) + words_of(node.right)
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                names = [each for each in ast.walk(part.value) if isinstance(each, ast.Name | ast.Attribute)]
                name = (names[0].attr if isinstance(names[0], ast.Attribute) else names[0].id) if names else "value"
                parts.append(f"<{name.lower().strip('_')}>")
        return "".join(parts)
    return f"<{ast.unparse(node).rpartition('.')[2]}>"


def entry(title: str, means: str, why: str, remedy: str, *, message: str = "") -> str:
    """Return what the page has of one id."""
    anchor = re.sub("^(distmap:|Distmap[.])", "", title)
    says = f"> {as_code(message)}" if message else means
    return f'<a id="{anchor}"></a>\n\n### `{title}`\n\n{says}\n\n*Why:* {why}\n\n*What to do:* {remedy}\n'


def as_code(text: str) -> str:
    """Return text as it stands, for Markdown."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def meaning(node: ast.ClassDef) -> str:
    """Return the first sentences of a class's docstring, without its roles and versions."""
    text = (
        inspect.cleandoc(ast.get_docstring(node) or "").split("\n.. ")[0].split("\nAttributes:")[0].split("\nArgs:")[0]
    )
    return " ".join(re.sub(r":\w+:`[~.]?([\w.]+)`", r"`\1`", text).replace("``", "`").split())


def exit_codes() -> str:
    """Return the table of the command's exit codes, from the constants and their words."""
    body = trees()["cli._exit"].body
    rows = ["| code | name | |", "|---|---|---|"]
    for node, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Constant):
            continue
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        words = " ".join(ast.literal_eval(below.value).split()) if is_text else "Success."  # type: ignore[attr-defined]
        rows.append(f"| {node.value.value!r} | `{ast.unparse(node.target)}` | {words} |")
    return "\n".join(rows)


def render() -> str:
    """Return the whole page."""
    entries, classes = catalogue(), reaching_users()
    messages = warning_messages()
    parts = [_HEAD, "## Warnings at synthesis\n"]
    parts.append("`cdk.Annotations.of(pipeline).acknowledge_warning(id, reason)` silences one.\n")
    for name, (why, remedy) in sorted(entries["warnings"].items()):
        parts.append(entry(f"distmap:{name}", "", why, remedy, message=messages[name]))
    parts.append("## Errors at synthesis\n")
    parts.append(
        "A setting that AWS would refuse or ignore is a `ValueError`, and one of the wrong type a `TypeError`,"
    )
    parts.append("both with what was given, the limit and the remedy. In `<...>` stands what is filled in.\n")
    for module, texts in synthesis_messages().items():
        anchor = re.sub(r"[._]+", "-", module)
        parts.append(f'<a id="{anchor}"></a>\n\n### `{module.replace(".", "/")}`\n')
        parts.append("\n".join(f"- {as_code(text)}" for text in texts) + "\n")
    parts += _classes({"bundling": entries["bundling"]}, classes)
    parts.append("## Errors of a run\n")
    for name, (why, remedy, means) in sorted(entries["runs"].items()):
        parts.append(entry(f"Distmap.{name}", means, why, remedy))
    parts.append("## AWS's errors of a run\n")
    for name, text in entries["aws"].items():
        parts.append(entry(name, text["means"], text["why"], text["remedy"]))
    for part, title in (
        ("runtime", "Errors inside functions"),
        ("client", "Errors of the client and the command"),
        ("local", "Errors of the local AWS"),
    ):
        parts.append(f"## {title}\n")
        parts += _classes({part: entries[part]}, classes)
    parts += ["## Exit codes of the command\n", exit_codes() + "\n"]
    return "\n".join(parts)


def _classes(entries: dict[str, Any], classes: dict[str, dict[str, ast.ClassDef]]) -> list[str]:
    return [
        entry(name, meaning(classes[part][name]), *texts)
        for part, names in entries.items()
        for name, texts in sorted(names.items())
    ]


def untold_errors(names: set[str]) -> set[str]:
    """Return which of AWS's errors the page doesn't name."""
    text = render()
    return {name for name in names if f"`{name}`" not in text}


def problems() -> list[str]:
    """Return which ids of the code the catalogue lacks, and which it has too many."""
    entries, messages = catalogue(), warning_messages()
    wanted: dict[str, set[str]] = {part: set(names) for part, names in reaching_users().items()}
    wanted |= {"warnings": set(warning_ids().values()), "runs": run_errors()}
    found = []
    for part, names in wanted.items():
        found += [f"{part}: {name} isn't in error_catalogue.toml" for name in sorted(names - entries[part].keys())]
        found += [f"{part}: {name} isn't in the code" for name in sorted(entries[part].keys() - names)]
    found += [f"warnings: {name} has no message" for name in sorted(wanted["warnings"] - messages.keys())]
    return found


if __name__ == "__main__":
    if wrong := problems():
        raise SystemExit("\n".join(wrong))
    text = render()
    changed = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"docs/errors.md {'has changed' if changed else 'is up to date'}\n")
