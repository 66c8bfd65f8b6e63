# SPDX-License-Identifier: MIT
"""The server process of the embedded cluster: one for each home, started on demand, ended cleanly.

Who starts it gives it a descriptor (``--ready-fd``) and reads one line of JSON from it: the contents of
``server.json`` when the server answers, or ``{"error": message}`` when it cannot.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import json
import os
import sys
import traceback
from typing import IO, Any

from openpaisdk._files import read_json, replace_json
from openpaisdk.errors import LocalClusterError, MissingExtraError, OpenPaiError, UsageError
from openpaisdk.local.home import LocalHome
from openpaisdk.spec.names import parse_memory_mb, parse_share

LOCK_FILE = "server.lock"
LOG_LIMIT_BYTES = 4 * 1024**2
"""At a start, a log larger than this is put aside as ``server.log.1``."""


class AlreadyRunningError(LocalClusterError):
    """A server runs in this home already."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(argv)
    ready = _Ready(options.ready_fd)
    try:
        _serve(options, ready)
    except AlreadyRunningError as exc:
        ready.fail(exc.message, exc.hint, "AlreadyRunning")
        return 1
    except OpenPaiError as exc:
        ready.fail(exc.message, exc.hint)
        return 1
    except BaseException as exc:
        traceback.print_exc()
        ready.fail(
            f"the server failed to start: {exc}" if str(exc) else f"the server failed: {type(exc).__name__}"
        )
        return 70
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m openpaisdk.local", description="the embedded cluster's server"
    )
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve", help="run the server")
    serve.add_argument("--home", required=True, help="folder of the cluster, <OPENPAI_HOME>/local")
    serve.add_argument("--port", type=int, help="port to listen on; left out: the one of the last time")
    serve.add_argument("--cpu", type=int, help="CPUs to give to tasks; left out: those of the machine")
    serve.add_argument("--gpu", type=int, help="GPUs to give to tasks; left out: those of the machine")
    serve.add_argument("--mem", help="memory to give to tasks, such as 16g; left out: that of the machine")
    serve.add_argument("--vc", action="append", default=[], help="a share, NAME=CPU:GPU:MEM; empty: none")
    serve.add_argument("--pass-env", action="append", default=[], help="a variable that tasks may see")
    serve.add_argument(
        "--rate-limits",
        nargs="?",
        const="600:120:3600",
        help="refuse clients that ask too often, REQUESTS/MIN:LISTS/MIN:SUBMISSIONS/HOUR; `off` ends it",
    )
    serve.add_argument("--ready-fd", type=int, help="descriptor to report to")
    serve.add_argument("--foreground", action="store_true", help="stay attached to the terminal")
    return parser


class _Ready:
    """The one line for whoever started the server; without a descriptor errors go to stderr."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def tell(self, server: dict[str, Any]) -> None:
        """Report that the server answers."""
        self._write(server)

    def fail(self, message: str, hint: str | None = None, code: str = "LocalCluster") -> None:
        """Report that there is no server, and why; code ``AlreadyRunning``: another one is there."""
        print_line = f"error: {message}" + (f"\nhint: {hint}" if hint else "")
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(print_line + "\n")
            sys.stderr.flush()
        self._write({"error": message, "code": code, **({"hint": hint} if hint else {})})

    def _write(self, value: dict[str, Any]) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(self._descriptor, (json.dumps(value) + "\n").encode())
            os.close(self._descriptor)
        self._descriptor = None


def _serve(options: argparse.Namespace, ready: _Ready) -> None:
    os.umask(0o077)
    home = LocalHome(options.home)
    try:
        home.make()
        lock = open(os.path.join(home.folder, LOCK_FILE), "a", encoding="ascii")  # noqa: SIM115
    except OSError as exc:
        raise _unwritable(home, exc) from exc
    with lock:
        _become_only_server(home, lock)
        if not options.foreground:
            _detach(home, options.ready_fd)
        before = read_json(home.config_file, default={})
        settings = {**before, **_told(options)}

        def tell(server: dict[str, Any]) -> None:
            if settings != before:  # kept only when a server could start with them
                replace_json(home.config_file, settings, mode=0o600)
            ready.tell(server)

        try:
            from openpaisdk.local.server import run_server
        except ImportError as exc:
            if (exc.name or "").partition(".")[0] in ("starlette", "uvicorn", "anyio", "h11", "click"):
                raise MissingExtraError("the embedded cluster", extra="local") from exc
            raise
        try:
            run_server(home, settings, tell)
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            raise _unwritable(home, exc) from exc


def _unwritable(home: LocalHome, exc: OSError) -> LocalClusterError:
    return LocalClusterError(
        f"the folder of the embedded cluster, {home.folder!r}, cannot be written: {exc.strerror}",
        hint="make room there or make it writable, or let OPENPAI_HOME name another folder",
    )


def _become_only_server(home: LocalHome, lock: IO[str]) -> None:
    """Take the home's lock, which is held as long as the file is open.

    Raises:
        AlreadyRunningError: Another server has it.
        LocalClusterError: It cannot be taken.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunningError(
            f"another server of the embedded cluster runs in {home.folder!r}",
            hint="opai local status shows it",
        ) from None
    except OSError as exc:
        raise LocalClusterError(f"cannot lock {lock.name!r}: {exc.strerror}") from exc


def _detach(home: LocalHome, ready_fd: int | None) -> None:
    """Leave the terminal and the folder of who started us; what we say goes to the log."""
    with contextlib.suppress(PermissionError):  # a session leader already
        os.setsid()
    os.chdir(home.folder)
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(home.log_file) > LOG_LIMIT_BYTES:
            os.replace(home.log_file, f"{home.log_file}.1")
    log = os.open(home.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor in (1, 2):
        if descriptor != ready_fd:
            os.dup2(log, descriptor)
    os.close(log)
    os.close(nothing)
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)


def _told(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line has; those left out stay as they were at the last start.

    Raises:
        UsageError: An amount makes no sense.
    """
    told: dict[str, Any] = {}
    for name in ("port", "cpu", "gpu"):
        value = getattr(options, name)
        if value is not None:
            if value < (1 if name == "cpu" else 0) or (name == "port" and value > 65535):
                raise UsageError(f"--{name} {value} is out of range")
            told[name] = value
    if options.mem is not None:
        told["memory_mb"] = parse_memory_mb(options.mem)
    if options.pass_env:
        told["pass_env"] = options.pass_env
    if options.vc:
        told["virtual_clusters"] = {
            name: list(amounts) for name, amounts in (parse_share(text) for text in options.vc if text)
        }
    if options.rate_limits is not None:
        told["rate_limits"] = _parse_rate_limits(options.rate_limits)
    return told


def _parse_rate_limits(text: str) -> list[int] | None:
    if text == "off":
        return None
    words = text.split(":")
    if len(words) != 3 or not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(f"rate limits {text!r} are not three numbers", hint="for example 600:120:3600")
    return [int(word) for word in words]
