# SPDX-License-Identifier: MIT
"""The files of the embedded cluster's storage: one folder, which no path leads out of.

Files are written aside and renamed, so that nobody ever reads half of one, and an upload that breaks off
leaves nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from typing import Any

from openpaisdk.local.files.confined import NO_LINK, ConfinedFolder
from openpaisdk.local.files.hdfs_errors import RemoteError, from_os_error, illegal
from openpaisdk.local.removal import delete_tree

ASIDE_FOLDER = ".uploads"
"""At the root of the storage, never shown: files on their way in, trees on their way out."""
BLOCK_SIZE = 128 * 1024**2
FILE_MODE = 0o644
FOLDER_MODE = 0o755
_NOT_THERE = ("FileNotFoundException", "ParentNotDirectoryException")


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
        self.root = ConfinedFolder(root, ASIDE_FOLDER)
        self._owner = owner
        delete_tree(self.root.hidden)
        os.makedirs(self.root.hidden, mode=0o700, exist_ok=True)

    def aside(self) -> str:
        """Return the place of a new file that is not seen yet."""
        os.makedirs(self.root.hidden, mode=0o700, exist_ok=True)
        return os.path.join(self.root.hidden, secrets.token_hex(8))

    # --- look ----------------------------------------------------------------------------------
    def stat(self, path: str) -> os.stat_result:
        """Return what the system knows of a path."""
        with self.root.held(path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            raise RemoteError("IOException", f"Links that lead to themselves: {path}")
        return found

    def is_folder(self, path: str) -> bool:
        """Return whether there is a folder."""
        try:
            return stat.S_ISDIR(self.stat(path).st_mode)
        except RemoteError as exc:
            if exc.exception in _NOT_THERE:
                return False
            raise

    def status(self, path: str) -> dict[str, Any]:
        """Return a ``FileStatus``."""
        return self._status(self.stat(path), "")

    def list(self, path: str) -> list[dict[str, Any]]:
        """Return the ``FileStatus`` of each entry of a folder by name, or of the file itself."""
        found = self.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return [self._status(found, "")]
        statuses = []
        with self.root.held(path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | NO_LINK, dir_fd=folder)
            try:
                with os.scandir(descriptor) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        if path == "/" and entry.name == ASIDE_FOLDER:
                            continue
                        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                            statuses.append(self._status(self._entry_stat(path, entry), entry.name))
            finally:
                os.close(descriptor)
        return statuses

    def _entry_stat(self, path: str, entry: os.DirEntry[str]) -> os.stat_result:
        if entry.is_symlink():
            with contextlib.suppress(RemoteError):  # it leads out, or nowhere
                return self.stat(f"{path.rstrip('/')}/{entry.name}")
        return entry.stat(follow_symlinks=False)

    def _status(self, found: os.stat_result, name: str) -> dict[str, Any]:
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
            "permission": f"{stat.S_IMODE(found.st_mode) & (0o1777 if is_folder else 0o777):o}",
            "replication": 0 if is_folder else 1,
            "storagePolicy": 0,
            "type": kind,
        }

    def summary(self, path: str) -> dict[str, Any]:
        """Return a ``ContentSummary``; slow for large trees."""
        found = self.stat(path)
        folders, files, size = 0, 1, found.st_size
        if stat.S_ISDIR(found.st_mode):
            folders, files, size = _count(self.root.place(path), skip=self.root.hidden)
        return {
            "directoryCount": folders,
            "fileCount": files,
            "length": size,
            "quota": -1,
            "spaceConsumed": size,
            "spaceQuota": -1,
        }

    def check_file(self, path: str) -> None:
        """Raise when there is no file.

        Raises:
            RemoteError: There is none, or it is a folder.
        """
        if not stat.S_ISREG(self.stat(path).st_mode):
            raise RemoteError("FileNotFoundException", f"Path is not a file: {path}")

    def open_file(self, path: str) -> int:
        """Open a file for reading and return its descriptor.

        Raises:
            RemoteError: There is none, or it is a folder.
        """
        return self.root.open_file(path, os.O_RDONLY)

    def is_file(self, path: str) -> bool:
        """Return whether there is a file."""
        with contextlib.suppress(RemoteError):
            return stat.S_ISREG(self.stat(path).st_mode)
        return False

    def link_status(self, path: str) -> dict[str, Any]:
        """Return a ``FileStatus``, of the link itself when the path is one."""
        with self.root.held(path, follow=False) as (folder, name):
            return self._status(os.stat(name, dir_fd=folder, follow_symlinks=False), "")

    def link_target(self, path: str) -> str:
        """Return what a link says."""
        with self.root.held(path, follow=False) as (folder, name):
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return os.readlink(name, dir_fd=folder)
        raise RemoteError("IOException", f"Path {path} is not a symbolic link")

    def check_way(self, path: str) -> None:
        """Raise when something on the way to a path is a file; the path itself may be missing.

        Raises:
            RemoteError: It is.
        """
        try:
            with self.root.held(path, follow=False):
                pass
        except RemoteError as exc:
            if exc.exception == "ParentNotDirectoryException":
                raise

    def check_appendable(self, path: str) -> None:
        """Raise when nothing can be added to a path.

        Raises:
            RemoteError: There is no file, or a folder.
        """
        if stat.S_ISDIR(self.stat(path).st_mode):
            raise RemoteError(
                "FileAlreadyExistsException",
                f"Cannot append to directory {path}; already exists as a directory.",
            )
        self.check_file(path)

    # --- change --------------------------------------------------------------------------------
    def make_folder(self, path: str, mode: int | None = None) -> None:
        """Make a folder and those above it; it is no error when it is there."""
        if self.is_folder(path):
            return
        self._make_folders(path)
        if mode is not None:
            self.set_mode(path, mode)

    def _make_folders(self, path: str) -> None:
        try:
            self.root.make_folders(path, FOLDER_MODE)
        except RemoteError as exc:
            if exc.exception == "ParentNotDirectoryException" and self.exists(path):
                raise RemoteError("FileAlreadyExistsException", f"Path is not a directory: {path}") from exc
            raise

    def exists(self, path: str) -> bool:
        """Return whether there is something, a link that leads nowhere included."""
        try:
            with self.root.held(path, follow=False) as (folder, name):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
        except RemoteError as exc:
            if exc.exception in _NOT_THERE:
                return False
            raise
        return True

    def check_new_file(self, path: str, *, overwrite: bool) -> None:
        """Raise what creating a file here would raise, before its content is sent.

        Raises:
            RemoteError: There is a folder, a file that must not be replaced, or a file as a parent.
        """
        if path == "/":
            raise RemoteError("FileAlreadyExistsException", "/ already exists as a directory")
        place = self.root.place(path)
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
        self._make_folders(path.rpartition("/")[0] or "/")
        with self.root.held(path) as (folder, name):
            os.chmod(aside, FILE_MODE if mode is None else mode & 0o777 | 0o600)
            if overwrite:
                os.replace(aside, name, dst_dir_fd=folder)
            else:
                os.link(aside, name, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(aside)

    def append(self, aside: str, path: str) -> None:
        """Add the content of a file that was written aside to a file; all of it or nothing."""
        descriptor = self.root.open_file(path, os.O_WRONLY | os.O_APPEND)
        with open(aside, "rb") as source, open(descriptor, "ab") as target:
            before = os.fstat(descriptor).st_size
            try:
                shutil.copyfileobj(source, target, 1024**2)
                target.flush()
            except OSError as exc:
                os.ftruncate(descriptor, before)
                raise from_os_error(exc, path) from exc

    def rename(self, path: str, destination: str, *, overwrite: bool = False) -> bool:
        """Rename a file or folder, or move it into a folder that is there; ``False`` when that cannot be."""
        if path == "/" or not self.exists(path):
            return False
        target_path = destination
        if not overwrite and self.is_folder(destination):
            target_path = f"{destination.rstrip('/')}/{path.rpartition('/')[2]}"
        source, target = self.root.entry(path), self.root.entry(target_path)
        if target == source:
            return not os.path.isdir(source)
        if f"{target}/".startswith(f"{source}/") or not os.path.isdir(os.path.dirname(target)):
            return False
        if not overwrite and self.exists(target_path):
            return False
        with (
            self.root.held(path, follow=False) as (source_folder, source_name),
            self.root.held(target_path, follow=False) as (target_folder, target_name),
        ):
            os.rename(source_name, target_name, src_dir_fd=source_folder, dst_dir_fd=target_folder)
        return True

    def take_away(self, path: str, *, recursive: bool) -> str | None:
        """Make a file or folder disappear at once.

        Returns:
            The place of what is left to delete, empty when nothing is; ``None`` when there was no such path.

        Raises:
            RemoteError: The folder is not empty, and ``recursive`` was not asked for.
        """
        if path == "/" or not self.exists(path):
            return None
        with self.root.held(path, follow=False) as (folder, name):
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)
                return ""
            if recursive:
                aside = self.aside()
                os.rename(name, aside, src_dir_fd=folder)
                return aside
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError as exc:
                if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                raise RemoteError(
                    "PathIsNotEmptyDirectoryException", f"`{path} is non empty': Directory is not empty"
                ) from exc
        return ""

    def set_mode(self, path: str, mode: int) -> None:
        """Set permissions; the server itself keeps its access."""
        with self.root.held(path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | NO_LINK, dir_fd=folder)
            try:
                is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
                os.fchmod(descriptor, mode & 0o1777 | 0o700 if is_folder else mode & 0o777 | 0o600)
            finally:
                os.close(descriptor)

    def set_times(self, path: str, modified_ms: int, accessed_ms: int) -> None:
        """Set the moments of the last change and use; -1 leaves one as it is."""
        found = self.stat(path)
        modified_ns = found.st_mtime_ns if modified_ms < 0 else modified_ms * 1_000_000
        accessed_ns = found.st_atime_ns if accessed_ms < 0 else accessed_ms * 1_000_000
        with self.root.held(path) as (folder, name):
            os.utime(name, ns=(accessed_ns, modified_ns), dir_fd=folder, follow_symlinks=False)


def _count(top: str, *, skip: str) -> tuple[int, int, int]:
    """Return the folders, files and bytes below a folder; not by recursion, which Python bounds."""
    folders = files = size = 0
    waiting = [top]
    while waiting:
        folders += 1
        with contextlib.suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.path != skip:
                        waiting.append(entry.path)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_size
                    files += 1
    return folders, files, size


def _wire_name(name: str) -> str:
    """Return a file name that JSON can hold, for names whose bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
