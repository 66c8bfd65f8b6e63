# SPDX-License-Identifier: MIT
"""Any filesystem that ``fsspec`` knows: object stores, SFTP and others, each by the package of an extra."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from openpaisdk.errors import (
    MissingExtraError,
    StorageError,
    StorageExistsError,
    StorageIsFolderError,
    StorageNotEmptyError,
    StorageNotFolderError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageUnavailableError,
)
from openpaisdk.storage.base import PIECE_BYTES, Storage
from openpaisdk.storage.paths import base_name, checked, moment, parent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from openpaisdk.storage.base import FileInfo, FileInfos

_HOST_SCHEMES = ("sftp", "ssh", "ftp", "smb")
"""Where the authority of an address is a host; elsewhere it is a bucket, the first part of a path."""


class FsspecStorage(Storage):
    """Files of one bucket, container or host.

    Args:
        uri: Such as ``s3://bucket`` or ``sftp://alice@host``.
        extra: The extra of this package that has what the scheme needs, for the hint.
        options: What fsspec's filesystem takes, such as ``endpoint_url``.
    """

    _options: ClassVar[dict[str, Any]] = {}
    """What fsspec's filesystem takes unless the user says otherwise."""
    _open_options: ClassVar[dict[str, Any]] = {}
    """What its ``open`` takes."""
    _rename_replaces: ClassVar[bool] = False
    """Whether a rename replaces a file, in one step."""

    def __init__(
        self, uri: str, *, extra: str = "fsspec", options: dict[str, Any] | None = None, **_: Any
    ) -> None:
        scheme, authority = uri.partition("://")[0], uri.partition("://")[2].partition("/")[0]
        self._scheme = scheme
        self._uri = f"{scheme}://{_without_password(authority)}"
        try:
            import fsspec

            kind = self._kind_of(fsspec.get_filesystem_class(scheme))
            made: dict[str, Any] = dict(kind._get_kwargs_from_urls(f"{scheme}://{authority}"))
            self._files: Any = kind(**{**made, **self._options, **(options or {})})
        except ImportError as exc:
            raise MissingExtraError(f"storage {scheme}://", extra=extra) from exc
        except Exception as exc:  # SFTP logs in at once
            raise _other_error(exc, f"{self._uri!r}") from exc
        self._root = "" if scheme in _HOST_SCHEMES else authority

    @staticmethod
    def _kind_of(kind: Any) -> Any:
        """Return the class of the filesystem, given fsspec's."""
        return kind

    def __repr__(self) -> str:
        return f"<FsspecStorage {self._uri}>"

    @property
    def uri(self) -> str:
        return self._uri

    def _asking(self, remote_path: str) -> AbstractContextManager[None]:
        """Return what every call of the filesystem is made in."""
        return translated(remote_path)

    def _path(self, remote_path: str) -> str:
        path = checked(remote_path)
        return self._root + path if path != "/" or not self._root else self._root

    def status(self, remote_path: str) -> FileInfo:
        with self._asking(remote_path):
            self._files.invalidate_cache()
            return _info(self._files.info(self._path(remote_path)), base_name(remote_path))

    def _entries(self, remote_path: str) -> FileInfos:
        path = self._path(remote_path)
        if self.status(remote_path)["type"] == "file":
            raise StorageNotFolderError(f"{remote_path!r} is a file, a folder was expected")
        with self._asking(remote_path):
            found = self._files.ls(path, detail=True)
        infos = [_info(entry, base_name(str(entry["name"]))) for entry in found]
        own = path.rstrip("/")
        return [
            info
            for info, entry in zip(infos, found, strict=True)
            if str(entry["name"]).rstrip("/") != own and info["name"]
        ]

    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        if self.status(remote_path)["type"] == "directory":
            raise StorageIsFolderError(f"{remote_path!r} is a folder, a file was expected")
        with self._asking(remote_path):
            file = self._files.open(self._path(remote_path), "rb", **self._open_options)
            file.seek(offset)
            return cast("IO[bytes]", file)

    def mkdir(self, remote_path: str) -> FileInfo:
        with self._asking(remote_path):
            if self._files.isfile(self._path(remote_path)):
                raise StorageExistsError(f"{remote_path!r} is a file")
            self._files.makedirs(self._path(remote_path), exist_ok=True)
        return {"name": base_name(remote_path), "type": "directory", "size_bytes": 0, "modified_at": None}

    def delete(self, remote_path: str, recursive: bool = False) -> FileInfo:
        info = self.status(remote_path)
        path = checked(remote_path)
        if path == "/":
            raise StorageError("the root of a storage is not deleted", hint="name what is in it")
        with self._asking(remote_path):
            if info["type"] == "file":
                self._files.rm_file(self._path(path))
                return info
            if not recursive and self._entries(remote_path):
                raise StorageNotEmptyError(
                    f"folder {remote_path!r} is not empty", hint="-r deletes all that it holds"
                )
            self._remove_tree(path)
        return info

    def _write(self, remote_path: str, source: Any) -> None:
        with self._asking(remote_path):
            self._files.makedirs(self._path(parent(remote_path)), exist_ok=True)
            self._copy_in(remote_path, source, self._open_options)

    def _copy_in(self, remote_path: str, source: Any, options: dict[str, Any]) -> None:
        view = memoryview(bytearray(PIECE_BYTES))
        with self._files.open(self._path(remote_path), "wb", **options) as file:
            while size := source.readinto(view):
                file.write(bytes(view[:size]))

    def _rename(self, remote_path: str, new_path: str, *, overwrite: bool) -> None:
        if self._is_taken(new_path, overwrite=overwrite) and not self._rename_replaces:
            with self._asking(new_path):
                self._files.rm_file(self._path(new_path))
        with self._asking(remote_path):
            self._move(remote_path, new_path)

    def _is_taken(self, new_path: str, *, overwrite: bool) -> bool:
        """Tell whether a file is to be replaced.

        Raises:
            StorageExistsError: It is not to be, or it is a folder.
        """
        try:
            info = self.status(new_path)
        except StorageNotFoundError:
            return False
        if info["type"] == "directory":
            raise StorageExistsError(f"{new_path!r} is a folder, which nothing replaces")
        if not overwrite:
            raise StorageExistsError(
                f"{new_path!r} is on the storage already", hint="--overwrite replaces a file"
            )
        return True

    def _move(self, old: str, new: str) -> None:
        """Rename by what takes names as they are: fsspec's own ``mv`` and ``rm`` read them as patterns."""
        from fsspec.spec import AbstractFileSystem

        path, new_path = self._path(old), self._path(new)
        if type(self._files).mv is not AbstractFileSystem.mv:
            self._files.mv(path, new_path)
            return
        if not self._files.isdir(path):
            self._files.cp_file(path, new_path)
            self._files.rm_file(path)
            return
        own = str(self._files._strip_protocol(path)).rstrip("/")
        self._files.makedirs(new_path, exist_ok=True)
        for entry in self._files.find(path, withdirs=True, detail=True).values():
            below = new_path + str(entry["name"])[len(own) :]
            if entry["type"] == "directory":
                self._files.makedirs(below, exist_ok=True)
            else:
                self._files.makedirs(parent(below), exist_ok=True)
                self._files.cp_file(entry["name"], below)
        self._remove_tree(old)

    def _remove_tree(self, remote_path: str) -> None:
        path = self._path(remote_path)
        entries = self._files.find(path, withdirs=True, detail=True)
        for name in sorted(entries, reverse=True):
            if entries[name]["type"] != "directory":
                self._files.rm_file(name)
            elif self._files.exists(name):
                self._files.rmdir(name)
        if self._files.exists(path):
            self._files.rmdir(path)


