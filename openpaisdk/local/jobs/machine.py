# SPDX-License-Identifier: MIT
"""What happens next to a job: ``step(state, event)`` returns the new state and what to do, and does
nothing itself.

Completion and retries follow runtime-environment §7 and §8 to the letter; there is no clock, no process
and no file here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from openpaisdk.local.records import COMPLETION_CODE, PREEMPTED_CODE, STOP_CODE
from openpaisdk.spec.exit_codes import behavior

TaskKey: TypeAlias = tuple[str, int]
"""Converted role name and index."""

NEVER_RETRIED = (STOP_CODE, COMPLETION_CODE, -230)
CONFLICT_DELAY_S = (60, 900)
"""A retry after a conflict over resources waits a random time between these (runtime-environment §7)."""


class Phase(Enum):
    """Where a job, or a task of its attempt, stands."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDING = "ending"
    """The outcome is known; what still runs is being ended."""
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePolicy:
    """When a role makes its job fail or succeed; -1 switches a condition off."""

    instances: int
    min_failed: int
    min_succeeded: int
    task_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a job's document says about its completion and retries."""

    roles: Mapping[str, RolePolicy]
    job_retries: int = 0
    gang: bool = True

    def task_keys(self) -> list[TaskKey]:
        """Return all tasks, in the order of the document."""
        return [(role, index) for role, policy in self.roles.items() for index in range(policy.instances)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """One task of the current attempt."""

    phase: Phase = Phase.QUEUED
    attempt_id: int = 0
    counted_retries: int = 0
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why an attempt of a job is over."""

    exit_code: int
    message: str
    role: str | None = None
    index: int | None = None

    @property
    def by_user(self) -> bool:
        return self.exit_code == STOP_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job as far as decisions need it."""

    policy: Policy
    phase: Phase = Phase.QUEUED
    attempt_id: int | None = None
    counted_retries: int = 0
    stop_requested: bool = False
    ending: Ending | None = None
    tasks: Mapping[TaskKey, TaskStatus] = field(default_factory=dict)

    def waiting_tasks(self) -> list[TaskKey]:
        """Return the tasks that wait for resources: all of them, before the attempt has begun."""
        if self.phase is Phase.QUEUED:
            return self.policy.task_keys()
        if self.phase is not Phase.RUNNING:
            return []
        return [key for key, task in self.tasks.items() if task.phase is Phase.QUEUED]


# --- events ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Admitted:
    """There are resources for these tasks; without keys, for all of the job."""

    keys: tuple[TaskKey, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task is over, with the code after the mapping of runtime-environment §6."""

    key: TaskKey
    exit_code: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The user asks to stop the job."""


@dataclass(frozen=True, slots=True)
class Preempted:
    """The attempt has to make room for a job of higher priority."""


Event: TypeAlias = Admitted | TaskEnded | StopRequested | Preempted


# --- actions -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class BeginAttempt:
    """A new attempt of the job begins, with all tasks waiting."""

    attempt_id: int


@dataclass(frozen=True, slots=True)
class StartTask:
    """Start this attempt of the task."""

    key: TaskKey
    attempt_id: int


@dataclass(frozen=True, slots=True)
class RetryTask:
    """The task's attempt is over and another one follows, once there are resources."""

    key: TaskKey
    attempt_id: int


@dataclass(frozen=True, slots=True)
class KillTask:
    """End this running task, which then counts as ended with this code."""

    key: TaskKey
    exit_code: int = COMPLETION_CODE


@dataclass(frozen=True, slots=True)
class CompleteTask:
    """The task is over for good, with this code."""

    key: TaskKey
    exit_code: int


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """The outcome of the attempt is known; tasks may still be ending."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class CompleteAttempt:
    """The attempt is over, all its tasks included."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class RetryJob:
    """Queue the job for another attempt, after a random wait between these seconds."""

    counted: bool
    delay_s: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class CompleteJob:
    """The job is over for good."""

    ending: Ending


Action: TypeAlias = (
    BeginAttempt
    | StartTask
    | RetryTask
    | KillTask
    | CompleteTask
    | EndAttempt
    | CompleteAttempt
    | RetryJob
    | CompleteJob
)


def step(job: JobStatus, event: Event) -> tuple[JobStatus, list[Action]]:
    """Return the job after the event, and what to do about it, in order. An event that comes too late
    changes nothing.
    """
    if isinstance(event, TaskEnded):
        return _task_ended(job, event)
    if isinstance(event, Admitted):
        return _admitted(job, event)
    if isinstance(event, Preempted):
        return _preempted(job)
    return _stop_requested(job)


@dataclass(frozen=True, slots=True)
class _Retry:
    wanted: bool
    counted: bool = False
    delay_s: tuple[int, int] = (0, 0)


_NO_RETRY = _Retry(False)


def retry_decision(exit_code: int, *, counted: int, limit: int, fancy: bool) -> _Retry:
    """Return whether a completed attempt is tried again (runtime-environment §7, first match)."""
    if exit_code in NEVER_RETRIED:
        return _NO_RETRY
    if fancy and exit_code != 0:
        kind = behavior(exit_code)
        if kind == "TRANSIENT_CONFLICT":
            return _Retry(True, delay_s=CONFLICT_DELAY_S)
        if kind == "TRANSIENT":
            return _Retry(True)
        if kind == "PERMANENT":
            return _NO_RETRY
    if exit_code != 0 and counted < limit:
        return _Retry(True, counted=True)
    return _NO_RETRY


def _admitted(job: JobStatus, event: Admitted) -> tuple[JobStatus, list[Action]]:
    if job.phase not in (Phase.QUEUED, Phase.RUNNING):
        return job, []
    actions: list[Action] = []
    if job.phase is Phase.QUEUED:
        attempt_id = 0 if job.attempt_id is None else job.attempt_id + 1
        tasks = {key: TaskStatus() for key in job.policy.task_keys()}
        job = replace(job, phase=Phase.RUNNING, attempt_id=attempt_id, tasks=tasks, ending=None)
        actions.append(BeginAttempt(attempt_id))
    changed = dict(job.tasks)
    for key in event.keys or tuple(changed):
        task = changed[key]
        if task.phase is Phase.QUEUED:
            changed[key] = replace(task, phase=Phase.RUNNING)
            actions.append(StartTask(key, task.attempt_id))
    return replace(job, tasks=changed), actions


def _task_ended(job: JobStatus, event: TaskEnded) -> tuple[JobStatus, list[Action]]:
    task = job.tasks.get(event.key)
    if task is None or task.phase in (Phase.QUEUED, Phase.DONE):
        return job, []
    if job.phase is Phase.RUNNING:
        role = job.policy.roles[event.key[0]]
        retry = retry_decision(
            event.exit_code,
            counted=task.counted_retries,
            limit=0 if job.policy.gang else role.task_retries,
            fancy=not job.policy.gang,
        )
        if retry.wanted:
            again = TaskStatus(
                attempt_id=task.attempt_id + 1, counted_retries=task.counted_retries + int(retry.counted)
            )
            return _with_task(job, event.key, again), [RetryTask(event.key, again.attempt_id)]
    job = _with_task(job, event.key, replace(task, phase=Phase.DONE, exit_code=event.exit_code))
    actions: list[Action] = [CompleteTask(event.key, event.exit_code)]
    if job.phase is Phase.RUNNING:
        ending = _ending_after(job, event.key)
        if ending is None:
            return job, actions
        job, more = _end_attempt(job, ending)
        return job, actions + more
    if all(task.phase is Phase.DONE for task in job.tasks.values()):
        job, more = _attempt_over(job)
        actions += more
    return job, actions


def _ending_after(job: JobStatus, key: TaskKey) -> Ending | None:
    """Return the outcome of the attempt when the task that has just ended decides it
    (runtime-environment §8).
    """
    role, index = key
    policy = job.policy.roles[role]
    failed, succeeded = _counts(task for (name, _), task in job.tasks.items() if name == role)
    code = job.tasks[key].exit_code or 0
    if code != 0 and 1 <= policy.min_failed <= failed:
        message = (
            f"FailedTaskCount {failed} has reached MinFailedTaskCount {policy.min_failed} in the TaskRole"
        )
        return Ending(exit_code=code, message=message, role=role, index=index)
    if code == 0 and 1 <= policy.min_succeeded <= succeeded:
        message = (
            f"SucceededTaskCount {succeeded} has reached "
            f"MinSucceededTaskCount {policy.min_succeeded} in the TaskRole"
        )
        return Ending(exit_code=0, message=message, role=role, index=index)
    if all(task.phase is Phase.DONE for task in job.tasks.values()):
        total = len(job.tasks)
        message = (
            f"CompletedTaskCount {total} has reached TotalTaskCount {total} and no user specified "
            "conditions in FrameworkAttemptCompletionPolicy have ever been triggered"
        )
        return Ending(exit_code=0, message=message, role=role, index=index)
    return None


def _counts(tasks: Iterable[TaskStatus]) -> tuple[int, int]:
    failed = succeeded = 0
    for task in tasks:
        if task.phase is Phase.DONE:
            if task.exit_code == 0:
                succeeded += 1
            else:
                failed += 1
    return failed, succeeded


def _end_attempt(
    job: JobStatus, ending: Ending, kill_code: int = COMPLETION_CODE
) -> tuple[JobStatus, list[Action]]:
    """Begin to end what still runs; tasks that never started are over at once."""
    actions: list[Action] = [EndAttempt(ending)]
    tasks = dict(job.tasks)
    for key, task in job.tasks.items():
        if task.phase is Phase.QUEUED:
            tasks[key] = replace(task, phase=Phase.DONE, exit_code=COMPLETION_CODE)
            actions.append(CompleteTask(key, COMPLETION_CODE))
        elif task.phase is Phase.RUNNING:
            tasks[key] = replace(task, phase=Phase.ENDING)
            actions.append(KillTask(key, kill_code))
    job = replace(job, phase=Phase.ENDING, ending=ending, tasks=tasks)
    if any(task.phase is Phase.ENDING for task in tasks.values()):
        return job, actions
    job, more = _attempt_over(job)
    return job, actions + more


def _attempt_over(job: JobStatus) -> tuple[JobStatus, list[Action]]:
    """Decide about another attempt, all tasks being over."""
    ending = job.ending
    if ending is None:
        raise ValueError("an attempt without an outcome cannot be over")
    actions: list[Action] = [CompleteAttempt(ending)]
    retry = retry_decision(
        ending.exit_code, counted=job.counted_retries, limit=job.policy.job_retries, fancy=True
    )
    if retry.wanted and job.stop_requested:
        ending = user_stop()
    elif retry.wanted:
        job = replace(
            job, phase=Phase.QUEUED, counted_retries=job.counted_retries + int(retry.counted), tasks={}
        )
        return job, [*actions, RetryJob(retry.counted, retry.delay_s)]
    return replace(job, phase=Phase.DONE, ending=ending), [*actions, CompleteJob(ending)]


def _stop_requested(job: JobStatus) -> tuple[JobStatus, list[Action]]:
    job = replace(job, stop_requested=True)
    if job.phase is Phase.QUEUED:
        return replace(job, phase=Phase.DONE, ending=user_stop()), [CompleteJob(user_stop())]
    if job.phase is Phase.RUNNING:
        return _end_attempt(job, user_stop())
    return job, []


def _preempted(job: JobStatus) -> tuple[JobStatus, list[Action]]:
    if job.phase is not Phase.RUNNING:
        return job, []
    ending = Ending(exit_code=PREEMPTED_CODE, message="Preempted to make room for a job of higher priority")
    return _end_attempt(job, ending, PREEMPTED_CODE)


def user_stop() -> Ending:
    """Return the outcome of a job that its user stopped (runtime-environment §9)."""
    return Ending(exit_code=STOP_CODE, message="User has requested to stop the Framework")


def _with_task(job: JobStatus, key: TaskKey, task: TaskStatus) -> JobStatus:
    return replace(job, tasks={**job.tasks, key: task})
