# SPDX-License-Identifier: MIT
"""What every storage can do, under one name for each verb.

Paths are absolute, ``/`` separates. Missing files raise ``StorageNotFoundError``, which is also
``FileNotFoundError``. An implementation supplies a few primitives; the verbs that move files are made of them
in ``openpaisdk.storage.transfer``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from openpaisdk.errors import StorageError, StorageExistsError, StorageNotFolderError, StorageNotFoundError
from openpaisdk.storage.paths import base_name, checked, has_wildcards, join, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    import os
    from collections.abc import Callable, Iterator
    from typing import IO, Any, Protocol, TypedDict

    from openpaisdk.storage.transfer.content import Piece
    from openpaisdk.storage.transfer.progress import Progress
    from openpaisdk.storage.transfer.stream import StreamPiece

    class FileInfo(TypedDict):
        """A file or folder; ``type`` is ``file`` or ``directory``, the moment ISO 8601 text in UTC."""

        name: str
        type: str
        size_bytes: int
        modified_at: str | None

    class Digest(Protocol):
        """Computes a checksum as bytes pass by."""

        chunk_bytes: int
        """How many bytes are taken together."""

        def update(self, data: memoryview, /) -> None:
            """Take the next bytes."""

        def crcs(self, data: memoryview, /) -> Any:
            """Return what ``add`` takes of the bytes of a piece that begins and ends with a chunk."""

        def add(self, crcs: Any, /) -> None:
            """Take the next bytes of the file, by what ``crcs`` has made of them."""

        def matches(self, found: Any, /) -> bool | None:
            """Tell whether this is the checksum ``found``; ``None`` when they cannot be compared."""

        def copy(self) -> Any:
            """Return another one that has seen the same."""

        def take(self, other: Any, /) -> None:
            """Have seen what ``other`` has seen."""

    class Checksum(Protocol):
        """What a storage says of a file."""

        def make_digest(self) -> Digest | None:
            """Return what computes such a checksum, or ``None`` where no package here can."""

    FileInfos = list[FileInfo]
    Local = str | os.PathLike[str] | IO[bytes]

PIECE_BYTES = 1 << 20


class Storage(ABC):
    """A place for files."""

    trace: Callable[[str], object] | None = None
    """Called with a line for each request, without secrets, where set."""
    has_checksums = False
    """Whether the storage has checksums to compare with, given the packages that compute them."""
    read_back_bytes = 0
    """Up to this size, asking for the checksum of a file costs more than reading the file."""
    reads_in_parallel = False
    """Whether several streams of one file are faster than one."""
    closes_slowly = False
    """Whether each file takes a while to close, so that many small ones are better sent as one."""

    # --- what an implementation supplies -------------------------------------------------------

    @property
    @abstractmethod
    def uri(self) -> str:
        """Address of the storage's root, without secrets."""

    @abstractmethod
    def status(self, remote_path: str) -> FileInfo:
        """Return what is known of a file or folder.

        Raises:
            StorageNotFoundError: There is none of this name.
        """

    @abstractmethod
    def _entries(self, remote_path: str) -> FileInfos:
        """Return what is in a folder, in any order."""

    @abstractmethod
    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        """Open a file for reading, from ``offset`` on; close it, or use it in ``with``.

        Raises:
            StorageNotFoundError: There is no such file.
            StorageIsFolderError: It is a folder.
        """

    @abstractmethod
    def mkdir(self, remote_path: str) -> FileInfo:
        """Make a folder and those above it; one that is there already is fine.

        Raises:
            StorageExistsError: There is a file of this name.
        """

    @abstractmethod
    def delete(self, remote_path: str, recursive: bool = False) -> FileInfo:
        """Delete a file or an empty folder, for ``recursive`` one with all it holds; return what it was.

        Raises:
            StorageNotFoundError: There is none of this name.
            StorageNotEmptyError: The folder holds something, and ``recursive`` is false.
        """

    @abstractmethod
    def _write(self, remote_path: str, source: Piece | StreamPiece) -> None:
        """Store the rest of a stream at exactly this path, in place of what may be there.

        The folders above it are made. A ``Piece`` knows its length.
        """

    @abstractmethod
    def _rename(self, remote_path: str, new_path: str, *, overwrite: bool) -> None:
        """Give a file or folder exactly this other name, in one step.

        Raises:
            StorageExistsError: The name is taken, and ``overwrite`` is false.
        """

    # --- what it may do better -----------------------------------------------------------------

    def _open_sized(self, remote_path: str, offset: int, size: int) -> IO[bytes] | io.RawIOBase:
        """Open a file whose size is known from a listing; it need not be buffered."""
        return self.open(remote_path, offset)

    def _open_range(self, remote_path: str, start: int, end: int) -> IO[bytes] | io.RawIOBase:
        """Open a file for reading from ``start`` on, at least up to ``end``."""
        return self.open(remote_path, start)

    def _send(self, remote_path: str, source: Piece) -> None:
        """Store a local file at exactly this path; one that was broken off goes on where it was."""
        self._write(remote_path, source)

    def _make_digest(self) -> Digest | None:
        """Return what computes the checksum that this storage will have for a file that is stored now."""
        return None

    def _checksum(self, remote_path: str) -> Checksum | None:
        """Return the checksum that the storage has for a file."""
        return None

    def _is_link(self, remote_path: str) -> bool:
        """Tell whether a path is a link to elsewhere, where the storage has such."""
        return False

    def _summary(self, remote_path: str) -> tuple[int, int, int]:
        """Return bytes, files and folders below a path (a folder counts itself)."""
        info = self.status(remote_path)
        if info["type"] == "file":
            return info["size_bytes"], 1, 0
        size, files, folders = 0, 0, 1
        for below in self._entries(remote_path):
            parts = self._summary(join(remote_path, below["name"]))
            size, files, folders = size + parts[0], files + parts[1], folders + parts[2]
        return size, files, folders

    # --- made of the above ---------------------------------------------------------------------

    def list(self, remote_path: str) -> FileInfos:
        """Return what is in a folder by name, or the file itself; ``*``, ``?`` and ``[…]`` match names.

        For a pattern, ``name`` is relative to the folder above its first wildcard.

        Raises:
            StorageNotFoundError: There is no such file or folder, or nothing matches.
        """
        if has_wildcards(remote_path):
            try:
                info = self.status(remote_path)  # a name may hold such characters
            except StorageNotFoundError:
                from openpaisdk.storage.glob import find

                return [{**info, "name": name} for name, info in find(self, remote_path)[1]]
        else:
            info = self.status(remote_path)
        if info["type"] == "file":
            return [info]
        return sorted(self._entries(remote_path), key=lambda item: item["name"])

    def exists(self, remote_path: str) -> bool:
        """Tell whether there is a file or folder of this name."""
        try:
            self.status(remote_path)
        except (StorageNotFoundError, StorageNotFolderError):
            return False
        return True

    def du(self, remote_path: str) -> dict[str, Any]:
        """Return how much there is below a path: ``{"name", "type", "size_bytes", "files", "folders"}``."""
        info = self.status(remote_path)
        size, files, folders = self._summary(remote_path)
        return {
            "name": info["name"] or "/",
            "type": info["type"],
            "size_bytes": size,
            "files": files,
            "folders": folders,
        }

    def move(self, remote_path: str, new_path: str, overwrite: bool = False) -> FileInfo:
        """Give a file or folder another name; into an existing folder it moves under its own name.

        Raises:
            StorageNotFoundError: There is none of this name.
            StorageExistsError: The new name is taken, and ``overwrite`` is false or it is a folder's.
        """
        info = self.status(remote_path)
        target = self._inside(new_path, base_name(remote_path))
        source = checked(remote_path)
        if target == source:
            raise StorageExistsError(f"{remote_path!r} has this name already")
        if f"{target}/".startswith(f"{source}/"):
            raise StorageError(f"{remote_path!r} cannot be moved into itself")
        if overwrite and self.exists(target) and "directory" in (info["type"], self.status(target)["type"]):
            raise StorageExistsError(
                f"{target!r} is on the storage already", hint="only a file is replaced, and by a file"
            )
        try:
            self._rename(source, target, overwrite=overwrite)
        except StorageNotFoundError:
            if not self.exists(source) or self.exists(parent(target)):
                raise
            raise StorageNotFoundError(
                f"there is no folder {parent(target)!r} to move {remote_path!r} to",
                hint="opai storage mkdir makes it",
            ) from None
        return self.status(target)

    def upload(
        self,
        local_path: Local,
        remote_path: str,
        overwrite: bool = False,
        *,
        archive: bool = False,
        verify: bool = True,
        on_progress: Callable[[Progress], object] | None = None,
        on_note: Callable[[str], object] | None = None,
    ) -> FileInfo:
        """Store a file or folder; into an existing folder it goes under its own name.

        Nobody sees a file before it is whole. What a broken-off upload has stored is not sent again.

        Args:
            local_path: What to store; a stream open for reading is stored as one file.
            remote_path: Where to; a path that ends with ``/`` is a folder.
            overwrite: Whether files that are there may be replaced; nothing else in a folder is touched.
            archive: Store a folder as one tar file (``.zst``: compressed).
            verify: Compare lengths and checksums before anything is put in place.
            on_progress: Called now and then with how far it is.
            on_note: Called with what the user should know, such as how it was verified.

        Returns:
            What was stored.

        Raises:
            StorageNotFoundError: There is no such local file.
            StorageExistsError: The name is taken and ``overwrite`` is false.
            StorageMismatchError: What arrived differs; it was not put in place.
            TransferError: Some files of a folder could not be stored.
        """
        from openpaisdk.storage.transfer.upload import Upload

        transfer = Upload(self, overwrite=overwrite, verify=verify, on_progress=on_progress, on_note=on_note)
        return transfer.run(local_path, remote_path, archive=archive)

    def download(
        self,
        remote_path: str,
        local_path: Local,
        overwrite: bool = False,
        *,
        archive: bool = False,
        verify: bool = True,
        on_progress: Callable[[Progress], object] | None = None,
        on_note: Callable[[str], object] | None = None,
    ) -> FileInfo:
        """Fetch a file or folder; into an existing folder it goes under its own name.

        A file comes into place when it is whole. No name on the storage leads out of the target.

        Args:
            remote_path: What to fetch; wildcards fetch every match into the folder ``local_path``.
            local_path: Where to; a stream open for writing takes one file.
            overwrite: Whether local files may be replaced.
            archive: Unpack a tar file into the folder ``local_path``.
            verify: Compare lengths and checksums before anything is put in place.
            on_progress: Called now and then with how far it is.
            on_note: Called with what the user should know.

        Returns:
            What was fetched, ``name`` being the local path.

        Raises:
            StorageNotFoundError: There is no such file or folder.
            StorageExistsError: A local file is there and ``overwrite`` is false.
            StorageMismatchError: What arrived differs; it was not put in place.
            TransferError: Some files of a folder could not be fetched.
        """
        from openpaisdk.storage.transfer.download import Download

        transfer = Download(
            self, overwrite=overwrite, verify=verify, on_progress=on_progress, on_note=on_note
        )
        return transfer.run(remote_path, local_path, archive=archive)

    def delete_left_overs(
        self,
        remote_path: str,
        *,
        older_than_s: float | None = None,
        on_note: Callable[[str], object] | None = None,
    ) -> FileInfos:
        """Delete what transfers that were broken off have left in a folder and all folders below it.

        What a transfer has worked on since stays, all of it, as do files that only look alike.

        Args:
            remote_path: The folder.
            older_than_s: How long nothing of a transfer must have changed, at least a day; ``None``: a week.
            on_note: Called with how much stays, and with folders that may not be listed.

        Returns:
            What was deleted, ``name`` being its path, the size that of all in it.

        Raises:
            UsageError: It is less than a day.
            StorageNotFoundError: There is no such folder.
        """
        from openpaisdk.storage.transfer.left_overs import delete_left_overs

        return delete_left_overs(self, remote_path, older_than_s=older_than_s, on_note=on_note)

    def _inside(self, remote_path: str, name: str) -> str:
        """Return where something called ``name`` goes when it is put to ``remote_path``."""
        path = checked(remote_path)
        if remote_path.endswith("/") and path != "/":
            return join(path, name)
        try:
            info = self.status(path)
        except StorageNotFoundError:
            return path
        return join(path, name) if info["type"] == "directory" else path


def pieces(source: IO[bytes]) -> Iterator[bytes]:
    """Give what is left in a stream, piece by piece."""
    while piece := source.read(PIECE_BYTES):
        yield piece
