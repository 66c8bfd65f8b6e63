# SPDX-License-Identifier: MIT
"""Logs of a task: both streams, and both in the order in which they came."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from openpaisdk.local.home import TaskFiles
from openpaisdk.local.jobs.logs import MergeOrder, TaskLog


@pytest.fixture
def files(tmp_path: Path) -> TaskFiles:
    files = TaskFiles(str(tmp_path))
    for path in (files.stdout, files.stderr):
        Path(path).touch()
    return files


def write(path: str, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def test_all_keeps_the_order_of_arrival(files: TaskFiles) -> None:
    log = TaskLog(files, running=True)
    write(files.stdout, b"one ")
    log.noticed(0)
    write(files.stderr, b"two ")
    log.noticed(1)
    write(files.stdout, b"three")
    log.noticed(0)
    assert log.read("all", 0, 100) == b"one two three"
    assert log.read("all", 2, 4) == b"e tw"
    assert log.size("all") == 13


def test_what_comes_between_two_looks_is_ordered_by_who_was_first(files: TaskFiles) -> None:
    log = TaskLog(files, running=True)
    write(files.stderr, b"err ")
    write(files.stdout, b"out ")
    log.noticed(1)
    assert log.read("all", 0, 100) == b"err out "


def test_the_order_outlives_the_server(files: TaskFiles) -> None:
    log = TaskLog(files, running=True)
    for path, data, stream in ((files.stdout, b"1", 0), (files.stderr, b"2", 1), (files.stdout, b"3", 0)):
        write(path, data)
        log.noticed(stream)
    write(files.stderr, b"4")  # while no server looks
    again = TaskLog(files, running=True)
    again.finish()
    assert again.read("all", 0, 100) == b"1234"
    assert TaskLog(files).read("all", 0, 100) == b"1234"


def test_a_line_that_was_being_written_at_a_crash_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "all.order"
    path.write_text("0 5\n1 3")
    order = MergeOrder(str(path))
    assert order.size == 5


def test_with_one_stream_only_all_is_that_file(files: TaskFiles) -> None:
    write(files.stderr, b"x")
    log = TaskLog(files)
    assert log.path("all") == files.stderr
    assert log.tail("all", 10) == b"x"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    log = TaskLog(TaskFiles(str(tmp_path)))
    assert log.names() == []
    assert log.read("stdout", 0, 10) == b""
    assert log.path("../secrets") is None


def test_a_follower_is_woken_by_a_write_and_by_the_end(files: TaskFiles) -> None:
    async def follow() -> list[bytes]:
        log = TaskLog(files, running=True)
        seen = []
        async with log.follow("all") as watch:
            assert not await watch.changed(0.01)
            write(files.stdout, b"hello")
            log.noticed(0)
            assert await watch.changed(1)
            seen.append(log.read("all", 0, 100))
            log.finish()
            assert await watch.changed(1)
            assert log.ended
        return seen

    assert asyncio.run(follow()) == [b"hello"]


def test_binary_output_comes_through_unchanged(files: TaskFiles) -> None:
    data = bytes(range(256)) * 10
    write(files.stdout, data)
    assert TaskLog(files).read("stdout", 0, len(data)) == data


def test_what_was_read_once_reads_the_same_after_a_crash(files: TaskFiles) -> None:
    log = TaskLog(files, running=True)
    write(files.stderr, b"err ")
    log.noticed(1)
    seen = log.read("all", 0, 100)
    write(files.stdout, b"out ")
    log.noticed(0)
    seen += log.read("all", len(seen), 100)
    write(files.stdout, b"out again ")  # while no server looks
    write(files.stderr, b"err again")
    again = TaskLog(files, running=True)
    assert seen == b"err out "
    assert again.read("all", 0, 100) == b"err out out again err again"
