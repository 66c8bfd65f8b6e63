# SPDX-License-Identifier: MIT
"""What every storage can do, under one name for each verb.

Paths are absolute, ``/`` separates. Missing files raise ``StorageNotFoundError``, which is also
``FileNotFoundError``.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from typing import IO, TYPE_CHECKING, Any

from openpaisdk.errors import StorageError, StorageExistsError, StorageNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 1 << 20
Entry = dict[str, Any]
"""``{"name", "type": "file" or "directory", "size_bytes", "modified_at"}``, the moment as ISO 8601 text in
UTC."""


class Storage(ABC):
    """A place for files. An implementation supplies the abstract methods; the others are made of them."""

    @abstractmethod
    def status(self, remote_path: str) -> Entry:
        """Return the entry of a file or folder.

        Raises:
            StorageNotFoundError: There is none of this name.
        """

    @abstractmethod
    def list(self, remote_path: str) -> list[Entry]:
        """Return the entries in a folder by name, or the entry of a file.

        Raises:
            StorageNotFoundError: There is no such file or folder.
        """

    @abstractmethod
    def open(self, remote_path: str) -> IO[bytes]:
        """Open a file for reading; close it, or use it in ``with``.

        Raises:
            StorageNotFoundError: There is no such file.
        """

    @abstractmethod
    def mkdir(self, remote_path: str) -> Entry:
        """Make a folder and those above it; one that is there already is fine.

        Raises:
            StorageExistsError: There is a file of this name.
        """

    @abstractmethod
    def delete(self, remote_path: str, recursive: bool = False) -> Entry:
        """Delete a file or an empty folder, for ``recursive`` one with all it holds; return what it was.

        Raises:
            StorageNotFoundError: There is none of this name.
            StorageError: The folder is not empty.
        """

    @abstractmethod
    def move(self, remote_path: str, new_path: str) -> Entry:
        """Give a file or folder another name; into an existing folder it moves under its own name.

        Raises:
            StorageNotFoundError: There is none of this name.
            StorageExistsError: The new name is taken.
        """

    @abstractmethod
    def _put_file(self, local_path: str, remote_path: str, *, overwrite: bool) -> None:
        """Store one file at exactly this path, making the folders above it."""

    # --- made of the above ---------------------------------------------------------------------

    def exists(self, remote_path: str) -> bool:
        """Tell whether there is a file or folder of this name."""
        try:
            self.status(remote_path)
        except StorageNotFoundError:
            return False
        return True

    def upload(self, local_path: str, remote_path: str, overwrite: bool = False) -> Entry:
        """Store a file or folder; into an existing folder it goes under its own name.

        Args:
            local_path: What to store.
            remote_path: Where to; a path that ends with ``/`` is a folder.
            overwrite: Whether files that are there may be replaced; nothing else in a folder is touched.

        Returns:
            The entry of what was stored.

        Raises:
            StorageError: There is no such local file.
            StorageExistsError: The name is taken and ``overwrite`` is false.
        """
        if not os.path.exists(local_path):
            raise StorageNotFoundError(f"there is no local file {local_path!r}")
        target = self._inside(remote_path, os.path.basename(os.path.abspath(local_path)))
        if os.path.isfile(local_path):
            self._put_file(local_path, target, overwrite=overwrite)
            return self.status(target)
        self.mkdir(target)
        for folder, names, files in os.walk(local_path):
            names.sort()
            below = os.path.relpath(folder, local_path).replace(os.sep, "/")
            remote_folder = target if below == "." else join(target, below)
            for name in names:
                self.mkdir(join(remote_folder, name))
            for name in sorted(files):
                self._put_file(os.path.join(folder, name), join(remote_folder, name), overwrite=overwrite)
        return self.status(target)

    def download(self, remote_path: str, local_path: str, overwrite: bool = False) -> Entry:
        """Fetch a file or folder; into an existing folder it goes under its own name.

        A file comes into place when it is whole. No name on the storage leads out of the target.

        Args:
            remote_path: What to fetch.
            local_path: Where to.
            overwrite: Whether local files may be replaced.

        Returns:
            The entry of what was fetched, ``name`` being the local path.

        Raises:
            StorageNotFoundError: There is no such file or folder.
            StorageExistsError: A local file is there and ``overwrite`` is false.
        """
        entry = self.status(remote_path)
        target = local_path
        if os.path.isdir(local_path) and entry["name"]:
            target = os.path.join(local_path, safe_name(entry["name"]))
        if entry["type"] == "file":
            os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
            self._fetch_file(remote_path, target, entry, overwrite=overwrite)
        else:
            self._fetch_folder(remote_path, target, overwrite=overwrite)
        return {**entry, "name": target}

    def _inside(self, remote_path: str, name: str) -> str:
        """Return where something called ``name`` goes when it is put to ``remote_path``."""
        if remote_path.endswith("/"):
            return join(remote_path, name)
        try:
            entry = self.status(remote_path)
        except StorageNotFoundError:
            return remote_path
        return join(remote_path, name) if entry["type"] == "directory" else remote_path

    def _fetch_folder(self, remote_path: str, local_path: str, *, overwrite: bool) -> None:
        os.makedirs(local_path, exist_ok=True)
        for entry in self.list(remote_path):
            name = safe_name(entry["name"])
            source, target = join(remote_path, name), os.path.join(local_path, name)
            if os.path.islink(target):
                raise StorageExistsError(f"{target!r} is a link", hint="download to another folder")
            if entry["type"] == "directory":
                self._fetch_folder(source, target, overwrite=overwrite)
            else:
                self._fetch_file(source, target, entry, overwrite=overwrite)

    def _fetch_file(self, remote_path: str, local_path: str, entry: Entry, *, overwrite: bool) -> None:
        if not overwrite and os.path.lexists(local_path):
            raise StorageExistsError(f"{local_path!r} is there already", hint="--overwrite replaces it")
        if os.path.isdir(local_path):
            raise StorageExistsError(f"{local_path!r} is a folder, a file was expected")
        aside = f"{local_path}.{os.getpid()}.part"
        try:
            with self.open(remote_path) as source, open(aside, "xb") as file:
                size = 0
                for piece in pieces(source):
                    size += len(piece)
                    file.write(piece)
            if size != entry["size_bytes"]:
                raise StorageError(
                    f"{remote_path!r} ended after {size} of {entry['size_bytes']} bytes", hint="try again"
                )
            os.replace(aside, local_path)
        except OSError as exc:
            if isinstance(exc, StorageError):
                raise
            raise StorageError(f"cannot write {local_path!r}: {exc.strerror or exc}") from exc
        finally:
            if os.path.lexists(aside):
                os.unlink(aside)


def pieces(source: IO[bytes]) -> Iterator[bytes]:
    """Give what is left in a stream, piece by piece."""
    while piece := source.read(PIECE_BYTES):
        yield piece


def join(folder: str, name: str) -> str:
    """Return the path of ``name`` in ``folder``."""
    return f"{folder.rstrip('/')}/{name}"


def base_name(path: str) -> str:
    """Return the last part of a path."""
    return path.rstrip("/").rpartition("/")[2]


def safe_name(name: str) -> str:
    """Return ``name`` when it names a file in a folder and nothing outside of it.

    Raises:
        StorageError: It does not.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise StorageError(f"the storage has a file called {name!r}, which cannot be stored here")
    return name


def moment(milliseconds: float) -> str:
    """Return a moment in ms since 1970 as ISO 8601 text in UTC."""
    seconds, rest = divmod(int(milliseconds), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"
