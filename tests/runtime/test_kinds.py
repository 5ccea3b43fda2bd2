"""Failures are of one kind where error, place and message agree but for values: the one grouping of them."""

from __future__ import annotations

import pytest

from distmap._item_states import ItemStates
from distmap._kinds import MOST_KINDS, MOST_KINDS_OF_AN_ERROR, OTHER_MESSAGES, Kind, Kinds, pattern_of


@pytest.mark.parametrize(
    ("cause", "pattern"),
    [
        ("order 17 isn't there, and 'abc def' can't be", "order # isn't there, and '#' can't be"),
        ('no "Bob" in `table`', 'no "#" in `#`'),
        ("id 550e8400-e29b-41d4-a716-446655440000 is gone", "id # is gone"),
        ("etag deadbeef12 at 0xff, cafebabe", "etag # at #, cafebabe"),
        ("2026-11-28T17:47:06.123Z and 2026-11-28 17:47:06", "# and #"),
        ("-1.5e-7 of 1,234,567 in 3-17, user-17", "# of # in #-#, user-#"),
        ("see s3://bucket/a/b.json, or arn:aws:s3:::x.", "see #, or #."),
        ("'name'", "'#'"),
        ("two\n  lines  here", "two lines here"),
        ("10.0.0.1:8080 refused", "# refused"),
        ("", ""),
    ],
    ids=str,
)
def test_values_are_folded(cause: str, pattern: str) -> None:
    assert pattern_of(cause) == pattern


def test_a_long_message_is_of_the_kind_of_its_beginning() -> None:
    assert pattern_of("a" * 400) == pattern_of("a" * 500)


def test_kinds_are_bounded_and_the_rest_of_an_error_is_one() -> None:
    kinds = Kinds()
    words = [chr(0x61 + n // 26) + chr(0x61 + n % 26) for n in range(2 * MOST_KINDS_OF_AN_ERROR)]
    found = {kinds.kind("ValueError", "a.py:1 in f", word) for word in words}
    assert len(found) == MOST_KINDS_OF_AN_ERROR + 1
    assert Kind("ValueError", None, OTHER_MESSAGES) in found
    assert kinds.kind("ValueError", "a.py:1 in f", words[0]) == Kind("ValueError", "a.py:1 in f", words[0])
    others = {kinds.kind(f"Error{n}", None, "x") for n in range(2 * MOST_KINDS)}
    assert len([kind for kind in others if kind.message == "x"]) == MOST_KINDS - MOST_KINDS_OF_AN_ERROR


def test_every_failure_is_counted_once_however_many_kinds_there_are() -> None:
    states = ItemStates(3_000, named=["Named"])
    for index in range(3_000):
        error = "Named" if index == 2_999 else f"Error{index % 300}"
        states.fail(index, error, f"{chr(0x61 + index % 26)} {index}", child=None, place=f"a.py:{index % 7} in f")
    assert sum(kind.count for kind in states.errors()) == 3_000
    assert [kind.count for kind in states.errors() if kind.error == "Named"] == [1]
    for index in range(0, 3_000, 7):
        error = "Named" if index == 2_999 else f"Error{index % 300}"
        assert states.is_counted_as(index, error, timed_out=False, permanent=False)
    again = ItemStates(0)
    again.resume(states.suspend(), bytes(states.bytes))
    assert again.errors() == states.errors()
    for each in (states, again):
        each.reset([0])
        each.fail(0, "Error0", "b 0", child=None, place="a.py:1 in f")
    assert again.errors() == states.errors()


def test_a_kind_has_an_example_with_its_input_and_a_traceback() -> None:
    states = ItemStates(3)
    states.fail(0, "ValueError", "bad 0", child="c", place="a.py:1 in f", item=({"n": 0},))
    states.fail(1, "ValueError", "bad 1", child="c", place="a.py:1 in f", traceback="Traceback ...", item=("x" * 900,))
    states.fail(2, "ValueError", "bad 2", child="c", place="a.py:2 in f")
    first, second = states.errors()
    assert (first.place, first.message, first.count, first.traceback) == ("a.py:1 in f", "bad #", 2, "Traceback ...")
    assert [example.input for example in first.examples] == ['{"n": 0}', f'"{"x" * 496}...']
    assert (second.place, second.count, second.traceback) == ("a.py:2 in f", 1, None)
    assert second.examples[0].input is None
