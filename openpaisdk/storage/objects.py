# SPDX-License-Identifier: MIT
"""Object stores behind ``fsspec``, which have no folders: a name may just begin like a path.

A folder that is made is an empty object whose name ends with a slash, as other tools do it too, so that it is
there without files, where the package of the store can list such.
A rename is a copy: one of a file is seen when it is whole, one of a folder file by file.
"""

from __future__ import annotations

from collections.abc import Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from openpaisdk.errors import (
    StorageExistsError,
    StorageNotFolderError,
    StorageNotFoundError,
)
from openpaisdk.storage.fsspec import FsspecStorage, translated
from openpaisdk.storage.paths import base_name, checked, join, parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openpaisdk.storage.base import FileInfo

_BLOCK_BYTES = 16 << 20
"""Of a file that is read or sent: what fsspec's packages take by default would fill the memory."""
_BLOCKS_LIMIT = 9_000
"""S3 takes 10,000 parts of a file."""
_AT_ONCE = 16
_UNMARKED_SCHEMES = ("abfs", "abfss", "az", "oss")
"""Where a folder is there by its files only: adlfs does not see what is in one that has such an object, and
what ossfs sees could not be tried."""


class ObjectStorage(FsspecStorage):
    """Files of one bucket or container; arguments as of ``FsspecStorage``."""

    _options: ClassVar[dict[str, Any]] = {"use_listings_cache": False}
    _open_options: ClassVar[dict[str, Any]] = {"block_size": _BLOCK_BYTES}

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, **options)
        self._folders = {"/"}
        """Those that are known to be there; what others delete meanwhile still begins the names of files."""

    def mkdir(self, remote_path: str) -> FileInfo:
        path = checked(remote_path)
        with translated(remote_path):
            if self._kind(path) == "file":
                raise StorageExistsError(f"{remote_path!r} is a file")
            self._make(path)
        return {"name": base_name(path), "type": "directory", "size_bytes": 0, "modified_at": None}

    def _make(self, path: str) -> None:
        """Make a folder and those above it."""
        if path in self._folders:
            return
        kind = self._kind(path)
        if kind == "file":
            raise StorageNotFolderError(f"{path!r} is a file, a folder was expected")
        if kind is None:
            self._make(parent(path))
            if self._scheme not in _UNMARKED_SCHEMES:
                self._files.pipe_file(self._path(path) + "/", b"")
        self._folders.add(path)

    def _kind(self, path: str) -> str | None:
        try:
            return self.status(path)["type"]
        except StorageNotFoundError:
            return None

    def _write(self, remote_path: str, source: Any) -> None:
        size = len(source) if isinstance(source, Sized) else 0
        block = max(_BLOCK_BYTES, -(-size // _BLOCKS_LIMIT >> 20) + 1 << 20)
        with translated(remote_path):
            self._make(parent(checked(remote_path)))
            self._copy_in(remote_path, source, {"block_size": block})

    def _rename(self, remote_path: str, new_path: str, *, overwrite: bool) -> None:
        self._is_taken(new_path, overwrite=overwrite)
        with translated(remote_path):
            self._make(parent(new_path))
            folders, files = self._tree(remote_path)
            for folder in folders:
                self._make(new_path + folder[len(remote_path) :])
            _all_of(
                lambda file: self._files.cp_file(
                    self._path(file), self._path(new_path + file[len(remote_path) :])
                ),
                files,
            )
            self._remove(folders, files)

    def _tree(self, path: str) -> tuple[list[str], list[str]]:
        """Return the folders at and below a path, those above first, and the files."""
        if self._kind(path) != "directory":
            return [], [path]
        folders: list[str] = [path]
        files: list[str] = []
        for folder in folders:
            for info in self._entries(folder):
                (folders if info["type"] == "directory" else files).append(join(folder, info["name"]))
        return folders, files

    def _remove_tree(self, remote_path: str) -> None:
        self._remove(*self._tree(remote_path))

    def _remove(self, folders: list[str], files: list[str]) -> None:
        _all_of(lambda file: self._files.rm_file(self._path(file)), files)
        for folder in reversed(folders):
            with suppress(FileNotFoundError):  # one that only its files made
                self._files.rm_file(self._path(folder) + "/")
            self._folders.discard(folder)


def _all_of(call: Callable[[str], object], paths: Iterable[str]) -> None:
    """Call for each path, many at once; the first error ends it."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(call, paths):
            pass
