# SPDX-License-Identifier: MIT
"""Passwords cannot be guessed quickly."""

from __future__ import annotations

from openpaisdk.local.access.guesses import GUESSES_MAX, WINDOW_S, Guesses


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_account_is_open_to_so_many_guesses_in_a_while():
    clock = Clock()
    guesses = Guesses(clock)
    assert [guesses.wait_s("alice") for _ in range(GUESSES_MAX)] == [0] * GUESSES_MAX
    assert 0 < guesses.wait_s("alice") <= WINDOW_S + 1
    assert guesses.wait_s("bob") == 0
    clock.now += WINDOW_S
    assert guesses.wait_s("alice") == 0


def test_the_right_password_makes_the_account_as_new():
    guesses = Guesses(Clock())
    for _ in range(3 * GUESSES_MAX):
        assert guesses.wait_s("alice") == 0
        guesses.succeeded("alice")
