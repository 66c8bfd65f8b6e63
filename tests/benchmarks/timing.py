# SPDX-License-Identifier: MIT
"""Times whole processes and calls, both sides in turn, so that a machine that slows down slows both."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# A shell at work often sets these; they change what a start of Python costs.
DISTURBING = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH")

Row = tuple[str, str, str, str]
"""A line of the table: what is measured, what came out, the reach, the stretch."""


@dataclass(frozen=True)
class Comparison:
    """Seconds of a command and of its baseline, run in turn."""

    seconds: Sequence[float]
    baseline_seconds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def baseline(self) -> float:
        return statistics.median(self.baseline_seconds)

    @property
    def ratio(self) -> float:
        """Median of the ratios pair by pair."""
        return statistics.median(a / b for a, b in zip(self.seconds, self.baseline_seconds, strict=True))


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment for processes that are timed."""
    kept = {name: value for name, value in os.environ.items() if name not in DISTURBING}
    return {**kept, **more}


def time_process(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return how many seconds a process takes from its start to its end; it must succeed."""
    begin = time.perf_counter()
    subprocess.run(
        command,
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin


def compare(
    one: Callable[[], float], other: Callable[[], float], *, runs: int, warm_ups: int = 2
) -> Comparison:
    """Time two things in turn."""
    for _ in range(warm_ups):
        one()
        other()
    pairs = [(one(), other()) for _ in range(runs)]
    return Comparison([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def compare_processes(
    command: Sequence[str], baseline: Sequence[str], environment: Mapping[str, str], *, runs: int = 15
) -> Comparison:
    """Time two commands in turn."""
    return compare(
        lambda: time_process(command, environment), lambda: time_process(baseline, environment), runs=runs
    )


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 0) -> str:
    """Return the median and, in brackets, the least and the most."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle * scale:.{digits}f} [{least * scale:.{digits}f}-{most * scale:.{digits}f}]"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
