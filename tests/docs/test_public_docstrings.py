"""Docstrings and reprs of what is public: since when it is there, examples that run, and nothing secret."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

import distmap
from cdk_distributed_map import Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.local.control import Running
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Pipeline, Run
from distmap import Result, Results

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = (
    "cdk_distributed_map",
    "cdk_distributed_map.local",
    "cdk_distributed_map.plan",
    "cdk_distributed_map.runs",
    "cdk_distributed_map.testing",
    "distmap",
)
SECRET = "s3cr3t-of-a-user"
HANDLERS = """
from distmap import capture_items, combine_results, process_items


@capture_items
def find(event):
    yield event


@process_items
def work(item):
    return item


@combine_results
def join(results):
    return len(list(results))
"""
ARN = "arn:aws:states:us-east-1:123456789012:stateMachine:Squares"


def documented() -> list[Any]:
    """Public classes and functions, as parameters named by where they are."""
    return [
        pytest.param(value, id=f"{module}.{name}")
        for module in PUBLIC
        for name in importlib.import_module(module).__all__
        if inspect.isclass(value := getattr(importlib.import_module(module), name)) or inspect.isfunction(value)
    ]


@pytest.mark.checkout
@pytest.mark.parametrize("value", documented())
def test_public_names_say_since_when_they_are_there(value: Any) -> None:
    major, minor, _ = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"].split(
        "."
    )
    found = re.findall(r"^\s*\.\. versionadded:: (\d+)\.(\d+)\.0$", value.__doc__ or "", re.MULTILINE)

    assert len(found) == 1
    # What isn't released yet is of the next version.
    assert (int(found[0][0]), int(found[0][1])) <= (int(major), int(minor) + 1)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_classes_have_a_repr_of_their_own(module: str) -> None:
    names = importlib.import_module(module).__all__
    classes = [value for name in names if inspect.isclass(value := getattr(importlib.import_module(module), name))]

    assert classes
    assert [value.__name__ for value in classes if value.__repr__ is object.__repr__ and not is_protocol(value)] == []


def is_protocol(value: type) -> bool:
    """Say whether nothing is of a class but what has its methods."""
    return getattr(value, "_is_protocol", False)


def values(folder: Path) -> dict[str, Any]:
    """Values of public classes, some of which know a secret."""
    (folder / "handler.py").write_text(HANDLERS, encoding="utf-8")
    stack = cdk.Stack(cdk.App(), "Stack")
    secrets = {"TOKEN": SECRET}
    client = Client(region="us-east-1", endpoint_url="http://127.0.0.1:1")
    pipeline = Pipeline(client.aws, ARN)
    worker = Worker.python(str(folder), handler="handler.work", environment=secrets)
    return {
        "worker": worker,
        "nested worker": Worker.nested(items=ItemSource.state_array("$.value"), worker=worker),
        "capture": Capture.python(str(folder), handler="handler.find", environment=secrets),
        "combiner": Combiner.python(str(folder), handler="handler.join", environment=secrets),
        "construct": DistributedMapPipeline(stack, "Map", items=ItemSource.state_array("$.items"), worker=worker),
        "client": client,
        "pipeline": pipeline,
        "run": Run(pipeline, "nightly"),
        "results": Results(None, {"bucket": "payload", "key": "runs/one/results/x/manifest.json"}),  # type: ignore[arg-type]  # never read
        "result": Result(0, {"square": 4}),
        "local AWS": LocalAws(),
        "keys": Keys("AKIAEXAMPLE", SECRET),
        "running": Running(
            pid=1,
            token=SECRET,
            access_key="AKIAEXAMPLE",
            secret_key=SECRET,
            endpoint="http://127.0.0.1:1",
            region="us-east-1",
            account="000000000000",
            iam=True,
            state=None,
            started=0.0,
        ),
    }


def test_reprs_tell_what_they_are_and_no_secret(tmp_path: Path) -> None:
    shown = {name: repr(value) for name, value in values(tmp_path).items()}

    assert {name for name, text in shown.items() if SECRET in text} == set()
    assert {name for name, text in shown.items() if re.match(r"<[\w.]+ object at 0x", text)} == set()
    assert shown["construct"] == "<DistributedMapPipeline 'Stack/Map'>"
    assert shown["client"] == "Client(region='us-east-1', endpoint_url='http://127.0.0.1:1')"
    assert shown["pipeline"] == f"<Pipeline 'Squares' {ARN}>"
    assert "'nightly'" in shown["run"]
    assert shown["results"] == "<Results in s3://payload/runs/one/results/x/manifest.json>"
    assert shown["local AWS"] == "<LocalAws not running us-east-1 000000000000>"


def with_examples() -> list[str]:
    """Modules of public names whose docstrings have examples to be run."""
    modules = {parameter.values[0].__module__ for parameter in documented()}
    return sorted(name for name in modules if ">>>" in inspect.getsource(importlib.import_module(name)))


@pytest.mark.parametrize("module", with_examples())
def test_examples_in_docstrings_run(module: str) -> None:
    done = doctest.testmod(importlib.import_module(module))

    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize("name", ["capture_items", "combine_results", "process_items"])
def test_decorators_have_examples_that_run(name: str) -> None:
    assert getattr(distmap, name).__module__ in with_examples()
