# SPDX-License-Identifier: MIT
"""Sources of a job that are on a storage already: tar files, which each task fetches and unpacks.

They are not sent again with each job: its document names them, and ``runtime/bootstrap.py`` reads them by
WebHDFS. On the embedded cluster the token of a task may read just the files that the document names.
"""

from __future__ import annotations

from openpaisdk.constants import OWN_STORAGE, RUNTIME_FOLDER
from openpaisdk.errors import SourceError, StorageUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from openpaisdk.core import Cluster
    from openpaisdk.sources import Selection

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
_SCHEMES = ("hdfs", "webhdfs", "swebhdfs")


def checked_archive(uri: str) -> str:
    """Return the address of an archive as tasks read it: ``hdfs:///path`` or ``webhdfs://host:port/path``.

    Raises:
        SourceError: Tasks cannot fetch it, or it is no tar file by its name.
    """
    from openpaisdk.storage.hdfs.addresses import split_uri, task_address
    from openpaisdk.storage.paths import checked

    if uri.partition("://")[0] not in _SCHEMES:
        raise SourceError(
            f"source {uri!r} cannot be fetched by a job, which reads HDFS only",
            hint="hdfs:///path is on the cluster's own storage, webhdfs://host:9870/path on another",
        )
    address, path = split_uri(uri)
    path = checked(path)
    folder_of(uri)
    if address == OWN_STORAGE:
        return OWN_STORAGE + path
    return task_address(address) + path


def folder_of(uri: str) -> str:
    """Return the folder that an archive is unpacked into: its name without the suffix.

    Raises:
        SourceError: It has no suffix of a tar file, or nothing before it.
    """
    name = uri.rpartition("/")[2]
    for suffix in SUFFIXES:
        folder = name.removesuffix(suffix)
        if folder != name and folder not in ("", ".", "..", RUNTIME_FOLDER):
            return folder
    raise SourceError(
        f"source {uri!r} is no archive by its name ({', '.join(SUFFIXES)})",
        hint="opai storage upload --archive FOLDER REMOTE.tar makes one of a folder",
    )


def for_cluster(uris: Iterable[str], cluster: Cluster) -> list[str]:
    """Return the addresses as the document names them: a file of the embedded cluster without its port.

    Raises:
        SourceError: One is no address of an archive; documents are written by hand as well.
    """
    own = f"{cluster.job_storage().uri}/" if cluster.is_embedded else None
    checked = (checked_archive(str(uri)) for uri in uris)
    return [f"{OWN_STORAGE}/{uri[len(own) :]}" if own and uri.startswith(own) else uri for uri in checked]


def refuse_taken_folders(uris: Iterable[str], selection: Selection | None) -> None:
    """Raise ``SourceError`` when a folder that an archive makes is that of another source."""
    entries = selection.entries if selection is not None else ()
    taken = {entry.name.partition("/")[0]: repr(entry.path) for entry in entries}
    for uri in uris:
        folder = folder_of(uri)
        if folder in taken:
            raise SourceError(
                f"two sources would be {folder!r} in the job: {taken[folder]} and {uri!r}",
                hint="store the archive under another name",
            )
        taken[folder] = repr(uri)


def require_readable(uris: Iterable[str], cluster: Cluster) -> None:
    """Open each archive, so that what is missing or forbidden is told before the job is sent.

    A storage that cannot be reached from here is passed over; tasks may stand nearer to it.

    Raises:
        StorageNotFoundError: There is no such file.
        StoragePermissionError: This user may not read it.
        StorageError: It is a folder, say.
    """
    for uri in uris:
        storage, path = cluster.storage_at(uri)
        try:
            storage.open(path).close()
        except StorageUnavailableError:
            continue
