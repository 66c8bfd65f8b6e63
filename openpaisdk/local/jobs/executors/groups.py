# SPDX-License-Identifier: MIT
"""Control groups for tasks: the kernel itself holds a task to its memory and to a number of processes.

They are made below the server's own group, so whatever holds the server holds its tasks, and are named after
the pod, so the next server finds them. Version 1 needs the right to make groups there, as root has; version 2
an ancestor that is delegated to this user with its memory controller.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator

from openpaisdk._files import replace_file
from openpaisdk.errors import ConfigError
from openpaisdk.local.jobs.watch import has_fast_paths

CGROUP_VARIABLE = "OPENPAI_LOCAL_CGROUP"
"""``0`` keeps the server from making control groups: limits are then held by looking at the processes."""
MAX_PROCESSES = 16384
"""Most processes and threads of one task, where a group can hold it to that; never more than half of what the
machine allows.
"""
_ESCAPE = re.compile(r"\\(\d{3})")


class Group:
    """The control group of one task: a folder for each hierarchy that is used.

    Args:
        memory: Folder in the hierarchy of the memory controller.
        pids: Folder in that of the pids controller; the same one in version 2, ``None`` when there is none.
        unified: Whether this is version 2.
    """

    def __init__(self, memory: str, pids: str | None, *, unified: bool) -> None:
        self.memory = memory
        self._pids = pids
        self._unified = unified

    @property
    def name(self) -> str:
        """The pod uid of the task."""
        return os.path.basename(self.memory)

    def make(self, memory_bytes: int) -> None:
        """Make it, with the limits of its task.

        Raises:
            OSError: This machine does not allow that.
        """
        for folder in self._folders():
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
        if self._unified:
            _write(self.memory, "memory.oom.group", "1")
            _write(self.memory, "memory.max", str(memory_bytes))
        else:
            _write(self.memory, "memory.limit_in_bytes", str(memory_bytes))
        # What is swapped out is the task's as well; without swap the kernel has no such limit.
        name, value = (
            ("memory.swap.max", "0") if self._unified else ("memory.memsw.limit_in_bytes", str(memory_bytes))
        )
        with contextlib.suppress(OSError):
            _write(self.memory, name, value)
        if self._pids is not None:
            with contextlib.suppress(OSError):
                _write(self._pids, "pids.max", str(_max_processes()))

    def add(self, pid: int) -> None:
        """Move a process in, unless it has ended.

        Raises:
            OSError: This machine does not allow that.
        """
        for folder in self._folders():
            with contextlib.suppress(ProcessLookupError):
                _write(folder, "cgroup.procs", str(pid))

    def members(self) -> list[int]:
        """Return the processes in it."""
        found: set[int] = set()
        for folder in self._folders():
            found.update(int(word) for word in _read(folder, "cgroup.procs").split())
        return list(found)

    def stop_growth(self) -> None:
        """Keep what is in it from starting more processes."""
        if self._pids is not None:
            with contextlib.suppress(OSError):
                _write(self._pids, "pids.max", "0")

    def kills(self) -> int:
        """Return how many of its processes the kernel has killed for memory."""
        text = _read(self.memory, "memory.events" if self._unified else "memory.oom_control")
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def peak_bytes(self) -> int:
        """Return the most memory that it has held, 0 when that is not known."""
        text = _read(self.memory, "memory.peak" if self._unified else "memory.max_usage_in_bytes").strip()
        return int(text) if text.isdecimal() else 0

    def limit_bytes(self) -> int:
        """Return its limit, 0 when that is not known."""
        text = _read(self.memory, "memory.max" if self._unified else "memory.limit_in_bytes").strip()
        return int(text) if text.isdecimal() else 0

    def open_alarm(self) -> int | None:
        """Return a descriptor that can be read when memory runs out, ``None`` where the kernel ends the whole
        group by itself.
        """
        if self._unified or not hasattr(os, "eventfd"):
            return None
        alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            control = os.open(f"{self.memory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _write(self.memory, "cgroup.event_control", f"{alarm} {control}")
            finally:
                os.close(control)
        except OSError:
            os.close(alarm)
            return None
        return alarm

    def remove(self) -> bool:
        """Remove it; whether it is gone, which it is not while processes are in it."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not any(map(os.path.isdir, self._folders()))

    def _folders(self) -> list[str]:
        return [self.memory] if self._pids in (None, self.memory) else [self.memory, str(self._pids)]


