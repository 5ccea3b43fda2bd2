"""CSV by the grammar of Step Functions, which isn't Python's."""

from __future__ import annotations

import csv
import io

import pytest

from cdk_distributed_map.local.distributed.csv_files import csv_rows
from cdk_distributed_map.local.errors import StateError
from distmap import limits


def rows(text: str, *, delimiter: str = ",", headers: list[str] | None = None) -> list[list[str]]:
    found = list(csv_rows(io.BytesIO(text.encode()), headers=headers, delimiter=delimiter))
    return [list(row.values()) for row in found]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (r"C:\\Program Files\\App.exe,2", [r"C:\Program Files\App.exe", "2"]),
        (r"x\,y,2", ["x,y", "2"]),
        (r"\n\t\x,2", ["ntx", "2"]),
        ("\\", ["", ""]),
        (r"say \"hi\",2", ['say "hi"', "2"]),
        (r'"say \"hi\"",2', ['say "hi"', "2"]),
        (r'"a\\",2', ["a\\", "2"]),
        (r'"a\,b\n",2', ["a,bn", "2"]),
        ('{""k"":""v""},2', ['{"k":"v"}', "2"]),
        ('"{""k"":1}",2', ['{"k":1}', "2"]),
        ('""k"",2', ['"k"', "2"]),
        ('"""k""",2', ['"k"', "2"]),
        ('"",""', ["", ""]),
        ('5" pipe,2', ['5" pipe', "2"]),
        ('"a,b",2', ["a,b", "2"]),
        ('"a\nb",2', ["a\nb", "2"]),
        ('"a\r\n\r\nb",2', ["a\r\n\r\nb", "2"]),
        (" a , 2 ", [" a ", " 2 "]),
        ("only", ["only", ""]),
        ("1,2,3", ["1", "2"]),
        ("é,ü", ["é", "ü"]),
    ],
    ids=str,
)
def test_fields_are_taken_apart_as_step_functions_does(line: str, fields: list[str]) -> None:
    assert rows(f"a,b\n{line}\nz,z\n") == [fields, ["z", "z"]]


@pytest.mark.parametrize("delimiter", ["|", ";", " ", "\t"])
def test_backslashes_escape_the_delimiter_there_is(delimiter: str) -> None:
    text = delimiter.join(("a", "b")) + "\n" + delimiter.join((f"x\\{delimiter}y", "1\\,2"))
    assert rows(text, delimiter=delimiter) == [[f"x{delimiter}y", "1,2"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old-mac"])
def test_lines_may_end_in_three_ways_and_blank_ones_are_no_rows(end: str) -> None:
    assert rows(end.join(["a,b", "1,2", "", '"3",4', ""])) == [["1", "2"], ["3", "4"]]


def test_the_header_has_the_same_grammar() -> None:
    (row,) = csv_rows(io.BytesIO(b'"a ""x""",b\\,c\n1,2\n'), headers=None, delimiter=",")
    assert row == {'a "x"': "1", "b,c": "2"}


def test_given_headers_leave_the_first_row_a_row() -> None:
    assert rows('{""k"":1}\n', headers=["a"]) == [['{"k":1}']]


def test_blocks_may_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a,b\r\n1,"x\r\ny"\r\n\\\\,é\r\n'
    expected = rows(text)
    assert expected == [["1", "x\r\ny"], ["\\", "é"]]
    for size in range(1, 12):
        monkeypatch.setattr("cdk_distributed_map.local.distributed.text_files.BLOCK_BYTES", size)
        assert rows(text) == expected


def test_what_has_no_backslash_reads_as_pythons_csv_does() -> None:
    text = io.StringIO()
    values = ["", "a", 'b"c', "d,e", "f\ng", "h\r\ni", '"', '""', "j'k"]
    csv.writer(text).writerows([["a", "b"], *([one, other] for one in values for other in values if one or other)])
    assert rows(text.getvalue()) == list(csv.reader(io.StringIO(text.getvalue(), newline="")))[1:]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('a\n1\n"x\n\ny', "the quote of line 3 is never closed"),
        ('a\n"x"y\n', "line 2 goes on at column 4 after the quote that ends a field"),
        (
            'a\n"' + f"{'x' * 999}\n" * (limits.MAX_ITEM_BYTES // 1_000 + 1),
            "the row whose quote opens in line 2 is larger than",
        ),
        ("x" * (limits.MAX_ITEM_BYTES + 1), "line 1 has more than the 8388608 bytes of an item"),
        ("a,a\n", "CSV headers cannot contain duplicates."),
        ("a" * (limits.MAX_CSV_HEADER_BYTES + 1) + "\n", "CSV headers cannot exceed 10240 bytes."),
    ],
    ids=["open", "after-a-quote", "large-row", "large-line", "duplicates", "large-header"],
)
def test_fails_when_it_is_no_csv(text: str, cause: str) -> None:
    with pytest.raises(StateError) as caught:
        rows(text)
    assert cause in str(caught.value.cause)
