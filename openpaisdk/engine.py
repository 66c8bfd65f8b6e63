# SPDX-License-Identifier: MIT
"""Run a command of ``opai`` from Python and get its value.

from openpaisdk.engine import Engine

Engine().process(["job", "list", "--name", "-a", "prod"])  # -> ["job-1", "job-2"]
"""

from __future__ import annotations

from openpaisdk.cli import table
from openpaisdk.cli.words import wants_value
from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from openpaisdk.cli.command import Ask, Call, Command, OpenCluster, TextSink


class Engine:
    """Parses the words of a command, runs it and returns a plain value; never prints and never exits.

    Args:
        stdout: Where lines of a job that is followed go; left out, nowhere.
        stderr: Where progress, hints and warnings go; left out, nowhere.
        ask: Called with a question and whether the answer is a secret; left out, nothing is ever asked.
        open_cluster: Called with the alias or ``None`` instead of ``Cluster.from_alias``.
    """

    def __init__(
        self,
        stdout: TextSink | None = None,
        stderr: TextSink | None = None,
        *,
        ask: Ask | None = None,
        open_cluster: OpenCluster | None = None,
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._ask = ask
        self._open_cluster = open_cluster

    def process(self, argv: Sequence[str]) -> Any:
        """Run a command, ``argv`` being its words without ``opai``, and return its value.

        A job that did not succeed is a value, not an error. Help that was asked for is a text.

        Raises:
            UsageError: The words make no sense.
            OpenPaiError: Whatever kept the command from being done.
        """
        return self.parse(argv).run()

    def parse(self, argv: Sequence[str]) -> Call:
        """Return the command that ``argv`` names with its arguments read, without running it.

        Raises:
            UsageError: The words make no sense.
        """
        from openpaisdk.cli.command import Call, Context

        if isinstance(argv, (str, bytes)):
            raise UsageError(
                "expected a list of words, got one text", hint="split it: ['job', 'list', '--name']"
            )
        words = [str(word) for word in argv]
        found = _find_command(words)
        if isinstance(found, str):
            return Call(help_text=found)
        group, verb, rest = found
        command = load_command(group, verb)
        from openpaisdk.cli.parser import HelpAskedError

        try:
            args = command.make_parser(group, verb).read(rest)
        except HelpAskedError as asked:
            return Call(help_text=asked.text)
        context = Context(
            args, stdout=self._stdout, stderr=self._stderr, ask=self._ask, open_cluster=self._open_cluster
        )
        return Call(command, context)


def _find_command(words: list[str]) -> str | tuple[str, str, list[str]]:
    """Return group, command and the words left for it; or the help that the words ask for."""
    before: list[str] = []
    group: str | None = None
    first: str | None = None
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word in ("-h", "--help"):
            return table.group_help_text(group) if group else table.help_text()
        if word == "--version" and group is None:
            return table.version_text()
        if word.startswith("-"):
            before.append(word)
            if _wants_value(word, group) and position < len(words):
                before.append(words[position])
                position += 1
        elif group is None:
            if word not in table.GROUPS:
                raise _unknown_command(word, table.GROUPS, "opai")
            group = word
        elif first is None and _is_first_of_two(group, word):
            first = word
        else:
            name = f"{first} {word}" if first else word
            verb = table.HIDDEN_NAMES.get((group, name), name)
            if verb not in table.COMMANDS[group]:
                raise _unknown_command(name, table.COMMANDS[group], f"opai {group}")
            return group, verb, [*before, *words[position:]]
    if before:
        place = f"opai {group}" if group else "opai"
        raise UsageError(
            f"no command was named beside {before[0]!r}", hint=f"`{place} -h` lists the commands"
        )
    return table.group_help_text(group) if group else table.help_text()


def _is_first_of_two(group: str, word: str) -> bool:
    return any(name.startswith(f"{word} ") for name in table.COMMANDS[group])


def _wants_value(word: str, group: str | None) -> bool:
    """Return whether the next word is the value of this option, which stands before the command."""
    try:
        return wants_value(word, table.COMMON_OPTIONS)
    except KeyError:
        before = f"opai {group}" if group else "opai"
        raise UsageError(
            f"unknown option {word!r} before the command",
            hint=f"options of a command come after its name; `{before} -h` lists what may come before it",
        ) from None


def _unknown_command(word: str, known: Iterable[str], place: str) -> UsageError:
    from openpaisdk.spec.names import nearest

    guess = nearest(word, known)
    instead = f"did you mean `{place} {guess}`? " if guess else ""
    return UsageError(f"{place} has no command {word!r}", hint=f"{instead}`{place} -h` lists the commands")


def load_command(group: str, verb: str) -> Command:
    """Import the module of one command and make the command."""
    module_name, _, class_name = table.find_class(group, verb).partition(":")
    module = __import__(f"openpaisdk.cli.commands.{module_name}", fromlist=[class_name])
    command: Command = getattr(module, class_name)()
    return command
