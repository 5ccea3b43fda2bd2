"""Items as types, and results that have one obvious JSON form."""

# No `from __future__ import annotations`: annotations are texts in some handlers here and types in others.

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pytest

from distmap import InvalidItemError, NotJsonError, PermanentError, process_items
from distmap._json import plain
from distmap._types import reader_of


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    BOB = "Bob"


@dataclasses.dataclass(frozen=True)
class Line:
    sku: str
    number: int = 1


@dataclasses.dataclass
class Order:
    id: int
    lines: list[Line]
    color: Color | None = None
    day: date | None = None
    price: Decimal = Decimal(0)
    kind: Literal["new", "old"] = "new"
    parent: Optional["Order"] = None
    notes: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    total: float = dataclasses.field(init=False, default=0.5)


Content = TypeVar("Content")


@dataclasses.dataclass
class Page(Generic[Content]):
    content: list[Content]
    first: Content | None = None


class LinePage(Page[Line]):
    """Inherits what is on it."""


class Box(TypedDict, Generic[Content]):
    content: Content


@dataclasses.dataclass
class Measure:
    of: float


@dataclasses.dataclass
class Area:
    width: int
    height: dataclasses.InitVar[int]
    scale: dataclasses.InitVar[int] = 1
    sides: ClassVar[int] = 4
    size: int = dataclasses.field(init=False)

    def __post_init__(self, height: int, scale: int) -> None:
        self.size = self.width * height * scale


class Place(TypedDict):
    city: str
    at: NotRequired[tuple[float, float]]


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclasses.dataclass
class Checked:
    share: float

    def __post_init__(self) -> None:
        if self.share > 1:
            message = "share is over 1"
            raise ValueError(message)


Code = NewType("Code", str)


def read(annotation: Any, value: Any) -> Any:
    """What a function gets whose parameter is annotated so."""
    found = []

    def work(item: Any) -> None:
        found.append(item)

    work.__annotations__["item"] = annotation
    answer = process_items(fail_at_percentage=None)(work)({"Items": [value]})
    for failure in answer["batchItemFailures"]:
        assert (failure["error"], failure["permanent"]) == ("InvalidItemError", True)
        raise InvalidItemError(failure["cause"])
    return found[0]


