# SPDX-License-Identifier: MIT
"""What this machine has: CPUs, memory, GPUs, as far as this process may use them."""

from __future__ import annotations

import os
import shutil
import subprocess

_NVIDIA_TIMEOUT_S = 10
_CGROUP = "/sys/fs/cgroup"


def usable_cpus() -> int:
    """Return how many CPUs this process may use, at least 1; a cgroup's quota counts in whole CPUs."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cpus = os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, cpus if quota is None else min(cpus, quota))


def _cgroup_cpus() -> int | None:
    words = _read(f"{_CGROUP}/cpu.max").split()
    if len(words) == 2:
        quota, period = words
    else:
        quota = _read(f"{_CGROUP}/cpu/cpu.cfs_quota_us").strip()
        period = _read(f"{_CGROUP}/cpu/cpu.cfs_period_us").strip()
    if not (quota.isdecimal() and period.isdecimal()):  # "max", "-1", or no such file
        return None
    return -(-int(quota) // int(period))


def usable_memory_mb() -> int:
    """Return the memory of the machine, or the limit of this process's cgroup when that is lower."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        total = 8 * 1024**3
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = _read(f"{_CGROUP}/{name}").strip()
        if limit.isdecimal():
            total = min(total, int(limit))
    return max(1, total // 1024**2)


def visible_gpus() -> tuple[int, ...]:
    """Return the numbers of the GPUs as ``nvidia-smi`` tells them, none when it is not there.

    A ``CUDA_VISIBLE_DEVICES`` of numbers narrows them, so that a server may be given a part of the machine.
    """
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        output = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_NVIDIA_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    present = [int(line) for line in output.split() if line.isdecimal()]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = [word.strip() for word in allowed.split(",")] if allowed else []
    if words and all(word.isdecimal() for word in words):
        return tuple(int(word) for word in words if int(word) in present)
    return tuple(present)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""
