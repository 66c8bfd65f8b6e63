# SPDX-License-Identifier: MIT
"""Sending the logs of a job as they grow: all its tasks or one, over retries, until the job is over.

Nothing is buffered beyond one piece: the next one is read from the log when the client has taken the last. A
client that is slow, or stops reading, therefore costs no memory, and nobody else waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openpaisdk.local.api.log_pieces import LogStream, tail_position
from openpaisdk.local.api.places import Places
from openpaisdk.local.api.replies import user_exit_code
from openpaisdk.local.departure import Departure
from openpaisdk.local.records import JobRecord, TaskRecord
from openpaisdk.local.routing import to_json
from openpaisdk.local.services import Services
from openpaisdk.spec.names import convert_role_name

if TYPE_CHECKING:
    from openpaisdk.local.jobs.scheduler import JobWatch, Scheduler

STREAMS = ("all", "stdout", "stderr")


class Follower:
    """The events of one client that follows a job.

    Args:
        scheduler: Where the job is.
        job: The job.
        stream: ``all``, ``stdout`` or ``stderr``.
        role: Only tasks of this role, by its converted name.
        index: Only the task of this index (in each role).
        tail: Begin with this many last lines of the newest attempts; ``None`` begins with the first of all.
        after: Where an earlier follower of this client has got to; then ``tail`` does not count.
        tells_places: Whether the events say how far they have got.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        job: JobRecord,
        *,
        stream: str = "all",
        role: str | None = None,
        index: int | None = None,
        tail: int | None = None,
        after: Places | None = None,
        tells_places: bool = False,
    ) -> None:
        self._scheduler = scheduler
        self._job = job
        self._stream = stream
        self._role = role
        self._index = index
        self._tail = tail
        self._places = after
        """Where to begin; set by ``_begin`` when the client does not say."""
        self._is_new = after is None or not (after.job_attempt or after.of_tasks)
        self._tells_places = tells_places
        self._attempt_id = 0
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._shown_state = ""
        self._is_final = False
        self._wake = asyncio.Event()
        self._job_changed = True
        self._stopped = False
        self._stop_listening: list[Callable[[], None]] = []

    def stop(self) -> None:
        """End the events early; nobody takes them any more."""
        self._stopped = True
        self._wake.set()

    def _is_stopped(self) -> bool:
        return self._stopped

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the events as lines of JSON."""
        with self._scheduler.watch(self._job) as watch:
            pump = asyncio.ensure_future(self._pump_job(watch))
            try:
                places = await self._begin()
                if self._tells_places:
                    yield _line(places.event())
                if self._is_new:
                    for text in self._scheduler.notes(self._job):
                        yield self._note(text)
                while not self._is_stopped():
                    self._wake.clear()
                    for piece in self._round():
                        yield piece
                        if self._is_stopped():
                            return
                    if self._is_over():
                        yield self._end()
                        return
                    await self._wake.wait()
            finally:
                pump.cancel()
                for stop_listening in self._stop_listening:
                    stop_listening()

    # --- being woken ---------------------------------------------------------------------------
    async def _pump_job(self, watch: JobWatch) -> None:
        while True:
            await watch.changed(None)
            self._job_changed = True
            self._wake.set()

    # --- where to begin ------------------------------------------------------------------------
    async def _begin(self) -> Places:
        if self._places is None:
            self._places = Places() if self._tail is None else await self._places_of_tail(self._tail)
        self._attempt_id = self._places.job_attempt
        return self._places

    async def _places_of_tail(self, lines: int) -> Places:
        """Return where the last lines of the newest attempts begin; what begins later is sent whole."""
        places = Places(self._job.attempt_id or 0)
        for newest in self._wanted_tasks(places.job_attempt):
            log = self._scheduler.log(newest)
            position = await tail_position(log, self._stream, lines) if log is not None else 0
            places.of_tasks[newest.key] = newest.attempt_id, position
        return places

    def _wanted_tasks(self, attempt_id: int) -> list[TaskRecord]:
        if self._job.attempt_id is None:
            return []
        tasks = self._scheduler.tasks(self._job, attempt_id)
        return [task for task in tasks if is_wanted(task, self._role, self._index)]

    # --- one round -----------------------------------------------------------------------------
    def _round(self) -> Iterator[bytes]:
        if self._job_changed:
            self._job_changed = False
            self._job = self._scheduler.job(self._job.user, self._job.name) or self._job
            self._is_final = self._job.state.is_final
            self._find_tasks()
            if self._job.state.value != self._shown_state:
                self._shown_state = self._job.state.value
                yield _line({"type": "state", "state": self._shown_state})
        for lane in self._lanes.values():
            yield from self._advance(lane)
        if (self._job.attempt_id or 0) > self._attempt_id and self._lanes_are_done():
            yield self._next_attempt()

    def _find_tasks(self) -> None:
        of_tasks = self._places.of_tasks if self._places is not None else {}
        for newest in self._wanted_tasks(self._attempt_id):
            lane = self._lanes.get(newest.key)
            if lane is None:
                lane = self._lanes[newest.key] = _Lane(*of_tasks.get(newest.key, (0, 0)))
            if 0 < newest.attempt_id >= lane.next_attempt:
                history = self._scheduler.task_attempts(
                    self._job, self._attempt_id, newest.role, newest.index
                )
                lane.add(reversed(history))
            else:
                lane.add([newest])

    def _advance(self, lane: _Lane) -> Iterator[bytes]:
        if lane.stream is None:
            while len(lane.attempts) > 1 and self._scheduler.log(lane.attempts[0]) is None:
                lane.attempts.popleft()  # it never started, and there is a later one
            task = lane.upcoming()
            log = self._scheduler.log(task) if task else None
            if task is None or log is None:
                return
            lane.attempts.popleft()
            if lane.before is not None:
                yield self._retry_note(lane.before, task)
            lane.before = task
            lane.stream = LogStream(
                log, self._stream, task, lane.position_in(task), tells_end=self._tells_places
            )
            self._stop_listening.append(log.listen(self._wake.set))
        piece = lane.stream.next_piece()
        if piece is not None:
            yield piece
            if lane.stream.may_go_on():
                self._wake.set()
        elif lane.stream.is_over():
            lane.stream = None
            if lane.upcoming() is not None:
                self._wake.set()

    def _lanes_are_done(self) -> bool:
        """Whether all logs of this attempt of the job were sent, and there will be no more."""
        moved_on = self._is_final or (self._job.attempt_id or 0) > self._attempt_id
        if not moved_on or self._job_changed:
            return False
        return all(lane.is_done(self._scheduler) for lane in self._lanes.values())

    def _next_attempt(self) -> bytes:
        ended = self._scheduler.attempt(self._job, self._attempt_id)
        code = ended.outcome.exit_code if ended and ended.outcome else None
        self._attempt_id += 1
        self._lanes = {}
        self._places = None
        self._job_changed = True
        self._wake.set()
        text = (
            f"attempt {self._attempt_id} of the job follows; "
            f"attempt {self._attempt_id - 1} ended with exit code {code}"
        )
        return self._note(text, job_attempt=self._attempt_id)

    def _retry_note(self, before: TaskRecord, task: TaskRecord) -> bytes:
        code = before.outcome.exit_code if before.outcome else None
        text = (
            f"attempt {task.attempt_id} of {task.role}-{task.index} follows; "
            f"attempt {before.attempt_id} ended with exit code {code}"
        )
        return self._note(text, role=task.role, index=task.index, attempt=task.attempt_id, end=0)

    def _note(self, text: str, **place: object) -> bytes:
        return _line({"type": "note", "text": text, **(place if self._tells_places else {})})

    def _is_over(self) -> bool:
        # Less than what a client was told before a crash, if that attempt never came to be.
        on_last_attempt = (self._job.attempt_id or 0) <= self._attempt_id
        return self._is_final and on_last_attempt and self._lanes_are_done()

    def _end(self) -> bytes:
        outcome = self._job.outcome
        return _line(
            {
                "type": "end",
                "state": self._job.state.value,
                "exit_code": outcome.exit_code if outcome else None,
                "user_exit_code": user_exit_code(outcome),
            }
        )


class _Lane:
    """One task: its attempts one after the other, never two at once."""

    def __init__(self, first_attempt: int, position: int) -> None:
        self._first = (first_attempt, position)
        self.attempts: deque[TaskRecord] = deque()
        """Attempts whose logs are still to be sent."""
        self.next_attempt = first_attempt
        self.stream: LogStream | None = None
        self.before: TaskRecord | None = None
        """The attempt that was sent last; kept up to date, for how it ended."""

    def add(self, tasks: Any) -> None:
        """Take notice of attempts, oldest first; those known already are brought up to date."""
        for task in tasks:
            if self.before is not None and task.attempt_id == self.before.attempt_id:
                self.before = task
            for position, known in enumerate(self.attempts):
                if known.attempt_id == task.attempt_id:
                    self.attempts[position] = task
            if task.attempt_id >= self.next_attempt:
                self.attempts.append(task)
                self.next_attempt = task.attempt_id + 1

    def upcoming(self) -> TaskRecord | None:
        """Return the attempt whose log comes next."""
        return self.attempts[0] if self.attempts else None

    def position_in(self, task: TaskRecord) -> int:
        """Return the byte at which an attempt's log begins for this client."""
        return self._first[1] if task.attempt_id == self._first[0] else 0

    def is_done(self, scheduler: Scheduler) -> bool:
        """Whether everything was sent; attempts that never started have nothing to send."""
        return self.stream is None and all(scheduler.log(task) is None for task in self.attempts)


def is_wanted(task: TaskRecord, role: str | None, index: int | None) -> bool:
    """Return whether a task is one of those asked for; a role goes by its converted or its original name."""
    if index is not None and task.index != index:
        return False
    return role is None or task.role in (role, convert_role_name(role))


def _line(event: dict[str, Any]) -> bytes:
    return to_json(event) + b"\n"


class FollowReply(Response):
    """Streams a follower's events; ends when they do, or when the client or the server goes."""

    def __init__(self, services: Services, follower: Follower) -> None:
        super().__init__(headers={"cache-control": "no-store"}, media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._services = services
        self._follower = follower

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        stop = self._follower.stop
        async with Departure(self._services, receive, stop), aclosing(self._follower.pieces()) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
