# SPDX-License-Identifier: MIT
"""Server processes that are measured: ours and bare ones, what they use, and their certain end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import clean_environment
from tests.benchmarks.wire import Connection

_TICKS = os.sysconf("SC_CLK_TCK")
_END_TIMEOUT_S = 30


class ServerProcess:
    """A server that listens on loopback; ours when it has a token."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self.process = process
        self.pid = process.pid
        self.port: int = ready["port"]
        self.token: str = ready.get("token", "")
        self.user: str = ready.get("user", "")

    def connect(self) -> Connection:
        """Return a connection that sends the token."""
        return Connection(self.port, self.token)

    def resident_mb(self) -> float:
        """Return the resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float:
        """Return the CPU time of all threads; finer than the ticks of ``stat`` where the kernel tells it."""
        try:
            tasks = Path(f"/proc/{self.pid}/task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except FileNotFoundError:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS

    def end(self) -> None:
        """End the server and all its tasks."""
        try:
            if self.process.poll() is None and self.token:
                with self.connect() as connection:
                    connection.json("POST", "/local/v1/shutdown", {"mode": "kill"})
            elif self.process.poll() is None:
                self.process.terminate()
            self.process.wait(_END_TIMEOUT_S)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise


def start_process(module: str, *options: str) -> ServerProcess:
    """Start ``python -m module`` and return it when it says on ``--ready-fd`` that it answers."""
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8") as pipe:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *options, "--ready-fd", str(writer)],
                pass_fds=[writer],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(writer)
        ready = json.loads(pipe.readline() or "{}")
    if "port" not in ready:
        process.kill()
        process.wait()
        raise SystemExit(f"{module} does not start: {ready.get('error', 'it says nothing')}")
    return ServerProcess(process, ready)


def start_cluster(home: Path, *, cpu: int = 2) -> ServerProcess:
    """Start an embedded cluster in a home folder."""
    return start_process("openpaisdk.local", "serve", "--home", str(home), "--cpu", str(cpu), "--mem", "64g")


@contextmanager
def cluster(database: Path | None = None, *, cpu: int = 2) -> Iterator[ServerProcess]:
    """Run an embedded cluster in a home of its own, on a copy of a database if there is one."""
    with new_home(database) as home:
        server = start_cluster(home, cpu=cpu)
        try:
            yield server
        finally:
            server.end()


@contextmanager
def bare(*options: str) -> Iterator[ServerProcess]:
    """Run a bare server."""
    server = start_process("tests.benchmarks.bare", *options)
    try:
        yield server
    finally:
        server.end()


@contextmanager
def new_home(database: Path | None = None) -> Iterator[Path]:
    """Make a home folder that is removed in the end."""
    home = Path(tempfile.mkdtemp(prefix="openpai-bench-"))
    try:
        if database is not None:
            shutil.copy(database, home / "cluster.db")
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
