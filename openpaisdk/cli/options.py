# SPDX-License-Identifier: MIT
"""The parser of one command, and the options that several commands share.

The words are sorted by ``Parser.read`` before argparse sees them: options may stand anywhere before the first
word of a command line, which then belongs whole to the job, whatever it looks like.
"""

from __future__ import annotations

import argparse

from openpaisdk.errors import UsageError
from openpaisdk.spec.names import nearest, parse_memory_mb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

FORMATS = ("table", "json", "yaml")


class Parser(argparse.ArgumentParser):
    """Reads the words of one command; what it does not understand is a ``UsageError``."""

    def __init__(self, prog: str, *, description: str = "", examples: tuple[str, ...] = ()) -> None:
        epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._long_names: dict[str, str] = {}
        self._with_value: set[str] = set()
        self._exclusive: list[tuple[str, ...]] = []
        self._takes_command_line = False
        self.option("-h", "--help", action="store_true", help="show this help")

    def option(self, *names: str, group: Any = None, **settings: Any) -> None:
        """Add an option; ``names`` end with its long form, ``group`` is where help shows it."""
        action = (group or self).add_argument(*names, **settings)
        long_name = next(name for name in names if name.startswith("--"))
        self._long_names.update(dict.fromkeys(names, long_name))
        if action.nargs != 0:
            self._with_value.add(long_name)

    def exclusive(self, *long_names: str) -> None:
        """Let at most one of these options be given."""
        self._exclusive.append(long_names)

    def command_line(self) -> None:
        """Take every word from the first one that is no option as the words of the job's command."""
        self._takes_command_line = True
        self.add_argument("command", nargs="*", metavar="CMD", help="the command and its arguments")

    def read(self, words: list[str]) -> argparse.Namespace:
        """Return the values of ``words``; ``namespace.help`` is set when only help was asked for.

        Raises:
            UsageError: A word makes no sense here; the hint names the nearest option or the help to read.
        """
        options, others = self._sort(words)
        if "--help" in options:
            return argparse.Namespace(help=True)
        if self._takes_command_line:
            namespace, unknown = self.parse_known_args(options)
            namespace.command = others
        else:
            dashes = ["--"] if any(word.startswith("-") for word in others) else []
            namespace, unknown = self.parse_known_args([*options, *dashes, *others])
        if unknown:
            raise self.usage_error(f"unexpected word {unknown[0]!r}")
        return namespace

    def usage_error(self, message: str, *, instead: str | None = None) -> UsageError:
        """Return an error whose hint names ``instead``, or the help of this command."""
        guess = f"did you mean {instead}? " if instead else ""
        return UsageError(message, hint=f"{guess}`{self.prog} -h` lists what it takes")

    def error(self, message: str) -> NoReturn:
        """Turn argparse's complaint into a ``UsageError``."""
        message = message.removeprefix("argument ")
        message = message.replace("the following arguments are required:", "missing")
        raise self.usage_error(message)

    def _sort(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Split ``words`` into options, written ``--name`` or ``--name=value``, and the other words."""
        options: list[str] = []
        others: list[str] = []
        seen: set[str] = set()
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            if word == "--":
                others += words[position:]
                break
            if not word.startswith("-") or word == "-":
                others.append(word)
                if self._takes_command_line:
                    others += words[position:]
                    break
                continue
            for name, value in self._options_in(word):
                seen.add(name)
                if name not in self._with_value:
                    options.append(name)
                elif value is not None:
                    options.append(f"{name}={value}")
                else:
                    options.append(f"{name}={self._value_at(words, position, word)}")
                    position += 1
        for names in self._exclusive:
            given = [name for name in names if name in seen]
            if len(given) > 1:
                raise self.usage_error(f"{given[0]} and {given[1]} exclude each other: give one of them")
        return options, others

    def _options_in(self, word: str) -> list[tuple[str, str | None]]:
        """Return the options that one word holds, by long name, with the value that is joined to it."""
        if word.startswith("--"):
            name, joined, value = word.partition("=")
            if name not in self._long_names:
                raise self._unknown(name)
            if joined and name not in self._with_value:
                raise self.usage_error(f"option {name} takes no value, got {value!r}")
            return [(name, value if joined else None)]
        found: list[tuple[str, str | None]] = []
        rest = word[1:]
        while rest:
            short = f"-{rest[0]}"
            if short not in self._long_names:
                raise self._unknown(word)
            long_name, rest = self._long_names[short], rest[1:]
            if long_name in self._with_value:
                found.append((long_name, rest.removeprefix("=") if rest else None))
                break
            found.append((long_name, None))
        return found

    def _value_at(self, words: list[str], position: int, word: str) -> str:
        if position >= len(words) or words[position] == "--" or words[position] in self._long_names:
            raise self.usage_error(f"option {word} wants a value")
        return words[position]

    def _unknown(self, word: str) -> UsageError:
        return self.usage_error(f"unknown option {word!r}", instead=nearest(word, list(self._long_names)))


# --- kinds of values ----------------------------------------------------------------------------


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``minimum``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {minimum}; got {text!r}")
        return value

    return read


def seconds(text: str) -> float:
    """Read a duration in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds, at least 0; got {text!r}")
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(choices)}; got {text!r}")
        return text

    return read


