# SPDX-License-Identifier: MIT
"""How far a client has got that follows a job, so that it can go on there after a break.

A client that sends ``after`` is told by a first event, ``begin``, where in the logs the events begin, and by
``job_attempt``, ``role``, ``index``, ``attempt`` and ``end`` in the later ones how far they are. When the
connection breaks it asks again with ``after=<job attempt>,<role>.<index>.<attempt>.<end>,…``: tasks that it
does not name are sent from their beginning.
"""

from __future__ import annotations

from openpaisdk.local.jobs.machine import TaskKey


class Places:
    """The attempt of a job that is being sent, and for its tasks the attempt and the byte in its log."""

    def __init__(self, job_attempt: int = 0, of_tasks: dict[TaskKey, tuple[int, int]] | None = None) -> None:
        self.job_attempt = job_attempt
        self.of_tasks = of_tasks or {}

    @classmethod
    def parse(cls, text: str) -> Places:
        """Return the places that a client names.

        Raises:
            ValueError: The text has another form.
        """
        job_attempt, *words = text.split(",")
        of_tasks = {}
        for word in words:
            role, index, attempt, end = word.rsplit(".", 3)
            of_tasks[role, _number(index)] = _number(attempt), _number(end)
        return cls(_number(job_attempt), of_tasks)

    def event(self) -> dict[str, object]:
        """Return the event that tells a client where it begins."""
        tasks = [[role, index, *place] for (role, index), place in self.of_tasks.items()]
        return {"type": "begin", "job_attempt": self.job_attempt, "tasks": tasks}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ValueError(text)
    return int(text)
