# SPDX-License-Identifier: MIT
"""Kinds of values (``type`` of ``add_argument``), and the options that several commands share."""

from __future__ import annotations

from argparse import ArgumentTypeError

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
            raise ArgumentTypeError(f"expected a whole number, at least {minimum}; got {text!r}")
        return value

    return read


def seconds(text: str) -> float:
    """Read a duration in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ArgumentTypeError(f"expected seconds, at least 0; got {text!r}")
    return value


def duration(text: str) -> float:
    """Read a duration with its unit, such as ``36h`` or ``7d``, in seconds."""
    unit = {"m": 60, "h": 3600, "d": 24 * 3600}.get(text[-1:])
    if unit is None or not (text.isascii() and text[:-1].isdecimal()) or len(text) > 6:
        raise ArgumentTypeError(f"expected a duration such as 36h or 7d; got {text!r}")
    return float(int(text[:-1]) * unit)


def memory_mb(text: str) -> int:
    """Read a size such as ``4096`` (MB), ``4g`` or ``512m``."""
    from openpaisdk.spec.names import parse_memory_mb

    try:
        return parse_memory_mb(text)
    except UsageError as exc:
        raise ArgumentTypeError(exc.message) from exc


def share(text: str) -> tuple[str, tuple[int, int, int]] | None:
    """Read ``NAME=CPU:GPU:MEM``; nothing stands for no share at all."""
    from openpaisdk.spec.names import parse_share

    try:
        return parse_share(text) if text else None
    except UsageError as exc:
        raise ArgumentTypeError(exc.message) from exc


def pair(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def path_and_value(text: str) -> tuple[str, str]:
    """Read ``PATH=VALUE``, the path with dots or with ``::`` between its steps."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip(".:"):
        raise ArgumentTypeError(f"expected PATH=VALUE such as defaults.virtualCluster=x, got {text!r}")
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
    group = parser.add_argument_group(COMMON_GROUP)
    group.add_argument("-a", "--cluster-alias", metavar="ALIAS", help="which cluster")
    group.add_argument("-o", "--format", choices=FORMATS, help="form of the value")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, no hints")
    group.add_argument("-v", "--verbose", action="store_true", help="show HTTP requests")
    group.add_argument("--debug", action="store_true", help="show tracebacks")


def add_job(parser: Parser) -> None:
    """Add the word that names a job."""
    parser.add_argument(
        "job_name", metavar="<job-name>", help="the job; <user>~<job-name> for another user's"
    )


def add_waiting(parser: Parser) -> None:
    """Add ``--wait`` and ``--follow``."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--wait", action="store_true", help="wait for the end; exit code 3 when the job did not succeed"
    )
    group.add_argument("--follow", action="store_true", help="as --wait, and show what the tasks print")


def add_preview(parser: Parser) -> None:
    """Add ``--preview`` and ``--show-secrets``."""
    parser.add_argument(
        "--preview", action="store_true", help="show the document that would be sent, and send nothing"
    )
    parser.add_argument("--show-secrets", action="store_true", help="with --preview: do not mask secrets")


def add_streams(parser: Parser) -> None:
    """Add ``--stdout``, ``--stderr`` and ``--all``."""
    group = parser.add_mutually_exclusive_group()
    for name, text in (
        ("stdout", "only what went to stdout"),
        ("stderr", "only what went to stderr"),
        ("all", "both (the default)"),
    ):
        group.add_argument(
            f"--{name}", dest="stream", action="store_const", const=name, default="all", help=text
        )


def add_password(parser: Parser) -> None:
    """Add the three ways to hand over a password or token."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--password", metavar="P", help="the password (others can see it on a command line)")
    group.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    group.add_argument("--token", metavar="T", help="a token instead of a password")
