# SPDX-License-Identifier: MIT
"""Jobs as real processes: how they run, end, are stopped, retried, and taken up by another server."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from openpaisdk.errors import JobExistsError
from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.scheduler import TooLargeError
from openpaisdk.local.jobs.watch import PORTABLE_VARIABLE
from openpaisdk.local.records import JobState
from tests.integration.scheduling import USER, cluster, end_of, job, log_of, role, run, stdout_of, until

pytestmark = pytest.mark.integration


@pytest.fixture(params=["fast", "portable"], autouse=True)
def platform_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with Linux's fast paths and without them."""
    if request.param == "portable":
        monkeypatch.setenv(PORTABLE_VARIABLE, "1")


def test_a_job_runs_and_its_output_is_kept(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", "echo out; echo err >&2"))
            record = await end_of(scheduler, "j")
            assert record.state is JobState.SUCCEEDED
            assert log_of(scheduler, record) == "out\n"
            assert log_of(scheduler, record, "stderr") == "err\n"
            assert sorted(log_of(scheduler, record, "all").split()) == ["err", "out"]
            assert "'python:3.11' is not used" in log_of(scheduler, record, "runtime.log")

    run(scenario)


@pytest.mark.parametrize(
    ("command", "code", "user_code"),
    [
        ("exit 0", 0, 0),
        ("exit 42", 255, 42),
        ("false; echo not reached", 255, 1),
        ("echo $UNDEFINED_NAME", 255, 1),
        ("false | true", 255, 1),
        ("echo 'ImportError: no such thing' >&2; exit 1", 232, 1),
        ("kill -SEGV $$", 139, 139),
    ],
)
def test_exit_codes_follow_the_table(home: LocalHome, command: str, code: int, user_code: int) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", command))
            record = await end_of(scheduler, "j")
            assert record.outcome is not None
            assert (record.outcome.exit_code, record.outcome.user_exit_code) == (code, user_code)

    run(scenario)


def test_a_job_retry_runs_all_again_with_new_ports(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            command = 'if [ "$FC_FRAMEWORK_ATTEMPT_ID" = 0 ]; then exit 7; fi'
            await scheduler.submit(USER, job("j", command, jobRetryCount=2))
            record = await end_of(scheduler, "j")
            assert (record.state, record.counted_retries) == (JobState.SUCCEEDED, 1)
            attempts = [scheduler.tasks(record, number)[0] for number in range(record.retries + 1)]
            # Ports are computed, not reserved: one may be in use, and the attempt is tried again uncounted.
            first, second = (task for task in attempts if task.outcome and task.outcome.exit_code != 253)
            assert first.outcome is not None
            assert first.outcome.user_exit_code == 7
            assert first.ports != second.ports

    run(scenario)


def test_without_a_gang_only_the_failed_task_runs_again(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            command = 'if [ "$PAI_TASK_INDEX$FC_TASK_ATTEMPT_ID" = 00 ]; then exit 7; fi'
            roles = {"main": role([command], 2, taskRetryCount=1)}
            await scheduler.submit(USER, job("j", roles=roles, extras={"gangAllocation": False}))
            record = await end_of(scheduler, "j")
            assert (record.state, record.retries) == (JobState.SUCCEEDED, 0)
            assert [len(scheduler.task_attempts(record, 0, "main", index)) for index in (0, 1)] == [2, 1]

    run(scenario)


def test_tasks_find_each_other_by_their_ports(home: LocalHome, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            roles = {
                "ps_server": role([f"echo $PAI_PORT_LIST_worker_0_http; touch {mark}", "sleep 60"]),
                "worker": role(
                    [
                        f"while [ ! -e {mark} ]; do sleep 0.01; done",
                        "echo $PAI_PORT_LIST_psserver_0_http $PAI_PORT_LIST_ps_server_0_http",
                    ]
                ),
            }
            await scheduler.submit(USER, job("j", roles=roles))
            record = await end_of(scheduler, "j")
            ps, worker = scheduler.tasks(record, 0)
            assert log_of(scheduler, record, index=1).split() == [str(ps.ports["http"][0])] * 2
            assert log_of(scheduler, record, index=0).split() == [str(worker.ports["http"][0])]
            assert ps.outcome is not None
            assert (ps.outcome.exit_code, ps.state) == (-220, JobState.STOPPED)

    run(scenario)


def test_a_task_sees_the_platform_and_the_allow_list_only(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hidden")

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", "env", "python -c 'import sys; print(sys.prefix)'"))
            text = log_of(scheduler, await end_of(scheduler, "j"))
            assert "SECRET_OF_THE_SERVER" not in text
            assert "PAI_JOB_NAME=alice~j" in text
            assert "PAI_SDK_JOB_OUTPUT_DIR=" in text

    run(scenario)


def test_stop_ends_every_process_also_those_in_a_session_of_their_own(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", "setsid sleep 3600 & echo $!", "sleep 3600"))
            record = scheduler.job(USER, "j")
            assert record is not None
            await until(lambda: stdout_of(scheduler, "j").endswith("\n"))
            stray = int(stdout_of(scheduler, "j"))
            scheduler.stop(record)
            record = await end_of(scheduler, "j")
            assert record.outcome is not None
            assert (record.state, record.outcome.exit_code) == (JobState.STOPPED, -210)
            if not os.environ.get(PORTABLE_VARIABLE):
                await until(lambda: not os.path.exists(f"/proc/{stray}"))
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stray, signal.SIGKILL)

    run(scenario)


def test_a_background_child_that_holds_the_output_keeps_the_task_running(home: LocalHome) -> None:
    # Only Linux can tell who holds the output; elsewhere what is left in the background is ended at once.
    expected = "early\n" if os.environ.get(PORTABLE_VARIABLE) else "early\nlate\n"

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", "(sleep 0.3; echo late) & echo early"))
            assert log_of(scheduler, await end_of(scheduler, "j")) == expected

    run(scenario)


def test_jobs_wait_their_turn_and_none_overtakes(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("first", "sleep 0.2"))
            big = {"main": role(["true"], resources={"cpu": 2})}
            await scheduler.submit(USER, job("big", roles=big))
            await scheduler.submit(USER, job("small", "true"))
            small, large = await end_of(scheduler, "small"), await end_of(scheduler, "big")
            assert (small.launched_ms or 0) >= (large.completed_ms or 0)

    run(scenario)


def test_a_job_larger_than_the_machine_is_refused(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            with pytest.raises(TooLargeError, match=r"4 CPU \(there are 2\), 1 GPU \(there are 0\)"):
                roles = {"main": role(["true"], resources={"cpu": 4, "gpu": 1})}
                await scheduler.submit(USER, job("j", roles=roles))
            assert scheduler.job(USER, "j") is None

    run(scenario)


def test_gpus_are_handed_out_and_come_back(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home, gpus=(0, 1)) as scheduler:
            roles = {"main": role(["echo $CUDA_VISIBLE_DEVICES"], 2, resources={"gpu": 1})}
            for name in ("a", "b"):
                await scheduler.submit(USER, job(name, roles=roles, taskRoles=roles))
            for name in ("a", "b"):
                record = await end_of(scheduler, name)
                shown = {log_of(scheduler, record, index=index).strip() for index in (0, 1)}
                assert shown == {"0", "1"}

    run(scenario)


def test_a_taken_name_is_refused(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", "true"))
            with pytest.raises(JobExistsError):
                await scheduler.submit(USER, job("j", "true"))
            await end_of(scheduler, "j")

    run(scenario)


def test_declared_outputs_and_the_output_folder_are_stored_also_on_failure(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            extras = {
                "openpaisdk": {
                    "workspace": "/user/alice",
                    "outputs": ["model.txt", "missing", "d/*.log", ".*"],
                }
            }
            commands = [
                "mkdir .openpaisdk; touch .openpaisdk/x .hidden",
                "echo m > model.txt; mkdir d; echo l > d/a.log",
                "echo o > $PAI_SDK_JOB_OUTPUT_DIR/o",
                "exit 3",
            ]
            await scheduler.submit(USER, job("j", *commands, extras=extras))
            record = await end_of(scheduler, "j")
            assert record.state is JobState.FAILED
            stored = Path(home.storage) / "user/alice/jobs/j/output"
            found = {str(path.relative_to(stored)) for path in stored.rglob("*") if path.is_file()}
            assert found == {"model.txt", "d/a.log", "o", ".hidden"}
            complaints = [one for one in scheduler.events(record) if one.reason == "OutputNotStored"]
            assert [event.message for event in complaints] == ["output 'missing' is not there"]

    run(scenario)


def test_secrets_are_rendered_in_the_task_and_gone_from_disk_afterwards(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            secrets = {"k": "s3cret-value"}
            await scheduler.submit(USER, job("j", "echo '<% $secrets.k %>' | rev", secrets=secrets))
            record = await end_of(scheduler, "j")
            assert log_of(scheduler, record).strip() == "eulav-terc3s"
            assert scheduler.config(record)["secrets"] == "******"

    run(scenario)
    for path in Path(home.folder).rglob("*"):
        if path.is_file():
            assert b"s3cret-value" not in path.read_bytes(), path


def test_plugin_commands_run_around_the_users_own(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            plugin = {
                "plugin": "cmd",
                "parameters": {
                    "preCommands": ["echo pre >&2", "echo <% $parameters.word %>"],
                    "postCommands": ["echo post >&2"],
                },
            }
            fields = {
                "parameters": {"word": "hidden"},
                "extras": {"com.microsoft.pai.runtimeplugin": [plugin]},
            }
            await scheduler.submit(USER, job("good", "echo user >&2", **fields))
            await scheduler.submit(USER, job("bad", "echo user >&2; exit 4", **fields))
            good, bad = await end_of(scheduler, "good"), await end_of(scheduler, "bad")
            assert log_of(scheduler, good, "stderr") == "pre\nuser\npost\n"
            assert log_of(scheduler, bad, "stderr") == "pre\nuser\n"
            assert bad.outcome is not None
            assert bad.outcome.user_exit_code == 4
            assert "hidden" in log_of(scheduler, good, "runtime.log")

    run(scenario)


def test_a_plugin_that_cannot_be_prepared_fails_the_task(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            plugin = {"plugin": "cmd", "parameters": {"preCommands": ["echo <% $parameters.missing %>"]}}
            extras = {"com.microsoft.pai.runtimeplugin": [plugin, {"plugin": "ssh", "parameters": {}}]}
            await scheduler.submit(USER, job("j", "true", extras=extras))
            record = await end_of(scheduler, "j")
            assert record.outcome is not None
            assert record.outcome.exit_code == 1
            assert "$parameters.missing" in record.outcome.diagnostics
            assert any("'ssh' is not run" in note for note in scheduler.notes(record))

    run(scenario)


def test_running_tasks_are_taken_up_by_the_next_server(home: LocalHome, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f"echo begin; while [ ! -e {gate} ]; do sleep 0.02; done; echo end; exit 5"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            await scheduler.submit(USER, job("j", command))
            await until(lambda: stdout_of(scheduler, "j") == "begin\n")

    async def second() -> None:
        async with cluster(home) as scheduler:
            record = scheduler.job(USER, "j")
            assert record is not None
            assert record.state is JobState.RUNNING
            gate.touch()
            record = await end_of(scheduler, "j")
            assert record.outcome is not None
            assert (record.outcome.user_exit_code, record.retries) == (5, 0)
            assert log_of(scheduler, record) == "begin\nend\n"

    run(first)
    run(second)


def test_an_end_that_no_server_saw_is_told_right_by_the_next(home: LocalHome, tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = f"echo begin; sleep 0.2; echo once >> {done}; exit 9"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            await scheduler.submit(USER, job("j", command))
            await until(lambda: stdout_of(scheduler, "j") == "begin\n")

    async def second() -> None:
        await until(lambda: any(Path(home.tasks).glob("*/exit")))
        async with cluster(home) as scheduler:
            record = await end_of(scheduler, "j")
            assert record.outcome is not None
            assert (record.outcome.exit_code, record.outcome.user_exit_code) == (255, 9)

    run(first)
    run(second)
    assert done.read_text() == "once\n"


def test_a_job_whose_processes_are_gone_is_tried_again(home: LocalHome, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f"echo $FC_FRAMEWORK_ATTEMPT_ID; while [ ! -e {gate} ]; do sleep 0.02; done"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            await scheduler.submit(USER, job("j", command))
            await until(lambda: stdout_of(scheduler, "j") == "0\n")
            pid = scheduler.tasks(scheduler.job(USER, "j"), 0)[0].pid  # type: ignore[arg-type]
            assert pid is not None
            pids.append(pid)

    async def second() -> None:
        os.killpg(pids[0], signal.SIGKILL)  # as a machine that stopped
        await until(lambda: _group_is_gone(pids[0]))
        gate.touch()
        async with cluster(home) as scheduler:
            record = await end_of(scheduler, "j")
            assert (record.state, record.retries, record.counted_retries) == (JobState.SUCCEEDED, 1, 0)

    pids: list[int] = []
    run(first)
    run(second)


def _group_is_gone(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-pid, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_closing_with_kill_stops_running_jobs_and_keeps_waiting_ones(home: LocalHome) -> None:
    async def first() -> None:
        async with cluster(home, mode="kill", cpu=1) as scheduler:
            await scheduler.submit(USER, job("running", "echo begin; sleep 3600", jobRetryCount=5))
            await scheduler.submit(USER, job("waiting", "true"))
            await until(lambda: stdout_of(scheduler, "running") == "begin\n")

    async def second() -> None:
        async with cluster(home) as scheduler:
            record = scheduler.job(USER, "running")
            assert record is not None
            assert record.state is JobState.STOPPED
            assert (await end_of(scheduler, "waiting")).state is JobState.SUCCEEDED

    run(first)
    run(second)


def test_a_waiting_job_runs_once_after_a_restart(home: LocalHome, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            scheduler._admit_soon = lambda: None  # type: ignore[method-assign]
            scheduler._lifecycle._admit_soon = lambda: None
            await scheduler.submit(USER, job("j", f"echo x >> {ran}"))

    async def second() -> None:
        async with cluster(home) as scheduler:
            assert (await end_of(scheduler, "j")).state is JobState.SUCCEEDED

    run(first)
    run(second)
    assert ran.read_text() == "x\n"
