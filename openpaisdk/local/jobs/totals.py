# SPDX-License-Identifier: MIT
"""How many jobs there are of each user, virtual cluster and state, without counting rows each time.

Counted once, when first asked for, and kept up to date as jobs change. ``store`` alone uses this.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from openpaisdk.local.jobs.pages import Read
from openpaisdk.local.jobs.rows import conditions_of
from openpaisdk.local.records import JobQuery, JobRecord

_Kind = tuple[str, str, str]


class Totals:
    """Counts jobs.

    Args:
        read: Runs a statement with its values and returns the rows; writes what is pending first.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._counts: Counter[_Kind] | None = None
        self._open: dict[int, _Kind] = {}
        """As what the jobs are counted that are not over; those that are over stay what they are."""

    def of(self, query: JobQuery) -> int:
        """Return how many jobs a query finds on all its pages."""
        if query.keyword is None and not (query.tags_contain or query.tags_not_contain or query.priorities):
            wanted = (query.users, query.virtual_clusters, query.states)
            return sum(count for kind, count in self._all().items() if _is_wanted(kind, wanted))
        where, values = conditions_of(query)
        ((total,),) = self._read(f"SELECT count(*) FROM jobs{where}", values)
        return int(total)

    def by_state(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        if self._counts is None:  # not worth counting everything for
            return dict(self._read("SELECT state, count(*) FROM jobs GROUP BY state", ()))
        counts: Counter[str] = Counter()
        for (_, _, state), count in self._counts.items():
            counts[state] += count
        return {state: count for state, count in counts.items() if count}

    def _all(self) -> Counter[_Kind]:
        if self._counts is None:
            # Row after row is faster than by an index, from which each row would be looked up.
            rows = self._read(
                "SELECT user, virtual_cluster, state, count(*) FROM jobs NOT INDEXED GROUP BY 1, 2, 3", ()
            )
            still_open = self._read(
                "SELECT id, user, virtual_cluster, state FROM jobs WHERE completed_ms IS NULL", ()
            )
            self._open = {number: (user, cluster, state) for number, user, cluster, state in still_open}
            self._counts = Counter({(user, cluster, state): count for user, cluster, state, count in rows})
        return self._counts

    def note(self, job: JobRecord) -> None:
        """Take notice of a job as it is now, new or changed."""
        if self._counts is None:
            return
        before = self._open.pop(job.id, None)
        if before is None and job.completed_ms is not None:
            return
        now = (job.user, job.virtual_cluster, job.state.value)
        if before is not None:
            self._counts[before] -= 1
        self._counts[now] += 1
        if job.completed_ms is None:
            self._open[job.id] = now

    def forget(self, job_id: int) -> None:
        """Take notice that a new job does not come to be."""
        before = self._open.pop(job_id, None)
        if before is not None and self._counts is not None:
            self._counts[before] -= 1


def _is_wanted(kind: _Kind, wanted: tuple[Any, ...]) -> bool:
    return all(not choices or value in choices for value, choices in zip(kind, wanted, strict=True))
