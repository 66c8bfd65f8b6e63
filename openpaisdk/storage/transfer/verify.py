# SPDX-License-Identifier: MIT
"""Comparing what was stored with what was sent, and what was fetched with what is stored."""

from __future__ import annotations

from openpaisdk.errors import StorageMismatchError
from openpaisdk.storage.transfer.content import local_content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from openpaisdk.storage.base import Digest, Storage
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
        with storage.open(path) as remote:
            is_same = has_same_bytes(content, remote)
    if not is_same:
        raise mismatch(content.name)
    if content.may_have_changed():
        # The checksum is that of what was read, which may be of two versions. One that only grew is fine.
        with storage.open(path) as remote:
            if not has_same_bytes(content, remote):
                raise StorageMismatchError(
                    f"{content.name!r} changed while it was sent, and was not put in place",
                    hint="try again when nothing writes to it",
                )


class Comparison:
    """How a file that is fetched is compared, its length aside.

    By the storage's checksum, which ``digest`` computes as the bytes pass. Where none here can, and where
    that is cheaper, by reading the file once more; what goes to a stream cannot be read again.

    Args:
        storage: Where the file comes from.
        content: The file there.
        aside: Where it is written to; ``None`` for a stream.
        note: Tells the user something.
    """

    def __init__(
        self, storage: Storage, content: Content, aside: str | None, note: Callable[[str], object]
    ) -> None:
        self.digest: Digest | None = None
        self._content = content
        self._again: str | None = None
        if content.size <= storage.read_back_bytes and aside is not None:
            self._again = aside
            return
        self._found = storage._checksum(content.name) if content.size else None
        if self._found is None:
            return  # there is nothing but the length
        self.digest = self._found.make_digest()
        if self.digest is None:
            self._again = aside
            note(READ_BACK_NOTE if aside is not None else LENGTH_NOTE)

    def is_same(self) -> bool:
        """Tell whether all that was fetched is what the storage has."""
        if self.digest is not None:
            return self.digest.matches(self._found) is not False
        if self._again is None or self._content.size == 0:
            return True
        with self._content.open_at(0) as stream:
            return has_same_bytes(local_content(self._again), stream)


def has_same_bytes(content: Content, stream: Any) -> bool:
    """Tell whether a stream gives the content, no less and no more, by reading both."""
    left = content.size
    piece_bytes = min(_PIECE_BYTES, content.size + 1)
    ours, theirs = memoryview(bytearray(piece_bytes)), memoryview(bytearray(piece_bytes))
    with content.open_at(0) as file:
        while True:
            size = fill(file, ours[:left])
            if fill(stream, theirs) != size or ours[:size] != theirs[:size]:
                return False
            left -= size
            if size == 0:
                return True


def fill(stream: Any, view: memoryview) -> int:
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
