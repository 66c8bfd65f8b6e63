# SPDX-License-Identifier: MIT
"""A job that is not over, and a task of it that runs, as the scheduler holds them in memory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openpaisdk._files import replace_file, sync_folder
from openpaisdk.constants import EXTRAS_KEY, OWN_STORAGE
from openpaisdk.local.home import TaskFiles
from openpaisdk.local.jobs.admission import Request, largest, share_of, total
from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.jobs.machine import Ending, JobStatus, Policy, RolePolicy, TaskKey
from openpaisdk.local.records import AttemptRecord, JobRecord, Outcome, TaskRecord
from openpaisdk.spec.model import JobSpec, TaskRole

MASK = "******"
"""What the REST API shows in the place of a job's secrets (protocol-v2 §8)."""


@dataclass(slots=True)
class LiveJob:
    """A job that is not over."""

    record: JobRecord
    spec: JobSpec
    secrets: Mapping[str, Any]
    status: JobStatus
    attempt: AttemptRecord | None = None
    tasks: dict[TaskKey, TaskRecord] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    ticket: int = 0
    """Its number among all that came to wait."""
    queued_ms: int = 0
    """When it began to wait."""
    queued_at_s: float = 0.0
    """The same by the loop's clock, which nobody sets."""
    blocked_by: str = ""
    """Why it could not start when it was first in line."""
    least: Request = field(init=False)
    """Without so much it can start nothing."""

    def __post_init__(self) -> None:
        requests = [(Request.of(role.resources), role.instances) for role in self.spec.task_roles]
        if self.spec.gang_allocation:
            self.least = total(request.times(count) for request, count in requests)
        else:
            self.least = requests[0][0]
            for request, _ in requests:
                self.least = self.least.capped(request)

    @property
    def share(self) -> str | None:
        """The virtual cluster whose share it counts against, ``None`` for an opportunistic job."""
        return share_of(self.spec)

    @property
    def place(self) -> tuple[int, int]:
        """What orders jobs that wait: priority, then ticket."""
        return (0 if self.spec.priority == "prod" else 1, self.ticket)

    def requests(self) -> dict[TaskKey, Request]:
        """Return what each task asks for that waits."""
        of_roles = {role.converted_name: Request.of(role.resources) for role in self.spec.task_roles}
        return {key: of_roles[key[0]] for key in self.status.waiting_tasks()}

    def need(self) -> Request:
        """Return what must be free for it to go on: for a gang all that waits, else any one task."""
        requests = self.requests().values()
        return total(requests) if self.spec.gang_allocation else largest(requests)

    def role(self, key: TaskKey) -> TaskRole:
        return next(role for role in self.spec.task_roles if role.converted_name == key[0])

    @property
    def sdk_extras(self) -> Mapping[str, Any]:
        extras = self.spec.extras.get(EXTRAS_KEY)
        return extras if isinstance(extras, dict) else {}

    @property
    def output_names(self) -> list[str]:
        return self._extra_texts("outputs")

    @property
    def archives(self) -> list[str]:
        """Paths of the files on this cluster's storage that the job unpacks."""
        texts = self._extra_texts("archives")
        return [text.removeprefix(OWN_STORAGE) for text in texts if text.startswith(f"{OWN_STORAGE}/")]

    def _extra_texts(self, key: str) -> list[str]:
        texts = self.sdk_extras.get(key)
        return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


@dataclass(slots=True)
class RunningTask:
    live: LiveJob
    record: TaskRecord
    request: Request
    files: TaskFiles
    log: TaskLog
    token: str
    ended_by: Outcome | None = None
    """How it ends whatever its command's code is, once it is being ended from outside."""


def policy_of(spec: JobSpec) -> Policy:
    return Policy(
        roles={
            role.converted_name: RolePolicy(
                instances=role.instances,
                min_failed=role.completion.min_failed,
                min_succeeded=role.completion.min_succeeded,
                task_retries=role.task_retry_count,
            )
            for role in spec.task_roles
        },
        job_retries=spec.job_retry_count,
        gang=spec.gang_allocation,
    )


def with_unique_roles(spec: JobSpec) -> JobSpec:
    """Give roles whose converted names are empty or fall together their own names, so that they run
    here (§2.5).
    """
    names: set[str] = set()
    roles = []
    for role in spec.task_roles:
        name = role.converted_name if role.converted_name not in names and role.converted_name else role.name
        names.add(name)
        roles.append(role if name == role.converted_name else replace(role, converted_name=name))
    return replace(spec, task_roles=tuple(roles))


def masked(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: MASK if name == "secrets" else value for name, value in document.items()}


def without_secrets(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "secrets"}


def save_secrets(path: str, secrets: Mapping[str, Any]) -> None:
    """Bring a job's secrets to the disk, where they must be before the job is.

    Raises:
        ConfigError: They cannot be written.
        OSError: Their folder cannot be synced.
    """
    replace_file(path, json.dumps(secrets, default=str).encode(), mode=0o600)
    sync_folder(os.path.dirname(path))


def load_secrets(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            secrets: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return secrets


def stored_ending(live: LiveJob) -> Ending | None:
    """Return the outcome of the running attempt, when it was known before the server went."""
    outcome = live.attempt.outcome if live.attempt else None
    if outcome is None:
        return None
    message = outcome.trigger_message or outcome.diagnostics
    return Ending(
        exit_code=outcome.exit_code, message=message, role=outcome.trigger_role, index=outcome.trigger_index
    )
