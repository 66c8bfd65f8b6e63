# SPDX-License-Identifier: MIT
"""Names and paths on a storage: absolute, ``/`` separates; pure functions."""

from __future__ import annotations

import os
import time

from openpaisdk.errors import StorageError

WILDCARDS = "*?["
ASIDE_PREFIX = ".openpaisdk-"
"""Files and folders on their way begin so; they are no results, and a later try goes on from them."""


def join(folder: str, name: str) -> str:
    """Return the path of ``name`` in ``folder``."""
    return f"{folder.rstrip('/')}/{name}"


def base_name(path: str) -> str:
    """Return the last part of a path."""
    return path.rstrip("/").rpartition("/")[2]


def parent(path: str) -> str:
    """Return the folder that a path is in."""
    return path.rstrip("/").rpartition("/")[0] or "/"


def checked(path: str) -> str:
    """Return an absolute path without a slash at its end, one that stays what it is when it is sent.

    Raises:
        StorageError: It is relative, or has parts that could lead elsewhere.
    """
    parts = path.split("/")
    if parts[0] or len(parts) < 2 or "\0" in path or ".." in parts or "." in parts:
        raise StorageError(
            f"{path!r} is not a path from the root of the storage", hint="such as /user/alice/data"
        )
    return "/" + "/".join(part for part in parts if part)


def safe_name(name: str) -> str:
    """Return ``name`` when it names a file in a folder and nothing outside of it.

    Raises:
        StorageError: It does not.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise StorageError(f"the storage has a file called {name!r}, which cannot be stored here")
    return name


def has_wildcards(path: str) -> bool:
    """Whether a path is a pattern."""
    return any(character in path for character in WILDCARDS)


def moment(milliseconds: float) -> str:
    """Return a moment in ms since 1970 as ISO 8601 text in UTC."""
    seconds, rest = divmod(int(milliseconds), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"
