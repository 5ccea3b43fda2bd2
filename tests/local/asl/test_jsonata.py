"""JSONata as AWS runs it: what the reference implementation, 2.0.6, says of the same expressions."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.local.asl import jsonata_language
from cdk_distributed_map.local.asl.jsonata import Expression
from cdk_distributed_map.local.errors import StateError, UnsupportedError

INPUT = {"n": 5, "t": True, "none": None, "mixed": [1, "1"], "o": {"k": "v"}}


def value(text: str) -> Any:
    return Expression(text).value({"states": {"input": INPUT}}, "Output")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("'a' + 1", 'T2001: The left side of the "+" operator must evaluate to a number'),
        ("1 - null", 'T2002: The right side of the "-" operator must evaluate to a number'),
        ("$states.input.t * 2", 'T2001: The left side of the "*" operator must evaluate to a number'),
        ("'a' < 1", 'T2009: The values "a" and 1 either side of operator "<" must be of the same data type'),
        (
            "true > false",
            'T2010: The expressions either side of operator ">" must evaluate to numeric or string values',
        ),
        ("-'a'", 'D1002: Cannot negate a non-numeric value: "a"'),
        ("-null", "D1002: Cannot negate a non-numeric value: null"),
        ("1 / 0 + 1", "D1001: Number out of range: null"),
        ("0 / 0 + 1", 'T2001: The left side of the "+" operator must evaluate to a number'),
        (
            "$string(1 / 0)",
            "D3001: Attempting to invoke string function on Infinity or NaN",
        ),
        (
            "$toMillis('2026-01-01 00:00:00')",
            (
                "D3110: The argument of the toMillis function must be an ISO 8601 formatted timestamp. "
                'Given "2026-01-01 00:00:00"'
            ),
        ),
        ("$decodeUrlComponent('%zz')", 'D3140: Malformed URL passed to $decodeUrlComponent(): "%zz"'),
        ("['a'..'b']", "T2003: The left side of the range operator (..) must evaluate to an integer"),
        ("{5: 1}", "T1003: Key in object structure must evaluate to a string; got: 5"),
        ("$foo(1)", "T1006: Attempted to invoke a non-function"),
        ("$states.input.n(1)", "T1006: Attempted to invoke a non-function"),
        ("uppercase('a')", "T1005: Attempted to invoke a non-function. Did you mean $uppercase?"),
        ("5 ~> 6", "T2006: The right side of the function application operator ~> must be a function"),
        ("$uppercase(5)", 'T0410: Argument 1 of function "uppercase" does not match function signature'),
        ("$uppercase(null)", 'T0410: Argument 1 of function "uppercase" does not match function signature'),
        ("$uppercase('a', 'b')", 'T0410: Argument 2 of function "uppercase" does not match function signature'),
        ("$split('abc', '-', 'x')", 'T0410: Argument 3 of function "split" does not match function signature'),
        ("$pad('a')", 'T0410: Argument 2 of function "pad" does not match function signature'),
        ("$sum(['a'])", 'T0412: Argument 1 of function "sum" must be an array of "numbers"'),
        ("$sum(null)", 'T0412: Argument 1 of function "sum" must be an array of "numbers"'),
        ("$join([1])", 'T0412: Argument 1 of function "join" must be an array of "strings"'),
        ("$merge(5)", 'T0412: Argument 1 of function "merge" must be an array of "objects"'),
        ("$number('x')", 'D3030: Unable to cast value to a number: "x"'),
        ("$map(['1', 'x'], function($v) { $number($v) })", 'D3030: Unable to cast value to a number: "x"'),
        ("$sqrt(-1)", "D3060: The sqrt function cannot be applied to a negative number: -1"),
        (
            "$power(-1, 0.5)",
            (
                "D3061: The power function has resulted in a value that cannot be represented as a JSON number: "
                "base=-1, exponent=0.5"
            ),
        ),
        (
            "$sort($states.input.mixed)",
            (
                "D3070: The single argument form of the sort function can only be applied to an array of strings or an "
                "array of numbers.  Use the second argument to specify a comparison function"
            ),
        ),
        (
            "$formatBase(255, 50)",
            "D3100: The radix of the formatBase function must be between 2 and 36.  It was given 50",
        ),
        (
            "$toMillis('x')",
            'D3110: The argument of the toMillis function must be an ISO 8601 formatted timestamp. Given "x"',
        ),
        (
            "$single([1, 2])",
            "D3138: The $single() function expected exactly 1 matching result.  Instead it matched more.",
        ),
        ("$replace('abc', '', 'x')", "D3010: Second argument of replace function cannot be an empty string"),
        ("$error('oops')", "D3137: oops"),
        ("$assert(false, 'no')", "D3141: no"),
        ("$range(1, 'a', 1)", 'T0410: Argument 2 of function "range" does not match function signature'),
        ("$parse(5)", 'T0410: Argument 1 of function "parse" does not match function signature'),
        ("$eval('1')", "T1006: Attempted to invoke a non-function"),
    ],
)
def test_fails_when_jsonata_of_aws_fails(text: str, told: str) -> None:
    with pytest.raises(StateError) as failed:
        value(text)
    place = f"The JSONata expression '{text}' specified for the field 'Output' threw an error during evaluation. "
    assert failed.value.cause == place + told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.5 % 2", 1.5),
        ("-5 % 3", -2),
        ("$count(null)", 1),
        ("$type($states.input.none)", "null"),
        ("$distinct([{'a': 1}, {'a': 1.0}])", [{"a": 1}]),
        ("$distinct([1, '1', 1.0, true, null, null])", [1, "1", True, None]),
        ("$distinct($states.input.mixed[0])", 1),
        ("[1, 2] ~> $map(function($v) { $v * 2 })", [2, 4]),
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("'abc' ~> $hash('MD5')", "900150983cd24fb0d6963f7d28e17f72"),
        # Measured on AWS: what is no number of JSON's is a text, and no error before it is calculated with.
        ("[1 / 0, -1 / 0, 0 / 0, 1e308 * 10]", ["Infinity", "-Infinity", "NaN", "Infinity"]),
        ("$floor(1 / 0)", "Infinity"),
        ("1 / 0 > 5", True),
        ("$parseInteger('abc', '0')", "NaN"),
        ("$string(1e20)", "100000000000000000000"),
        ("$string(999999999999999868928)", "999999999999999900000"),
        ("[$string(1e19), $string(1e21)]", ["10000000000000000000", "1e+21"]),
        ("$partition([1, 2, 3], 1.5)", [[1], [2], [3]]),
        ("$exists($partition([], 2)) or $exists($partition([1], 0))", False),
        ("$parse(\"{'a': 'say \\\"hi\\\"'}\")", {"a": 'say "hi"'}),
        ("$base64decode('YWJ')", "ab"),
        ("['\U0001f600' < '\uffee', 'a' <= 'a', 'a' > 'B', 'b' >= 'c']", [True, True, True, False]),
        ("$decodeUrlComponent('a+b%E6')", "a b\ufffd"),
        ("$toMillis('2026-01-01T00:00:00')", 1767225600000),
        ("1" + " + 1" * 99, 100),
    ],
    ids=str,
)
def test_values_are_those_of_aws(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize("text", ["$states.input.x ?? 1", "$states.input.x ?: 1", "!", "1 +", "("])
def test_fails_when_aws_cannot_parse_it(text: str) -> None:
    with pytest.raises(UnsupportedError, match="the JSONata expression"):
        Expression(text)


@pytest.mark.parametrize("text", ["$parse('NaN')", "$parse('1e400')", '$parse(\'{"a": 1, "a": 2}\')', "$parse('{')"])
def test_fails_when_a_text_is_not_json(text: str) -> None:
    with pytest.raises(StateError, match="The argument of function parse is not JSON"):
        value(text)


@pytest.mark.parametrize("text", ["$base64decode('!!!')", "$partition([1], -1)"])
def test_fails_when_an_argument_is_out_of_range(text: str) -> None:
    with pytest.raises(StateError, match="D3137"):
        value(text)


RECURSIVE = "($f := function($x) { $x <= 0 ? 0 : 1 + $f($x - 1) }; $f(%s))"


# As measured on AWS: the last that it takes, and the first that it doesn't.
@pytest.mark.parametrize("text", [RECURSIVE % 31, "(" * 99 + "1" + ")" * 99], ids=["calls", "brackets"])
def test_expressions_nest_as_deeply_as_on_aws(text: str) -> None:
    assert value(text) in {1, 31}


@pytest.mark.parametrize("text", [RECURSIVE % 32, "1" + " + 1" * 100], ids=["calls", "sum"])
def test_fails_when_an_expression_nests_too_deeply(text: str) -> None:
    with pytest.raises(StateError) as failed:
        value(text)
    assert str(failed.value.cause).endswith(
        "threw an error during evaluation: Stack overflow error: Check for non-terminating recursive function. "
        "Consider rewriting as tail-recursive"
    )


def test_fails_when_an_expression_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonata_language, "MAX_SECONDS", 0)
    with pytest.raises(StateError) as failed:
        value("($f := function($x) { $f($x + 1) }; $f(1))")
    assert str(failed.value.cause).endswith(": Expression evaluation timeout: Check for infinite loop")


def test_parts_that_follow_each_other_do_not_nest() -> None:
    text = "$map([1..2000], function($v) { {'a': $v * 2 + 1, 'b': $string($v) & 'x', 'c': $v.d, 'e': $exists($v)} })"
    assert len(value(text)) == 2000


def test_an_expression_that_failed_for_its_depth_can_be_evaluated_again() -> None:
    expression = Expression("($f := function($x) { $x <= 0 ? 0 : 1 + $f($x - 1) }; $f($n))")
    with pytest.raises(StateError):
        expression.value({"n": 50}, "Output")
    assert expression.value({"n": 20}, "Output") == 20
