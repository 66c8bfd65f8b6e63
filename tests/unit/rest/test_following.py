# SPDX-License-Identifier: MIT
"""Following a job by the stream of events that the embedded cluster sends."""

from __future__ import annotations

import base64
import json
from typing import Any

from openpaisdk.rest.following import follow_stream
from openpaisdk.rest.transport import Response

END = {"type": "end", "state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0}


def stream(*events: dict[str, Any]) -> Response:
    return Response(200, {}, b"".join(json.dumps(event).encode() + b"\n" for event in events))


def log(end: int, **content: str) -> dict[str, Any]:
    return {"type": "log", "role": "worker", "index": 0, "attempt": 0, "end": end, **content}


def follow(client: Any) -> list[dict[str, Any]]:
    options = {"role": None, "index": None, "stream": "all", "tail": None, "name": "j"}
    return list(follow_stream(client, "alice~j", **options, sleep=lambda seconds: None))


def test_bytes_that_are_not_utf8_survive(client: Any, transport: Any) -> None:
    data = b"\xe9t\xe9\n"
    begin = {"type": "begin", "job_attempt": 0, "tasks": []}
    transport.will_answer(stream(begin, log(4, base64=base64.b64encode(data).decode()), END))
    first, last = follow(client)
    assert first == {
        "type": "log",
        "role": "worker",
        "index": 0,
        "attempt": 0,
        "text": data.decode("utf-8", "surrogateescape"),
    }
    assert last == END


def test_a_note_of_what_was_dropped_moves_the_place_on(client: Any, transport: Any) -> None:
    note = {"type": "note", "role": "worker", "index": 0, "attempt": 0, "end": 900, "text": "dropped"}
    transport.will_answer(stream({"type": "begin", "job_attempt": 0, "tasks": []}, note))
    transport.will_answer(stream({"type": "begin", "job_attempt": 0, "tasks": []}, END))
    assert follow(client) == [{"type": "note", "text": "dropped"}, END]
    assert "after=0,worker.0.0.900" in transport.requests[1].url
