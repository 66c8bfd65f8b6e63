# SPDX-License-Identifier: MIT
"""Who starts next: gives what is free to the jobs that wait, and takes it from opportunistic ones.

- A gang starts with all of its tasks or none (runtime-environment §7.1); without one, task by task.
- The first job of a line that does not fit has a reservation: later ones may overtake it only within what
  is left when its need is set aside. So a big job waits for those that ran before it and for nobody else,
  however many small ones keep coming.
- A job with a right to its share that fits there, but not on the machine, has opportunistic jobs make room:
  the newest first, and no more than it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from openpaisdk.local.jobs.admission import NOTHING, Pool, Request, total
from openpaisdk.local.jobs.live import LiveJob, RunningTask
from openpaisdk.local.jobs.machine import Phase, TaskKey
from openpaisdk.local.jobs.waiting import WaitingJobs

BACKFILL_DEPTH = 100
"""How many jobs of a line are looked at in one turn; those behind wait until some before them have gone."""


@dataclass(frozen=True, slots=True)
class Victim:
    """What has to make room as a whole: a job with a gang, else one of its tasks."""

    live: LiveJob
    tasks: tuple[RunningTask, ...]

    @property
    def request(self) -> Request:
        return total(task.request for task in self.tasks)


class Allocator:
    """Decides who starts.

    Args:
        pool: What is free.
        waiting: Who waits.
        running: The tasks that run.
        admit: Starts these tasks of a job, taking what they need from the pool.
        preempt: Begins to end what has to make room for a job.
    """

    def __init__(
        self,
        pool: Pool,
        waiting: WaitingJobs,
        running: Callable[[], Collection[RunningTask]],
        *,
        admit: Callable[[LiveJob, Sequence[TaskKey]], None],
        preempt: Callable[[Victim, LiveJob], None],
    ) -> None:
        self._pool = pool
        self._waiting = waiting
        self._running = running
        self._admit = admit
        self._preempt = preempt
        self._promised = NOTHING
        """Free parts of the machine for which somebody waits until others have made room."""

    def allocate(self) -> None:
        """Start what can start now."""
        self._promised = NOTHING
        for share in self._waiting.shares():
            self._serve(share)

    def _serve(self, share: str | None) -> None:
        spare: Request | None = None
        """What those behind the first that does not fit may have."""
        room = self._pool.room(share)
        for live in self._waiting.line(share, BACKFILL_DEPTH):
            keys = fitting(live, room) if live.least.within(room) else []
            if keys and self._has_place(live, keys):
                if spare is not None:
                    spare = spare.minus(total_of(live, keys))
                self._admit(live, keys)
                room = self._room(share, spare)
            if spare is None and live in self._waiting:  # not all of it has started
                self._note_full(live, share)
                spare = self._spare_beside(live)
                room = self._room(share, spare)

    def _room(self, share: str | None, spare: Request | None) -> Request:
        room = self._pool.room(share)
        return room if spare is None else room.capped(spare)

    def _has_place(self, live: LiveJob, keys: Sequence[TaskKey]) -> bool:
        """Whether there is room on the machine itself; for jobs with a right to it, room is made."""
        need = total_of(live, keys)
        if need.within(self._pool.free.minus(self._promised)):
            return True
        if live.share is not None:
            self._make_room(live, need)
        return False

    def _spare_beside(self, first: LiveJob) -> Request:
        """Return what may be given to those that came later, so that the first one starts as if they were not
        there.
        """
        overtaking = total(
            task.request
            for task in self._running()
            if task.live.share == first.share and task.live.place > first.place
        )
        return self._pool.size(first.share).minus(first.need()).minus(overtaking)

    def _make_room(self, live: LiveJob, need: Request) -> None:
        guests = [task for task in self._running() if task.live.share is None]
        leaving = total(task.request for task in guests if _is_ending(task))
        missing = need.plus(self._promised).minus(self._pool.free).minus(leaving)
        self._promised = self._promised.plus(need)
        for victim in choose_victims(missing, [task for task in guests if not _is_ending(task)]):
            self._preempt(victim, live)

    # --- why one waits -------------------------------------------------------------------------
    def _note_full(self, live: LiveJob, share: str | None) -> None:
        need = live.need()
        room = self._pool.room(share).capped(self._pool.free)
        where = "this machine" if share is None else f"virtual cluster {share!r}"
        what = "at once" if live.spec.gang_allocation else "for a task"
        if need.within(room):
            live.blocked_by = f"it waits until opportunistic jobs have made room in {where}"
        else:
            live.blocked_by = f"it needs {what} more than is free in {where}: {need.lacking(room)}"

    def reason(self, live: LiveJob) -> str | None:
        """Return in words why a job waits, ``None`` when it does not wait for resources."""
        if live not in self._waiting:
            return None
        before = list(self._waiting.before(live))
        if not before:
            return live.blocked_by or "it starts as soon as its turn comes"
        first = before[0]
        count = "1 job waits" if len(before) == 1 else f"{len(before)} jobs wait"
        because = f", and {first.blocked_by}" if first.blocked_by else ""
        return f"{count} before it; the first is {first.record.framework}{because}"


def fitting(live: LiveJob, room: Request) -> list[TaskKey]:
    """Return the waiting tasks of a job that can start in this room: with a gang all or none."""
    requests = live.requests()
    if live.spec.gang_allocation:
        return list(requests) if total(requests.values()).within(room) else []
    admitted: list[TaskKey] = []
    for key, request in requests.items():
        if request.within(room):
            admitted.append(key)
            room = room.minus(request)
    return admitted


def total_of(live: LiveJob, keys: Iterable[TaskKey]) -> Request:
    """Return what these waiting tasks of a job ask for together."""
    requests = live.requests()
    return total(requests[key] for key in keys)


def choose_victims(missing: Request, guests: Iterable[RunningTask]) -> list[Victim]:
    """Return which opportunistic tasks end so that this much becomes free; none when it is not enough."""
    chosen: list[Victim] = []
    for victim in sorted(_victims(guests), key=lambda victim: victim.live.ticket, reverse=True):
        if missing.within(NOTHING):
            break
        chosen.append(victim)
        missing = missing.minus(victim.request)
    if not missing.within(NOTHING):
        return []
    for victim in list(chosen):  # the newest may have been too small to matter
        without = missing.plus(victim.request)
        if without.within(NOTHING):
            chosen.remove(victim)
            missing = without
    return chosen


def _victims(guests: Iterable[RunningTask]) -> list[Victim]:
    gangs: dict[int, list[RunningTask]] = {}
    single: list[Victim] = []
    for task in guests:
        if task.live.spec.gang_allocation:
            gangs.setdefault(task.live.record.id, []).append(task)
        else:
            single.append(Victim(task.live, (task,)))
    return [Victim(tasks[0].live, tuple(tasks)) for tasks in gangs.values()] + single


def _is_ending(task: RunningTask) -> bool:
    return task.ended_by is not None or task.live.status.phase is Phase.ENDING
