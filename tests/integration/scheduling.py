# SPDX-License-Identifier: MIT
"""The scheduler in this process, with real task processes, for tests that look inside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.executors.groups import GroupRoot
from openpaisdk.local.jobs.executors.process import ProcessExecutor
from openpaisdk.local.jobs.scheduler import Scheduler
from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import JobRecord, Machine
from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.model import JobSpec

USER = "alice"


def role(commands: list[str], instances: int = 1, **fields: Any) -> dict[str, Any]:
    resources = {"cpu": 1, "memoryMB": 10, "gpu": 0, **fields.pop("resources", {})}
    return {
        "instances": instances,
        "dockerImage": "img",
        "resourcePerInstance": resources,
        "commands": commands,
        **fields,
    }


def job(name: str, *commands: str, roles: dict[str, Any] | None = None, **fields: Any) -> JobSpec:
    return job_spec_from_document(
        {
            "protocolVersion": 2,
            "name": name,
            "type": "job",
            "prerequisites": [{"type": "dockerimage", "name": "img", "uri": "python:3.11"}],
            "taskRoles": roles or {"main": role(list(commands))},
            **fields,
        }
    )


@asynccontextmanager
async def cluster(home: LocalHome, mode: str = "kill", **machine: Any) -> AsyncIterator[Scheduler]:
    loop = asyncio.get_running_loop()
    what = Machine(**{"cpu": 2, "memory_mb": 1000, **machine})
    scheduler = Scheduler(home, JobStore(home.database), ProcessExecutor(home, loop), what)
    await scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.close(mode)


async def end_of(scheduler: Scheduler, name: str) -> JobRecord:
    [record] = await scheduler.wait([(USER, name)], timeout_s=30)
    assert record.state.is_final, f"{name} is still {record.state}"
    return record


def log_of(scheduler: Scheduler, record: JobRecord, name: str = "stdout", index: int = 0) -> str:
    task = scheduler.tasks(record, record.attempt_id or 0)[index]
    log = scheduler.log(task)
    assert log is not None
    return log.read(name, 0, 100_000).decode()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def stdout_of(scheduler: Scheduler, name: str) -> str:
    """Return what the first task of a job has printed, nothing before there is one."""
    record = scheduler.job(USER, name)
    if record is None or not scheduler.tasks(record, 0):
        return ""
    log = scheduler.log(scheduler.tasks(record, 0)[0])
    return log.read("stdout", 0, 1000).decode() if log else ""


def can_make_groups(home: LocalHome) -> bool:
    """Return whether control groups can be made on this machine."""
    root = GroupRoot(home.folder, home.groups_file)
    group = root.make("probe", 1 << 30)
    if group is None:
        return False
    group.remove()
    root.close()
    return True
