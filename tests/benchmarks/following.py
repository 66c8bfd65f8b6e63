# SPDX-License-Identifier: MIT
"""From a line written by a task to the line seen by those who follow its log."""

from __future__ import annotations

import bisect
import itertools
import json
import os
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType

from tests.benchmarks.documents import document, submit
from tests.benchmarks.serving import ServerProcess, cluster, new_home
from tests.benchmarks.timing import Row, clean_environment, percentile
from tests.benchmarks.wire import Connection

LINES_PER_S = 200
SECONDS = 10
PROCESSES = 2
_WRITER = """
import sys, time
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
begin = time.monotonic()
for number in range(int(rate * seconds)):
    time.sleep(max(0.0, begin + number / rate - time.monotonic()))
    sys.stdout.write("%d %d %s\\n" % (number, time.monotonic_ns(), "x" * 60))
    sys.stdout.flush()
"""
"""Run with the rate and the seconds; each line says when it was written."""


def measure_following() -> Iterator[Row]:
    """Yield a row for one follower and one for a hundred."""
    for count, reach, stretch in ((1, "p50 <= 20 ms", "<= 1 ms"), (100, "p99 <= 50 ms", "<= 10 ms")):
        latencies, lost, share = _follow(count)
        shown = " / ".join(f"{percentile(latencies, one) * 1000:.2f}" for one in (50, 99, 100))
        title = f"line written to line seen, {LINES_PER_S} lines/s, followers: {count}"
        measured = f"p50/p99/max {shown} ms, {lost} lost, {share:.0%} CPU"
        yield (title, measured, f"{reach}, none lost", stretch)


def _follow(count: int) -> tuple[list[float], int, float]:
    """Return the delays of all lines at all followers in seconds, how many are missing, and the CPU share."""
    with cluster() as server, server.connect() as connection, new_home() as folder:
        gate = folder / "gate"
        os.mkfifo(gate)
        command = f"read line <{gate}; {writer_command(LINES_PER_S, SECONDS)}"
        job = submit(server, connection, document("writer", command))
        with Followers(server, job, count) as followers:
            cpu, begin = server.cpu_s(), time.perf_counter()
            gate.write_text("go\n")
            seen = followers.end()
            share = (server.cpu_s() - cpu) / (time.perf_counter() - begin)
    expected = list(range(LINES_PER_S * SECONDS))
    if any([number for number, _ in one] != sorted({number for number, _ in one}) for one in seen):
        raise SystemExit("lines came twice or out of order")
    lost = sum(len(expected) - len(one) for one in seen)
    return [seconds for one in seen for _, seconds in one], lost, share


def writer_command(rate: int, seconds: int) -> str:
    """Return the shell command of the writer."""
    return f"{sys.executable} -c {shlex.quote(_WRITER)} {rate} {seconds}"


class Followers:
    """Clients in processes of their own that follow a job."""

    def __init__(self, server: ServerProcess, job: str, count: int) -> None:
        parts = min(count, PROCESSES)
        self._processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.following",
                    str(server.port),
                    job,
                    str(count // parts),
                ],
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(parts)
        ]
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(server.token + "\n")  # never on a command line
            process.stdin.flush()

    def __enter__(self) -> Followers:
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("the followers do not get an answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def end(self) -> list[list[tuple[int, float]]]:
        """Wait for the end of the job; returns each follower's lines, as numbers and delays."""
        return [one for process in self._processes for one in json.loads(process.communicate()[0])]


def main() -> None:
    """Follow a job by as many connections as the command line says, and print when its lines came."""
    port, job, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    token = sys.stdin.readline().strip()
    selector = selectors.DefaultSelector()
    connections = [Connection(port, token) for _ in range(count)]
    arrivals: list[list[tuple[int, bytes]]] = [[] for _ in range(count)]
    for connection, pieces in zip(connections, arrivals, strict=True):
        connection.send("GET", f"/local/v1/follow?job={job}")
        selector.register(connection.socket, selectors.EVENT_READ, pieces)
    is_ready = False
    while selector.get_map():
        for key, _ in selector.select():
            piece = key.fileobj.recv(262144)  # type: ignore[union-attr]
            key.data.append((time.monotonic_ns(), piece))
            if not piece or piece.endswith(b"\r\n0\r\n\r\n"):
                selector.unregister(key.fileobj)
        if not is_ready and all(arrivals):
            is_ready = True
            print("ready", flush=True)
    print(json.dumps([_delays(pieces) for pieces in arrivals]))


def _delays(pieces: list[tuple[int, bytes]]) -> list[tuple[int, float]]:
    """Return the lines in what came in, by number, each with the seconds from writing to arrival."""
    data = b"".join(piece for _, piece in pieces)
    ends = list(itertools.accumulate(len(piece) for _, piece in pieces))
    found: list[tuple[int, float]] = []
    position = data.index(b"\r\n\r\n") + 4
    while True:
        length, _, _ = data[position : position + 20].partition(b"\r\n")
        start = position + len(length) + 2
        end = start + int(length, 16)
        if start == end:
            return found
        arrived_ns = pieces[bisect.bisect_left(ends, end)][0]
        for line in data[start:end].splitlines():
            event = json.loads(line)
            for text in event["text"].splitlines() if event["type"] == "log" else ():
                number, written_ns, _ = text.split()
                found.append((int(number), (arrived_ns - int(written_ns)) / 1e9))
        position = end + 2


if __name__ == "__main__":
    main()
