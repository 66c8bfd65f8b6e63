# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from openpaisdk.errors import ClusterError
from openpaisdk.rest.logs import choose_tasks, last_lines, read_log
from tests.fakes import LOG_PATH as PATH
from tests.fakes import log_content as content
from tests.fakes import log_detail as detail
from tests.fakes import log_locations as locations


def test_the_rotated_part_of_a_log_comes_first(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.reply(locations("all", "all.1")), content("old\n"), content("new\n"))
    transport.will_answer(content("old\n"))  # still the one that was read
    assert read_log(client, PATH, "all", None) == "old\nnew\n"


def test_a_part_that_is_begun_while_the_log_is_read_is_not_left_out(
    client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.reply(locations("all", "all.1")), content("1\n"), content("3\n"))
    transport.will_answer(content("2\n"), content("2\n"))  # the part before the last is another one now
    transport.will_answer(content("3\nmore\n"), content("2\n"))
    assert read_log(client, PATH, "all", None) == "1\n2\n3\nmore\n"


def test_bytes_that_are_not_utf8_survive(client: Any, transport: Any, answers: Any) -> None:
    data = bytes(range(256)) + "ü€𐍈".encode()[:-1]
    transport.will_answer(answers.reply(locations("all")), content(data))
    assert read_log(client, PATH, "all").encode("utf-8", "surrogateescape") == data


def test_a_tail_of_bytes_that_begins_within_a_character_survives(
    client: Any, transport: Any, answers: Any
) -> None:
    data = "ü\n1\nü\xff\n".encode("utf-8", "surrogateescape")[1:]
    transport.will_answer(
        answers.reply(locations("all")), content(data, 206, content_range="bytes 100-109/110")
    )
    assert read_log(client, PATH, "all", 2) == "1\nü\xff\n"


def test_the_tail_of_a_log_is_taken_from_its_last_part(client: Any, transport: Any, answers: Any) -> None:
    part = content("cut\n1\n2\n3\n", 206, content_range="bytes 100-109/110")
    transport.will_answer(answers.reply(locations("all")), part)
    assert read_log(client, PATH, "all", 2) == "2\n3\n"
    assert transport.requests[0].url.endswith("/logs?tail-mode=true")


def test_a_last_part_that_is_too_short_is_read_in_full(client: Any, transport: Any, answers: Any) -> None:
    part = content("t\n", 206, content_range="bytes 100-101/102")
    transport.will_answer(answers.reply(locations("all")), part)
    transport.will_answer(answers.reply(locations("all")), content("1\n2\nlast\n"))
    assert read_log(client, PATH, "all", 2) == "2\nlast\n"


def test_many_last_lines_are_looked_for_in_the_last_bytes_before_all_is_read(
    client: Any, transport: Any, answers: Any
) -> None:
    lines = "".join(f"{number}\n" for number in range(5000))
    end = content(lines[-16384:], 206, content_range="bytes 299983616-299999999/300000000")
    transport.will_answer(answers.reply(locations("all")), end)
    transport.will_answer(answers.reply(locations("all")), content(lines, 206))
    assert read_log(client, PATH, "all", 4000) == "".join(f"{number}\n" for number in range(1000, 5000))
    assert transport.requests[-1].headers["Range"] == "bytes=-1048576"


def test_a_server_that_does_not_give_the_last_bytes_is_asked_for_all(
    client: Any, transport: Any, answers: Any
) -> None:
    end = content("3\n", 206, content_range="bytes 1999998-1999999/2000000")
    transport.will_answer(answers.reply(locations("all")), end)
    transport.will_answer(answers.reply(locations("all")), content("1\n2\n3\n"))
    transport.will_answer(answers.reply(locations("all")), content("1\n2\n3\n"))
    assert read_log(client, PATH, "all", 2) == "2\n3\n"


def test_a_task_without_logs_yet_is_empty(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("logs, unknown attempt"))
    assert read_log(client, PATH, "all", None) == ""


def test_the_log_of_a_task_that_is_gone_is_empty(client: Any, transport: Any, answers: Any) -> None:
    refusal = {"code": "UnknownError", "message": "Failed to get log list"}
    transport.will_answer(answers.reply(refusal, 500))
    assert read_log(client, PATH, "all", None) == ""


def test_a_cluster_too_old_for_logs_gives_the_address_of_a_page(client: Any) -> None:
    with pytest.raises(ClusterError, match="too old") as caught:
        read_log(client, "http://10.0.0.1:9103/logs/x", "all", None)
    assert "http://10.0.0.1:9103/logs/x" in str(caught.value.hint)


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
    assert last_lines("a\nb\n\n", 2) == "b\n\n"
    assert last_lines("a\n", 5) == "a\n"
    assert last_lines("", 5) == ""


def test_a_progress_bar_is_one_line() -> None:
    assert last_lines("1\n10%\r20%\r30%\n\x0b\u2028\n", 2) == "10%\r20%\r30%\n\x0b\u2028\n"
