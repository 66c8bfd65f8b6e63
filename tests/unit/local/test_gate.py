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


def call(application=hello, *, method="GET", path="/", raw_headers=None, **headers):
    headers = {"host": f"127.0.0.1:{PORT}", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"token=secret",
        "headers": raw_headers
        or [(name.encode(), value.encode()) for name, value in headers.items() if value is not None],
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


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
def test_other_origins_are_refused(method):
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1", ""):
        assert call(method=method, origin=origin)[0] == 403
    assert call(method=method, origin=f"http://127.0.0.1:{PORT}")[0] == 200
    assert call(method=method)[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_causes_is_refused_but_for_a_link_that_is_followed(site):
    fetch = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
    assert call(**fetch)[0] == call(method="POST", **fetch)[0] == call(method="POST", **link)[0] == 403
    assert call(**link)[0] == 200
    assert call(**{"sec-fetch-site": "none", "sec-fetch-mode": "navigate"})[0] == 200
    assert call(method="POST", **{"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"})[0] == 200


def test_a_second_host_header_is_no_way_in():
    headers = [(b"host", b"evil.example"), (b"host", f"127.0.0.1:{PORT}".encode())]
    for given in (headers, headers[::-1], [headers[1]] * 2):
        assert call(raw_headers=given)[0] == 403


def test_no_other_site_may_read_or_embed_an_answer():
    _, headers, _ = call()
    assert not [name for name in headers if name.startswith(b"access-control")]
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"


def test_a_token_in_a_path_is_not_logged(caplog):
    async def fail(scope, receive, send):
        raise RuntimeError("a fault inside")

    token = "eyJhbGciOiJIUzI1NiJ9." + "x" * 100
    with caplog.at_level(logging.ERROR):
        call(fail, method="DELETE", path=f"/api/v2/tokens/{token}")
    assert "DELETE /api/v2/tokens/" in caplog.text
    assert token not in caplog.text


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
