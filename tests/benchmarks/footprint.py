# SPDX-License-Identifier: MIT
"""What a server needs: memory, the time to its first answer, and CPU while nothing happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.documents import document, submit
from tests.benchmarks.following import Followers, writer_command
from tests.benchmarks.seed import finished_jobs
from tests.benchmarks.serving import ServerProcess, bare, cluster, new_home, start_cluster
from tests.benchmarks.timing import Row, clean_environment, spread, time_process

TASKS = 200
FOLLOWERS = 100
IDLE_S = 60.0
STARTS = 7
MANY = 100_000


def measure_memory() -> Iterator[Row]:
    """Yield the resident memory, idle and at work."""
    with cluster(cpu=TASKS + 1) as server, server.connect() as connection:
        time.sleep(2)  # until it has loaded what it loads when it has nothing else to do
        connection.json("GET", "/api/v2/jobs")
        yield ("resident memory, idle", f"{server.resident_mb():.1f} MB", "<= 60 MB", "<= 45 MB")
        job = submit(server, connection, document("writer", writer_command(200, 60)))
        for number in range(TASKS):
            submit(server, connection, document(f"sleeper-{number}", "sleep 1000"))
        _wait_running(server, TASKS + 1)
        with Followers(server, job, FOLLOWERS):
            time.sleep(5)
            resident = server.resident_mb()
        measured = f"{resident:.1f} MB"
        yield ("resident memory, 200 running tasks, 100 followers", measured, "<= 120 MB", "<= 80 MB")


def _wait_running(server: ServerProcess, count: int) -> None:
    deadline = time.monotonic() + 60
    with server.connect() as connection:
        while len(connection.json("GET", "/api/v2/jobs?state=RUNNING")) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{count} tasks do not run at once")
            time.sleep(0.2)


def measure_start() -> Iterator[Row]:
    """Yield the time from the start of the process to its first answer."""
    base = [sys.executable, "-c", "pass"]
    with new_home() as empty, new_home(finished_jobs(MANY)) as full:
        taken: dict[str, list[float]] = {"empty": [], "with 100,000 jobs": []}
        ratios: dict[str, list[float]] = {title: [] for title in taken}
        for turn in range(STARTS + 1):
            for title, home in (("empty", empty), ("with 100,000 jobs", full)):
                pass_s = time_process(base, clean_environment())
                seconds = _start(home)
                if turn:
                    taken[title].append(seconds)
                    ratios[title].append(seconds / pass_s)
        for title, reach in (("empty", "<= 0.6 s"), ("with 100,000 jobs", "<= 1 s")):
            measured = f"{spread(taken[title], digits=2)} s ({spread(ratios[title])} x python -c pass)"
            yield (f"start to first answer, {title}", measured, reach, "<= 0.25 s")


def _start(home: Path) -> float:
    begin = time.perf_counter()
    server = start_cluster(home)
    try:
        with server.connect() as connection:
            connection.json("GET", "/api/v2/jobs?limit=50")
        return time.perf_counter() - begin
    finally:
        server.end()


def measure_idle() -> Iterator[Row]:
    """Yield the share of a CPU that a server takes that has nothing to do."""
    with cluster() as ours, bare() as theirs:
        time.sleep(3)
        before = [server.cpu_s() for server in (ours, theirs)]
        time.sleep(IDLE_S)
        used = [server.cpu_s() - then for server, then in zip((ours, theirs), before, strict=True)]
    shares = [100 * seconds / IDLE_S for seconds in used]
    measured = f"{shares[0]:.3f} % (bare uvicorn {shares[1]:.3f} %)"
    yield ("idle CPU over 60 s", measured, "<= 0.4 %", "<= 0.05 %")
