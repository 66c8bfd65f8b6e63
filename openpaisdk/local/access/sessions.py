# SPDX-License-Identifier: MIT
"""How a browser gets in without a password: a link that works once, exchanged for a cookie."""

from __future__ import annotations

import secrets
import time
from urllib.parse import quote

LINK_LIFETIME_S = 600
"""A link in a terminal's history opens nothing any more after this time."""
SESSION_LIFETIME_S = 12 * 3600
OPEN_LINKS_MAX = 10_000
"""Oldest links are forgotten beyond this number; a link is made for every submitted job."""


class PageSessions:
    """Links that were handed out and browsers that came by one; kept in memory only.

    Args:
        uri: Address of the server; the cookie's name holds its port, because cookies do not tell ports apart.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.cookie_name = f"openpai-local-{uri.rpartition(':')[2]}"
        self._links: dict[str, tuple[str, float]] = {}
        self._sessions: dict[str, tuple[str, float]] = {}

    def make_link(self, user: str, path: str) -> str:
        """Return an address of a page that lets ``user``'s browser in, once."""
        code = secrets.token_urlsafe(18)
        while len(self._links) >= OPEN_LINKS_MAX:
            del self._links[next(iter(self._links))]
        self._links[code] = (user, time.monotonic() + LINK_LIFETIME_S)
        return f"{self._uri}{quote(path, safe='/~')}?code={code}"

    def redeem(self, code: str) -> str | None:
        """Return a new session's cookie value for a link's code, ``None`` when that is used up or too old."""
        user, expires = self._links.pop(code, ("", 0.0))
        if time.monotonic() >= expires:
            return None
        now = time.monotonic()
        self._sessions = {key: entry for key, entry in self._sessions.items() if entry[1] > now}
        session = secrets.token_urlsafe(24)
        self._sessions[session] = (user, now + SESSION_LIFETIME_S)
        return session

    def set_cookie(self, session: str) -> str:
        """Return the ``Set-Cookie`` header of a session."""
        return (
            f"{self.cookie_name}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_LIFETIME_S}"
        )

    def forget(self, user: str) -> None:
        """End the sessions and links of a user."""
        for entries in (self._links, self._sessions):
            for key in [key for key, entry in entries.items() if entry[0] == user]:
                del entries[key]

    def user(self, cookie_header: str | None) -> str | None:
        """Return whose browser sends this ``Cookie`` header, ``None`` when it is nobody's."""
        for pair in (cookie_header or "").split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self.cookie_name:
                user, expires = self._sessions.get(value, ("", 0.0))
                return user if time.monotonic() < expires else None
        return None
