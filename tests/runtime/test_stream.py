"""JSON values out of streams that are cut anywhere, and objects read over connections that break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ResponseStreamingError
from hypothesis import given, settings
from hypothesis import strategies as st

from distmap import Result, ResultsError
from distmap._indexes import IndexSet
from distmap._stream import array_elements, lines, member_elements, object_chunks
from distmap.limits import MAX_ITEMS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def cut(text: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut a stream into pieces of these sizes, over and over."""
    position = turn = 0
    while position < len(text):
        size = sizes[turn % len(sizes)]
        yield text[position : position + size]
        position += size
        turn += 1


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@settings(deadline=None)
@given(
    value=st.lists(JSON, max_size=8),
    sizes=SIZES,
    indent=st.none() | st.integers(0, 2),
    escaped=st.sampled_from(["escaped", "as it is"]),
)
def test_an_arrays_elements_are_those_that_json_reads(
    value: list[Any], sizes: list[int], indent: int | None, escaped: str
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped == "escaped").encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    assert list(array_elements(cut(text, sizes))) == value


@settings(deadline=None)
@given(
    value=st.dictionaries(st.text(alphabet="ab"), JSON, max_size=4), sizes=SIZES, indent=st.none() | st.integers(0, 2)
)
def test_an_objects_members_are_those_that_json_reads(
    value: dict[str, Any], sizes: list[int], indent: int | None
) -> None:
    text = json.dumps(value, indent=indent).encode()
    expected = [
        (key, element)
        for key, member in value.items()
        for element in (member if isinstance(member, list) else [member])
    ]
    assert list(member_elements(cut(text, sizes))) == expected


@settings(deadline=None)
@given(
    values=st.lists(st.text(alphabet="ab \r", max_size=6), max_size=10), sizes=SIZES, end=st.sampled_from(["", "\n"])
)
def test_lines_are_those_between_the_newlines(values: list[str], sizes: list[int], end: str) -> None:
    text = ("\n".join(values) + end).encode()
    assert list(lines(cut(text, sizes))) == [value.encode() for value in values if value.strip()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "expected '[' at character 0, found ''"),
        (b"{}", "expected '[' at character 0, found '{"),
        (b"[1 2]", "expected ',' at character 3, found '2"),
        (b"[1,", "expected a JSON value at character 3, found ''"),
        (b"[1,]", "expected a JSON value at character 3, found ']'"),
        (b'["a', "expected a JSON value at character 1, found '\"a'"),
        (b"[1] 2", "expected the end at character 4, found '2'"),
        (b"[1", "expected ',' at character 2, found ''"),
        (b'["\xff"]', "expected UTF-8 text"),
    ],
    ids=["empty", "object", "no-comma", "cut-off", "comma-at-the-end", "open-text", "more", "open", "no-utf-8"],
)
@pytest.mark.parametrize("size", [1, 100], ids=["byte-by-byte", "whole"])
def test_fails_when_it_is_no_array(text: bytes, found: str, size: int) -> None:
    with pytest.raises(ResultsError) as failure:
        list(array_elements(cut(text, [size])))
    assert found in str(failure.value)


def test_fails_when_a_value_never_ends_before_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmap._stream.LARGEST_VALUE", 10_000)
    read: list[int] = []

    def endless() -> Iterator[bytes]:
        yield b'["'
        while True:
            read.append(1)
            yield b"x" * 1000

    with pytest.raises(ResultsError, match="a JSON value of at most 10,000 characters"):
        list(array_elements(endless()))
    assert len(read) < 50


def test_a_long_value_is_tried_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from distmap import _stream

    tried: list[int] = []
    decode = _stream.decode_raw

    def counting(text: str, position: int) -> Any:
        tried.append(1)
        return decode(text, position)

    monkeypatch.setattr(_stream, "decode_raw", counting)
    text = json.dumps(["x" * 1_000_000]).encode()
    assert list(array_elements(cut(text, [1000]))) == ["x" * 1_000_000]
    assert len(tried) < 20


class Breaks:
    """Cuts the connection of a GetObject after so many bytes, as often as it is told."""

    def __init__(self, after: int, times: int) -> None:
        self.after, self.times = after, times
        self.ranges: list[str | None] = []

    def request(self, params: dict[str, Any], **_: Any) -> None:
        self.ranges.append(params.get("Range"))

    def answer(self, parsed: dict[str, Any], **_: Any) -> None:
        if self.times:
            self.times -= 1
            body = parsed["Body"]
            whole, left = body.read, [self.after]

            def read(size: int) -> bytes:
                if left[0] == 0:
                    raise ResponseStreamingError(error="connection reset")
                piece: bytes = whole(min(size, left[0]))
                left[0] -= len(piece)
                return piece

            body.read = read


def test_a_connection_that_breaks_is_taken_up_where_it_broke(s3: S3Client, bucket: str) -> None:
    content = bytes(range(256)) * 20_000
    s3.put_object(Bucket=bucket, Key="k", Body=content)
    breaks = Breaks(after=1_500_000, times=2)
    s3.meta.events.register("provide-client-params.s3.GetObject", breaks.request)
    s3.meta.events.register("after-call.s3.GetObject", breaks.answer)
    assert b"".join(object_chunks(s3, bucket, "k")) == content
    assert breaks.ranges == [None, "bytes=1500000-", "bytes=3000000-"]


def test_fails_when_connections_break_again_and_again(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"content")
    breaks = Breaks(after=0, times=100)
    s3.meta.events.register("provide-client-params.s3.GetObject", breaks.request)
    s3.meta.events.register("after-call.s3.GetObject", breaks.answer)
    with pytest.raises(ResponseStreamingError):
        list(object_chunks(s3, bucket, "k"))
    assert len(breaks.ranges) == 5


def test_fails_when_the_object_changes_while_it_is_read(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 3_000_000)
    breaks = Breaks(after=1_500_000, times=1)
    s3.meta.events.register("after-call.s3.GetObject", breaks.answer)
    chunks = object_chunks(s3, bucket, "k")
    next(chunks)
    s3.put_object(Bucket=bucket, Key="k", Body=b"y" * 3_000_000)
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        list(chunks)


@settings(deadline=None)
@given(indexes=st.lists(st.integers(0, 200_000) | st.integers(MAX_ITEMS - 3, MAX_ITEMS - 1), max_size=40))
def test_an_index_is_new_once(indexes: list[int]) -> None:
    ours, single, reference = IndexSet(), IndexSet(), set[int]()
    for index in indexes:
        thing = Result(index, None)
        assert ours.add_new([thing]) == ([] if index in reference else [thing])
        assert single.add(index) == (index not in reference)
        reference.add(index)
    fresh = [result.index for result in IndexSet().add_new(Result(index, None) for index in indexes)]
    assert fresh == list(dict.fromkeys(indexes))


def test_what_has_no_index_is_always_new() -> None:
    assert len(IndexSet().add_new([Result(None, 1), Result(None, 1)])) == 2


@pytest.mark.parametrize("index", [-1, -8, MAX_ITEMS, 10**30], ids=str)
def test_fails_when_an_index_is_out_of_range(index: int) -> None:
    with pytest.raises(ResultsError, match="a map has at most 100,000,000 items"):
        IndexSet().add_new([Result(index, None)])
    with pytest.raises(ResultsError, match="a map has at most 100,000,000 items"):
        IndexSet().add(index)
