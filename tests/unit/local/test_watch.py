# SPDX-License-Identifier: MIT
"""Being told of writes: every write that is followed by silence is told of, whatever the kernel does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from openpaisdk.local.jobs import watch
from openpaisdk.local.jobs.watch import InotifyWatcher, TimerWatcher, has_fast_paths, open_file_watcher

needs_inotify = pytest.mark.skipif(not has_fast_paths(), reason="inotify is Linux's")


class Watched:
    """A file that is watched; ``told`` waits for the next call."""

    def __init__(self, watcher: watch.FileWatcher, path: Path) -> None:
        self.path = path
        self.path.touch()
        self._event = asyncio.Event()
        self.calls = 0
        self.stop = watcher.watch(str(path), self._call)

    def _call(self) -> None:
        self.calls += 1
        self._event.set()

    def write(self) -> None:
        with open(self.path, "ab", buffering=0) as file:
            file.write(b"x")

    async def told(self) -> None:
        await asyncio.wait_for(self._event.wait(), 10)
        self._event.clear()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


@pytest.fixture(params=["inotify", "timer"])
def make_watcher(request: pytest.FixtureRequest) -> Callable[[], watch.FileWatcher]:
    if request.param == "inotify":
        if not has_fast_paths():
            pytest.skip("inotify is Linux's")
        return lambda: InotifyWatcher(asyncio.get_running_loop())
    return lambda: TimerWatcher(asyncio.get_running_loop(), 0.01)


def test_each_write_is_told_of_until_one_stops(
    tmp_path: Path, make_watcher: Callable[[], watch.FileWatcher]
) -> None:
    async def scenario() -> None:
        watcher = make_watcher()
        file, other = Watched(watcher, tmp_path / "a"), Watched(watcher, tmp_path / "b")
        for _ in range(3):
            file.write()
            await file.told()
        assert other.calls == 0
        file.stop()
        calls = file.calls
        file.write()
        other.write()
        await other.told()
        assert file.calls == calls
        watcher.close()

    run(scenario)


def test_a_file_may_be_watched_twice(tmp_path: Path, make_watcher: Callable[[], watch.FileWatcher]) -> None:
    async def scenario() -> None:
        watcher = make_watcher()
        first, second = Watched(watcher, tmp_path / "a"), Watched(watcher, tmp_path / "a")
        first.write()
        await first.told()
        await second.told()
        first.stop()
        second.write()
        await second.told()
        watcher.close()

    run(scenario)


def write_in_turns(first: Path, second: Path) -> None:
    """Write to two files until the kernel's queue is full: several writes to one file alone count once."""
    length = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    with open(first, "ab", buffering=0) as a, open(second, "ab", buffering=0) as b:
        for _ in range(length // 2 + 10):
            a.write(b"x")
            b.write(b"x")


@needs_inotify
def test_when_the_kernels_queue_is_full_all_files_are_looked_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        watcher = InotifyWatcher(asyncio.get_running_loop())
        noisy = [Watched(watcher, tmp_path / name) for name in "ab"]
        quiet = Watched(watcher, tmp_path / "quiet")
        write_in_turns(noisy[0].path, noisy[1].path)
        quiet.write()
        await quiet.told()
        watcher.close()

    run(scenario)


@needs_inotify
def test_a_file_that_is_watched_again_while_the_watch_is_taken_away_stays_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_UNWATCH_INTERVAL_S", 0.0)

    async def scenario() -> None:
        watcher = InotifyWatcher(asyncio.get_running_loop())
        taken: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        remove, tell = watcher._remove_watches, asyncio.get_running_loop().call_soon_threadsafe
        monkeypatch.setattr(
            watcher, "_remove_watches", lambda numbers: tell(taken.set_result, numbers) if numbers else None
        )
        first = Watched(watcher, tmp_path / "a")
        first.stop()
        numbers = await taken
        second = Watched(watcher, tmp_path / "a")  # gets the number that is about to be taken away
        remove(numbers)
        await second.told()  # is looked at, for what may have been written in between
        second.write()
        await second.told()
        second.stop()
        third = Watched(watcher, tmp_path / "a")  # before its watch is taken away: that is forgotten
        for _ in range(3):
            await asyncio.sleep(0)
        third.write()
        await third.told()
        watcher.close()

    run(scenario)


@needs_inotify
def test_a_file_that_is_replaced_goes_on_being_watched(tmp_path: Path) -> None:
    async def scenario() -> None:
        watcher = InotifyWatcher(asyncio.get_running_loop())
        file = Watched(watcher, tmp_path / "a")
        os.unlink(file.path)
        await file.told()
        file.write()
        await file.told()
        file.stop()
        watcher.close()

    run(scenario)


@needs_inotify
def test_without_watches_left_a_timer_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        watcher = InotifyWatcher(asyncio.get_running_loop())
        monkeypatch.setattr(watcher._library, "inotify_add_watch", lambda *arguments: -1)
        file = Watched(watcher, tmp_path / "a")
        file.write()
        await file.told()
        file.stop()
        watcher.close()

    run(scenario)


@needs_inotify
def test_without_inotify_instances_left_a_timer_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(InotifyWatcher):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            raise OSError("too many")

    async def scenario() -> None:
        monkeypatch.setattr(watch, "InotifyWatcher", Full)
        watcher = open_file_watcher(asyncio.get_running_loop())
        assert isinstance(watcher, TimerWatcher)
        watcher.close()

    run(scenario)
