# SPDX-License-Identifier: MIT
"""Which processes of this machine belong to which task, whatever they did to get away.

A task's supervisor starts with a soft limit on file locks that is a number of the task's own. Linux has not
enforced that limit since 2.4.25 (setrlimit(2), RLIMIT_LOCKS), but every process inherits it: through fork and
exec, setsid, a cleared environment, the death of its parents and that of the server. So one look through
``/proc`` finds all of a task, also after a crash, without any right that an ordinary user lacks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator

from openpaisdk.local.jobs.watch import has_fast_paths

_RLIMIT_LOCKS = 10
_HOME_BITS = 21
_TASK_BITS = 40


class ProcessTable:
    """Marks the processes of tasks, and finds them.

    Args:
        home: Folder of the cluster; the marks of two clusters differ.
    """

    def __init__(self, home: str) -> None:
        self._home = _digest(os.path.realpath(home), _HOME_BITS)
        self.can_mark = has_fast_paths() and _may_mark()
        """Whether marks work here; elsewhere only the process group of a task is known."""

    def mark_of(self, pod_uid: str) -> int:
        """Return the number that marks a task's processes, the same for every server of this home."""
        # The highest bit keeps marks apart from limits that people set.
        return 1 << (_HOME_BITS + _TASK_BITS) | self._home << _TASK_BITS | _digest(pod_uid, _TASK_BITS)

    @contextlib.contextmanager
    def marking(self, mark: int) -> Iterator[None]:
        """Mark what is started inside the ``with`` block."""
        if not self.can_mark or sys.platform != "linux":
            yield
            return
        import resource

        own = resource.getrlimit(_RLIMIT_LOCKS)
        resource.setrlimit(_RLIMIT_LOCKS, (mark, own[1]))
        try:
            yield
        finally:
            resource.setrlimit(_RLIMIT_LOCKS, own)

    def tasks(self) -> dict[int, list[int]]:
        """Return the living processes of all tasks of this home, by mark."""
        found: dict[int, list[int]] = {}
        if self.can_mark:
            first = self.mark_of("") & ~((1 << _TASK_BITS) - 1)
            own = os.getpid()
            for name in os.listdir("/proc"):
                if name.isdecimal():
                    pid = int(name)
                    mark = _mark_on(pid)
                    if 0 <= mark - first < 1 << _TASK_BITS and pid != own and is_alive(pid):
                        found.setdefault(mark, []).append(pid)
        return found

    def has_mark(self, pid: int, mark: int) -> bool:
        """Whether a process belongs to a task."""
        return _mark_on(pid) == mark

    def members(self, mark: int) -> list[int]:
        """Return the living processes of one task."""
        return self.tasks().get(mark, [])


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely unreaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in (b"Z", b"X", b"")
    except OSError:
        return False


def children() -> list[int]:
    """Return the children of this process: on Linux those of its main thread, which starts all tasks."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def reap(pid: int) -> bool:
    """Take note of a child's end, if it has ended; whether it had."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def reap_group(group: int) -> None:
    """Reap the dead children of a process group: with them it looks alive."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(group: int, number: int) -> bool:
    """Send a signal to a process group that may be gone; whether it is there. Signal 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def held_bytes(pids: Iterable[int], limit: int) -> int:
    """Return the memory that processes hold together: their own, and what they share once.

    Pages of files count for nothing, as the kernel can take them back. Below ``limit`` a sum that is too high
    is exact enough, and much cheaper.
    """
    sizes = {pid: _resident(pid) for pid in pids}
    rough = sum(resident for resident, _ in sizes.values())
    return rough if rough <= limit else sum(_exact(pid, own) for pid, (_, own) in sizes.items())


def _resident(pid: int) -> tuple[int, int]:
    """Return what a process has in memory, and how much of it is of no file and not shared."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = [int(word) for word in file.read().split()]
    except OSError:
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return pages[1] * page, (pages[1] - pages[2]) * page


def _exact(pid: int, own: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            sizes = dict(line.split(b":", 1) for line in file if line.startswith(b"Pss_"))
    except OSError:  # before Linux 4.14, or it became another user
        return own
    parts = [sizes[name] for name in (b"Pss_Anon", b"Pss_Shmem") if name in sizes]
    return sum(int(part.split()[0]) * 1024 for part in parts) if parts else own


def _mark_on(pid: int) -> int:
    if sys.platform != "linux":
        return -1
    import resource

    try:
        return resource.prlimit(pid, _RLIMIT_LOCKS)[0]
    except PermissionError:  # it became another user; the file tells all the same
        return _mark_in_file(pid)
    except OSError:
        return -1


def _mark_in_file(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(b"Max file locks"):
                    word = line.split()[3]
                    return int(word) if word.isdigit() else -1
    except OSError:
        pass
    return -1


def _may_mark() -> bool:
    if sys.platform != "linux":
        return False
    import resource

    try:
        return resource.getrlimit(_RLIMIT_LOCKS)[1] == resource.RLIM_INFINITY and os.path.isdir("/proc/1")
    except (OSError, ValueError):
        return False


def _digest(text: str, bits: int) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)
