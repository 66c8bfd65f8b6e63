# SPDX-License-Identifier: MIT
"""A job that is not over, and a task of it that runs, as the scheduler holds them in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openpaisdk._files import replace_file
from openpaisdk.constants import EXTRAS_KEY
from openpaisdk.local.home import TaskFiles, sync_entries
from openpaisdk.local.jobs.admission import Request
from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.jobs.machine import Ending, JobStatus, Policy, RolePolicy, TaskKey
from openpaisdk.local.records import AttemptRecord, JobRecord, TaskRecord
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

    def role(self, key: TaskKey) -> TaskRole:
        return next(role for role in self.spec.task_roles if role.converted_name == key[0])

    @property
    def sdk_extras(self) -> Mapping[str, Any]:
        extras = self.spec.extras.get(EXTRAS_KEY)
        return extras if isinstance(extras, dict) else {}

    @property
    def output_names(self) -> list[str]:
        names = self.sdk_extras.get("outputs")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


@dataclass(slots=True)
class RunningTask:
    live: LiveJob
    record: TaskRecord
    request: Request
    files: TaskFiles
    log: TaskLog
    token: str
    kill_wanted: bool = False


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
    sync_entries(path)


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
