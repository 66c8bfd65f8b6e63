# SPDX-License-Identifier: MIT
"""Following a job where the server offers no stream: by asking again and again for what is new."""

from __future__ import annotations

from openpaisdk.errors import ClusterError
from openpaisdk.rest.logs import LogPlace, choose_tasks, last_lines
from openpaisdk.rest.replies import job_attempt, job_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from openpaisdk.rest.client import RestClient

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 8.0


class PollingFollower:
    """Follows the logs of a job by byte offsets and tells of what is new as events.

    Begins with the newest attempts; from there on no attempt is left out, however short it was.

    Args:
        client: Where to ask.
        job: The job as ``user~name``.
        role: Only this task role.
        index: Only tasks of this index.
        stream: ``all``, ``stdout`` or ``stderr``.
        tail: Begin with so many of the lines that are there already; ``None`` begins at the start.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        client: RestClient,
        job: str,
        *,
        role: str | None,
        index: int | None,
        stream: str,
        tail: int | None,
        sleep: Callable[[float], object],
    ) -> None:
        self._client = client
        self._job = job
        self._role = role
        self._index = index
        self._stream = stream
        self._tail = tail
        self._sleep = sleep
        self._job_attempt: int | None = None
        self._lanes: dict[tuple[str, int], _Lane] = {}

    def events(self) -> Iterator[dict[str, Any]]:
        """Give events until the job has ended: ``log``, ``note``, ``state`` and a last ``end``."""
        from openpaisdk.spec.names import FINAL_STATES

        state = None
        pause_s = FIRST_PAUSE_S
        while True:
            detail = self._client.job_detail(self._job)
            result = job_result(detail, self._job.partition("~")[2])
            is_new = False
            for event in self._news(detail):
                is_new = True
                yield event
            if result["state"] != state:
                state = result["state"]
                yield {"type": "state", "state": state}
            if state in FINAL_STATES:
                yield from self._remainders()
                yield {
                    "type": "end",
                    **{key: result[key] for key in ("state", "exit_code", "user_exit_code")},
                }
                return
            pause_s = FIRST_PAUSE_S if is_new else min(LONGEST_PAUSE_S, pause_s * 1.5)
            self._sleep(pause_s)

    def _news(self, detail: dict[str, Any]) -> Iterator[dict[str, Any]]:
        newest = job_attempt(detail)
        is_first = self._job_attempt is None
        attempt = newest if self._job_attempt is None else self._job_attempt
        while attempt < newest:
            yield from self._end_of_attempt(attempt)
            attempt += 1
            self._lanes = {}
            yield {"type": "note", "text": f"attempt {attempt} of the job follows"}
        self._job_attempt = attempt
        yield from self._task_news(detail, is_first=is_first)

    def _end_of_attempt(self, attempt: int) -> Iterator[dict[str, Any]]:
        """Give what was written in an attempt of the job, which is over, after the last look."""
        try:
            detail = self._client.job_detail(self._job, attempt)
        except ClusterError as exc:
            if exc.status != 404:  # what servers before 1.3 answer
                raise
            for key, lane in self._lanes.items():
                yield from _log_news(key, lane)
        else:
            yield from self._task_news(detail, is_first=False)
        yield from self._remainders()

    def _task_news(self, detail: dict[str, Any], *, is_first: bool) -> Iterator[dict[str, Any]]:
        for task in choose_tasks(detail, self._role, self._index, job=self._job):
            if not task["has_begun"] or not task["path"]:
                continue
            key = (task["role"], task["index"])
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = self._lane(task, task["attempt"] if is_first else 0)
                if is_first and self._tail is not None:
                    yield from _log_event(key, lane, self._last_lines(lane))
            while lane.attempt < task["attempt"]:
                yield from _log_news(key, lane)
                yield from _log_event(key, lane, lane.place.finish())
                lane = self._lanes[key] = self._lane(task, lane.attempt + 1)
                yield {"type": "note", "text": f"attempt {lane.attempt} of {key[0]}-{key[1]} follows"}
            yield from _log_news(key, lane)

    def _lane(self, task: dict[str, Any], attempt: int) -> _Lane:
        path = task["path"]
        if attempt != task["attempt"]:
            path = f"{path.rpartition('/attempts/')[0]}/attempts/{attempt}/logs"
        return _Lane(attempt, LogPlace(self._client, path, self._stream))

    def _last_lines(self, lane: _Lane) -> str:
        return last_lines(lane.place.go_to_end() or "", self._tail or 0)

    def _remainders(self) -> Iterator[dict[str, Any]]:
        for key, lane in self._lanes.items():
            yield from _log_event(key, lane, lane.place.finish())


class _Lane:
    """The attempt of a task that is being read, and how far."""

    __slots__ = ("attempt", "place")

    def __init__(self, attempt: int, place: LogPlace) -> None:
        self.attempt = attempt
        self.place = place


def _log_news(key: tuple[str, int], lane: _Lane) -> Iterator[dict[str, Any]]:
    """Give what is new in a log, with a note before it if it does not follow on what was given last."""
    text = lane.place.read()
    if lane.place.has_gap:
        text_before = f"a piece of the log of {key[0]}-{key[1]} is missing: it was written too fast"
        yield {"type": "note", "text": text_before}
    yield from _log_event(key, lane, text)


def _log_event(key: tuple[str, int], lane: _Lane, text: str) -> Iterator[dict[str, Any]]:
    """Give the event for a text, none for an empty one."""
    if text:
        yield {"type": "log", "role": key[0], "index": key[1], "attempt": lane.attempt, "text": text}
