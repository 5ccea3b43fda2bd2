"""A failure says where: the innermost frame of the user's own code, and a traceback of each kind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

import pytest

from distmap import PermanentError, _places, current_item, process_items
from distmap._places import TRACEBACK_CHARACTERS, place_in, place_of, traceback_in, traceback_of
from distmap.limits import SPILL_BYTES
from distmap.wire import Run
from tests.runtime import answers

ITEMS = {"Items": [0, 1, 2]}


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Returns the module of a function's folder, in which packages may be installed beside the handler."""
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    forget()

    def load(files: dict[str, str], module: str = "handler") -> Any:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return __import__(module)

    yield load
    for name in set(sys.modules) - known:
        del sys.modules[name]
    forget()


def forget() -> None:
    """Let nothing be known of the files of another test."""
    for cache in (_places._shown_of, _places._installed_in):  # noqa: SLF001 - what a process keeps for its life
        cache.cache_clear()


def failure_of(handler: Callable[..., Any], event: dict[str, Any] = ITEMS) -> dict[str, Any]:
    failure: dict[str, Any] = handler(event)["batchItemFailures"][0]
    return failure


def on_one(work: Callable[[Any], Any]) -> Callable[..., Any]:
    """A handler that fails at the second item alone."""
    return process_items(lambda item: work(item) if item == 1 else item)


def test_the_place_is_the_innermost_frame_of_the_users_own_code(code: Callable[..., Any]) -> None:
    handler = code(
        {
            "handler.py": "from shop.prices import price\ndef enrich(item):\n    return price(item)\n",
            "shop/prices.py": "import json\ndef price(item):\n    text = '}'\n    return json.loads(text)\n",
        }
    )
    failure = failure_of(on_one(handler.enrich))
    assert (failure["error"], failure["place"]) == ("JSONDecodeError", "shop/prices.py:4 in price")


def test_packages_beside_the_handler_are_not_the_users_own(code: Callable[..., Any]) -> None:
    handler = code(
        {
            "handler.py": "import lib\ndef enrich(item):\n    lib.work(item)\n",
            "lib/__init__.py": "def work(item):\n    raise ValueError(item)\n",
            "lib-1.0.dist-info/RECORD": "lib/__init__.py,sha256=x,12\nlib-1.0.dist-info/RECORD,,\n",
        }
    )
    assert failure_of(on_one(handler.enrich))["place"] == "handler.py:3 in enrich"


def test_our_own_frames_are_nobodys() -> None:
    def asks_outside(item: int) -> object:
        errors: list[Exception] = []

        def ask() -> None:
            try:
                current_item()
            except LookupError as error:
                errors.append(error)

        thread = Thread(target=ask)
        thread.start()
        thread.join()
        raise errors[0]

    assert failure_of(on_one(asks_outside))["place"].endswith(" in ask")


