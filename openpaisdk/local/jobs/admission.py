# SPDX-License-Identifier: MIT
"""How much of the machine is free, and what a task takes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openpaisdk.local.records import Machine
from openpaisdk.spec.model import JobSpec, Resources


@dataclass(frozen=True, slots=True)
class Request:
    """What a task asks for; a real cluster takes numbers below zero too, and so they count as nothing."""

    cpu: int
    gpu: int
    memory_mb: int

    @classmethod
    def of(cls, resources: Resources) -> Request:
        """Return what the document says."""
        return cls(max(0, resources.cpu), max(0, resources.gpu), max(0, resources.memory_mb))

    def times(self, count: int) -> Request:
        return Request(self.cpu * count, self.gpu * count, self.memory_mb * count)

    def plus(self, other: Request) -> Request:
        return Request(self.cpu + other.cpu, self.gpu + other.gpu, self.memory_mb + other.memory_mb)

    def within(self, other: Request) -> bool:
        return self.cpu <= other.cpu and self.gpu <= other.gpu and self.memory_mb <= other.memory_mb


NOTHING = Request(0, 0, 0)


def total(requests: Iterable[Request]) -> Request:
    """Return the sum of several requests."""
    result = NOTHING
    for request in requests:
        result = result.plus(request)
    return result


def smallest_need(spec: JobSpec) -> Request:
    """Return what must be free at once for the job ever to run: all its tasks, or with no gang its
    largest.
    """
    requests = [(Request.of(role.resources), role.instances) for role in spec.task_roles]
    if spec.gang_allocation:
        return total(request.times(count) for request, count in requests)
    return Request(
        max(request.cpu for request, _ in requests),
        max(request.gpu for request, _ in requests),
        max(request.memory_mb for request, _ in requests),
    )


def refusal(spec: JobSpec, machine: Machine) -> str | None:
    """Return why the machine can never run the job, or ``None``.

    A real cluster lets such a job wait for ever (protocol-v2 §2.2 has no upper limits).
    """
    need = smallest_need(spec)
    have = Request(machine.cpu, len(machine.gpus), machine.memory_mb)
    if need.within(have):
        return None
    units = (
        ("CPU", need.cpu, have.cpu),
        ("GPU", need.gpu, have.gpu),
        ("MB of memory", need.memory_mb, have.memory_mb),
    )
    lacking = ", ".join(
        f"{wanted} {unit} (there are {there})" for unit, wanted, there in units if wanted > there
    )
    which = "at once" if spec.gang_allocation else "for one task"
    return f"job {spec.name!r} asks {which} for more than this machine has: {lacking}"


class Pool:
    """The free part of the machine.

    Args:
        machine: All there is.
    """

    def __init__(self, machine: Machine) -> None:
        self.free = Request(machine.cpu, len(machine.gpus), machine.memory_mb)
        self._gpus = list(machine.gpus)

    def take(self, request: Request) -> tuple[int, ...]:
        """Take what a task asks for; returns the GPUs that it gets."""
        self.free = self.free.plus(request.times(-1))
        gpus, self._gpus = tuple(self._gpus[: request.gpu]), self._gpus[request.gpu :]
        return gpus

    def take_again(self, request: Request, gpus: tuple[int, ...]) -> None:
        """Take what a running task of an earlier server has, also when the machine has less now."""
        self.free = self.free.plus(request.times(-1))
        self._gpus = [gpu for gpu in self._gpus if gpu not in gpus]

    def give_back(self, request: Request, gpus: tuple[int, ...]) -> None:
        """Take back what an ended task had."""
        self.free = self.free.plus(request)
        self._gpus = sorted({*self._gpus, *gpus})
