# SPDX-License-Identifier: MIT
"""Kinds of values, and the options that several commands share."""

from __future__ import annotations

from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from openpaisdk.cli.parser import Parser

FORMATS = ("table", "json", "yaml")
COMMON_GROUP = "options of every command"

# --- kinds of values ----------------------------------------------------------------------------


def whole_number(minimum: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``minimum``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise UsageError(f"expected a whole number, at least {minimum}; got {text!r}")
        return value

    return read


def seconds(text: str) -> float:
    """Read a duration in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise UsageError(f"expected seconds, at least 0; got {text!r}")
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        if text not in choices:
            raise UsageError(f"expected one of {', '.join(choices)}; got {text!r}")
        return text

    return read


def memory_mb(text: str) -> int:
    """Read a size such as ``4096`` (MB), ``4g`` or ``512m``."""
    from openpaisdk.spec.names import parse_memory_mb

    return parse_memory_mb(text)


def pair(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def path_and_value(text: str) -> tuple[str, str]:
    """Read ``PATH=VALUE``, the path with dots or with ``::`` between its steps."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip(".:"):
        raise UsageError(f"expected PATH=VALUE such as defaults.virtualCluster=x, got {text!r}")
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
    group = COMMON_GROUP
    parser.option("-a", "--cluster-alias", group=group, metavar="ALIAS", help="which cluster")
    forms = "{table,json,yaml}"
    parser.option(
        "-o", "--format", group=group, read=one_of(*FORMATS), metavar=forms, help="form of the value"
    )
    parser.option("-q", "--quiet", group=group, action="set", help="no progress, no hints")
    parser.option("-v", "--verbose", group=group, action="set", help="show HTTP requests")
    parser.option("--debug", group=group, action="set", help="show tracebacks")


def add_waiting(parser: Parser) -> None:
    """Add ``--wait`` and ``--follow``."""
    parser.option("--wait", action="set", help="wait for the end; exit code 3 when the job did not succeed")
    parser.option("--follow", action="set", help="as --wait, and show what the tasks print")
    parser.exclusive("--wait", "--follow")


def add_preview(parser: Parser) -> None:
    """Add ``--preview`` and ``--show-secrets``."""
    parser.option("--preview", action="set", help="show the document that would be sent, and send nothing")
    parser.option("--show-secrets", action="set", help="with --preview: do not mask secrets")


def add_streams(parser: Parser) -> None:
    """Add ``--stdout``, ``--stderr`` and ``--all``."""
    for name, text in (
        ("stdout", "only what went to stdout"),
        ("stderr", "only what went to stderr"),
        ("all", "both (the default)"),
    ):
        parser.option(f"--{name}", dest="stream", action="set", const=name, default="all", help=text)
    parser.exclusive("--stdout", "--stderr", "--all")


def add_password(parser: Parser) -> None:
    """Add the three ways to hand over a password or token."""
    parser.option("--password", metavar="P", help="the password (others can see it on a command line)")
    parser.option("--password-stdin", action="set", help="read the password from stdin")
    parser.option("--token", metavar="T", help="a token instead of a password")
    parser.exclusive("--password", "--password-stdin", "--token")
