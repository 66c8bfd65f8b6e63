# SPDX-License-Identifier: MIT
"""A server that refuses clients which ask too often, as a real one does; off unless it is switched on."""

from __future__ import annotations

import json

import pytest
import requests

pytestmark = pytest.mark.integration


def check_refused(answer: requests.Response, limit: str) -> None:
    assert (answer.status_code, answer.text) == (429, "Too many requests, please try again later.")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 0 < int(answer.headers["retry-after"]) <= 3600
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == (limit, "0")


def test_requests_lists_and_submissions_have_limits_of_their_own(start_server):
    server = start_server("--rate-limits", "10:2:1")
    for _ in range(2):
        answer = server.get("/api/v2/jobs?limit=0")
        assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (200, "2")
    check_refused(server.get("/api/v2/jobs?limit=0"), "2")
    other = {"username": "bob", "password": "bob-password"}
    assert server.post("/api/v2/users", json=other).headers["x-ratelimit-limit"] == "10"
    token = server.post("/api/v2/tokens", json=other).json()["token"]
    answer = server.get("/api/v2/jobs", headers={"Authorization": f"Bearer {token}"})
    assert answer.headers["x-ratelimit-remaining"] == "1"
    first = server.submit(server.document("one", "true"))
    assert (first.status_code, first.headers["x-ratelimit-limit"]) == (202, "1")
    check_refused(server.submit(json.dumps({"not": "even valid"})), "1")
    for _ in range(2):
        assert server.get("/api/v2/info").status_code == 200
    check_refused(server.get("/rest-server/api/v2/info"), "10")
    assert server.get("/local/v1/status").status_code == 200


def test_limits_are_kept_over_a_restart_and_can_be_switched_off(start_server, tmp_path):
    server = start_server("--rate-limits")
    assert server.get("/api/v2/info").headers["x-ratelimit-limit"] == "600"
    assert server.get("/api/v2/jobs").headers["x-ratelimit-limit"] == "120"
    assert server.stop() == 0
    again = start_server()
    assert again.get("/api/v2/info").headers["x-ratelimit-limit"] == "600"
    assert again.stop() == 0
    off = start_server("--rate-limits", "off")
    assert off.get("/api/v2/info").headers["x-ratelimit-limit"] == "1000000"
    assert "error" in start_server("--rate-limits", "1:2", home=tmp_path / "other").ready
