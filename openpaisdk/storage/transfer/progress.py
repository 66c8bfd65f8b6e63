# SPDX-License-Identifier: MIT
"""How far a transfer is."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_S = 0.1


class Progress:
    """What is done and what there is to do; the rate is that of this try, without what an earlier one moved.

    ``bytes_total`` is ``None`` for a stream of unknown length.
    """

    __slots__ = ("bytes_done", "bytes_kept", "bytes_total", "files_done", "files_total", "seconds")

    def __init__(self, bytes_total: int | None, files_total: int) -> None:
        self.bytes_done = 0
        self.bytes_kept = 0
        self.bytes_total = bytes_total
        self.files_done = 0
        self.files_total = files_total
        self.seconds = 0.0

    @property
    def bytes_per_s(self) -> float:
        """Bytes moved a second so far."""
        return (self.bytes_done - self.bytes_kept) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this rate; ``None`` when that cannot be told."""
        rate = self.bytes_per_s
        if self.bytes_total is None or rate <= 0:
            return None
        return max(0.0, (self.bytes_total - self.bytes_done) / rate)

    @property
    def is_done(self) -> bool:
        """Whether every file has arrived."""
        return self.files_done >= self.files_total


class CancelledTransferError(Exception):
    """Another part of the transfer has ended it."""


class Meter:
    """Counts what several threads move, and reports it now and then.

    Args:
        bytes_total: How much there is to move, where it is known.
        files_total: How many files.
        report: Called with the ``Progress``, by one thread at a time.
    """

    def __init__(
        self, bytes_total: int | None, files_total: int, report: Callable[[Progress], object] | None
    ) -> None:
        self.progress = Progress(bytes_total, files_total)
        self.is_cancelled = False
        self._report = report
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._next = self._begun

    def add(self, size: int, *, is_kept: bool = False) -> None:
        """Count bytes; ``is_kept`` those that an earlier try has moved, negative those to be moved again."""
        with self._lock:
            self.progress.bytes_done += size
            if is_kept:
                self.progress.bytes_kept += size
            self._tell()
        if self.is_cancelled:
            raise CancelledTransferError

    def end_file(self) -> None:
        """Count a file that has arrived."""
        with self._lock:
            self.progress.files_done += 1
            self._tell(now=self.progress.is_done)

    def cancel(self) -> None:
        """Let every thread that moves something stop at its next piece."""
        self.is_cancelled = True

    def _tell(self, *, now: bool = False) -> None:
        if self._report is None:
            return
        moment = time.monotonic()
        if now or moment >= self._next:
            self._next = moment + _INTERVAL_S
            self.progress.seconds = moment - self._begun
            self._report(self.progress)
