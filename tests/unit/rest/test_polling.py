# SPDX-License-Identifier: MIT
"""Following by asking again and again: every byte once, whatever happens between two looks."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from openpaisdk._secret import Secret
from openpaisdk.rest.client import RestClient
from openpaisdk.rest.polling import PollingFollower
from openpaisdk.rest.transport import Request, Response, Transport
from tests.fakes import RECORDED
from tests.fakes import log_content as content
from tests.fakes import log_detail as detail
from tests.fakes import log_locations as locations


def follow(client: Any, pauses: list[float], tail: int | None = None) -> list[dict[str, Any]]:
    follower = PollingFollower(
        client, "alice~j", role=None, index=None, stream="all", tail=tail, sleep=pauses.append
    )
    return list(follower.events())


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "log")


def test_a_character_cut_in_two_is_put_together(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    data = "ü\n".encode()
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content(data[:1]))
    transport.will_answer(answers.reply(detail("STOPPED")), answers.reply(locations("all")), content(data))
    assert text_of(follow(client, pauses)) == "ü\n"


def test_a_server_that_ignores_ranges_repeats_nothing(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content("one\n"))
    transport.will_answer(
        answers.reply(detail("FAILED")), answers.reply(locations("all")), content("one\ntwo\n")
    )
    assert text_of(follow(client, pauses)) == "one\ntwo\n"


def test_silence_makes_the_pauses_longer(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    for _ in range(8):
        transport.will_answer(answers.reply({"jobStatus": {"state": "WAITING"}}))
    transport.will_answer(answers.reply({"jobStatus": {"state": "STOPPED"}}))
    follow(client, pauses)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 8.0


# --- a cluster on paper ------------------------------------------------------------------------


class PaperCluster(Transport):
    """One job of one task on a cluster that answers in the recorded shapes; a test lets things happen."""

    def __init__(self) -> None:
        self.attempts: list[list[list[bytes]]] = [[[b""]]]
        """Attempts of the job, in each the attempts of the task, in each the parts of its log."""
        self.state = "RUNNING"
        self.forgets_attempts = False
        self.ranges: list[str | None] = []
        self.before_content: Callable[[], None] = lambda: None

    @property
    def log(self) -> list[bytes]:
        """The log that is being written."""
        return self.attempts[-1][-1]

    def write(self, data: bytes) -> None:
        self.log[-1] += data

    def rotate(self) -> None:
        self.log[:] = [self.log[-1], b""]

    def retry_task(self) -> None:
        self.attempts[-1].append([b""])

    def retry_job(self) -> None:
        self.attempts.append([[b""]])

    def send(self, request: Request) -> Response:
        path = request.url.removeprefix("http://pai.example").removeprefix(
            "/rest-server/api/v2/jobs/alice~mixed"
        )
        if path.startswith("/log-manager/"):
            self.before_content()
            self.ranges.append(request.headers.get("Range"))
            return self._content(path, self.ranges[-1])
        if path.endswith("/logs"):
            words = path.split("/")
            return self._locations(int(words[2]), int(words[-2]), "")
        if path.endswith("/logs?tail-mode=true"):
            words = path.split("/")
            return self._locations(int(words[2]), int(words[-2]), "&tail-mode=true")
        if path.startswith("/attempts/"):
            if self.forgets_attempts:
                return _recorded("no such api")
            return self._detail(int(path.rpartition("/")[2]))
        return self._detail(len(self.attempts) - 1)

    def _detail(self, attempt: int) -> Response:
        detail = copy.deepcopy(RECORDED["detail, two roles, one task failed"]["response"]["json"])
        detail["jobStatus"] |= {"state": self.state, "attemptId": attempt, "retries": len(self.attempts) - 1}
        del detail["taskRoles"]["chief"]
        task = detail["taskRoles"]["worker"]["taskStatuses"][0]
        detail["taskRoles"]["worker"]["taskStatuses"] = [task]
        number = len(self.attempts[attempt]) - 1
        base = f"/api/v2/jobs/alice~mixed/attempts/{attempt}/taskRoles/worker/taskIndex/0/attempts/{number}"
        task |= {"attemptId": number, "containerLog": base + "/logs", "containerId": base}
        return Response(200, {}, json.dumps(detail).encode())

    def _locations(self, attempt: int, number: int, mode: str) -> Response:
        if number >= len(self.attempts[attempt]):
            return _recorded("logs, unknown attempt")
        names = ["stdout", "all", "runtime.log"]
        if len(self.attempts[attempt][number]) > 1:
            names = ["all.1", *names]
        place = f"/log-manager/10.0.0.1:9103/api/v1/logs/{attempt}/{number}"
        found = [{"name": name, "uri": f"{place}/user-{name}?token=x{mode}"} for name in names]
        return Response(200, {}, json.dumps({"locations": found}).encode())

    def _content(self, path: str, wanted: str | None) -> Response:
        *_, attempt, number, name = path.partition("?")[0].split("/")
        parts = self.attempts[int(attempt)][int(number)]
        data = parts[-1] if name == "user-all" else parts[0]
        if "tail-mode=true" in path:
            place = f"bytes {max(0, len(data) - 16384)}-{len(data) - 1}/{len(data)}"
            return Response(206, {"content-type": "text/plain", "content-range": place}, data[-16384:])
        if wanted is None:
            return Response(200, {"content-type": "text/plain"}, data)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            return Response(416, {"content-range": f"bytes */{len(data)}"}, b"")
        place = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Response(206, {"content-type": "text/plain", "content-range": place}, data[start:])


def _recorded(name: str) -> Response:
    answer = RECORDED[name]["response"]
    return Response(answer["status"], answer["headers"], json.dumps(answer["json"]).encode())


@pytest.fixture
def paper() -> PaperCluster:
    return PaperCluster()


def follow_on_paper(paper: PaperCluster, *happenings: Callable[[], None], tail: int | None = None) -> Any:
    """Follow while in each pause the next thing happens; the job has ended when nothing is left."""
    left = list(happenings)

    def happen(seconds: float) -> None:
        if left:
            left.pop(0)()
        if not left:
            paper.state = "SUCCEEDED"

    client = RestClient("http://pai.example", user="alice", token=Secret("t"), transport=paper)
    follower = PollingFollower(
        client, "alice~mixed", role=None, index=None, stream="all", tail=tail, sleep=happen
    )
    return list(follower.events())


def test_a_job_is_followed_from_beginning_to_end(paper: PaperCluster) -> None:
    paper.write(b"one\n")
    events = follow_on_paper(paper, lambda: paper.write(b"two\n"))
    assert text_of(events) == "one\ntwo\n"
    assert [event["state"] for event in events if event["type"] == "state"] == ["RUNNING", "SUCCEEDED"]
    assert (events[-1]["type"], events[-1]["state"]) == ("end", "SUCCEEDED")


def test_little_more_than_what_is_new_is_asked_for(paper: PaperCluster) -> None:
    paper.write(b"x" * 10000)
    events = follow_on_paper(paper, lambda: paper.write(b"new"), lambda: None)
    assert text_of(events) == "x" * 10000 + "new"
    assert len(events) == 5  # nothing new is no event
    assert paper.ranges == [None, "bytes=9744-", "bytes=9747-"]


def test_a_tail_begins_with_the_last_lines_and_goes_on_behind_them(paper: PaperCluster) -> None:
    paper.write(b"1\n2\n3\n")
    assert text_of(follow_on_paper(paper, lambda: paper.write(b"4\n"), tail=1)) == "3\n4\n"


def test_a_log_that_was_cut_is_read_on_from_its_new_beginning(paper: PaperCluster) -> None:
    def cut() -> None:
        paper.log[:] = [b"new\n"]

    paper.write(b"a long line\n")
    assert text_of(follow_on_paper(paper, cut)) == "a long line\nnew\n"


def test_a_part_that_grew_past_the_place_after_a_rotation_is_read_whole(paper: PaperCluster) -> None:
    def grow() -> None:
        paper.write(b"two\n")
        paper.rotate()
        paper.write(b"three and much more than before\n")

    paper.write(b"one\n")
    assert text_of(follow_on_paper(paper, grow)) == "one\ntwo\nthree and much more than before\n"


def test_a_second_rotation_loses_nothing_either(paper: PaperCluster) -> None:
    def grow(text: bytes) -> Callable[[], None]:
        def happen() -> None:
            paper.write(text + b" a long end of a part\n")
            paper.rotate()
            paper.write(text)

        return happen

    events = follow_on_paper(paper, grow(b"1"), grow(b"2"), grow(b"3"))
    assert text_of(events) == "".join(f"{text} a long end of a part\n{text}" for text in "123")


def test_a_rotation_between_the_list_and_the_content_loses_nothing(paper: PaperCluster) -> None:
    def rotate() -> None:
        paper.before_content = lambda: None
        paper.write(b"end\n")
        paper.rotate()
        paper.write(b"x")

    def arm() -> None:
        paper.before_content = rotate

    paper.write(b"begin\n")
    assert text_of(follow_on_paper(paper, arm)) == "begin\nend\nx"


def test_two_rotations_between_two_looks_are_told_of(paper: PaperCluster) -> None:
    def rotate_twice() -> None:
        for text in (b"lost\n", b"second\n"):
            paper.write(text)
            paper.rotate()
        paper.write(b"third\n")

    paper.write(b"first\n")
    events = follow_on_paper(paper, rotate_twice)
    assert [event["text"] for event in events if event["type"] in ("log", "note")] == [
        "first\n",
        "a piece of the log of worker-0 is missing: it was written too fast",
        "second\nthird\n",
    ]


def test_a_log_that_had_rotated_before_the_first_look_has_no_gap(paper: PaperCluster) -> None:
    paper.write(b"first\n")
    paper.rotate()
    paper.write(b"second\n")
    events = follow_on_paper(paper, lambda: paper.write(b"third\n"))
    assert [event["type"] for event in events if event["type"] in ("log", "note")] == ["log", "log"]
    assert text_of(events) == "first\nsecond\nthird\n"


def test_what_was_written_before_a_retry_and_not_read_yet_is_read(paper: PaperCluster) -> None:
    def retry() -> None:
        paper.write(b"last words\n")
        paper.retry_task()
        paper.write(b"too short to be seen\n")
        paper.retry_task()
        paper.write(b"again\n")

    paper.write(b"first\n")
    events = follow_on_paper(paper, retry)
    assert text_of(events) == "first\nlast words\ntoo short to be seen\nagain\n"
    assert [event["attempt"] for event in events if event["type"] == "log"] == [0, 0, 1, 2]
    assert [event["text"] for event in events if event["type"] == "note"] == [
        "attempt 1 of worker-0 follows",
        "attempt 2 of worker-0 follows",
    ]


def test_attempts_of_the_job_are_read_to_their_ends(paper: PaperCluster) -> None:
    def retry() -> None:
        paper.write(b"last words\n")
        paper.retry_job()
        paper.write(b"second attempt\n")
        paper.retry_task()
        paper.write(b"its retry\n")
        paper.retry_job()
        paper.write(b"third attempt\n")

    paper.write(b"first\n")
    events = follow_on_paper(paper, retry)
    assert text_of(events) == "first\nlast words\nsecond attempt\nits retry\nthird attempt\n"
    assert [event["text"] for event in events if event["type"] == "note"] == [
        "attempt 1 of the job follows",
        "attempt 1 of worker-0 follows",
        "attempt 2 of the job follows",
    ]


def test_an_old_server_that_does_not_tell_of_attempts_gives_what_it_has(paper: PaperCluster) -> None:
    def retry() -> None:
        paper.write(b"last words\n")
        paper.retry_job()
        paper.write(b"second attempt\n")

    paper.forgets_attempts = True
    paper.write(b"first\n")
    assert text_of(follow_on_paper(paper, retry)) == "first\nlast words\nsecond attempt\n"


def test_a_tail_goes_on_behind_the_part_that_was_rotated_before(paper: PaperCluster) -> None:
    paper.write(b"1\n")
    paper.rotate()
    paper.write(b"2\n3\n")
    assert text_of(follow_on_paper(paper, lambda: paper.write(b"4\n"), tail=1)) == "3\n4\n"


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_or_repeated_whatever_happens(paper: PaperCluster, seed: int) -> None:
    chance = random.Random(seed)
    written: list[str] = []

    def write() -> None:
        for _ in range(chance.randrange(1, 4)):
            line = f"{len(written)} ü{'x' * chance.randrange(30)}\n"
            data = line.encode()
            written.append(line)
            paper.write(data)

    def happen() -> None:
        write()
        {0: paper.rotate, 1: paper.retry_task, 2: paper.retry_job}.get(chance.randrange(6), write)()
        write()

    write()
    assert text_of(follow_on_paper(paper, *[happen] * 12)) == "".join(written)
