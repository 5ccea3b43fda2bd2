"""Handlers that surely can't work fail at synthesis; whatever may work passes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map import Capture, Combiner, Worker
from cdk_distributed_map.settings.handlers import Role, check, is_decorated

WORKER, CAPTURE, COMBINE = Role.WORKER, Role.CAPTURE, Role.COMBINE
DECORATED = "from distmap import process_items\n\n\n@process_items\ndef handler(item):\n    return item\n"

REFUSED: dict[str, tuple[Role, str, str, str]] = {
    "file-name": (WORKER, "handler.py", DECORATED, "'py' in handler.py, which has handler: leave out the '.py'"),
    "another-name": (WORKER, "handler.handle", DECORATED, "needs 'handle' in handler.py, which has handler: name one"),
    "nothing-there": (WORKER, "handler.handler", "X = 1\n", "needs 'handler' in handler.py: name one"),
    "method-only": (
        WORKER, "handler.handler", "class Job:\n    def handler(self, event, context): ...\n", "needs 'handler'",
    ),
    "inner-only": (WORKER, "handler.handler", "def make():\n    def handler(e, c): ...\n", "which has make"),
    "syntax": (WORKER, "handler.handler", "def handler(event context):\n    pass\n", "not valid Python at line 1"),
    "indentation": (CAPTURE, "handler.handler", "def handler(event, context):\nreturn 1\n", "at line 2"),
    "merge-marks": (COMBINE, "handler.handler", "<<<<<<< HEAD\n" + DECORATED, "at line 1"),
    "null-byte": (WORKER, "handler.handler", "x = 1\0\n", "not valid Python"),
    "undecorated": (
        WORKER, "handler.handler", "def handler(event, context):\n    return event\n",
        "isn't decorated, so nothing gives it its items and answers for it: decorate it with process_items",
    ),
    "undecorated-one-argument": (
        WORKER, "handler.handler", "def handler(item):\n    return {'square': item['n'] ** 2}\n",
        "takes 1 argument, and Lambda gives it two: decorate it with process_items",
    ),
    "undecorated-imports-unused": (
        WORKER, "handler.handler", "import boto3\nimport json\n\n\ndef handler(item, context):\n    return len(item)\n",
        "isn't decorated",
    ),
    "undecorated-in-a-branch": (
        WORKER, "handler.handler", "if True:\n    def handler(event, context):\n        return 1\n", "isn't decorated",
    ),
    "undecorated-async": (WORKER, "handler.handler", "async def handler(e, c):\n    return e\n", "async function"),
    "undecorated-no-argument": (COMBINE, "handler.handler", "def handler():\n    return 1\n", "takes 0 arguments"),
    "undecorated-three": (COMBINE, "handler.handler", "def handler(a, b, c):\n    return 1\n", "takes 3 arguments"),
    "undecorated-capture": (
        CAPTURE, "handler.handler", "def handler(event, context):\n    yield {'n': 1}\n",
        "is a generator, which Lambda can't answer with: decorate it with capture_items",
    ),
    "capture-returning": (
        CAPTURE, "handler.handler", "def handler(event, context):\n    return [1, 2]\n", "isn't decorated",
    ),
    "undecorated-combine": (
        COMBINE, "handler.handler",
        "def handler(results, context):\n    return sum(r.value['square'] for r in results if r.succeeded)\n",
        "decorate it with combine_results",
    ),
    "decorated-for-something-else": (
        WORKER, "handler.handler", DECORATED.replace("process", "capture"),
        "is decorated with capture_items, which does something else: decorate it with process_items",
    ),
    "worker-as-combiner": (COMBINE, "handler.handler", DECORATED, "decorated with process_items"),
    "called-decorator": (
        CAPTURE, "handler.handler", DECORATED.replace("@process_items", "@process_items(threads=4)"), "process_items",
    ),
    "module-attribute": (
        CAPTURE, "handler.handler", "import distmap\n\n\n@distmap.process_items\ndef handler(item): ...\n",
        "decorated with process_items",
    ),
    "async-capture": (
        CAPTURE, "handler.handler", DECORATED.replace("process", "capture").replace("def ", "async def "),
        "is an async function, which capture_items doesn't take: let it be a plain function",
    ),
    "async-combiner": (
        COMBINE, "handler.handler", "import distmap\n\n\n@distmap.combine_results()\nasync def handler(results): ...\n",
        "is an async function, which combine_results doesn't take",
    ),
    "worker-that-yields": (
        WORKER, "handler.handler", DECORATED.replace("return", "yield"),
        "yields, which process_items doesn't take: return the result of the item",
    ),
    "async-with-threads": (
        WORKER, "handler.handler",
        DECORATED.replace("@process_items", "@process_items(threads=4)").replace("def ", "async def "),
        "with threads=4, which is for plain ones: say concurrency instead",
    ),
    "plain-with-concurrency": (
        WORKER, "handler.handler", DECORATED.replace("@process_items", "@process_items(concurrency=4)"),
        "is a plain function with concurrency=4, which is for async ones: say threads instead",
    ),
}  # fmt: skip

PASSES: dict[str, tuple[Role, str]] = {
    "decorated": (WORKER, DECORATED),
    "decorated-async": (WORKER, DECORATED.replace("def ", "async def ")),
    "async-with-settings": (
        WORKER,
        DECORATED.replace("@process_items", "@process_items(concurrency=4, threads=1)").replace("def ", "async def "),
    ),
    "settings-from-elsewhere": (WORKER, DECORATED.replace("@process_items", "@process_items(concurrency=HOW_MANY)")),
    "yields-inside": (
        WORKER, DECORATED.replace("return item", "def each():\n        yield item\n    return list(each())"),
    ),
    "decorated-twice": (WORKER, DECORATED.replace("@process_items", "@traced\n@process_items")),
    "decorated-by-others": (WORKER, "from tools import wrapped\n\n\n@wrapped\ndef handler(item):\n    return item\n"),
    "renamed-decorator": (WORKER, DECORATED.replace("import process_items", "import process_items as capture_items")
                          .replace("@process_items", "@capture_items")),
    "imported": (WORKER, "from elsewhere import handler\n"),
    "imported-as": (CAPTURE, "from elsewhere import main as handler\n"),
    "star": (WORKER, "from elsewhere import *\n"),
    "assigned": (WORKER, "from distmap import process_items\n\nhandler = process_items(lambda item: item)\n"),
    "unpacked": (WORKER, "from elsewhere import both\n\nhandler, other = both()\n"),
    "wrapped-later": (
        WORKER, "from distmap import process_items\n\n\ndef handler(item): ...\n\n\nhandler = process_items(handler)\n",
    ),
    "one-of-two": (WORKER, "try:\n    from fast import handler\nexcept ImportError:\n    def handler(item): ...\n"),
    "in-a-match": (WORKER, "match 1:\n    case _:\n        from elsewhere import handler\n"),
    "class": (WORKER, "class handler:\n    def __new__(cls, event, context): return {}\n"),
    "module-getattr": (WORKER, "def __getattr__(name):\n    return print\n"),
    "set-from-afar": (WORKER, "globals()['handler'] = print\n"),
    "global": (WORKER, "def make():\n    global handler\n    handler = print\n\n\nmake()\n"),
    "protocol-by-hand": (
        WORKER, "def handler(event, context):\n    return {'batchItemResults': [], 'batchItemFailures': []}\n",
    ),
    "unbatched-by-hand": (WORKER, "def handler(event, context):\n    return event['value'] + 1\n"),
    "given-away": (WORKER, "from tools import run\n\n\ndef handler(event, context):\n    return run(event)\n"),
    "given-away-below": (
        WORKER, ("from tools import run\n\n\ndef work(e):\n    return run(e)\n\n\ndef handler(event, context):\n"
        "    return work(event)\n"),
    ),
    "any-arguments": (COMBINE, "def handler(*args):\n    return 1\n"),
    "optional-argument": (COMBINE, "def handler(event, context=None, more=1):\n    return 1\n"),
    "capture-by-hand": (
        CAPTURE, ("import boto3\n\n\ndef handler(event, context):\n"
        "    boto3.client('s3').put_object(Bucket=event['run']['bucket'], Key=event['key'], Body=b'')\n"
        "    return {'bucket': '', 'key': ''}\n"),
    ),
    "combine-without-a-look": (COMBINE, "def handler(event, context):\n    return {'done': True}\n"),
    "combine-over-keys": (COMBINE, "def handler(event, context):\n    return [key.upper() for key in event]\n"),
    "byte-order-mark": (WORKER, "\ufeff" + DECORATED),
    "generic-function": (WORKER, "def first[T](items: list[T]) -> T: ...\n\n\n" + DECORATED),
    "type-statement": (WORKER, "type Row = dict\n" + DECORATED),
    "nested-quotes": (WORKER, "x = {'a': 1}\ny = f'{x['a']}'\n" + DECORATED),
}  # fmt: skip


def folder_with(tmp_path: Path, source: str) -> str:
    (tmp_path / "handler.py").write_text(source, encoding="utf-8")
    return str(tmp_path)


@pytest.mark.parametrize("case", REFUSED)
def test_fails_when_a_handler_surely_cannot_work(tmp_path: Path, case: str) -> None:
    role, handler, source, words = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        check(folder_with(tmp_path, source), handler, role=role, python=(3, 13))

    assert str(error.value).startswith(f"handler {handler!r} ")
    assert not str(error.value).endswith(".")


@pytest.mark.parametrize("case", PASSES)
def test_a_handler_that_may_work_passes(tmp_path: Path, case: str) -> None:
    role, source = PASSES[case]

    check(folder_with(tmp_path, source), "handler.handler", role=role, python=(3, 14))


@pytest.mark.parametrize("handler", ["handler.handler", "package.handler", "package/inner.handler"])
def test_the_file_of_a_handler_is_found_as_lambda_finds_it(tmp_path: Path, handler: str) -> None:
    (tmp_path / "package").mkdir()
    for name in ("handler.py", "package/__init__.py", "package/inner.py"):
        (tmp_path / name).write_text(DECORATED)

    check(str(tmp_path), handler, role=WORKER, python=(3, 13))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older grammar is known to a newer Python alone")
def test_fails_when_the_grammar_is_newer_than_the_runtime(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not valid Python"):
        check(folder_with(tmp_path, "type Row = dict\n" + DECORATED), "handler.handler", role=WORKER, python=(3, 11))


@pytest.mark.parametrize("make", [Worker.python, Capture.python, Combiner.python], ids=["worker", "capture", "combine"])
def test_fails_when_any_function_has_no_such_handler(tmp_path: Path, make: Any) -> None:
    with pytest.raises(ValueError, match=r"handler 'handler.main' needs 'main' in handler.py"):
        make(folder_with(tmp_path, DECORATED), handler="handler.main")


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        (DECORATED, True),
        (PASSES["decorated-async"][1], True),
        (PASSES["async-with-settings"][1], True),
        (DECORATED.replace("@process_items", "@process_items(threads=4)"), True),
        (DECORATED.replace("@process_items", "@traced\n@process_items"), True),
        (PASSES["renamed-decorator"][1], True),
        (PASSES["assigned"][1], True),
        (PASSES["wrapped-later"][1], True),
        (PASSES["assigned"][1].replace("process_items(lambda", "process_items(threads=2)(lambda"), True),
        ("import distmap as d\n\n\n@d.process_items\ndef handler(item): ...\n", True),
        ("from tools import process_items\n\n\n@process_items\ndef handler(item): ...\n", False),
        (PASSES["imported"][1], False),
        (PASSES["star"][1], False),
        (PASSES["unbatched-by-hand"][1], False),
        (PASSES["protocol-by-hand"][1], False),
        (PASSES["one-of-two"][1], False),
        ("this is no Python", False),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_what_shows_that_a_handler_takes_batches(tmp_path: Path, source: str, shows: bool) -> None:  # noqa: FBT001 - what is expected
    file = Path(folder_with(tmp_path, source)) / "handler.py"

    assert is_decorated(file, "handler.handler", role=WORKER) is shows
