# SPDX-License-Identifier: MIT
"""Completion and retries follow runtime-environment §7 and §8."""

from __future__ import annotations

import pytest

from openpaisdk.local.jobs.machine import (
    CONFLICT_DELAY_S,
    Action,
    Admitted,
    BeginAttempt,
    CompleteAttempt,
    CompleteJob,
    CompleteTask,
    EndAttempt,
    JobStatus,
    KillTask,
    Phase,
    Policy,
    RetryJob,
    RetryTask,
    RolePolicy,
    StartTask,
    StopRequested,
    TaskEnded,
    step,
)


def job_of(roles: dict[str, tuple[int, int | None, int | None]], **policy: object) -> JobStatus:
    """A job whose roles are name -> (instances, min failed, min succeeded), ``None`` being the default."""
    return JobStatus(
        policy=Policy(
            roles={
                name: RolePolicy(
                    instances=count,
                    min_failed=1 if failed is None else failed,
                    min_succeeded=count if succeeded is None else succeeded,
                    task_retries=int(policy.pop("task_retries", 0)) if "task_retries" in policy else 0,
                )
                for name, (count, failed, succeeded) in roles.items()
            },
            **policy,  # type: ignore[arg-type]
        )
    )


def run(job: JobStatus, *events: object) -> tuple[JobStatus, list[Action]]:
    """Apply events; the actions of the last one are returned."""
    actions: list[Action] = []
    for event in events:
        job, actions = step(job, event)  # type: ignore[arg-type]
    return job, actions


def ended(role: str, index: int, code: int) -> TaskEnded:
    return TaskEnded((role, index), code)


def outcome(job: JobStatus) -> int | None:
    return job.ending.exit_code if job.phase is Phase.DONE and job.ending else None


def finish_killed(job: JobStatus) -> JobStatus:
    for key, task in list(job.tasks.items()):
        if task.phase is Phase.ENDING:
            job, _ = step(job, TaskEnded(key, -220))
    return job


def test_admission_begins_the_attempt_and_starts_every_task() -> None:
    job, actions = run(job_of({"w": (2, None, None)}), Admitted())
    assert actions == [BeginAttempt(0), StartTask(("w", 0), 0), StartTask(("w", 1), 0)]
    assert job.phase is Phase.RUNNING


def test_step_does_not_change_the_state_it_is_given() -> None:
    before = job_of({"w": (1, None, None)})
    step(before, Admitted())
    assert before.phase is Phase.QUEUED
    assert not before.tasks


@pytest.mark.parametrize(
    ("roles", "events", "code"),
    [
        pytest.param({"w": (3, None, None)}, [ended("w", 1, 255)], 255, id="one-failure-fails-the-job"),
        pytest.param(
            {"w": (3, None, None)}, [ended("w", i, 0) for i in range(3)], 0, id="all-succeed-is-success"
        ),
        pytest.param(
            {"w": (3, -1, -1)},
            [ended("w", i, 255) for i in range(3)],
            0,
            id="no-conditions-is-success-rule-4",
        ),
        pytest.param(
            {"w": (3, -1, None)},
            [ended("w", 0, 255), ended("w", 1, 0), ended("w", 2, 0)],
            0,
            id="failures-ignored-is-success-after-all-end",
        ),
        pytest.param(
            {"w": (3, 2, None)},
            [ended("w", 0, 255), ended("w", 1, 0), ended("w", 2, 0)],
            0,
            id="fewer-failures-than-min-failed-is-success",
        ),
        pytest.param(
            {"w": (3, 2, None)}, [ended("w", 0, 9), ended("w", 1, 8)], 8, id="code-of-the-nth-failure"
        ),
        pytest.param({"w": (3, None, 1)}, [ended("w", 2, 0)], 0, id="first-success-is-enough"),
        pytest.param(
            {"a": (1, None, None), "b": (1, None, None)},
            [ended("a", 0, 0)],
            0,
            id="one-role-that-succeeds-is-enough",
        ),
        pytest.param(
            {"a": (1, None, -1), "b": (1, None, -1)},
            [ended("a", 0, 0), ended("b", 0, 0)],
            0,
            id="switched-off-success-waits-for-all",
        ),
    ],
)
def test_completion_policy(
    roles: dict[str, tuple[int, int | None, int | None]], events: list[TaskEnded], code: int
) -> None:
    job, _ = run(job_of(roles), Admitted(), *events)
    assert outcome(finish_killed(job)) == code


def test_switched_off_success_does_not_end_the_job_early() -> None:
    job, actions = run(job_of({"a": (1, None, -1), "b": (1, None, -1)}), Admitted(), ended("a", 0, 0))
    assert job.phase is Phase.RUNNING
    assert actions == [CompleteTask(("a", 0), 0)]


