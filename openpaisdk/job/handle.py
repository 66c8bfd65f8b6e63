# SPDX-License-Identifier: MIT
"""``JobHandle``: a submitted job, to be waited for, read, stopped, and asked for its outputs."""

from __future__ import annotations

from openpaisdk.constants import EXTRAS_KEY, OUTPUT_FOLDER
from openpaisdk.errors import JobNotFoundError, StorageExistsError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Any

    from openpaisdk.core import Cluster
    from openpaisdk.storage.base import Storage
    from openpaisdk.storage.transfer.progress import Progress

    Paths = list[str]


class JobHandle:
    """One job on one cluster; making a handle asks the cluster nothing."""

    __slots__ = ("_link", "_workspace", "cluster", "name", "user")

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        user: str | None = None,
        link: str | None = None,
        workspace: str | None = None,
    ) -> None:
        """Take hold of a job; ``user`` left out is the cluster's, ``workspace`` is looked up when needed."""
        self.cluster = cluster
        self.name = name
        self.user = user or cluster.user
        self._link = link
        self._workspace = workspace

    @property
    def full_name(self) -> str:
        """The job's name with its user, as clusters spell it: ``user~name``."""
        return f"{self.user}~{self.name}"

    @property
    def link(self) -> str:
        """Address of the job's page; on the embedded cluster it holds a code that is good once.

        ``cluster.link(name)`` gives a fresh one.
        """
        if self._link is None:
            self._link = self.cluster.link(self.full_name)
        return self._link

    @property
    def outputs(self) -> JobOutputs:
        """What the job has stored."""
        return JobOutputs(self)

    def status(self) -> dict[str, Any]:
        """Return the job's state, times, retries and tasks, as ``opai job status`` does."""
        return self.cluster.job_status(self.full_name)

    def wait(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Block until the job has ended, and return how: a failed job is an answer, not an error.

        Raises:
            WaitTimeoutError: Time ran out; ``error.last`` is what was seen last.
        """
        (result,) = self.cluster.wait([self.full_name], timeout_s=timeout_s)
        return {**result, "name": self.name}

    def logs(
        self,
        role: str | None = None,
        index: int | None = None,
        *,
        stream: str = "all",
        tail: int | None = None,
    ) -> str:
        """Return what a task has written; ``tail`` keeps the last lines only."""
        return self.cluster.logs(self.full_name, role=role, index=index, stream=stream, tail=tail)

    def follow(
        self,
        role: str | None = None,
        index: int | None = None,
        *,
        stream: str = "all",
        tail: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Give log lines and changes of state as they come, until the job has ended."""
        return iter(self.cluster.follow(self.full_name, role=role, index=index, stream=stream, tail=tail))

    def stop(self) -> dict[str, Any]:
        """Ask the cluster to stop the job."""
        return self.cluster.stop(self.full_name)

    def workspace(self) -> str:
        """Return the folder on storage below which the job has its own."""
        if self._workspace is None:
            self._workspace = str(self.recipe().get("workspace") or self.cluster.workspace)
        return self._workspace

    def recipe(self) -> dict[str, Any]:
        """Return what this SDK has noted in the job's document: workspace, sources, packages, outputs."""
        extras = self.cluster.job_config(self.full_name).get("extras")
        recipe = extras.get(EXTRAS_KEY) if isinstance(extras, dict) else None
        return recipe if isinstance(recipe, dict) else {}

    def __repr__(self) -> str:
        return f"JobHandle({self.full_name!r})"


class JobOutputs:
    """The files below a job's ``output`` folder on storage."""

    __slots__ = ("_job",)

    def __init__(self, job: JobHandle) -> None:
        self._job = job

    @property
    def folder(self) -> str:
        """Path of the output folder on the cluster's storage."""
        return f"{job_folder(self._job.workspace(), self._job.name)}/{OUTPUT_FOLDER}"

    def list(self, name: str = "") -> list[dict[str, Any]]:
        """Return what is stored (or what is in the folder ``name`` of it); nothing stored: an empty list."""
        storage = self._job.cluster.job_storage()
        if not name and not storage.exists(self.folder):
            self._job.status()  # tells an unknown job from one without outputs
            return []
        return [dict(info) for info in storage.list(self._path(name))]

    def download(
        self,
        *names: str,
        to: str | os.PathLike[str] = ".",
        overwrite: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Paths:
        """Fetch outputs (all of them when none is named) into the folder ``to``; return the local paths.

        ``on_progress`` is called now and then with how far the output at hand is.

        Raises:
            StorageNotFoundError: There is no output of this name.
            StorageExistsError: A local file is there already and ``overwrite`` is false.
        """
        import os

        storage = self._job.cluster.job_storage()
        target = os.fspath(to)
        wanted = [(name, os.path.join(target, *_parts(name))) for name in names or self._names()]
        if not overwrite:
            taken = [path for name, local in wanted for path in self._taken(storage, self._path(name), local)]
            if taken:
                others = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
                raise StorageExistsError(
                    f"{taken[0]!r}{others} is there already", hint="--overwrite replaces local files"
                )
        for name, local in wanted:
            folder = os.path.dirname(local)
            os.makedirs(folder, exist_ok=True)
            # into a folder that is there, a storage puts what it fetches under its own name
            place = folder if os.path.isdir(local) else local
            storage.download(self._path(name), place, overwrite=overwrite, on_progress=on_progress)
        return [local for _, local in wanted]

    def _names(self) -> Paths:
        return [item["name"] for item in self.list()]

    def _taken(self, storage: Storage, remote_path: str, local_path: str) -> Iterator[str]:
        """Give the local files that fetching a file or folder would replace."""
        import os

        if not os.path.lexists(local_path):
            return
        if storage.status(remote_path)["type"] == "file" or not os.path.isdir(local_path):
            yield local_path
            return
        for item in storage.list(remote_path):
            local = os.path.join(local_path, item["name"])
            yield from self._taken(storage, f"{remote_path}/{item['name']}", local)

    def read(self, name: str) -> bytes:
        """Return the content of one stored file.

        Raises:
            StorageNotFoundError: There is no output of this name.
        """
        with self._job.cluster.job_storage().open(self._path(name)) as stream:
            return bytes(stream.read())

    def _path(self, name: str) -> str:
        parts = _parts(name) if name else []
        return "/".join([self.folder, *parts])


def job_folder(workspace: str, name: str) -> str:
    """Return the path of a job's folder on storage."""
    return f"{workspace.rstrip('/')}/jobs/{name}"


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise UsageError(f"{name!r} is not the name of an output")
    return parts


def attach(cluster: Cluster, name: str) -> JobHandle:
    """Return a handle on a job that exists already; ``name`` may be ``user~name``.

    Raises:
        JobNotFoundError: The name is empty.
    """
    user, separator, plain = name.rpartition("~")
    if not plain:
        raise JobNotFoundError("an empty name is no job")
    return JobHandle(cluster, plain, user=user if separator else None)
