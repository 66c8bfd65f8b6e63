# SPDX-License-Identifier: MIT
"""Deletes trees that tasks and clients left, whatever they look like: as deep as they like, full of links."""

from __future__ import annotations

import os
import stat
import subprocess

_DEPTH_MAX = 64
"""Each level holds a descriptor; what is deeper is left to ``rm``, which goes about it in another way."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _TooDeepError(Exception):
    pass


def delete_tree(place: str) -> None:
    """Delete a file or a folder with all that is in it; no link is followed, and what resists stays."""
    try:
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            os.unlink(place)
            return
        _empty(place, None, _DEPTH_MAX)
        os.rmdir(place)
    except FileNotFoundError:
        return
    except (OSError, _TooDeepError):
        subprocess.run(["rm", "-rf", "--", place], check=False, stderr=subprocess.DEVNULL)


def _empty(name: str, folder: int | None, depth: int) -> None:
    if depth == 0:
        raise _TooDeepError
    descriptor = os.open(name, _FOLDER, dir_fd=folder)
    try:
        with os.scandir(descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for below, is_folder in found:
            if is_folder:
                _empty(below, descriptor, depth - 1)
                os.rmdir(below, dir_fd=descriptor)
            else:
                os.unlink(below, dir_fd=descriptor)
    finally:
        os.close(descriptor)
