# SPDX-License-Identifier: MIT
"""Every exchange that was recorded from a real cluster, where the recordings are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openpaisdk.errors import OpenPaiError
from openpaisdk.rest import replies
from openpaisdk.rest.errors import refusal_error
from openpaisdk.rest.transport import Request, Response

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "rest" / "transcripts.json"
STATES = {"WAITING", "RUNNING", "STOPPING", "SUCCEEDED", "STOPPED", "FAILED", "UNKNOWN"}

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="the recordings are not at hand")


def exchanges() -> list[dict[str, Any]]:
    return [item for item in json.loads(CORPUS.read_text("utf-8")) if item["response"]["status"]]


def response_of(item: dict[str, Any]) -> Response:
    answer = item["response"]
    body = json.dumps(answer["json"]) if "json" in answer else answer.get("text", "")
    return Response(answer["status"], answer["headers"], body.encode())


def test_every_refusal_becomes_an_error_with_a_message() -> None:
    refused = [item for item in exchanges() if item["response"]["status"] >= 400]
    assert len(refused) > 50
    for item in refused:
        request = Request(item["request"]["method"], "http://pai.example" + item["request"]["path"])
        error = refusal_error(request, response_of(item), job="job")
        assert isinstance(error, OpenPaiError), item["name"]
        assert error.message, item["name"]
        assert not error.message.endswith("."), item["name"]


def test_every_detail_becomes_a_status() -> None:
    found = [
        item["response"]["json"]
        for item in exchanges()
        if isinstance(item["response"].get("json"), dict) and "jobStatus" in item["response"]["json"]
    ]
    assert len(found) > 10
    for detail in found:
        status = replies.job_status(detail, link=None)
        assert status["state"] in STATES
        assert status["submitted_at"]
        assert status["user_exit_code"] == 0 if status["exit_code"] == 0 else status["exit_code"] != 0
        for tasks in status["task_roles"].values():
            assert all(task["state"] in STATES and isinstance(task["index"], int) for task in tasks)


def test_every_listed_job_becomes_an_entry() -> None:
    items = [
        job
        for item in exchanges()
        if item["request"]["path"].startswith("/api/v2/jobs?")
        and isinstance(item["response"].get("json"), list)
        for job in item["response"]["json"]
    ]
    assert len(items) > 50
    for item in items:
        entry = replies.job_item(item, now_ms=2e12)
        assert entry["name"] == item["name"]
        assert entry["duration_s"] >= 0
