# SPDX-License-Identifier: MIT
"""``kill -9`` of the server, at any moment: no job is lost, none runs twice, every exit code is right."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openpaisdk.core import Cluster
from openpaisdk.embedded import read_server_file
from openpaisdk.engine import Engine
from openpaisdk.errors import ClusterConnectionError, JobExistsError, JobNotFoundError
from openpaisdk.job import Job

pytestmark = pytest.mark.integration
JOBS = 40
KILLS = 6


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "openpai"))
    Engine().process(["local", "start", "--cpu", "2"])
    yield Cluster.from_alias("local")
    Engine().process(["local", "stop", "--kill"])


def kill_server() -> None:
    server = read_server_file()
    if server and server.get("pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(server["pid"], signal.SIGKILL)


def submit_for_certain(cluster: Cluster, job: Job) -> None:
    """Submit over a server that may be killed at any moment."""
    for _ in range(50):
        try:
            job.submit(cluster)
            return
        except JobExistsError:
            return
        except ClusterConnectionError:
            try:
                cluster.job_status(job.name)
                return
            except (ClusterConnectionError, JobNotFoundError):
                continue
    raise AssertionError(f"{job.name} could not be submitted")


def wait_for_all(cluster: Cluster, names: list[str]) -> dict[str, dict[str, object]]:
    deadline = time.monotonic() + 120
    while True:
        try:
            return {result["name"]: result for result in cluster.wait(names, timeout_s=60)}
        except ClusterConnectionError:
            assert time.monotonic() < deadline


def test_running_tasks_go_on_and_end_with_their_own_codes(cluster: Cluster, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    command = (
        f"echo run >> {runs}; echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after; exit 7"
    )
    handle = Job.fast("survivor", [command], image="python:3.11").submit(cluster)
    assert next(event["text"] for event in handle.follow() if event["type"] == "log") == "before\n"
    kill_server()
    gate.touch()
    result = handle.wait(timeout_s=60)
    assert (result["state"], result["exit_code"], result["user_exit_code"]) == ("FAILED", 255, 7)
    assert runs.read_text() == "run\n"
    assert handle.logs() == "before\nafter\n"


def test_nothing_is_lost_doubled_or_wrong_when_the_server_is_killed_under_load(
    cluster: Cluster, tmp_path: Path
) -> None:
    chance = random.Random(20261121)
    codes = {f"load-{number}": chance.choice([0, 0, 3, 42]) for number in range(JOBS)}
    marks = tmp_path / "marks"
    marks.mkdir()
    stop = threading.Event()

    def kill_now_and_then() -> None:
        for _ in range(KILLS):
            if stop.wait(chance.uniform(0.05, 0.6)):
                return
            kill_server()

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        for name, code in codes.items():
            command = f"echo x >> {marks}/{name}; sleep {chance.uniform(0, 0.1):.3f}; exit {code}"
            submit_for_certain(cluster, Job.fast(name, [command], image="python:3.11"))
        results = wait_for_all(cluster, list(codes))
    finally:
        stop.set()
        killer.join()
    assert {name: results[name]["user_exit_code"] for name in codes} == codes
    assert {path.name: path.read_text() for path in marks.iterdir()} == dict.fromkeys(codes, "x\n")
