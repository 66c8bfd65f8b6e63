# SPDX-License-Identifier: MIT
"""Where the embedded cluster keeps its files; the one place that knows their names."""

from __future__ import annotations

import os

from openpaisdk.constants import LOCAL_CONFIG_FILE, LOCAL_LOG_FILE, LOCAL_SERVER_FILE


class LocalHome:
    """Paths below ``<OPENPAI_HOME>/local``; the folders are made, open to their owner only.

    Args:
        folder: The folder itself.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self.database = os.path.join(self.folder, "cluster.db")
        self.accounts = os.path.join(self.folder, "accounts.db")
        self.server_file = os.path.join(self.folder, LOCAL_SERVER_FILE)
        self.config_file = os.path.join(self.folder, LOCAL_CONFIG_FILE)
        self.log_file = os.path.join(self.folder, LOCAL_LOG_FILE)
        self.storage = os.path.join(self.folder, "storage")
        self.tasks = os.path.join(self.folder, "tasks")
        self.secrets = os.path.join(self.folder, "secrets")
        self.groups_file = os.path.join(self.folder, "cgroups")
        """Where control groups of tasks were made."""
        self.cache = os.path.join(self.folder, "cache")

    def make(self) -> None:
        """Make the folders that are not there yet, and close those that others could open."""
        for folder in (self.folder, self.storage, self.tasks, self.secrets, self.cache):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if os.stat(folder).st_mode & 0o077:
                os.chmod(folder, 0o700)

    def task(self, pod_uid: str) -> TaskFiles:
        """Return the names of the files of one task attempt."""
        return TaskFiles(os.path.join(self.tasks, pod_uid))

    def secrets_file(self, job_id: int) -> str:
        """Return the file that holds a job's secrets while the job is not over."""
        return os.path.join(self.secrets, f"{job_id}.json")


class TaskFiles:
    """The files of one task attempt: its script, working folder, logs and the traces it leaves of its run."""

    __slots__ = ("folder",)

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def script(self, name: str) -> str:
        return self._path(name)

    def scripts(self) -> list[str]:
        """Return the scripts that are there; they may hold secrets in clear text."""
        return [self._path(name) for name in os.listdir(self.folder) if name.endswith(".sh")]

    @property
    def work(self) -> str:
        return self._path("work")

    @property
    def output(self) -> str:
        return self._path("output")

    @property
    def outputs_stored(self) -> str:
        """There when the outputs are on storage, so that their folders may go."""
        return self._path("outputs-stored")

    @property
    def token(self) -> str:
        return self._path("token")

    @property
    def stdout(self) -> str:
        return self._path("stdout")

    @property
    def stderr(self) -> str:
        return self._path("stderr")

    @property
    def merge_order(self) -> str:
        """In which order the bytes of both streams came."""
        return self._path("all.order")

    @property
    def runtime_log(self) -> str:
        return self._path("runtime.log")

    @property
    def excess(self) -> str:
        """Written when the task is ended for its memory: how much it held and might have held."""
        return self._path("memory-excess")

    @property
    def init_log(self) -> str:
        """What was done before the task was started."""
        return self._path("init.log")

    @property
    def termination_log(self) -> str:
        """What the runtime reports of a failure."""
        return self._path("pai-termination-log")

    @property
    def lock(self) -> str:
        """Locked as long as the task's supervisor lives."""
        return self._path("lock")

    @property
    def pid(self) -> str:
        """Written by the supervisor before it starts the command."""
        return self._path("pid")

    @property
    def exit(self) -> str:
        """Exit code of the command, written by the supervisor."""
        return self._path("exit")
