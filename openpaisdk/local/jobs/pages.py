# SPDX-License-Identifier: MIT
"""Pages of a list of jobs, asked for by number (``offset``) and read by place.

A page that begins where the last page of the same reader and query ended goes on behind its last job. It
costs the same at any depth, and jobs that come in meanwhile make none appear twice. Any other ``offset`` is
counted out. ``store`` alone uses this.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from openpaisdk.local.jobs.rows import JOB_COLUMNS, conditions_of
from openpaisdk.local.records import JobQuery, JobRow

BOOKMARKS_MAX = 1024
BOOKMARK_LIFETIME_S = 600.0
"""For so long a page goes on where the one before it ended; later it is counted out again."""
_ORDERS = {
    "jobName": "name",
    "submissionTime": "id",
    "username": "user",
    "vc": "virtual_cluster",
    "retries": "coalesce(attempt_id, 0)",
    "totalTaskNumber": "total_tasks",
    "totalGpuNumber": "total_gpu",
    "state": "state",
    # What has no such value is last going up and first going down (rest-api-v2 §5.2).
    "completionTime": "coalesce(completed_ms, 9223372036854775807)",
    "jobPriority": "coalesce(priority, char(1114111))",
}

Read = Callable[[str, Sequence[Any]], list[Any]]
_Place = tuple[Any, int]
"""Value of the order and id of the last job of a page."""


class Pages:
    """Reads pages of jobs, and remembers where they ended.

    Args:
        read: Runs a statement with its values and returns the rows.
        clock: Seconds that never go back.
    """

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._bookmarks: OrderedDict[tuple[Any, ...], tuple[float, _Place]] = OrderedDict()

    def page(self, query: JobQuery, reader: str) -> list[JobRow]:
        """Return the jobs of one page; ``reader`` tells apart whose pages follow each other."""
        where, values = conditions_of(query)
        column = _ORDERS.get(query.order_by, "id")
        direction, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
        order = f"id {direction}" if column == "id" else f"{column} {direction}, id {direction}"
        key = (reader, where, order, *values)
        select = f"SELECT {JOB_COLUMNS}, state, {column} FROM jobs"
        place = self._take((*key, query.offset)) if query.offset else None
        if place is not None:
            behind, bounds = _behind(column, beyond, place)
            condition = f"{where} AND {behind}" if where else f" WHERE {behind}"
            statement = f"{select}{condition} ORDER BY {order} LIMIT ?"
            rows = self._read(statement, (*values, *bounds, query.limit))
        elif query.offset:  # only ids are counted out, mostly by an index alone
            ids = f"SELECT id FROM jobs{where} ORDER BY {order} LIMIT ? OFFSET ?"
            statement = f"{select} WHERE id IN ({ids}) ORDER BY {order}"
            rows = self._read(statement, (*values, query.limit, query.offset))
        else:
            rows = self._read(f"{select}{where} ORDER BY {order} LIMIT ?", (*values, query.limit))
        if rows:
            self._put((*key, query.offset + len(rows)), (rows[-1][-1], rows[-1][0]))
        return list(map(JobRow._make, rows))

    def _take(self, key: tuple[Any, ...]) -> _Place | None:
        moment, place = self._bookmarks.get(key, (0.0, None))
        return place if place is not None and self._clock() - moment < BOOKMARK_LIFETIME_S else None

    def _put(self, key: tuple[Any, ...], place: _Place) -> None:
        self._bookmarks[key] = (self._clock(), place)
        self._bookmarks.move_to_end(key)
        if len(self._bookmarks) > BOOKMARKS_MAX:
            self._bookmarks.popitem(last=False)


def _behind(column: str, beyond: str, place: _Place) -> tuple[str, tuple[Any, ...]]:
    """Return the condition of what comes after a place, and its values."""
    if column == "id":
        return f"id {beyond} ?", place[1:]
    # The first half says nothing new, but is what SQLite finds an index of an expression by.
    return f"{column} {beyond}= ? AND ({column}, id) {beyond} (?, ?)", (place[0], *place)
