# SPDX-License-Identifier: MIT
"""The jobs that wait for resources, in the order in which they are served.

There is a line for each virtual cluster, and one for the opportunistic jobs of all of them, which are
served last. Within a line ``prod`` comes before ``test`` (which is also what a job has that names no
priority), and then first come, first served. A job that is tried again comes anew; one that had to make
room keeps its place.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from openpaisdk.local.jobs.live import LiveJob

_Place = tuple[int, int]
"""Rank of the priority and number of the ticket."""


class WaitingJobs:
    """Lines of waiting jobs."""

    def __init__(self) -> None:
        self._lines: dict[str | None, list[_Place]] = {}
        self._jobs: dict[_Place, LiveJob] = {}
        self._last_ticket = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, live: LiveJob) -> bool:
        return live.place in self._jobs

    def add(self, live: LiveJob, *, keep_place: bool = False) -> None:
        """Let a job wait; one that waits already stays where it is."""
        if live in self:
            return
        if not (keep_place and live.ticket):
            self._last_ticket += 1
            live.ticket = self._last_ticket
        self._jobs[live.place] = live
        insort(self._lines.setdefault(live.share, []), live.place)

    def discard(self, live: LiveJob) -> None:
        """Let a job wait no longer."""
        if self._jobs.pop(live.place, None) is not None:
            line = self._lines[live.share]
            del line[bisect_left(line, live.place)]

    def shares(self) -> list[str | None]:
        """Return whose lines have jobs, the opportunistic one last."""
        return sorted(
            (share for share, line in self._lines.items() if line), key=lambda name: (not name, name)
        )

    def line(self, share: str | None, most: int) -> list[LiveJob]:
        """Return the first jobs of a line."""
        return [self._jobs[place] for place in islice(self._lines.get(share, ()), most)]

    def before(self, live: LiveJob) -> Iterator[LiveJob]:
        """Yield the jobs that stand in line before a job."""
        line = self._lines.get(live.share, [])
        return (self._jobs[place] for place in islice(line, bisect_left(line, live.place)))
