# SPDX-License-Identifier: MIT
"""What the embedded cluster knows of jobs, attempts and tasks: the rows of its database, as typed records.

Moments are whole milliseconds since the epoch, as the REST API sends them (rest-api-v2 §1). States are
two: ``sub_state`` is the orchestrator's (``AttemptRunning``, ``Completed``, …), and the state that users
see follows from it and the exit code (rest-api-v2 §4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from openpaisdk.spec.state import JobState

STOP_CODE = -210
"""Exit code of a job that its user stopped."""
COMPLETION_CODE = -220
"""Exit code of a task that was ended because its job attempt was over."""
PREEMPTED_CODE = -1003
"""Exit code of what had to make room: PodPreemptedForCriticalPod, which is tried again."""


class SubState(str, Enum):
    """The orchestrator's states that the embedded cluster passes through."""

    CREATION_PENDING = "AttemptCreationPending"
    PREPARING = "AttemptPreparing"
    RUNNING = "AttemptRunning"
    DELETION_PENDING = "AttemptDeletionPending"
    ATTEMPT_COMPLETED = "AttemptCompleted"
    COMPLETED = "Completed"


_STOPPED_CODES = (STOP_CODE, COMPLETION_CODE)


def visible_state(sub_state: SubState, exit_code: int | None) -> JobState:
    """Return the state that the REST API shows for a job or task (rest-api-v2 §4)."""
    if sub_state in (SubState.CREATION_PENDING, SubState.PREPARING):
        return JobState.WAITING
    if sub_state is SubState.RUNNING:
        return JobState.RUNNING
    if sub_state is SubState.COMPLETED:
        return final_state(exit_code)
    return JobState.STOPPING if exit_code in _STOPPED_CODES else JobState.RUNNING


def visible_attempt_state(sub_state: SubState, exit_code: int | None) -> JobState:
    """Return the state that the REST API shows for an attempt: it is over before its retry is decided."""
    if sub_state is SubState.ATTEMPT_COMPLETED:
        return final_state(exit_code)
    return visible_state(sub_state, exit_code)


def final_state(exit_code: int | None) -> JobState:
    """Return how something ended that has ended with this code."""
    if exit_code == 0:
        return JobState.SUCCEEDED
    return JobState.STOPPED if exit_code in _STOPPED_CODES else JobState.FAILED


@dataclass(kw_only=True, slots=True)
class Outcome:
    """How an attempt of a job or of a task ended."""

    exit_code: int
    diagnostics: str = ""
    user_exit_code: int | None = None
    """Exit code of the user's own command, ``None`` when it was ended from outside or never ran."""
    runtime: dict[str, Any] | None = None
    """What a real cluster's runtime reports (``exitCode``, ``originUserExitCode``, ``errorLogs``, …)."""
    trigger_message: str | None = None
    trigger_role: str | None = None
    trigger_index: int | None = None


@dataclass(kw_only=True, slots=True)
class JobRecord:
    """A job as lists show it; the newest attempt's outcome is in ``outcome``."""

    id: int
    user: str
    name: str
    sub_state: SubState
    stop_requested: bool = False
    virtual_cluster: str = "default"
    priority: str | None = None
    submitted_ms: int
    created_ms: int | None = None
    launched_ms: int | None = None
    completed_ms: int | None = None
    attempt_id: int | None = None
    """Number of the newest attempt, from 0; ``None`` while the job waits for its first."""
    counted_retries: int = 0
    retry_at_ms: int | None = None
    total_gpu: int = 0
    total_tasks: int = 0
    total_roles: int = 0
    tags: tuple[str, ...] = ()
    outcome: Outcome | None = None

    @property
    def framework(self) -> str:
        """The name in URLs, ``user~job``."""
        return f"{self.user}~{self.name}"

    @property
    def state(self) -> JobState:
        return visible_state(self.sub_state, self._shown_code)

    @property
    def retries(self) -> int:
        return self.attempt_id or 0

    @property
    def _shown_code(self) -> int | None:
        if self.outcome is not None:
            return self.outcome.exit_code
        return None


