# SPDX-License-Identifier: MIT
"""Everything that ``opai`` writes: values to stdout, errors to stderr, questions to the terminal."""

from __future__ import annotations

import os
import sys

from openpaisdk.errors import OpenPaiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from openpaisdk.cli.command import Command

_COLOURS = {
    "SUCCEEDED": "32",
    "RUNNING": "36",
    "FAILED": "31",
    "STOPPED": "33",
    "STOPPING": "33",
    "error": "1;31",
}


class ReaderLeftError(Exception):
    """Whoever read our stdout or stderr has closed it, as ``head`` does; nobody is left to tell."""


class Stream:
    """A standard stream that may be closed, full, or of a narrow encoding.

    Bytes of a task's output that are not UTF-8 travel as surrogates and leave unchanged.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and stream is not None:
            utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
            reconfigure(errors="surrogateescape" if utf8 else "backslashreplace", newline="\n")

    def write(self, text: str) -> int:
        """Write all of ``text``.

        Raises:
            ReaderLeftError: The other end of the pipe is closed.
            OpenPaiError: The text cannot be written, for example to a full disk.
        """
        self._attempt("write", text)
        return len(text)

    def write_bytes(self, data: bytes | memoryview) -> int:
        """Write bytes as they are; raises as ``write`` does."""
        buffer = getattr(self._stream, "buffer", None)
        if buffer is None:
            return self.write(bytes(data).decode("utf-8", "surrogateescape"))
        self._attempt("flush")
        try:
            buffer.write(data)
        except BrokenPipeError as exc:
            raise ReaderLeftError from exc
        except OSError as exc:
            self.abandon()
            raise OpenPaiError(f"cannot write the output: {exc.strerror or exc}") from exc
        return len(data)

    def flush(self) -> None:
        """Hand on what was written; raises as ``write`` does."""
        self._attempt("flush")

    def is_terminal(self) -> bool:
        """Return whether a person looks at it."""
        return self._stream is not None and self._stream.isatty()

    def abandon(self) -> None:
        """Point the stream at nothing, so that the interpreter does not fail again when it closes it."""
        if self._stream is None:
            return
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)
        except (OSError, ValueError):  # a stream of a test has no descriptor
            pass

    def _attempt(self, method: str, *arguments: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, method)(*arguments)
        except BrokenPipeError as exc:
            raise ReaderLeftError from exc
        except OSError as exc:
            self.abandon()
            raise OpenPaiError(f"cannot write the output: {exc.strerror or exc}") from exc


def show(
    value: Any, command: Command | None, chosen_format: str, stdout: Stream, stderr: Stream, *, quiet: bool
) -> None:
    """Write a value in the format that was chosen."""
    if command is None:
        stdout.write(str(value))
    elif chosen_format == "json":
        stdout.write(_json(value, indented=stdout.is_terminal()))
    elif chosen_format == "yaml":
        from openpaisdk.spec.yaml12 import dump_yaml

        stdout.write(dump_yaml(value))
    elif value == [] and not quiet:
        stderr.write("nothing to show\n")
    else:
        stdout.write(_text(value, command, stdout))
    stdout.flush()


def show_error(
    error: BaseException, chosen_format: str, stderr: Stream, *, debug: bool = False, brief: bool = False
) -> None:
    """Write what went wrong: with ``json`` an object as the last line, else ``error:`` and ``hint:`` lines.

    Args:
        error: One of ours, or a bug.
        chosen_format: The format of the value that does not come.
        stderr: Where to write.
        debug: Show the traceback as well.
        brief: Leave out the problems of a document, which were shown already.
    """
    if debug:
        import traceback

        stderr.write("".join(traceback.format_exception(error)))
    ours = isinstance(error, OpenPaiError)
    message = error.message if isinstance(error, OpenPaiError) else _describe_bug(error)
    hint = error.hint if isinstance(error, OpenPaiError) else None
    problems = [] if brief else getattr(error, "problems", [])
    if not ours and not debug and not isinstance(error, KeyboardInterrupt):
        hint = "this is a bug in opai; --debug shows where"
    if chosen_format == "json":
        import json

        code = type(error).__name__.removesuffix("Error")
        report: dict[str, Any] = {"code": code, "message": message, "hint": hint}
        if problems:
            report["problems"] = problems
        stderr.write(json.dumps({"error": report}) + "\n")
    else:
        stderr.write(f"{_paint('error', stderr)}: {message}\n")
        for problem in problems if "\n" not in message else ():
            if problem.get("severity") != "warning" and problem.get("message", "") not in message:
                stderr.write(f"  {problem.get('path') or 'document'}: {problem.get('message')}\n")
        if hint:
            stderr.write(f"hint: {hint}\n")
    stderr.flush()


def ask(question: str, secret: bool) -> str:
    """Return the answer of the person at the terminal; a secret is not echoed."""
    if secret:
        import getpass

        return getpass.getpass(f"{question}: ")
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _describe_bug(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"unexpected {type(error).__name__}: {error}".rstrip(": ")


def _json(value: Any, *, indented: bool) -> str:
    """Return JSON: indented for a person, else a list with one element a line, which is 20 times as fast."""
    import json

    if isinstance(value, list) and not indented:
        lines = ",\n".join([json.dumps(item) for item in value])
        return f"[\n{lines}\n]\n" if lines else "[]\n"
    return json.dumps(value, indent=2) + "\n"


def _text(value: Any, command: Command, stdout: Stream) -> str:
    from openpaisdk.cli import layout

    terminal = stdout.is_terminal()
    width = _terminal_width() if terminal else None
    paint = (lambda state: _paint(state, stdout)) if terminal and _may_colour() else None
    text = command.to_text(value, width=width, paint=paint)
    if text is not None:
        return text
    if value is None:
        return ""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return layout.table(value, command.columns, width=width, paint=paint)
    if isinstance(value, list):
        return "".join(f"{item}\n" for item in value)
    if isinstance(value, dict):
        return layout.pairs(value, paint=paint)
    return str(value)


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _may_colour() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _paint(word: str, stream: Stream) -> str:
    if word in _COLOURS and stream.is_terminal() and _may_colour():
        return f"\x1b[{_COLOURS[word]}m{word}\x1b[0m"
    return word
