# SPDX-License-Identifier: MIT
"""The parser of one command: ``argparse``, except that it raises and never prints or exits.

A command declares its options and words with ``add_argument``. What ``argparse`` does not do in the same way
in every version of Python, words among options and a command line that is to be left alone, is settled before
it sees the words: options come first, then the others.
"""

from __future__ import annotations

import argparse
import os
from itertools import islice

from openpaisdk.cli.words import wants_value
from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


class HelpAskedError(Exception):
    """Help was asked for; ``text`` is it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Parser(argparse.ArgumentParser):
    """Reads the words of one command.

    Args:
        prog: The command as it is called, such as ``opai job list``.
        description: What it does.
        examples: Command lines that help ends with.
    """

    def __init__(self, prog: str, *, description: str = "", examples: Sequence[str] = ()) -> None:
        super().__init__(
            prog,
            description=description,
            epilog="\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else None,
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.color = False  # help is a value like any other, not only for terminals
        self._takes_command_line = False
        self.add_argument("-h", "--help", action="help", help="show this help")

    def add_command_line(self) -> None:
        """Take every word from the first one that is no option as the words of the job's command."""
        self._takes_command_line = True
        self.add_argument("command", metavar="CMD", nargs="*", help="the command and its arguments")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Return what ``words`` mean.

        Raises:
            HelpAskedError: They ask for help.
            UsageError: They make no sense; the hint names the nearest option, and the help to read.
        """
        options, others = self._split(words)
        if self._takes_command_line:
            args = self.parse_args(options)
            args.command = others
            return args
        guard = ["--"] if any(word.startswith("-") for word in others) else []
        return self.parse_args([*options, *guard, *others])

    def error(self, message: str) -> NoReturn:
        """Raise what ``argparse`` would print."""
        raise self._usage_error(message.removeprefix("argument "))

    def print_help(self, file: object = None) -> NoReturn:
        """Raise what ``argparse`` would print."""
        raise HelpAskedError(self.format_help())

    def _split(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the options with their values, and the other words."""
        takes_value = {name: action.nargs != 0 for name, action in self._option_string_actions.items()}
        options: list[str] = []
        others: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                return options, [*others, *rest]
            if word == "-" or not word.startswith("-"):
                others.append(word)
                if self._takes_command_line:
                    return options, [*others, *rest]
                continue
            options.append(word)
            try:
                if wants_value(word, takes_value):
                    options.extend(islice(rest, 1))
            except KeyError:
                raise self._unknown(word) from None
        return options, others

    def _unknown(self, word: str) -> UsageError:
        from openpaisdk.spec.names import nearest

        known = self._option_string_actions.items()
        shown = [name for name, action in known if action.help != argparse.SUPPRESS]
        name = word.partition("=")[0] if word.startswith("--") else word
        return self._usage_error(f"unknown option {name!r}", instead=nearest(name, shown))

    def _usage_error(self, message: str, *, instead: str | None = None) -> UsageError:
        guess = f"did you mean {instead}? " if instead else ""
        return UsageError(message, hint=f"{guess}`{self.prog} -h` lists what it takes")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, but not very wide; argparse itself would load ``shutil`` to find out."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size().columns - 2
        except OSError:
            width = 100
        super().__init__(prog, width=max(60, min(width, 110)))
