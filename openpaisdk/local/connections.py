# SPDX-License-Identifier: MIT
"""What one client may cost the server before it has said who it is: connections, bytes of a head, patience.

Every process of this machine can connect to loopback, also those of other users. uvicorn bounds none of
this, and a server without descriptors left can neither start a task nor write a log.
"""

from __future__ import annotations

import asyncio
import resource
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 128 * 1024
"""Address and headers of a request together."""
HEADERS_MAX = 200
FRUITLESS_BYTES_MAX = 512 * 1024
"""So much may come with no head and no piece of a body in it: the parser keeps a header until its end."""
HEAD_TIMEOUT_S = 20.0
"""A request's head has to be complete after this time, however steadily it drips."""
BODY_TIMEOUT_S = 60.0
"""A body may pause for so long."""
_CONNECTIONS_MAX = 2000


def connections_max() -> int:
    """Return how many connections leave enough descriptors for tasks, logs and files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS_MAX if limit == resource.RLIM_INFINITY else min(_CONNECTIONS_MAX, limit // 2)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with bounds on what a client may make the server wait for and keep."""

    _expects_head = True
    _expects_body = False
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _fruitless_bytes = 0
    _began = 0.0
    _heard = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection; where there are too many, the one that has been idle for longest goes."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._began = self._heard = self.loop.time()
        self._wait(HEAD_TIMEOUT_S)
        if len(self.connections) > connections_max():
            others = cast("set[BoundedProtocol]", self.connections)
            idle = [connection for connection in others if connection.is_idle]
            min(idle, key=lambda connection: connection._heard).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for the rest of it for a while only."""
        self._heard = self.loop.time()
        self._fruitless_bytes += len(data)
        super().data_received(data)
        if self._fruitless_bytes > FRUITLESS_BYTES_MAX:
            self.transport.abort()
        elif not (self._expects_head or self._expects_body):
            self._stop_waiting()
        elif self._timer is None:
            self._wait(HEAD_TIMEOUT_S if self._expects_head else BODY_TIMEOUT_S)

    # --- what the parser finds -----------------------------------------------------------------
    def on_message_begin(self) -> None:
        """Begin to count."""
        self._head_bytes = 0
        self._began = self._heard
        self._expects_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        self._expects_head = False
        self._expects_body = True
        self._fruitless_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._fruitless_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that nothing more is to come."""
        self._expects_body = False
        self._fruitless_bytes = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            raise ValueError("the head is too large")  # the parser hands it on, and 400 is the answer

    # --- patience ------------------------------------------------------------------------------
    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Close the connection when its client has kept us waiting for too long."""
        self._timer = None
        if self._expects_head:
            left = self._began + HEAD_TIMEOUT_S - self.loop.time()
        elif self.flow.read_paused:  # it is us who are slow
            left = BODY_TIMEOUT_S
        else:
            left = self._heard + BODY_TIMEOUT_S - self.loop.time()
        if left > 0:
            self._wait(left)
        elif not self.transport.is_closing():
            self.transport.abort()
