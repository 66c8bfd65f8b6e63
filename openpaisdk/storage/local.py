# SPDX-License-Identifier: MIT
"""``file://``: folders of this machine, a network share among them, as a storage."""

from __future__ import annotations

import errno
import os
import shutil

from openpaisdk.errors import (
    StorageError,
    StorageExistsError,
    StorageIsFolderError,
    StorageNotEmptyError,
    StorageNotFoundError,
    UsageError,
)
from openpaisdk.storage.base import PIECE_BYTES, Storage
from openpaisdk.storage.paths import base_name, checked, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from openpaisdk.storage.base import FileInfo, FileInfos


class FileStorage(Storage):
    """Files of this machine, by their absolute paths.

    Args:
        uri: ``file://``; a host in it is refused.
    """

    def __init__(self, uri: str = "file://", **_: Any) -> None:
        host = uri.partition("://")[2].partition("/")[0]
        if host not in ("", "localhost"):
            raise UsageError(f"{uri!r} names a host", hint="three slashes: file:///home/alice/data")

    @property
    def uri(self) -> str:
        return "file://"

    def __repr__(self) -> str:
        return "<FileStorage>"

    def status(self, remote_path: str) -> FileInfo:
        path = checked(remote_path)
        try:
            return _info(os.stat(path), base_name(path))
        except OSError as exc:
            raise _error(exc, path) from exc

    def _entries(self, remote_path: str) -> FileInfos:
        path = checked(remote_path)
        found: FileInfos = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        found.append(_info(entry.stat(), entry.name))
                    except FileNotFoundError:
                        if entry.is_symlink():  # it leads nowhere: shown, and an error where it is read
                            found.append(_info(entry.stat(follow_symlinks=False), entry.name))
        except OSError as exc:
            raise _error(exc, path) from exc
        return found

    def _is_link(self, remote_path: str) -> bool:
        return os.path.islink(remote_path)

    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        path = checked(remote_path)
        try:
            file = open(path, "rb", buffering=PIECE_BYTES // 16)  # noqa: SIM115 - the caller closes it
        except OSError as exc:
            raise _error(exc, path) from exc
        file.seek(offset)
        return file

    def mkdir(self, remote_path: str) -> FileInfo:
        path = checked(remote_path)
        try:
            os.makedirs(path, exist_ok=True)
        except FileExistsError:
            raise StorageExistsError(f"{remote_path!r} is a file") from None
        except OSError as exc:
            raise _error(exc, path) from exc
        return self.status(path)

    def delete(self, remote_path: str, recursive: bool = False) -> FileInfo:
        path = checked(remote_path)
        if path == "/":
            raise StorageError("the root of a storage is not deleted", hint="name what is in it")
        try:
            info = _info(os.lstat(path), base_name(path))
            if info["type"] == "file":
                os.unlink(path)
            elif recursive:
                shutil.rmtree(path)
            else:
                os.rmdir(path)
        except OSError as exc:
            raise _error(exc, path) from exc
        return info

    def _write(self, remote_path: str, source: Any) -> None:
        view = memoryview(bytearray(PIECE_BYTES))
        try:
            os.makedirs(os.path.dirname(remote_path), exist_ok=True)
            with open(remote_path, "wb", buffering=0) as file:
                while size := source.readinto(view):
                    left = view[:size]
                    while left:
                        left = left[file.write(left) :]
        except OSError as exc:
            raise _error(exc, remote_path) from exc

    def _rename(self, remote_path: str, new_path: str, *, overwrite: bool) -> None:
        try:
            if os.path.lexists(new_path) and (not overwrite or os.path.isdir(new_path)):
                raise StorageExistsError(f"{new_path!r} is there already", hint="--overwrite replaces a file")
            os.rename(remote_path, new_path)
        except OSError as exc:
            raise _error(exc, remote_path) from exc


def _info(found: os.stat_result, name: str) -> FileInfo:
    is_folder = found.st_mode & 0o170000 == 0o040000
    return {
        "name": name,
        "type": "directory" if is_folder else "file",
        "size_bytes": 0 if is_folder else found.st_size,
        "modified_at": moment(found.st_mtime * 1000),
    }


def _error(exc: OSError, path: str) -> StorageError:
    if exc.errno == errno.ENOENT:
        return StorageNotFoundError(f"there is no {path!r} on the storage")
    if exc.errno == errno.ENOTEMPTY:
        return StorageNotEmptyError(f"folder {path!r} is not empty", hint="-r deletes all that it holds")
    if exc.errno == errno.EISDIR:
        return StorageIsFolderError(f"{path!r} is a folder, a file was expected")
    from openpaisdk.storage.transfer.download import local_error

    return local_error(exc, path)
