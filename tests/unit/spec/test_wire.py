# SPDX-License-Identifier: MIT
"""The text on the wire, written and read back."""

from __future__ import annotations

import pytest

from openpaisdk.spec.wire import dump_wire, parse_wire

DOCUMENT = {
    "taskRoles": {"worker": {"instances": 1, "commands": ['echo "hi"\nexit', "größe 😀 \u2028\x85\x7f"]}},
    "name": "hello",
    "secrets": {"token": "p&ss #1: x"},
    "protocolVersion": 2,
    "parameters": {"lr": 1e-7, "big": 10**20, "none": None, "yes": True, "list": []},
}


def test_each_top_level_key_is_one_line_in_protocol_order():
    text = dump_wire(DOCUMENT)
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "protocolVersion",
        "name",
        "parameters",
        "secrets",
        "taskRoles",
    ]
    assert text.splitlines()[1] == 'name: "hello"'


def test_characters_that_yaml_readers_take_for_line_breaks_are_escaped():
    assert not {"\u2028", "\x85", "\x7f"} & set(dump_wire(DOCUMENT))
    assert "größe 😀" in dump_wire(DOCUMENT)


def test_what_was_written_is_read_back():
    assert parse_wire(dump_wire(DOCUMENT)) == DOCUMENT


def test_unknown_keys_are_quoted_and_stand_before_the_secrets():
    lines = dump_wire({**DOCUMENT, "True": 1}).splitlines()
    assert lines[0] == '"True": 1'


def test_infinities_are_spelt_as_yaml_does():
    text = dump_wire({"parameters": {"a": float("inf"), "b": [-float("inf")], "c": float("nan"), "d": "x"}})
    assert text == 'parameters: {"a":.inf,"b":[-.inf],"c":.nan,"d":"x"}\n'
    assert parse_wire(text) is None


def test_a_json_object_is_read():
    assert parse_wire('{"name": "a",\n "taskRoles": {}}\n') == {"name": "a", "taskRoles": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "name: hello\n",
        'name: "a"\nname: "b"\n',
        '{"name": "a", "name": "b"}',
        'name: {"a": 1, "a": 2}\n',
        'name: "a", "type": "b"\n',
        'name: "a"\n  "b"\n',
        '{"name"\n: "a"}',
        "name: NaN\n",
        'name: "a" # comment\n',
        'other: "a"\n',
        "{" * 5,
        '{"name": ' + "[" * 100_000,
        "name: " + "9" * 5000 + "\n",
    ],
)
def test_any_other_text_is_left_to_the_yaml_loader(text):
    assert parse_wire(text) is None


def test_a_moment_is_written_as_a_yaml_timestamp_and_any_other_object_is_refused():
    import datetime

    moment = datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)
    assert dump_wire({"parameters": {"d": moment}}) == 'parameters: {"d":2020-01-02T00:00:00+00:00}\n'
    with pytest.raises(TypeError):
        dump_wire({"parameters": {"d": object()}})
