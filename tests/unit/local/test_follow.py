# SPDX-License-Identifier: MIT
"""Following a job: every byte once, in order, over retries, and an end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable

import pytest

from openpaisdk.local.api import log_pieces
from openpaisdk.local.api.follow import Follower, is_wanted
from openpaisdk.local.api.log_pieces import LogStream, incomplete_bytes, tail_position
from openpaisdk.local.api.places import Places
from openpaisdk.local.records import AttemptRecord, JobRecord, Outcome, SubState, TaskRecord


class FakeLog:
    """A log in memory; ``add`` and ``finish`` wake those who follow it."""

    def __init__(self, content: bytes = b"", *, ended: bool = False) -> None:
        self.content = content
        self.ended = ended
        self.dropped = 0
        self.listeners: list[Callable[[], None]] = []

    @property
    def has_several_listeners(self) -> bool:
        return len(self.listeners) > 1

    def begin(self, name: str) -> int:
        return self.dropped

    def size(self, name: str) -> int:
        return len(self.content)

    def read(self, name: str, start: int, length: int) -> bytes:
        return self.content[start : start + length]

    def add(self, content: bytes) -> None:
        self.content += content
        self.wake()

    def finish(self) -> None:
        self.ended = True
        self.wake()

    def wake(self) -> None:
        for listener in self.listeners:
            listener()

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(on_change)
        return lambda: self.listeners.remove(on_change)


class FakeWatch:
    def __init__(self, event: asyncio.Event) -> None:
        self.event = event

    async def changed(self, timeout_s: float | None = None) -> bool:
        await self.event.wait()
        self.event.clear()
        return True


class FakeScheduler:
    """One job with attempts and tasks that a test puts in."""

    def __init__(self) -> None:
        self.record = JobRecord(
            id=1, user="alice", name="j", sub_state=SubState.RUNNING, submitted_ms=0, attempt_id=0
        )
        self.history: list[TaskRecord] = []
        self.logs: dict[str, FakeLog] = {}
        self.things_to_know: list[str] = []
        self.codes: dict[int, int] = {}
        self.event = asyncio.Event()

    def start(
        self, *, job_attempt: int = 0, index: int = 0, attempt: int = 0, log: FakeLog | None = None
    ) -> FakeLog:
        task = TaskRecord(
            job_id=1,
            job_attempt_id=job_attempt,
            role="worker",
            index=index,
            attempt_id=attempt,
            pod_uid=f"{job_attempt}-{index}-{attempt}",
            sub_state=SubState.RUNNING,
            created_ms=0,
        )
        self.history.append(task)
        self.logs[task.pod_uid] = log or FakeLog()
        self.record.attempt_id = job_attempt
        self.event.set()
        return self.logs[task.pod_uid]

    def end_task(self, pod_uid: str, code: int) -> None:
        task = next(task for task in self.history if task.pod_uid == pod_uid)
        task.sub_state, task.outcome = SubState.COMPLETED, Outcome(exit_code=code)
        self.logs[pod_uid].finish()
        self.event.set()

    def end_job(self, code: int = 0) -> None:
        for log in self.logs.values():
            log.finish()
        self.record.sub_state = SubState.COMPLETED
        self.record.outcome = Outcome(exit_code=code, user_exit_code=code)
        self.event.set()

    def notes(self, job: JobRecord) -> list[str]:
        return list(self.things_to_know)

    def job(self, user: str, name: str) -> JobRecord:
        return self.record

    def attempt(self, job: JobRecord, number: int) -> AttemptRecord:
        outcome = Outcome(exit_code=self.codes.get(number, 255))
        return AttemptRecord(
            job_id=1, attempt_id=number, uid="", sub_state=SubState.COMPLETED, created_ms=0, outcome=outcome
        )

    def tasks(self, job: JobRecord, job_attempt: int) -> list[TaskRecord]:
        return list({task.key: task for task in self.history if task.job_attempt_id == job_attempt}.values())

    def task_attempts(self, job: JobRecord, job_attempt: int, role: str, index: int) -> list[TaskRecord]:
        found = [
            task for task in self.history if (task.job_attempt_id, task.key) == (job_attempt, (role, index))
        ]
        return found[::-1]

    def log(self, task: TaskRecord) -> FakeLog | None:
        return self.logs.get(task.pod_uid)

    @contextlib.contextmanager
    def watch(self, job: JobRecord):
        yield FakeWatch(self.event)


class Client:
    """Takes the events of a follower one by one."""

    def __init__(self, scheduler: FakeScheduler, **options) -> None:
        self.follower = Follower(scheduler, scheduler.record, **options)
        self.pieces = self.follower.pieces()

    async def next(self) -> dict:
        return json.loads(await asyncio.wait_for(anext(self.pieces), 5))

    async def text(self) -> str:
        event = await self.next()
        assert event["type"] == "log", event
        return event["text"]

    async def rest(self) -> list[dict]:
        return [json.loads(piece) async for piece in self.pieces]


def run(test) -> None:
    """Run a test that is a coroutine function of a scheduler."""

    async def whole() -> None:
        await asyncio.wait_for(test(FakeScheduler()), 10)

    asyncio.run(whole())


def test_lines_come_as_they_are_written_and_then_the_end():
    async def follow_one(scheduler):
        log = scheduler.start(log=FakeLog(b"one\n"))
        client = Client(scheduler)
        assert await client.next() == {"type": "state", "state": "RUNNING"}
        assert await client.next() == {
            "type": "log",
            "role": "worker",
            "index": 0,
            "attempt": 0,
            "text": "one\n",
        }
        log.add(b"two\n")
        assert await client.text() == "two\n"
        log.add(b"last words")
        scheduler.end_job(0)
        events = await client.rest()
        assert [event.get("text") for event in events if event["type"] == "log"] == ["last words"]
        assert events[-1] == {"type": "end", "state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0}
        assert {"type": "state", "state": "SUCCEEDED"} in events

    run(follow_one)


def test_a_job_that_is_over_is_told_at_once():
    async def follow_late(scheduler):
        scheduler.start(log=FakeLog(b"text"))
        scheduler.end_job(1)
        events = await Client(scheduler).rest()
        assert [event["type"] for event in events] == ["state", "log", "end"]

    run(follow_late)


def test_a_job_that_never_ran_has_an_end_too():
    async def follow_none(scheduler):
        scheduler.record.attempt_id = None
        scheduler.end_job(-210)
        events = await Client(scheduler).rest()
        assert events[-1]["state"] == "STOPPED"

    run(follow_none)


def test_a_waiting_job_is_followed_from_its_first_line():
    async def follow_waiting(scheduler):
        scheduler.record.sub_state = SubState.CREATION_PENDING
        scheduler.record.attempt_id = None
        client = Client(scheduler)
        assert (await client.next())["state"] == "WAITING"
        scheduler.record.sub_state = SubState.RUNNING
        scheduler.start(log=FakeLog(b"first\n"))
        assert (await client.next())["state"] == "RUNNING"
        assert await client.text() == "first\n"
        await client.pieces.aclose()

    run(follow_waiting)


def test_all_tasks_are_merged():
    async def follow_two(scheduler):
        logs = [scheduler.start(index=index) for index in (0, 1)]
        client = Client(scheduler)
        await client.next()
        for index in (1, 0, 1):
            logs[index].add(b"%d\n" % index)
            event = await client.next()
            assert (event["index"], event["text"]) == (index, f"{index}\n")
        await client.pieces.aclose()

    run(follow_two)


def test_one_task_can_be_followed_alone():
    async def follow_second(scheduler):
        for index in (0, 1):
            scheduler.start(index=index, log=FakeLog(b"%d" % index))
        scheduler.end_job()
        events = await Client(scheduler, role="Wor_ker", index=1).rest()
        assert [event["text"] for event in events if event["type"] == "log"] == ["1"]

    run(follow_second)


def test_retries_of_a_task_follow_each_other_with_a_note():
    async def follow_retry(scheduler):
        scheduler.start(log=FakeLog(b"first\n"))
        client = Client(scheduler)
        await client.next()
        await client.next()
        scheduler.end_task("0-0-0", 255)
        scheduler.start(attempt=1, log=FakeLog(b"second\n"))
        note = await client.next()
        assert note["type"] == "note"
        assert "attempt 1 of worker-0" in note["text"]
        assert "255" in note["text"]
        assert await client.next() == {
            "type": "log",
            "role": "worker",
            "index": 0,
            "attempt": 1,
            "text": "second\n",
        }
        await client.pieces.aclose()

    run(follow_retry)


def test_attempts_that_passed_unseen_are_sent_all():
    async def follow_three(scheduler):
        for attempt in range(3):
            scheduler.start(attempt=attempt, log=FakeLog(b"%d\n" % attempt, ended=True))
        scheduler.end_job()
        events = await Client(scheduler).rest()
        assert [event["text"] for event in events if event["type"] == "log"] == ["0\n", "1\n", "2\n"]
        assert len([event for event in events if event["type"] == "note"]) == 2

    run(follow_three)


def test_retries_of_the_job_follow_each_other_with_a_note():
    async def follow_job(scheduler):
        scheduler.start(log=FakeLog(b"first\n"))
        client = Client(scheduler)
        await client.next()
        await client.next()
        scheduler.end_task("0-0-0", 255)
        scheduler.codes[0] = 17
        scheduler.start(job_attempt=1, log=FakeLog(b"second\n"))
        note = await client.next()
        assert note == {
            "type": "note",
            "text": "attempt 1 of the job follows; attempt 0 ended with exit code 17",
        }
        assert await client.text() == "second\n"
        scheduler.end_job()
        assert (await client.rest())[-1]["type"] == "end"

    run(follow_job)


def test_a_tail_begins_with_the_newest_attempt():
    async def follow_tail(scheduler):
        scheduler.start(log=FakeLog(b"old\n", ended=True))
        log = scheduler.start(job_attempt=1, log=FakeLog(b"a\nb\nc\n"))
        client = Client(scheduler, tail=2)
        await client.next()
        assert await client.text() == "b\nc\n"
        log.add(b"d\n")
        assert await client.text() == "d\n"
        scheduler.start(job_attempt=1, index=1, log=FakeLog(b"1\n2\n3\n4\n"))
        assert await client.text() == "1\n2\n3\n4\n"  # began while we followed: from its beginning
        await client.pieces.aclose()

    run(follow_tail)


def test_a_slow_client_is_read_for_only_when_it_asks():
    async def follow_slow(scheduler):
        reads = []
        log = scheduler.start(log=FakeLog(b"x" * 99 + b"\n"))
        log.content *= 50_000
        read = log.read
        log.read = lambda *arguments: reads.append(1) or read(*arguments)
        client = Client(scheduler)
        await client.next()
        await client.next()
        assert len(reads) == 1
        await asyncio.sleep(0)
        assert len(reads) == 1
        await client.pieces.aclose()

    run(follow_slow)


def test_a_follower_that_is_stopped_ends_without_an_end():
    async def follow_stopped(scheduler):
        scheduler.start()
        client = Client(scheduler)
        await client.next()
        asyncio.get_running_loop().call_soon(client.follower.stop)
        assert await client.rest() == []

    run(follow_stopped)


def test_nothing_is_left_behind_by_a_client_that_goes():
    async def follow_and_go(scheduler):
        log = scheduler.start(log=FakeLog(b"x"))
        client = Client(scheduler)
        await client.next()
        await client.next()
        await asyncio.sleep(0)
        assert log.listeners
        await client.pieces.aclose()
        assert not log.listeners

    run(follow_and_go)


# --- going on after a break -------------------------------------------------------------------
def test_a_client_that_asks_is_told_how_far_the_events_go():
    async def follow_told(scheduler):
        scheduler.start(log=FakeLog("ü\n".encode()))
        client = Client(scheduler, tells_places=True)
        assert await client.next() == {"type": "begin", "job_attempt": 0, "tasks": []}
        await client.next()
        assert (await client.next())["end"] == 3
        scheduler.end_task("0-0-0", 255)
        scheduler.start(attempt=1)
        note = await client.next()
        assert (note["role"], note["index"], note["attempt"], note["end"]) == ("worker", 0, 1, 0)
        scheduler.end_task("0-0-1", 255)
        scheduler.start(job_attempt=1)
        assert (await client.next())["job_attempt"] == 1
        await client.pieces.aclose()

    run(follow_told)


def test_a_client_that_comes_back_gets_what_it_has_not_seen():
    async def follow_again(scheduler):
        scheduler.start(log=FakeLog(b"old\n", ended=True))
        scheduler.start(job_attempt=1, log=FakeLog(b"seen\nnot seen\n", ended=True))
        scheduler.start(job_attempt=1, attempt=1, log=FakeLog(b"retried\n", ended=True))
        scheduler.start(job_attempt=1, index=1, log=FakeLog(b"whole\n", ended=True))
        scheduler.end_job()
        after = Places(1, {("worker", 0): (0, 5)})
        events = await Client(scheduler, after=after, tail=0, tells_places=True).rest()
        texts = {0: "", 1: ""}
        for event in events:
            if event["type"] == "log":
                texts[event["index"]] += event["text"]
        assert texts == {0: "not seen\nretried\n", 1: "whole\n"}
        assert len([event for event in events if event["type"] == "note"]) == 1

    run(follow_again)


def test_a_note_that_was_seen_is_not_sent_again():
    async def follow_again(scheduler):
        scheduler.start(log=FakeLog(b"first\n", ended=True))
        scheduler.start(attempt=1, log=FakeLog(b"second\n", ended=True))
        scheduler.end_job()
        after = Places(0, {("worker", 0): (1, 0)})
        events = await Client(scheduler, after=after, tells_places=True).rest()
        assert [event["type"] for event in events] == ["begin", "state", "log", "end"]

    run(follow_again)


def test_where_a_tail_begins_is_told():
    async def follow_tail(scheduler):
        scheduler.start(log=FakeLog(b"a\nb\n"))
        scheduler.start(index=1, attempt=2)
        client = Client(scheduler, tail=1, tells_places=True)
        assert (await client.next())["tasks"] == [["worker", 0, 0, 2], ["worker", 1, 2, 0]]
        await client.pieces.aclose()

    run(follow_tail)


def test_an_attempt_that_never_came_to_be_is_not_waited_for():
    async def follow_lost(scheduler):
        scheduler.start(log=FakeLog(b"text\n"))
        scheduler.end_job()
        events = await Client(scheduler, after=Places(1), tells_places=True).rest()
        assert events[-1]["type"] == "end"

    run(follow_lost)


def test_an_attempt_that_never_started_does_not_hold_up_the_next():
    async def follow_next(scheduler):
        scheduler.start(log=FakeLog())
        scheduler.start(attempt=1, log=FakeLog(b"text\n", ended=True))
        del scheduler.logs["0-0-0"]
        scheduler.end_job()
        events = await Client(scheduler).rest()
        assert [event["text"] for event in events if event["type"] == "log"] == ["text\n"]

    run(follow_next)


# --- pieces -----------------------------------------------------------------------------------
def task() -> TaskRecord:
    return TaskRecord(
        job_id=1,
        job_attempt_id=0,
        role="worker",
        index=0,
        attempt_id=0,
        pod_uid="p",
        sub_state=SubState.RUNNING,
        created_ms=0,
    )


def pieces_of(log: FakeLog) -> list[dict]:
    stream = LogStream(log, "all", task(), 0)
    return [json.loads(piece) for piece in iter(stream.next_piece, None)]


def test_a_piece_ends_where_a_character_does():
    log = FakeLog("ab€".encode()[:-1])
    stream = LogStream(log, "all", task(), 0)
    assert json.loads(stream.next_piece())["text"] == "ab"
    assert stream.next_piece() is None
    log.add("€".encode()[-1:])
    assert json.loads(stream.next_piece())["text"] == "€"


def test_half_a_character_at_the_very_end_is_sent_as_bytes():
    pieces = pieces_of(FakeLog(b"ab\xe2\x82", ended=True))
    assert pieces[0]["text"] == "ab"
    assert base64.b64decode(pieces[1]["base64"]) == b"\xe2\x82"


def test_a_line_that_is_not_utf8_is_sent_as_bytes_and_the_rest_as_text():
    content = b"good\n\xff\xfe bad\ngood again\n"
    pieces = pieces_of(FakeLog(content))
    assert [piece.get("text") for piece in pieces] == ["good\n", None, "good again\n"]
    assert base64.b64decode(pieces[1]["base64"]) == b"\xff\xfe bad\n"


def test_what_is_no_text_is_sent_in_large_pieces():
    content = bytes(range(256)) * 200
    pieces = pieces_of(FakeLog(content, ended=True))
    assert len(pieces) == 2
    assert pieces[0]["text"].encode() + base64.b64decode(pieces[1]["base64"]) == content


def test_text_that_is_hardly_any_is_sent_as_bytes():
    content = b"\0" * log_pieces.PIECE_BYTES
    (piece,) = pieces_of(FakeLog(content, ended=True))
    assert base64.b64decode(piece["base64"]) == content


def test_large_pieces_are_cut_at_the_end_of_a_line(monkeypatch):
    monkeypatch.setattr(log_pieces, "PIECE_BYTES", 10)
    pieces = pieces_of(FakeLog(b"one\ntwo\nthree\na line of more than ten\n", ended=True))
    assert [piece["text"] for piece in pieces][:2] == ["one\ntwo\n", "three\n"]
    assert "".join(piece["text"] for piece in pieces) == "one\ntwo\nthree\na line of more than ten\n"


@pytest.mark.parametrize("content", ["ü€𐍈" * 40, "\0\x1b[31m\u2028\r\n" * 20])
def test_all_bytes_come_through_whatever_the_piece(monkeypatch, content):
    for size in (4, 5, 7, 64):
        monkeypatch.setattr(log_pieces, "PIECE_BYTES", size)
        assert "".join(piece["text"] for piece in pieces_of(FakeLog(content.encode(), ended=True))) == content


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 0),
        (b"a", 0),
        (b"\xc3", 1),
        (b"\xc3\xbc", 0),
        (b"\xe2\x82", 2),
        (b"\xf0\x90\x8d", 3),
        (b"\x80" * 5, 0),
    ],
)
def test_bytes_of_an_unfinished_character_are_counted(data, count):
    assert incomplete_bytes(data) == count


def test_followers_of_one_log_share_what_is_newest():
    log = FakeLog(b"old\n")
    log.listeners = [lambda: None] * 2
    reads = []
    read = log.read
    log.read = lambda *arguments: reads.append(arguments) or read(*arguments)
    followers = [LogStream(log, "all", task(), 0, tells_end=number == 2) for number in range(4)]
    behind = LogStream(log, "all", task(), 0)
    for content in ("", "more\n", "and more\n"):
        log.add(content.encode())
        del reads[:]
        pieces = [follower.next_piece() for follower in followers]
        assert len(reads) == 2  # once for those who are told places, once for the others
        assert [json.loads(piece)["text"] for piece in pieces] == [content or "old\n"] * 4
    assert (
        "".join(json.loads(piece)["text"] for piece in iter(behind.next_piece, None)) == log.content.decode()
    )


def test_what_is_shared_is_bounded(monkeypatch):
    monkeypatch.setattr(log_pieces, "_SHARED_BYTES", 1000)
    log = FakeLog()
    log.listeners = [lambda: None] * 2
    first, second = (LogStream(log, "all", task(), 0) for _ in range(2))
    for number in range(100):
        log.add(b"%d\n" % number)
        first.next_piece()
    assert sum(len(piece) for piece, _ in first._shared._pieces.values()) <= 1000
    assert (
        "".join(json.loads(piece)["text"] for piece in iter(second.next_piece, None)) == log.content.decode()
    )


def test_a_single_follower_leaves_nothing_in_memory():
    log = FakeLog(b"text\n")
    stream = LogStream(log, "all", task(), 0)
    assert stream.next_piece()
    assert not stream._shared._pieces


def test_what_was_dropped_is_told_and_the_rest_follows():
    log = FakeLog("0123ü rest\n".encode())
    log.dropped = 5  # in the middle of a character
    note, broken = pieces_of(log)
    assert note == {
        "type": "note",
        "text": "5 bytes of the log of worker-0 are not shown: "
        "of a large log only the last two parts are kept",
    }
    assert base64.b64decode(broken["base64"]) == log.content[5:]
    told = json.loads(LogStream(log, "all", task(), 2, tells_end=True).next_piece())
    assert (told["text"].split()[0], told["end"], told["attempt"]) == ("3", 5, 0)


def test_a_log_that_its_task_has_emptied_has_an_end():
    log = FakeLog(b"", ended=True)
    log.size = lambda name: 1000
    stream = LogStream(log, "all", task(), 0)
    assert stream.next_piece() is None
    assert stream.is_over()


def test_a_tail_does_not_go_back_behind_what_is_kept():
    log = FakeLog(b"1\n2\n3\n")
    log.dropped = 2
    assert asyncio.run(tail_position(log, "all", 9)) == 2


@pytest.mark.parametrize(
    ("content", "lines", "rest"),
    [
        (b"a\nb\nc\n", 1, b"c\n"),
        (b"a\nb\nc", 1, b"c"),
        (b"a\nb\nc\n", 3, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 99, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 0, b""),
        (b"", 5, b""),
        (b"\n\n\n", 2, b"\n\n"),
    ],
)
def test_the_last_lines_are_found(monkeypatch, content, lines, rest):
    for size in (1, 2, 3, 100):
        monkeypatch.setattr(log_pieces, "PIECE_BYTES", size)
        assert content[asyncio.run(tail_position(FakeLog(content), "all", lines)) :] == rest


def test_roles_go_by_either_name():
    assert is_wanted(task(), "worker", None)
    assert is_wanted(task(), "Wor-ker", 0)
    assert not is_wanted(task(), "other", None)
    assert not is_wanted(task(), None, 1)


def test_what_to_know_of_the_job_is_told_first_and_once() -> None:
    async def scenario() -> None:
        scheduler = FakeScheduler()
        scheduler.things_to_know = ["image 'x' is not used"]
        scheduler.start(log=FakeLog(b"hi\n", ended=True))
        scheduler.record.sub_state = SubState.COMPLETED
        scheduler.record.outcome = Outcome(exit_code=0)
        events = [json.loads(piece) async for piece in Follower(scheduler, scheduler.record).pieces()]
        assert events[0] == {"type": "note", "text": "image 'x' is not used"}
        later = Follower(scheduler, scheduler.record, after=Places(0, {("main", 0): (0, 1)}))
        assert "note" not in [json.loads(piece)["type"] async for piece in later.pieces()]

    asyncio.run(scenario())
