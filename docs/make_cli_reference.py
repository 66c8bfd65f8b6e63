# SPDX-License-Identifier: MIT
"""Write ``docs/reference/cli.md`` from the commands themselves: ``make docs``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from openpaisdk.cli import exit_codes, options, table
from openpaisdk.cli.parser import Parser
from openpaisdk.engine import load_command

PAGE = Path(__file__).parent / "reference" / "cli.md"
EXIT_CODES = {
    exit_codes.DONE: "done",
    exit_codes.FAILED: "any other known error, a wait that timed out included",
    exit_codes.USAGE: "usage, an unknown setting",
    exit_codes.JOB_DID_NOT_SUCCEED: "an awaited job did not succeed",
    exit_codes.NOT_ALLOWED: "not logged in, wrong password, not allowed",
    exit_codes.NOT_FOUND: "job, cluster alias or remote file not found",
    exit_codes.EXISTS: "job or remote file exists already",
    exit_codes.BUG: "a bug",
    exit_codes.INTERRUPTED: "interrupted",
}
INTRODUCTION = """\
# Commands of `opai`

Made from the commands by `make docs`; `opai <group> <command> -h` shows the same. Options and words may be
mixed. Where a command ends with CMD, every word from the first one that is no option, or after `--`, belongs
to CMD. `Engine().process([...])` takes the same words and returns the value that `-o json` shows.
"""


def make_page() -> str:
    """Return the page."""
    parts = [INTRODUCTION, _common(), _exit_codes()]
    for group, commands in table.COMMANDS.items():
        parts.append(f"## opai {group}\n\n{_sentence(table.GROUPS[group])}\n")
        parts += [_command(group, verb) for verb in commands]
    return "\n".join(parts)


def _common() -> str:
    parser = Parser("opai")
    options.add_common(parser)
    return "\n".join(["## Options of every command\n", *_table("option", _options(parser)), ""])


def _exit_codes() -> str:
    return "\n".join(
        ["## Exit codes\n", *_table("code", [(str(code), text) for code, text in EXIT_CODES.items()]), ""]
    )


def _command(group: str, verb: str) -> str:
    command = load_command(group, verb)
    parser = Parser(f"opai {group} {verb}")
    command.add_arguments(parser)
    hidden = [old for (of, old), new in table.HIDDEN_NAMES.items() if (of, new) == (group, verb)]
    lines = [f"### opai {group} {verb}\n", _sentence(table.summary(group, verb)), _text(command.details)]
    lines += [f"Also accepted: `opai {group} {name}`." for name in hidden]
    lines = [*filter(None, lines), ""]
    for heading, rows in (("word", _words(parser)), ("option", _options(parser))):
        if rows:
            lines += [*_table(heading, rows), ""]
    return "\n".join([*lines, "```sh", *command.examples, "```", ""])


def _words(parser: Parser) -> list[tuple[str, str]]:
    counts = {None: "{}", "?": "[{}]", "*": "[{} …]", "+": "{} …"}
    return [
        (_code(counts[action.nargs].format(action.metavar)), _help(action))  # type: ignore[index]
        for action in _shown(parser)
        if not action.option_strings
    ]


def _options(parser: Parser) -> list[tuple[str, str]]:
    rows = []
    for action in _shown(parser):
        if action.option_strings and "--help" not in action.option_strings:
            value = action.metavar or f"{{{','.join(action.choices or ())}}}"
            names = " ".join([", ".join(action.option_strings), *([str(value)] if action.nargs != 0 else [])])
            rows.append((_code(names), _help(action) + (" (required)" if action.required else "")))
    return rows


def _shown(parser: Parser) -> Iterator[argparse.Action]:
    return (action for action in parser._actions if action.help != argparse.SUPPRESS)


def _table(heading: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"| {heading} | |", "| --- | --- |", *(f"| {left} | {right} |" for left, right in rows)]


def _help(action: argparse.Action) -> str:
    return _text((action.help or "") % vars(action)).replace("|", "\\|")


def _text(text: str) -> str:
    """Keep Markdown from reading anything into ``text``, save what stands in backticks."""
    pieces = text.split("`")
    pieces[::2] = [piece.replace("<", "&lt;").replace("*", "\\*") for piece in pieces[::2]]
    return "`".join(pieces)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _sentence(text: str) -> str:
    return _text(f"{text[0].upper()}{text[1:]}.")


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
