# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from openpaisdk.errors import (
    AuthenticationError,
    ClusterError,
    JobExistsError,
    JobNotFoundError,
    OpenPaiError,
    PermissionDeniedError,
    RateLimitError,
    SpecError,
)
from openpaisdk.rest.errors import problems_of, refusal_error
from openpaisdk.rest.transport import Request, Response

REQUEST = Request("GET", "http://pai.example/rest-server/api/v2/jobs?token=abc")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("login, wrong password", AuthenticationError, "password"),
        ("garbage token", AuthenticationError, "your token is invalid"),
        ("detail, unknown job", JobNotFoundError, "no job 'nope'"),
        ("job attempts, unknown job", JobNotFoundError, "no job 'nope'"),
        ("submit, duplicate", JobExistsError, "already a job 'nope'"),
        ("submit, unknown virtual cluster", PermissionDeniedError, "User admin is not allowed"),
        ("stop, somebody else's job", PermissionDeniedError, "not allowed to execute job"),
        ("list, request 4 of a limit of 3 a minute", RateLimitError, "60 s"),
        ("submit, schema error", SpecError, "refuses the job document"),
        ("no such api", ClusterError, "does not have this feature"),
        ("submit, two YAML documents", ClusterError, "500: expected a single document"),
        ("stop while write-merger is down", ClusterError, "500: connect ECONNREFUSED"),
        ("logs, unknown attempt", ClusterError, "log of task is not found"),
    ],
)
def test_a_recorded_refusal_becomes_the_right_error(
    answers: Any, name: str, kind: type[OpenPaiError], said: str
) -> None:
    error = refusal_error(REQUEST, answers.recorded(name), job="nope")
    assert type(error) is kind
    assert said.lower() in error.message.lower()


def test_an_error_keeps_status_and_code_and_hides_the_token(answers: Any) -> None:
    error = refusal_error(REQUEST, answers.recorded("detail, unknown job"))
    assert isinstance(error, ClusterError)
    assert (error.status, error.server_code, error.method) == (404, "NoJobError", "GET")
    assert "abc" not in str(error.url)


def test_an_html_page_is_not_shown() -> None:
    error = refusal_error(
        REQUEST, Response(502, {}, b"<html><h1>Bad Gateway</h1></html>"), label="cluster 'prod'"
    )
    assert error.message == "cluster 'prod' answered 502"


def test_a_404_page_of_another_server_is_not_taken_for_a_missing_job() -> None:
    error = refusal_error(REQUEST, Response(404, {}, b"<html>nginx</html>"), job="train")
    assert not isinstance(error, JobNotFoundError)


def test_a_rate_limit_tells_how_long(answers: Any) -> None:
    error = refusal_error(REQUEST, answers.recorded("list, request 4 of a limit of 3 a minute"))
    assert isinstance(error, RateLimitError)
    assert error.retry_after_s == 60.0


def test_a_redirect_that_is_not_followed_names_its_target() -> None:
    error = refusal_error(REQUEST, Response(302, {"location": "http://login.example/?code=abc"}))
    assert "http://login.example/?code=***" in error.message


def test_problems_of_a_refused_document_are_listed(answers: Any) -> None:
    error = refusal_error(REQUEST, answers.recorded("submit, schema error"))
    assert isinstance(error, SpecError)
    assert error.problems[0]["path"] == "taskRoles"
    sentence = problems_of("Prerequisite other does not exist.")
    assert [problem["message"] for problem in sentence] == ["Prerequisite other does not exist."]


def test_an_unknown_key_is_named() -> None:
    text = (
        '[{"keyword":"additionalProperties","dataPath":".x","params":{"additionalProperty":"nam"},'
        '"message":"should NOT have additional properties"}]'
    )
    assert problems_of(text)[0]["message"] == "should NOT have additional properties: 'nam'"
