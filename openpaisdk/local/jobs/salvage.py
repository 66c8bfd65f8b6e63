# SPDX-License-Identifier: MIT
"""Begins a new database of jobs in the place of a damaged one, with all jobs of it that can still be read."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import Any

from openpaisdk.local.databases import open_read_only, put_aside
from openpaisdk.local.jobs.store import JobStore

READ_AT_START = (
    "SELECT sum(length(document)) FROM jobs JOIN documents ON job_id = id WHERE completed_ms IS NULL",
    "SELECT sum(length(pod_uid)) FROM tasks WHERE job_id IN (SELECT id FROM jobs WHERE completed_ms IS NULL)",
    "SELECT sum(length(uid)) FROM attempts WHERE job_id IN (SELECT id FROM jobs WHERE completed_ms IS NULL)",
    "SELECT value FROM facts",
)
"""What a start reads of the database; of a large one, no more is looked at before the server answers."""
_OF_A_JOB = {"documents": "job_id", "attempts": "job_id", "tasks": "job_id", "events": "job_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What became of a damaged database."""

    kept_as: str
    saved: int
    lost: int | None
    """Jobs that could not be read, ``None`` when it is not even known how many there were."""

    def __str__(self) -> str:
        lost = "an unknown number is lost" if self.lost is None else f"{self.lost} are lost"
        found = f"it is kept as {self.kept_as!r}; {self.saved} jobs of it were saved, {lost}"
        return found if self.lost == 0 else f"{found} (`sqlite3 {self.kept_as} .recover` may tell of them)"


def replace_damaged(path: str) -> Salvage:
    """Put a damaged database aside and begin a new one with what can be read of it.

    Raises:
        LocalClusterError: The new one cannot be made.
        OSError: The old one cannot be renamed.
    """
    kept_as = put_aside(path)
    JobStore(path).close()
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target,
        contextlib.closing(open_read_only(kept_as)) as source,
    ):
        target.execute("BEGIN")
        saved, lost = _copy(source, target)
        target.execute("COMMIT")
    return Salvage(kept_as=kept_as, saved=saved, lost=lost)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[int, int | None]:
    last = _last_id(source)
    if last is None:
        return 0, None
    _insert(target, "facts", _rows(source, "SELECT * FROM facts") or [])
    saved = lost = 0
    for number in range(1, last + 1):
        job = _rows(source, "SELECT * FROM jobs WHERE id = ?", number)
        found = {
            table: _rows(source, f"SELECT * FROM {table} WHERE {column} = ?", number)
            for table, column in _OF_A_JOB.items()
        }
        if job and found["documents"]:
            saved += 1
            for table, of_job in (("jobs", job), *found.items()):
                _insert(target, table, of_job or [])
        elif job is None or job or found["documents"]:  # not a number that was never given to a job
            lost += 1
    return saved, lost


def _last_id(source: sqlite3.Connection) -> int | None:
    """Return the highest number that a job has had, ``None`` when it cannot be read."""
    for statement in ("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'", "SELECT max(id) FROM jobs"):
        rows = _rows(source, statement)
        if rows is not None:
            return rows[0][0] or 0 if rows else 0
    return None


def _rows(source: sqlite3.Connection, statement: str, *values: int) -> list[tuple[Any, ...]] | None:
    """Return what a statement finds, ``None`` when it comes upon something damaged."""
    try:
        return source.execute(statement, values).fetchall()
    except sqlite3.DatabaseError:
        return None


def _insert(target: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    for row in rows:
        target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * len(row))})", row)
