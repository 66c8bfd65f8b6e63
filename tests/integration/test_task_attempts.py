# SPDX-License-Identifier: MIT
"""What an attempt of a task is started with, what it leaves behind, and what follows from a taken port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs import lifecycle
from openpaisdk.local.jobs.scheduler import Scheduler
from openpaisdk.local.records import JobRecord, JobState, TaskRecord
from openpaisdk.spec.ports import task_ports
from tests.integration.scheduling import USER, cluster, end_of, job, log_of, role, run, stdout_of, until

pytestmark = pytest.mark.integration
PORTS = {"ssh": 1, "http": 1}


def attempts(scheduler: Scheduler, record: JobRecord) -> list[list[TaskRecord]]:
    return [list(scheduler.tasks(record, number)) for number in range((record.attempt_id or 0) + 1)]


def assert_tried_again_with_other_ports(scheduler: Scheduler, record: JobRecord) -> None:
    assert (record.state, record.retries, record.counted_retries) == (JobState.SUCCEEDED, 1, 0)
    first, second = attempts(scheduler, record)
    assert 253 in [task.outcome.exit_code for task in first if task.outcome]
    assert not {task.pod_uid for task in first} & {task.pod_uid for task in second}
    for task in second:
        assert task.ports == task_ports(task.pod_uid, PORTS)
    assert any("is in use" in event.message for event in scheduler.events(record, "Warning"))


def test_a_port_that_something_listens_on_is_a_conflict_and_tried_again(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            uid = scheduler._launcher.uid(1, 0, "main", 0, 0)
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", task_ports(uid, PORTS)["ssh"][0]))
                listener.listen()
                await scheduler.submit(USER, job("j", "true"))
                record = await end_of(scheduler, "j")
            assert attempts(scheduler, record)[0][0].pod_uid == uid
            assert_tried_again_with_other_ports(scheduler, record)

    run(scenario)


def test_two_tasks_of_a_job_that_get_the_same_port_are_tried_again(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colliding(pod_uid: str, labels: dict[str, int]) -> dict[str, list[int]]:
        ports = task_ports(pod_uid, labels)
        return {**ports, "http": shared["http"]} if pod_uid in first else ports

    async def scenario() -> None:
        async with cluster(home) as scheduler:
            first.update(scheduler._launcher.uid(1, 0, "main", index, 0) for index in range(2))
            shared.update(task_ports(next(iter(first)), PORTS))
            monkeypatch.setattr(lifecycle, "task_ports", colliding)
            roles = {"main": role(["sleep 0.05"], instances=2)}
            await scheduler.submit(USER, job("j", roles=roles))
            assert_tried_again_with_other_ports(scheduler, await end_of(scheduler, "j"))

    first: set[str] = set()
    shared: dict[str, list[int]] = {}
    run(scenario)


def test_secrets_and_the_token_are_gone_with_their_task_also_when_another_server_saw_its_end(
    home: LocalHome, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    revoked: list[str] = []

    async def first() -> None:
        async with cluster(home, mode="leave") as scheduler:
            scheduler.use_tokens(
                issue=lambda _user, _path, _files: "attempt-token",
                restore=revoked.append,
                revoke=revoked.append,
            )
            command = (
                "cat $PAI_SDK_TOKEN_FILE; echo; echo '<% $secrets.word %>'; "
                f"while [ ! -e {gate} ]; do sleep 0.02; done"
            )
            await scheduler.submit(USER, job("j", command, secrets={"word": "a&b'"}))
            await until(lambda: stdout_of(scheduler, "j").count("\n") == 2)
            assert files_holding(home, "attempt-token", "a&amp;b&#x27;") != []

    async def second() -> None:
        async with cluster(home) as scheduler:
            scheduler.use_tokens(
                issue=lambda _user, _path, _files: "", restore=lambda _token: None, revoke=revoked.append
            )
            gate.touch()
            record = await end_of(scheduler, "j")
            assert log_of(scheduler, record) == "attempt-token\na&amp;b&#x27;\n"
        logs = files_holding(home, "attempt-token", "a&amp;b&#x27;", "a&b'")
        assert {path.name for path in logs} == {"stdout"}
        assert "attempt-token" in revoked

    run(first)
    run(second)


def content(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def files_holding(home: LocalHome, *texts: str) -> list[Path]:
    return [
        path
        for folder in (home.tasks, home.secrets)
        for path in Path(folder).rglob("*")
        if path.is_file() and any(text.encode() in path.read_bytes() for text in texts)
    ]


def test_the_logs_tell_of_the_start_and_of_a_failure(home: LocalHome) -> None:
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            options = {"shmMB": 128}
            commands = ["for i in $(seq 40); do echo \"line $i 'ä'\"; done", "exit 3"]
            await scheduler.submit(
                USER, job("j", roles={"main": role(commands, extraContainerOptions=options)})
            )
            record = await end_of(scheduler, "j")
            [task] = scheduler.tasks(record, 0)
            files = home.task(task.pod_uid)
            init = content(files.init_log)
            assert f"ssh {task.ports['ssh'][0]}" in init
            assert "'python:3.11' is not used" in init
            assert "shmMB 128 is not held" in log_of(scheduler, record, "runtime.log")
            message = content(files.termination_log)
            assert message.startswith(
                "[PAI_RUNTIME_ERROR_START]\nexitCode: 255\noriginUserExitCode: 3\nerrorLogs:\n"
            )
            assert message.endswith("[PAI_RUNTIME_ERROR_END]\n")
            assert "line 26" in message
            assert "line 25" not in message
            assert len(message.encode()) <= 4096
            assert os.stat(files.termination_log).st_mode & 0o077 == 0

    run(scenario)
