# SPDX-License-Identifier: MIT
"""A large file is fetched in several stretches at once, each over a connection of its own.

One stream is bound by one thread of one data node. The stretches are handed out in order, and none is begun
while the one ``STREAMS`` before it is not whole: so the length alone of a file that was broken off tells
which part of it can be relied on, and at most ``STREAMS`` stretches (half a block of HDFS) are fetched twice.
"""

from __future__ import annotations

import os
import threading

from openpaisdk.storage.transfer.verify import mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from openpaisdk.storage.base import Digest, Storage
    from openpaisdk.storage.transfer.progress import Meter

SEGMENT_BYTES = 16 << 20
STREAMS = 4
_PIECE_BYTES = 1 << 20


def whole_bytes(length: int) -> int:
    """Return how much of a file that was broken off at this length is whole."""
    begun = -(-length // SEGMENT_BYTES)
    return max(0, begun - STREAMS) * SEGMENT_BYTES


def fetch_segments(
    storage: Storage,
    remote_path: str,
    file: Any,
    *,
    start: int,
    size: int,
    meter: Meter,
    digest: Digest | None,
) -> None:
    """Write a file of the storage to ``file`` from ``start`` on; ``digest`` sees all of it, as it is there.

    Raises:
        StorageMismatchError: The storage has less than ``size`` bytes.
    """
    window = _Window(start, size)

    def work() -> None:
        view = memoryview(bytearray(_PIECE_BYTES))
        try:
            while segment := window.take():
                with storage._open_range(remote_path, *segment) as source:
                    for position, piece in _pieces(source, *segment, view, remote_path):
                        _write_at(file, position, piece)
                        meter.add(len(piece))
                window.finish(*segment)
        except BaseException as exc:
            window.fail(exc)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(STREAMS)]
    try:
        for thread in threads:
            thread.start()
        _follow(window, file.name, size, digest)
    except BaseException as exc:
        window.fail(exc)
        meter.cancel()
        if not isinstance(exc, Exception):
            raise  # who interrupts does not want to wait for a server
        _join(threads)
        raise
    _join(threads)


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def _pieces(
    source: Any, start: int, end: int, view: memoryview, name: str
) -> Iterator[tuple[int, memoryview]]:
    """Yield what a stream gives from ``start`` to ``end``, each piece with its place."""
    while start < end:
        count = source.readinto(view[: end - start])
        if not count:
            raise mismatch(name)
        yield start, view[:count]
        start += count


def _write_at(file: Any, position: int, piece: memoryview) -> None:
    while piece:
        written = os.pwrite(file.fileno(), piece, position)
        position, piece = position + written, piece[written:]


def _follow(window: _Window, path: str, size: int, digest: Digest | None) -> None:
    """Wait until the file is whole; let the digest see each part of it that is."""
    view = memoryview(bytearray(_PIECE_BYTES))
    position = 0
    with open(path, "rb", buffering=0) as file:
        while position < size:
            whole = window.wait_beyond(position)
            while digest is not None and position < whole:
                count = file.readinto(view[: whole - position])
                digest.update(view[:count])
                position += count
            position = whole


class _Window:
    """Which stretches are being fetched, and up to where the file is whole."""

    def __init__(self, start: int, size: int) -> None:
        self._size = size
        self._next = self._whole = start
        self._done: dict[int, int] = {}
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def take(self) -> tuple[int, int] | None:
        """Return the next stretch once it may be begun; ``None`` when there is none, or one has failed."""
        with self._changed:
            self._changed.wait_for(self._may_take)
            start = self._next
            if self._failure is not None or start >= self._size:
                return None
            self._next = min(start + SEGMENT_BYTES, self._size)
            return start, self._next

    def _may_take(self) -> bool:
        is_over = self._failure is not None or self._next >= self._size
        return is_over or self._next < self._whole + STREAMS * SEGMENT_BYTES

    def finish(self, start: int, end: int) -> None:
        """Note that a stretch is there."""
        with self._changed:
            self._done[start] = end
            while self._whole in self._done:
                self._whole = self._done.pop(self._whole)
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Let nothing more be begun."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def wait_beyond(self, position: int) -> int:
        """Return up to where the file is whole, which is more than ``position``; raise what has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._whole > position)
            if self._failure is not None:
                raise self._failure
            return self._whole
