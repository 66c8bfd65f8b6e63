# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from openpaisdk.errors import ClusterError
from openpaisdk.rest.logs import Follower, choose_tasks, last_lines, read_log
from openpaisdk.rest.transport import Response

PATH = "/api/v2/jobs/alice~j/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs"
TASK = {"role": "worker", "index": 0, "attempt": 0, "pod": "p0", "path": PATH, "has_begun": True}


def detail(state: str = "RUNNING", *, pod: str = "p0", tasks: int = 1, **status: Any) -> dict[str, Any]:
    statuses = [
        {"taskIndex": index, "containerId": pod, "containerLog": PATH, "launchedTime": 1, "attemptId": 0}
        for index in range(tasks)
    ]
    return {"jobStatus": {"state": state, **status}, "taskRoles": {"worker": {"taskStatuses": statuses}}}


def locations(*names: str) -> dict[str, Any]:
    return {"locations": [{"name": name, "uri": f"/log-manager/{name}?token=x"} for name in names]}


def content(text: str | bytes, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, text.encode() if isinstance(text, str) else text)


def follow(client: Any, pauses: list[float], tail: int | None = None) -> list[dict[str, Any]]:
    follower = Follower(
        client, "alice~j", role=None, index=None, stream="all", tail=tail, sleep=pauses.append
    )
    return list(follower.events())


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "log")


def test_the_rotated_part_of_a_log_comes_first(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.reply(locations("all", "all.1")), content("old\n"), content("new\n"))
    assert read_log(client, TASK, "all", None) == "old\nnew\n"


def test_the_tail_of_a_log_is_taken_from_its_last_part(client: Any, transport: Any, answers: Any) -> None:
    part = content("cut\n1\n2\n3\n", 206, content_range="bytes 100-109/110")
    transport.will_answer(answers.reply(locations("all")), part)
    assert read_log(client, TASK, "all", 2) == "2\n3\n"
    assert transport.requests[0].url.endswith("/logs?tail-mode=true")


def test_a_last_part_that_is_too_short_is_read_in_full(client: Any, transport: Any, answers: Any) -> None:
    part = content("t\n", 206, content_range="bytes 100-101/102")
    transport.will_answer(answers.reply(locations("all")), part)
    transport.will_answer(answers.reply(locations("all")), content("1\n2\nlast\n"))
    assert read_log(client, TASK, "all", 2) == "2\nlast\n"


def test_a_task_without_logs_yet_is_empty(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("logs, unknown attempt"))
    assert read_log(client, TASK, "all", None) == ""


def test_the_log_of_a_task_that_is_gone_is_empty(client: Any, transport: Any, answers: Any) -> None:
    refusal = {"code": "UnknownError", "message": "Failed to get log list"}
    transport.will_answer(answers.reply(refusal, 500))
    assert read_log(client, TASK, "all", None) == ""


def test_a_cluster_too_old_for_logs_gives_the_address_of_a_page(client: Any) -> None:
    task = {**TASK, "path": "http://10.0.0.1:9103/logs/x"}
    with pytest.raises(ClusterError, match="too old") as caught:
        read_log(client, task, "all", None)
    assert "http://10.0.0.1:9103/logs/x" in str(caught.value.hint)


def test_following_asks_only_for_what_is_new(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content("one\n"))
    transport.will_answer(
        answers.reply(detail("SUCCEEDED", appExitCode=0)),
        answers.reply(locations("all")),
        content("two\n", 206, content_range="bytes 4-7/8"),
    )
    events = follow(client, pauses)
    assert text_of(events) == "one\ntwo\n"
    assert transport.requests[5].headers["Range"] == "bytes=4-"
    assert [event["state"] for event in events if event["type"] == "state"] == ["RUNNING", "SUCCEEDED"]
    assert events[-1] == {"type": "end", "state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0}


def test_a_character_cut_in_two_is_put_together(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    data = "ü\n".encode()
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content(data[:1]))
    transport.will_answer(
        answers.reply(detail("STOPPED")), answers.reply(locations("all")), content(data[1:], 206)
    )
    assert text_of(follow(client, pauses)) == "ü\n"


def test_a_server_that_ignores_ranges_repeats_nothing(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content("one\n"))
    transport.will_answer(
        answers.reply(detail("FAILED")), answers.reply(locations("all")), content("one\ntwo\n")
    )
    assert text_of(follow(client, pauses)) == "one\ntwo\n"


def test_a_rotation_loses_and_repeats_nothing(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content("one\n"))
    transport.will_answer(
        answers.reply(detail("FAILED")),
        answers.reply(locations("all", "all.1")),
        content("", 416, content_range="bytes */2"),
        content("rest\n", 206),
        content("x\n"),
    )
    assert text_of(follow(client, pauses)) == "one\nrest\nx\n"


def test_nothing_new_is_no_event(client: Any, transport: Any, answers: Any, pauses: list[float]) -> None:
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content("one\n"))
    same = content("", 416, content_range="bytes */4")
    transport.will_answer(answers.reply(detail("FAILED")), answers.reply(locations("all")), same)
    assert text_of(follow(client, pauses)) == "one\n"


def test_a_new_attempt_is_noted_and_read_from_its_start(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), content("one\n"))
    transport.will_answer(
        answers.reply(detail("FAILED", pod="p1", attemptId=1)),
        answers.reply(locations("all")),
        content("again\n"),
    )
    events = follow(client, pauses)
    assert {"type": "note", "text": "worker-0 begins attempt 1"} in events
    assert text_of(events) == "one\nagain\n"


def test_a_tail_begins_with_the_last_lines_and_goes_on_behind_them(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    part = content("1\n2\n3\n", 206, content_range="bytes 94-99/100")
    transport.will_answer(answers.reply(detail()), answers.reply(locations("all")), part)
    transport.will_answer(
        answers.reply(detail("FAILED")), answers.reply(locations("all")), content("4\n", 206)
    )
    assert text_of(follow(client, pauses, tail=1)) == "3\n4\n"
    assert transport.requests[5].headers["Range"] == "bytes=100-"


def test_silence_makes_the_pauses_longer(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    for _ in range(8):
        transport.will_answer(answers.reply({"jobStatus": {"state": "WAITING"}}))
    transport.will_answer(answers.reply({"jobStatus": {"state": "STOPPED"}}))
    follow(client, pauses)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 8.0


def test_a_role_is_found_in_either_spelling() -> None:
    assert len(choose_tasks(detail(tasks=2), "Work_er", None, job="j")) == 2
    assert [task["index"] for task in choose_tasks(detail(tasks=3), "worker", 1, job="j")] == [1]


def test_an_unknown_role_or_index_is_an_error() -> None:
    with pytest.raises(ClusterError, match="no task role 'wroker'") as caught:
        choose_tasks(detail(), "wroker", None, job="j")
    assert "worker" in str(caught.value.hint)
    with pytest.raises(ClusterError, match="no task with index 7"):
        choose_tasks(detail(), None, 7, job="j")


def test_a_job_without_tasks_yet_has_nothing_to_choose() -> None:
    assert choose_tasks({"taskRoles": {}}, "worker", 0, job="j") == []


def test_last_lines_are_counted_from_the_end() -> None:
    assert last_lines("a\nb\nc", 2) == "b\nc"
    assert last_lines("a\n", 0) == ""
