# SPDX-License-Identifier: MIT
"""``python -m tests.benchmarks [--markdown] [NAME …]``: measure, and print a table with reach and stretch."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

from tests.benchmarks.commands import COMMANDS, server
from tests.benchmarks.faults import measure_faults
from tests.benchmarks.following import measure_following
from tests.benchmarks.footprint import measure_idle, measure_memory, measure_start
from tests.benchmarks.paging import measure_paging
from tests.benchmarks.queueing import measure_queue
from tests.benchmarks.storage import measure_storage
from tests.benchmarks.submitting import measure_submissions
from tests.benchmarks.timing import Row

CLUSTER: dict[str, Callable[[], Iterator[Row]]] = {
    "queue": measure_queue,
    "pages": measure_paging,
    "submit": measure_submissions,
    "logs": measure_following,
    "memory": measure_memory,
    "start": measure_start,
    "idle": measure_idle,
    "storage": measure_storage,
    "faults": measure_faults,
}
"""The tables of steps 2 and 3; the last row of step 2, 200 times ``kill -9``, is ``make chaos``."""
HEAD = ("measure", "measured", "reach", "stretch")


def main(words: list[str]) -> int:
    """Print the rows of the named measurements, or of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*COMMANDS, *CLUSTER]))
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all that was started is ended
    unknown = set(options.names) - {*COMMANDS, *CLUSTER}
    if unknown:
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}")
    wanted = options.names or [*COMMANDS, *CLUSTER]
    print_row = _print_markdown if options.markdown else _print_columns
    print_row(HEAD)
    if options.markdown:
        print_row(("---",) * 4)
    with server() if set(wanted) & set(COMMANDS) else contextlib.nullcontext():
        for name in wanted:
            if name in COMMANDS:
                for row in COMMANDS[name]():
                    print_row(row)
    for name in wanted:
        if name in CLUSTER:
            for row in CLUSTER[name]():
                print_row(row)
    return 0


def _print_columns(row: Row) -> None:
    print(f"{row[0]:64} {row[1]:56} {row[2]:20} {row[3]}", flush=True)


def _print_markdown(row: Row) -> None:
    print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
