# SPDX-License-Identifier: MIT
"""The short way to JSON gives what the long one gives."""

from __future__ import annotations

import json
import math

import pytest

from openpaisdk._json import dump_json, parse_json

VALUES = [
    None,
    True,
    0,
    -12,
    10**30,
    1.5,
    1e300,
    "",
    'quote " backslash \\ tab \t ü € 𐍈 \u2028 \x7f \x00',
    [],
    {},
    [1, [2, {"a": None}]],
    {"a": 1, "ü": [True, False], "nested": {"b": "c"}},
    {"jobs": ["me~a"], "timeout_s": 30.0, "mode": "all"},
]


@pytest.mark.parametrize("value", VALUES)
def test_values_are_written_as_json_writes_them(value):
    assert dump_json(value) == json.dumps(value)


@pytest.mark.parametrize("value", [(1, 2), {1: "a"}, float("inf")])
def test_unusual_values_are_left_to_json(value):
    assert dump_json(value) == json.dumps(value)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("indent", [None, 2])
def test_values_come_back_as_from_json(value, indent):
    text = json.dumps(value, indent=indent)
    readable = json.dumps(value, ensure_ascii=False)
    assert parse_json(text) == parse_json(readable) == parse_json(f" \n\t{text}\r\n") == value
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-le"):
        assert parse_json(readable.encode(encoding)) == value
    assert parse_json(bytearray(text.encode())) == value


def test_constants_that_json_does_not_have_are_read_as_json_reads_them():
    assert parse_json("[Infinity, -Infinity]") == [math.inf, -math.inf]
    assert math.isnan(parse_json("NaN"))


@pytest.mark.parametrize(
    "text", ["", " ", "{", "{a: 1}", "[1,]", "1 2", '{"a": 1} x', '"\n"', "\ufeff1", "nul", b"\xff", "'a'"]
)
def test_what_is_not_json_is_refused_in_the_words_of_json(text):
    with pytest.raises(ValueError) as expected:
        json.loads(text)
    with pytest.raises(type(expected.value)) as caught:
        parse_json(text)
    assert str(caught.value) == str(expected.value)
