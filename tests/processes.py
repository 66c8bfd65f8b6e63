# SPDX-License-Identifier: MIT
"""Looking at real processes from outside, and waiting for what they do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 60


def until(condition: Callable[[], object]) -> None:
    """Return when something has come true."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def lines_of(path: Path) -> list[str]:
    """Return what has been written to a file so far, nothing before it is there."""
    return path.read_text().splitlines() if path.exists() else []


def task_pids(home: Path) -> list[int]:
    """Return the processes of tasks, which have a folder of this home in their environment."""
    return _pids_with("environ", f"={home}/tasks/".encode())


def server_pids(home: Path) -> list[int]:
    """Return the servers of this home, also one that is only just starting."""
    return _pids_with("cmdline", f"openpaisdk.local\0serve\0--home\0{home}\0".encode())


def _pids_with(file: str, text: bytes) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and text in Path(f"/proc/{name}/{file}").read_bytes():
                found.append(int(name))
    return found
