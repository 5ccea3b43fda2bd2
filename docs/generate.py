"""Writes the tables of README.md from the code, so that they can't drift from it: ``make docs``."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from cdk_distributed_map import DistributedMapPipeline
from distmap import limits

README = Path(__file__).resolve().parent.parent / "README.md"


def arguments_table() -> str:
    """Return the arguments of the construct and their defaults, from its docstring."""
    documentation = inspect.getdoc(DistributedMapPipeline) or ""
    section = documentation.split("Args:\n", 1)[1].split("\n\nRaises:", 1)[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, flags=re.MULTILINE)
    rows = ["| argument | what it is | default |", "|---|---|---|"]
    for name, text in entries:
        if name in {"scope", "id"}:
            continue
        words = " ".join(text.split()).replace("``", "`")
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


def render(text: str) -> str:
    """Return the README with its tables as the code has them now."""
    for name, table in (("arguments", arguments_table()), ("limits", limits_table())):
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        if pattern.search(text) is None:
            raise ValueError(f"README.md has no place for the table {name!r}: put <!-- {name}:begin --> and :end back")
        text = pattern.sub(rf"\g<1>{table.replace(chr(92), chr(92) * 2)}\n\g<2>", text)
    return text


if __name__ == "__main__":
    before = README.read_text(encoding="utf-8")
    after = render(before)
    README.write_text(after, encoding="utf-8")
    sys.stdout.write("README.md is up to date\n" if before == after else "README.md has been updated\n")
