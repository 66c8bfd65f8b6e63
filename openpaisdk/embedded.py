# SPDX-License-Identifier: MIT
"""Finding the embedded cluster's server, and starting it as a process of its own when it does not run."""

from __future__ import annotations

import contextlib
import os
import sys

from openpaisdk._files import home_folder, read_json
from openpaisdk.constants import LOCAL_FOLDER, LOCAL_LOG_FILE, LOCAL_SERVER_FILE, VERSION
from openpaisdk.errors import ConfigError, LocalClusterError, MissingExtraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

START_TIMEOUT_S = 60.0
_STARTS = 5
"""How often a server is started that is killed before it answers."""
_LOG_TAIL_BYTES = 4000
_started: list[int] = []
_notices: list[str] = []


def read_server_file(home: str | None = None) -> dict[str, Any] | None:
    """Return what the server wrote about itself, ``None`` when there was none; it may have ended since.

    A damaged file counts as none: the next start writes it anew.

    Args:
        home: The folder of settings, by default ``$OPENPAI_HOME`` or ``~/.openpai``.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        value = read_json(os.path.join(_folder(home), LOCAL_SERVER_FILE))
    except ConfigError as exc:
        if not isinstance(exc.__cause__, ValueError):
            raise
        return None
    return value if isinstance(value, dict) and "uri" in value and "token" in value else None


def take_notices() -> list[str]:
    """Return, once, what servers that were started by this process had to tell their user."""
    notices = list(_notices)
    _notices.clear()
    return notices


def may_run(server: Mapping[str, Any] | None) -> bool:
    """Tell whether the server has a living process; costs a microsecond and no connection."""
    pid = server.get("pid") if server is not None else None
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def answers(server: Mapping[str, Any] | None) -> bool:
    """Tell whether something accepts connections where the server listens."""
    if server is None or not may_run(server):
        return False
    import _socket

    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        connection.settimeout(1.0)
        connection.connect(("127.0.0.1", int(server["port"])))
    except (OSError, KeyError, ValueError):
        return False
    finally:
        connection.close()
    return True


def status(home: str | None = None) -> dict[str, Any]:
    """Return whether the embedded cluster runs, and where: ``running, pid, uri, home, version``, and
    ``notices`` when its last start had something to tell.
    """
    server = read_server_file(home)
    running = answers(server)
    known = server or {}
    return {
        "running": running,
        "pid": known.get("pid") if running else None,
        "uri": known.get("uri"),
        "home": _folder(home),
        "version": known.get("version", VERSION),
        **({"notices": known["notices"]} if known.get("notices") else {}),
    }


def ensure_running(options: Mapping[str, Any] | None = None, *, home: str | None = None) -> dict[str, Any]:
    """Return what the running server wrote about itself, starting it first where need be.

    Args:
        options: What a server that is started now is told (``port``, ``cpu``, ``gpu``, ``memory_mb``,
            ``pass_env``, ``virtual_clusters``); it keeps them for later starts. A server that runs already is
            left as it is.
        home: The folder of settings, by default ``$OPENPAI_HOME`` or ``~/.openpai``.

    Raises:
        LocalClusterError: The server does not start; the message has the end of its log.
        MissingExtraError: The packages that the server needs are not installed.
    """
    folder = _folder(home)
    if os.name != "posix":
        raise LocalClusterError("the embedded cluster does not run on Windows", hint="use it inside WSL")
    _reap()
    server = read_server_file(home)
    if answers(server) and server is not None:
        return server
    import fcntl

    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(folder, "start.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two commands at once start one server
        server = read_server_file(home)
        if answers(server) and server is not None:
            return server
        _check_packages()
        return _start_or_join(home, folder, _option_words(options or {}))
    finally:
        os.close(lock)


def restart_crashed(home: str | None = None) -> dict[str, Any] | None:
    """Return what the server wrote about itself after it was lost, starting it again if it has crashed.

    ``None`` when it was stopped on purpose: then it stays so. One that is about to end is waited for.

    Raises:
        LocalClusterError: The server does not start.
    """
    import time

    _reap()
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        server = read_server_file(home)
        if server is None or server.get("pid") is None:
            return None
        if answers(server):
            return server
        if not may_run(server) or time.monotonic() > deadline:
            return ensure_running(home=home)
        wait_gone(int(server["pid"]), 0.2)


def wait_gone(pid: int, timeout_s: float) -> bool:
    """Wait until a process has ended; false when it is still there after ``timeout_s`` seconds."""
    _reap()
    if pid <= 0 or not may_run({"pid": pid}):
        return True
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):
        return _wait_gone_by_looking(pid, timeout_s)
    try:
        return bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)
        _reap()


def _wait_gone_by_looking(pid: int, timeout_s: float) -> bool:
    import time

    deadline = time.monotonic() + timeout_s
    while may_run({"pid": pid}):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
        _reap()
    return True


def end_left_tasks(home: str | None = None) -> None:
    """End the tasks that no server knows any more, as when their database was lost; none may run now.

    A task's supervisor holds a lock as long as it lives, so its note of its process id is its own still.
    """
    import glob
    import signal

    for folder in glob.glob(os.path.join(glob.escape(_folder(home)), "tasks", "*")):
        while _is_locked(os.path.join(folder, "lock")):
            with open(os.path.join(folder, "pid"), encoding="ascii") as file:
                pid = int(file.readline())
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            wait_gone(pid, 1.0)


def _is_locked(path: str) -> bool:
    import fcntl

    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _folder(home: str | None) -> str:
    return os.path.join(os.path.abspath(home or home_folder()), LOCAL_FOLDER)


def _unwritable(folder: str, exc: OSError) -> LocalClusterError:
    return LocalClusterError(
        f"the embedded cluster cannot write its folder {folder!r}: {exc.strerror}",
        hint="make room there or make it writable, or let OPENPAI_HOME name another folder",
    )


def _check_packages() -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise MissingExtraError("the embedded cluster", extra="local")


def _option_words(options: Mapping[str, Any]) -> list[str]:
    """Return options as words of the server's command line."""
    names = {"port": "--port", "cpu": "--cpu", "gpu": "--gpu", "memory_mb": "--mem"}
    words = []
    for key, word in names.items():
        if options.get(key) is not None:
            words += [word, str(options[key])]
    for variable in options.get("pass_env") or ():
        words += ["--pass-env", str(variable)]
    shares = options.get("virtual_clusters")
    if shares is not None:
        for name, share in shares.items():
            words += ["--vc", f"{name}={':'.join(map(str, share))}"]
        words += [] if shares else ["--vc", ""]
    return words


