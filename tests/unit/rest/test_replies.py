# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

from openpaisdk.rest import replies


def test_moments_are_iso_texts_in_utc() -> None:
    assert replies.moment(1795218402123) == "2026-11-20T23:46:42.123Z"
    assert replies.moment(0) == "1970-01-01T00:00:00.000Z"
    assert replies.moment(None) is None


def test_a_listed_job_has_the_keys_of_the_contract(answers: Any) -> None:
    item = answers.recorded("list?limit=2").json()[0]
    entry = replies.job_item(item, now_ms=0)
    keys = "name user state virtual_cluster submitted_at duration_s gpus tasks retries tags"
    assert list(entry) == keys.split()
    assert entry["user"] == "alice"
    assert entry["duration_s"] == (item["completedTime"] - item["launchedTime"]) / 1000


def test_a_waiting_job_lasts_since_its_submission() -> None:
    item = {"state": "WAITING", "submissionTime": 1000, "launchedTime": None, "completedTime": None}
    assert replies.job_item(item, now_ms=3500)["duration_s"] == 2.5


def test_a_clock_that_is_behind_gives_no_negative_duration() -> None:
    assert replies.job_item({"submissionTime": 9000}, now_ms=1000)["duration_s"] == 0.0


def test_the_status_of_a_failed_job_has_the_commands_own_exit_code(answers: Any) -> None:
    status = replies.job_status(answers.recorded("detail, planned by a marker").json(), link="http://l")
    assert (status["state"], status["exit_code"], status["user_exit_code"]) == ("FAILED", 255, 7)
    assert status["exit_phrase"] == "PAIRuntimeUnknownFailed"
    assert status["link"] == "http://l"
    assert status["task_roles"]["worker"] == [
        {
            "index": 0,
            "state": "FAILED",
            "exit_code": 255,
            "user_exit_code": 7,
            "exit_phrase": "PAIRuntimeUnknownFailed",
            "ip": "127.0.0.1",
            "ports": {"ssh": [27414], "http": [38726]},
            "attempt": 0,
        }
    ]


def test_the_status_of_a_job_that_succeeded_is_all_zeros(answers: Any) -> None:
    status = replies.job_status(answers.recorded("detail, succeeded").json(), link=None)
    assert (status["exit_code"], status["user_exit_code"], status["exit_phrase"]) == (0, 0, "Succeeded")
    assert status["started_at"] == "2026-11-20T23:46:42.000Z"


def test_a_waiting_task_has_no_address_and_no_codes(answers: Any) -> None:
    task = replies.job_status(answers.recorded("detail, waiting").json(), link=None)["task_roles"]["worker"][
        0
    ]
    assert (task["ip"], task["exit_code"], task["user_exit_code"]) == (None, None, None)


def test_a_job_without_tasks_yet_has_no_roles(answers: Any) -> None:
    detail = answers.recorded("detail of a job that is only in the database").json()
    status = replies.job_status(detail, link=None)
    assert (status["task_roles"], status["started_at"], status["exit_code"]) == ({}, None, None)


def test_several_ports_of_a_label_are_a_list() -> None:
    detail = {"taskRoles": {"w": {"taskStatuses": [{"containerPorts": {"my": "28556,36052"}}]}}}
    assert replies.job_status(detail, link=None)["task_roles"]["w"][0]["ports"] == {"my": [28556, 36052]}


def test_the_embedded_cluster_tells_user_exit_codes_itself() -> None:
    detail = {"taskRoles": {"w": {"taskStatuses": [{"containerExitCode": 255, "userExitCode": 42}]}}}
    assert replies.job_status(detail, link=None)["task_roles"]["w"][0]["user_exit_code"] == 42


def test_a_runtime_message_as_text_is_understood_too() -> None:
    detail = {"jobStatus": {"appExitCode": 255, "appExitMessages": {"runtime": "originUserExitCode: 3\n"}}}
    assert replies.job_result(detail, "j")["user_exit_code"] == 3


def test_an_event_names_its_task(answers: Any) -> None:
    item = answers.recorded("events of a job that the API server refused").json()["data"][0]
    event = replies.job_event(item)
    assert (event["type"], event["reason"], event["task"]) == (
        "Warning",
        "CreateFrameworkPermanentFailed",
        None,
    )
    assert replies.job_event({"taskroleName": "w", "taskIndex": 3})["task"] == "w-3"


def test_resources_are_used_free_and_total(answers: Any) -> None:
    value = answers.recorded("virtual clusters, in use").json()["default"]
    entry = replies.virtual_cluster("default", value)
    for name in ("gpu", "cpu", "memory_mb"):
        assert entry[name]["free"] == entry[name]["total"] - entry[name]["used"]
