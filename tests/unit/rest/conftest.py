# SPDX-License-Identifier: MIT
"""A server that exists only on paper, and replies recorded from a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openpaisdk._secret import Secret
from openpaisdk.rest.client import RestClient
from openpaisdk.rest.transport import Request, Response, Transport, TransportError

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "rest" / "replies.json").read_text("utf-8"))


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


@pytest.fixture
def transport() -> Iterator[FakeTransport]:
    fake = FakeTransport()
    yield fake
    assert not fake.answers, "replies that nobody asked for"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def make_client(transport: FakeTransport, pauses: list[float]) -> Callable[..., RestClient]:
    def make(uri: str = "http://pai.example", **options: Any) -> RestClient:
        options.setdefault("user", "alice")
        if "password" not in options:
            options.setdefault("token", Secret("a-token"))
        return RestClient(uri, transport=transport, sleep=pauses.append, **options)

    return make


@pytest.fixture
def client(make_client: Callable[..., RestClient]) -> RestClient:
    return make_client()


@pytest.fixture
def answers() -> Any:
    """The makers of replies, for tests to use by name."""

    class Answers:
        pass

    made = Answers()
    made.recorded = recorded  # type: ignore[attr-defined]
    made.reply = reply  # type: ignore[attr-defined]
    made.broken = broken  # type: ignore[attr-defined]
    return made
