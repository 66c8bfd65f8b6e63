# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from openpaisdk.http.connection import TransportError
from openpaisdk.rest.retry import DELAYS_S, send_with_retries
from openpaisdk.rest.transport import Request, Response

GET = Request("GET", "http://pai.example/x")
POST = Request("POST", "http://pai.example/x", body=b"{}")


def test_an_idempotent_request_survives_broken_connections(transport: Any, pauses: Any, answers: Any) -> None:
    transport.will_answer(answers.broken("reset"), answers.broken("refused"), answers.reply("fine"))
    assert send_with_retries(transport, GET, sleep=pauses.append).json() == "fine"
    assert pauses == list(DELAYS_S[:2])


def test_a_body_that_breaks_off_is_asked_for_again(transport: Any, pauses: Any, answers: Any) -> None:
    def half() -> Iterator[bytes]:
        yield b'"fi'
        raise answers.broken()

    transport.will_answer(Response(200, {}, half()), answers.reply("fine"))
    assert send_with_retries(transport, GET, sleep=pauses.append).json() == "fine"
    assert pauses == [DELAYS_S[0]]


def test_a_body_that_is_streamed_is_left_to_the_caller(transport: Any, pauses: Any) -> None:
    pieces = iter([b"one", b"two"])
    transport.will_answer(Response(200, {}, pieces))
    response = send_with_retries(transport, GET, sleep=pauses.append, stream=True)
    assert next(response.iter_bytes()) == b"one"


def test_a_post_that_only_looks_is_repeated(transport: Any, pauses: Any, answers: Any) -> None:
    transport.will_answer(answers.broken(), answers.reply("fine"))
    request = Request("POST", "http://pai.example/x", body=b"{}", only_looks=True)
    assert send_with_retries(transport, request, sleep=pauses.append).json() == "fine"


def test_it_gives_up_in_the_end(transport: Any, pauses: Any, answers: Any) -> None:
    transport.will_answer(*[answers.broken() for _ in range(len(DELAYS_S) + 1)])
    with pytest.raises(TransportError):
        send_with_retries(transport, GET, sleep=pauses.append)


def test_a_post_is_never_repeated_after_a_broken_connection(
    transport: Any, pauses: Any, answers: Any
) -> None:
    transport.will_answer(answers.broken())
    with pytest.raises(TransportError):
        send_with_retries(transport, POST, sleep=pauses.append)
    assert pauses == []


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_busy_gateway_is_asked_again(transport: Any, pauses: Any, answers: Any, status: int) -> None:
    transport.will_answer(answers.reply(status=status), answers.reply("fine"))
    assert send_with_retries(transport, GET, sleep=pauses.append).status == 200


def test_a_busy_gateway_is_not_posted_to_again(transport: Any, pauses: Any, answers: Any) -> None:
    transport.will_answer(answers.reply(status=503))
    assert send_with_retries(transport, POST, sleep=pauses.append).status == 503


def test_any_request_waits_as_long_as_a_rate_limit_asks(transport: Any, pauses: Any, answers: Any) -> None:
    limited = [answers.reply(status=429, retry_after="20") for _ in range(3)]
    transport.will_answer(*limited, answers.reply("fine"))
    assert send_with_retries(transport, POST, sleep=pauses.append).status == 200
    assert pauses == [20.0, 20.0, 20.0]


def test_waits_of_more_than_a_minute_are_reported_instead(transport: Any, pauses: Any, answers: Any) -> None:
    transport.will_answer(answers.reply(status=429, retry_after="3600"))
    assert send_with_retries(transport, POST, sleep=pauses.append).status == 429
    assert pauses == []


def test_a_date_as_retry_after_is_a_short_wait(transport: Any, pauses: Any, answers: Any) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    transport.will_answer(answers.reply(status=429, retry_after=date), answers.reply("fine"))
    assert send_with_retries(transport, GET, sleep=pauses.append).status == 200
    assert pauses == [1.0]


@pytest.mark.parametrize("kind", ["dns", "read-timeout", "connect-timeout", "tls"])
def test_what_will_not_get_better_is_reported_at_once(
    transport: Any, pauses: Any, answers: Any, kind: str
) -> None:
    transport.will_answer(answers.broken(kind))
    with pytest.raises(TransportError):
        send_with_retries(transport, GET, sleep=pauses.append)
