# SPDX-License-Identifier: MIT
"""Logs of a task: both streams, and both in the order in which they came."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from openpaisdk.local.home import TaskFiles
from openpaisdk.local.jobs.holes import give_back
from openpaisdk.local.jobs.logs import STREAMS, LogPart, TaskLog
from openpaisdk.local.jobs.merge_order import MergeOrder
from openpaisdk.local.jobs.watch import PORTABLE_VARIABLE


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


def test_with_one_stream_only_all_is_that_stream(files: TaskFiles) -> None:
    write(files.stderr, b"x")
    assert TaskLog(files).tail("all", 10) == b"x"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    log = TaskLog(TaskFiles(str(tmp_path)))
    assert log.parts() == {}
    assert log.read("stdout", 0, 10) == b""
    with pytest.raises(ValueError, match="secrets"):
        log.read("../secrets", 0, 1)


def test_logs_of_the_platform_are_there_when_their_files_are(files: TaskFiles) -> None:
    for name in ("runtime.log", "init.log", "barrier.log", "pai-termination-log", "lock", "token"):
        write(f"{files.folder}/{name}", b"text")
    parts = TaskLog(files).parts()
    assert set(parts) == {
        *("stdout", "stderr", "all"),
        *("runtime.log", "init.log", "barrier.log", "pai-termination-log"),
    }
    assert parts["init.log"] == LogPart("init.log", 0, 4)


def test_those_who_listen_are_told_of_growth_and_of_the_end(files: TaskFiles) -> None:
    log = TaskLog(files, running=True)
    told = []
    stop = log.listen(lambda: told.append((log.size("all"), log.ended)))
    log.noticed(0)
    assert told == []
    write(files.stdout, b"hello")
    log.noticed(0)
    log.finish()
    stop()
    log.noticed(0)
    assert told == [(5, False), (5, True)]


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


# --- rotation ---------------------------------------------------------------------------------
PART = 64 * 1024
"""Small, but of whole blocks of a disk, which alone can be given back."""


class Writer:
    """Writes to the streams of a task, remembers what came in which order, and tells the log."""

    def __init__(self, files: TaskFiles) -> None:
        self.files = files
        self.log = TaskLog(files, running=True, part_bytes=PART)
        self.wrote = {"stdout": b"", "stderr": b"", "all": b""}

    def write(self, stream: int, data: bytes, *, watched: bool = True) -> None:
        name = STREAMS[stream]
        write((self.files.stdout, self.files.stderr)[stream], data)
        self.wrote[name] += data
        self.wrote["all"] += data
        if watched:
            self.log.noticed(stream)

    def check(self, log: TaskLog) -> None:
        """Check that what a log says is there can be read, and is the end of what was written."""
        parts = log.parts()
        for name, wrote in self.wrote.items():
            assert log.size(name) == len(wrote)
            last, before = parts[name], parts.get(f"{name}.1")
            assert last.end == len(wrote)
            assert last.start == (before.end if before else 0)
            for part in filter(None, (last, before)):
                assert part.start <= part.end <= part.start + PART
                got = log.read(name, part.start, part.end - part.start)
                assert got == wrote[part.start : part.end], name
            if before:
                assert log.begin(name) == before.start
                if before.start:
                    assert log.read(name, before.start - 1, 10) == b""


def blocks(path: str) -> int:
    return os.stat(path).st_blocks * 512


def numbered(start: int, count: int) -> bytes:
    return b"".join(b"%7d\n" % number for number in range(start, start + count))


def test_a_log_that_grows_is_kept_in_two_parts(files: TaskFiles) -> None:
    writer = Writer(files)
    assert "stdout.1" not in writer.log.parts()
    writer.write(0, b"x" * PART)
    assert "stdout.1" not in writer.log.parts()  # full, but not more than that
    writer.write(0, b"y")
    assert writer.log.parts()["stdout.1"] == LogPart("stdout", 0, PART)
    assert writer.log.parts()["stdout"] == LogPart("stdout", PART, PART + 1)
    for number in range(40):
        writer.write(0, numbered(number * 1000, 1000))
        writer.check(writer.log)
    writer.log.finish()
    writer.check(writer.log)
    writer.check(TaskLog(files, part_bytes=PART))


def test_what_lies_before_the_last_two_parts_is_given_back_to_the_disk(files: TaskFiles) -> None:
    writer = Writer(files)
    probe = f"{files.folder}/probe"
    write(probe, b"x" * PART)
    can_punch = give_back(probe, PART)
    for number in range(50):
        writer.write(number % 2, b"x" * (PART // 2))
    for path in (files.stdout, files.stderr):
        assert os.stat(path).st_size == 25 * PART // 2
        if can_punch:
            assert blocks(path) <= 2 * PART + 4096


def test_what_grew_while_no_server_looked_is_given_back_at_the_next_start(files: TaskFiles) -> None:
    writer = Writer(files)
    writer.write(0, b"x" * (10 * PART), watched=False)
    log = TaskLog(files, running=True, part_bytes=PART)
    writer.check(log)
    if give_back(files.stdout, 1):
        assert blocks(files.stdout) <= 2 * PART + 4096


def test_where_nothing_can_be_given_back_all_else_is_the_same(
    files: TaskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PORTABLE_VARIABLE, "1")
    writer = Writer(files)
    for number in range(50):
        writer.write(number % 3 // 2, numbered(number * 1000, 1000))
        writer.check(writer.log)
    assert blocks(files.stdout) > 3 * PART


@pytest.mark.parametrize("seed", range(8))
def test_both_streams_rotate_alone_and_all_with_them(files: TaskFiles, seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(files)
    for number in range(150):
        stream = int(chance.random() < (0.5 if seed % 2 else 0.02))
        writer.write(stream, numbered(number * 1000, chance.randrange(1, 4000)))
        if number % 10 == 0:
            writer.check(writer.log)
            writer.log.read("all", writer.log.begin("all"), 1)  # somebody reads: from now on it is kept
            writer.log = TaskLog(files, running=True, part_bytes=PART)  # as after a crash
            writer.check(writer.log)
    writer.log.finish()
    writer.check(TaskLog(files, part_bytes=PART))


def test_one_large_write_may_fill_several_parts(files: TaskFiles) -> None:
    writer = Writer(files)
    writer.write(1, b"first")
    writer.write(0, numbered(0, 70_000))
    writer.write(1, b"last")
    writer.check(writer.log)
    assert writer.log.tail("all", 8) == b"999\nlast"


def test_streams_that_take_turns_for_hours_leave_a_small_order(files: TaskFiles) -> None:
    order = MergeOrder(files.merge_order, part_bytes=1 << 30, part_pieces=1000)
    for number in range(1, 20_001):
        order.saw((number, number))
    assert order.size == 40_000
    assert 1000 <= order.size - order.begins <= 2000
    assert len(order.spans(order.begins, 40_000)) <= 2000
    assert os.stat(files.merge_order).st_size < 50_000
    again = MergeOrder(files.merge_order, part_bytes=1 << 30, part_pieces=1000)
    again.saw((20_000, 20_000))
    assert (again.begins, again.last_begins) == (order.begins, order.last_begins)
    assert again.spans(again.begins, 40_000) == order.spans(order.begins, 40_000)


def test_a_log_of_one_stream_that_is_read_as_it_grows_keeps_a_small_order(files: TaskFiles) -> None:
    order = MergeOrder(files.merge_order)
    for number in range(1, 5001):
        order.saw((0, number))
        order.keep()
    assert os.stat(files.merge_order).st_size < 20_000
    assert MergeOrder(files.merge_order).size == 5000


def test_the_order_goes_on_where_a_damaged_file_ends(files: TaskFiles) -> None:
    Path(files.merge_order).write_bytes(b"1 3\n0 5\n\xff\xfe 1\n1 9\n")
    order = MergeOrder(files.merge_order)
    assert order.size == 8
    order.saw((9, 9))
    order.saw((12, 9))
    order.keep()
    assert Path(files.merge_order).read_text() == "1 3\n0 9\n1 9\n0 12\n"


def test_a_full_disk_does_not_end_the_server(files: TaskFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    order = MergeOrder(files.merge_order)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", full)
        for number in range(1, 10):
            order.saw((number, number))
        order.keep()
    order.saw((10, 9))
    order.keep()
    again = MergeOrder(files.merge_order)
    assert again.spans(0, 99) == order.spans(0, 99)
