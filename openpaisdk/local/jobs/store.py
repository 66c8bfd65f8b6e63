# SPDX-License-Identifier: MIT
"""Jobs, attempts, tasks and events in SQLite, so that they outlive the server.

One connection, used by the event-loop thread only. Writes of one turn of the loop are merged into one
transaction. A submission is synced to the disk before its sender hears of it; the rest follows with the
next submission or checkpoint: a crash of the server loses nothing of it, and after a crash of the machine
the tasks' own traces tell the rest.

Why a synced log is enough, with ``synchronous=NORMAL`` (https://www.sqlite.org/wal.html): a commit is
whole in the log, or a checkpoint has moved it to the database, and a checkpoint syncs the log before and the
database after it. The log is never replaced while the database is open, only written anew from its start,
so the descriptor that is synced stays the right one. The folder is synced with the first commit: the log's
own entry, and those of the folders of a new home, must outlive the machine as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from openpaisdk._files import sync_entries
from openpaisdk.errors import JobExistsError, LocalClusterError
from openpaisdk.local.databases import damage_of, is_damage, mark_damaged
from openpaisdk.local.jobs.pages import Pages
from openpaisdk.local.jobs.rows import (
    ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    JOB_STATEMENT,
    TASK_COLUMNS,
    attempt_of,
    attempt_values,
    job_of,
    job_values,
    job_with_outcome_of,
    task_of,
    task_values,
)
from openpaisdk.local.jobs.totals import Totals
from openpaisdk.local.records import AttemptRecord, EventRecord, JobQuery, JobRecord, JobRow, TaskRecord

SCHEMA_VERSION = 2
MEMORY = ":memory:"
_RETRY_INTERVAL_S = 1.0
_log = logging.getLogger("openpaisdk.local")
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
        self._new: dict[int, tuple[str, str]] = {}
        """Jobs (user and name) among the pending rows whose submission has not been committed yet."""
        self._flush_scheduled = False
        self._retry: asyncio.TimerHandle | None = None
        """Set while what is pending could not be written."""
        self.on_damage: Callable[[], None] = _nothing
        """Called when the file turns out to be damaged: it is marked, and the next start replaces it."""
        self._event_number = 0
        self._after_commit: list[Callable[[], None]] = []
        self._uncommitted: list[asyncio.Future[None]] = []
        self._unsynced: list[asyncio.Future[None]] = []
        self._syncing: asyncio.Task[None] | None = None
        self._log: int | None = None
        self._log_is_doubtful = False
        self._pages = Pages(self._read)
        self._totals = Totals(self._read)
        self._closed = False
        try:
            self._connection = self._open()
        except (sqlite3.DatabaseError, OSError) as exc:
            raise LocalClusterError(
                f"the database {path!r} cannot be used: {exc}",
                hint="use the version of openpaisdk that wrote it, or move the file away and start again",
            ) from exc
        (last_id,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM jobs").fetchone()
        self._last_id: int = last_id

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
        if self._retry is not None:
            self._retry.cancel()
        if self._log is not None and self._syncing is None:
            os.close(self._log)
        self._closed = True
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
        if self._closed:
            return  # what comes so late is found out by the next server, as after a crash
        pending, self._pending = self._pending, {}
        new, self._new = self._new, {}
        waiters, self._uncommitted = self._uncommitted, []
        done, self._after_commit = self._after_commit, []
        try:
            if self._log_is_doubtful:
                self._begin_log_anew()
            if pending:
                self._commit(pending.values())
        except sqlite3.Error as exc:
            self._look_for_damage(exc)
            # Nothing accepted is lost on a full disk: it stays pending and is tried again. Of a new job
            # nothing stays, so that it cannot come into being after its sender was told that it failed.
            kept = {key: entry for key, entry in pending.items() if key[1] not in new}
            self._pending = {**kept, **self._pending}
            for job_id in new:
                self._totals.forget(job_id)
            self._after_commit = done + self._after_commit
            self._settle(waiters, self._write_error(exc))
            self._flush_later(exc)
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            _log.warning("the database can be written again: %s", self.path)
        for callback in done:
            callback()
        self._unsynced += waiters
        if self._unsynced and self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    def _commit(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                try:
                    execute(statement, values)
                except UnicodeEncodeError:  # half a surrogate pair, as JSON and names of files can have it
                    execute(statement, [_storable(value) for value in values])
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise

    def _write_error(self, exc: Exception) -> LocalClusterError:
        return LocalClusterError(
            f"cannot write the database {self.path!r}: {exc}",
            hint="is the disk full, or mounted read-only? The server goes on by itself once it can write",
        )

    def _flush_later(self, exc: sqlite3.Error) -> None:
        if self._retry is None:
            _log.error("cannot write the database %s (it is tried again): %s", self.path, exc)
        else:
            self._retry.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._retry = loop.call_later(_RETRY_INTERVAL_S, self.flush)

    async def _sync(self) -> None:
        """Bring the write-ahead log to the disk for all who wait, in a thread: the loop goes on meanwhile.

        That makes a commit durable as ``synchronous=FULL`` would, which does the same inside the commit.
        Only what was committed before the sync began is told as durable after it.
        """
        loop = asyncio.get_running_loop()
        while self._unsynced:
            waiters, self._unsynced = self._unsynced, []
            error: LocalClusterError | None = None
            try:
                await loop.run_in_executor(None, self._sync_log)
            except OSError as exc:
                error = self._write_error(exc)
                self._log_is_doubtful = True
                waiters += self._unsynced  # behind the gap, whatever the next sync says
                self._unsynced = []
            self._settle(waiters, error)
        self._syncing = None

    def _sync_log(self) -> None:
        if self._log is None:
            self._log = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
            sync_entries(self.path)
        getattr(os, "fdatasync", os.fsync)(self._log)

    def _begin_log_anew(self) -> None:
        """Move the log into the database, after a sync failed: the system may have given up some of it, and
        what is written behind a gap could not be read after a crash of the machine.
        """
        ((busy, _frames, _moved),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise sqlite3.OperationalError("its log could not be synced, and somebody reads it")
        self._log_is_doubtful = False

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
            LocalClusterError: It could not be written; it stays pending, new jobs excepted.
        """
        if self.path == MEMORY:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._uncommitted.append(waiter)
        self._schedule_flush()
        await waiter

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Do something once what is pending is committed, so that a crash in between cannot reverse the
        order.
        """
        self._after_commit.append(callback)
        self._schedule_flush()

    def next_id(self) -> int:
        """Return the number of the next job; no other job gets it."""
        self._last_id += 1
        return self._last_id

    def insert_job(self, job: JobRecord, document: dict[str, Any]) -> None:
        """Add a new job, and number it if it has no number yet.

        Raises:
            JobExistsError: The user has a job of this name already.
        """
        if (job.user, job.name) in self._new.values() or self.job(job.user, job.name) is not None:
            raise JobExistsError(
                f"job {job.framework} already exists", hint="choose another name: names are never free again"
            )
        text = json.dumps(document)
        job.id = job.id or self.next_id()
        self._new[job.id] = (job.user, job.name)
        self._write(("documents", job.id), "INSERT INTO documents VALUES (?, ?)", (job.id, text))
        self.save_job(job)

    def withdraw_job(self, job_id: int) -> None:
        """Remove a new job that could not be made durable; its name is free again."""
        self._pending = {key: entry for key, entry in self._pending.items() if key[1] != job_id}
        self._new.pop(job_id, None)
        self._totals.forget(job_id)
        for table, column in (("jobs", "id"), ("documents", "job_id"), ("events", "job_id")):
            self._write((f"withdrawn {table}", job_id), f"DELETE FROM {table} WHERE {column} = ?", (job_id,))

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

    # --- damage --------------------------------------------------------------------------------
    def _look_for_damage(self, exc: sqlite3.Error) -> None:
        if is_damage(exc):
            self._note_damage(str(exc))

    def _note_damage(self, reason: str) -> None:
        _log.error("the database %s is damaged: %s", self.path, reason)
        with contextlib.suppress(OSError):  # on a full disk the next start finds it out anew
            mark_damaged(self.path, reason)
        self.on_damage()

    async def look_through(self) -> None:
        """Look through the whole file beside the loop."""
        reason = await asyncio.to_thread(damage_of, self.path, thorough=True)
        if reason is not None:
            self._note_damage(reason)

    # --- reading -------------------------------------------------------------------------------
    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        if self._pending and self._retry is None:
            self.flush()
        try:
            if self._pending:
                with contextlib.suppress(sqlite3.Error):  # then what was written before is all there is
                    return self._read_over_pending(statement, values)
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            self._look_for_damage(exc)
            raise LocalClusterError(f"cannot read the database {self.path!r}: {exc}") from exc

    def _read_over_pending(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Read as if what is pending had been written: on a full disk users see their jobs as they are."""
        execute = self._connection.execute
        execute("BEGIN")
        try:
            for change, row in self._pending.values():
                execute(change, row)
            return execute(statement, values).fetchall()
        finally:
            if self._connection.in_transaction:
                execute("ROLLBACK")

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

    def page(self, query: JobQuery, reader: str = "") -> tuple[list[JobRow], int | None]:
        """Return the jobs of a query, and how many there are without paging when the query asks for it.

        Args:
            query: Which jobs, and which page of them.
            reader: Who reads: a page goes on where this reader's page before it ended.
        """
        rows = self._pages.page(query, reader)
        return rows, self._totals.of(query) if query.with_total_count else None

    def jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return the jobs of a query, with no more of their outcomes than the codes."""
        return [job_of(row) for row in self._pages.page(query, "")]

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

    def events(self, job_id: int) -> list[EventRecord]:
        """Return the events of a job, in order."""
        rows = self._read(
            "SELECT job_id, at_ms, type, reason, message, role, task_index, pod_uid FROM events "
            "WHERE job_id = ? ORDER BY id",
            (job_id,),
        )
        names = ("job_id", "at_ms", "type", "reason", "message", "role", "index", "pod_uid")
        return [EventRecord(**dict(zip(names, row, strict=True))) for row in rows]


def _nothing() -> None:
    """Stand in for a listener that has not come yet."""


def _storable(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
