# SPDX-License-Identifier: MIT
"""How often clients may ask, counted as a real server counts (rest-api-v2 §1.3). Off unless switched on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

from openpaisdk.local.api_error import ApiError

LIMITS = (600, 120, 3600)
"""Requests a minute of a client, lists of jobs a minute and submissions an hour of a user: what OpenPAI's
installer configures.
"""
UNLIMITED = 1_000_000
"""Shown to clients that read the headers of a server that refuses nobody."""
_SCOPE_KEY = "openpaisdk.rate"
_MINUTE_S, _HOUR_S = 60, 3600


@dataclass(frozen=True, slots=True)
class Rate:
    """What the ``X-RateLimit-*`` headers of an answer say."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers."""
        return [
            (b"x-ratelimit-limit", b"%d" % self.limit),
            (b"x-ratelimit-remaining", b"%d" % self.remaining),
            (b"x-ratelimit-reset", b"%d" % self.reset_s),
        ]


class TooManyRequestsError(ApiError):
    """A client has used up what it may ask for.

    Args:
        retry_after_s: When it may ask again.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(429, None, "Too many requests, please try again later.")
        self.retry_after_s = retry_after_s


class RateLimit:
    """Counts requests in windows of fixed length; all clients' counts begin anew together.

    Args:
        limit: How many requests of one client are answered in a window.
        window_s: Length of a window in seconds.
        now: The time in seconds since the epoch.
    """

    def __init__(self, limit: int, window_s: int, *, now: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._window_s = window_s
        self._now = now
        self._reset_s = 0.0
        self._counts: dict[str, int] = {}

    def take(self, scope: Scope, client: str) -> None:
        """Count a request of a client, and note what its answer has to say about it.

        Raises:
            TooManyRequestsError: It is one too many.
        """
        now = self._now()
        if not now < self._reset_s <= now + self._window_s:  # a clock may have been set back
            self._counts.clear()
            self._reset_s = now + self._window_s
        count = self._counts[client] = self._counts.get(client, 0) + 1
        scope[_SCOPE_KEY] = Rate(self._limit, max(0, self._limit - count), math.ceil(self._reset_s))
        if count > self._limit:
            raise TooManyRequestsError(math.ceil(self._reset_s - now))


class RateLimits:
    """The three limits of a server.

    Args:
        requests_per_minute: Of one address.
        lists_per_minute: Of jobs, of one user.
        submissions_per_hour: Of one user.
    """

    def __init__(self, requests_per_minute: int, lists_per_minute: int, submissions_per_hour: int) -> None:
        self.requests = RateLimit(requests_per_minute, _MINUTE_S)
        self.lists = RateLimit(lists_per_minute, _MINUTE_S)
        self.submissions = RateLimit(submissions_per_hour, _HOUR_S)


def rate_of(scope: Scope) -> Rate | None:
    """Return what was noted for the answer to a request."""
    rate: Rate | None = scope.get(_SCOPE_KEY)
    return rate
