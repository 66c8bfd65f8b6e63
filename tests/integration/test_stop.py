# SPDX-License-Identifier: MIT
"""Nothing of a task is left when it is over, whatever its processes did and whoever saw its end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs import lifecycle
from openpaisdk.local.jobs.executors import groups
from openpaisdk.local.jobs.executors.groups import CGROUP_VARIABLE
from openpaisdk.local.jobs.executors.processes import is_alive
from openpaisdk.local.jobs.scheduler import Scheduler
from openpaisdk.local.records import JobState
from tests.integration.scheduling import (
    USER,
    can_make_groups,
    cluster,
    end_of,
    job,
    role,
    run,
    stdout_of,
    until,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only a task's process group is known"),
]

FORKS_TWICE = (
    "python3 -c 'import os, sys, time\n"
    "if os.fork(): sys.exit()\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    'os.chdir("/")\n'
    "os.closerange(0, 100)\n"
    "os.environ.clear()\n"
    'open("{0}", "a").write(f"{{os.getpid()}}\\n")\n'
    "time.sleep(3600)'"
)
LIVES_ON = "echo $$ >>{0}; exec sleep 3600"
ESCAPES = {
    "another session": f"setsid sh -c '{LIVES_ON}' &",
    "a daemon": FORKS_TWICE,
    "nohup": f"nohup sh -c '{LIVES_ON}' </dev/null >/dev/null 2>&1 &",
    "no variables": f"env -i /usr/bin/setsid /bin/sh -c '{LIVES_ON}' </dev/null >/dev/null 2>&1 &",
    "deaf to SIGTERM": f"setsid sh -c 'trap \"\" TERM HUP; {LIVES_ON}' >/dev/null 2>&1 &",
    "stopped": "setsid sh -c 'echo $$ >>{0}; kill -STOP $$' >/dev/null 2>&1 &",
    "a tree": f"(setsid sh -c 'setsid sh -c \"{LIVES_ON}\" & {LIVES_ON}' &) >/dev/null 2>&1",
}
WRITES = {"a tree": 2}
KEEPS_OUTPUT_OPEN = "another session"


@pytest.fixture(params=["groups", "marks"], autouse=True)
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with control groups, where the machine allows them, and without."""
    monkeypatch.setattr(lifecycle, "GRACE_S", 0.3)
    if request.param == "marks":
        monkeypatch.setenv(CGROUP_VARIABLE, "0")


def written(notes: Path, count: int = 1) -> bool:
    return notes.exists() and notes.read_text().count("\n") == count


def alive(notes: Path) -> list[int]:
    return [int(line) for line in notes.read_text().split() if is_alive(int(line))]


async def stop(scheduler: Scheduler, name: str) -> None:
    record = scheduler.job(USER, name)
    assert record is not None
    scheduler.stop(record)
    assert (await end_of(scheduler, name)).state is JobState.STOPPED


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_stop_ends_all_processes(home: LocalHome, tmp_path: Path, escape: str) -> None:
    notes = tmp_path / "pids"

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", ESCAPES[escape].format(notes), "sleep 3600"))
            await until(lambda: written(notes, WRITES.get(escape, 1)))
            await stop(scheduler, "j")
            assert alive(notes) == []

    run(scenario)


SAVES = (
    "import os, signal, time\n"
    "def save(*_):\n"
    "    time.sleep(0.2)\n"
    "    open('{0}', 'w').close()\n"
    "    raise SystemExit\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "print('ready', flush=True)\n"
    "time.sleep(3600)"
)


def test_a_stopped_program_has_time_to_save_its_work(
    home: LocalHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "GRACE_S", 30)
    saved = tmp_path / "saved"

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", f'python3 -c "{SAVES.format(saved)}"'))
            await until(lambda: stdout_of(scheduler, "j") == "ready\n")
            await stop(scheduler, "j")
            assert saved.exists()

    run(scenario)


