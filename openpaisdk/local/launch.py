# SPDX-License-Identifier: MIT
"""What a task is started with: its script, its variables, its ports."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable

from openpaisdk.constants import (
    OUTPUT_DIR_VARIABLE,
    OUTPUT_FOLDER,
    OUTPUT_URI_VARIABLE,
    SERVER_STORES_OUTPUTS_VARIABLE,
    TOKEN_FILE_VARIABLE,
    WORKSPACE_VARIABLE,
)
from openpaisdk.local.executors.process import Launch, write_private
from openpaisdk.local.home import LocalHome, TaskFiles
from openpaisdk.local.live import LiveJob
from openpaisdk.local.machine import TaskKey
from openpaisdk.local.records import JobRecord, Machine, TaskRecord
from openpaisdk.local.task_environment import passed_environment, task_path
from openpaisdk.spec.environment import Placement, TaskIdentity, task_environment
from openpaisdk.spec.references import render_secrets

_CACHE_VARIABLE = "PAI_SDK_CACHE_DIR"
_SCRIPT_HEAD = """\
#!/bin/bash
set -o errexit
set -o nounset
set -o pipefail

"""


class Launcher:
    """Prepares task attempts for the executor.

    Args:
        home: Where the tasks' folders are.
        machine: Its address is the tasks' address.
        cluster_uid: Seed of all identities, so that they can be computed again after a crash.
        pass_env: Names of the server's variables that tasks see beside the allow-list.
    """

    def __init__(
        self, home: LocalHome, machine: Machine, cluster_uid: uuid.UUID, pass_env: Iterable[str]
    ) -> None:
        self.uri = "http://127.0.0.1"
        self._home = home
        self._machine = machine
        self._cluster_uid = cluster_uid
        self._base_environment = {
            **passed_environment(os.environ, pass_env),
            "PATH": task_path(os.environ, os.path.join(home.folder, "bin")),
            _CACHE_VARIABLE: home.cache,
            SERVER_STORES_OUTPUTS_VARIABLE: "1",
        }

    def uid(self, *parts: object) -> str:
        """Return the identity of something, the same each time for the same parts."""
        return str(uuid.uuid5(self._cluster_uid, "/".join(map(str, parts))))

    def pod_uid(self, job: JobRecord, job_attempt_id: int, key: TaskKey, attempt_id: int) -> str:
        """Return the identity of one task attempt."""
        return self.uid(job.id, job_attempt_id, *key, attempt_id)

    def job_folder(self, job: LiveJob) -> str:
        """Return the job's folder on storage, as a path."""
        workspace = job.sdk_extras.get("workspace")
        if not isinstance(workspace, str) or not workspace.startswith("/") or ".." in workspace.split("/"):
            workspace = f"/user/{job.record.user}"
        return f"{workspace.rstrip('/')}/jobs/{job.record.name}"

    def output_name(self, job: LiveJob, task: TaskRecord) -> str:
        """Return where below the job's folder a task's outputs go."""
        if job.spec.total_tasks == 1:
            return OUTPUT_FOLDER
        return f"{OUTPUT_FOLDER}/{task.role}-{task.index}"

    def output_folder(self, job: LiveJob, task: TaskRecord) -> str:
        """Return the folder of this machine where a task's outputs go."""
        return f"{self._home.storage}{self.job_folder(job)}/{self.output_name(job, task)}"

    def launch(self, job: LiveJob, task: TaskRecord, files: TaskFiles, token: str) -> Launch:
        """Return what the executor needs, with the attempt's token written to its file.

        Raises:
            OSError: The token's file cannot be written.
        """
        entrypoint = job.role(task.key).entrypoint
        if job.secrets:
            entrypoint = render_secrets(entrypoint, job.secrets)
        environment = {**self._base_environment, **self._platform_environment(job, task, files)}
        workspace = f"webhdfs{self.uri.removeprefix('http')}{self.job_folder(job)}"
        environment[WORKSPACE_VARIABLE] = workspace
        environment[OUTPUT_URI_VARIABLE] = f"{workspace}/{self.output_name(job, task)}"
        environment[OUTPUT_DIR_VARIABLE] = files.output
        # An empty list keeps every device from a task that asked for none, as on a real cluster.
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, task.gpus))
        if token:
            write_private(files.token, token)
            environment[TOKEN_FILE_VARIABLE] = files.token
        script = f"{_SCRIPT_HEAD}{entrypoint}\n"
        return Launch(pod_uid=task.pod_uid, script=script, environment=environment)

    def _platform_environment(self, job: LiveJob, task: TaskRecord, files: TaskFiles) -> dict[str, str]:
        attempt_uid = job.attempt.uid if job.attempt else ""
        identity = TaskIdentity(
            framework_uid=self.uid(job.record.id),
            configmap_uid=attempt_uid,
            role_uid=self.uid(attempt_uid, task.role),
            task_uid=self.task_uid(job.record, task),
            pod_uid=task.pod_uid,
            job_attempt=task.job_attempt_id,
            task_attempt=task.attempt_id,
        )
        return task_environment(
            job.spec,
            user=job.record.user,
            role=job.role(task.key),
            index=task.index,
            placements={
                one.key: Placement(ip=self._machine.ip, ports=one.ports)
                for one in job.tasks.values()
                if one.ports
            },
            identity=identity,
            work_dir=files.work,
            gpu_ids=task.gpus,
        )

    def task_uid(self, job: JobRecord, task: TaskRecord) -> str:
        """Return the identity of a task, the same for all its attempts."""
        return self.uid(job.id, task.job_attempt_id, *task.key)

    def port_conflict(self, task: TaskRecord, taken: Iterable[int]) -> int | None:
        """Return a port of the task that it has twice, that is another's, or that something answers on.

        The runtime of a real cluster looks in the same way (runtime-environment §2).
        """
        seen = set(taken)
        for number in (number for ports in task.ports.values() for number in ports):
            if number in seen:
                return number
            seen.add(number)
            with socket.socket() as probe:
                if probe.connect_ex((self._machine.ip, number)) == 0:
                    return number
        return None
