# SPDX-License-Identifier: MIT
"""The environment variables that a task of a job sees (runtime-environment §1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openpaisdk.spec.model import JobSpec, TaskRole

NAMESPACE = "default"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a task runs: ``ip`` is ``None`` while it is not known; ``ports`` maps a label to its numbers."""

    ip: str | None
    ports: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def first_port(self, label: str) -> str:
        """Return the first port of ``label`` as text, empty when there is none."""
        ports = self.ports.get(label)
        return str(ports[0]) if ports else ""


@dataclass(frozen=True, kw_only=True)
class TaskIdentity:
    """Identities of one attempt of a task and of what it belongs to; attempts count from 0."""

    framework_uid: str
    configmap_uid: str
    role_uid: str
    task_uid: str
    pod_uid: str
    job_attempt: int = 0
    task_attempt: int = 0


def framework_name(user: str, job_name: str) -> str:
    """Return the orchestrator's name of a job: the MD5 of ``user~job``."""
    return hashlib.md5(f"{user}~{job_name}".encode(), usedforsecurity=False).hexdigest()


def task_environment(
    spec: JobSpec,
    *,
    user: str,
    role: TaskRole,
    index: int,
    placements: Mapping[tuple[str, int], Placement],
    identity: TaskIdentity,
    work_dir: str,
    gpu_ids: Sequence[int | str] = (),
) -> dict[str, str]:
    """Return the variables that the platform sets for task ``index`` of ``role``.

    Variables that carry a role in their name exist in both spellings, the original and the converted one.

    Args:
        spec: The job.
        user: Who submitted it.
        role: One of its roles.
        index: Number of the task in its role, from 0.
        placements: Of all tasks, by converted role name and index; those not placed yet may be absent.
        identity: Identities of this attempt.
        work_dir: Directory in which the command starts.
        gpu_ids: Devices given to the task.
    """
    own = placements.get((role.converted_name, index), Placement(ip=None))
    variables: dict[str, str] = {}
    other_spelling: dict[str, str] = {}
    _add_job(variables, spec, user)
    for each in spec.task_roles:
        _add_shape(variables, each, each.name)
        _add_shape(other_spelling, each, each.converted_name)
        _add_addresses(variables, each, each.converted_name, placements)
        _add_addresses(other_spelling, each, each.name, placements)
    _add_task(variables, role, index, own, work_dir)
    if role.resources.gpu == 0:
        variables["NVIDIA_VISIBLE_DEVICES"] = "none"
    elif gpu_ids:
        variables["NVIDIA_VISIBLE_DEVICES"] = ",".join(map(str, gpu_ids))
    _add_orchestrator(variables, framework_name(user, spec.name), role, index, identity)
    return {**other_spelling, **variables}


def _add_job(variables: dict[str, str], spec: JobSpec, user: str) -> None:
    full_name = f"{user}~{spec.name}"
    roles, tasks = str(len(spec.task_roles)), str(spec.total_tasks)
    role_list = ",".join(role.name for role in spec.task_roles)
    variables |= {
        "PAI_FRAMEWORK_NAME": full_name,
        "PAI_JOB_NAME": full_name,
        "PAI_USER_NAME": user,
        "PAI_USERNAME": user,
        "PAI_DEFAULT_FS_URI": "",
        "PAI_VIRTUAL_CLUSTER": spec.virtual_cluster,
        "PAI_TASK_ROLE_COUNT": roles,
        "PAI_TASK_ROLES_NUM": roles,
        "PAI_JOB_TASK_ROLE_COUNT": roles,
        "PAI_TASK_ROLE_LIST": role_list,
        "PAI_JOB_TASK_ROLE_LIST": role_list,
        "PAI_TASKS_NUM": tasks,
        "PAI_JOB_TASK_COUNT": tasks,
        "PAI_TASK_ROLE_INSTANCES": ",".join(
            f"{role.converted_name}:{index}" for role in spec.task_roles for index in range(role.instances)
        ),
    }