@contextmanager
def translated(remote_path: str) -> Iterator[None]:
    """Turn what a package behind fsspec raises into our errors."""
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError as exc:
        raise StorageNotFoundError(f"there is no {remote_path!r} on the storage") from exc
    except FileExistsError as exc:
        raise StorageExistsError(f"{remote_path!r} is on the storage already") from exc
    except PermissionError as exc:
        raise StoragePermissionError(f"the storage does not let this user touch {remote_path!r}") from exc
    except IsADirectoryError as exc:
        raise StorageIsFolderError(f"{remote_path!r} is a folder, a file was expected") from exc
    except NotADirectoryError as exc:
        raise StorageNotFolderError(f"{remote_path!r}: a part of this path is a file") from exc
    except Exception as exc:  # every package behind fsspec has errors of its own
        raise _other_error(exc, f"{remote_path!r}") from exc


def _other_error(exc: Exception, what: str) -> StorageError:
    """Return the error for one that is told from others by the name of its class only."""
    names = " ".join(kind.__name__ for kind in type(exc).__mro__)
    if any(word in names for word in ("Credential", "Authentication")):
        return StoragePermissionError(f"{what}: the storage does not know who asks: {exc}", hint=_LOGIN_HINT)
    if "known_hosts" in str(exc) or "BadHostKey" in names:
        return StoragePermissionError(
            f"{what}: the host is not the one that is known: {exc}", hint=_HOST_HINT
        )
    if any(word in names for word in ("Connection", "Connect", "Timeout", "ServiceRequestError", "gaierror")):
        return StorageUnavailableError(f"{what}: cannot reach the storage: {exc}", hint=_NETWORK_HINT)
    return StorageError(f"{what}: the storage says: {exc}")


_LOGIN_HINT = "`options` of the storage in clusters.json hold what its package logs in with"
_HOST_HINT = "when its key has been compared, `ssh HOST` or `ssh-keyscan` adds it to ~/.ssh/known_hosts"
_NETWORK_HINT = "check the storage's address and your network"


def _without_password(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    return f"{user.partition(':')[0]}{at}{host}"


def _info(entry: dict[str, Any], name: str) -> FileInfo:
    is_folder = entry.get("type") == "directory"
    changed: Any = (
        entry.get("LastModified") or entry.get("mtime") or entry.get("last_modified") or entry.get("created")
    )
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else changed
    return {
        "name": name,
        "type": "directory" if is_folder else "file",
        "size_bytes": 0 if is_folder else int(entry.get("size") or 0),
        "modified_at": moment(float(seconds) * 1000) if isinstance(seconds, (int, float)) else None,
    }
