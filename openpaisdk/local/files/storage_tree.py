# SPDX-License-Identifier: MIT
"""The files of the embedded cluster's storage: one folder, which no path leads out of.

Files are written aside and renamed, so that nobody ever reads half of one, and an upload that breaks off
leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from typing import Any

from openpaisdk.local.files.hdfs_errors import RemoteError, from_os_error, illegal

ASIDE_FOLDER = ".uploads"
"""At the root of the storage, never shown: files on their way in, trees on their way out."""
BLOCK_SIZE = 128 * 1024**2
FILE_MODE = 0o644
FOLDER_MODE = 0o755


def clean_path(path: str) -> str:
    """Return an absolute path without doubled or trailing slashes.

    Raises:
        RemoteError: The path is relative, or has parts that could lead elsewhere.
    """
    if not path.startswith("/"):
        raise illegal(f"Path {path!r} is not absolute")
    if "\0" in path:
        raise illegal("Path contains a NUL character")
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise illegal(f"Invalid path name {path}")
    if parts and parts[0] == ASIDE_FOLDER:
        raise RemoteError("AccessControlException", f"Permission denied: {path}")
    return "/" + "/".join(parts)


class StorageTree:
    """What can be done with paths of the storage; all paths are clean ones.

    Args:
        root: The folder.
        owner: Shown as the owner of everything.
    """

    def __init__(self, root: str, owner: str) -> None:
        self._root = os.path.realpath(root)
        self._owner = owner
        self._aside = os.path.join(self._root, ASIDE_FOLDER)
        shutil.rmtree(self._aside, ignore_errors=True)
        os.makedirs(self._aside, mode=0o700, exist_ok=True)

    # --- places --------------------------------------------------------------------------------
    def place(self, path: str) -> str:
        """Return the real place of a path, all links on the way followed.

        Raises:
            RemoteError: A link leads out of the storage, or aside.
        """
        try:
            place = os.path.realpath(self._root + path)
        except OSError as exc:
            raise from_os_error(exc, path) from exc
        inside = place == self._root or place.startswith(self._root + os.sep)
        if not inside or place == self._aside or place.startswith(self._aside + os.sep):
            raise RemoteError("AccessControlException", f"Permission denied: {path} leads out of the storage")
        return place

    def _entry(self, path: str) -> str:
        """Return the place of a path whose last part is not followed when it is a link."""
        parent, _, name = path.rpartition("/")
        return os.path.join(self.place(parent or "/"), name) if name else self._root

    def aside(self) -> str:
        """Return the place of a new file that is not seen yet."""
        os.makedirs(self._aside, mode=0o700, exist_ok=True)
        return os.path.join(self._aside, secrets.token_hex(8))

    # --- look ----------------------------------------------------------------------------------
    def stat(self, path: str) -> os.stat_result:
        """Return what the system knows of a path."""
        try:
            return os.stat(self.place(path))
        except OSError as exc:
            raise from_os_error(exc, path) from exc

    def exists(self, path: str) -> bool:
        """Return whether there is something."""
        return os.path.lexists(self._entry(path))

    def status(self, path: str) -> dict[str, Any]:
        """Return a ``FileStatus``."""
        return self._status(self.stat(path), "", self.place(path))

    def list(self, path: str) -> list[dict[str, Any]]:
        """Return the ``FileStatus`` of each entry of a folder by name, or of the file itself."""
        found = self.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return [self._status(found, "", self.place(path))]
        folder = self.place(path)
        statuses = []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if folder == self._root and entry.name == ASIDE_FOLDER:
                        continue
                    with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                        statuses.append(self._status(self._entry_stat(entry), entry.name, entry.path))
        except OSError as exc:
            raise from_os_error(exc, path) from exc
        return statuses

    def _entry_stat(self, entry: os.DirEntry[str]) -> os.stat_result:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not target.startswith(self._root + os.sep) or not os.path.exists(target):
                return entry.stat(follow_symlinks=False)
        return entry.stat()

    def _status(self, found: os.stat_result, name: str, place: str) -> dict[str, Any]:
        is_folder = stat.S_ISDIR(found.st_mode)
        kind = "DIRECTORY" if is_folder else "SYMLINK" if stat.S_ISLNK(found.st_mode) else "FILE"
        return {
            "accessTime": 0 if is_folder else found.st_atime_ns // 1_000_000,
            "blockSize": 0 if is_folder else BLOCK_SIZE,
            "childrenNum": max(0, found.st_nlink - 2) if is_folder else 0,
            "fileId": found.st_ino,
            "group": self._owner,
            "length": 0 if is_folder else found.st_size,
            "modificationTime": found.st_mtime_ns // 1_000_000,
            "owner": self._owner,
            "pathSuffix": _wire_name(name),
            "permission": f"{stat.S_IMODE(found.st_mode) & 0o777:o}",
            "replication": 0 if is_folder else 1,
            "storagePolicy": 0,
            "type": kind,
        }

    def summary(self, path: str) -> dict[str, Any]:
        """Return a ``ContentSummary``; slow for large trees."""
        found = self.stat(path)
        folders, files, size = 0, 1, found.st_size
        if stat.S_ISDIR(found.st_mode):
            folders, files, size = _count(self.place(path), skip=self._aside)
        return {
            "directoryCount": folders,
            "fileCount": files,
            "length": size,
            "quota": -1,
            "spaceConsumed": size,
            "spaceQuota": -1,
        }

    # --- change --------------------------------------------------------------------------------
    def make_folder(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it; it is no error when it is there."""
        place = self.place(path)
        if not os.path.isdir(place):
            self._make_folders(path, place)
            if mode is not None:
                os.chmod(place, mode | 0o700)

    def _make_folders(self, path: str, place: str) -> None:
        if os.path.lexists(place) and not os.path.isdir(place):
            raise RemoteError("FileAlreadyExistsException", f"Path is not a directory: {path}")
        missing = []
        while not os.path.lexists(place):
            missing.append(place)
            place = os.path.dirname(place)
        try:
            for folder in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
                    os.chmod(folder, FOLDER_MODE)
        except OSError as exc:
            raise from_os_error(exc, path) from exc

    def check_new_file(self, path: str, *, overwrite: bool) -> None:
        """Raise what creating a file here would raise, before its content is sent.

        Raises:
            RemoteError: There is a folder, a file that must not be replaced, or a file as a parent.
        """
        if path == "/":
            raise RemoteError("FileAlreadyExistsException", "/ already exists as a directory")
        place = self.place(path)
        if os.path.isdir(place):
            raise RemoteError("FileAlreadyExistsException", f"{path} already exists as a directory")
        if os.path.lexists(place):
            if not overwrite:
                raise RemoteError("FileAlreadyExistsException", f"{path} for client already exists")
            return
        above = os.path.dirname(place)
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if not os.path.isdir(above):
            raise RemoteError("ParentNotDirectoryException", f"Parent path is not a directory: {path}")

    def put_into_place(self, aside: str, path: str, *, overwrite: bool, mode: int | None) -> None:
        """Make a file that was written aside appear under its name.

        Raises:
            RemoteError: As ``check_new_file``; the file aside is left there.
        """
        self.check_new_file(path, overwrite=overwrite)
        place = self.place(path)
        self._make_folders(path, os.path.dirname(place))
        try:
            os.chmod(aside, FILE_MODE if mode is None else mode | 0o600)
            if overwrite:
                os.replace(aside, place)
            else:
                os.link(aside, place)
                os.unlink(aside)
        except OSError as exc:
            raise from_os_error(exc, path) from exc

    def append(self, aside: str, path: str) -> None:
        """Add the content of a file that was written aside to a file; all of it or nothing."""
        place = self.file_place(path)
        try:
            with open(aside, "rb") as source, open(place, "ab") as target:
                before = target.tell()
                try:
                    shutil.copyfileobj(source, target, 1024**2)
                    target.flush()
                except OSError:
                    os.ftruncate(target.fileno(), before)
                    raise
        except OSError as exc:
            raise from_os_error(exc, path) from exc

    def file_place(self, path: str) -> str:
        """Return the place of a file.

        Raises:
            RemoteError: There is none, or it is a folder.
        """
        if not stat.S_ISREG(self.stat(path).st_mode):
            raise RemoteError("FileNotFoundException", f"Path is not a file: {path}")
        return self.place(path)

    def rename(self, path: str, destination: str, *, overwrite: bool = False) -> bool:
        """Rename a file or folder, or move it into a folder that is there; ``False`` when that cannot be."""
        source = self._entry(path)
        if path == "/" or not os.path.lexists(source):
            return False
        target_path = destination
        if os.path.isdir(self.place(destination)) and not overwrite:
            target_path = f"{destination.rstrip('/')}/{path.rpartition('/')[2]}"
        target = self._entry(target_path)
        if target == source:
            return not os.path.isdir(source)
        if f"{target}/".startswith(f"{source}/") or not os.path.isdir(os.path.dirname(target)):
            return False
        if os.path.lexists(target) and not overwrite:
            return False
        try:
            os.rename(source, target)
        except OSError as exc:
            raise from_os_error(exc, destination) from exc
        return True

    def take_away(self, path: str, *, recursive: bool) -> str | None:
        """Make a file or folder disappear at once.

        Returns:
            The place of what is left to delete, empty when nothing is; ``None`` when there was no such path.

        Raises:
            RemoteError: The folder is not empty, and ``recursive`` was not asked for.
        """
        place = self._entry(path)
        if path == "/" or not os.path.lexists(place):
            return None
        try:
            if os.path.islink(place) or not os.path.isdir(place):
                os.unlink(place)
                return ""
            if not recursive:
                if os.listdir(place):
                    raise RemoteError(
                        "PathIsNotEmptyDirectoryException", f"`{path} is non empty': Directory is not empty"
                    )
                os.rmdir(place)
                return ""
            aside = self.aside()
            os.rename(place, aside)
        except OSError as exc:
            raise from_os_error(exc, path) from exc
        return aside

    def set_mode(self, path: str, mode: int) -> None:
        """Set permissions; the server itself keeps its access."""
        found = self.stat(path)
        own = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        os.chmod(self.place(path), (mode & 0o777) | own)

    def set_times(self, path: str, modified_ms: int, accessed_ms: int) -> None:
        """Set the moments of the last change and use; -1 leaves one as it is."""
        found = self.stat(path)
        modified_ns = found.st_mtime_ns if modified_ms < 0 else modified_ms * 1_000_000
        accessed_ns = found.st_atime_ns if accessed_ms < 0 else accessed_ms * 1_000_000
        os.utime(self.place(path), ns=(accessed_ns, modified_ns))


def delete_tree(place: str) -> None:
    """Delete what ``take_away`` took; what cannot be deleted goes at the next start."""
    shutil.rmtree(place, ignore_errors=True)


def _count(top: str, *, skip: str) -> tuple[int, int, int]:
    folders = files = size = 0
    for folder, names, found in os.walk(top):
        folders += 1
        names[:] = [name for name in names if os.path.join(folder, name) != skip]
        for name in found:
            with contextlib.suppress(FileNotFoundError):
                size += os.lstat(os.path.join(folder, name)).st_size
                files += 1
    return folders, files, size


def _wire_name(name: str) -> str:
    """Return a file name that JSON can hold, for names whose bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
