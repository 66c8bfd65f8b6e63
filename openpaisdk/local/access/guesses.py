# SPDX-License-Identifier: MIT
"""How often passwords may be guessed: a chosen one may be short, and everybody on this machine can try."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from openpaisdk.local.access.rate_limits import TooManyRequestsError

GUESSES_MAX = 10
WINDOW_S = 60


class Guesses:
    """Counts wrong passwords, for each account.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moments: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=GUESSES_MAX))
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Let one password of an account be tried at a time: many at once are no way around.

        Raises:
            TooManyRequestsError: Too many were wrong lately.
        """
        async with self._turns[name]:
            moments = self._moments[name]
            if len(moments) == GUESSES_MAX and (passed_s := self._clock() - moments[0]) < WINDOW_S:
                raise TooManyRequestsError(int(WINDOW_S - passed_s) + 1)
            yield

    def note(self, name: str, *, fits: bool) -> None:
        """Take notice of a password that was tried; the right one makes the wrong ones forgotten."""
        if fits:
            self._moments[name].clear()
        else:
            self._moments[name].append(self._clock())
