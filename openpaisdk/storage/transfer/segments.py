# SPDX-License-Identifier: MIT
"""A large file is fetched in several stretches at once, each over a connection of its own.

One stream is bound by one thread of one data node. The stretches are handed out in order, and none is begun
while the one ``STREAMS`` before it is not whole: so the length alone of a file that was broken off tells
which part of it can be relied on, and at most ``STREAMS`` stretches are fetched twice.
"""

from __future__ import annotations

import os
import threading

from openpaisdk.storage.transfer.verify import fill, mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from openpaisdk.storage.base import Digest, Storage
    from openpaisdk.storage.transfer.content import Content
    from openpaisdk.storage.transfer.progress import Meter

SEGMENT_BYTES = 128 << 20
"""A block of HDFS: the streams then read from the nodes that have them."""
STREAMS = 2
_PIECE_BYTES = 1 << 20


def whole_bytes(length: int) -> int:
    """Return how much of a file that was broken off at this length is whole."""
    begun = -(-length // SEGMENT_BYTES)
    return max(0, begun - STREAMS) * SEGMENT_BYTES


def fetch_segments(
    storage: Storage, content: Content, file: Any, *, start: int, meter: Meter, digest: Digest | None
) -> None:
    """Write a file of the storage to ``file`` from ``start`` on; ``digest`` has seen what is before.

    Raises:
        StorageMismatchError: The storage has less than the size of the content.
    """
    window = _Window(start, content.size, digest)

    def work() -> None:
        view = memoryview(bytearray(_PIECE_BYTES))
        try:
            while segment := window.take():
                seen = []
                with storage._open_range(content.name, *segment) as source:
                    for position, piece in _pieces(source, *segment, view, content.name):
                        _write_at(file, position, piece)
                        if digest is not None:
                            seen.append(digest.crcs(piece))
                        meter.add(len(piece))
                window.finish(*segment, seen)
        except BaseException as exc:
            window.fail(exc)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(STREAMS)]
    try:
        for thread in threads:
            thread.start()
        window.wait()
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
    """Yield pieces from ``start`` to ``end`` of a stream, all but the last of them full, and their places."""
    while start < end:
        wanted = view[: end - start]
        if fill(source, wanted) < len(wanted):
            raise mismatch(name)
        yield start, wanted
        start += len(wanted)


def _write_at(file: Any, position: int, piece: memoryview) -> None:
    while piece:
        written = os.pwrite(file.fileno(), piece, position)
        position, piece = position + written, piece[written:]


class _Window:
    """Which stretches are being fetched, and up to where the file is whole."""

    def __init__(self, start: int, size: int, digest: Digest | None) -> None:
        self._size = size
        self._digest = digest
        self._next = self._whole = start
        self._done: dict[int, tuple[int, list[Any]]] = {}
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

    def finish(self, start: int, end: int, seen: list[Any]) -> None:
        """Note that a stretch is there, and what the digest is to see of it when its turn comes."""
        with self._changed:
            self._done[start] = end, seen
            while self._whole in self._done:
                self._whole, seen = self._done.pop(self._whole)
                for crcs in seen:
                    self._digest.add(crcs)  # type: ignore[union-attr]
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Let nothing more be begun."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until the file is whole; raise what has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._whole >= self._size)
            if self._failure is not None:
                raise self._failure
