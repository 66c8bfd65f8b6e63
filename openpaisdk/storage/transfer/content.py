# SPDX-License-Identifier: MIT
"""What is sent: a file of this machine or of a storage, and a piece of it that can be sent again."""

from __future__ import annotations

import hashlib
import io
import os

from openpaisdk.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from openpaisdk.storage.base import FileInfo, Storage
    from openpaisdk.storage.transfer.progress import Meter


class Content:
    """The bytes of one file.

    Args:
        name: What to call it in messages.
        size: Its length.
        identity: A text that is another one when the content may have changed.
        open_at: Opens it for reading from an offset on.
        identify: Returns the identity that it has now; ``None`` where that cannot be told.
    """

    __slots__ = ("_identify", "identity", "name", "open_at", "size")

    def __init__(
        self,
        name: str,
        size: int,
        identity: str,
        open_at: Callable[[int], IO[bytes] | io.RawIOBase],
        identify: Callable[[], str] | None = None,
    ) -> None:
        self.name = name
        self.size = size
        self.identity = identity
        self.open_at = open_at
        self._identify = identify

    def may_have_changed(self) -> bool:
        """Tell whether it may be another one than it was when it was looked at."""
        return self._identify is not None and self._identify() != self.identity


def local_content(path: str) -> Content:
    """Return the content of a file of this machine.

    Raises:
        StorageError: It cannot be read.
    """

    def look() -> os.stat_result:
        try:
            return os.stat(path)
        except OSError as exc:
            raise StorageError(f"cannot read {path!r}: {exc.strerror}") from exc

    def open_at(offset: int) -> io.RawIOBase:
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115 - the piece closes it
        except OSError as exc:
            raise StorageError(f"cannot read {path!r}: {exc.strerror}") from exc
        file.seek(offset)
        return file

    def identity(found: os.stat_result) -> str:
        return f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}"

    found = look()
    return Content(path, found.st_size, identity(found), open_at, lambda: identity(look()))


def remote_content(storage: Storage, path: str, info: FileInfo) -> Content:
    """Return the content of a file of a storage."""
    identity = f"{storage.uri}{path} {info['size_bytes']} {info['modified_at']}"
    size = info["size_bytes"]
    return Content(path, size, identity, lambda offset: storage._open_sized(path, offset, size))


def fingerprint(*texts: str) -> str:
    """Return a short name that these texts, and no others, have."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:20]


class Piece(io.RawIOBase):
    """A stretch of a content as a stream; ``digest`` and meter take what passes.

    Pieces of one content follow each other; one that is sent again takes its bytes back from both.
    """

    def __init__(
        self, content: Content, meter: Meter, digest: Any = None, start: int = 0, size: int | None = None
    ) -> None:
        self.content = content
        self.digest = digest
        self._meter = meter
        self._start = start
        self._size = content.size - start if size is None else size
        self._position = 0
        self._stream: Any = None
        self._digest_before = digest.copy() if digest is not None else None
        self.on_end: Callable[[], object] | None = None
        """Called when all has been sent; from then on the next piece may be, so nothing is taken back."""

    can_restart = True

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._size - self._position
        if left == 0:
            self._end()
            return 0
        if self._stream is None:
            self._stream = self.content.open_at(self._start)
        view = memoryview(buffer)[:left]
        size = int(self._stream.readinto(view) or 0)
        if size == 0:
            raise StorageError(f"{self.content.name!r} became shorter while it was sent", hint="try again")
        self._position += size
        self._meter.add(size)
        if self.digest is not None:
            self.digest.update(view[:size])
        return size

    def _end(self) -> None:
        # Whoever asks once more has sent what came before.
        if self.on_end is not None:
            self.digest = None
            self.on_end()

    def part(self, start: int, size: int) -> Piece:
        """Return a stretch of this piece, which shares its digest; the one before it must be through."""
        return Piece(self.content, self._meter, self.digest, self._start + start, size)

    def restart(self) -> Piece:
        """Return this piece as if nothing of it had been read."""
        self._meter.add(-self._position)
        self._position = 0
        self._close_stream()
        if self.digest is not None and self._digest_before is not None:
            self.digest.take(self._digest_before)
        return self

    def skip(self) -> None:
        """Pass over what has arrived in an earlier try; only the digest looks at it."""
        self._meter.add(self._size, is_kept=True)
        if self.digest is None:
            return
        stream = self.content.open_at(self._start)
        view = memoryview(bytearray(1 << 20))
        left = self._size
        try:
            while left:
                size = int(stream.readinto(view[:left]) or 0)  # type: ignore[union-attr]
                if size == 0:
                    raise StorageError(f"{self.content.name!r} became shorter while it was sent")
                self.digest.update(view[:size])
                left -= size
        finally:
            stream.close()

    def close(self) -> None:
        self._close_stream()
        super().close()

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
