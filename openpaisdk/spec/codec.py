# SPDX-License-Identifier: MIT
"""From a valid protocol document to a ``JobSpec``: the only place where camelCase keys become a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openpaisdk.spec.model import Completion, JobSpec, Resources, TaskRole
from openpaisdk.spec.names import convert_role_name
from openpaisdk.spec.ports import with_default_labels
from openpaisdk.spec.references import as_mapping, javascript_text, render_commands

DEFAULT_VIRTUAL_CLUSTER = "default"
DEFAULT_SHM_MB = 512
_LARGEST = 2**31 - 1
"""Numbers beyond it, which no cluster has, are taken for it."""


def job_spec_from_document(document: Mapping[str, Any]) -> JobSpec:
    """Return the job that a valid document describes, with the platform's defaults applied (protocol-v2 §2).

    Raises:
        SpecError: A template in a command cannot be parsed. Any other fault of the document is for
            ``validate_document`` to find first.
    """
    extras = as_mapping(document.get("extras"))
    priority = as_mapping(extras.get("hivedScheduler")).get("jobPriorityClass")
    virtual_cluster = as_mapping(document.get("defaults")).get("virtualCluster")
    images = {
        item["name"]: item["uri"]
        for item in document.get("prerequisites", ())
        if item["type"] == "dockerimage"
    }
    return JobSpec(
        name=document["name"],
        virtual_cluster=DEFAULT_VIRTUAL_CLUSTER
        if virtual_cluster is None
        else javascript_text(virtual_cluster),
        job_retry_count=_integer(document.get("jobRetryCount")),
        task_roles=tuple(_task_role(document, name, images) for name in document["taskRoles"]),
        gang_allocation=extras.get("gangAllocation") is not False,
        priority=priority if isinstance(priority, str) else None,
        parameters=as_mapping(document.get("parameters")),
        secrets=as_mapping(document.get("secrets")),
        extras=extras,
        document=document,
    )


def _task_role(document: Mapping[str, Any], name: str, images: Mapping[str, str]) -> TaskRole:
    role = document["taskRoles"][name]
    instances = _integer(role.get("instances"), 1)
    resources = role["resourcePerInstance"]
    completion = as_mapping(role.get("completion"))
    shm_mb = _integer(as_mapping(role.get("extraContainerOptions")).get("shmMB"))
    ports = {label: _integer(count) for label, count in as_mapping(resources.get("ports")).items()}
    return TaskRole(
        name=name,
        converted_name=convert_role_name(name),
        instances=instances,
        docker_image_uri=images[role["dockerImage"]],
        resources=Resources(
            cpu=_integer(resources["cpu"]),
            memory_mb=_integer(resources["memoryMB"]),
            gpu=_integer(resources["gpu"]),
            ports=with_default_labels(ports),
            shm_mb=shm_mb or DEFAULT_SHM_MB,
            declared_shm_mb=shm_mb,
        ),
        completion=Completion(
            min_failed=_integer(completion.get("minFailedInstances")) or 1,
            min_succeeded=_integer(completion.get("minSucceededInstances")) or instances,
        ),
        task_retry_count=_integer(role.get("taskRetryCount")),
        commands=tuple(role["commands"]),
        entrypoint=render_commands(document, name),
        prerequisites=tuple(role.get("prerequisites", ())),
    )


def _integer(value: float | None, default: int = 0) -> int:
    """Return a number of the document as int; what JSON schema calls an integer may be 2.0, or infinite."""
    if value is None:
        return default
    return int(max(-_LARGEST, min(value, _LARGEST)))
