# SPDX-License-Identifier: MIT
"""The YAML dialect of the server, read and written."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[repr(text) for text, _ in TABLE])
def test_text_is_read_as_the_server_reads_it(text, expected):
    if "error" in expected:
        with pytest.raises(YamlError) as caught:
            load_yaml(text)
        assert caught.value.server_text.split(":\n")[0] == expected["error"]
    else:
        assert _plainly(load_yaml(text)[0]) == expected["value"]


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
        '{"a": "\\ud800"}',
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
