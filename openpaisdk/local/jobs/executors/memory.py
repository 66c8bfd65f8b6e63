# SPDX-License-Identifier: MIT
"""Holds tasks to the memory that they asked for.

A task that lives for more than a moment is moved into a control group, beside the loop: the kernel takes its
time over that, and most short tasks never need it. Where there are no groups, or a task held much before it
was in its own, its processes are looked at instead: the more room there is, and the longer a look takes, the
less often. While no task with a limit runs, nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from openpaisdk.local.jobs.executors.groups import Group, GroupRoot
from openpaisdk.local.jobs.executors.processes import ProcessTable, held_bytes

MB = 1024 * 1024
_SETTLE_S = 0.03
"""Age at which a task is moved into its group."""
_ROUNDS = 20
_UNSEEN_PART = 8
"""A task that held more than this part of its limit outside of its group is looked at as well."""
_GROWTH_PER_S = 1024 * MB
"""How quickly memory is taken to grow."""
_LOOK_MIN_S, _LOOK_MAX_S = 0.05, 1.0
_LOOK_COST = 50
"""Looking takes at most one part in this many of a CPU's time."""
_REMOVE_AFTER_S = 1.0
_ALARM_CHECKS = 20
_ALARM_CHECK_S = 0.01


@dataclass(frozen=True, slots=True)
class Excess:
    """A task went over its memory."""

    used_bytes: int
    limit_bytes: int

    def to_text(self) -> str:
        """Return the line that keeps it."""
        return f"{self.used_bytes} {self.limit_bytes}\n"

    @classmethod
    def from_text(cls, text: str) -> Excess | None:
        """Return what a line keeps, ``None`` when it is not whole."""
        words = text.split()
        if not text.endswith("\n") or len(words) != 2 or not all(word.isdecimal() for word in words):
            return None
        return cls(int(words[0]), int(words[1]))


@dataclass(slots=True, eq=False)
class _Task:
    pod_uid: str
    mark: int
    limit_bytes: int
    due: float
    group: Group | None = None
    alarm: int | None = None
    looked_at: bool = False
    over: bool = False


