# SPDX-License-Identifier: MIT
"""Submissions over REST by four clients, each synced to the disk before its 202."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.documents import document, stop, submissions, submit
from tests.benchmarks.serving import ServerProcess, cluster
from tests.benchmarks.timing import Row, percentile, spread
from tests.benchmarks.wire import closed_loop

COUNT = 1000
CLIENTS = 4
TURNS = 5


def measure_submissions() -> Iterator[Row]:
    """Yield a row for a cluster whose slots are taken, and one for a cluster that runs the jobs meanwhile."""
    for title, blocked in (("slots taken", True), ("jobs run meanwhile", False)):
        rates, p99s, cpus = [], [], []
        for turn in range(TURNS):
            with cluster() as server, server.connect() as connection:
                if blocked:
                    blocker = submit(server, connection, document("blocker", "sleep 1000", cpu=2))
                cpu = server.cpu_s()
                seconds, whole = _submit_all(server, turn)
                cpus.append((server.cpu_s() - cpu) / COUNT)
                if blocked:
                    stop(connection, blocker)
            rates.append(COUNT / whole)
            p99s.append(percentile(seconds, 99))
        measured = (
            f"{spread(rates)}/s, p99 {percentile(p99s, 50) * 1000:.1f} ms, {spread(cpus, 1000, 2)} ms CPU"
        )
        yield (f"submissions over REST, 4 clients, {title}", measured, ">= 200/s", ">= 800/s")


def _submit_all(server: ServerProcess, turn: int) -> tuple[list[float], float]:
    jobs = (document(f"job-{turn}-{number}", "true") for number in range(COUNT))
    requests = iter(list(submissions(server, jobs)))
    return closed_loop(server.port, requests, clients=CLIENTS, status=202)
