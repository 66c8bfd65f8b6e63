# SPDX-License-Identifier: MIT
"""``opai local``: the cluster that comes with this package. Any command that needs it starts it as well."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError

from openpaisdk import embedded
from openpaisdk._files import local_folder, read_json
from openpaisdk.cli import options
from openpaisdk.cli.command import Command
from openpaisdk.constants import LOCAL_CONFIG_FILE, LOCAL_LOG_FILE
from openpaisdk.core import local_credentials, stop_local
from openpaisdk.errors import LocalClusterError, OpenPaiError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any, NoReturn, TextIO

    from openpaisdk.cli.command import Context
    from openpaisdk.cli.layout import Show
    from openpaisdk.cli.parser import Parser

LOG_LINES = 100
FOLLOW_INTERVAL_S = 0.2
_OPTIONS = {"memory_mb": "mem", "pass_env": "pass-env", "virtual_clusters": "vc"}
_MODES = {"k": "kill", "kill": "kill", "l": "leave", "leave": "leave"}


class StartLocal(Command):
    """``opai local start``."""

    details = (
        "What it is told is kept for later starts. Left out, it has the cores and memory of this machine."
    )
    examples = ("opai local start", "opai local start --cpu 8 --vc team=4:1:16g --pass-env HF_TOKEN")

    def add_arguments(self, parser: Parser) -> None:
        """Declare what the cluster has to give."""
        parser.add_argument(
            "--port", type=_port, metavar="N", help="port to listen on (default: a free one, then kept)"
        )
        parser.add_argument(
            "--cpu", type=options.whole_number(1), metavar="N", help="CPU cores to give to jobs"
        )
        parser.add_argument("--gpu", type=options.whole_number(0), metavar="N", help="GPUs to give to jobs")
        parser.add_argument(
            "--mem", type=options.memory_mb, metavar="SIZE", help="memory to give to jobs: 4096 (MB), 4g"
        )
        parser.add_argument(
            "--vc",
            action="append",
            type=options.share,
            metavar="NAME=CPU:GPU:MEM",
            help="share of a virtual cluster (repeatable); 'default' has what they leave; '' for none",
        )
        parser.add_argument(
            "--pass-env",
            action="extend",
            type=options.comma_list,
            metavar="NAME",
            help="environment variable of the server that jobs see (repeatable)",
        )

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Start the cluster unless it runs, and return its status."""
        wanted = {"port": args.port, "cpu": args.cpu, "gpu": args.gpu, "memory_mb": args.mem}
        wanted["pass_env"] = args.pass_env
        if args.vc is not None:
            wanted["virtual_clusters"] = {name: list(amounts) for name, amounts in filter(None, args.vc)}
        given = {key: value for key, value in wanted.items() if value is not None}
        if given and embedded.answers(embedded.read_server_file()):
            _require_same(given)
        embedded.ensure_running(given)
        return embedded.status()


class StopLocal(Command):
    """``opai local stop``."""

    details = (
        "With tasks running it asks on a terminal; without one it refuses, unless told what to do with them."
    )
    examples = ("opai local stop", "opai local stop --leave")

    def add_arguments(self, parser: Parser) -> None:
        """Declare what becomes of running tasks."""
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--kill", action="store_true", help="end running tasks")
        group.add_argument(
            "--leave", action="store_true", help="let them run until the next start takes them up"
        )

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Stop the cluster and return its status."""
        if not embedded.answers(embedded.read_server_file()):
            context.note("the embedded cluster does not run")
            return embedded.status()
        mode = "kill" if args.kill else "leave" if args.leave else "refuse"
        try:
            return stop_local(mode)
        except LocalClusterError as exc:
            if not context.can_ask or getattr(exc.__cause__, "status", None) != 409:
                raise
            return stop_local(_ask_mode(context, exc))


class ShowLocalStatus(Command):
    """``opai local status``."""

    examples = ("opai local status -o json",)

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Return whether the cluster runs, and where; does not start it."""
        return embedded.status()


