# SPDX-License-Identifier: MIT
"""The parser of one command.

A command only declares. The words are read without argparse, whose import would take a third of the time of a
short command, and which cannot leave the words of a job's command alone. It formats the help.
"""

from __future__ import annotations

from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable
    from typing import Any

    Read = Callable[[str], Any]

HIDDEN = "hidden"
"""As ``help`` of an option: accepted, and not shown."""


class Arguments:
    """What the words of a command mean, one attribute per option and word."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the command has no option or word {name!r}")


class _Option:
    """One declared option; its fields are the settings of ``Parser.option``."""

    __slots__ = (
        "action",
        "const",
        "default",
        "dest",
        "group",
        "help",
        "metavar",
        "name",
        "names",
        "read",
        "required",
    )

    def __init__(self, names: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.names = names
        self.name = next(name for name in names if name.startswith("--"))
        self.dest = settings.get("dest") or self.name[2:].replace("-", "_")
        self.action = settings.get("action", "store")
        self.const = settings.get("const", True)
        self.default = settings.get("default", False if self.action == "set" and self.const is True else None)
        self.read: Read = settings.get("read", str)
        self.required = settings.get("required", False)
        self.metavar = settings.get("metavar")
        self.help = settings.get("help", "")
        self.group = settings.get("group", "")

    @property
    def takes_value(self) -> bool:
        return bool(self.action != "set")


class Parser:
    """Reads the words of one command; what it does not understand is a ``UsageError``."""

    def __init__(self, prog: str, *, examples: tuple[str, ...] = ()) -> None:
        self.prog = prog
        self.examples = examples
        self._options: list[_Option] = []
        self._by_name: dict[str, _Option] = {}
        self._words: list[tuple[str, str, str, str]] = []
        self._exclusive: list[tuple[str, ...]] = []
        self._takes_command_line = False
        self.option("-h", "--help", action="set", help="show this help")

    # --- declaring --------------------------------------------------------------------------------

    def option(self, *names: str, **settings: Any) -> None:
        """Declare an option.

        Args:
            *names: Its short forms and its long one.
            **settings: ``action`` (``store``, the default; ``append``; ``extend``; ``set``: without a value),
                ``read`` (turns the text of a value into the value), ``default``, ``required``, ``dest``,
                ``const`` (what ``set`` sets), and for help ``metavar``, ``help``, ``group``.
        """
        option = _Option(names, settings)
        self._options.append(option)
        self._by_name.update(dict.fromkeys(names, option))

    def word(self, dest: str, metavar: str, help: str = "", *, count: str = "1") -> None:
        """Declare a word that is no option; ``count`` is ``1``, ``?``, or as the last ``*`` or ``+``."""
        self._words.append((dest, metavar, help, count))

    def exclusive(self, *long_names: str) -> None:
        """Let at most one of these options be given."""
        self._exclusive.append(long_names)

    def command_line(self) -> None:
        """Take every word from the first one that is no option as the words of the job's command."""
        self._takes_command_line = True
        self.word("command", "CMD", "the command and its arguments", count="*")

    # --- reading ----------------------------------------------------------------------------------

    def read(self, words: list[str]) -> Arguments:
        """Return what ``words`` mean; when ``help`` is set, nothing else is.

        Raises:
            UsageError: A word makes no sense here; the hint names the nearest option or the help to read.
        """
        given, others = self._sort(words)
        if any(option.dest == "help" for option, _ in given):
            return Arguments(help=True)
        values: dict[str, Any] = {}
        for option in self._options:
            values.setdefault(option.dest, option.default)
        for option, text in given:
            self._take(option, text, values)
        names = [option.name for option, _ in given]
        for option in self._options:
            if option.required and option.name not in names:
                raise self.usage_error(f"missing {option.name} {option.metavar}")
        for rivals in self._exclusive:
            both = [name for name in rivals if name in names]
            if len(both) > 1:
                raise self.usage_error(f"{both[0]} and {both[1]} exclude each other: give one of them")
        self._assign(others, values)
        return Arguments(**values)

    def usage_error(self, message: str, *, instead: str | None = None) -> UsageError:
        """Return an error whose hint names ``instead``, or the help of this command."""
        guess = f"did you mean {instead}? " if instead else ""
        return UsageError(message, hint=f"{guess}`{self.prog} -h` lists what it takes")

    def _sort(self, words: list[str]) -> tuple[list[tuple[_Option, str]], list[str]]:
        """Split ``words`` into options with their texts, and the other words."""
        given: list[tuple[_Option, str]] = []
        others: list[str] = []
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
            for option, text in self._options_in(word):
                if text is None and option.takes_value:
                    given.append((option, self._value_at(words, position, word)))
                    position += 1
                else:
                    given.append((option, text or ""))
        return given, others

    def _options_in(self, word: str) -> list[tuple[_Option, str | None]]:
        """Return the options that one word holds, with the value that is joined to the last."""
        if word.startswith("--"):
            name, joined, text = word.partition("=")
            option = self._by_name.get(name)
            if option is None:
                raise self._unknown(name)
            if joined and not option.takes_value:
                raise self.usage_error(f"option {name} takes no value, got {text!r}")
            return [(option, text if joined else None)]
        found: list[tuple[_Option, str | None]] = []
        rest = word[1:]
        while rest:
            option = self._by_name.get(f"-{rest[0]}")
            if option is None:
                raise self._unknown(word)
            rest = rest[1:]
            if option.takes_value:
                found.append((option, rest.removeprefix("=") if rest else None))
                break
            found.append((option, None))
        return found

    def _value_at(self, words: list[str], position: int, word: str) -> str:
        if position >= len(words) or words[position] == "--" or words[position] in self._by_name:
            raise self.usage_error(f"option {word} wants a value")
        return words[position]

    def _unknown(self, word: str) -> UsageError:
        from openpaisdk.spec.names import nearest

        shown = [name for name, option in self._by_name.items() if option.help != HIDDEN]
        return self.usage_error(f"unknown option {word!r}", instead=nearest(word, shown))

    def _take(self, option: _Option, text: str, values: dict[str, Any]) -> None:
        """Put the value of an option where it belongs."""
        if option.action == "set":
            values[option.dest] = option.const
            return
        try:
            value = option.read(text)
        except UsageError as exc:
            raise self.usage_error(f"{option.name}: {exc.message}") from exc
        if option.action == "store":
            values[option.dest] = value
        else:
            added = value if option.action == "extend" else [value]
            values[option.dest] = [*(values[option.dest] or ()), *added]

    def _assign(self, others: list[str], values: dict[str, Any]) -> None:
        """Put the words that are no options where they belong."""
        rest = list(others)
        for dest, metavar, _, count in self._words:
            if not rest and count in "1+":
                raise self.usage_error(f"missing {metavar}")
            if count in "1?":
                values[dest] = rest.pop(0) if rest else None
            else:
                values[dest], rest = rest, []
        if rest:
            raise self.usage_error(f"unexpected word {rest[0]!r}")

    # --- help -------------------------------------------------------------------------------------

    def format_help(self, description: str) -> str:
        """Return the help of this command."""
        import argparse
        import os

        def formatter(prog: str) -> argparse.HelpFormatter:
            try:
                width = os.get_terminal_size().columns - 2
            except OSError:
                width = 100
            return argparse.RawDescriptionHelpFormatter(prog, width=max(60, min(width, 110)))

        examples = "examples:\n" + "\n".join(f"  {line}" for line in self.examples)
        parser = argparse.ArgumentParser(
            self.prog,
            description=description,
            epilog=examples if self.examples else None,
            formatter_class=formatter,
            add_help=False,
        )
        self._declare_to(parser)
        return parser.format_help()

    def _declare_to(self, parser: ArgumentParser) -> None:
        groups: dict[str, Any] = {"": parser}
        for dest, metavar, text, count in self._words:
            settings: dict[str, Any] = {} if count == "1" else {"nargs": count}
            parser.add_argument(dest, metavar=metavar, help=text.replace("%", "%%"), **settings)
        for option in self._options:
            if option.help == HIDDEN:
                continue
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            settings = {"metavar": option.metavar} if option.takes_value else {"action": "store_true"}
            groups[option.group].add_argument(*option.names, help=option.help.replace("%", "%%"), **settings)
