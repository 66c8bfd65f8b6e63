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
    """Return the servers of this home, also one that is only just starting.

    A child that is about to become the supervisor of a task looks like its server for a moment; it is none.
    """
    found = _pids_with("cmdline", f"openpaisdk.local\0serve\0--home\0{home}\0".encode())
    return [pid for pid in found if _parent_of(pid) not in found]


def _parent_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        # "pid (name) state parent …", where the name may hold anything
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def _pids_with(file: str, text: bytes) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and text in Path(f"/proc/{name}/{file}").read_bytes():
                found.append(int(name))
    return found
