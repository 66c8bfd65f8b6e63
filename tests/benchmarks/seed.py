# SPDX-License-Identifier: MIT
"""Databases full of finished jobs, written by the store itself."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import (
    AttemptRecord,
    EventRecord,
    JobRecord,
    Outcome,
    SubState,
    TaskRecord,
)

USERS = tuple(f"user{number}" for number in range(8))
CODES = (0,) * 85 + (1,) * 10 + (-210,) * 5
"""One in ten has failed, one in twenty was stopped."""
_BEGIN_MS = 1_700_000_000_000
_JOBS_PER_COMMIT = 1000


@cache
def finished_jobs(count: int) -> Path:
    """Return a database of so many finished jobs, each with its document, attempt, task and an event."""
    folder = Path(tempfile.mkdtemp(prefix="openpai-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = JobStore(str(folder / "cluster.db"))
    store._schedule_flush = lambda: None  # type: ignore[method-assign]  # many jobs in one commit
    choose = random.Random(count)
    for number in range(1, count + 1):
        _write(store, number, choose)
        if number % _JOBS_PER_COMMIT == 0:
            store.flush()
    store.close()
    return folder / "cluster.db"


def _write(store: JobStore, number: int, choose: random.Random) -> None:
    code = choose.choice(CODES)
    submitted = _BEGIN_MS + number * 10_000
    completed = submitted + choose.randrange(3_600_000)
    outcome = Outcome(exit_code=code, diagnostics="" if code == 0 else "the command ended with this code")
    job = JobRecord(
        id=number,
        user=choose.choice(USERS),
        name=f"train-{number}",
        sub_state=SubState.COMPLETED,
        submitted_ms=submitted,
        created_ms=submitted,
        launched_ms=submitted,
        completed_ms=completed,
        attempt_id=0,
        total_tasks=1,
        total_roles=1,
        outcome=outcome,
    )
    store.save_job(job)
    role = {"instances": 1, "dockerImage": "image", "commands": [f"python train.py --seed {number}"]}
    document = {"protocolVersion": 2, "name": job.name, "type": "job", "taskRoles": {"worker": role}}
    store._write(
        ("documents", number),
        "INSERT INTO documents VALUES (?, ?)",
        (number, str(document).replace("'", '"')),
    )
    times: dict[str, Any] = {"created_ms": submitted, "launched_ms": submitted, "completed_ms": completed}
    store.save_attempt(
        AttemptRecord(
            job_id=number,
            attempt_id=0,
            uid=f"attempt-{number}",
            sub_state=SubState.COMPLETED,
            outcome=outcome,
            **times,
        )
    )
    store.save_task(
        TaskRecord(
            job_id=number,
            job_attempt_id=0,
            role="worker",
            index=0,
            attempt_id=0,
            pod_uid=f"pod-{number}",
            sub_state=SubState.COMPLETED,
            outcome=outcome,
            **times,
        )
    )
    store.add_event(
        EventRecord(job_id=number, at_ms=submitted, type="Normal", reason="Queued", message="it waits")
    )
