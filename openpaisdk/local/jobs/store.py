# SPDX-License-Identifier: MIT
"""Jobs, attempts, tasks and events in SQLite, so that they outlive the server.

One connection, used by the event-loop thread only. Writes of one turn of the loop are merged into one
transaction. A submission is synced to the disk before its sender hears of it; the rest follows with the
next submission or checkpoint: a crash of the server loses nothing of it, and after a crash of the machine
the tasks' own traces tell the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from openpaisdk.errors import JobExistsError, LocalClusterError
from openpaisdk.local.jobs.pages import Pages
from openpaisdk.local.jobs.rows import (
    ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    JOB_STATEMENT,
    TASK_COLUMNS,
    attempt_of,
    attempt_values,
    job_values,
    job_with_outcome_of,
    task_of,
    task_values,
)
from openpaisdk.local.jobs.totals import Totals
from openpaisdk.local.records import AttemptRecord, EventRecord, JobQuery, JobRecord, TaskRecord

SCHEMA_VERSION = 2
MEMORY = ":memory:"
_RETRY_INTERVAL_S = 1.0
_SCHEMA = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL, name TEXT NOT NULL,
    sub_state TEXT NOT NULL, state TEXT NOT NULL, stop_requested INTEGER NOT NULL,
    virtual_cluster TEXT NOT NULL, priority TEXT,
    submitted_ms INTEGER NOT NULL, created_ms INTEGER, launched_ms INTEGER, completed_ms INTEGER,
    attempt_id INTEGER, counted_retries INTEGER NOT NULL, retry_at_ms INTEGER,
    total_gpu INTEGER NOT NULL, total_tasks INTEGER NOT NULL, total_roles INTEGER NOT NULL,
    tags TEXT NOT NULL, exit_code INTEGER, outcome TEXT,
    UNIQUE (user, name)
);
CREATE INDEX jobs_by_user ON jobs (user, id);
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_open ON jobs (id) WHERE completed_ms IS NULL;
CREATE TABLE documents (job_id INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE attempts (
    job_id INTEGER NOT NULL, attempt_id INTEGER NOT NULL, uid TEXT NOT NULL, sub_state TEXT NOT NULL,
    created_ms INTEGER NOT NULL, launched_ms INTEGER, completed_ms INTEGER, outcome TEXT,
    PRIMARY KEY (job_id, attempt_id)
) WITHOUT ROWID;
CREATE TABLE tasks (
    job_id INTEGER NOT NULL, job_attempt_id INTEGER NOT NULL, role TEXT NOT NULL, task_index INTEGER NOT NULL,
    attempt_id INTEGER NOT NULL, counted_retries INTEGER NOT NULL, pod_uid TEXT NOT NULL,
    sub_state TEXT NOT NULL, created_ms INTEGER NOT NULL, launched_ms INTEGER, completed_ms INTEGER,
    ports TEXT NOT NULL, gpus TEXT NOT NULL, pid INTEGER, outcome TEXT,
    PRIMARY KEY (job_id, job_attempt_id, role, task_index, attempt_id)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, job_id INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    type TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, role TEXT,
    task_index INTEGER, pod_uid TEXT
);
CREATE INDEX events_by_job ON events (job_id, id);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_UPGRADES = {
    # Lists by virtual cluster, of a user by state, and by the moment of completion (see pages.py).
    1: """
