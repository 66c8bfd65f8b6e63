# SPDX-License-Identifier: MIT
"""What commands and Python calls cost that use the embedded cluster: the table of step 1."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.serving import new_home
from tests.benchmarks.size import measure_installed_size
from tests.benchmarks.timing import (
    Comparison,
    Row,
    clean_environment,
    compare,
    compare_processes,
    time_process,
)

PYTHON = sys.executable
OPAI = str(Path(PYTHON).with_name("opai"))
BASE = [PYTHON, "-c", "pass"]
DISTURBING_HERE = ("PAI_SDK_CLUSTER_ALIAS", "PAI_SDK_FORMAT")


@contextmanager
def server() -> Iterator[None]:
    """Run an embedded cluster with two slots in a home of its own, which commands find."""
    with new_home() as home:
        os.environ.update(OPENPAI_HOME=str(home))
        for name in DISTURBING_HERE:
            os.environ.pop(name, None)
        environment = clean_environment()
        subprocess.run(
            [OPAI, "local", "start", "--cpu", "2"], env=environment, check=True, capture_output=True
        )
        try:
            yield
        finally:
            subprocess.run(
                [OPAI, "local", "stop", "--kill"], env=environment, check=True, capture_output=True
            )


def times_base(result: Comparison) -> str:
    return f"{result.ratio:.2f} x base ({result.median * 1000:.1f} ms)"


def measure_help() -> Iterator[Row]:
    for words in (["-h"], ["job", "-h"]):
        result = compare_processes([OPAI, *words], BASE, clean_environment())
        yield (f"opai {' '.join(words)}", times_base(result), "<= 3.0 x base", "<= 2.2 x base")


def measure_list() -> Iterator[Row]:
    cluster = open_cluster()
    submit_many(1000, "listed")
    document = f"""
import requests
print(len(requests.get({cluster.pai_uri + "/api/v2/jobs?limit=50&username=" + cluster.user!r},
      headers={{"Authorization": "Bearer " + open({token_file()!r}).read()}}, timeout=60).json()))
"""
    result = compare_processes([OPAI, "job", "list"], [PYTHON, "-c", document], clean_environment())
    measured = f"{result.ratio:.2f} x requests ({result.median * 1000:.1f} ms)"
    yield ("opai job list, 50 of 1,000 jobs", measured, "<= 1.2 x", "<= 0.5 x")


def token_file() -> str:
    """Write the token to where the one-liner reads it, so that it stands on no command line."""
    from openpaisdk.embedded import read_server_file

    path = Path(os.environ["OPENPAI_HOME"]) / "bench-token"
    path.touch(mode=0o600)
    path.write_text((read_server_file() or {})["token"])
    return str(path)


def measure_fast() -> Iterator[Row]:
    number = iter(range(10**6))
    environment = clean_environment()

    def fast() -> float:
        command = [OPAI, "job", "fast", "-j", f"fast-{next(number)}", "-i", "python:3.11", "--wait", "true"]
        return time_process(command, environment)

    result = compare(fast, lambda: time_process(BASE, environment), runs=15)
    yield ("opai job fast --wait true, warm", times_base(result), "<= 0.3 s", "<= 6 x base")


def measure_python() -> Iterator[Row]:
    cluster = open_cluster()
    number = iter(range(10**6))

    def once() -> float:
        begin = time.perf_counter()
        handle = one_task_job(f"python-{next(number)}").submit(cluster)
        state = handle.wait()["state"]
        seconds = time.perf_counter() - begin
        if state != "SUCCEEDED":
            raise SystemExit(f"a job of `true` ended as {state}")
        return seconds

    def bare() -> float:
        begin = time.perf_counter()
        subprocess.run(["bash", "-c", "true"], check=True)
        return time.perf_counter() - begin

    result = compare(once, bare, runs=30)
    measured = f"{result.median * 1000:.1f} ms ({result.ratio:.1f} x bare bash)"
    yield ("the same from Python, submit to result", measured, "<= 50 ms", "<= 10 ms")


def measure_rate() -> Iterator[Row]:
    rates = [200 / submit_many(200, f"rate-{turn}") for turn in range(3)]
    shown = " ".join(f"{rate:.0f}" for rate in sorted(rates))
    yield (
        "200 jobs of `true` from one Python loop, 2 slots",
        f"{shown} jobs/s",
        ">= 50 jobs/s",
        ">= 200 jobs/s",
    )


def submit_many(count: int, prefix: str) -> float:
    """Submit jobs in a loop, wait for all; returns the seconds from the first submission to the last end."""
    cluster = open_cluster()
    begin = time.perf_counter()
    names = [one_task_job(f"{prefix}-{number}").submit(cluster).name for number in range(count)]
    results = cluster.wait(names)
    seconds = time.perf_counter() - begin
    failed = [result for result in results if result["state"] != "SUCCEEDED"]
    if failed:
        raise SystemExit(f"{len(failed)} of {count} jobs did not succeed: {failed[0]}")
    return seconds


def open_cluster() -> Any:
    from openpaisdk.core import Cluster

    return Cluster.from_alias("local")


def one_task_job(name: str) -> Any:
    from openpaisdk.job import Job

    return Job.fast(name, ["true"], image="python:3.11")


COMMANDS: dict[str, Callable[[], Iterator[Row]]] = {
    "help": measure_help,
    "list": measure_list,
    "fast": measure_fast,
    "python": measure_python,
    "rate": measure_rate,
    "size": measure_installed_size,
}
