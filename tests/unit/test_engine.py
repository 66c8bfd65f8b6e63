# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from openpaisdk.cli import table
from openpaisdk.engine import Engine
from openpaisdk.errors import UsageError


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"], ("-h",)])
def test_without_words_help_is_the_value(argv, capsys):
    assert Engine().process(argv) == table.help_text()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("group", list(table.GROUPS))
def test_a_group_alone_gives_its_help(group):
    assert Engine().process([group]) == Engine().process([group, "-h"]) == table.group_help_text(group)


@pytest.mark.parametrize(
    ("group", "command"),
    [(group, command) for group, commands in table.COMMANDS.items() for command in commands],
)
def test_every_command_has_help_with_an_example(group, command):
    text = Engine().process([group, *command.split(), "-h"])
    assert text.startswith(f"usage: opai {group} {command} [-h]")
    assert table.summary(group, command) in text
    assert f"  opai {group} {command}" in text
    assert "--cluster-alias" in text


@pytest.mark.parametrize(("names", "shown"), list(table.HIDDEN_NAMES.items()))
def test_hidden_names_are_accepted(names, shown):
    group, hidden = names
    assert Engine().process([group, hidden, "-h"]) == Engine().process([group, shown, "-h"])
    assert hidden not in [line.split()[0] for line in table.group_help_text(group).splitlines() if line]


def test_half_a_command_of_two_words_gives_the_help_of_its_group():
    text = table.group_help_text("local")
    assert Engine().process(["local", "user"]) == Engine().process(["local", "user", "-h"]) == text
    assert "user passwd" in text


def test_options_may_stand_between_the_words_of_a_command():
    text = Engine().process(["local", "-o", "json", "user", "-q", "add", "-h"])
    assert text.startswith("usage: opai local user add")


def test_version_is_a_text():
    assert Engine().process(["--version"]) == table.version_text()


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["jbo", "list"], "opai has no command 'jbo'", "did you mean `opai job`?"),
        (["job", "listt"], "opai job has no command 'listt'", "did you mean `opai job list`?"),
        (["job", "sweep"], "opai job has no command 'sweep'", "`opai job -h` lists"),
        (["processor", "list"], "opai has no command 'processor'", "`opai -h` lists"),
        (
            ["local", "user", "ad"],
            "opai local has no command 'user ad'",
            "did you mean `opai local user add`?",
        ),
        (["-x", "job", "list"], "unknown option '-x' before the command", "`opai -h`"),
        (["job", "--name", "list"], "unknown option '--name' before the command", "`opai job -h`"),
        (["-o", "json"], "no command was named", "`opai -h`"),
        ("job list", "expected a list of words", "['job', 'list', '--name']"),
    ],
)
def test_words_that_name_no_command_are_usage_errors(argv, message, hint):
    with pytest.raises(UsageError) as caught:
        Engine().process(argv)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "argv",
    [
        ["-o", "json", "default", "list", "-q"],
        ["-ojson", "default", "-q", "list"],
        ["--format=json", "-q", "default", "list"],
        ["default", "list", "-o", "json", "-q"],
        ["default", "-qo", "json", "list"],
    ],
)
def test_common_options_stand_anywhere_before_the_command_line(argv):
    call = Engine().parse(argv)
    assert (call.context.args.format, call.context.args.quiet) == ("json", True)


def test_values_are_plain_and_nothing_is_printed(capsys):
    value = Engine().process(["default", "list"])
    assert {type(item) for item in value} == {dict}
    assert {"name": "image", "value": "python:3.11", "origin": "built-in"} in value
    assert capsys.readouterr() == ("", "")