class GroupRoot:
    """The groups of this home's tasks.

    Args:
        home: Folder of the cluster.
        note: File that keeps where groups were made, for the server after this one.
    """

    def __init__(self, home: str, note: str) -> None:
        self._note = note
        self._name = f"openpai-{hashlib.sha256(os.path.realpath(home).encode()).hexdigest()[:12]}"
        self._base = self._find_base() if has_fast_paths() and _wanted() else None
        self._noted = self._base is None

    def make(self, pod_uid: str, memory_bytes: int) -> Group | None:
        """Make the group of a task; ``None`` when this machine does not allow it, now or later."""
        if self._base is None:
            return None
        memory, pids, unified = self._base
        try:
            if not self._noted:
                lines = {*self._known(), _line(self._base)}
                replace_file(self._note, "".join(f"{line}\n" for line in lines).encode())
                self._noted = True
            for folder in {memory, pids} - {None}:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(str(folder))
            if unified:
                _write(memory, "cgroup.subtree_control", "+memory")
                with contextlib.suppress(OSError):
                    _write(memory, "cgroup.subtree_control", "+pids")
            group = self._in_base(self._base, pod_uid)
            group.make(memory_bytes)
        except (OSError, ConfigError):
            self._base = None
            return None
        return group

    def give_up(self) -> None:
        """Make no more groups: this machine does not let processes be moved into them."""
        self._base = None

    def left(self) -> list[Group]:
        """Return the groups that are there, of earlier servers too."""
        found = []
        for line in self._known():
            base = _parse(line)
            with contextlib.suppress(OSError):
                found += [self._in_base(base, entry.name) for entry in os.scandir(base[0]) if entry.is_dir()]
        return found

    def close(self) -> None:
        """Remove what holds no groups any more."""
        lines = self._known()
        for line in lines:
            for folder in {*_parse(line)[:2]} - {None}:
                with contextlib.suppress(OSError):
                    os.rmdir(str(folder))
        if lines and not any(os.path.isdir(_parse(line)[0]) for line in lines):
            with contextlib.suppress(FileNotFoundError):  # the home itself may be gone
                os.unlink(self._note)
            self._noted = self._base is None

    def _known(self) -> list[str]:
        known = {_line(self._base)} if self._base and self._noted else set()
        with contextlib.suppress(FileNotFoundError), open(self._note, encoding="utf-8") as file:
            known.update(line for line in file.read().split("\n") if line.count("\t") == 2)
        return sorted(known)

    def _in_base(self, base: _Base, pod_uid: str) -> Group:
        memory, pids, unified = base
        return Group(f"{memory}/{pod_uid}", f"{pids}/{pod_uid}" if pids else None, unified=unified)

    def _find_base(self) -> _Base | None:
        own = dict(_own_groups())
        mounts = list(_mounts())
        if "memory" in own:
            memory = _place(mounts, "memory", own["memory"])
            pids = _place(mounts, "pids", own["pids"]) if "pids" in own else None
            if memory and os.access(memory, os.W_OK):
                pids = pids if pids and os.access(pids, os.W_OK) else None
                return f"{memory}/{self._name}", f"{pids}/{self._name}" if pids else None, False
            return None
        place = _place(mounts, "", own.get("", "/"))
        while place and os.path.isfile(f"{place}/cgroup.procs"):
            if "memory" in _read(place, "cgroup.subtree_control").split() and os.access(place, os.W_OK):
                return f"{place}/{self._name}", f"{place}/{self._name}", True
            place = os.path.dirname(place)
        return None


_Base = tuple[str, "str | None", bool]


def _line(base: _Base) -> str:
    return f"{base[0]}\t{base[1] or ''}\t{'2' if base[2] else '1'}"


def _parse(line: str) -> _Base:
    memory, pids, version = line.split("\t")
    return memory, pids or None, version == "2"


def _wanted() -> bool:
    return os.environ.get(CGROUP_VARIABLE) != "0"


def _own_groups() -> Iterator[tuple[str, str]]:
    """Yield controller and path of this process's groups; version 2 has the controller ``""``."""
    for line in _read("/proc/self", "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Yield controller, the group that is mounted, and where, of the mounted hierarchies."""
    for line in _read("/proc/self", "mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        words, last = head.split(), tail.split()
        if last and last[0] in ("cgroup", "cgroup2"):
            root, point = (_ESCAPE.sub(lambda found: chr(int(found[1], 8)), word) for word in words[3:5])
            for controller in last[2].split(",") if last[0] == "cgroup" else [""]:
                yield controller, root, point


def _place(mounts: list[tuple[str, str, str]], controller: str, path: str) -> str | None:
    """Return the folder of a group."""
    for name, root, point in mounts:
        if name == controller:
            below = os.path.relpath(path, root)
            place = point if below == "." or below.startswith("..") else f"{point}/{below}"
            return place if os.path.isdir(place) else None
    return None


def _max_processes() -> int:
    limits = [_read("/proc/sys/kernel", name).strip() for name in ("pid_max", "threads-max")]
    return min([MAX_PROCESSES, *(int(limit) // 2 for limit in limits if limit.isdecimal())])


def _write(folder: str, name: str, value: str) -> None:
    with open(f"{folder}/{name}", "w", encoding="ascii") as file:
        file.write(value)


def _read(folder: str, name: str) -> str:
    try:
        with open(f"{folder}/{name}", encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
