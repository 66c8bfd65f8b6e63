# SPDX-License-Identifier: MIT
"""Pages of 50 jobs, the first and the last of those followed in order, of 100,000 jobs and of 10,000."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import JobQuery
from tests.benchmarks.seed import finished_jobs
from tests.benchmarks.serving import ServerProcess, bare, cluster
from tests.benchmarks.timing import Row, percentile, spread
from tests.benchmarks.wire import closed_loop, request_bytes

MANY, FEW = 100_000, 10_000
LIMIT = 50
ENDS = 10
"""So many pages count as the first ones of a list, and so many as the last ones."""
ROUNDS = 5
CLIENTS = 8
SECONDS = 3.0
TURNS = 5
_QUERIES = {"newest": {}, "by user": {"username": "user3"}, "by state": {"state": "FAILED"}}
_FIELDS = {"username": "users", "state": "states"}


def measure_paging() -> Iterator[Row]:
    """Yield the rows of the store and of the REST API."""
    yield from _measure_store()
    yield from _measure_rest()


def _measure_store() -> Iterator[Row]:
    stores = {count: JobStore(str(finished_jobs(count))) for count in (MANY, FEW)}
    try:
        for name, parameters in _QUERIES.items():
            query = {_FIELDS[key]: (value,) for key, value in parameters.items()}
            ends: dict[tuple[int, str], list[float]] = {}
            for _ in range(ROUNDS):
                for count, store in stores.items():
                    pages = _follow(store, query)
                    ends.setdefault((count, "first"), []).extend(pages[:ENDS])
                    ends.setdefault((count, "last"), []).extend(pages[-ENDS:])
            for end in ("first", "last"):
                many, few = ends[MANY, end], ends[FEW, end]
                ratio = percentile(many, 50) / percentile(few, 50)
                measured = f"{ratio:.2f} x ({spread(many, 1000, 3)} ms)"
                yield (
                    f"page of 50 {name}, 100,000 jobs, {end} pages",
                    measured,
                    "<= 1.3 x 10,000",
                    "<= 1.05 x",
                )
    finally:
        for store in stores.values():
            store.close()


def _follow(store: JobStore, query: Mapping[str, tuple[str, ...]]) -> list[float]:
    """Read all pages in order; returns the seconds of each full one."""
    taken = []
    for offset in itertools.count(0, LIMIT):
        asked = JobQuery(**query, offset=offset, limit=LIMIT)  # type: ignore[arg-type]
        begin = time.perf_counter()
        jobs, _ = store.page(asked, "reader")
        taken.append(time.perf_counter() - begin)
        if len(jobs) < LIMIT:
            return taken[:-1]
    return taken


def _measure_rest() -> Iterator[Row]:
    database = finished_jobs(MANY)
    with cluster(database) as ours, bare("--database", str(database)) as theirs:
        for name, parameters in _QUERIES.items():
            offset, before = _follow_over_rest(ours, parameters)
            for end, last, place in (("first", 0, ""), ("last", offset, str(before))):
                path = "/api/v2/jobs?" + urlencode({**parameters, "offset": last, "limit": LIMIT})
                bare_path = "/jobs?" + urlencode(
                    {"user" if key == "username" else key: value for key, value in parameters.items()}
                    | ({"before": place} if place else {})
                )
                yield from _compare(name, end, ours, path, theirs, bare_path)


def _follow_over_rest(server: ServerProcess, parameters: dict[str, str]) -> tuple[int, int]:
    """Read all pages in order; returns the offset of the last full one, and the id of the job before it."""
    offset, before, previous = 0, 0, 0
    with server.connect() as connection:
        while True:
            asked = urlencode({**parameters, "offset": offset, "limit": LIMIT})
            jobs = connection.json("GET", f"/api/v2/jobs?{asked}")
            if len(jobs) < LIMIT:
                return offset - LIMIT, before
            before, previous = previous, int(jobs[-1]["name"].rpartition("-")[2])
            offset += LIMIT


def _compare(
    name: str, end: str, ours: ServerProcess, path: str, theirs: ServerProcess, bare_path: str
) -> Iterator[Row]:
    taken: list[float] = []
    ratios, cpu_ratios = [], []
    for turn in range(TURNS + 1):
        rates, cpus = [], []
        for server, one in ((ours, path), (theirs, bare_path)):
            request = request_bytes(server.port, "GET", one, server.token)
            cpu = server.cpu_s()
            seconds, whole = closed_loop(
                server.port, itertools.repeat(request), clients=CLIENTS, seconds=SECONDS if turn else 0.5
            )
            rates.append(len(seconds) / whole)
            cpus.append((server.cpu_s() - cpu) / len(seconds))
            if turn and server is ours:
                taken += seconds
        if turn:  # the first turn warms up
            ratios.append(rates[0] / rates[1])
            cpu_ratios.append(cpus[1] / cpus[0])
    what = f"page of 50 {name} over REST, {end} page"
    yield (f"{what}, p99 with 8 clients", f"{percentile(taken, 99) * 1000:.1f} ms", "<= 20 ms", "<= 10 ms")
    measured = f"{spread(ratios, digits=2)} x (by CPU time {spread(cpu_ratios, digits=2)} x)"
    yield (f"{what}, rate against bare Starlette", measured, ">= 0.8 x", ">= 0.9 x")
