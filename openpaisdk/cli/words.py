# SPDX-License-Identifier: MIT
"""Which words of a command line belong together, told before a parser is loaded."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def wants_value(word: str, takes_value: Mapping[str, bool]) -> bool:
    """Return whether the word that follows ``word``, one option or several short ones, is a value.

    Args:
        word: ``--long``, ``--long=value``, ``-s``, ``-svalue`` or ``-abc``.
        takes_value: Every known option, and whether it takes a value.

    Raises:
        KeyError: ``word`` holds an option that is not known.
    """
    if word.startswith("--"):
        name, joined, _ = word.partition("=")
        return takes_value[name] and not joined
    for place, letter in enumerate(word[1:], 2):
        if takes_value[f"-{letter}"]:
            return place == len(word)
    return False
