# SPDX-License-Identifier: MIT
"""The command ``opai``: an ``Engine``, its value shown, and an exit code."""

from __future__ import annotations

import gc
import sys

from openpaisdk.cli import output
from openpaisdk.engine import Engine
from openpaisdk.errors import OpenPaiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from openpaisdk.cli.command import Ask, Call


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``opai`` and exit."""
    exit_code = run(sys.argv[1:] if argv is None else argv)
    gc.freeze()  # else the interpreter looks through all objects once more when it ends: 3 ms
    sys.exit(exit_code)


def run(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` names, show its value or its error, and return the exit code."""
    stdout, stderr = output.Stream(sys.stdout), output.Stream(sys.stderr)
    try:
        return _run(argv, stdout, stderr)
    except output.ReaderLeftError:
        stdout.abandon()
        stderr.abandon()
        return 0


def _run(argv: Sequence[str], stdout: output.Stream, stderr: output.Stream) -> int:
    call: Call | None = None
    try:
        call = Engine(stdout, stderr, ask=_asker()).parse(argv)
        value = call.run()
        if call.command is None or call.context is None:
            output.show(value, None, "table", stdout, stderr, quiet=True)
            return 0
        exit_code = call.command.exit_code(value)
        try:
            output.show(
                value, call.command, call.context.format, stdout, stderr, quiet=call.context.args.quiet
            )
        except output.ReaderLeftError:
            stdout.abandon()
        return exit_code
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, output.ReaderLeftError):
            raise
        return _report(error, argv, call, stdout, stderr)


def _report(
    error: BaseException, argv: Sequence[str], call: Call | None, stdout: output.Stream, stderr: output.Stream
) -> int:
    """Show an error, and first the value that some commands give nevertheless; return the exit code."""
    from openpaisdk.cli.exit_codes import exit_code_of

    chosen_format, debug = _chosen_format(argv, call), "--debug" in argv
    value = None
    if call is not None and call.command is not None and call.context is not None:
        debug = call.context.args.debug
        value = call.command.value_of_error(error)
        if value is not None:
            output.show(value, call.command, chosen_format, stdout, stderr, quiet=True)
    from contextlib import suppress

    with suppress(OpenPaiError):  # where stderr is full as well, the exit code is all that is left
        output.show_error(error, chosen_format, stderr, debug=debug, brief=value is not None)
    return exit_code_of(error)


def _chosen_format(argv: Sequence[str], call: Call | None) -> str:
    """Return the format of the value as well as it can be told when things have gone wrong."""
    if call is not None and call.context is not None:
        try:
            return call.context.format
        except OpenPaiError:
            return "table"
    line = " ".join(argv)
    ways = ("-ojson", "-o=json", "-o json", "--format=json", "--format json")
    return "json" if any(way in line for way in ways) else "table"


def _asker() -> Ask | None:
    """Return how to ask the person at the terminal, or ``None`` when there is none."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty():
        return output.ask
    return None