def test_tasks_left_over_are_killed_and_the_attempt_ends_with_the_last_of_them() -> None:
    job, actions = run(job_of({"a": (1, None, None), "b": (1, None, None)}), Admitted(), ended("a", 0, 0))
    assert [type(action) for action in actions] == [CompleteTask, EndAttempt, KillTask]
    job, actions = step(job, ended("b", 0, -220))
    assert [type(action) for action in actions] == [CompleteTask, CompleteAttempt, CompleteJob]


def test_the_trigger_is_told() -> None:
    job, _ = run(job_of({"ps": (1, None, None), "w": (2, None, None)}), Admitted(), ended("w", 1, 255))
    assert job.ending is not None
    assert (job.ending.role, job.ending.index) == ("w", 1)
    assert job.ending.message == "FailedTaskCount 1 has reached MinFailedTaskCount 1 in the TaskRole"


@pytest.mark.parametrize(
    ("code", "retried", "counted"),
    [
        pytest.param(255, True, True, id="unknown-counts"),
        pytest.param(137, True, False, id="transient-does-not-count"),
        pytest.param(232, False, False, id="permanent-is-final"),
        pytest.param(0, False, False, id="success-is-final"),
    ],
)
def test_job_retry_by_kind_of_failure(code: int, retried: bool, counted: bool) -> None:
    job, actions = run(job_of({"w": (1, None, None)}, job_retries=3), Admitted(), ended("w", 0, code))
    assert (job.phase is Phase.QUEUED) is retried
    assert job.counted_retries == int(counted)
    assert (RetryJob(counted) in actions) is retried


def test_retries_end_when_they_are_used_up() -> None:
    job = job_of({"w": (1, None, None)}, job_retries=1)
    job, _ = run(job, Admitted(), ended("w", 0, 255), Admitted(), ended("w", 0, 255))
    assert outcome(job) == 255
    assert (job.attempt_id, job.counted_retries) == (1, 1)


def test_a_conflict_over_resources_waits_before_the_next_attempt() -> None:
    _, actions = run(job_of({"w": (1, None, None)}), Admitted(), ended("w", 0, 251))
    assert RetryJob(False, CONFLICT_DELAY_S) in actions


def test_with_a_gang_a_task_is_never_retried_alone() -> None:
    job, _ = run(job_of({"w": (2, None, None)}, task_retries=5), Admitted(), ended("w", 0, 255))
    assert job.phase is Phase.ENDING


def test_without_a_gang_a_task_is_retried_alone() -> None:
    job = job_of({"w": (2, None, None)}, gang=False, task_retries=1)
    job, actions = run(job, Admitted((("w", 0), ("w", 1))), ended("w", 0, 255))
    assert actions == [RetryTask(("w", 0), 1)]
    assert job.waiting_tasks() == [("w", 0)]
    job, actions = run(job, Admitted((("w", 0),)))
    assert actions == [StartTask(("w", 0), 1)]
    job, _ = run(job, ended("w", 0, 255))
    assert outcome(finish_killed(job)) == 255


def test_stopping_a_waiting_job_ends_it_at_once() -> None:
    job, actions = run(job_of({"w": (1, None, None)}), StopRequested())
    assert outcome(job) == -210
    assert [type(action) for action in actions] == [CompleteJob]


def test_stopping_a_running_job_kills_its_tasks_and_is_not_retried() -> None:
    job, actions = run(job_of({"w": (2, None, None)}, job_retries=9), Admitted(), StopRequested())
    assert KillTask(("w", 0)) in actions
    assert outcome(finish_killed(job)) == -210


def test_a_stop_after_the_outcome_is_known_changes_nothing() -> None:
    job, actions = run(
        job_of({"a": (1, None, None), "b": (1, None, None)}), Admitted(), ended("a", 0, 0), StopRequested()
    )
    assert actions == []
    assert outcome(finish_killed(job)) == 0


def test_a_stop_while_a_failed_attempt_ends_keeps_it_from_being_retried() -> None:
    job, _ = run(
        job_of({"w": (2, None, None)}, job_retries=3), Admitted(), ended("w", 0, 255), StopRequested()
    )
    assert outcome(finish_killed(job)) == -210


def test_an_end_that_is_told_twice_counts_once() -> None:
    job, _ = run(job_of({"w": (2, -1, None)}), Admitted(), ended("w", 0, 1))
    assert step(job, ended("w", 0, 1)) == (job, [])


def test_tasks_that_never_started_are_over_when_the_attempt_ends() -> None:
    job = job_of({"w": (2, None, None)}, gang=False)
    job, actions = run(job, Admitted((("w", 0),)), ended("w", 0, 232))
    assert CompleteTask(("w", 1), -220) in actions
    assert outcome(job) == 232
