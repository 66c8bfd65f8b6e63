# SPDX-License-Identifier: MIT
"""The outermost layer of the server: who may talk to it at all, and how errors become answers.

A web page that the user has open elsewhere can send requests to loopback. So the ``Host`` must be a loopback
name with our port (a foreign name that resolves to 127.0.0.1 is refused), and so is what another site makes a
browser send, but for a link to a page of ours that somebody follows. There are no CORS headers.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import MutableMapping
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from openpaisdk.errors import OpenPaiError
from openpaisdk.local.access.rate_limits import (
    UNLIMITED,
    Rate,
    RateLimits,
    TooManyRequestsError,
    rate_of,
)
from openpaisdk.local.api_error import ApiError
from openpaisdk.local.routing import to_json

_log = logging.getLogger("openpaisdk.local")

GATEWAY_PREFIX = "/rest-server/api"
"""How OpenPAI's gateway names the API (rest-api-v2 §1)."""
_OUR_SITES = (b"same-origin", b"none")
"""Values of ``Sec-Fetch-Site``: our own pages, and what the user does; another port is ``same-site``."""
_TOKEN_LENGTH_MIN = 64
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class CommonHeaders:
    """The headers of every answer, made anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._unlimited: list[tuple[bytes, bytes]] = []

    def now(self, rate: Rate | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer, ``rate`` being what was counted for its request."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [
                (b"date", formatdate(second, usegmt=True).encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cross-origin-resource-policy", b"same-origin"),
            ]
            unlimited = Rate(UNLIMITED, UNLIMITED - 1, second + 60)
            self._unlimited = [*self._headers, *unlimited.headers()]
        return self._unlimited if rate is None else [*self._headers, *rate.headers()]


class Gate:
    """Lets loopback clients pass to the application and words its errors.

    Args:
        application: What answers the requests.
        port: The server's own port, part of the names that it answers to.
        limits: How often clients may ask; ``None``: as often as they like.
    """

    def __init__(self, application: ASGIApp, port: int, limits: RateLimits | None = None) -> None:
        self._application = application
        self._limits = limits
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}".encode() for name in names}
        if port == 80:
            self._hosts |= {name.encode() for name in names}
        self._origins = {b"http://" + host for host in self._hosts}
        self._common = CommonHeaders()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = False

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *self._common.now(rate_of(scope))]
            await send(message)

        try:
            self._check_sender(scope)
            path: str = scope["path"]
            if path.startswith(GATEWAY_PREFIX):
                scope["path"] = path = path[len("/rest-server") :]
            if self._limits is not None and path.startswith("/api"):
                self._limits.requests.take(scope, scope["client"][0])
            await self._application(scope, receive, send_with_headers)
        except TooManyRequestsError as refusal:
            await _send_too_many(send_with_headers, refusal)
        except ApiError as refusal:
            await _send_json(send_with_headers, refusal.status, to_json(refusal.body()))
        except Exception as exc:  # whatever goes wrong in one request must not end the server
            _log.exception("a request failed: %s %s", scope["method"], _loggable(scope["path"]))
            if started:
                raise
            body = {"code": "UnknownError", "message": _reason(exc)}
            await _send_json(send_with_headers, 500, to_json(body))

    def _check_sender(self, scope: Scope) -> None:
        host = origin = site = mode = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value if host is None else b""  # two are none
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"sec-fetch-mode":
                mode = value
        if host is None or host.lower() not in self._hosts:
            raise ApiError(403, "ForbiddenUserError", "This server answers only to its loopback address.")
        follows_link = mode == b"navigate" and scope["method"] == "GET"
        if (origin is not None and origin.lower() not in self._origins) or (
            site is not None and site not in _OUR_SITES and not follows_link
        ):
            raise ApiError(403, "ForbiddenUserError", "Requests from other web sites are not allowed.")


def _loggable(path: str) -> str:
    """Return a path without what may be a token; one is part of the address that revokes it."""
    return "/".join(part if len(part) < _TOKEN_LENGTH_MIN else "…" for part in path.split("/"))


def _reason(exc: Exception) -> str:
    """Return what the user can do something about, such as a full disk; of all else, the log has it."""
    if isinstance(exc, OpenPaiError):
        return f"{exc.message} ({exc.hint})" if exc.hint else exc.message
    if isinstance(exc, OSError) and exc.errno in _DISK_ERRORS:
        return f"the disk of the embedded cluster cannot be written: {exc.strerror}"
    if isinstance(exc, sqlite3.Error):
        return f"a database of the embedded cluster cannot be used: {exc}"
    return "internal error"


async def _send_json(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_too_many(send: Send, refusal: TooManyRequestsError) -> None:
    body = refusal.message.encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(refusal.retry_after_s).encode()),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
