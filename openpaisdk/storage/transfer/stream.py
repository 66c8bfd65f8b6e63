# SPDX-License-Identifier: MIT
"""A stream as what is sent: its length is known at its end, and it cannot be sent again."""

from __future__ import annotations

import io
import zlib

from openpaisdk.storage.transfer.verify import READ_BACK_NOTE, mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from openpaisdk.storage.base import Storage
    from openpaisdk.storage.transfer.archive import Packed
    from openpaisdk.storage.transfer.progress import Meter


class StreamPiece(io.RawIOBase):
    """Reads a stream once, and notes what is needed to compare it with what was stored."""

    def __init__(self, stream: IO[bytes] | Packed, meter: Meter, digest: Any) -> None:
        self.size = 0
        self._stream = stream
        self._meter = meter
        self._digest = digest
        self._crc = 0

    can_restart = False

    def restart(self) -> StreamPiece:
        """Return this piece: it is sent once."""
        return self

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Not every stream has readinto; a pipe's gives what there is.
        data = self._stream.read(len(buffer))
        size = len(data or b"")
        view = memoryview(buffer)[:size]
        view[:] = data or b""
        self.size += size
        self._meter.add(size)
        if self._digest is not None:
            self._digest.update(view)
        self._crc = zlib.crc32(view, self._crc)
        return size

    def check(self, storage: Storage, path: str, note: Callable[[str], object]) -> None:
        """Raise when the file at ``path`` is not what passed by.

        Raises:
            StorageMismatchError: They differ.
        """
        found = storage._checksum(path) if self._digest is not None else None
        is_same = self._digest.matches(found) if found is not None else None
        if is_same is False:
            raise mismatch("the stream")
        if is_same:
            return
        if self._digest is None and storage.has_checksums:
            note(READ_BACK_NOTE)
        crc, view = 0, memoryview(bytearray(1 << 20))
        with storage.open(path) as file:
            while size := file.readinto(view):  # type: ignore[attr-defined]
                crc = zlib.crc32(view[:size], crc)
        if crc != self._crc:
            raise mismatch("the stream")
