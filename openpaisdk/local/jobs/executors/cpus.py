# SPDX-License-Identifier: MIT
"""Which CPUs a task runs on: as many as it asked for, and none of another's while there are enough."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator


class CpuShares:
    """Hands out the CPUs that this process may use; those with the fewest tasks first."""

    def __init__(self) -> None:
        self._load = dict.fromkeys(_affinity(0), 0)

    def take(self, count: int) -> frozenset[int]:
        """Return the CPUs of a task; the empty set when it may use all of them."""
        if not 0 < count < len(self._load):
            return frozenset()
        cpus = frozenset(sorted(self._load, key=lambda cpu: (self._load[cpu], cpu))[:count])
        self._add(cpus, 1)
        return cpus

    def take_again(self, pid: int) -> frozenset[int]:
        """Note the CPUs of a task that runs already."""
        cpus = frozenset(_affinity(pid))
        if not 0 < len(cpus) < len(self._load):
            return frozenset()
        self._add(cpus, 1)
        return cpus

    def give_back(self, cpus: Iterable[int]) -> None:
        """Take back the CPUs of a task that is over."""
        self._add(cpus, -1)

    def _add(self, cpus: Iterable[int], change: int) -> None:
        for cpu in cpus:
            if cpu in self._load:
                self._load[cpu] += change


@contextlib.contextmanager
def bound_to(cpus: frozenset[int]) -> Iterator[None]:
    """Let what is started inside the ``with`` block run on these CPUs only; the empty set changes nothing.

    This thread is bound itself meanwhile: a process that is bound after its start may have looked already.
    """
    if not cpus or sys.platform != "linux":
        yield
        return
    own = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # the machine has taken the CPUs away
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, own)


def _affinity(pid: int) -> list[int]:
    if sys.platform != "linux":
        return []
    try:
        return sorted(os.sched_getaffinity(pid))
    except OSError:
        return []