def memory_mb(text: str) -> int:
    """Read a size such as ``4096`` (MB), ``4g`` or ``512m``."""
    try:
        return parse_memory_mb(text)
    except UsageError as exc:
        raise argparse.ArgumentTypeError(exc.message) from exc


def pair(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def path_and_value(text: str) -> tuple[str, str]:
    """Read ``PATH=VALUE``, the path with dots or with ``::`` between its steps."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip(".:"):
        raise argparse.ArgumentTypeError(
            f"expected PATH=VALUE such as defaults.virtualCluster=x, got {text!r}"
        )
    return path, value


def port(text: str) -> tuple[str, int]:
    """Read ``LABEL=N``: a task gets ``N`` ports under this label."""
    label, count = pair(text)
    return label, whole_number(1)(count)


def comma_list(text: str) -> list[str]:
    """Read values that are separated by commas."""
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


# --- options that several commands have ---------------------------------------------------------


def add_common(parser: Parser) -> None:
    """Add the options that every command takes."""
    group = parser.add_argument_group("options of every command")
    parser.option("-a", "--cluster-alias", group=group, metavar="ALIAS", help="which cluster")
    parser.option(
        "-o",
        "--format",
        group=group,
        type=one_of(*FORMATS),
        metavar="{table,json,yaml}",
        help="form of the value",
    )
    parser.option("-q", "--quiet", group=group, action="store_true", help="no progress, no hints")
    parser.option("-v", "--verbose", group=group, action="store_true", help="show HTTP requests")
    parser.option("--debug", group=group, action="store_true", help="show tracebacks")


def add_waiting(parser: Parser) -> None:
    """Add ``--wait`` and ``--follow``."""
    parser.option(
        "--wait", action="store_true", help="wait for the end; exit code 3 when the job did not succeed"
    )
    parser.option("--follow", action="store_true", help="as --wait, and show what the tasks print")
    parser.exclusive("--wait", "--follow")


def add_preview(parser: Parser) -> None:
    """Add ``--preview`` and ``--show-secrets``."""
    parser.option(
        "--preview", action="store_true", help="show the document that would be sent, and send nothing"
    )
    parser.option("--show-secrets", action="store_true", help="with --preview: do not mask secrets")


def add_streams(parser: Parser) -> None:
    """Add ``--stdout``, ``--stderr`` and ``--all``."""
    for name in ("stdout", "stderr", "all"):
        text = f"only what went to {name}" if name != "all" else "both streams (the default)"
        parser.option(f"--{name}", dest="stream", action="store_const", const=name, default="all", help=text)
    parser.exclusive("--stdout", "--stderr", "--all")


def add_password(parser: Parser) -> None:
    """Add the three ways to hand over a password or token."""
    parser.option("--password", metavar="P", help="the password (others can see it on a command line)")
    parser.option("--password-stdin", action="store_true", help="read the password from stdin")
    parser.option("--token", metavar="T", help="a token instead of a password")
    parser.exclusive("--password", "--password-stdin", "--token")
