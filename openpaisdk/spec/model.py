# SPDX-License-Identifier: MIT
"""A job as the platform runs it: names resolved, defaults filled in, commands rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one task is given.

    ``ports`` maps a label to how many ports it wants, with the ``ssh`` and ``http`` that the platform adds.
    ``shm_mb`` is the size in effect; ``declared_shm_mb`` what the document says, 0 where it says nothing.
    """

    cpu: int
    memory_mb: int
    gpu: int
    ports: Mapping[str, int]
    shm_mb: int = 512
    declared_shm_mb: int = 0


@dataclass(frozen=True, kw_only=True)
class Completion:
    """When a role's tasks decide the job, as numbers of tasks in effect; -1 switches a condition off."""

    min_failed: int
    min_succeeded: int


@dataclass(frozen=True, kw_only=True)
class TaskRole:
    """Tasks of one kind; ``entrypoint`` is the text for the shell, rendered except for ``$secrets``."""

    name: str
    converted_name: str
    instances: int
    docker_image_uri: str
    resources: Resources
    completion: Completion
    task_retry_count: int
    commands: tuple[str, ...] = field(repr=False)
    entrypoint: str = field(repr=False)
    prerequisites: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A valid job document with every default applied; ``document`` is the document itself."""

    name: str
    virtual_cluster: str
    job_retry_count: int
    task_roles: tuple[TaskRole, ...]
    gang_allocation: bool
    priority: str | None
    parameters: Mapping[str, Any] = field(repr=False)
    secrets: Mapping[str, Any] = field(repr=False)
    extras: Mapping[str, Any] = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)

    def find_role(self, name: str) -> TaskRole | None:
        """Return the role of this name, in its own spelling or the converted one."""
        for role in self.task_roles:
            if role.name == name:
                return role
        for role in self.task_roles:
            if role.converted_name == name:
                return role
        return None

    @property
    def total_tasks(self) -> int:
        """Number of tasks over all roles."""
        return sum(role.instances for role in self.task_roles)

    @property
    def total_gpus(self) -> int:
        """Number of GPUs over all tasks."""
        return sum(role.instances * role.resources.gpu for role in self.task_roles)
