# SPDX-License-Identifier: MIT
"""The logs of a task: what it wrote to stdout and stderr, and both in the order in which they came.

A task writes straight into its files, so a crash of the server interrupts nothing. ``all`` is no third copy:
it is read from the two in the order that ``merge_order`` keeps.

Rotation (runtime-environment §5) moves no bytes either: the files only grow, parts are stretches of them, and
what lies before the last two parts is given back to the disk. So offsets, which followers go by, stay true.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openpaisdk.local.home import TaskFiles
from openpaisdk.local.jobs.holes import give_back_aside
from openpaisdk.local.jobs.merge_order import PART_BYTES, MergeOrder

STREAMS = ("stdout", "stderr")
MERGED = "all"
PART_BYTES_VARIABLE = "OPENPAI_LOCAL_LOG_PART_BYTES"
"""Another size of the parts, for tests."""
_PLATFORM_LOGS = ("runtime.log", "init.log", "barrier.log", "pai-termination-log")
_BEFORE = ".1"


@dataclass(frozen=True, slots=True)
class LogPart:
    """A log as the REST API names it: a stretch of what ``TaskLog.read`` gives under ``name``."""

    name: str
    start: int
    end: int


class TaskLog:
    """The logs of one task attempt.

    Args:
        files: Where they are.
        running: Whether the task still writes; then ``noticed`` must be called when a file has grown, and
            ``finish`` at the end.
        part_bytes: How large a part gets.
    """

    def __init__(self, files: TaskFiles, *, running: bool = False, part_bytes: int | None = None) -> None:
        self._files = files
        self._paths = (files.stdout, files.stderr)
        self._part_bytes = part_bytes or int(os.environ.get(PART_BYTES_VARIABLE, PART_BYTES))
        self.ended = not running
        self._order = MergeOrder(files.merge_order, part_bytes=self._part_bytes)
        self._sizes = (0, 0)
        self._begins = [0, 0]
        """From where on each stream is kept."""
        self._merged_begin = 0
        self._listeners: set[Callable[[], None]] = set()
        self._stop_watching: list[Callable[[], None]] = []
        self._look()
        self._rotate()

    # --- growing -------------------------------------------------------------------------------
    def watch_with(self, watch: Callable[[str, Callable[[], None]], Callable[[], None]]) -> None:
        """Be told of writes by a file watcher's ``watch``."""
        self._stop_watching = [
            watch(self._paths[0], lambda: self.noticed(0)),
            watch(self._paths[1], lambda: self.noticed(1)),
        ]
        self.noticed(0)

    def noticed(self, stream: int) -> None:
        """Take note that a stream has grown, and tell those who listen."""
        if self._look(stream):
            self._tell()

    def finish(self) -> None:
        """Take note that the task writes no more."""
        for stop in self._stop_watching:
            stop()
        self._stop_watching = []
        self._look()
        self._order.finish()
        self.ended = True
        self._tell()

    def _look(self, first: int = 0) -> bool:
        sizes = (_size(self._paths[0]), _size(self._paths[1]))
        self._sizes = sizes
        has_grown = self._order.saw(sizes, first)
        if has_grown:
            self._rotate()
        return has_grown

    def _rotate(self) -> None:
        for stream, size in enumerate(self._sizes):
            begin = max(0, self._last_begin(size) - self._part_bytes)
            if begin > self._begins[stream]:
                self._begins[stream] = begin
                self._merged_begin = max(self._merged_begin, self._order.begin_of(stream, begin))
                if not self.ended:
                    give_back_aside(self._paths[stream], begin)

    def _last_begin(self, size: int) -> int:
        """Return where the last part of a stream begins; a full one is the last until there is more."""
        return max(0, size - 1) // self._part_bytes * self._part_bytes

    # --- being told ----------------------------------------------------------------------------
    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call ``on_change`` whenever the logs have grown, and at their end; returns how to stop."""
        self._listeners.add(on_change)
        return lambda: self._listeners.discard(on_change)

    @property
    def has_several_listeners(self) -> bool:
        """Whether what is made for one of them may be of use to another."""
        return len(self._listeners) > 1

    def _tell(self) -> None:
        for on_change in list(self._listeners):
            on_change()

    # --- what there is -------------------------------------------------------------------------
    def parts(self) -> dict[str, LogPart]:
        """Return the logs that there are, by the names of the REST API."""
        found = {}
        if not self.ended:
            self.noticed(0)
        if os.path.exists(self._paths[0]):
            last_begins = [*(self._last_begin(self.size(name)) for name in STREAMS), self._order.last_begins]
            for name, last_begin in zip((*STREAMS, MERGED), last_begins, strict=True):
                begin = self.begin(name)
                found[name] = LogPart(name, max(begin, last_begin), self.size(name))
                if begin < last_begin:
                    found[name + _BEFORE] = LogPart(name, begin, last_begin)
        for name in _PLATFORM_LOGS:
            if os.path.exists(self._platform_path(name)):
                found[name] = LogPart(name, 0, self.size(name))
        return found

    def begin(self, name: str) -> int:
        """Return the first byte of a log that is still there."""
        if name == MERGED:
            return max(self._merged_begin, self._order.begins)
        return self._begins[STREAMS.index(name)] if name in STREAMS else 0

    def size(self, name: str) -> int:
        """Return how many bytes were written to a log, those that were dropped included."""
        if name == MERGED:
            return self._order.size
        if name in STREAMS:
            return self._sizes[STREAMS.index(name)]
        return _size(self._platform_path(name))

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return a stretch of a log, shorter at its end; nothing where its beginning was dropped."""
        if start < self.begin(name):
            return b""
        if name in STREAMS:
            return _read(self._paths[STREAMS.index(name)], start, length)
        if name != MERGED:
            return _read(self._platform_path(name), start, length)
        if not self.ended:
            self._order.keep()
        return self._read_merged(self._order.spans(start, length))

    def _read_merged(self, spans: Sequence[tuple[int, int, int]]) -> bytes:
        """Read what lies between the first and the last piece of each stream at once, and take turns then."""
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for stream, offset, length in spans:
            begins.setdefault(stream, offset)
            ends[stream] = offset + length
        data = {
            stream: _read(self._paths[stream], begin, ends[stream] - begin)
            for stream, begin in begins.items()
        }
        if len(data) == 1:
            return next(iter(data.values()))
        return b"".join(
            [
                data[stream][offset - begins[stream] : offset - begins[stream] + length]
                for stream, offset, length in spans
            ]
        )

    def tail(self, name: str, length: int) -> bytes:
        """Return the last bytes of a log."""
        size = self.size(name)
        start = max(self.begin(name), size - length)
        return self.read(name, start, size - start)

    def _platform_path(self, name: str) -> str:
        if name not in _PLATFORM_LOGS:
            raise ValueError(name)
        return f"{self._files.folder}/{name}"


def _size(path: str) -> int:
    """Return how many bytes a file has, 0 when there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _read(path: str, start: int, length: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            return file.read(length) or b""
    except FileNotFoundError:
        return b""