def _add_shape(variables: dict[str, str], role: TaskRole, name: str) -> None:
    """Add what the rest-server says about a role, under ``name``."""
    resources = role.resources
    shape = (resources.gpu, resources.cpu, resources.memory_mb, resources.declared_shm_mb)
    variables[f"PAI_TASK_ROLE_TASK_COUNT_{name}"] = str(role.instances)
    variables[f"PAI_RESOURCE_{name}"] = ",".join(map(str, shape))
    variables[f"PAI_MIN_FAILED_TASK_COUNT_{name}"] = str(role.completion.min_failed)
    variables[f"PAI_MIN_SUCCEEDED_TASK_COUNT_{name}"] = str(role.completion.min_succeeded)


def _add_addresses(
    variables: dict[str, str], role: TaskRole, name: str, placements: Mapping[tuple[str, int], Placement]
) -> None:
    """Add where the tasks of a role are, under ``name``; a task without an address is left out."""
    hosts = []
    for index in range(role.instances):
        placement = placements.get((role.converted_name, index))
        if placement is None or placement.ip is None:
            continue
        hosts.append(f"{placement.ip}:{placement.first_port('http')}")
        variables[f"PAI_HOST_IP_{name}_{index}"] = placement.ip
        for label, ports in placement.ports.items():
            numbers = ",".join(map(str, ports))
            variables[f"PAI_PORT_LIST_{name}_{index}_{label}"] = numbers
            variables[f"PAI_{name}_{index}_{label}_PORT"] = numbers
    variables[f"PAI_TASK_ROLE_{name}_HOST_LIST"] = ",".join(hosts)


def _add_task(variables: dict[str, str], role: TaskRole, index: int, own: Placement, work_dir: str) -> None:
    lists = {label: ",".join(map(str, ports)) for label, ports in own.ports.items()}
    variables |= {
        "PAI_CURRENT_TASK_ROLE_NAME": role.name,
        "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX": str(index),
        "PAI_TASK_INDEX": str(index),
        "PAI_CURRENT_CONTAINER_IP": own.ip or "",
        "PAI_CONTAINER_HOST_IP": own.ip or "",
        "PAI_CURRENT_CONTAINER_PORT": own.first_port("http"),
        "PAI_CONTAINER_HOST_PORT": own.first_port("http"),
        "PAI_CONTAINER_SSH_PORT": own.first_port("ssh"),
        "PAI_CONTAINER_HOST_PORT_LIST": "".join(f"{label}:{numbers};" for label, numbers in lists.items()),
        "PAI_WORK_DIR": work_dir,
    }
    variables |= {f"PAI_CONTAINER_HOST_{label}_PORT_LIST": numbers for label, numbers in lists.items()}


def _add_orchestrator(
    variables: dict[str, str], name: str, role: TaskRole, index: int, identity: TaskIdentity
) -> None:
    variables |= {
        "FC_FRAMEWORK_NAMESPACE": NAMESPACE,
        "FC_FRAMEWORK_NAME": name,
        "FC_TASKROLE_NAME": role.converted_name,
        "FC_TASK_INDEX": str(index),
        "FC_CONFIGMAP_NAME": f"{name}-attempt",
        "FC_POD_NAME": f"{name}-{role.converted_name}-{index}",
        "FC_FRAMEWORK_UID": identity.framework_uid,
        "FC_FRAMEWORK_ATTEMPT_ID": str(identity.job_attempt),
        "FC_FRAMEWORK_ATTEMPT_INSTANCE_UID": f"{identity.job_attempt}_{identity.configmap_uid}",
        "FC_CONFIGMAP_UID": identity.configmap_uid,
        "FC_TASKROLE_UID": identity.role_uid,
        "FC_TASK_UID": identity.task_uid,
        "FC_TASK_ATTEMPT_ID": str(identity.task_attempt),
        "FC_TASK_ATTEMPT_INSTANCE_UID": f"{identity.task_attempt}_{identity.pod_uid}",
        "FC_POD_UID": identity.pod_uid,
    }
