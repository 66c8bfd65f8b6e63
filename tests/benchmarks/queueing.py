# SPDX-License-Identifier: MIT
"""1,000 jobs of ``true``, queued at once for two slots: how fast they run, and that each runs once."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.benchmarks.documents import document, stop, submissions, submit, wait
from tests.benchmarks.serving import ServerProcess, new_home, start_cluster
from tests.benchmarks.timing import Row, spread
from tests.benchmarks.wire import closed_loop

COUNT = 1000
TURNS = 5


def measure_queue() -> Iterator[Row]:
    """Yield the rate once all are queued, the rate from the first submission on, and the check."""
    drained, whole, ratios, whole_ratios, cpus = [], [], [], [], []
    for _ in range(TURNS):
        xargs = _xargs()
        seconds, cpu = _drain("true")
        drained.append(COUNT / seconds)
        ratios.append(xargs / seconds)
        cpus.append(cpu / COUNT)
        seconds = _submit_and_wait()
        whole.append(COUNT / seconds)
        whole_ratios.append(xargs / seconds)
    measured = f"{spread(ratios, digits=2)} x xargs -P2 ({spread(drained)}/s, {spread(cpus, 1000, 2)} ms CPU)"
    yield ("1,000 jobs of `true` queued at once, 2 slots", measured, ">= 0.15 x, 200/s", ">= 0.4 x")
    measured = f"{spread(whole_ratios, digits=2)} x xargs -P2 ({spread(whole)}/s)"
    yield ("  the same, from the first submission on", measured, "", "")
    yield ("  each of them ran once", _check(), "none lost, none doubled", "")


def _xargs() -> float:
    """Return the seconds that ``xargs`` takes for as many commands on as many slots."""
    names = "\n".join(map(str, range(COUNT))) + "\n"
    begin = time.perf_counter()
    subprocess.run(["xargs", "-P2", "-n1", "bash", "-c", "true"], input=names.encode(), check=True)
    return time.perf_counter() - begin


def _drain(command: str, *, home: Path | None = None) -> tuple[float, float]:
    """Queue jobs behind one that has all slots, and end it: seconds and CPU seconds until all are over."""
    with new_home() as own:
        server = start_cluster(home or own)
        try:
            with server.connect() as connection:
                blocker = submit(server, connection, document("blocker", "sleep 1000", cpu=2))
                jobs = _submit(server, command)
                cpu = server.cpu_s()
                begin = time.perf_counter()
                stop(connection, blocker)
                wait(connection, jobs)
                return time.perf_counter() - begin, server.cpu_s() - cpu
        finally:
            server.end()


def _submit(server: ServerProcess, command: str) -> list[str]:
    documents = [document(f"job-{number}", command.replace("@", str(number))) for number in range(COUNT)]
    closed_loop(server.port, submissions(server, iter(documents)), clients=4, status=202)
    return [f"{server.user}~{one['name']}" for one in documents]


def _submit_and_wait() -> float:
    with new_home() as home:
        server = start_cluster(home)
        try:
            begin = time.perf_counter()
            jobs = _submit(server, "true")
            with server.connect() as connection:
                wait(connection, jobs)
            return time.perf_counter() - begin
        finally:
            server.end()


def _check() -> str:
    """Let each job leave a mark, and count the marks and the attempts."""
    marks = Path(tempfile.mkdtemp(prefix="openpai-bench-marks-"))
    try:
        with new_home() as home:
            _drain(f"echo >>{marks}/@", home=home)
            with closing(sqlite3.connect(home / "cluster.db")) as connection:
                ours = "SELECT id FROM jobs WHERE name <> 'blocker'"
                counts = {
                    table: connection.execute(
                        f"SELECT count(*) FROM {table} WHERE job_id IN ({ours})"
                    ).fetchone()[0]
                    for table in ("attempts", "tasks")
                }
        lengths = [(marks / str(number)).stat().st_size for number in range(COUNT)]
    finally:
        shutil.rmtree(marks)
    if set(lengths) != {1} or set(counts.values()) != {COUNT}:
        raise SystemExit(f"jobs were lost or doubled: {counts}, {len(lengths)} marks")
    return f"{len(lengths)} marks, {counts['attempts']} attempts, {counts['tasks']} task attempts"
