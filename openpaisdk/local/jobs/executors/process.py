# SPDX-License-Identifier: MIT
"""Runs tasks as processes of this machine that outlive the server.

Each task has a supervisor of its own, a few lines of ``sh`` in a new session: it notes its process id,
runs the task's script under ``bash``, and writes down the exit code. Its standard input is a locked file,
so whoever can take the lock knows that the supervisor is gone; with its two notes that tells of every task
whether it runs, has ended (and how), was never started, or was lost with the machine. So a server that
comes back neither loses a task nor starts one twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from openpaisdk.errors import LocalClusterError
from openpaisdk.local.home import LocalHome, TaskFiles
from openpaisdk.local.jobs.watch import become_subreaper, open_process_watcher

_SUPERVISOR = """\
umask 022
trap : HUP INT QUIT TERM USR1 USR2 ALRM
exec 3>&2 2>>"$1/runtime.log"
printf '%s\\n' "$$" 1<>"$1/pid"
"$2" "$1/$3" "$1" </dev/null 2>&3 3>&-
code=$?
printf '%s\\n' "$code" 1<>"$1/exit"
exit "$code"
"""
_BLANK_NOTE = " " * 8
"""What the supervisor's notes hold before it writes them, in place: their room on the disk is taken before
the task starts, so its end is noted on a full disk too.
"""
_POD_VARIABLE = "FC_POD_UID"
_PID_WAIT_S = 2.0
_SIGNAL_BASE = 128
_KILL_ROUNDS = 100


class Trace(Enum):
    """What is known of a task attempt whose server is gone."""

    NEVER_STARTED = "never started"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    """It had been started, its supervisor is gone and left no exit code: the machine stopped, or it was
    killed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A task attempt to be started."""

    pod_uid: str
    scripts: Mapping[str, str]
    """Contents by file name."""
    entry: str
    """Name of the script that is run; it gets the folder of the scripts as its argument."""
    environment: Mapping[str, str]


@dataclass(slots=True)
class _Running:
    pod_uid: str
    pid: int
    files: TaskFiles
    process: subprocess.Popen[bytes] | None
    """``None`` when an earlier server started it: then it is no child of ours."""
    kill_timer: asyncio.TimerHandle | None = None
    supervisor_gone: bool = False


class ProcessExecutor:
    """Starts, watches, takes up again and ends task processes.

    Args:
        home: Where the tasks' folders are.
        loop: The loop whose thread makes all calls.

    Raises:
        LocalClusterError: This machine has no ``bash``.
    """

    def __init__(self, home: LocalHome, loop: asyncio.AbstractEventLoop) -> None:
        self._home = home
        self._loop = loop
        self._running: dict[str, _Running] = {}
        self._supervisors: set[int] = set()
        bash = shutil.which("bash")
        if bash is None:
            raise LocalClusterError("jobs run under bash, and this machine has none", hint="install bash")
        self._bash = bash
        self._is_subreaper = become_subreaper()
        self._watcher = open_process_watcher(loop)
        self.on_exit: Callable[[str, int | None], None] = _ignore
        """Called with the pod uid and the command's exit code (128 + n after signal n), ``None`` when
        it was lost.
        """

    def start(self, launch: Launch) -> int:
        """Start a task attempt and return its process id.

        Raises:
            OSError: A folder, file or process could not be made; nothing runs then.
        """
        files = self.make_folder(launch.pod_uid)
        for name, content in launch.scripts.items():
            write_private(files.script(name), content)
        for path in (files.pid, files.exit):
            write_private(path, _BLANK_NOTE)
        descriptors = []
        try:
            for path in (files.lock, files.stdout, files.stderr, files.runtime_log):
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                descriptors.append(os.open(path, flags, 0o600))
            lock, stdout, stderr, _ = descriptors
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                ["/bin/sh", "-c", _SUPERVISOR, "opai-task", files.folder, self._bash, launch.entry],
                stdin=lock,
                stdout=stdout,
                stderr=stderr,
                cwd=files.work,
                env=launch.environment,
                start_new_session=True,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._follow(_Running(launch.pod_uid, process.pid, files, process))
        return process.pid

    def make_folder(self, pod_uid: str) -> TaskFiles:
        """Make the folders of a task attempt where they are missing.

        Raises:
            OSError: They cannot be made.
        """
        files = self._home.task(pod_uid)
        for folder in (files.folder, files.work, files.output):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        return files

    def trace(self, pod_uid: str) -> Trace:
        """Return what became of a task attempt of an earlier server."""
        files = self._home.task(pod_uid)
        if not os.path.exists(files.lock):
            return Trace.NEVER_STARTED
        if _is_locked(files.lock):
            return Trace.RUNNING
        if _read_number(files.exit) is not None:
            return Trace.ENDED
        return Trace.NEVER_STARTED if _read_number(files.pid) is None else Trace.LOST

    def exit_code(self, pod_uid: str) -> int | None:
        """Return the exit code that the supervisor left, if it did."""
        return _read_number(self._home.task(pod_uid).exit)

    def adopt(self, pod_uid: str) -> int:
        """Watch a running task of an earlier server from now on; returns its process id.

        Raises:
            LocalClusterError: Its supervisor does not say who it is.
        """
        files = self._home.task(pod_uid)
        deadline = time.monotonic() + _PID_WAIT_S
        while (pid := _read_number(files.pid)) is None:
            # The earlier server died in the moment between starting the supervisor and its first line.
            if time.monotonic() > deadline:
                raise LocalClusterError(f"the supervisor of task {pod_uid} runs but wrote no process id")
            time.sleep(0.005)
        task = _Running(pod_uid, pid, files, None)
        self._follow(task)
        if not _is_locked(files.lock):  # it ended meanwhile: the process that is watched may be another's
            self._loop.call_soon(self._supervisor_ended, task)
        return pid

    def kill(self, pod_uid: str, *, grace_s: float) -> None:
        """Ask a task's processes to end, and end them after the grace period."""
        task = self._running.get(pod_uid)
        if task is None or task.kill_timer is not None:
            return
        task.kill_timer = self._loop.call_later(grace_s, self._kill_now, task)
        self._signal(task, signal.SIGTERM)
        if task.supervisor_gone:  # only its strays were left
            self._loop.call_soon(self._supervisor_ended, task)

    def close(self) -> None:
        """Stop watching; what runs goes on."""
        for task in self._running.values():
            if task.kill_timer is not None:
                task.kill_timer.cancel()
            if task.process is not None:
                task.process.returncode = 0  # it is meant to outlive us: no warning about an unreaped child
        self._watcher.close()

    def _follow(self, task: _Running) -> None:
        self._running[task.pod_uid] = task
        self._supervisors.add(task.pid)
        self._watcher.watch(task.pid, lambda: self._supervisor_ended(task))

    def _supervisor_ended(self, task: _Running) -> None:
        """Deliver the end of a task once no process of it holds its output any more; then nothing of it
        is left.
        """
        if task.pod_uid not in self._running:
            return
        task.supervisor_gone = True
        holders = [pid for pid in self._strays(task) if _holds(pid, task.files)]
        # The log writers of a real cluster wait for these too (runtime-environment §4.4), but not when all
        # must end.
        if holders and task.kill_timer is None:
            self._watcher.watch(holders[0], lambda: self._supervisor_ended(task))
            return
        self._kill_now(task)
        if task.kill_timer is not None:
            task.kill_timer.cancel()
        if task.process is not None:
            status = task.process.wait()  # reaped only now: until here its process id could not be given away
            code: int | None = status if status >= 0 else _SIGNAL_BASE - status
        else:
            code = _read_number(task.files.exit)
        del self._running[task.pod_uid]
        self._supervisors.discard(task.pid)
        self.on_exit(task.pod_uid, code)

    def _signal(self, task: _Running, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(task.pid, number)
        for pid in self._strays(task):
            _send(pid, number)

    def _kill_now(self, task: _Running) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(task.pid, signal.SIGKILL)
        for _ in range(_KILL_ROUNDS):  # a stray that dies leaves its own children to us
            strays = list(self._strays(task))
            for pid in strays:
                _send(pid, signal.SIGKILL)
                if task.process is not None:
                    _reap(pid, wait=True)
            if not strays:
                break

    def _strays(self, task: _Running) -> Iterator[int]:
        """Yield the processes that a task has left behind, in its session or out of it; reaps the dead
        among them.
        """
        if not self._is_subreaper:
            return
        marker = f"{_POD_VARIABLE}={task.pod_uid}".encode()
        candidates = _children() if task.process is not None else _all_processes()
        for pid in candidates:
            if pid in self._supervisors:
                continue
            state, session = _state_and_session(pid)
            if state == "Z":
                if task.process is not None:
                    _reap(pid)
            elif session == task.pid or marker in _environment(pid):
                yield pid


def _ignore(_pod_uid: str, _code: int | None) -> None:
    """Stand in for a listener that has not come yet."""


def write_private(path: str, text: str) -> None:
    """Write a file that only its owner can read; it need not outlive the machine, so no time is lost on
    syncing.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _read_number(path: str) -> int | None:
    """Return the number in a note, or ``None`` when there is no whole one."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            number, newline, _ = file.read().partition("\n")
    except FileNotFoundError:
        return None
    return int(number) if newline and number.isdecimal() else None


def _is_locked(path: str) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap(pid: int, *, wait: bool = False) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0 if wait else os.WNOHANG)


def _children() -> list[int]:
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return _all_processes()


def _all_processes() -> list[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _state_and_session(pid: int) -> tuple[str, int]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[3])


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _holds(pid: int, files: TaskFiles) -> bool:
    """Whether a process has one of the task's output streams open."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for name in names:
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}") in (files.stdout, files.stderr):
                return True
        except OSError:
            continue
    return False