CREATE INDEX jobs_by_virtual_cluster ON jobs (virtual_cluster, id);
CREATE INDEX jobs_by_user_and_state ON jobs (user, state, id);
CREATE INDEX jobs_by_completion ON jobs (coalesce(completed_ms, 9223372036854775807), id);
""",
}
"""What makes each version of the format the next one; a new file is version 1 and all of these."""


class JobStore:
    """All jobs, in one SQLite file (mode 0600).

    Args:
        path: The database file, made when it is not there; ``:memory:`` keeps everything in memory.

    Raises:
        LocalClusterError: The file cannot be opened or is not a database of this program.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._pending: dict[tuple[Any, ...], tuple[str, Sequence[Any]]] = {}
        """Rows to write, by table and key: a row that changes twice in one turn is written once."""
        self._flush_scheduled = False
        self._event_number = 0
        self._durable_waiters: list[asyncio.Future[None]] = []
        self._syncing: asyncio.Task[None] | None = None
        self._log: int | None = None
        self._pages = Pages(self._read)
        self._totals = Totals(self._read)
        try:
            self._connection = self._open()
        except (sqlite3.DatabaseError, OSError) as exc:
            raise LocalClusterError(
                f"the database {path!r} cannot be used: {exc}",
                hint="move the file away and start again, or run: opai local reset",
            ) from exc
        (self._last_id,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM jobs").fetchone()

    def _open(self) -> sqlite3.Connection:
        if self.path != MEMORY:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=256)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            # Searches mind the case, as in the real server's database (rest-api-v2 §5.2).
            connection.execute("PRAGMA case_sensitive_like=ON")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"its format is {version}, this program writes {SCHEMA_VERSION}")
            if version < SCHEMA_VERSION:
                steps = "".join({0: _SCHEMA, **_UPGRADES}[step] for step in range(version, SCHEMA_VERSION))
                connection.executescript(f"BEGIN;{steps}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Write what is pending and close the file."""
        if self._pending:
            self.flush()
        if self._log is not None:
            os.close(self._log)
        self._connection.close()  # the last connection's close checkpoints the log, on the disk

    # --- writing -------------------------------------------------------------------------------
    def _write(self, key: tuple[Any, ...], statement: str, values: Sequence[Any]) -> None:
        self._pending[key] = (statement, values)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Commit what is pending; what somebody waits for is then synced to the disk beside the loop."""
        self._flush_scheduled = False
        pending, self._pending = self._pending, {}
        try:
            self._commit(pending.values())
        except sqlite3.Error as exc:
            # What is pending stays so: the next flush tries again, so a full disk loses nothing accepted.
            self._pending = {**pending, **self._pending}
            error = LocalClusterError(
                f"cannot write the database {self.path!r}: {exc}", hint="is the disk full?"
            )
            self._settle(self._take_waiters(), error)
            self._flush_later()
            return
        if self._durable_waiters and self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    def _commit(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                execute(statement, values)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise

    def _flush_later(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(_RETRY_INTERVAL_S, self.flush)

    async def _sync(self) -> None:
        """Bring the write-ahead log to the disk for all who wait, in a thread: the loop goes on meanwhile.

        That makes a commit durable as ``synchronous=FULL`` would, which does the same inside the commit
        (https://www.sqlite.org/wal.html).
        """
        loop = asyncio.get_running_loop()
        while self._durable_waiters:
            waiters = self._take_waiters()
            error: LocalClusterError | None = None
            try:
                await loop.run_in_executor(None, self._sync_log)
            except OSError as exc:
                error = LocalClusterError(f"cannot sync the database {self.path!r}: {exc}")
            self._settle(waiters, error)
        self._syncing = None

    def _sync_log(self) -> None:
        if self._log is None:
            self._log = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
        getattr(os, "fdatasync", os.fsync)(self._log)

    def _take_waiters(self) -> list[asyncio.Future[None]]:
        waiters, self._durable_waiters = self._durable_waiters, []
        return waiters

    @staticmethod
    def _settle(waiters: Iterable[asyncio.Future[None]], error: LocalClusterError | None) -> None:
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    async def durable(self) -> None:
        """Return when everything written so far is on the disk.

        Raises:
            LocalClusterError: It could not be written; it stays pending.
        """
        if self.path == MEMORY:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._durable_waiters.append(waiter)
        self._schedule_flush()
        await waiter

    def drop_pending_of(self, job_id: int) -> None:
        """Forget the unwritten rows of a submission that could not be stored."""
        self._pending = {key: entry for key, entry in self._pending.items() if key[1] != job_id}
        self._totals.forget(job_id)

    def insert_job(self, job: JobRecord, document: dict[str, Any]) -> None:
        """Add a new job and number it.

        Raises:
            JobExistsError: The user has a job of this name already.
        """
        if self.job(job.user, job.name) is not None:
            raise JobExistsError(
                f"job {job.framework} already exists", hint="choose another name: names are never free again"
            )
        self._last_id += 1
        job.id = self._last_id
        self._write(
            ("documents", job.id),
            "INSERT INTO documents VALUES (?, ?)",
            (job.id, json.dumps(document, ensure_ascii=False)),
        )
        self.save_job(job)

    def save_job(self, job: JobRecord) -> None:
        """Write the job as it is now."""
        self._totals.note(job)
        self._write(
            ("jobs", job.id),
            JOB_STATEMENT,
            job_values(job),
        )

    def save_attempt(self, attempt: AttemptRecord) -> None:
        """Write the attempt as it is now."""
        self._write(
            ("attempts", attempt.job_id, attempt.attempt_id),
            "INSERT OR REPLACE INTO attempts VALUES (?,?,?,?,?,?,?,?)",
            attempt_values(attempt),
        )

    def save_task(self, task: TaskRecord) -> None:
        """Write the task attempt as it is now."""
        self._write(
            ("tasks", task.job_id, task.job_attempt_id, task.role, task.index, task.attempt_id),
            "INSERT OR REPLACE INTO tasks VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            task_values(task),
        )

    def add_event(self, event: EventRecord) -> None:
        """Add an event."""
        self._event_number += 1
        self._write(
            ("events", event.job_id, self._event_number),
            "INSERT INTO events (job_id, at_ms, type, reason, message, role, task_index, pod_uid) "
            "VALUES (?,?,?,?,?,?,?,?)",
            (
                event.job_id,
                event.at_ms,
                event.type,
                event.reason,
                event.message,
                event.role,
                event.index,
                event.pod_uid,
            ),
        )

    # --- reading -------------------------------------------------------------------------------
    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        if self._pending:
            self.flush()
        return self._connection.execute(statement, values).fetchall()

    def fact(self, name: str, default: str) -> str:
        """Return a fact about the cluster, keeping ``default`` as the fact when there is none yet."""
        rows = self._read("SELECT value FROM facts WHERE name = ?", (name,))
        if rows:
            return str(rows[0][0])
        self._write(("facts", name), "INSERT INTO facts VALUES (?, ?)", (name, default))
        return default

    def job(self, user: str, name: str) -> JobRecord | None:
        """Return a job with its whole outcome, or ``None``."""
        rows = self._read(
            f"SELECT {JOB_COLUMNS}, outcome FROM jobs WHERE user = ? AND name = ?", (user, name)
        )
        return job_with_outcome_of(rows[0]) if rows else None

    def open_jobs(self) -> list[JobRecord]:
        """Return all jobs that are not over, oldest first."""
        rows = self._read(f"SELECT {JOB_COLUMNS}, outcome FROM jobs WHERE completed_ms IS NULL ORDER BY id")
        return [job_with_outcome_of(row) for row in rows]

    def jobs(self, query: JobQuery, reader: str = "") -> tuple[list[JobRecord], int | None]:
        """Return the jobs of a query, and how many there are without paging when the query asks for it.

        Args:
            query: Which jobs, and which page of them.
            reader: Who reads: a page goes on where this reader's page before it ended.
        """
        jobs = self._pages.page(query, reader)
        return jobs, self._totals.of(query) if query.with_total_count else None

    def counts_by_state(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        return self._totals.by_state()

    def document(self, job_id: int) -> dict[str, Any]:
        """Return the document of a job, its secrets masked."""
        ((text,),) = self._read("SELECT document FROM documents WHERE job_id = ?", (job_id,))
        document: dict[str, Any] = json.loads(text)
        return document

    def attempts(self, job_id: int) -> list[AttemptRecord]:
        """Return the attempts of a job in order."""
        rows = self._read(
            f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE job_id = ? ORDER BY attempt_id", (job_id,)
        )
        return [attempt_of(row) for row in rows]

    def tasks(self, job_id: int, job_attempt_id: int) -> list[TaskRecord]:
        """Return every task attempt of a job attempt, by role, index and attempt."""
        rows = self._read(
            f"SELECT {TASK_COLUMNS} FROM tasks WHERE job_id = ? AND job_attempt_id = ? "
            "ORDER BY role, task_index, attempt_id",
            (job_id, job_attempt_id),
        )
        return [task_of(row) for row in rows]

    def events(self, job_id: int, type_: str | None = None) -> list[EventRecord]:
        """Return the events of a job, newest first."""
        condition, values = (" AND type = ?", (type_,)) if type_ else ("", ())
        rows = self._read(
            "SELECT job_id, at_ms, type, reason, message, role, task_index, pod_uid FROM events "
            f"WHERE job_id = ?{condition} ORDER BY id DESC",
            (job_id, *values),
        )
        names = ("job_id", "at_ms", "type", "reason", "message", "role", "index", "pod_uid")
        return [EventRecord(**dict(zip(names, row, strict=True))) for row in rows]
