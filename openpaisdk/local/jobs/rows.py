# SPDX-License-Identifier: MIT
"""Rows of the database as records and back, and queries as conditions, for ``store`` and its parts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from openpaisdk.local.records import AttemptRecord, JobQuery, JobRecord, Outcome, SubState, TaskRecord

JOB_COLUMNS = (
    "id, user, name, sub_state, stop_requested, virtual_cluster, priority, submitted_ms, created_ms, "
    "launched_ms, completed_ms, attempt_id, counted_retries, retry_at_ms, total_gpu, total_tasks, "
    "total_roles, tags, exit_code"
)
ATTEMPT_COLUMNS = "job_id, attempt_id, uid, sub_state, created_ms, launched_ms, completed_ms, outcome"
TASK_COLUMNS = (
    "job_id, job_attempt_id, role, task_index, attempt_id, counted_retries, pod_uid, sub_state, created_ms, "
    "launched_ms, completed_ms, ports, gpus, pid, outcome"
)

# What a job keeps for ever is left alone, and so are the indexes of it: a row replaced is one more in each.
_JOB_CHANGES = (
    "(sub_state, state, stop_requested, created_ms, launched_ms, completed_ms, attempt_id, counted_retries, "
    "retry_at_ms, tags, exit_code, outcome)"
)
JOB_STATEMENT = (
    f"INSERT INTO jobs VALUES ({','.join('?' * 21)}) ON CONFLICT (id) DO UPDATE "
    f"SET {_JOB_CHANGES} = {_JOB_CHANGES.replace('(', '(excluded.').replace(', ', ', excluded.')}"
)


def job_values(job: JobRecord) -> tuple[Any, ...]:
    """Return the row of a job, with all its columns."""
    outcome = job.outcome
    return (
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
    )


def attempt_values(attempt: AttemptRecord) -> tuple[Any, ...]:
    """Return the row of an attempt, with all its columns."""
    return (
        attempt.job_id,
        attempt.attempt_id,
        attempt.uid,
        attempt.sub_state.value,
        attempt.created_ms,
        attempt.launched_ms,
        attempt.completed_ms,
        _outcome_text(attempt.outcome),
    )


def task_values(task: TaskRecord) -> tuple[Any, ...]:
    """Return the row of a task attempt, with all its columns."""
    return (
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
    )


def conditions_of(query: JobQuery) -> tuple[str, list[Any]]:
    """Return the WHERE clause of a query, empty when it has no condition, and its values."""
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
    return json.dumps({name: getattr(outcome, name) for name in _OUTCOME_FIELDS})


_OUTCOME_FIELDS = tuple(Outcome.__dataclass_fields__)


def _outcome(text: str | None) -> Outcome | None:
    return None if text is None else Outcome(**json.loads(text))


def job_of(row: tuple[Any, ...]) -> JobRecord:
    """Return the job in a row of JOB_COLUMNS, with no more of its outcome than the code."""
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


def job_with_outcome_of(row: tuple[Any, ...]) -> JobRecord:
    """Return the job in a row of JOB_COLUMNS and the outcome."""
    job = job_of(row)
    job.outcome = _outcome(row[19])
    return job


def attempt_of(row: tuple[Any, ...]) -> AttemptRecord:
    """Return the attempt in a row."""
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


def task_of(row: tuple[Any, ...]) -> TaskRecord:
    """Return the task attempt in a row."""
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