def _start_or_join(home: str | None, folder: str, words: list[str]) -> dict[str, Any]:
    """Start a server; one that is there already is joined once it answers, or replaced once it has ended."""
    import time

    deadline = time.monotonic() + START_TIMEOUT_S
    starts = 0
    while True:
        told = _start(folder, words, last=(starts := starts + 1) >= _STARTS)
        if told is None:
            continue
        if "error" not in told:
            _notices.extend(told.get("notices", ()))
            return told
        if told.get("code") != "AlreadyRunning" or time.monotonic() > deadline:
            raise LocalClusterError(str(told["error"]), hint=told.get("hint"))
        server = read_server_file(home) or {}
        if answers(server):
            return server
        # It is about to end, or has only just begun: neither tells us when.
        if not wait_gone(int(server.get("pid") or 0), 0.2):
            continue
        time.sleep(0.05)


def _start(folder: str, words: list[str], *, last: bool) -> dict[str, Any] | None:
    """Start the server detached from this process and return its word: its server file, or an ``error``.

    ``None`` when somebody has killed it before it could say anything and this is not the last try.
    """
    log_path = os.path.join(folder, LOCAL_LOG_FILE)
    try:
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    ready, to_us = os.pipe()
    os.set_inheritable(to_us, True)
    log_start = os.fstat(log).st_size
    command = [sys.executable, "-m", "openpaisdk.local", "serve", "--home", folder, "--ready-fd", str(to_us)]
    try:
        # posix_spawn: cheap from a large process, and nothing to close but what we open here.
        pid = os.posix_spawn(
            sys.executable,
            [*command, *words],
            _environment(),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
        _started.append(pid)
    except OSError as exc:
        os.close(ready)
        raise LocalClusterError(f"cannot start {sys.executable!r}: {exc.strerror}") from exc
    finally:
        os.close(to_us)
        os.close(log)
    try:
        told = _read_word(ready)
    finally:
        os.close(ready)
    if told is None:
        if not last and _was_killed(pid):
            return None
        raise LocalClusterError(
            "the embedded cluster does not start" + _end_of_log(log_path, log_start),
            hint=f"its log is {log_path}",
        )
    return told


def _read_word(descriptor: int) -> dict[str, Any] | None:
    """Return the JSON line that the server writes; ``None`` when it ends without one."""
    import json
    import select
    import time

    deadline = time.monotonic() + START_TIMEOUT_S
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return {
                "error": f"the embedded cluster did not start within {START_TIMEOUT_S:g} s",
                "hint": f"{LOCAL_FOLDER}/{LOCAL_LOG_FILE} in the folder of settings may tell why",
            }
        piece = os.read(descriptor, 65536)
        if not piece:
            return None
        line += piece
    value = json.loads(line)
    return value if isinstance(value, dict) else None


def _environment() -> dict[str, str]:
    """Return our environment, with this very package importable and the working directory's modules not."""
    environment = dict(os.environ)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.basename(root) not in ("site-packages", "dist-packages"):
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = root + (os.pathsep + others if others else "")
    environment["PYTHONSAFEPATH"] = "1"
    return environment


def _end_of_log(path: str, start: int) -> str:
    """Return what the server wrote since ``start``, its last lines, as a continuation of a message."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()[-15:]
    except OSError:
        lines = []
    return ": " + "\n  ".join(["", *lines]).lstrip("\n") if lines else " and says nothing"


def _was_killed(pid: int) -> bool:
    """Tell whether a server that we started, and that hung up, may have been ended by a signal."""
    try:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    except OSError:  # another thread of ours was told
        return True


def _reap() -> None:
    """Take note of servers started by this process that have ended, so that they do not seem to live."""
    for pid in list(_started):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] != 0
        except OSError:
            ended = True
        if ended and pid in _started:
            _started.remove(pid)
