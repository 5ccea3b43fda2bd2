"""Writes tables and pictures of the documents from the code, so that they can't drift from it: ``make docs``."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk

from cdk_distributed_map import Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.resources.metrics import PipelineMetrics
from distmap import limits, wire

ROOT = Path(__file__).resolve().parent.parent
CONSTRUCT = ROOT / "docs" / "construct.md"
ACCOUNT = ROOT / "docs" / "account.md"
# What tells the shape of a state in a picture.
SHAPES = {"Choice": ("{", "}"), "Map": ("[[", "]]"), "Wait": ("([", "])"), "Fail": ("(((", ")))")}
WRITERS = {
    "items.jsonl": "the capture function",
    "results/<map run id>/manifest.json": "Step Functions",
    "spill/...": "the worker and combine functions",
    "nested/<label>/...": "the same as outside",
    "retries/<retry>/items.jsonl": "`distmap retry`",
    "rounds/<n>/items.jsonl": "the account function",
    "rounds/<n>/results/<map run id>/...": "Step Functions",
    "ledger.json": "the account function",
    "failures.jsonl": "the account function, unless all succeeded",
    "account/...": "the account function",
    "tasks/<index>/<attempt>/...": "Step Functions, and the container",
}
_LONGEST_LABEL = 60


def arguments_table() -> str:
    """Return the arguments of the construct and their defaults, from its docstring."""
    documentation = inspect.getdoc(DistributedMapPipeline) or ""
    section = documentation.split("Args:\n", 1)[1].split("\n\nRaises:", 1)[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, flags=re.MULTILINE)
    rows = ["| argument | what it is | default |", "|---|---|---|"]
    for name, text in entries:
        if name in {"scope", "id"}:
            continue
        words = re.sub(r":class:`(\w+)`", r"`\1`", " ".join(text.split()).replace("``", "`"))
        what, _, default = words.partition(" Default: ")
        rows.append(f"| `{name}` | {what} | {default or '**required**'} |")
    return "\n".join(rows)


def limits_table() -> str:
    """Return what is checked at synthesis, with the limits that the checks read."""
    rows = [
        ("`max_concurrency`", f"1 to {limits.MAX_CONCURRENT_CHILDREN:,}, and no more than the worker reserves"),
        ("items of a run, `max_items`", f"1 to {limits.MAX_ITEMS:,}"),
        ("file of items", f"{limits.MAX_ITEM_FILE_BYTES // 1024**3} GB"),
        ("`Batching.max_bytes`", f"1 to {limits.MAX_BATCH_BYTES:,} bytes"),
        ("`tolerated_failure_percentage`", "0 to 100; 0 is rendered, never dropped"),
        ("`label`", f"up to {limits.MAX_LABEL_LENGTH} ASCII characters, none that AWS or an ARN can't take"),
        ("Express child", f"{limits.MAX_EXPRESS_SECONDS} s for the worker's timeout and all its retries"),
        ("Express child", "no `.sync`, no task token, no activity, no Distributed Map inside"),
        ("worker `timeout`", f"1 to {limits.MAX_FUNCTION_SECONDS} s"),
        ("worker `memory_size`", f"{limits.MIN_FUNCTION_MEMORY_MB} to {limits.MAX_FUNCTION_MEMORY_MB:,} MB"),
        ("a function's code", f"up to {limits.MAX_CODE_BYTES:,} bytes, unzipped, layers included"),
        ("keys and prefixes", "no address (`s3://...`), no `*`, `?` or `${`, no slash at the beginning"),
        ("`items_pointer`", f"begins with `/`, under {limits.MAX_ITEMS_POINTER_LENGTH:,} characters"),
        ("CSV `headers`", f"not empty, no repeats, up to {limits.MAX_CSV_HEADER_BYTES:,} bytes"),
        ("buckets", "in the Region of the state machine, where both are known"),
        (
            "start of children (warning)",
            f"{limits.STANDARD_DISPATCH_PER_SECOND} Standard, {limits.EXPRESS_DISPATCH_PER_SECOND:,} Express a second",
        ),
        ("reserved concurrency (warning)", f"over {limits.ACCOUNT_CONCURRENCY - limits.UNRESERVABLE_CONCURRENCY}"),
    ]
    return "\n".join(["| what | limit |", "|---|---|", *(f"| {what} | {limit} |" for what, limit in rows)])


def files_of_a_run() -> dict[str, str]:
    """Return what each file of a run is, by its key below the folder of the run, as the wire shapes say."""
    rows = re.findall(r"^<prefix>runs/<execution name>/(.+?) {2,}(.+)$", wire.__doc__ or "", flags=re.MULTILINE)
    return {key: re.sub(r": :class:`\w+`$", "", words) for key, words in rows}


def files_table() -> str:
    """Return the files of a run, and who writes each."""
    rows = [f"| `{key}` | {words} | {WRITERS[key]} |" for key, words in files_of_a_run().items()]
    return "\n".join(["| key below `runs/<run>/` | what it is | written by |", "|---|---|---|", *rows])


@cache
def template() -> dict[str, Any]:
    """Return the template of a pipeline with a capture and a combine function."""
    app = cdk.App(analytics_reporting=False)
    stack = cdk.Stack(app, "Squares")
    folder = str(ROOT / "lambdas" / "range_squares")
    DistributedMapPipeline(
        stack,
        "Squares",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.python(folder, handler="handler.handler"),
        combine=Combiner.python(folder, handler="handler.combine"),
    )
    synthesized: dict[str, Any] = app.synth().get_stack_by_name("Squares").template
    return synthesized


def definition_picture() -> str:
    """Return the states of that pipeline and what leads from one to another."""
    resources = template()["Resources"].values()
    (machine,) = [each for each in resources if each["Type"] == "AWS::StepFunctions::StateMachine"]
    definition = json.loads(_text(machine["Properties"]["DefinitionString"]))
    ids = {name: f"s{number}" for number, name in enumerate(definition["States"])}
    lines = ["```mermaid", "flowchart TB"]
    for name, state in definition["States"].items():
        left, right = SHAPES.get(state["Type"], ("[", "]"))
        lines.append(f'    {ids[name]}{left}"{name.removeprefix("Squares ")}"{right}')
    for name, state in definition["States"].items():
        lines += [
            f"    {ids[name]} -->{f'|{label}|' if label else ''} {ids[following]}"
            for label, following in _following(state)
        ]
    return "\n".join([*lines, "```"])


def _following(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for choice in state.get("Choices", []):
        condition = choice["Condition"].removeprefix("{% ").removesuffix(" %}")
        label = re.sub(r"\$exists\((?:\w|[.$])*?(\w+)\)|\$states\.input\.(?:\w+\.)*", r"\1", condition)
        yield label if len(condition) < _LONGEST_LABEL else "", choice["Next"]
    for following in (state.get("Default"), state.get("Next")):
        if following is not None:
            yield "", following


def rights_table() -> str:
    """Return what the account function of that pipeline may do, from its policies."""
    rows = set()
    for name, resource in template()["Resources"].items():
        if resource["Type"] != "AWS::IAM::Policy" or not name.startswith("SquaresAccount"):
            continue
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            condition = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
            where = "" if condition is None else f", only {', '.join(f'`{each}`' for each in _listed(condition))}"
            names = ", ".join(f"`{each}`" for each in _listed(actions))
            rows |= {f"| {names} | `{_plain(each)}`{where} |" for each in _listed(resources)}
    return "\n".join(["| actions | resource |", "|---|---|", *sorted(rows)])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    (kind, inner) = next(iter(value.items()))
    if kind == "Fn::Join":
        return "".join(map(_text, inner[1]))
    return f"<{inner if isinstance(inner, str) else inner[0]}>"


def _plain(value: Any) -> str:
    """Return a resource as people write it."""
    text = re.sub(r"^arn:<AWS::Partition>:(\w+):<AWS::Region>:<AWS::AccountId>:", "", _text(value))
    names = {"PayloadBucket": "payload bucket", "AccountLogs": "its log group", "StateMachine": "state machine"}
    return re.sub(r"<Squares(\D+)\w*>", lambda found: f"<{names[re.sub('[0-9A-F]+$', '', found[1])]}>", text)


def metrics_table() -> str:
    """Return the metrics of items, from the methods that give them."""
    rows = ["| metric | method | what it counts |", "|---|---|---|"]
    for name, method in inspect.getmembers(PipelineMetrics, inspect.isfunction):
        found = re.search(r'self\._items\("(\w+)"', inspect.getsource(method))
        if found is not None:
            what = (inspect.getdoc(method) or "").split(". ")[0]
            rows.append(f"| `{found[1]}` | `{name}()` | {what} |")
    return "\n".join(rows)


DOCUMENTS: dict[Path, dict[str, Callable[[], str]]] = {
    CONSTRUCT: {"arguments": arguments_table, "limits": limits_table},
    ACCOUNT: {"definition": definition_picture, "files": files_table, "metrics": metrics_table, "rights": rights_table},
}


def render(document: Path, text: str) -> str:
    """Return a document with its tables and pictures as the code has them now."""
    for name, make in DOCUMENTS[document].items():
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        if pattern.search(text) is None:
            raise ValueError(f"{document.name} has no place for {name!r}: put <!-- {name}:begin --> and :end back")
        made = make()
        text = pattern.sub(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)  # type: ignore[misc]  # a default that binds
    return text


if __name__ == "__main__":
    for document in DOCUMENTS:
        before = document.read_text(encoding="utf-8")
        after = render(document, before)
        document.write_text(after, encoding="utf-8")
        sys.stdout.write(f"{document.name} {'is up to date' if before == after else 'has been updated'}\n")
