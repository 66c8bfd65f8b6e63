# SPDX-License-Identifier: MIT
"""The YAML dialect of the server, read and written."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml

from openpaisdk.spec import yaml12
from openpaisdk.spec._yaml_parser import PythonParser
from openpaisdk.spec.references import javascript_number
from openpaisdk.spec.wire import dump_wire, parse_wire
from openpaisdk.spec.yaml12 import YamlError, dump_yaml, load_yaml

FIXTURES = Path(__file__).parents[2] / "fixtures" / "protocol"
TABLE = json.loads((FIXTURES / "yaml.json").read_text(encoding="utf-8"))


def _plainly(value):
    """Write a value so that what JavaScript keeps apart differs and the rest does not."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "s" + value
    if isinstance(value, (int, float)):
        return {"n": javascript_number(value)}
    if isinstance(value, list):
        return [_plainly(item) for item in value]
    if isinstance(value, datetime.datetime):
        return {"d": value.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    if isinstance(value, bytes):
        return {"b": value.hex()}
    return {"o": [[key, _plainly(value[key])] for key in sorted(value)]}


REFUSED_BY_US = {
    "k: [,]",
    "[[,]]",
    "k: [a,,b]",
    "[[a,,b]]",
    "k: {,}",
    "[{,}]",
    "[:]",
    "k: ?",
    "k: ? a",
    "k: ? [x]\n: y",
    "k: !!set {a, b}",
    "[!!set {a, b}]",
    "a: !!set {x, y}\n",
    "k: !!omap [a: 1]",
    "[!!omap [a: 1]]",
    "k: !!pairs [a: 1, a: 2]",
    "[!!pairs [a: 1, a: 2]]",
}
"""What the server reads, though YAML does not allow it, or no job needs it."""


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[repr(text) for text, _ in TABLE])
def test_text_is_read_as_the_server_reads_it(text, expected):
    if "error" in expected or text in REFUSED_BY_US:
        with pytest.raises(YamlError):
            load_yaml(text)
    else:
        assert _plainly(load_yaml(text)[0]) == expected["value"]


def test_the_parser_in_python_reads_the_same(monkeypatch):
    monkeypatch.setattr(yaml12, "Parser", PythonParser)
    texts = [
        "a: 1\n\t\nb:\t[x,\t{y: 2}]\t# c\nc: |\n  \tt\n",
        '{\n\t"a": "\\ud83d\\ude00",\n\t"b": [1, null]\n}\n',
        "a: &x {b: no}\nc: {<<: *x, d: 1e3}\ne: \u2028\n",
    ]
    values = [load_yaml(text)[0] for text in texts]
    assert values == [
        {"a": 1, "b": ["x", {"y": 2}], "c": "\tt\n"},
        {"a": "😀", "b": [1, None]},
        {"a": {"b": "no"}, "c": {"b": "no", "d": 1000}, "e": "\u2028"},
    ]
    for text in ["a: [", '"\\ud83d"', "a:\n\tb: 1\n", "a: 1\n b: 2\n", "a: @x\n"]:
        with pytest.raises(YamlError):
            load_yaml(text)


@pytest.mark.parametrize(
    ("text", "reason", "place"),
    [
        ("a: 1\nb: [c\n", "unexpected end of the stream within a flow collection", (3, 1)),
        ("a: [1 2\nb: 3]", "missed comma between flow collection entries", (2, 2)),
        ("a: 1\nb: 2\na: 3\n", "duplicated mapping key", (3, 1)),
        ("1: a\n'1': b\n", "duplicated mapping key", (2, 1)),
        ("{a: 1, a: 2}", "duplicated mapping key", (1, 8)),
        ("a: 1\n---\nb: 2\n", "expected a single document in the stream, but found more", (2, 1)),
        ("a: !!js/undefined x", "unknown tag !<tag:yaml.org,2002:js/undefined>", (1, 4)),
        ("a:\n  b: 1\n c: 2\n", "bad indentation of a mapping entry", (3, 2)),
        ("a: 1\n b: 2\n", "bad indentation of a mapping entry", (2, 3)),
        ("- a\nb: 1\n", "end of the stream or a document separator is expected", (2, 1)),
        ('a: "\\q"\n', "unknown escape sequence", (1, 5)),
        ("a: 'x\n", "unexpected end of the stream within a quoted scalar", (2, 1)),
        ("a: *b\n", 'unidentified alias "b"', (1, 4)),
        ("a:\n\tb: 1\n", "a tab cannot indent", (2, 1)),
        (
            "a: b\nc\n",
            "can not read a block mapping entry; a multiline key may not be an implicit key",
            (3, 1),
        ),
        ("a: @b\n", "a text cannot begin with this character", (1, 4)),
        ("a: b\x07\n", "the stream contains non-printable characters", (1, 5)),
        ("<<: 1\n", "cannot merge mappings; the provided source object is unacceptable", (1, 1)),
    ],
)
def test_an_error_is_told_in_the_words_of_the_server_where_it_has_some(text, reason, place):
    with pytest.raises(YamlError) as caught:
        load_yaml(text)
    assert (caught.value.reason, (caught.value.line, caught.value.column)) == (reason, place)


