# SPDX-License-Identifier: MIT
"""The logs of a task: what it wrote to stdout and stderr, and both in the order in which they came.

A task writes straight into its files, so a crash of the server interrupts nothing. ``all`` is no third
copy: the order in which the two files grew is kept, as pieces, in a small file beside them
(runtime-environment §5 has the names).
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_right
from collections.abc import Callable
from types import TracebackType

from openpaisdk.local.home import TaskFiles

STREAMS = ("stdout", "stderr")
_PLATFORM_LOGS = ("runtime.log",)


class MergeOrder:
    """In which order the bytes of stdout and stderr came: pieces of one stream each.

    Args:
        path: File that keeps the pieces that are complete; read when it is there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pieces: list[tuple[int, int]] = []
        """(stream, end in that stream), in order."""
        self._ends: list[int] = []
        """End of each piece in the merged log."""
        self._sizes = [0, 0]
        self._saved = 0
        self._load()

    def _load(self) -> None:
        try:
            with open(self._path, encoding="ascii") as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            return
        for line in lines[:-1]:  # what follows the last line break was being written at a crash
            stream, _, end = line.partition(" ")
            self._append(int(stream), int(end))
        self._saved = len(self._pieces)

    def _append(self, stream: int, end: int) -> None:
        added = end - self._sizes[stream]
        if added <= 0:
            return
        self._sizes[stream] = end
        if self._pieces and self._pieces[-1][0] == stream and len(self._pieces) > self._saved:
            self._pieces[-1] = (stream, end)
            self._ends[-1] += added
        else:
            self._pieces.append((stream, end))
            self._ends.append((self._ends[-1] if self._ends else 0) + added)

    @property
    def size(self) -> int:
        """Bytes of both streams together, as far as they were seen."""
        return self._ends[-1] if self._ends else 0

    def saw(self, sizes: tuple[int, int], first: int = 0) -> bool:
        """Note how far both streams have come, ``first`` having grown first; whether one has grown."""
        before = self.size
        for stream in (first, 1 - first):
            self._append(stream, sizes[stream])
        if len(self._pieces) - 1 > self._saved:
            self._save(len(self._pieces) - 1)
        return self.size != before

    def keep(self) -> None:
        """Keep all pieces: what was read once must read the same after a crash.

        Not needed while all of it is stdout, which comes first when the order is lost.
        """
        if self._saved < len(self._pieces) and (len(self._pieces) > 1 or self._pieces[0][0] != 0):
            self._save(len(self._pieces))

    def finish(self) -> None:
        """Keep the last piece too; nothing will be added."""
        if len({stream for stream, _ in self._pieces}) > 1:
            self._save(len(self._pieces))

    def _save(self, upto: int) -> None:
        lines = "".join(f"{stream} {end}\n" for stream, end in self._pieces[self._saved : upto])
        if lines:
            with open(self._path, "a", encoding="ascii") as file:
                file.write(lines)
            self._saved = upto

    def spans(self, start: int, length: int) -> list[tuple[int, int, int]]:
        """Return the pieces that make up a part of the merged log: (stream, offset in it, length)."""
        result = []
        position = bisect_right(self._ends, start)
        while length > 0 and position < len(self._pieces):
            stream, end = self._pieces[position]
            left = self._ends[position] - start
            take = min(left, length)
            result.append((stream, end - left, take))
            start += take
            length -= take
            position += 1
        return result


class TaskLog:
    """The logs of one task attempt.

    Args:
        files: Where they are.
        running: Whether the task still writes; then ``noticed`` must be called when a file has grown, and
        ``finish``
            at the end.
    """

    def __init__(self, files: TaskFiles, *, running: bool = False) -> None:
        self._files = files
        self._paths = {"stdout": files.stdout, "stderr": files.stderr}
        self.ended = not running
        self._order = MergeOrder(files.merge_order)
        self._watches: set[LogWatch] = set()
        self._stop_watching: list[Callable[[], None]] = []
        self._look()

    def _look(self, first: int = 0) -> bool:
        return self._order.saw((_size(self._paths["stdout"]), _size(self._paths["stderr"])), first)

    def watch_with(self, watch: Callable[[str, Callable[[], None]], Callable[[], None]]) -> None:
        """Be told of writes by a file watcher's ``watch``."""
        self._stop_watching = [
            watch(self._paths["stdout"], lambda: self.noticed(0)),
            watch(self._paths["stderr"], lambda: self.noticed(1)),
        ]
        self.noticed(0)

    def noticed(self, stream: int) -> None:
        """Take note that a stream has grown, and wake those who follow."""
        if self._look(stream):
            self._wake()

    def finish(self) -> None:
        """Take note that the task writes no more."""
        for stop in self._stop_watching:
            stop()
        self._stop_watching = []
        self._look()
        self._order.finish()
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        for watch in self._watches:
            watch.event.set()

    def names(self) -> list[str]:
        """Return the logs that there are, by the names of the REST API."""
        platform = [name for name in _PLATFORM_LOGS if os.path.exists(f"{self._files.folder}/{name}")]
        return [*STREAMS, "all", *platform] if os.path.exists(self._files.stdout) else platform

    def path(self, name: str) -> str | None:
        """Return the one file that holds this log, or ``None`` when it is made of two."""
        if name == "all":
            sizes = {stream: _size(path) for stream, path in self._paths.items()}
            if not self.ended or all(sizes.values()):
                return None
            return self._paths["stderr" if sizes["stderr"] else "stdout"]
        if name in STREAMS:
            return self._paths[name]
        return f"{self._files.folder}/{name}" if name in _PLATFORM_LOGS else None

    def size(self, name: str) -> int:
        """Return how many bytes a log has, 0 when there is none of this name."""
        if name == "all":
            return self._order.size
        path = self.path(name)
        return _size(path) if path else 0

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return a part of a log, shorter at its end."""
        if name != "all":
            path = self.path(name)
            return _read(path, start, length) if path else b""
        if not self.ended:
            self._order.keep()
        return b"".join(
            _read(self._paths[STREAMS[stream]], offset, take)
            for stream, offset, take in self._order.spans(start, length)
        )

    def tail(self, name: str, length: int) -> bytes:
        """Return the last bytes of a log."""
        size = self.size(name)
        start = max(0, size - length)
        return self.read(name, start, size - start)

    def follow(self, name: str) -> LogWatch:
        """Return a context in which one can wait for the log to grow: ``async with log.follow("all") as
        watch``.
        """
        return LogWatch(self._watches, self)


class LogWatch:
    """Waits for a log to grow or to end."""

    def __init__(self, watches: set[LogWatch], log: TaskLog) -> None:
        self._watches = watches
        self._log = log
        self.event = asyncio.Event()

    async def __aenter__(self) -> LogWatch:
        self._watches.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watches.discard(self)

    async def changed(self, timeout_s: float | None = None) -> bool:
        """Wait until the log has grown or ended since the last call; ``False`` when time ran out."""
        if not self._log.ended:
            try:
                await asyncio.wait_for(self.event.wait(), timeout_s)
            except asyncio.TimeoutError:
                return False
        self.event.clear()
        return True


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _read(path: str, start: int, length: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(length)
    except FileNotFoundError:
        return b""
