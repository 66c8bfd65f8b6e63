# SPDX-License-Identifier: MIT
"""Comparing what was stored with what was sent."""

from __future__ import annotations

from openpaisdk.errors import StorageMismatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from openpaisdk.storage.base import Storage
    from openpaisdk.storage.transfer.content import Content

_PIECE_BYTES = 1 << 20
READ_BACK_NOTE = (
    "files are compared by reading them once more; pip install 'openpaisdk[fast]' compares checksums"
)
LENGTH_NOTE = (
    "a stream is compared by its length only; pip install 'openpaisdk[fast]' compares checksums as well"
)


def check_stored(
    storage: Storage, path: str, content: Content, digest: Any, note: Callable[[str], object]
) -> None:
    """Raise when the file at ``path`` is not the content.

    Compared are the checksum that the storage has, or, where there is none to compare, all bytes.

    Raises:
        StorageMismatchError: They differ.
    """
    if content.size == 0:
        if storage.status(path)["size_bytes"]:
            raise mismatch(content.name)
        return
    found = storage._checksum(path) if digest is not None else None
    is_same = digest.matches(found) if found is not None else None
    if is_same is None:
        if digest is None and storage.has_checksums:
            note(READ_BACK_NOTE)
        is_same = has_same_bytes(storage, path, content)
    if not is_same:
        raise mismatch(content.name)


def has_same_bytes(storage: Storage, path: str, content: Content) -> bool:
    """Tell whether the file at ``path`` of the storage is the content, by reading both."""
    ours, theirs = memoryview(bytearray(_PIECE_BYTES)), memoryview(bytearray(_PIECE_BYTES))
    with content.open_at(0) as local, storage.open(path) as remote:
        while True:
            size = _fill(local, ours)
            if _fill(remote, theirs) != size or ours[:size] != theirs[:size]:
                return False
            if size == 0:
                return True


def _fill(stream: Any, view: memoryview) -> int:
    """Read until ``view`` is full or the stream ends."""
    total = 0
    while total < len(view):
        size = stream.readinto(view[total:])
        if not size:
            break
        total += size
    return total


def mismatch(name: str) -> StorageMismatchError:
    """Return the error for a file that arrived as another."""
    return StorageMismatchError(
        f"what arrived of {name!r} differs from what was sent, and was not put in place", hint="try again"
    )