@pytest.mark.parametrize("escape", ESCAPES.keys() - {KEEPS_OUTPUT_OPEN})
def test_a_command_that_ends_leaves_no_process_behind(home: LocalHome, tmp_path: Path, escape: str) -> None:
    notes = tmp_path / "pids"
    count = WRITES.get(escape, 1)
    waits = f"while [ $(cat {notes} 2>/dev/null | wc -l) -lt {count} ]; do sleep 0.01; done"

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", ESCAPES[escape].format(notes), waits))
            assert (await end_of(scheduler, "j")).state is JobState.SUCCEEDED
            assert alive(notes) == []

    run(scenario)


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_stop_by_the_next_server_ends_all_processes(home: LocalHome, tmp_path: Path, escape: str) -> None:
    notes = tmp_path / "pids"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            await scheduler.submit(USER, job("j", ESCAPES[escape].format(notes), "sleep 3600"))
            await until(lambda: written(notes, WRITES.get(escape, 1)))

    async def second() -> None:
        async with cluster(home) as scheduler:
            await stop(scheduler, "j")
            assert alive(notes) == []

    run(first)
    run(second)


@pytest.mark.parametrize("escape", ESCAPES)
def test_what_a_task_left_while_no_server_ran_is_ended_by_the_next(
    home: LocalHome, tmp_path: Path, escape: str
) -> None:
    notes, gate = tmp_path / "pids", tmp_path / "gate"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            waits = f"while [ ! -e {gate} ]; do sleep 0.01; done"
            await scheduler.submit(USER, job("j", ESCAPES[escape].format(notes), waits))
            await until(lambda: written(notes, WRITES.get(escape, 1)))

    async def second() -> None:
        gate.touch()
        await until(lambda: any(note.read_text().strip() for note in Path(home.tasks).glob("*/exit")))
        assert alive(notes)
        async with cluster(home) as scheduler:
            assert (await end_of(scheduler, "j")).state is JobState.SUCCEEDED
            await until(lambda: not alive(notes))

    run(first)
    run(second)


def test_a_command_that_outlived_its_supervisor_is_ended_before_it_is_tried_again(
    home: LocalHome, tmp_path: Path
) -> None:
    notes = tmp_path / "pids"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            await scheduler.submit(USER, job("j", f"echo $$ >>{notes}", "sleep 3600"))
            await until(lambda: written(notes))
            record = scheduler.job(USER, "j")
            assert record is not None
            pids.append(scheduler.tasks(record, 0)[0].pid or 0)

    async def second() -> None:
        os.kill(pids[0], signal.SIGKILL)
        await until(lambda: not is_alive(pids[0]))
        assert len(alive(notes)) == 1
        async with cluster(home) as scheduler:
            await until(lambda: written(notes, 2))
            assert len(alive(notes)) == 1
            await stop(scheduler, "j")
            assert alive(notes) == []

    pids: list[int] = []
    run(first)
    run(second)


def test_processes_that_multiply_do_not_get_away(
    home: LocalHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MAX_PROCESSES", 100)
    notes = tmp_path / "pids"
    # A bomb that the test machine survives also where nothing bounds it: a new process for each that ends.
    bomb = "import os, time\nwhile True:\n if os.fork(): time.sleep(0.05); os._exit(0)\n else: os.setsid(); "
    bomb += f'open("{notes}", "a").write(f"{{os.getpid()}}\\n")'

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            commands = [f"for i in 1 2 3 4; do python3 -c '{bomb}' & done", "sleep 3600"]
            await scheduler.submit(
                USER, job("j", roles={"main": role(commands, resources={"memoryMB": 500})})
            )
            await until(lambda: notes.exists() and notes.read_text().count("\n") > 20)
            await stop(scheduler, "j")
            assert alive(notes) == []

    run(scenario)


@pytest.mark.parametrize("means", ["groups"], indirect=True)
def test_a_task_cannot_fill_the_machine_with_processes(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch, needs_groups: None
) -> None:
    monkeypatch.setattr(groups, "MAX_PROCESSES", 50)
    script = (
        "import subprocess, time\n"
        "time.sleep(0.5)\n"
        "for _ in range(100): subprocess.Popen(['sleep', '3600'], stdout=subprocess.DEVNULL, stderr=-3)"
    )

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            commands = [f'python3 -c "{script}"']
            await scheduler.submit(
                USER, job("j", roles={"main": role(commands, resources={"memoryMB": 500})})
            )
            record = await end_of(scheduler, "j")
            assert record.state is JobState.FAILED
            assert "BlockingIOError" in ((record.outcome and record.outcome.diagnostics) or "")

    run(scenario)


@pytest.fixture
def needs_groups(request: pytest.FixtureRequest, means: None, home: LocalHome) -> None:
    if not can_make_groups(home):
        pytest.skip("no control groups here")