def test_a_function_in_a_layer_is_its_own_place(code: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    layer = code({"site-packages/ours.py": "def work(item):\n    return 1 / 0\n", "handler.py": ""})
    assert layer is not None
    monkeypatch.syspath_prepend(str(Path(layer.__file__).parent / "site-packages"))
    ours = __import__("ours")
    handler = process_items(fail_at_percentage=None)(ours.work)
    assert failure_of(handler)["place"] == "ours.py:2 in work"


def test_what_is_not_json_has_no_place() -> None:
    assert "place" not in failure_of(on_one(lambda _: object()))


def test_the_place_of_an_error_that_was_raised_from_another_is_where_it_was_raised() -> None:
    def translates(item: int) -> None:
        try:
            item / 0
        except ZeroDivisionError as error:
            message = "no share"
            raise ValueError(message) from error

    failure = failure_of(on_one(translates))
    assert failure["place"] == answers.place_in(translates, "raise ValueError")
    assert "ZeroDivisionError" in failure["traceback"]
    assert "direct cause" in failure["traceback"]


def test_the_first_of_each_kind_has_a_traceback_without_our_frames() -> None:
    def fails(item: int) -> None:
        if item % 2:
            raise KeyError(item)
        raise ValueError(item)

    failures = process_items(fail_at_percentage=None)(fails)({"Items": list(range(6))})["batchItemFailures"]
    assert ["traceback" in failure for failure in failures] == [True, True, False, False, False, False]
    first = failures[0]["traceback"].splitlines()
    assert first[0] == "Traceback (most recent call last):"
    assert first[1].endswith("in fails")
    assert first[-1] == "ValueError: 0"
    assert "distmap/_" not in failures[0]["traceback"]


def test_a_batch_keeps_few_tracebacks_of_a_bounded_size() -> None:
    def deep(item: int, left: int = 200) -> None:
        if left:
            deep(item, left - 1)
        raise type(f"Error{item}", (Exception,), {})("x" * 10_000)

    failures = process_items(fail_at_percentage=None)(deep)({"Items": list(range(20))})["batchItemFailures"]
    kept = [failure["traceback"] for failure in failures if "traceback" in failure]
    assert len(kept) == 5
    assert all(len(text) <= TRACEBACK_CHARACTERS for text in kept)
    assert kept[0].startswith("Traceback (most recent call last):")
    assert kept[0].endswith("xxx")


def test_an_answer_without_a_run_loses_its_tracebacks_before_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(characters: int) -> str:
        if characters:
            return "x" * characters
        raise ValueError

    handler = process_items(work)
    monkeypatch.setattr("distmap._batch.measure", lambda *_: None)
    size = len(json.dumps(handler({"Items": [0, 1]})))
    answers_at_the_limit = [handler({"Items": [0, SPILL_BYTES + 1 - size + more]}) for more in (0, 1)]
    assert ["traceback" in each["batchItemFailures"][0] for each in answers_at_the_limit] == [True, False]


def test_a_single_item_says_its_place_in_the_log_and_keeps_its_traceback(
    capsys: pytest.CaptureFixture[str], run_nowhere: Run
) -> None:
    def refuses(item: int) -> None:
        raise OSError(item)

    handler = process_items(permanent_errors=[OSError])(refuses)
    with pytest.raises(PermanentError) as failure:
        handler({"index": 3, "value": 3, "run": run_nowhere})
    place = answers.place_in(refuses, "raise")
    assert json.loads(capsys.readouterr().out)["places"] == {place: 1}
    assert place_of(failure.value) == place  # as Lambda's runtime will write it down


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (["/var/lang/lib/python3.13/site-packages/x.py", "/opt/python/distmap/_process.py"], None),
        (["/opt/python/distmap/_process.py", "/var/task/handler.py"], "handler.py:2 in f1"),
        (["/var/task/pkg/a.py", "/var/lang/lib/python3.13/json/decoder.py"], "pkg/a.py:1 in f0"),
        (["/tmp/cdk.out/asset.0a1b2c/app/handler.py"], "app/handler.py:1 in f0"),  # noqa: S108 - only a name
        (["/home/me/handler.py"], "handler.py:1 in f0"),
        ([], None),
    ],
    ids=["none-of-the-users", "lambda", "standard-library", "asset", "elsewhere", "empty"],
)
def test_a_place_is_read_from_the_stack_trace_of_lambda(files: list[str], place: str | None) -> None:
    stack = [f'  File "{file}", line {at + 1}, in f{at}\n    work()\n' for at, file in enumerate(files)]
    assert place_in(stack) == place


def test_the_traceback_in_a_stack_trace_of_lambda_is_without_our_frames_and_those_of_an_import() -> None:
    files = ["/var/lang/lib/python3.13/importlib/__init__.py", "<frozen importlib._bootstrap>", "/var/task/handler.py"]
    *imports, handler, ours = [
        f'  File "{file}", line 1, in work\n    work()\n' for file in [*files, "/opt/python/distmap/_process.py"]
    ]
    assert traceback_in([*imports, handler, ours]) == handler.rstrip()
    assert traceback_in([ours]) == ours.rstrip()  # rather than nothing


def test_an_error_that_cannot_be_formatted_has_no_traceback() -> None:
    class OddError(Exception):
        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]  # as odd as it gets
            raise RuntimeError

    assert traceback_of(OddError()) is None


def test_an_error_whose_traceback_cannot_be_read_fails_its_item_alone() -> None:
    class OddError(Exception):
        @property
        def __traceback__(self) -> TracebackType:  # type: ignore[override]  # as odd as it gets
            raise RuntimeError

    @process_items
    def handler(item: int) -> int:
        if item == 1:
            raise OddError
        return item

    answer = handler({"Items": [0, 1, 2]})
    assert answer["batchItemFailures"] == [{"itemIdentifier": "1", "error": "OddError", "cause": ""}]
    assert len(answer["batchItemResults"]) == 2


def test_the_traceback_of_an_item_that_took_too_long_shows_what_it_waited_for_and_nothing_of_ours() -> None:
    @process_items(item_timeout=0.01, fail_at_percentage=None)
    async def waiting(item: int) -> None:
        await asyncio.Event().wait()

    @process_items(item_timeout=0.01, fail_at_percentage=None)
    def busy(item: int) -> None:
        while True:
            pass

    for handler, line in ((waiting, "await asyncio.Event().wait()"), (busy, "in busy")):
        (failure,) = handler({"Items": [1]})["batchItemFailures"]
        assert line in failure["traceback"]
        assert "ItemTimeout: the item took longer than its 0.01 s" in failure["traceback"]
        assert "/distmap/_" not in failure["traceback"]
