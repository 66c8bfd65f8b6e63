# SPDX-License-Identifier: MIT
"""What happened to a job, as events: those that were written down, and those that its rows tell anyway.

That a job was queued, a task started or exited, follows from the moments in the rows of the job and of its
tasks; so it costs nothing to keep, and is there for the jobs of all times.
"""

from __future__ import annotations

from collections.abc import Iterable

from openpaisdk.local.records import EventRecord, JobRecord, Outcome, TaskRecord
from openpaisdk.spec.exit_codes import exit_spec

NORMAL, WARNING = "Normal", "Warning"


def job_history(
    job: JobRecord,
    tasks: Iterable[TaskRecord],
    written: Iterable[EventRecord],
    *,
    waits_since_ms: int,
    waits_for: str | None,
) -> list[EventRecord]:
    """Return all events of a job, newest first.

    Args:
        job: The job.
        tasks: Every attempt of its tasks, of all its attempts.
        written: Events that were written down as they happened, in order.
        waits_since_ms: When it began to wait, if it does.
        waits_for: Why it waits, ``None`` when it does not.
    """
    events: list[EventRecord] = []
    queued = f"Queued in virtual cluster {job.virtual_cluster!r}"
    events.append(_of_job(job, job.submitted_ms, NORMAL, "Queued", queued))
    for task in tasks:
        events += _of_task(job, task)
    events += written
    if waits_for is not None:
        waiting = _of_job(job, waits_since_ms, WARNING, "FailedScheduling", f"Waits: {waits_for}")
        waiting.until_now = True
        events.append(waiting)
    if job.completed_ms is not None:
        kind = NORMAL if job.outcome is not None and job.outcome.exit_code == 0 else WARNING
        text = f"The job ended as {job.state.value}: {_ending(job.outcome)}"
        events.append(_of_job(job, job.completed_ms, kind, "Completed", text))
    events.sort(key=lambda event: (event.until_now, event.at_ms))
    events.reverse()
    return events


def _of_job(job: JobRecord, at_ms: int, type_: str, reason: str, message: str) -> EventRecord:
    return EventRecord(job_id=job.id, at_ms=at_ms, type=type_, reason=reason, message=message)


def _of_task(job: JobRecord, task: TaskRecord) -> Iterable[EventRecord]:
    def event(at_ms: int, type_: str, reason: str, message: str) -> EventRecord:
        return EventRecord(
            job_id=job.id,
            at_ms=at_ms,
            type=type_,
            reason=reason,
            message=message,
            role=task.role,
            index=task.index,
            pod_uid=task.pod_uid,
        )

    name = f"attempt {task.attempt_id} of task {task.role}-{task.index}"
    if task.job_attempt_id:
        name += f" in attempt {task.job_attempt_id} of the job"
    if task.launched_ms is not None:
        yield event(task.launched_ms, NORMAL, "Started", f"Started {name}")
        if task.completed_ms is not None:
            kind = NORMAL if task.outcome is not None and task.outcome.exit_code == 0 else WARNING
            yield event(task.completed_ms, kind, "Exited", f"Ended {name}: {_ending(task.outcome)}")


def _ending(outcome: Outcome | None) -> str:
    if outcome is None:
        return "nobody knows how"
    text = f"exit code {outcome.exit_code} ({exit_spec(outcome.exit_code)['phrase']})"
    if outcome.user_exit_code not in (None, outcome.exit_code):
        text += f", the command's own is {outcome.user_exit_code}"
    return text
