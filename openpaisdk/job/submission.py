# SPDX-License-Identifier: MIT
"""From a ``Job`` to the document that is sent, and the sending: nothing half-done is left behind."""

from __future__ import annotations

from openpaisdk.constants import CODE_FOLDER, EXTRAS_KEY, SOURCES_ARCHIVE
from openpaisdk.errors import (
    ClusterConnectionError,
    JobExistsError,
    JobNotFoundError,
    OpenPaiError,
    SourceError,
    StorageError,
)
from openpaisdk.job.handle import JobHandle, attach, job_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.core import Cluster
    from openpaisdk.job.document import Job
    from openpaisdk.sources import Selection
    from openpaisdk.storage.base import Storage


class Prepared:
    """What ``submit`` sends: the document, and the sources when there are any."""

    __slots__ = ("cluster", "code_from", "document", "selection", "workspace")

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.cluster: Cluster | None = None
        self.workspace: str | None = None
        self.selection: Selection | None = None
        self.code_from: tuple[Cluster, str] | None = None

    @property
    def has_code(self) -> bool:
        """Whether an archive must be uploaded first."""
        return self.selection is not None or self.code_from is not None


def prepare(job: Job, cluster: Cluster | str | None) -> Prepared:
    """Check a job and build the very document that is sent; sends nothing and writes no file.

    Raises:
        SpecError: The document is not valid.
        SourceError: A source is missing or cannot be packed.
    """
    job.check()
    prepared = Prepared(job.to_dict())
    recipe = (prepared.document.get("extras") or {}).get(EXTRAS_KEY)
    if not isinstance(recipe, dict):
        # a document that this SDK added nothing to is sent as it is
        return prepared
    prepared.cluster = open_cluster(cluster)
    prepared.workspace = recipe["workspace"] = job.workspace or prepared.cluster.workspace
    requirements = _prepare_code(job, recipe, prepared)
    if prepared.has_code or recipe.get("packages") or not prepared.cluster.is_embedded:
        from openpaisdk.job.prelude import add_preludes

        add_preludes(prepared.document, prepared.cluster, prepared.workspace, recipe, requirements)
    return prepared


def _prepare_code(job: Job, recipe: dict[str, Any], prepared: Prepared) -> list[str]:
    """Find out what is packed, note it in the recipe, and return the requirement files in it."""
    paths = recipe.pop("sources", None)
    had_code = recipe.pop("code", None)
    requirements = recipe.pop("requirements", None) or []
    if paths:
        prepared.selection = job.select_sources()
        requirements = prepared.selection.requirements
    elif job.code_from is not None:
        prepared.code_from = job.code_from
    elif had_code:
        raise SourceError(
            f"job {job.name!r} needs the sources of the job that its document comes from",
            hint="opai job clone takes them along; in Python, job.take_code_from(cluster, name)",
        )
    else:
        return []
    recipe["code"] = SOURCES_ARCHIVE
    if requirements:
        recipe["requirements"] = list(requirements)
    return list(requirements)


def submit(job: Job, cluster: Cluster | str | None) -> JobHandle:
    """Send a job; see ``Job.submit``."""
    prepared = prepare(job, cluster)
    target = prepared.cluster or open_cluster(cluster)
    if not prepared.has_code:
        return _post(target, prepared)
    _require_free_name(target, job.name)
    uploaded = _upload(target, prepared, job.name)
    try:
        return _post(target, prepared)
    except (ClusterConnectionError, JobExistsError):
        # the job may exist after all, and then these are its files
        raise
    except BaseException:
        _remove(target, uploaded)
        raise


def open_cluster(cluster: Cluster | str | None) -> Cluster:
    """Return the cluster meant by a ``Cluster``, an alias, or ``None`` (the default one)."""
    if cluster is None or isinstance(cluster, str):
        from openpaisdk.core import Cluster

        return Cluster.from_alias(cluster)
    return cluster


def _post(cluster: Cluster, prepared: Prepared) -> JobHandle:
    answer = cluster.submit(prepared.document)
    return JobHandle(
        cluster, answer["name"], user=answer["user"], link=answer.get("link"), workspace=prepared.workspace
    )


def _require_free_name(cluster: Cluster, name: str) -> None:
    """Raise ``JobExistsError`` for a taken name, before files of that job are touched."""
    try:
        cluster.job_detail(name)
    except JobNotFoundError:
        return
    raise JobExistsError(
        f"job {name!r} exists already on cluster {cluster.alias!r}", hint="choose another name with -j NAME"
    )


def _upload(cluster: Cluster, prepared: Prepared, name: str) -> list[str]:
    """Store the archive in the job's code folder; return what to remove should the job be refused."""
    storage = cluster.storage()
    folder = job_folder(prepared.workspace or cluster.workspace, name)
    code = f"{folder}/{CODE_FOLDER}"
    remote_path = f"{code}/{SOURCES_ARCHIVE}"
    made = [path for path in (folder, code) if not storage.exists(path)]
    uploaded = [remote_path, *reversed(made)]
    try:
        if prepared.selection is not None:
            with prepared.selection.pack() as archive:
                storage.upload(archive.path, remote_path, overwrite=True)
        elif prepared.code_from is not None:
            _copy_code(prepared.code_from, storage, remote_path)
    except BaseException:
        _remove(cluster, uploaded)
        raise
    return uploaded


def _copy_code(code_from: tuple[Cluster, str], storage: Storage, remote_path: str) -> None:
    """Store the archive of another job, which may be on another cluster."""
    import tempfile

    cluster, name = code_from
    job = attach(cluster, name)
    with tempfile.TemporaryDirectory(prefix="openpaisdk-") as folder:
        local_path = f"{folder}/{SOURCES_ARCHIVE}"
        original = f"{job_folder(job.workspace(), job.name)}/{CODE_FOLDER}/{SOURCES_ARCHIVE}"
        cluster.storage().download(original, local_path)
        storage.upload(local_path, remote_path, overwrite=True)


def _remove(cluster: Cluster, paths: list[str]) -> None:
    """Remove what was uploaded; the error that led here is the one to show, so others are left aside."""
    storage = cluster.storage()
    for path in paths:
        try:
            storage.delete(path)
        except (StorageError, OpenPaiError, OSError):
            return
