# SPDX-License-Identifier: MIT
"""Being told that a file grew or a process ended, without looking again and again.

On Linux inotify and pidfd say so; elsewhere (or with ``OPENPAI_LOCAL_PORTABLE=1``, as some tests have it)
a timer looks at the files that are followed, and SIGCHLD tells of our own processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

PORTABLE_VARIABLE = "OPENPAI_LOCAL_PORTABLE"
LOOK_INTERVAL_S = 0.1
"""How often the portable paths look at files and at processes that are not our children."""

_UNWATCH_INTERVAL_S = 1.0
_IN_MODIFY = 0x00000002
_IN_Q_OVERFLOW = 0x00004000
_IN_IGNORED = 0x00008000
_QUEUE_READ_BYTES = 1 << 16
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_EVENT = struct.Struct("iIII")
_PR_SET_CHILD_SUBREAPER = 36


def has_fast_paths() -> bool:
    """Whether Linux's ways of being told may be used here."""
    return sys.platform == "linux" and not os.environ.get(PORTABLE_VARIABLE)


def become_subreaper() -> bool:
    """Make processes that a task leaves behind our children, so that they can be found; whether that worked.

    See prctl(2), PR_SET_CHILD_SUBREAPER.
    """
    if not has_fast_paths():
        return False
    import ctypes

    result: int = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return result == 0


class FileWatcher(Protocol):
    """Calls back when watched files grow."""

    def watch(self, path: str, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call ``on_change`` after every write to the file, writes close together once; returns how to
        stop.
        """
        ...

    def close(self) -> None:
        """Stop watching all files."""
        ...


def open_file_watcher(loop: asyncio.AbstractEventLoop) -> FileWatcher:
    """Return the best watcher of this platform."""
    if has_fast_paths():
        try:
            return InotifyWatcher(loop)
        except OSError:  # no inotify instance left for this user: looking again and again still works
            return TimerWatcher(loop)
    return TimerWatcher(loop)


class InotifyWatcher:
    """Watches files through inotify(7).

    Raises:
        OSError: The system gives no inotify instance.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        import ctypes

        self._loop = loop
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._watched: dict[int, list[_WatchedFile]] = {}
        """Who watches, by the kernel's number for the file."""
        self._unwatched: list[int] = []
        self._closed = False
        self._fallback: TimerWatcher | None = None
        loop.add_reader(self._descriptor, self._read)

    def watch(self, path: str, on_change: Callable[[], None]) -> Callable[[], None]:
        file = _WatchedFile(path, on_change)
        self._add(file)
        return lambda: self._stop(file)

    def _add(self, file: _WatchedFile) -> None:
        number = self._library.inotify_add_watch(self._descriptor, os.fsencode(file.path), _IN_MODIFY)
        if number >= 0:
            file.number = number
            self._watched.setdefault(number, []).append(file)
            return
        if self._fallback is None:  # fs.inotify.max_user_watches is reached, or the file is gone
            self._fallback = TimerWatcher(self._loop)
        file.stop_elsewhere = self._fallback.watch(file.path, file.on_change)

    def _stop(self, file: _WatchedFile) -> None:
        if file.stop_elsewhere is not None:
            file.stop_elsewhere()
            return
        others = self._watched.get(file.number, [])
        if file in others:
            others.remove(file)
            if not others:
                del self._watched[file.number]
                self._unwatch_later(file.number)

    def _unwatch_later(self, number: int) -> None:
        """Take watches away many at once and beside the loop: the kernel takes its time over each."""
        if not self._unwatched:
            self._loop.call_later(_UNWATCH_INTERVAL_S, self._unwatch)
        self._unwatched.append(number)

    def _unwatch(self) -> None:
        if not self._closed:
            numbers = [number for number in self._unwatched if number not in self._watched]
            self._unwatched = []
            self._loop.run_in_executor(None, self._remove_watches, numbers)

    def _remove_watches(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._library.inotify_rm_watch(self._descriptor, number)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _QUEUE_READ_BYTES)
        except BlockingIOError:
            return
        grown: dict[int, None] = {}  # each once, in the order of their first write
        position = 0
        while position < len(data):
            number, mask, _cookie, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            if mask & _IN_Q_OVERFLOW:  # the kernel has dropped events, and does not say of which files
                grown.update(dict.fromkeys(self._watched))
            elif mask & _IN_IGNORED:
                self._watch_again(number)
            else:
                grown[number] = None
        for number in grown:
            for file in list(self._watched.get(number, ())):
                file.on_change()

    def _watch_again(self, number: int) -> None:
        """Go on watching after the kernel took a watch away: it may be that an earlier watch of the same file
        was taken away just when the file was watched once more.
        """
        for file in self._watched.pop(number, []):
            self._add(file)
            file.on_change()

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._watched.clear()
        if self._fallback is not None:
            self._fallback.close()


class _WatchedFile:
    __slots__ = ("number", "on_change", "path", "stop_elsewhere")

    def __init__(self, path: str, on_change: Callable[[], None]) -> None:
        self.path = path
        self.on_change = on_change
        self.number = -1
        self.stop_elsewhere: Callable[[], None] | None = None
        """How to stop when the file is watched in another way."""


class TimerWatcher:
    """Looks at the sizes of the watched files from time to time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float = LOOK_INTERVAL_S) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._watched: dict[int, tuple[str, int, Callable[[], None]]] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, path: str, on_change: Callable[[], None]) -> Callable[[], None]:
        self._next += 1
        number = self._next
        self._watched[number] = (path, _size(path), on_change)
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self._look)

        def stop() -> None:
            self._watched.pop(number, None)

        return stop

    def _look(self) -> None:
        self._timer = None
        for number, (path, size, on_change) in list(self._watched.items()):
            now = _size(path)
            if now != size:
                self._watched[number] = (path, now, on_change)
                on_change()
        if self._watched:
            self._timer = self._loop.call_later(self._interval_s, self._look)

    def close(self) -> None:
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


class ProcessWatcher(Protocol):
    """Calls back once when a process ends."""

    def watch(self, pid: int, on_end: Callable[[], None]) -> None:
        """Call ``on_end`` when the process is over, also when it is over already; a child is not reaped
        here.
        """
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


def open_process_watcher(loop: asyncio.AbstractEventLoop) -> ProcessWatcher:
    """Return the best watcher of this platform."""
    return PidfdWatcher(loop) if has_fast_paths() and hasattr(os, "pidfd_open") else SignalWatcher(loop)


class PidfdWatcher:
    """Watches processes through pidfd_open(2): at once, and never a wrong process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._descriptors: set[int] = set()

    def watch(self, pid: int, on_end: Callable[[], None]) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._loop.call_soon(on_end)
            return
        self._descriptors.add(descriptor)

        def ended() -> None:
            self._loop.remove_reader(descriptor)
            self._descriptors.discard(descriptor)
            os.close(descriptor)
            on_end()

        self._loop.add_reader(descriptor, ended)

    def close(self) -> None:
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._descriptors.clear()


class SignalWatcher:
    """Watches children by SIGCHLD, and looks at other processes from time to time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float = LOOK_INTERVAL_S) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._watched: dict[int, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        loop.add_signal_handler(signal.SIGCHLD, self._look)

    def watch(self, pid: int, on_end: Callable[[], None]) -> None:
        self._watched[pid] = on_end
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        for pid, on_end in list(self._watched.items()):
            if _is_over(pid):
                del self._watched[pid]
                on_end()
        if self._watched and self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._look()

    def close(self) -> None:
        self._loop.remove_signal_handler(signal.SIGCHLD)
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()


def _is_over(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
