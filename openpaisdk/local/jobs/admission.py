# SPDX-License-Identifier: MIT
"""How much of the machine is free, what a task takes of it, and what can never be given.

The machine is parted into virtual clusters. A job counts against the share of its virtual cluster, so that
the shares are guaranteed; an opportunistic one (``jobPriorityClass: oppo``) counts against none and takes
what is free anywhere, until somebody with a right to it needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from openpaisdk.local.records import Machine
from openpaisdk.spec.model import JobSpec, Resources

OPPORTUNISTIC = "oppo"


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

    def minus(self, other: Request) -> Request:
        return Request(self.cpu - other.cpu, self.gpu - other.gpu, self.memory_mb - other.memory_mb)

    def within(self, other: Request) -> bool:
        return self.cpu <= other.cpu and self.gpu <= other.gpu and self.memory_mb <= other.memory_mb

    def capped(self, other: Request) -> Request:
        """Return the smaller amount of each kind."""
        return Request(
            min(self.cpu, other.cpu), min(self.gpu, other.gpu), min(self.memory_mb, other.memory_mb)
        )

    def lacking(self, other: Request) -> str:
        """Return in words what of this is more than there is in ``other``."""
        units = (
            ("CPU", self.cpu, other.cpu),
            ("GPU", self.gpu, other.gpu),
            ("MB of memory", self.memory_mb, other.memory_mb),
        )
        return ", ".join(
            f"{wanted} {unit} (there are {max(0, there)})" for unit, wanted, there in units if wanted > there
        )


NOTHING = Request(0, 0, 0)


def total(requests: Iterable[Request]) -> Request:
    """Return the sum of several requests."""
    result = NOTHING
    for request in requests:
        result = result.plus(request)
    return result


def largest(requests: Iterable[Request]) -> Request:
    """Return what satisfies each of several requests, one at a time."""
    result = NOTHING
    for request in requests:
        result = Request(
            max(result.cpu, request.cpu),
            max(result.gpu, request.gpu),
            max(result.memory_mb, request.memory_mb),
        )
    return result


def smallest_need(spec: JobSpec) -> Request:
    """Return what must be free at once for the job ever to run: all its tasks, or with no gang its
    largest.
    """
    requests = [(Request.of(role.resources), role.instances) for role in spec.task_roles]
    if spec.gang_allocation:
        return total(request.times(count) for request, count in requests)
    return largest(request for request, _ in requests)


def shares_problem(machine: Machine) -> str | None:
    """Return what is wrong with the declared shares, ``None`` when the machine can give them all at once."""
    asked = total(Request(*amounts) for amounts in machine.shares().values())
    have = Request(machine.cpu, len(machine.gpus), machine.memory_mb)
    if asked.within(have):
        return None
    return f"the virtual clusters have more together than this machine: {asked.lacking(have)}"


def share_of(spec: JobSpec) -> str | None:
    """Return the virtual cluster whose share the job counts against, ``None`` when it is opportunistic."""
    return None if spec.priority == OPPORTUNISTIC else spec.virtual_cluster


def refusal(spec: JobSpec, machine: Machine) -> str | None:
    """Return why the job can never run here, or ``None``.

    A real cluster lets such a job wait for ever (protocol-v2 §2.2 has no upper limits).
    """
    need = smallest_need(spec)
    share = share_of(spec)
    whole = Request(machine.cpu, len(machine.gpus), machine.memory_mb)
    have = whole if share is None else Request(*machine.shares().get(share, (0, 0, 0)))
    if need.within(have):
        return None
    where = "this machine" if have == whole else f"virtual cluster {share!r}"
    which = "at once" if spec.gang_allocation else "for one task"
    return f"job {spec.name!r} asks {which} for more than {where} has: {need.lacking(have)}"


class Pool:
    """What is free, of the machine and of each virtual cluster's share.

    Args:
        machine: All there is.
    """

    def __init__(self, machine: Machine) -> None:
        self.whole = Request(machine.cpu, len(machine.gpus), machine.memory_mb)
        self.free = self.whole
        """Of the machine; below nothing when tasks of an earlier server have more than there is now."""
        self._shares = {name: Request(*amounts) for name, amounts in machine.shares().items()}
        self._taken: dict[str | None, Request] = {}
        self._gpus = list(machine.gpus)

    def size(self, share: str | None) -> Request:
        """Return all that a share has; ``None`` is the whole machine."""
        return self.whole if share is None else self._shares.get(share, NOTHING)

    def room(self, share: str | None) -> Request:
        """Return what of a share is not taken, though opportunistic jobs may be using it."""
        if share is None:
            return self.free
        return self.size(share).minus(self._taken.get(share, NOTHING))

    def take(self, share: str | None, request: Request) -> tuple[int, ...]:
        """Take what a task asks for; returns the GPUs that it gets."""
        gpus, self._gpus = tuple(self._gpus[: request.gpu]), self._gpus[request.gpu :]
        self._count(share, request)
        return gpus

    def take_again(self, share: str | None, request: Request, gpus: tuple[int, ...]) -> None:
        """Take what a running task of an earlier server has, also when the machine has less now."""
        self._gpus = [gpu for gpu in self._gpus if gpu not in gpus]
        self._count(share, request)

    def give_back(self, share: str | None, request: Request, gpus: tuple[int, ...]) -> None:
        """Take back what an ended task had."""
        self._gpus = sorted({*self._gpus, *gpus})
        self._count(share, request.times(-1))

    def _count(self, share: str | None, request: Request) -> None:
        self.free = self.free.minus(request)
        self._taken[share] = self._taken.get(share, NOTHING).plus(request)
