# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import json

import pytest

from openpaisdk import core, embedded
from openpaisdk.cli.commands import local
from openpaisdk.engine import Engine
from openpaisdk.errors import ClusterError, LocalClusterError, UsageError

STATUS = {"running": True, "pid": 1, "uri": "http://127.0.0.1:1", "home": "/h", "version": "0"}


@pytest.fixture
def server(monkeypatch, tmp_path):
    """An embedded cluster that never starts; ``told`` is what it would have been told."""

    class Server:
        running = False
        tasks = 0
        told = []

    server = Server()
    server.told = []

    def ensure_running(options=None, *, home=None):
        server.told.append(("start", options))
        server.running = True
        return {}

    def stop_local(mode="refuse"):
        server.told.append(("stop", mode))
        if mode == "refuse" and server.tasks:
            cause = ClusterError("2 tasks run", status=409)
            raise LocalClusterError(
                "the embedded cluster is not stopped: 2 tasks run", hint="--kill"
            ) from cause
        server.running = False
        return {**STATUS, "running": False}

    monkeypatch.setattr(embedded, "ensure_running", ensure_running)
    monkeypatch.setattr(embedded, "answers", lambda known: server.running)
    monkeypatch.setattr(embedded, "status", lambda home=None: {**STATUS, "running": server.running})
    monkeypatch.setattr(local, "stop_local", stop_local)
    return server


def test_start_hands_its_options_on(server):
    words = "--port 8000 --cpu 4 --gpu 2 --mem 16g --pass-env A,B --pass-env C"
    value = Engine().process(["local", "start", *words.split()])
    assert value["running"] is True
    options = {"port": 8000, "cpu": 4, "gpu": 2, "memory_mb": 16384, "pass_env": ["A", "B", "C"]}
    assert server.told == [("start", options)]


def test_start_again_with_the_same_is_fine_and_with_other_options_refused(server, tmp_path):
    folder = tmp_path / "home" / "local"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"cpu": 4}))
    server.running = True
    assert Engine().process(["local", "start"])["running"]
    assert Engine().process(["local", "start", "--cpu", "4"])["running"]
    with pytest.raises(LocalClusterError, match="heeds --mem only when it starts") as caught:
        Engine().process(["local", "start", "--cpu", "4", "--mem", "1g"])

    assert "opai local stop --leave" in caught.value.hint


def test_start_refuses_a_port_that_is_none(server):
    with pytest.raises(UsageError, match="--port: expected a port"):
        Engine().process(["local", "start", "--port", "70000"])


def test_stop_of_what_does_not_run_is_no_error(server):
    stderr = io.StringIO()
    assert Engine(stderr=stderr).process(["local", "stop"])["running"] is False
    assert stderr.getvalue() == "the embedded cluster does not run\n"
    assert server.told == []


@pytest.mark.parametrize(("option", "mode"), [("--kill", "kill"), ("--leave", "leave")])
def test_stop_is_told_what_becomes_of_tasks(server, option, mode):
    server.running = server.tasks = True
    Engine().process(["local", "stop", option])
    assert server.told == [("stop", mode)]


def test_stop_refuses_while_tasks_run_and_nobody_can_be_asked(server):
    server.running = server.tasks = True
    with pytest.raises(LocalClusterError, match="2 tasks run"):
        Engine().process(["local", "stop"])
    assert server.running


@pytest.mark.parametrize(("answer", "mode"), [("k", "kill"), ("Leave", "leave")])
def test_stop_asks_at_a_terminal(server, answer, mode):
    server.running = server.tasks = True
    asked = []
    Engine(ask=lambda question, secret: asked.append(question) or answer).process(["local", "stop"])
    assert server.told == [("stop", "refuse"), ("stop", mode)]
    assert asked == [
        "the embedded cluster is not stopped: 2 tasks run. [k]ill tasks, [l]eave them running, or [c]ancel?"
    ]


def test_stop_that_is_cancelled_stops_nothing(server):
    server.running = server.tasks = True
    with pytest.raises(LocalClusterError, match="was not stopped"):
        Engine(ask=lambda question, secret: "c").process(["local", "stop"])
    assert server.running


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "home" / "local"
    (folder / "storage").mkdir(parents=True)
    (folder / "server.log").write_text("".join(f"line {number}\n" for number in range(200)))
    return folder


def test_reset_wants_consent(server, folder):
    with pytest.raises(UsageError, match="deletes every job") as caught:
        Engine().process(["local", "reset"])
    assert "--yes" in caught.value.hint
    with pytest.raises(LocalClusterError, match="nothing was deleted"):
        Engine(ask=lambda question, secret: "").process(["local", "reset"])
    assert folder.exists()


@pytest.mark.parametrize("words", [["--yes"], []])
def test_reset_ends_every_task_and_deletes_the_folder(server, folder, words):
    assert Engine(ask=lambda question, secret: "y").process(["local", "reset", *words])["running"] is False
    assert server.told == [("start", None), ("stop", "kill")]
    assert not folder.exists()


def test_reset_of_nothing_starts_nothing(server):
    assert Engine().process(["local", "reset", "--yes"])["running"] is False
    assert server.told == []


def test_reset_does_not_follow_a_link(server, folder, tmp_path):
    target = tmp_path / "elsewhere"
    folder.rename(target)
    folder.symlink_to(target)
    with pytest.raises(LocalClusterError, match="is a link"):
        Engine().process(["local", "reset", "--yes"])
    assert (target / "server.log").exists()


def test_logs_show_the_end(server, folder):
    assert Engine().process(["local", "logs", "--tail", "2"]) == "line 198\nline 199\n"
    assert Engine().process(["local", "logs", "--tail", "0"]) == ""
    assert Engine().process(["local", "logs", "-n", "1"]) == "line 199\n"
    assert Engine().process(["local", "logs"]).count("\n") == 100


def test_logs_are_followed_until_somebody_breaks_off(server, folder, monkeypatch):
    pieces = ["lin", "e 200\n", "", "\u00e9\n"]

    def sleep(seconds):
        if not pieces:
            raise KeyboardInterrupt
        with open(folder / "server.log", "a", encoding="utf-8") as file:
            file.write(pieces.pop(0))

    monkeypatch.setattr("time.sleep", sleep)
    stdout = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        Engine(stdout).process(["local", "logs", "-f", "-n", "1"])
    assert stdout.getvalue() == "line 199\nline 200\n\u00e9\n"


def test_logs_of_a_server_that_never_ran_are_empty(server):
    assert Engine().process(["local", "logs"]) == ""


def test_credentials_are_what_the_server_gives(monkeypatch, server):
    monkeypatch.setattr(local, "local_credentials", lambda: {"uri": "u"})
    assert Engine().process(["local", "credentials"]) == {"uri": "u"}
    assert callable(core.local_credentials)
