# SPDX-License-Identifier: MIT
"""Who may talk to the server, and how errors become answers."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from openpaisdk.local.api.gate import Gate
from openpaisdk.local.api_error import ApiError

PORT = 4321


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def call(application=hello, *, method="GET", path="/", **headers):
    headers = {"host": f"127.0.0.1:{PORT}", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"token=secret",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value is not None],
    }
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Gate(application, PORT)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    "host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"]
)
def test_loopback_names_with_our_port_are_answered(host):
    assert call(host=host)[0] == 200


@pytest.mark.parametrize(
    "host", [None, "", "127.0.0.1", f"evil.example:{PORT}", "127.0.0.1:1", f"127.0.0.1.evil.example:{PORT}"]
)
def test_other_hosts_are_refused(host):
    assert call(host=host)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_sites_change_nothing(method):
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1"):
        assert call(method=method, origin=origin)[0] == 403
    assert call(method=method, origin=f"http://127.0.0.1:{PORT}")[0] == 200
    assert call(method=method)[0] == 200


def test_no_other_site_may_read_an_answer():
    status, headers, _ = call(origin="http://evil.example")
    assert status == 200
    assert not [name for name in headers if name.startswith(b"access-control")]


def test_every_answer_tells_the_limits():
    headers = call()[1]
    assert {b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"date"} <= set(headers)


def test_the_gateways_prefix_is_taken_off():
    assert call(path="/rest-server/api/v2/info")[2] == b"/api/v2/info"
    assert call(path="/rest-server/x")[2] == b"/rest-server/x"


def test_a_refusal_becomes_its_answer():
    async def refuse(scope, receive, send):
        raise ApiError(409, "ConflictJobError", "Job a~b already exists.")

    status, headers, body = call(refuse)
    assert (status, headers[b"content-type"]) == (409, b"application/json; charset=utf-8")
    assert json.loads(body) == {"code": "ConflictJobError", "message": "Job a~b already exists."}


def test_an_error_without_a_code_has_none():
    async def refuse(scope, receive, send):
        raise ApiError(413, None, "request entity too large")

    assert json.loads(call(refuse)[2]) == {"message": "request entity too large"}


def test_a_fault_is_logged_without_the_query_and_answered_without_details(caplog):
    async def fail(scope, receive, send):
        raise RuntimeError("a fault inside")

    with caplog.at_level(logging.ERROR):
        status, _, body = call(fail)
    assert status == 500
    assert b"inside" not in body
    assert "a fault inside" in caplog.text
    assert "secret" not in caplog.text