class MemoryGuard:
    """Watches over the memory of the tasks that it is given.

    Args:
        loop: The loop whose thread makes all calls.
        table: Finds the tasks' processes.
        groups: Makes their control groups.
        on_excess: Called with the pod uid of a task that is over its limit; its processes may run on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        table: ProcessTable,
        groups: GroupRoot,
        on_excess: Callable[[str, Excess], None],
    ) -> None:
        self._loop = loop
        self._table = table
        self._groups = groups
        self._on_excess = on_excess
        self._tasks: dict[str, _Task] = {}
        self._unsettled: list[_Task] = []
        self._settle_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, "openpai-groups")
        self._retired: list[Group] = []
        self._remove_timer: asyncio.TimerHandle | None = None
        self._closed = False

    def follow(self, pod_uid: str, memory_mb: int) -> None:
        """Hold a running task to its memory; 0 or less is no limit."""
        if memory_mb <= 0 or not self._table.can_mark:
            return
        due = time.monotonic() + _SETTLE_S
        task = _Task(pod_uid, self._table.mark_of(pod_uid), memory_mb * MB, due)
        self._tasks[pod_uid] = task
        self._unsettled.append(task)
        if self._settle_timer is None:
            self._settle_timer = self._loop.call_later(_SETTLE_S, self._settle)

    def group(self, pod_uid: str) -> Group | None:
        """Return the control group that a task is in, if it is in one."""
        task = self._tasks.get(pod_uid)
        return task.group if task else None

    def forget(self, pod_uid: str) -> Excess | None:
        """Let go of a task that is over; returns what the kernel has killed it for, if it has."""
        task = self._tasks.pop(pod_uid, None)
        if task is None:
            return None
        task.over = True
        self._close_alarm(task)
        group, task.group = task.group, None
        if group is None:
            return None
        excess = kernel_excess(group)
        self.retire(group)
        return excess

    def retire(self, group: Group) -> None:
        """Remove a group that nothing is to be in any more, soon."""
        self._retired.append(group)
        if self._remove_timer is None and not self._closed:
            self._remove_timer = self._loop.call_later(_REMOVE_AFTER_S, self._remove_soon)

    def close(self) -> None:
        """Stop watching. Tasks that run on stay in their groups."""
        self._closed = True
        for timer in (self._settle_timer, self._look_timer, self._remove_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks.values():
            self._close_alarm(task)
        self._thread.shutdown(cancel_futures=True)  # after it no more groups are made
        self._remove([group for group in self._groups.left() if not group.members()])
        self._groups.close()

    # --- groups ----------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Move the tasks that have become old enough into their groups."""
        self._settle_timer = None
        now = time.monotonic()
        old = [task for task in self._unsettled if not task.over and task.due <= now]
        self._unsettled = [task for task in self._unsettled if not task.over and task.due > now]
        if self._unsettled:
            delay = max(0.0, self._unsettled[0].due - now)
            self._settle_timer = self._loop.call_later(delay, self._settle)
        if old:
            confining = self._loop.run_in_executor(self._thread, self._confine, old)
            confining.add_done_callback(lambda done: self._settled(old, done))

    def _confine(self, tasks: Sequence[_Task]) -> list[int]:
        """Move tasks into groups of their own; returns what each held before. Runs in a thread."""
        return [self._confine_one(task) for task in tasks]

    def _confine_one(self, task: _Task) -> int:
        pids = self._table.members(task.mark)
        if not pids or self._closed:
            return 0
        group = self._groups.make(task.pod_uid, task.limit_bytes)
        if group is None:
            return 0
        task.group = group  # from here on, as the task may be over before the loop hears of it
        try:
            for _ in range(_ROUNDS):
                outside = sorted(set(pids) - set(group.members()))
                if not outside:
                    break
                for pid in outside:
                    if self._table.has_mark(pid, task.mark):
                        group.add(pid)
                pids = self._table.members(task.mark)
        except OSError:
            self._groups.give_up()
            return task.limit_bytes
        return held_bytes(pids, task.limit_bytes // _UNSEEN_PART)

    def _settled(self, tasks: Sequence[_Task], done: asyncio.Future[list[int]]) -> None:
        if self._closed:  # the next server takes up the tasks
            return
        for task, held in zip(tasks, done.result(), strict=True):
            group = task.group
            if task.over:
                if group is not None:
                    self.retire(group)
                continue
            task.looked_at = group is None or held > task.limit_bytes // _UNSEEN_PART
            if group is not None:
                self._open_alarm(task, group)
            if task.looked_at and self._look_timer is None:
                self._look_timer = self._loop.call_later(0, self._look)

    def _open_alarm(self, task: _Task, group: Group) -> None:
        task.alarm = group.open_alarm()
        if task.alarm is not None:
            self._loop.add_reader(task.alarm, self._alarm, task, group)
            if group.kills():  # before the alarm was set
                self._on_excess(task.pod_uid, _excess(group))

    def _close_alarm(self, task: _Task) -> None:
        if task.alarm is not None:
            self._loop.remove_reader(task.alarm)
            os.close(task.alarm)
            task.alarm = None

    def _alarm(self, task: _Task, group: Group) -> None:
        if task.alarm is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(task.alarm, 8)
            self._check_kills(task, group, _ALARM_CHECKS)

    def _check_kills(self, task: _Task, group: Group, checks: int) -> None:
        """See whether the kernel has killed one of the task's processes: it tells of it a little before, and
        also when a group around this one is full.
        """
        if task.over:
            return
        if group.kills():
            self._on_excess(task.pod_uid, _excess(group))
        elif checks:
            self._loop.call_later(_ALARM_CHECK_S, self._check_kills, task, group, checks - 1)

    def _remove_soon(self) -> None:
        self._remove_timer = None
        groups, self._retired = self._retired, []
        removing = self._loop.run_in_executor(self._thread, self._remove, groups)
        removing.add_done_callback(self._retire_again)

    def _retire_again(self, done: asyncio.Future[list[Group]]) -> None:
        for group in [] if self._closed else done.result():
            self.retire(group)

    def _remove(self, groups: Sequence[Group]) -> list[Group]:
        """Remove groups; returns those that cannot go yet. Runs in a thread."""
        return [group for group in groups if not group.remove()]

    # --- looking ---------------------------------------------------------------------------------
    def _look(self) -> None:
        """Look at the processes of the tasks that no group holds."""
        self._look_timer = None
        watched = [task for task in self._tasks.values() if task.looked_at]
        if not watched:
            return
        begin = time.perf_counter()
        processes = self._table.tasks()
        wait_s = _LOOK_MAX_S
        for task in watched:
            used = held_bytes(processes.get(task.mark, ()), task.limit_bytes)
            if used > task.limit_bytes:
                self._on_excess(task.pod_uid, Excess(used, task.limit_bytes))
            wait_s = min(wait_s, max(0, task.limit_bytes - used) / _GROWTH_PER_S)
        wait_s = max(wait_s, _LOOK_MIN_S, (time.perf_counter() - begin) * _LOOK_COST)
        self._look_timer = self._loop.call_later(wait_s, self._look)


def kernel_excess(group: Group) -> Excess | None:
    """Return what the kernel has killed a group's processes for, if it has."""
    return _excess(group) if group.kills() else None


def _excess(group: Group) -> Excess:
    return Excess(group.peak_bytes(), group.limit_bytes())
