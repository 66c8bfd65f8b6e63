# SPDX-License-Identifier: MIT
"""The server process: how it starts, what it leaves, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def server_file(home: Path) -> dict[str, object]:
    return json.loads((home / "server.json").read_text())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_ready_line_is_what_server_json_says(start_server, tmp_path):
    server = start_server()
    assert server.ready == server_file(tmp_path / "local")
    assert server.ready["pid"] == server.process.pid
    assert server.get("/api/v2/info").json()["embedded"] is True


def test_files_with_secrets_are_open_to_nobody_else(start_server, tmp_path):
    start_server()
    home = tmp_path / "local"
    assert mode(home) == 0o700
    for name in ("server.json", "accounts.db", "cluster.db", "server.log", "config.json"):
        if (home / name).exists():
            assert mode(home / name) == 0o600, name


def test_a_second_server_is_refused_and_says_so(start_server):
    start_server()
    second = start_server()
    assert second.ready["code"] == "AlreadyRunning"
    assert "another server" in second.ready["error"]
    assert second.process.wait(30) == 1


def test_port_and_token_stay_the_same_over_a_restart(start_server):
    first = start_server()
    first.stop()
    second = start_server()
    assert (second.uri, second.token) == (first.uri, first.token)
    assert second.get("/api/v2/tokens/check").status_code == 200


def test_another_port_is_taken_when_the_old_one_is_not_free(start_server):
    first = start_server()
    first.stop()
    with socket.create_server(("127.0.0.1", first.ready["port"])):
        second = start_server()
    assert second.ready["port"] != first.ready["port"]
    assert second.get("/api/v2/info").status_code == 200


def test_a_port_that_was_asked_for_must_be_free(start_server):
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = start_server("--port", str(other.getsockname()[1]))
    assert "cannot listen" in server.ready["error"]


def test_the_server_stays_known_after_its_end_but_without_a_process(start_server, tmp_path):
    server = start_server()
    assert server.stop() == 0
    content = server_file(tmp_path / "local")
    assert content == {**server.ready, "pid": None}


def test_sigterm_ends_the_server_cleanly(start_server, tmp_path):
    server = start_server()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert server_file(tmp_path / "local")["pid"] is None


def test_a_running_task_outlives_the_server_and_is_taken_up(start_server, tmp_path):
    server = start_server()
    go = tmp_path / "go"
    waits = f"while [ ! -e {go} ]; do sleep 0.05; done; echo done"
    assert server.submit(server.document("waits", waits)).status_code == 202
    watch_until_running(server, "waits")
    refused = server.post("/local/v1/shutdown", json={"mode": "refuse"})
    assert (refused.status_code, refused.json()["code"], refused.json()["running"]) == (
        409,
        "TasksRunning",
        1,
    )
    assert server.stop("leave") == 0
    again = start_server()
    go.touch()
    assert again.wait("waits")["jobs"][f"{again.user}~waits"]["state"] == "SUCCEEDED"


def watch_until_running(server, name):
    answer = server.get("/local/v1/follow", params={"job": f"{server.user}~{name}"}, stream=True)
    for line in answer.iter_lines():
        if json.loads(line) == {"type": "state", "state": "RUNNING"}:
            answer.close()
            return
    raise AssertionError("the job never ran")


def test_followers_and_waiters_do_not_hold_up_the_end(start_server):
    server = start_server()
    server.submit(server.document("long", "sleep 600"))
    watch_until_running(server, "long")
    follower = server.get("/local/v1/follow", params={"job": f"{server.user}~long"}, stream=True)
    assert server.stop("kill") == 0
    follower.close()


def test_the_server_ends_when_its_home_is_gone(start_server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENPAI_LOCAL_HOME_CHECK_S", "0.2")
    server = start_server()
    shutil.rmtree(tmp_path / "local")
    assert server.process.wait(30) is not None


def test_the_process_leaves_its_session_and_folder(start_server, tmp_path):
    server = start_server()
    assert os.getsid(server.process.pid) == server.process.pid
    assert Path(f"/proc/{server.process.pid}/cwd").resolve() == (tmp_path / "local").resolve()


def test_nothing_secret_reaches_the_log(start_server, tmp_path):
    server = start_server()
    server.get(f"/webhdfs/v1/?op=LISTSTATUS&delegation={server.token}")
    server.get("/api/v2/jobs?limit=x")
    server.stop()
    log = (tmp_path / "local" / "server.log").read_text()
    assert server.token not in log


def test_amounts_that_make_no_sense_are_refused(start_server):
    server = start_server("--mem", "lots")
    assert "memory 'lots' is not a size" in server.ready["error"]


def test_what_the_server_was_told_is_kept_for_the_next_start(start_server):
    first = start_server("--cpu", "3", "--vc", "team=1:0:512m")
    first.stop()
    second = start_server()
    status = second.get("/local/v1/status").json()
    assert status["resources"]["cpu"] == 3
    assert second.get("/api/v2/virtual-clusters/team").json()["resourcesTotal"]["memory"] == 512


def test_what_no_server_can_start_with_is_not_kept(start_server):
    failed = start_server("--cpu", "2", "--vc", "team=9:0:512m")
    assert "more together than this machine: 9 CPU (there are 2)" in failed.ready["error"]
    assert "uri" in start_server().ready


def test_declared_shares_can_be_taken_back(start_server):
    start_server("--vc", "team=1:0:512m").stop()
    server = start_server("--vc", "")
    assert list(server.get("/api/v2/virtual-clusters").json()) == ["default"]
