# SPDX-License-Identifier: MIT
"""One server for each home, however many want to start one, and whatever an earlier one left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openpaisdk import embedded

pytestmark = pytest.mark.integration
STARTS = 8
START = """
import json, sys
from openpaisdk import embedded
sys.stdin.readline()
print(json.dumps(embedded.ensure_running({"cpu": 2})))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    yield tmp_path / "local"
    server = embedded.read_server_file() or {}
    if embedded.may_run(server):
        os.kill(server["pid"], signal.SIGTERM)
        assert embedded.wait_gone(server["pid"], 30)


def start_all() -> list[dict[str, object]]:
    """Let several processes start the cluster at once; returns what each was told."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        for _ in range(STARTS)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write(b"\n")
        starter.stdin.flush()
    return [json.loads(starter.communicate(timeout=120)[0]) for starter in starters]


def test_many_first_starts_at_once_make_one_server(home: Path) -> None:
    told = start_all()
    assert len({server["pid"] for server in told}) == 1
    assert embedded.answers(told[0])


def test_many_starts_after_a_crash_make_one_server(home: Path) -> None:
    [crashed] = {server["pid"]: server for server in start_all()}.values()
    os.kill(int(str(crashed["pid"])), signal.SIGKILL)
    embedded.wait_gone(int(str(crashed["pid"])), 30)
    told = start_all()
    # Who asks while the new server listens but has not said yet who it is reads of the one before, at the
    # same address and with the same token.
    assert len({server["pid"] for server in told} - {crashed["pid"]}) == 1
    assert {(server["uri"], server["token"]) for server in told} == {(crashed["uri"], crashed["token"])}


def test_a_server_file_that_names_a_process_of_others_does_not_stand_in_the_way(home: Path) -> None:
    """A process id that was given away again, as after a reboot, and a port on which nobody listens."""
    first = embedded.ensure_running()
    os.kill(first["pid"], signal.SIGKILL)
    assert embedded.wait_gone(first["pid"], 30)
    stale = {**first, "pid": os.getpid()}
    (home / "server.json").write_text(json.dumps(stale))
    second = embedded.ensure_running()
    assert second["pid"] not in (first["pid"], os.getpid())
    assert embedded.answers(second)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}'])
def test_a_damaged_server_file_does_not_stand_in_the_way(home: Path, content: str) -> None:
    home.mkdir(parents=True)
    (home / "server.json").write_text(content)
    assert embedded.answers(embedded.ensure_running())