ORDER = {"id": 1, "lines": [{"sku": "a"}, {"sku": "b", "number": 2, "more": 0}]}


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Order, ORDER, Order(1, [Line("a"), Line("b", 2)])),
        (
            Order,
            {**ORDER, "parent": ORDER},
            Order(1, [Line("a"), Line("b", 2)], parent=Order(1, [Line("a"), Line("b", 2)])),
        ),
        (Order, {"id": 2.0, "lines": [], "color": "blue"}, Order(2, [], Color.BLUE)),
        (Order, {"id": 2, "lines": [], "day": "2026-01-31"}, Order(2, [], day=date(2026, 1, 31))),
        (Order, {"id": 2, "lines": [], "price": 1.5}, Order(2, [], price=Decimal("1.5"))),
        (Order, {"id": 2, "lines": [], "notes": {"a": [1]}}, Order(2, [], notes={"a": [1]})),
        (Line, {"sku": "a", "number": 3}, Line("a", 3)),
        (list[Line], [{"sku": "a"}], [Line("a")]),
        (Sequence[Line], [{"sku": "a"}], [Line("a")]),
        (dict[str, Line], {"x": {"sku": "a"}}, {"x": Line("a")}),
        (Mapping[int, Line], {"3": {"sku": "a"}}, {3: Line("a")}),
        (Line | None, None, None),
        (Line | int, 3, 3),
        (Line | Point, {"x": 1}, Point(1)),
        (Point, {"x": 1, "y": 2}, Point(1, 2)),
        (Place, {"city": "Bern", "at": [1, 2.5], "more": 1}, {"city": "Bern", "at": (1.0, 2.5), "more": 1}),
        (Annotated[Line, "of an order"], {"sku": "a"}, Line("a")),
        (Page[Line], {"content": [{"sku": "a"}]}, Page([Line("a")])),
        (Page[Line], {"content": [], "first": {"sku": "a"}}, Page([], Line("a"))),
        (Page[Page[Line]], {"content": [{"content": [{"sku": "a"}]}]}, Page([Page([Line("a")])])),
        (LinePage, {"content": [{"sku": "a"}]}, LinePage([Line("a")])),
        (Page, {"content": [{"sku": "a"}]}, Page([{"sku": "a"}])),
        (Box[Line], {"content": {"sku": "a"}}, {"content": Line("a")}),
        (Area, {"width": 2, "height": 3}, Area(2, 3)),
        (Area, {"width": 2, "height": 3, "scale": 2}, Area(2, 3, 2)),
        (set[Color], ["red", "red"], {Color.RED}),
        (tuple[Color, ...], ["red"], (Color.RED,)),
        (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
        (datetime, "2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (time, "12:00", time(12)),
        (Path, "a/b", Path("a/b")),
        (Level, 1, Level.LOW),
        (Name, "Bob", Name.BOB),
        (Code, "x", "x"),
        (Literal[1, "a", None], None, None),
        (int, "no number", "no number"),
        (dict[str, int], {"a": "b"}, {"a": "b"}),
        (list[Any] | None, 5, 5),
    ],
    ids=str,
)
def test_an_item_is_read_as_the_type_of_the_parameter(annotation: Any, value: Any, expected: Any) -> None:
    found = read(annotation, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Order, {"id": "1", "lines": []}, '$.id: expected a whole number, got "1"'),
        (Order, {"id": True, "lines": []}, "$.id: expected a whole number, got true"),
        (Order, {"id": 1.5, "lines": []}, "$.id: expected a whole number, got 1.5"),
        (Order, {"id": 1}, '$: Order lacks lines, got {"id": 1}'),
        (Order, [1], "$: expected an object (Order), got [1]"),
        (Order, {"id": 1, "lines": {}}, "$.lines: expected a list, got {}"),
        (Order, {"id": 1, "lines": [{"sku": "a"}, {"sku": 3}]}, "$.lines[1].sku: expected a text, got 3"),
        (Order, {**ORDER, "color": "green"}, '$.color: expected "red" or "blue" or null, got "green"'),
        (Order, {**ORDER, "kind": "newer"}, '$.kind: expected "new" or "old", got "newer"'),
        (Order, {**ORDER, "price": "much"}, '$.price: expected a decimal number, got "much"'),
        (Order, {**ORDER, "notes": {"a": [1, "b"]}}, '$.notes.a[1]: expected a whole number, got "b"'),
        (Order, {**ORDER, "parent": {"id": 1, "lines": [1]}}, "$.parent.lines[0]: expected an object (Line), got 1"),
        (Order, {**ORDER, "day": "31.1.2026"}, '$.day: expected a date such as 2026-01-31 or null, got "31.1.2026"'),
        (Line, {"sku": "x" * 200, "number": "y"}, '$.number: expected a whole number, got "y"'),
        (Line, {"sku": None}, "$.sku: expected a text, got null"),
        (Place, {"at": [1, 2]}, '$: Place lacks city, got {"at": [1, 2]}'),
        (Place, {"city": "Bern", "at": [1]}, "$.at: expected a list of 2, got [1]"),
        (UUID, "1", '$: expected a UUID, got "1"'),
        (Page[Line], {"content": [{"sku": 1}]}, "$.content[0].sku: expected a text, got 1"),
        (LinePage, {"content": [], "first": 1}, "$.first: expected an object (Line) or null, got 1"),
        (Area, {"width": 2}, '$: Area lacks height, got {"width": 2}'),
        (Area, {"width": 2, "height": "x"}, '$.height: expected a whole number, got "x"'),
        (Measure, {"of": 10**400}, f"$.of: expected a number, got 1{'0' * 76}..."),
        (Checked, {"share": 2}, '$: share is over 1, got {"share": 2}'),
        (dict[int, Line], {"a": {}}, '$: expected a whole number, got "a"'),
        (Line, ["z" * 200], f'$: expected an object (Line), got ["{"z" * 75}...'),
    ],
    ids=str,
)
def test_fails_when_an_item_does_not_fit_and_says_where(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(InvalidItemError) as failure:
        read(annotation, value)
    assert str(failure.value) == message


def test_an_item_that_does_not_fit_fails_alone() -> None:
    @process_items
    def handler(item: "Line") -> str:
        return item.sku

    answer = handler({"Items": [{"sku": "a"}, {"sku": 1}, {"sku": "c"}]})
    assert [each["result"] for each in answer["batchItemResults"]] == ["a", "c"]
    assert [each["itemIdentifier"] for each in answer["batchItemFailures"]] == ["1"]


def test_a_single_item_that_does_not_fit_is_permanent() -> None:
    @process_items
    def handler(item: Line) -> str:
        return item.sku

    with pytest.raises(PermanentError, match=r"^InvalidItemError: \$\.sku: expected a text"):
        handler({"sku": 1})
    assert handler({"sku": "a"}) == "a"


def test_a_class_below_the_handler_is_known_when_it_is_called() -> None:
    @process_items
    def handler(item: "_Later") -> int:
        return item.n

    class _Later(NamedTuple):
        n: int

    names = globals()
    names["_Later"] = _Later
    try:
        assert handler({"n": 3}) == 3
    finally:
        del names["_Later"]


def test_a_name_for_type_checkers_alone_is_said_once_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    @process_items
    def handler(item: "NoSuchName") -> Any:  # type: ignore[name-defined]  # noqa: F821 - what is tested
        return item

    assert [handler(3), handler(4)] == [3, 4]
    messages = [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]
    assert sum("NoSuchName" in message for message in messages) == 1


@pytest.mark.parametrize("annotation", ["the order as it came", "dataclasses.Missing"])
def test_a_text_that_is_no_type_is_said_and_changes_nothing(
    annotation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def handler(item):  # type: ignore[no-untyped-def] # annotated below
        return item["n"]

    handler.__annotations__["item"] = annotation
    assert process_items(handler)({"n": 1}) == 1
    assert "are not checked against its annotation" in capsys.readouterr().out


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` is a statement since Python 3.12")
def test_a_type_with_a_name_may_have_itself_in_it() -> None:
    names: dict[str, Any] = {"Line": Line}
    exec("type Tree = dict[str, Tree] | Line", names)  # noqa: S102 - no syntax of Python 3.11
    assert read(names["Tree"], {"a": {"b": {"sku": "x"}}}) == {"a": {"b": Line("x")}}


@pytest.mark.parametrize("annotation", [object, Any, dict, None, list[dict[str, Any]]], ids=str)
def test_types_of_json_change_nothing(annotation: Any) -> None:
    value = object() if annotation is object else {"a": 1}
    assert read(annotation, {"a": 1}) == {"a": 1}
    assert value is not None


@pytest.mark.parametrize("annotation", [bytes, complex, list[bytes], Callable[[], int]], ids=str)
def test_fails_when_no_item_can_be_read_as_a_type(annotation: Any) -> None:
    def work(item: Any) -> None:
        pass

    work.__annotations__["item"] = annotation
    with pytest.raises(
        TypeError, match=r"^@process_items: .*work: an item can't be read as .*; annotate the item with"
    ):
        process_items(work)


def test_strict_pydantic_models_take_what_json_has() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # it may not be there
        model_config = pydantic.ConfigDict(strict=True)
        when: datetime
        key: UUID
        number: int

    key = "12345678-1234-5678-1234-567812345678"
    item = {"when": "2026-01-31T10:00:00", "key": key, "number": 1}
    read = reader_of(Model, "it")
    assert read is not None
    assert read(item) == Model(when=datetime(2026, 1, 31, 10), key=UUID(key), number=1)  # noqa: DTZ001 - as it says
    with pytest.raises(InvalidItemError, match=r'^\$\.number: input should be a valid integer, got "1"$'):
        read({**item, "number": "1"})


def test_fails_when_a_model_is_of_pydantic_1() -> None:
    old = pytest.importorskip("pydantic.v1")

    class Model(old.BaseModel):  # type: ignore[misc, name-defined]  # it may not be there
        a: int = 1

    with pytest.raises(TypeError, match=r"can't be read as Model; annotate the item with .* a model of pydantic 2 or"):
        reader_of(Model, "it")
    with pytest.raises(
        NotJsonError, match=r"\$\[0\]: .* \(a model of pydantic 1: return json\.loads\(its json\(\)\)\)"
    ):
        plain([Model()], what="it")


def test_pydantic_models_are_read_by_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # it may not be there
        n: int
        tags: list[str] = []  # noqa: RUF012 - a default of pydantic's

    @dataclasses.dataclass
    class Around:
        models: list[Model]

    Around.__annotations__["models"] = list[Model]
    assert read(Model, {"n": 1}) == Model(n=1)
    assert read(list[Model] | None, [{"n": 1}]) == [Model(n=1)]
    assert read(Around, {"models": [{"n": 1}]}) == Around([Model(n=1)])
    with pytest.raises(InvalidItemError) as failure:
        read(Model, {"n": "x", "tags": [1]})
    first, second = str(failure.value).split("; ")
    assert first.startswith("$.n: input should be a valid integer")
    assert first.endswith('got "x"')
    assert second == "$.tags[0]: input should be a valid string, got 1"
    assert plain({"a": [Model(n=1)]}, what="it")[0] == {"a": [{"n": 1, "tags": []}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Line("a"), {"sku": "a", "number": 1}),
        (Order(1, [Line("a")], Color.RED, date(2026, 1, 31), Decimal("1.10")), None),
        (Decimal("1.10"), 1.1),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
        (time(12), "12:00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("a/b"), "a/b"),
        (Color.RED, "red"),
        (Level.LOW, 1),
        (Name.BOB, "Bob"),
        (Point(1, 2), [1, 2]),
    ],
    ids=str,
)
def test_a_result_takes_its_one_obvious_form(value: Any, expected: Any) -> None:
    found, size = plain({"a": [value]}, what="it")
    if expected is not None:
        assert found == {"a": [expected]}
    assert size == len(json.dumps(found, ensure_ascii=False).encode())


class NoTime(date):
    """What stands for no time in pandas is of a type of times, too."""

    def isoformat(self) -> str:
        return "NaT"


def test_numpy_scalars_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    values = [numpy.float32(1.5), numpy.int64(3), numpy.bool_(True), numpy.float64(2.5)]
    assert plain(values, what="it")[0] == [1.5, 3, True, 2.5]
    with pytest.raises(NotJsonError, match=r"it is not JSON at \$\.a: .*ndarray.* \(return its tolist\(\)\)"):
        plain({"a": numpy.zeros(2)}, what="it")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [0, 1, 2, {"b": {1}}]}, r"at \$\.a\[3\]\.b: object of type set .* \(a set has no order: return sorted"),
        ({"a": [0, b"x"]}, r"at \$\.a\[1\]: object of type bytes .* base64"),
        ([Line(object())], r"at \$\[0\]\.sku: object of type object"),  # type: ignore[arg-type]  # what is tested
        ({"a b": {"c": float("nan")}}, r"at \$\['a b'\]\.c: "),
        ({"a": {1, 2}, "b": {3}}, r"at \$\.a: "),
        ([[["\ud800"]]], r"at \$\[0\]\[0\]\[0\]: "),
        (object(), r"^the result is not JSON: object of type object"),
        ({"a": {("b",): 1}}, r"at \$\.a: keys must be "),
        ([timedelta(1)], r"at \$\[0\]: object of type timedelta .* \(return its total_seconds\(\)\)"),
        ([{}.values()], r"at \$\[0\]: object of type dict_values .* \(return list\(\.\.\.\) of it\)"),
        ({"a": NoTime(1, 1, 1)}, r"at \$\.a: the date NaT is none that JSON has \(return None\)"),
    ],
    ids=["set", "bytes", "field", "nan", "first of two", "surrogate", "itself", "key", "timedelta", "values", "NaT"],
)
def test_fails_when_a_part_of_a_result_is_not_json_and_says_where(value: Any, message: str) -> None:
    with pytest.raises(NotJsonError, match=message):
        plain(value, what="the result")
