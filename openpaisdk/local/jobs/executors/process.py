# SPDX-License-Identifier: MIT
"""Runs tasks as processes of this machine that outlive the server.

Each task has a supervisor of its own, a few lines of ``sh`` in a new session: it notes its process id,
runs the task's script under ``bash``, and writes down the exit code. Its standard input is a locked file,
so whoever can take the lock knows that the supervisor is gone; with its two notes that tells of every task
whether it runs, has ended (and how), was never started, or was lost with the machine. So a server that
comes back neither loses a task nor starts one twice. When a task is over nothing of it is left: its
processes bear its mark (``processes.py``).
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from openpaisdk.errors import LocalClusterError
from openpaisdk.local.home import LocalHome, TaskFiles
from openpaisdk.local.jobs.executors.cpus import CpuShares, bound_to
from openpaisdk.local.jobs.executors.groups import GroupRoot
from openpaisdk.local.jobs.executors.memory import Excess, MemoryGuard, kernel_excess
from openpaisdk.local.jobs.executors.processes import (
    ProcessTable,
    children,
    is_alive,
    reap,
    reap_group,
    send,
    send_group,
)
from openpaisdk.local.jobs.watch import LOOK_INTERVAL_S, become_subreaper, open_process_watcher

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
_PID_WAIT_S = 2.0
_SIGNAL_BASE = 128
_KILL_ROUNDS = 20
"""How often in a row all of a task is killed: what multiplies must not get away."""
_SWEEP_AGAIN_S = 0.1
_REAP_INTERVAL_S = 5.0
_EXCESS_GRACE_S = 1.0
"""How long the supervisor of a task that was killed for its memory has to write down the exit code."""


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
    memory_mb: int = 0
    """Most memory that it may hold; 0 or less is no limit."""
    cpus: int = 0
    """How many CPUs it may run on; 0 or less, or more than there are, means all."""


@dataclass(slots=True)
class _Running:
    pod_uid: str
    pid: int
    files: TaskFiles
    process: subprocess.Popen[bytes] | None
    """``None`` when an earlier server started it: then it is no child of ours."""
    mark: int
    cpus: frozenset[int]
    kill_timer: asyncio.TimerHandle | None = None
    """Set when it is being ended."""
    must_die: bool = False
    """Whether the grace period is over."""
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
        self._table = ProcessTable(home.folder)
        self._groups = GroupRoot(home.folder, home.groups_file)
        self._guard = MemoryGuard(loop, self._table, self._groups, self._exceeded)
        self._excesses: dict[str, Excess] = {}
        self._cpus = CpuShares()
        self._reap_timer: asyncio.TimerHandle | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
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
        mark = self._table.mark_of(launch.pod_uid)
        cpus = self._cpus.take(launch.cpus)
        descriptors = []
        try:
            for path in (files.lock, files.stdout, files.stderr, files.runtime_log):
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                descriptors.append(os.open(path, flags, 0o600))
            lock, stdout, stderr, _ = descriptors
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self._table.marking(mark), bound_to(cpus):
                process = subprocess.Popen(
                    ["/bin/sh", "-c", _SUPERVISOR, "opai-task", files.folder, self._bash, launch.entry],
                    stdin=lock,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=files.work,
                    env=launch.environment,
                    start_new_session=True,
                )
        except OSError:
            self._cpus.give_back(cpus)
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._follow(_Running(launch.pod_uid, process.pid, files, process, mark, cpus), launch.memory_mb)
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
        deadline = time.monotonic() + _PID_WAIT_S
        while _is_locked(files.lock):
            # Without a note it is a supervisor before its first line, or the earlier server, not quite dead
            # yet, that was about to start one.
            if _read_number(files.pid) is not None or time.monotonic() > deadline:
                return Trace.RUNNING
            time.sleep(0.005)
        if _read_number(files.exit) is not None:
            return Trace.ENDED
        return Trace.NEVER_STARTED if _read_number(files.pid) is None else Trace.LOST

    def exit_code(self, pod_uid: str) -> int | None:
        """Return the exit code that the supervisor left, if it did."""
        return _read_number(self._home.task(pod_uid).exit)

    def excess(self, pod_uid: str) -> Excess | None:
        """Return how far over its memory a task that is over was, if it was ended for that."""
        return self._excesses.pop(pod_uid, None) or _read_excess(self._home.task(pod_uid).excess)

    def adopt(self, pod_uid: str, *, memory_mb: int = 0) -> int:
        """Watch a running task of an earlier server from now on; returns its process id.

        Raises:
            LocalClusterError: Its supervisor does not say who it is.
        """
        files = self._home.task(pod_uid)
        pid = _read_number(files.pid)
        if pid is None:
            raise LocalClusterError(f"the supervisor of task {pod_uid} runs but wrote no process id")
        cpus = self._cpus.take_again(pid)
        task = _Running(pod_uid, pid, files, None, self._table.mark_of(pod_uid), cpus)
        self._follow(task, memory_mb)
        if not _is_locked(files.lock):  # it ended meanwhile: the process that is watched may be another's
            self._loop.call_soon(self._supervisor_ended, task)
        return pid

    def sweep(self) -> None:
        """End what earlier servers' tasks have left behind, once all that run on are adopted."""
        alive = {task.mark for task in self._running.values()}
        for group in self._groups.left():
            if group.name not in self._running:
                excess = kernel_excess(group)
                if excess is not None:
                    self._keep_excess(group.name, excess)
                group.stop_growth()
                for pid in group.members():
                    send(pid, signal.SIGKILL)
                self._guard.retire(group)
        for _ in range(_KILL_ROUNDS):
            left = [pid for mark, pids in self._table.tasks().items() if mark not in alive for pid in pids]
            if not left:
                return
            for pid in left:
                send(pid, signal.SIGKILL)
        self._sweep_timer = self._loop.call_later(_SWEEP_AGAIN_S, self.sweep)

    def kill(self, pod_uid: str, *, grace_s: float) -> None:
        """Ask a task's processes to end, and end them after the grace period."""
        task = self._running.get(pod_uid)
        if task is None or task.kill_timer is not None:
            return
        task.kill_timer = self._loop.call_later(grace_s, self._kill_now, task)
        for number in (signal.SIGTERM, signal.SIGCONT):  # who is stopped is to hear of it too
            send_group(task.pid, number)
            for pid in self._members(task):
                send(pid, number)
        if task.supervisor_gone:  # only its strays were left
            self._loop.call_soon(self._supervisor_ended, task)

    def close(self) -> None:
        """Stop watching; what runs goes on."""
        for task in self._running.values():
            if task.kill_timer is not None:
                task.kill_timer.cancel()
            if task.process is not None:
                task.process.returncode = 0  # it is meant to outlive us: no warning about an unreaped child
        for timer in (self._reap_timer, self._sweep_timer):
            if timer is not None:
                timer.cancel()
        self._guard.close()
        self._watcher.close()

    def _follow(self, task: _Running, memory_mb: int) -> None:
        self._running[task.pod_uid] = task
        self._supervisors.add(task.pid)
        self._guard.follow(task.pod_uid, memory_mb)
        self._watcher.watch(task.pid, lambda: self._supervisor_ended(task))
        if self._reap_timer is None and self._is_subreaper:
            self._reap_timer = self._loop.call_later(_REAP_INTERVAL_S, self._reap_again)

    def _supervisor_ended(self, task: _Running) -> None:
        """Deliver the end of a task once no process of it holds its output any more; then nothing of it
        is left.
        """
        if task.pod_uid not in self._running:
            return
        task.supervisor_gone = True
        left = self._left(task)
        waited_for = self._waited_for(task, left)
        if left and not waited_for:
            send_group(task.pid, signal.SIGKILL)
            self._kill_members(task)
            waited_for = self._left(task) if self._table.can_mark else []
        if waited_for:
            self._when_over(waited_for[0], lambda: self._supervisor_ended(task))
            return
        if task.kill_timer is not None:
            task.kill_timer.cancel()
        if task.process is not None:
            status = task.process.wait()  # reaped only now: until here its process id could not be given away
            code: int | None = status if status >= 0 else _SIGNAL_BASE - status
        else:
            code = _read_number(task.files.exit)
        del self._running[task.pod_uid]
        self._supervisors.discard(task.pid)
        self._cpus.give_back(task.cpus)
        excess = self._guard.forget(task.pod_uid)
        if excess is not None:
            self._keep_excess(task.pod_uid, excess)
        self.on_exit(task.pod_uid, code)

    def _waited_for(self, task: _Running, left: list[int]) -> list[int]:
        """Return which of the processes that are left may go on for now."""
        if task.must_die:
            return []
        if task.kill_timer is not None:
            return left
        # The log writers of a real cluster wait for these too (runtime-environment §4.4).
        return [pid for pid in left if _holds(pid, task.files)]

    def _when_over(self, pid: int, again: Callable[[], None]) -> None:
        if self._table.can_mark:
            self._watcher.watch(pid, again)
        else:
            self._loop.call_later(LOOK_INTERVAL_S, again)

    # --- memory --------------------------------------------------------------------------------
    def _exceeded(self, pod_uid: str, excess: Excess) -> None:
        """End a task that is over its memory."""
        task = self._running.get(pod_uid)
        if task is None or pod_uid in self._excesses:
            return
        self._keep_excess(pod_uid, excess)
        if task.kill_timer is not None:
            task.kill_timer.cancel()
        task.kill_timer = self._loop.call_later(_EXCESS_GRACE_S, self._kill_now, task)
        task.must_die = True
        self._kill_members(task)
        if task.supervisor_gone:
            self._loop.call_soon(self._supervisor_ended, task)

    def _keep_excess(self, pod_uid: str, excess: Excess) -> None:
        """Keep why a task ends, also for the next server."""
        if pod_uid not in self._excesses:
            self._excesses[pod_uid] = excess
            with contextlib.suppress(OSError):
                write_private(self._home.task(pod_uid).excess, excess.to_text())

    # --- processes of a task -------------------------------------------------------------------
    def _kill_now(self, task: _Running) -> None:
        task.must_die = True
        send_group(task.pid, signal.SIGKILL)
        self._kill_members(task)

    def _kill_members(self, task: _Running) -> None:
        """Kill all of a task but its supervisor, which then ends by itself."""
        group = self._guard.group(task.pod_uid)
        if group is not None:
            group.stop_growth()
        killed: set[int] = set()
        for _ in range(_KILL_ROUNDS):
            left = set(self._members(task)) - killed
            for pid in left:
                send(pid, signal.SIGKILL)
            if not left:
                break
            killed |= left

    def _left(self, task: _Running) -> list[int]:
        """Return what is left of a task whose supervisor is gone; without marks, its group as one."""
        if not self._table.can_mark:
            if task.process is not None:
                task.process.poll()
                reap_group(task.pid)
            return [task.pid] if send_group(task.pid, 0) else []
        orphans = self._reap_orphans()
        if self._is_subreaper and task.process is not None and not orphans:
            return []  # what a child of ours leaves behind becomes ours
        return self._members(task) or self._members(
            task
        )  # one look misses the child of one that dies meanwhile

    def _members(self, task: _Running) -> list[int]:
        """Return the living processes of a task without its supervisor."""
        found = set(self._table.members(task.mark))
        group = self._guard.group(task.pod_uid)
        if group is not None:
            found.update(pid for pid in group.members() if is_alive(pid))
        return sorted(found - {task.pid})

    def _reap_orphans(self) -> list[int]:
        """Reap the dead among the processes that tasks have left to us; returns the living."""
        if not self._is_subreaper:
            return []
        for _ in range(_KILL_ROUNDS):
            orphans = [pid for pid in children() if pid not in self._supervisors]
            living = [pid for pid in orphans if not reap(pid)]
            if len(living) == len(orphans):
                break  # else those that died have left us their children
        return orphans

    def _reap_again(self) -> None:
        self._reap_timer = None
        if self._reap_orphans() or self._running:
            self._reap_timer = self._loop.call_later(_REAP_INTERVAL_S, self._reap_again)


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


def _read_excess(path: str) -> Excess | None:
    try:
        with open(path, encoding="ascii") as file:
            return Excess.from_text(file.read())
    except FileNotFoundError:
        return None


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
