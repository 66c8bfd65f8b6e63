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
from openpaisdk.local.records import (
    AttemptRecord,
    EventRecord,
    JobQuery,
    JobRecord,
    Outcome,
    SubState,
    TaskRecord,
)

SCHEMA_VERSION = 1
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

_JOB_COLUMNS = (
    "id, user, name, sub_state, stop_requested, virtual_cluster, priority, submitted_ms, created_ms, "
    "launched_ms, completed_ms, attempt_id, counted_retries, retry_at_ms, total_gpu, total_tasks, "
    "total_roles, tags, exit_code"
)
_ATTEMPT_COLUMNS = "job_id, attempt_id, uid, sub_state, created_ms, launched_ms, completed_ms, outcome"
_TASK_COLUMNS = (
    "job_id, job_attempt_id, role, task_index, attempt_id, counted_retries, pod_uid, sub_state, created_ms, "
    "launched_ms, completed_ms, ports, gpus, pid, outcome"
)
_ORDER_COLUMNS = {
    "jobName": "name",
    "submissionTime": "id",
    "username": "user",
    "vc": "virtual_cluster",
    "retries": "coalesce(attempt_id, 0)",
    "totalTaskNumber": "total_tasks",
    "totalGpuNumber": "total_gpu",
    "state": "state",
    "completionTime": "completed_ms",
    "jobPriority": "priority",
}
_NULLABLE_ORDERS = ("completionTime", "jobPriority")


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
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(
            "PRAGMA case_sensitive_like=ON"
        )  # as the real server's database (rest-api-v2 §5.2)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
        elif version != SCHEMA_VERSION:
            connection.close()
            raise sqlite3.DatabaseError(f"its format is {version}, this program writes {SCHEMA_VERSION}")
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
        outcome = job.outcome
        self._write(
            ("jobs", job.id),
            "INSERT OR REPLACE INTO jobs VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                job.id,
                job.user,
                job.name,
                job.sub_state.value,
                job.state.value,
                int(job.stop_requested),
                job.virtual_cluster,
                job.priority,
                job.submitted_ms,
                job.created_ms,
                job.launched_ms,
                job.completed_ms,
                job.attempt_id,
                job.counted_retries,
                job.retry_at_ms,
                job.total_gpu,
                job.total_tasks,
                job.total_roles,
                ",".join(job.tags),
                outcome.exit_code if outcome else None,
                _outcome_text(outcome),
            ),
        )

    def save_attempt(self, attempt: AttemptRecord) -> None:
        """Write the attempt as it is now."""
        self._write(
            ("attempts", attempt.job_id, attempt.attempt_id),
            "INSERT OR REPLACE INTO attempts VALUES (?,?,?,?,?,?,?,?)",
            (
                attempt.job_id,
                attempt.attempt_id,
                attempt.uid,
                attempt.sub_state.value,
                attempt.created_ms,
                attempt.launched_ms,
                attempt.completed_ms,
                _outcome_text(attempt.outcome),
            ),
        )

    def save_task(self, task: TaskRecord) -> None:
        """Write the task attempt as it is now."""
        self._write(
            ("tasks", task.job_id, task.job_attempt_id, task.role, task.index, task.attempt_id),
            "INSERT OR REPLACE INTO tasks VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                task.job_id,
                task.job_attempt_id,
                task.role,
                task.index,
                task.attempt_id,
                task.counted_retries,
                task.pod_uid,
                task.sub_state.value,
                task.created_ms,
                task.launched_ms,
                task.completed_ms,
                json.dumps(task.ports),
                ",".join(map(str, task.gpus)),
                task.pid,
                _outcome_text(task.outcome),
            ),
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
            f"SELECT {_JOB_COLUMNS}, outcome FROM jobs WHERE user = ? AND name = ?", (user, name)
        )
        return _job_with_outcome(rows[0]) if rows else None

    def open_jobs(self) -> list[JobRecord]:
        """Return all jobs that are not over, oldest first."""
        rows = self._read(f"SELECT {_JOB_COLUMNS}, outcome FROM jobs WHERE completed_ms IS NULL ORDER BY id")
        return [_job_with_outcome(row) for row in rows]

    def jobs(self, query: JobQuery) -> tuple[list[JobRecord], int | None]:
        """Return the jobs of a query, and how many there are without paging when the query asks for it."""
        where, values = _conditions(query)
        order = _ORDER_COLUMNS.get(query.order_by, "id")
        direction = "DESC" if query.descending else "ASC"
        nulls = ""
        if query.order_by in _NULLABLE_ORDERS:
            nulls = " NULLS FIRST" if query.descending else " NULLS LAST"
        tie = "" if order == "id" else ", id DESC"
        rows = self._read(
            f"SELECT {_JOB_COLUMNS} FROM jobs{where} "
            f"ORDER BY {order} {direction}{nulls}{tie} LIMIT ? OFFSET ?",
            (*values, query.limit, query.offset),
        )
        total = None
        if query.with_total_count:
            ((total,),) = self._read(f"SELECT count(*) FROM jobs{where}", values)
        return [_job(row) for row in rows], total

    def counts_by_state(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        return dict(self._read("SELECT state, count(*) FROM jobs GROUP BY state"))

    def document(self, job_id: int) -> dict[str, Any]:
        """Return the document of a job, its secrets masked."""
        ((text,),) = self._read("SELECT document FROM documents WHERE job_id = ?", (job_id,))
        document: dict[str, Any] = json.loads(text)
        return document

    def attempts(self, job_id: int) -> list[AttemptRecord]:
        """Return the attempts of a job in order."""
        rows = self._read(
            f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE job_id = ? ORDER BY attempt_id", (job_id,)
        )
        return [_attempt(row) for row in rows]

    def tasks(self, job_id: int, job_attempt_id: int) -> list[TaskRecord]:
        """Return every task attempt of a job attempt, by role, index and attempt."""
        rows = self._read(
            f"SELECT {_TASK_COLUMNS} FROM tasks WHERE job_id = ? AND job_attempt_id = ? "
            "ORDER BY role, task_index, attempt_id",
            (job_id, job_attempt_id),
        )
        return [_task(row) for row in rows]

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


def _conditions(query: JobQuery) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []

    def any_of(column: str, choices: Iterable[str]) -> None:
        chosen = list(choices)
        if chosen:
            conditions.append(f"{column} IN ({','.join('?' * len(chosen))})")
            values.extend(chosen)

    any_of("user", query.users)
    any_of("virtual_cluster", query.virtual_clusters)
    any_of("state", query.states)
    keyword: list[str] = []
    if query.keyword is not None:
        keyword = [f"%{query.keyword}%"] * 3
    keyword_text = "(user LIKE ? OR name LIKE ? OR virtual_cluster LIKE ?)"
    if query.priorities:
        named = [priority for priority in query.priorities if priority != "default"]
        alternatives = [f"priority IN ({','.join('?' * len(named))})"] if named else []
        choices: list[str] = list(named)
        if "default" in query.priorities:
            alternatives.append("priority IS NULL")
            if keyword:  # the real server joins these two by OR (rest-api-v2 §5.2)
                alternatives.append(keyword_text)
                choices += keyword
                keyword = []
        conditions.append(f"({' OR '.join(alternatives)})")
        values.extend(choices)
    if keyword:
        conditions.append(keyword_text)
        values.extend(keyword)
    for tags, negation in ((query.tags_contain, ""), (query.tags_not_contain, "NOT ")):
        if tags:
            conditions.append(
                f"{negation}({' OR '.join(['instr(?, ?) > 0'.replace('?', _TAGS, 1)] * len(tags))})"
            )
            values.extend(f",{tag}," for tag in tags)
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


_TAGS = "',' || tags || ','"


def _outcome_text(outcome: Outcome | None) -> str | None:
    if outcome is None:
        return None
    return json.dumps({name: getattr(outcome, name) for name in _OUTCOME_FIELDS}, ensure_ascii=False)


_OUTCOME_FIELDS = tuple(Outcome.__dataclass_fields__)


def _outcome(text: str | None) -> Outcome | None:
    return None if text is None else Outcome(**json.loads(text))


def _job(row: tuple[Any, ...]) -> JobRecord:
    return JobRecord(
        id=row[0],
        user=row[1],
        name=row[2],
        sub_state=SubState(row[3]),
        stop_requested=bool(row[4]),
        virtual_cluster=row[5],
        priority=row[6],
        submitted_ms=row[7],
        created_ms=row[8],
        launched_ms=row[9],
        completed_ms=row[10],
        attempt_id=row[11],
        counted_retries=row[12],
        retry_at_ms=row[13],
        total_gpu=row[14],
        total_tasks=row[15],
        total_roles=row[16],
        tags=tuple(row[17].split(",")) if row[17] else (),
        outcome=None if row[18] is None else Outcome(exit_code=row[18]),
    )


def _job_with_outcome(row: tuple[Any, ...]) -> JobRecord:
    job = _job(row)
    job.outcome = _outcome(row[19])
    return job


def _attempt(row: tuple[Any, ...]) -> AttemptRecord:
    return AttemptRecord(
        job_id=row[0],
        attempt_id=row[1],
        uid=row[2],
        sub_state=SubState(row[3]),
        created_ms=row[4],
        launched_ms=row[5],
        completed_ms=row[6],
        outcome=_outcome(row[7]),
    )


def _task(row: tuple[Any, ...]) -> TaskRecord:
    return TaskRecord(
        job_id=row[0],
        job_attempt_id=row[1],
        role=row[2],
        index=row[3],
        attempt_id=row[4],
        counted_retries=row[5],
        pod_uid=row[6],
        sub_state=SubState(row[7]),
        created_ms=row[8],
        launched_ms=row[9],
        completed_ms=row[10],
        ports=json.loads(row[11]),
        gpus=tuple(int(number) for number in row[12].split(",") if number),
        pid=row[13],
        outcome=_outcome(row[14]),
    )