def test_a_second_colon_in_a_line_is_told_from_a_wrong_column():
    with pytest.raises(YamlError) as caught:
        load_yaml("a: echo b: c\n")
    assert "quote" in str(caught.value.hint)
    assert caught.value.problems[0]["hint"] == caught.value.hint


def test_emoji_of_json_are_read_however_many_there_are():
    pairs = {str(number): ["😀 \\ud83d 😀", "x"] for number in range(200)}
    assert load_yaml(json.dumps(pairs))[0] == pairs


def test_an_error_says_where_it_is():
    with pytest.raises(YamlError) as caught:
        load_yaml("a: 1\nb: [c\n")
    assert (caught.value.line, caught.value.column) == (3, 1)
    assert "(line 3, column 1)" in str(caught.value)


def test_marks_tell_where_keys_and_values_stand():
    _, marks = load_yaml("a:\n  b: [1, {c: 2}]\n# comment\nd:\n- x\n- y: |\n    text\n")
    assert marks.find(("a", "b")) == (2, 6)
    assert marks.find(("a", "b"), key=True) == (2, 3)
    assert marks.find(("a", "b", 1, "c")) == (2, 14)
    assert marks.find(("d", 1, "y"), key=True) == (6, 3)
    assert marks.find(("a", "missing")) == (2, 3)
    assert marks.find(()) == (1, 1)


def test_a_node_cannot_contain_itself():
    with pytest.raises(YamlError):
        load_yaml("a: &a [1, *a]\n")


def test_a_document_nested_very_deeply_is_an_error_and_no_crash():
    with pytest.raises(YamlError):
        load_yaml("[" * 100_000)


def test_integers_stay_exact_and_longer_ones_than_python_reads_become_infinite():
    assert load_yaml("12345678901234567890")[0] == 12345678901234567890
    assert load_yaml("9" * 10_000)[0] == float("inf")


AWKWARD = [
    "",
    "no",
    "y",
    "1e3",
    "010",
    "2020-01-02",
    "12:30:45",
    "a: b",
    "a #b",
    "- x",
    "line\nline",
    "line\n",
    "line\n\n",
    "\nline",
    " x",
    "x ",
    "\ta\nb",
    "größe 😀",
    "it's",
    '"q"',
    "\x07",
    "\x85",
    "\u2028",
    "---",
    "<% $parameters.x %>",
    "null",
    "~",
    "<<",
    "@a",
    "*a",
    "=",
    "a\r\nb",
]


@pytest.mark.parametrize("text", AWKWARD, ids=map(repr, AWKWARD))
def test_any_text_comes_back_from_what_is_written_whoever_reads_it(text):
    for value in (text, [text], {"k": text}, {"k": {text: [text, {"n": text}]}}):
        written = dump_yaml(value)
        assert load_yaml(written)[0] == value
        assert yaml.safe_load(written) == value


def test_other_values_come_back_too():
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)
    value = {
        "a": [None, True, 0, -1, 1.5, 1e22, 1e-7, float("inf"), 10**25, [], {}, [[1], {"b": 2}]],
        "d": moment,
    }
    assert load_yaml(dump_yaml(value))[0] == value
    assert yaml.safe_load(dump_yaml({"a": 1e22})) == {"a": 1e22}


def test_what_is_written_is_what_people_write(minimal):
    minimal["secrets"] = {"token": "x"}
    minimal["taskRoles"]["worker"]["commands"] = ["echo a\necho b\n", "echo no"]
    written = dump_yaml(minimal)
    assert "\nsecrets:\n  token: x\n" in written
    assert "    commands:\n    - |\n      echo a\n      echo b\n    - echo no\n" in written
    assert list(load_yaml(written)[0]) == list(minimal)


def test_the_wire_form_is_read_alike_by_its_own_reader_and_by_the_yaml_one(minimal):
    minimal["parameters"] = {text: [text, 1, 1.0, -0.0, 1e300, None, {"n": True}] for text in AWKWARD}
    text = dump_wire(minimal)
    assert repr(parse_wire(text)) == repr(load_yaml(text)[0])
    as_json = json.dumps(minimal, indent=2)
    assert repr(parse_wire(as_json)) == repr(load_yaml(as_json)[0])


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a"\n: 1}',
        '{"a": 1e999}',
        '{"a": "\\/"}',
        "{}",
        ' {"a":\t1}',
    ],
)
def test_json_is_read_quickly_only_where_yaml_agrees(text):
    quick = parse_wire(text)
    if quick is not None:
        assert repr(quick) == repr(load_yaml(text)[0])


def test_aliases_cannot_make_a_small_text_fill_the_memory():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 12)]
    with pytest.raises(YamlError) as caught:
        load_yaml("\n".join(lines), file="laughs.yaml")
    assert "too large" in caught.value.reason
    assert caught.value.problems[0]["file"] == "laughs.yaml"
    assert "of 'laughs.yaml'" in str(caught.value)


def test_ordinary_aliases_are_shared():
    value, _ = load_yaml("a: &x [1]\nb: *x\n")
    assert value["a"] is value["b"]
