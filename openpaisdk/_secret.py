# SPDX-License-Identifier: MIT
"""A text that does not show itself."""

from __future__ import annotations

MASK = "***"


class Secret:
    """Holds a password or token: ``repr``, ``str`` and formatting show ``***``, ``reveal()`` the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, to be sent and never to be shown."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _format_spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)
