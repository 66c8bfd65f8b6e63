# SPDX-License-Identifier: MIT
"""How often passwords may be guessed."""

from __future__ import annotations

import asyncio

import pytest

from openpaisdk.local.access.guesses import GUESSES_MAX, WINDOW_S, Guesses
from openpaisdk.local.access.rate_limits import TooManyRequestsError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def guess(guesses: Guesses, name: str, *, fits: bool = False) -> bool:
    """Try a password; ``False`` when it is not even looked at."""
    try:
        async with guesses.turn(name):
            await asyncio.sleep(0)
            guesses.note(name, fits=fits)
    except TooManyRequestsError as exc:
        assert 0 < exc.retry_after_s <= WINDOW_S + 1
        return False
    return True


@pytest.mark.parametrize("at_once", [True, False])
def test_an_account_is_open_to_so_many_wrong_passwords_in_a_while(at_once):
    async def scenario():
        clock = Clock()
        guesses = Guesses(clock)
        tries = [guess(guesses, "alice") for _ in range(GUESSES_MAX + 5)]
        looked_at = await asyncio.gather(*tries) if at_once else [await one for one in tries]
        assert sum(looked_at) == GUESSES_MAX
        assert await guess(guesses, "bob")
        clock.now += WINDOW_S
        assert await guess(guesses, "alice")

    asyncio.run(scenario())


def test_right_passwords_are_never_too_many_and_make_wrong_ones_forgotten():
    async def scenario():
        guesses = Guesses(Clock())
        assert all(await asyncio.gather(*(guess(guesses, "alice", fits=True) for _ in range(100))))
        for _ in range(5):
            assert all([await guess(guesses, "alice") for _ in range(GUESSES_MAX - 1)])
            assert await guess(guesses, "alice", fits=True)

    asyncio.run(scenario())
