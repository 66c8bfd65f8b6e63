# SPDX-License-Identifier: MIT
"""A server that exists only on paper: what it was asked, and what it answers, in the shapes of a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openpaisdk.http.connection import TransportError
from openpaisdk.rest.transport import Request, Response, Transport

RECORDED = json.loads((Path(__file__).parent / "fixtures" / "rest" / "replies.json").read_text("utf-8"))


class FakeTransport(Transport):
    """Answers requests in order with what it was given; an exception is raised."""

    def __init__(self) -> None:
        self.answers: list[Response | Exception] = []
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        if not self.answers:
            raise AssertionError(f"unexpected request {request}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def will_answer(self, *answers: Response | Exception) -> None:
        self.answers += answers

    @property
    def sent(self) -> list[str]:
        return [f"{request.method} {request.url}" for request in self.requests]


def recorded(name: str) -> Response:
    """Return a recorded reply."""
    reply = RECORDED[name]["response"]
    body = json.dumps(reply["json"]) if "json" in reply else reply["text"]
    return Response(reply["status"], reply["headers"], body.encode())


def reply(value: Any = None, status: int = 200, **headers: str) -> Response:
    """Return a reply with a JSON value."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status, {"content-type": "application/json", **named}, json.dumps(value).encode())


def broken(kind: str = "reset", *, sent: bool = True) -> TransportError:
    """Return what a transport raises when no answer comes."""
    return TransportError(kind, "pai.example:80: connection " + kind, sent=sent)


LOG_PATH = "/api/v2/jobs/alice~j/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs"


def log_detail(state: str = "RUNNING", *, pod: str = "p0", tasks: int = 1, **status: Any) -> dict[str, Any]:
    """Return the detail of a job whose tasks have logs."""
    statuses = [
        {"taskIndex": index, "containerId": pod, "containerLog": LOG_PATH, "launchedTime": 1, "attemptId": 0}
        for index in range(tasks)
    ]
    return {"jobStatus": {"state": state, **status}, "taskRoles": {"worker": {"taskStatuses": statuses}}}


def log_locations(*names: str) -> dict[str, Any]:
    """Return where the logs of these names are."""
    return {"locations": [{"name": name, "uri": f"/log-manager/{name}?token=x"} for name in names]}


def log_content(text: str | bytes, status: int = 200, **headers: str) -> Response:
    """Return a piece of a log."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, text.encode() if isinstance(text, str) else text)