class JobRow(NamedTuple):
    """A job in a page of a list, as it is in the database: a page is read more often than anything else, and
    only to be written out again.
    """

    id: int
    user: str
    name: str
    sub_state: str
    stop_requested: int
    virtual_cluster: str
    priority: str | None
    submitted_ms: int
    created_ms: int | None
    launched_ms: int | None
    completed_ms: int | None
    attempt_id: int | None
    counted_retries: int
    retry_at_ms: int | None
    total_gpu: int
    total_tasks: int
    total_roles: int
    tags: str
    """Joined by commas."""
    exit_code: int | None
    state: str
    place: int | str
    """What the list is ordered by."""


@dataclass(kw_only=True, slots=True)
class AttemptRecord:
    """One attempt of a job."""

    job_id: int
    attempt_id: int
    uid: str
    sub_state: SubState
    created_ms: int
    launched_ms: int | None = None
    completed_ms: int | None = None
    outcome: Outcome | None = None

    @property
    def state(self) -> JobState:
        return visible_attempt_state(self.sub_state, self.outcome.exit_code if self.outcome else None)


@dataclass(kw_only=True, slots=True)
class TaskRecord:
    """One attempt of one task; its files are in the folder named after ``pod_uid``."""

    job_id: int
    job_attempt_id: int
    role: str
    """Converted name, as the REST API shows it."""
    index: int
    attempt_id: int
    counted_retries: int = 0
    pod_uid: str
    sub_state: SubState
    created_ms: int
    launched_ms: int | None = None
    completed_ms: int | None = None
    ports: dict[str, list[int]] = field(default_factory=dict)
    gpus: tuple[int, ...] = ()
    pid: int | None = None
    outcome: Outcome | None = None

    @property
    def key(self) -> tuple[str, int]:
        return (self.role, self.index)

    @property
    def state(self) -> JobState:
        return visible_state(self.sub_state, self.outcome.exit_code if self.outcome else None)

    @property
    def attempt_state(self) -> JobState:
        return visible_attempt_state(self.sub_state, self.outcome.exit_code if self.outcome else None)


@dataclass(kw_only=True, slots=True)
class EventRecord:
    """Something worth telling that happened to a job or task (``GET …/events``)."""

    job_id: int
    at_ms: int
    type: str
    """``Normal`` or ``Warning``."""
    reason: str
    message: str
    role: str | None = None
    index: int | None = None
    pod_uid: str | None = None
    until_now: bool = False
    """Whether it goes on at this very moment."""


@dataclass(kw_only=True, slots=True, frozen=True)
class JobQuery:
    """Which jobs a list shows, and in what order (rest-api-v2 §5.2). Empty tuples mean no condition."""

    users: tuple[str, ...] = ()
    virtual_clusters: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    keyword: str | None = None
    tags_contain: tuple[str, ...] = ()
    tags_not_contain: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    """``default`` stands for jobs without a priority."""
    order_by: str = "submissionTime"
    descending: bool = True
    offset: int = 0
    limit: int = 5000
    with_total_count: bool = False


@dataclass(kw_only=True, slots=True, frozen=True)
class Machine:
    """What the machine has to give to tasks."""

    cpu: int
    memory_mb: int
    gpus: tuple[int, ...] = ()
    """Numbers of the devices, as ``CUDA_VISIBLE_DEVICES`` names them."""
    ip: str = "127.0.0.1"
    virtual_clusters: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Declared shares: name -> cpu, gpu, memory in MB."""

    def shares(self) -> dict[str, tuple[int, int, int]]:
        """Return what each virtual cluster has; ``default``, unless declared, has what the others leave."""
        declared = self.virtual_clusters
        if "default" in declared:
            return declared
        whole = (self.cpu, len(self.gpus), self.memory_mb)
        left = tuple(
            max(0, have - sum(amounts)) for have, *amounts in zip(whole, *declared.values(), strict=True)
        )
        return {"default": (left[0], left[1], left[2]), **declared}
