# SPDX-License-Identifier: MIT
"""A task is held to the memory and the CPUs that it asked for, by whatever the machine offers for that."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.executors.groups import CGROUP_VARIABLE, GroupRoot
from openpaisdk.local.jobs.executors.processes import is_alive
from openpaisdk.local.jobs.scheduler import Scheduler
from openpaisdk.local.records import JobRecord, JobState
from openpaisdk.spec.exit_codes import exit_spec
from openpaisdk.spec.model import JobSpec
from tests.integration.scheduling import (
    USER,
    can_make_groups,
    cluster,
    end_of,
    job,
    log_of,
    role,
    run,
    stdout_of,
    until,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's"),
]

TAKES_200_MB = "x = bytearray(200 << 20)"
HOLDS_200_MB = TAKES_200_MB + "; import time; time.sleep(3600)"
"""Until somebody looks: who looks from time to time does not see what is given back at once."""
LIMIT_MB = 64


@pytest.fixture(params=["groups", "looking"], autouse=True)
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with control groups, where the machine allows them, and without."""
    if request.param == "looking":
        monkeypatch.setenv(CGROUP_VARIABLE, "0")


def limited(*commands: str, memory_mb: int = LIMIT_MB, **fields: object) -> JobSpec:
    return job("j", roles={"main": role(list(commands), resources={"memoryMB": memory_mb})}, **fields)


def assert_killed_for_memory(scheduler: Scheduler, record: JobRecord) -> None:
    outcome = record.outcome
    assert outcome is not None
    assert (record.state, outcome.exit_code, record.retries) == (JobState.FAILED, -1200, 0), (
        outcome,
        log_of(scheduler, record, "stderr"),
    )
    assert exit_spec(outcome.exit_code)["phrase"] == "UserContainerDockerOOMKilled"
    assert outcome.user_exit_code is None
    assert "OOMKilled" in outcome.diagnostics
    [event] = [event for event in scheduler.events(record, "Warning") if event.reason == "OOMKilled"]
    assert f"it asked for {LIMIT_MB} MB" in event.message
    assert event.message in log_of(scheduler, record, "runtime.log")


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(HOLDS_200_MB, id="at once"),
        pytest.param(
            "import time\nkept = []\nwhile True: kept.append(bytearray(1 << 20)); time.sleep(0.002)",
            id="little by little",
        ),
        pytest.param(
            "import mmap, time\nm = mmap.mmap(-1, 200 << 20)\n"
            "for i in range(0, 200 << 20, 4096): m[i] = 1\ntime.sleep(3600)",
            id="shared memory",
        ),
        pytest.param(
            "import os, time\nfor _ in range(5): os.fork()\nkept = bytearray(8 << 20)\ntime.sleep(3600)",
            id="many processes together",
        ),
    ],
)
def test_a_task_over_its_memory_is_killed_and_never_tried_again(home: LocalHome, program: str) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            spec = limited("echo before", "sleep 0.1", f"python3 -c '{program}'", jobRetryCount=3)
            await scheduler.submit(USER, spec)
            record = await end_of(scheduler, "j")
            assert_killed_for_memory(scheduler, record)
            assert log_of(scheduler, record) == "before\n"

    run(scenario)


def test_all_of_a_task_is_killed_not_the_largest_process_only(home: LocalHome, tmp_path: Path) -> None:
    notes = tmp_path / "pids"
    bystander = f"setsid sh -c 'echo $$ >{notes}; exec sleep 3600' &"

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(
                USER,
                limited(
                    bystander,
                    "sleep 0.1",
                    f"python3 -c '{HOLDS_200_MB}' || :",
                    "echo on; sleep 3600",
                ),
            )
            record = await end_of(scheduler, "j")
            assert_killed_for_memory(scheduler, record)
            assert not is_alive(int(notes.read_text()))

    run(scenario)


def test_what_is_within_the_request_runs_on(home: LocalHome) -> None:
    """Pages of files, and what processes share, count once or not at all."""
    program = (
        "import os, time\nkept = bytearray(30 << 20)\nfor _ in range(2): os.fork()\n"
        "file = open(f'file{os.getpid()}', 'wb')\n"
        "for _ in range(50): file.write(bytes(1 << 20))\ntime.sleep(0.5)"
    )

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, limited(f'python3 -c "{program}"'))
            assert (await end_of(scheduler, "j")).state is JobState.SUCCEEDED

    run(scenario)


def test_the_next_server_holds_a_task_to_its_memory_too(home: LocalHome, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    commands = ["echo begin", f"while [ ! -e {gate} ]; do sleep 0.02; done"]

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            await scheduler.submit(USER, limited(*commands, f"python3 -c '{HOLDS_200_MB}'"))
            await until(lambda: stdout_of(scheduler, "j") == "begin\n")

    async def second() -> None:
        async with cluster(home) as scheduler:
            gate.touch()
            assert_killed_for_memory(scheduler, await end_of(scheduler, "j"))

    run(first)
    run(second)


@pytest.mark.parametrize("means", ["groups"], indirect=True)
def test_a_kill_that_no_server_saw_is_told_by_the_next(home: LocalHome, tmp_path: Path) -> None:
    if not can_make_groups(home):
        pytest.skip("without control groups nothing holds a task while no server runs")
    gate = tmp_path / "gate"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            waits = f"while [ ! -e {gate} ]; do sleep 0.02; done"
            await scheduler.submit(USER, limited("echo begin", waits, f"python3 -c '{TAKES_200_MB}'"))
            await until(lambda: bool(own_groups(home)))
            await until(lambda: stdout_of(scheduler, "j") == "begin\n")

    async def second() -> None:
        gate.touch()
        await until(lambda: any(note.read_text().strip() for note in Path(home.tasks).glob("*/exit")))
        async with cluster(home) as scheduler:
            assert_killed_for_memory(scheduler, await end_of(scheduler, "j"))
        assert own_groups(home) == []

    run(first)
    run(second)


def test_no_control_group_is_left(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, limited("sleep 0.2"))
            await end_of(scheduler, "j")

    run(scenario)
    assert own_groups(home) == []
    assert not os.path.exists(home.groups_file)


def own_groups(home: LocalHome) -> list[str]:
    return [group.name for group in GroupRoot(home.folder, home.groups_file).left()]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU is everybody's")
def test_tasks_do_not_share_cpus_while_there_are_enough(home: LocalHome, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    program = "import os; print(sorted(os.sched_getaffinity(0)), flush=True)"
    commands = [f"python3 -c '{program}'", f"while [ ! -e {gate} ]; do sleep 0.02; done"]

    async def scenario() -> None:
        async with cluster(home, cpu=8) as scheduler:
            await scheduler.submit(USER, job("two", roles={"main": role(commands, instances=2)}))
            await until(lambda: scheduler.running_tasks == 2)
            record = scheduler.job(USER, "two")
            assert record is not None
            await until(lambda: all("]\n" in log_of(scheduler, record, index=index) for index in (0, 1)))
            seen = [ast.literal_eval(log_of(scheduler, record, index=index)) for index in (0, 1)]
            assert [len(cpus) for cpus in seen] == [1, 1]
            assert seen[0] != seen[1]
            every = {"cpu": len(os.sched_getaffinity(0))}
            await scheduler.submit(USER, job("all", roles={"main": role(commands[:1], resources=every)}))
            whole = await end_of(scheduler, "all")
            assert ast.literal_eval(log_of(scheduler, whole)) == sorted(os.sched_getaffinity(0))
            gate.touch()
            await end_of(scheduler, "two")

    run(scenario)
