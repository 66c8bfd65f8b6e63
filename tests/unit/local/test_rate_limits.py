# SPDX-License-Identifier: MIT
"""How requests are counted, and when they are refused."""

from __future__ import annotations

import pytest

from openpaisdk.local.access.rate_limits import RateLimit, TooManyRequestsError, rate_of


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_each_client_may_ask_so_often_in_a_window(clock):
    limit = RateLimit(2, 60, now=clock)
    scope: dict = {}
    limit.take(scope, "alice")
    assert dict(rate_of(scope).headers()) == {
        b"x-ratelimit-limit": b"2",
        b"x-ratelimit-remaining": b"1",
        b"x-ratelimit-reset": b"1060",
    }
    limit.take({}, "alice")
    clock.now_s += 20
    with pytest.raises(TooManyRequestsError) as caught:
        limit.take(scope, "alice")
    assert caught.value.retry_after_s == 40
    assert rate_of(scope).remaining == 0
    limit.take({}, "bob")
    clock.now_s += 40
    limit.take({}, "alice")


def test_a_clock_that_is_set_back_locks_nobody_out(clock):
    limit = RateLimit(1, 60, now=clock)
    limit.take({}, "alice")
    clock.now_s -= 100_000
    limit.take({}, "alice")
    with pytest.raises(TooManyRequestsError):
        limit.take({}, "alice")