class ResetLocal(Command):
    """``opai local reset``."""

    details = "Running tasks are ended; jobs, logs and stored files are gone for good."
    examples = ("opai local reset --yes",)

    def add_arguments(self, parser: Parser) -> None:
        """Declare the consent."""
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Delete everything of the embedded cluster, and return its status."""
        folder = local_folder()
        if not args.yes and not _consents(context, folder):
            raise LocalClusterError(f"nothing was deleted in {folder!r}")
        if os.path.islink(folder):
            raise LocalClusterError(
                f"{folder!r} is a link, a folder is wanted", hint="delete what it points to"
            )
        if os.path.isdir(folder):
            _end_everything(context)
            from openpaisdk.local.removal import delete_tree

            delete_tree(folder)
            if os.path.lexists(folder):
                raise LocalClusterError(
                    f"not all of {folder!r} could be deleted", hint=f"rm -r {folder} says why"
                )
        return embedded.status()


class ShowLocalLogs(Command):
    """``opai local logs``."""

    examples = ("opai local logs --tail 20", "opai local logs -f")

    def add_arguments(self, parser: Parser) -> None:
        """Declare how much."""
        parser.add_argument("-f", "--follow", action="store_true", help="go on until you break off")
        parser.add_argument(
            "-n",
            "--tail",
            type=options.whole_number(0),
            default=LOG_LINES,
            metavar="N",
            help=f"how many lines (default: {LOG_LINES})",
        )

    def run(self, args: Namespace, context: Context) -> str | None:
        """Return the last lines of the server's own log; with ``--follow`` they go to the stream."""
        path = os.path.join(local_folder(), LOCAL_LOG_FILE)
        try:
            file = open(path, encoding="utf-8", errors="surrogateescape", newline="")  # noqa: SIM115
        except FileNotFoundError:
            context.note("the embedded cluster has not been started yet")
            return ""
        except OSError as exc:
            raise LocalClusterError(f"cannot read {path!r}: {exc.strerror}") from exc
        with file:
            lines = file.readlines()
            text = "".join(lines[max(0, len(lines) - args.tail) :])
            return _follow(file, text, context) if args.follow else text

    def to_text(self, value: Any, *, width: int | None, paint: Show | None) -> str | None:
        """Hand the text on unchanged."""
        return str(value or "")


def _follow(file: TextIO, text: str, context: Context) -> NoReturn:
    """Hand on ``text``, then what comes to the end of ``file``, until somebody breaks off."""
    import time

    while True:
        if text:
            context.stream(text)
        else:
            time.sleep(FOLLOW_INTERVAL_S)
        text = file.read()


class ShowCredentials(Command):
    """``opai local credentials``."""

    details = "They give full access to this cluster: do not show them around."
    examples = ("opai local credentials -o json",)

    def run(self, args: Namespace, context: Context) -> dict[str, Any]:
        """Return addresses, user, password and token."""
        return local_credentials()


def _ask_mode(context: Context, refusal: LocalClusterError) -> str:
    """Return what a person at the terminal wants done with running tasks.

    Raises:
        LocalClusterError: Nothing, the cluster is to go on.
    """
    answer = context.ask(f"{refusal.message}. [k]ill tasks, [l]eave them running, or [c]ancel?").lower()
    if answer not in _MODES:
        raise LocalClusterError("the embedded cluster was not stopped", hint=refusal.hint)
    return _MODES[answer]


def _consents(context: Context, folder: str) -> bool:
    if not context.can_ask:
        raise UsageError("reset deletes every job and file of the embedded cluster", hint="say so with --yes")
    return context.ask(f"Delete every job and file in {folder}? [y/N]").lower() in ("y", "yes")


def _end_everything(context: Context) -> None:
    """End the server and every task, also those that an earlier stop left running or no database knows."""
    try:
        embedded.ensure_running()
        stop_local("kill")
    except OpenPaiError as exc:
        if embedded.answers(embedded.read_server_file()):
            raise
        context.warn(f"tasks are ended without a server: {exc.message}")
    embedded.end_left_tasks()


def _require_same(given: dict[str, Any]) -> None:
    """Refuse options that a server which already runs would not heed.

    Raises:
        LocalClusterError: One differs from what it was started with.
    """
    known = read_json(os.path.join(local_folder(), LOCAL_CONFIG_FILE), default={})
    changed = [key for key, value in given.items() if known.get(key) != value]
    if changed:
        names = ", ".join(f"--{_OPTIONS.get(key, key)}" for key in changed)
        raise LocalClusterError(
            f"the embedded cluster runs already, and heeds {names} only when it starts",
            hint="`opai local stop --leave`, which lets tasks run on, then start it again with these options",
        )


def _port(text: str) -> int:
    port = options.whole_number(1)(text)
    if port > 65535:
        raise ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return port
