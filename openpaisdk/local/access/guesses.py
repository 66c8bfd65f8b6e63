# SPDX-License-Identifier: MIT
"""How often passwords may be guessed: a chosen one may be short, and everybody on this machine can try."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

GUESSES_MAX = 10
WINDOW_S = 60


class Guesses:
    """Counts logins that did not succeed, for each account.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moments: dict[str, deque[float]] = {}

    def wait_s(self, name: str) -> int:
        """Return how long the next login of this account has to wait; 0 counts as one that is made now.

        It counts before it is known to fail: many at once are no way around.
        """
        now = self._clock()
        moments = self._moments.setdefault(name, deque(maxlen=GUESSES_MAX))
        if len(moments) == GUESSES_MAX and now - moments[0] < WINDOW_S:
            return int(WINDOW_S - (now - moments[0])) + 1
        moments.append(now)
        return 0

    def succeeded(self, name: str) -> None:
        """Forget the guesses of an account whose user knew the password."""
        self._moments.pop(name, None)
