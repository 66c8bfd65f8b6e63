# SPDX-License-Identifier: MIT
"""From a ``Job`` to the document that is sent, and the sending: nothing half-done is left behind."""

from __future__ import annotations

from openpaisdk.constants import CODE_FOLDER, EXTRAS_KEY
from openpaisdk.errors import (
    ClusterError,
    JobExistsError,
    JobNotFoundError,
    OpenPaiError,
    SourceError,
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
    """What ``submit`` sends: the document, and an archive when the job needs one."""

    __slots__ = ("archive", "archives", "cluster", "code_from", "document", "selection", "workspace")

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.cluster: Cluster | None = None
        self.workspace: str | None = None
        self.archive: str | None = None
        """Name of the archive that must be uploaded first."""
        self.archives: list[str] = []
        """Addresses of archives that are on a storage already."""
        self.selection: Selection | None = None
        self.code_from: tuple[Cluster, str] | None = None


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
    _prepare_archives(recipe, prepared)
    needs_files = any(recipe.get(key) for key in ("code", "packages", "archives"))
    if needs_files or not prepared.cluster.is_embedded:
        from openpaisdk.job.prelude import add_preludes

        is_needed = add_preludes(
            prepared.document,
            prepared.cluster,
            prepared.workspace,
            recipe,
            requirements=requirements,
            archive=job.archive_name,
        )
        if is_needed:
            prepared.archive = job.archive_name
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
            hint="in Python, job.take_code_from(cluster, name) takes them along",
        )
    else:
        return []
    recipe["code"] = job.archive_name
    if requirements:
        recipe["requirements"] = list(requirements)
    return list(requirements)


def _prepare_archives(recipe: dict[str, Any], prepared: Prepared) -> None:
    """Note in the recipe which archives on a storage the tasks fetch."""
    if not recipe.get("archives") or prepared.cluster is None:
        return
    from openpaisdk.job.archives import for_cluster, refuse_taken_folders

    recipe["archives"] = for_cluster(recipe["archives"], prepared.cluster)
    refuse_taken_folders(recipe["archives"], prepared.selection)
    prepared.archives = recipe["archives"]


def submit(job: Job, cluster: Cluster | str | None) -> JobHandle:
    """Send a job; see ``Job.submit``."""
    prepared = prepare(job, cluster)
    target = prepared.cluster or open_cluster(cluster)
    if prepared.archives:
        from openpaisdk.job.archives import require_readable

        require_readable(prepared.archives, target)
    if prepared.archive is None:
        return _post(target, prepared)
    _require_free_name(target, job.name)
    uploaded = _upload(target, prepared, job.name)
    try:
        return _post(target, prepared)
    except BaseException as exc:
        there = False if _is_certain(exc) else _is_there(target, prepared.archive, job.name)
        if there and isinstance(exc, ClusterError):
            # only the answer was lost
            return JobHandle(target, job.name, workspace=prepared.workspace)
        if there is False:
            _remove(target, uploaded)
        raise


def _is_certain(error: BaseException) -> bool:
    """Whether an error tells for sure that the cluster has not taken the job."""
    if isinstance(error, JobExistsError) or not isinstance(error, OpenPaiError):
        return False
    return not isinstance(error, ClusterError) or (error.status is not None and error.status < 500)


def _is_there(cluster: Cluster, archive: str, name: str) -> bool | None:
    """Look once more whether the cluster has this very job, told by its archive; ``None``: cannot be seen."""
    try:
        return archive in str(cluster.job_config(name))
    except JobNotFoundError:
        return False
    except (OpenPaiError, OSError):
        return None


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
    storage = cluster.job_storage()
    folder = job_folder(prepared.workspace or cluster.workspace, name)
    code = f"{folder}/{CODE_FOLDER}"
    remote_path = f"{code}/{prepared.archive}"
    uploaded = [remote_path, code, folder]
    try:
        if prepared.code_from is not None:
            _copy_code(prepared.code_from, storage, remote_path)
        else:
            _pack(prepared.selection, storage, remote_path)
    except BaseException:
        _remove(cluster, uploaded)
        raise
    return uploaded


def _pack(selection: Selection | None, storage: Storage, remote_path: str) -> None:
    """Store the sources, if any, behind the programs that start the task."""
    from openpaisdk.job.prelude import runtime_entries
    from openpaisdk.sources import Selection

    with (selection or Selection(())).pack(runtime_entries()) as archive:
        storage.upload(archive.path, remote_path)


def _copy_code(code_from: tuple[Cluster, str], storage: Storage, remote_path: str) -> None:
    """Store the archive of another job, which may be on another cluster."""
    import tempfile

    cluster, name = code_from
    job = attach(cluster, name)
    original = job.recipe().get("code")
    if not original:
        # it had packages only
        _pack(None, storage, remote_path)
        return
    with tempfile.TemporaryDirectory(prefix="openpaisdk-") as folder:
        local_path = f"{folder}/archive"
        place = f"{job_folder(job.workspace(), job.name)}/{CODE_FOLDER}/{original}"
        cluster.job_storage().download(place, local_path)
        storage.upload(local_path, remote_path)


def _remove(cluster: Cluster, paths: list[str]) -> None:
    """Remove what was uploaded, and folders that are empty then.

    The error that led here is the one to show, so others are left aside.
    """
    storage = cluster.job_storage()
    for path in paths:
        try:
            storage.delete(path)
        except (OpenPaiError, OSError):
            return
