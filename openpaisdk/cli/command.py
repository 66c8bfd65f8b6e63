# SPDX-License-Identifier: MIT
"""What a command is, and what it gets to work with."""

from __future__ import annotations

import sys

from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from openpaisdk.cli.layout import Column, Show
    from openpaisdk.cli.parser import Parser
    from openpaisdk.cli.progress import ShownProgress
    from openpaisdk.config.clusters import ClusterBook
    from openpaisdk.config.settings import Settings
    from openpaisdk.core import Cluster

    OpenCluster = Callable[[str | None], Cluster]
    Ask = Callable[[str, bool], str]

    class TextSink(Protocol):
        """Whatever takes text, such as ``sys.stdout`` or a ``StringIO``."""

        def write(self, text: str, /) -> object:
            """Take ``text``."""

        def flush(self) -> object:
            """Hand on what was taken."""


class Command:
    """One command: ``add_arguments`` only parses, ``run`` only works and returns a value, nothing prints.

    What it does in one line stands in ``cli.table``; ``details`` is what help says beyond that.
    """

    details = ""
    examples: tuple[str, ...] = ()
    columns: Sequence[Column] = ()
    """What a table shows of each dict of a list; empty: every key."""

    def add_arguments(self, parser: Parser) -> None:
        """Declare the options and words of this command."""

    def make_parser(self, group: str, verb: str) -> Parser:
        """Return the parser of this command, known as ``opai <group> <verb>``."""
        from openpaisdk.cli import options, table
        from openpaisdk.cli.parser import Parser

        description = f"{table.summary(group, verb)}\n\n{self.details}".strip()
        parser = Parser(f"opai {group} {verb}", description=description, examples=self.examples)
        self.add_arguments(parser)
        options.add_common(parser)
        return parser

    def run(self, args: Namespace, context: Context) -> Any:
        """Do the work and return the value."""
        raise NotImplementedError

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Return how a table shows ``value``, or ``None`` for the usual way.

        Args:
            value: What ``run`` returned.
            width: Columns of the terminal, ``None`` when there is none.
            paint: Colours the name of a state, ``None`` without colours.
        """
        return None

    def value_of_error(self, error: BaseException) -> Any:
        """Return the value that goes to stdout although the command raised ``error``; ``None`` for none."""
        return None

    def exit_code(self, value: Any) -> int:
        """Return the exit code that goes with ``value``."""
        return 0


class Context:
    """The streams, settings and cluster of one call of a command."""

    def __init__(
        self,
        args: Namespace,
        *,
        stdout: TextSink | None = None,
        stderr: TextSink | None = None,
        ask: Ask | None = None,
        open_cluster: OpenCluster | None = None,
    ) -> None:
        self.args = args
        self.alias: str | None = args.cluster_alias
        """Which cluster is meant; ``None``: the one that the settings choose."""
        self._stdout = stdout
        self._stderr = stderr
        self._ask = ask
        self._open_cluster = open_cluster
        self._settings: Settings | None = None
        self._cluster: Cluster | None = None
        self._warned: set[str] = set()

    # --- settings and cluster -------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings as seen from the working directory, read when first asked for."""
        if self._settings is None:
            from openpaisdk.config.settings import Settings

            self._settings = Settings.load()
            for warning in self._settings.warnings:
                self.warn(warning)
        return self._settings

    @property
    def format(self) -> str:
        """How the value will be shown: the option, else the setting, else ``table``."""
        if self.args.format is not None:
            return str(self.args.format)
        return str(self.settings.get("format"))

    @property
    def cluster(self) -> Cluster:
        """The cluster that the options and settings name."""
        if self._cluster is None:
            alias = self.alias or self.settings.get("cluster-alias")
            if self._open_cluster is not None:
                self._cluster = self._open_cluster(alias)
            else:
                from openpaisdk.core import Cluster

                _ = self.clusters  # says when others can read the passwords
                self._cluster = Cluster.from_alias(alias)
            if self.args.verbose:
                self._cluster.trace = lambda line: _write(self._stderr, f"{line}\n")
        return self._cluster

    @property
    def clusters(self) -> ClusterBook:
        """The clusters known, as they are kept now."""
        from openpaisdk.config.clusters import ClusterBook

        book = ClusterBook.load()
        for warning in book.warnings:
            if warning not in self._warned:
                self.warn(warning)
        return book

    # --- talking ----------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Tell something that helps but is no part of the value; ``--quiet`` silences it."""
        if not self.args.quiet:
            _write(self._stderr, f"{text}\n")

    def warn(self, text: str) -> None:
        """Tell something that the user should know even when quiet."""
        self._warned.add(text)
        _write(self._stderr, f"warning: {text}\n")

    def stream(self, text: str) -> None:
        """Hand on text of a task at once: to stdout, or to stderr where stdout is kept for json or yaml."""
        _write(self._stdout if self.format == "table" else self._stderr, text)

    def stream_bytes(self, data: bytes | memoryview) -> None:
        """Hand on bytes to stdout as they are."""
        write = getattr(self._stdout, "write_bytes", None)
        if write is not None:
            write(data)
        else:
            _write(self._stdout, bytes(data).decode("utf-8", "surrogateescape"))

    @property
    def streams(self) -> bool:
        """Whether what a command shows piece by piece reaches somebody as it comes."""
        return self._stdout is not None and self.format == "table"

    def progress(self, what: str, *, goes_on: bool = False) -> ShownProgress:
        """Return what shows how far a transfer is: a bar on a terminal, else a line now and then.

        Where it ``goes_on`` when it is begun again, it says so to who interrupts it.
        """
        from openpaisdk.cli.progress import ShownProgress

        return ShownProgress(None if self.args.quiet else self._stderr, what, goes_on=goes_on)

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody at a terminal to answer."""
        return self._ask is not None

    def ask(self, question: str, *, secret: bool = False) -> str:
        """Return what the user answers at the terminal.

        Raises:
            UsageError: Nobody is there to answer.
        """
        if self._ask is None:
            raise UsageError(f"cannot ask for {question!r} without a terminal")
        return self._ask(question, secret)


class Call:
    """One command with its arguments, ready to run; or ``help_text``, when help was asked for."""

    __slots__ = ("command", "context", "help_text")

    def __init__(
        self, command: Command | None = None, context: Context | None = None, *, help_text: str | None = None
    ) -> None:
        self.command = command
        self.context = context
        self.help_text = help_text

    def run(self) -> Any:
        """Run the command and return its value."""
        if self.command is None or self.context is None:
            return self.help_text
        try:
            return self.command.run(self.context.args, self.context)
        finally:
            embedded = sys.modules.get("openpaisdk.embedded")  # loaded only when it was needed
            for notice in embedded.take_notices() if embedded is not None else ():
                self.context.warn(notice)


def _write(stream: TextSink | None, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()
