"""Functions of the stack SourceCode: what is in files of Python source, and the totals over all of them."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, TypedDict

import boto3

from distmap import Result, combine_results, process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ListedObject(TypedDict):
    """An item: a file that capture listed."""

    bucket: str
    key: str


class Facts(TypedDict):
    """A result: what is in a file."""

    lines: int
    functions: int
    classes: int


class Totals(Facts):
    """What is in all files."""

    files: int
    failed: dict[str, int]


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


def analyse(source: bytes) -> Facts:
    """Return what is in a file.

    Raises:
        SyntaxError: It isn't Python; the item fails, the others go on.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files have escapes that Python warns of
        tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    return {
        "lines": len(source.splitlines()),
        "functions": sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
    }


@process_items
def handler(item: ListedObject) -> Facts:
    """Return what is in the file that the item names."""
    return analyse(s3().get_object(Bucket=item["bucket"], Key=item["key"])["Body"].read())


@combine_results
def combine(results: Iterable[Result]) -> Totals:
    """Return the totals, and how many files failed by error."""
    totals: Totals = {"files": 0, "lines": 0, "functions": 0, "classes": 0, "failed": {}}
    for result in results:
        if not result.succeeded:
            error = result.error or result.status
            totals["failed"][error] = totals["failed"].get(error, 0) + 1
            continue
        totals["files"] += 1
        facts: Facts = result.value
        totals["lines"] += facts["lines"]
        totals["functions"] += facts["functions"]
        totals["classes"] += facts["classes"]
    return totals
