# SPDX-License-Identifier: MIT
"""``opai local reset`` leaves neither files nor processes, in whatever state the cluster is."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from openpaisdk import embedded
from openpaisdk.core import Cluster
from openpaisdk.engine import Engine
from openpaisdk.job import Job

pytestmark = pytest.mark.integration


def nothing() -> None:
    pass


def stop_and_leave() -> None:
    Engine().process(["local", "stop", "--leave"])


def crash() -> None:
    server = embedded.read_server_file()
    assert server is not None
    os.kill(server["pid"], signal.SIGKILL)
    assert embedded.wait_gone(server["pid"], 30)


def lose_the_jobs() -> None:
    stop_and_leave()
    Path(Engine().process(["local", "status"])["home"], "cluster.db").write_bytes(b"garbage " * 1000)


def upgrade_the_database() -> None:
    """Leave a home in which this version's server does not start."""
    stop_and_leave()
    path = Path(Engine().process(["local", "status"])["home"], "cluster.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


@pytest.mark.parametrize("before", [nothing, stop_and_leave, crash, lose_the_jobs, upgrade_the_database])
def test_reset_ends_what_runs_and_removes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]
) -> None:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    pid = tmp_path / "pid"
    handle = Job.fast("runs", [f"echo $$ > {pid}; echo begun; sleep 600"], image="python:3.11").submit(
        Cluster.from_alias("local")
    )
    assert next(event["text"] for event in handle.follow() if event["type"] == "log") == "begun\n"
    before()
    assert Engine().process(["local", "reset", "--yes"])["running"] is False
    assert not (tmp_path / "local").exists()
    assert embedded.wait_gone(int(pid.read_text()), 30)
