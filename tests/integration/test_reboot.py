# SPDX-License-Identifier: MIT
"""After a reboot no process is left, and process ids mean others: what ran is tried again by its policy."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from openpaisdk.local.home import LocalHome
from openpaisdk.local.jobs.executors.process import ProcessExecutor, Trace
from tests.processes import lines_of, task_pids, until

pytestmark = pytest.mark.integration


def reboot(server, home: Path) -> None:
    """Leave what a machine leaves that went down: files, and nothing that lives."""
    server.kill()
    for pid in task_pids(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not task_pids(home))
    content = json.loads((home / "server.json").read_text())
    (home / "server.json").write_text(json.dumps({**content, "boot": "the one before"}))


def test_what_ran_at_a_reboot_ends_as_lost_and_is_tried_again(start_server, tmp_path) -> None:
    home, runs = tmp_path / "local", tmp_path / "runs"
    server = start_server("--cpu", "2")
    command = (
        f"echo $FC_FRAMEWORK_ATTEMPT_ID >> {runs}; [ $FC_FRAMEWORK_ATTEMPT_ID = 1 ] || sleep 600; exit 7"
    )
    assert server.submit(server.document("ran", command)).status_code == 202
    assert server.submit(server.document("waited", "exit 3")).status_code == 202
    assert server.run("over", "exit 5")["user_exit_code"] == 5
    until(lambda: lines_of(runs))
    reboot(server, home)
    again = start_server()
    assert again.wait("ran", "waited")["done"]
    assert runs.read_text() == "0\n1\n"
    path = f"/api/v2/jobs/{again.user}~ran"
    assert again.get(f"{path}/attempts/0").json()["jobStatus"]["appExitCode"] == -1001
    detail = again.get(path).json()["jobStatus"]
    assert (detail["retries"], detail["retryDetails"]["platform"], detail["appExitCode"]) == (1, 1, 255)
    assert again.wait("over")["jobs"][f"{again.user}~over"]["user_exit_code"] == 5


def test_a_process_that_has_got_a_lost_tasks_id_is_left_alone(start_server, tmp_path) -> None:
    home, runs = tmp_path / "local", tmp_path / "runs"
    server = start_server()
    command = f"echo run >> {runs}; [ $FC_FRAMEWORK_ATTEMPT_ID = 1 ] || sleep 600"
    assert server.submit(server.document("lost", command)).status_code == 202
    until(lambda: lines_of(runs))
    reboot(server, home)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as innocent:
        [note] = home.glob("tasks/*/pid")
        note.write_text(f"{innocent.pid}\n")
        again = start_server()
        assert again.wait("lost")["jobs"][f"{again.user}~lost"]["state"] == "SUCCEEDED"
        assert innocent.poll() is None
        innocent.kill()
    assert runs.read_text() == "run\nrun\n"


def test_a_task_whose_notes_a_reboot_has_eaten_counts_as_lost_and_not_as_never_started(
    start_server, tmp_path
) -> None:
    home, runs = tmp_path / "local", tmp_path / "runs"
    server = start_server()
    command = f"echo $FC_FRAMEWORK_ATTEMPT_ID >> {runs}; [ $FC_FRAMEWORK_ATTEMPT_ID = 1 ] || sleep 600"
    assert server.submit(server.document("lost", command)).status_code == 202
    until(lambda: lines_of(runs))
    reboot(server, home)
    [note] = home.glob("tasks/*/pid")
    note.write_bytes(b"\0" * 8)  # as file systems may leave what was not synced
    again = start_server()
    assert again.wait("lost")["jobs"][f"{again.user}~lost"]["state"] == "SUCCEEDED"
    assert runs.read_text() == "0\n1\n"


def test_secrets_of_jobs_that_are_over_do_not_outlast_a_crash(start_server, tmp_path) -> None:
    home = tmp_path / "local"
    server = start_server()
    server.stop()
    for name in ("17.json", "18.json.4711.part"):
        (home / "secrets" / name).write_text("{}")
    start_server()
    assert os.listdir(home / "secrets") == []


def test_a_lock_that_a_dying_server_still_holds_is_waited_for(tmp_path) -> None:
    home = LocalHome(str(tmp_path / "local"))
    home.make()

    async def scenario() -> None:
        executor = ProcessExecutor(home, asyncio.get_running_loop())
        files = executor.make_folder("pod")
        lock = os.open(files.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        dying = threading.Timer(0.1, os.close, [lock])
        dying.start()
        assert executor.trace("pod") is Trace.NEVER_STARTED
        dying.join()
        executor.close()

    asyncio.run(scenario())
