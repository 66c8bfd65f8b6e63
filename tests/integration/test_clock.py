# SPDX-License-Identifier: MIT
"""A clock that somebody sets: moments are for people to read, what lasts has a clock of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs import lifecycle
from openpaisdk.local.jobs.machine import CONFLICT_DELAY_S
from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import AttemptRecord, JobRecord, JobState, Outcome, SubState
from tests.integration.scheduling import USER, cluster, end_of, job, run, until

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("jump_s", [-86400, 86400])
def test_a_clock_that_jumps_lets_nothing_end_before_it_began_and_nothing_hang(
    home: LocalHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    go = tmp_path / "go"
    real_time = time.time

    async def scenario() -> None:
        async with cluster(home, cpu=1) as scheduler:
            waits = f"while [ ! -e {go} ]; do sleep 0.02; done; exit 6"
            await scheduler.submit(USER, job("runs", waits, jobRetryCount=1))
            await scheduler.submit(USER, job("waits", "exit 3"))
            await until(lambda: scheduler.job(USER, "runs").state is JobState.RUNNING)
            monkeypatch.setattr(lifecycle.time, "time", lambda: real_time() + jump_s)
            go.touch()
            for name in ("runs", "waits"):
                record = await end_of(scheduler, name)
                assert record.state is JobState.FAILED
                moments = [record.submitted_ms, record.created_ms, record.launched_ms, record.completed_ms]
                assert moments == sorted(moments)
                for attempt in scheduler.attempts(record):
                    assert attempt.created_ms <= attempt.launched_ms <= attempt.completed_ms
                    for task in scheduler.tasks(record, attempt.attempt_id):
                        assert task.created_ms <= task.launched_ms <= task.completed_ms

    run(scenario)


def test_a_retry_that_was_planned_by_a_clock_far_ahead_comes_within_its_longest_delay(
    home: LocalHome,
) -> None:
    now = lifecycle.now_ms()
    record = JobRecord(
        id=0,
        user=USER,
        name="conflicts",
        sub_state=SubState.ATTEMPT_COMPLETED,
        submitted_ms=now,
        attempt_id=0,
        retry_at_ms=now + 365 * 86400 * 1000,
        outcome=Outcome(exit_code=251),
    )
    store = JobStore(home.database)
    store.insert_job(record, dict(job("conflicts", "true").document))
    attempt = AttemptRecord(
        job_id=record.id, attempt_id=0, uid="u", sub_state=SubState.COMPLETED, created_ms=now
    )
    store.save_attempt(attempt)
    store.close()

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            [live] = scheduler._lifecycle.live.values()
            assert live.timer is not None
            assert live.timer.when() - asyncio.get_running_loop().time() <= CONFLICT_DELAY_S[1]

    run(scenario)
