# SPDX-License-Identifier: MIT
"""What a task is started with: its script, its variables, its ports."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from openpaisdk.constants import (
    OUTPUT_DIR_VARIABLE,
    OUTPUT_FOLDER,
    OUTPUT_URI_VARIABLE,
    SERVER_STORES_OUTPUTS_VARIABLE,
    TOKEN_FILE_VARIABLE,
    WORKSPACE_VARIABLE,
)
from openpaisdk.local.home import LocalHome, TaskFiles
from openpaisdk.local.jobs.executors.process import Launch, write_private
from openpaisdk.local.jobs.live import LiveJob
from openpaisdk.local.jobs.machine import TaskKey
from openpaisdk.local.jobs.task_environment import passed_environment, task_path
from openpaisdk.local.records import JobRecord, Machine, TaskRecord
from openpaisdk.spec.environment import Placement, TaskIdentity, task_environment
from openpaisdk.spec.model import JobSpec, TaskRole
from openpaisdk.spec.plugins import plugin_commands, role_plugins
from openpaisdk.spec.references import render_secrets

_CACHE_VARIABLE = "PAI_SDK_CACHE_DIR"
USER_SCRIPT = "user.sh"
_RUNTIME_SCRIPT = "runtime.sh"
_STRICT = """\
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
            SpecError: A plugin of the task cannot be prepared.
        """
        scripts = task_scripts(job.spec, job.role(task.key), job.secrets)
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
        entry = _RUNTIME_SCRIPT if _RUNTIME_SCRIPT in scripts else USER_SCRIPT
        resources = job.role(task.key).resources
        return Launch(
            pod_uid=task.pod_uid,
            scripts=scripts,
            entry=entry,
            environment=environment,
            memory_mb=resources.memory_mb,
            cpus=resources.cpu,
        )

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


def task_scripts(spec: JobSpec, role: TaskRole, secrets: Mapping[str, Any]) -> dict[str, str]:
    """Return the scripts of a task by file name: its commands, and what its plugins run around them.

    Raises:
        SpecError: A plugin of the task cannot be prepared.
    """
    entrypoint = render_secrets(role.entrypoint, secrets) if secrets else role.entrypoint
    scripts = {USER_SCRIPT: f"{_STRICT}{entrypoint}\n"}
    plugins = [
        plugin_commands(spec, role, plugin) for plugin in role_plugins(spec, role) if plugin.name == "cmd"
    ]
    before: list[str] = []
    after: list[str] = []
    for number, plugin in enumerate(plugins):
        for kind, commands, lines in (("pre", plugin.before, before), ("post", plugin.after, after)):
            if commands:
                name = f"plugin_{kind}{number}.sh"
                head = _STRICT if plugin.must_succeed else "#!/bin/bash\n\n"
                scripts[name] = head + "\n".join(commands) + "\n"
                lines.append(
                    f'/bin/bash "$1/{name}" >>"$1/runtime.log"{"" if plugin.must_succeed else " || :"}'
                )
    if before or after:  # those before in order, those after in reverse (protocol-v2 §6.1)
        lines = [*before, f'/bin/bash "$1/{USER_SCRIPT}"', *reversed(after)]
        scripts[_RUNTIME_SCRIPT] = _STRICT + "\n".join(lines) + "\n"
    return scripts
