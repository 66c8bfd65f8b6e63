# SPDX-License-Identifier: MIT
"""Paths that do not lead out of a folder, whatever links are put into it or swapped while they are used.

A path is resolved first, links and all. Then the folder that it ends in is opened, and the system is asked
where the open folder really is: from there on only its descriptor and one plain name are used, so a link that
takes the place of a part of the path in between changes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator

from openpaisdk.local.files.hdfs_errors import RemoteError, from_os_error

NO_LINK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Opens only what has the name itself, and does not wait for the other end of a pipe."""
_LOOK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_DESCRIPTORS = "/proc/self/fd"
_F_GETPATH = 50  # of macOS
_PATH_BYTES_MAX = 1024


class ConfinedFolder:
    """A folder whose paths (absolute, ``/`` being the folder) stay inside, and out of one hidden part of it.

    Args:
        folder: The folder.
        hidden: Name of the folder in it that no path leads to.
    """

    def __init__(self, folder: str, hidden: str) -> None:
        self.folder = os.path.realpath(folder)
        self.hidden = os.path.join(self.folder, hidden)

    def place(self, path: str) -> str:
        """Return the real place of a path at this moment, all links on the way followed.

        Raises:
            RemoteError: A link leads out, or to what is hidden.
        """
        try:
            place = os.path.realpath(self.folder + path)
        except OSError as exc:
            raise from_os_error(exc, path) from exc
        self._check(place, path)
        return place

    def _check(self, place: str, path: str) -> None:
        inside = place == self.folder or place.startswith(self.folder + os.sep)
        if not inside or place == self.hidden or place.startswith(self.hidden + os.sep):
            raise RemoteError("AccessControlException", f"Permission denied: {path} leads out of the storage")

    def entry(self, path: str) -> str:
        """Return the place of a path whose last part is not followed when it is a link."""
        parent, _, name = path.rpartition("/")
        return os.path.join(self.place(parent or "/"), name) if name else self.folder

    @contextlib.contextmanager
    def held(self, path: str, *, follow: bool = True) -> Iterator[tuple[int, str]]:
        """Hold the folder of a path open: gives its descriptor, and the name to use there.

        Args:
            path: The path.
            follow: Whether a link in its last part is followed, too.

        Raises:
            RemoteError: It leads out, or the system refuses what is done.
        """
        place = self.place(path) if follow else self.entry(path)
        folder, name = (place, ".") if place == self.folder else os.path.split(place)
        with self._open(folder, path) as descriptor:
            yield descriptor, name

    @contextlib.contextmanager
    def _open(self, folder: str, path: str) -> Iterator[int]:
        try:
            descriptor = os.open(folder, _LOOK)
            try:
                self._check(real_path(descriptor), path)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise from_os_error(exc, path) from exc

    def make_folders(self, path: str, mode: int) -> None:
        """Make a folder and those above it; it is no error when it is there.

        Raises:
            RemoteError: Something else has its name or that of a folder above.
        """
        place = self.place(path)
        missing: list[str] = []
        while not os.path.lexists(place):
            place, name = os.path.split(place)
            missing.append(name)
        with contextlib.ExitStack() as opened:
            descriptor = opened.enter_context(self._open(place, path))
            for name in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=descriptor)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | NO_LINK, dir_fd=descriptor)
                opened.callback(os.close, below)
                os.fchmod(below, mode)
                descriptor = below

    def open_file(self, path: str, flags: int) -> int:
        """Open a file that is there and return its descriptor.

        Raises:
            RemoteError: There is none, or it is no file.
        """
        with self.held(path) as (folder, name):
            descriptor = os.open(name, flags | NO_LINK, dir_fd=folder)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        raise RemoteError("FileNotFoundException", f"Path is not a file: {path}")


def real_path(descriptor: int) -> str:
    """Return where an open folder is now."""
    if os.path.isdir(_DESCRIPTORS):
        return os.readlink(f"{_DESCRIPTORS}/{descriptor}")
    found: bytes = fcntl.fcntl(descriptor, _F_GETPATH, bytes(_PATH_BYTES_MAX))
    return os.fsdecode(found.rstrip(b"\0"))
