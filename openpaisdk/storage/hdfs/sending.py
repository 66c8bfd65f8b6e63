# SPDX-License-Identifier: MIT
"""The seam between WebHDFS operations and the wire, and its plain side: sockets and one reused buffer."""

from __future__ import annotations

import threading

from openpaisdk.http.connection import Body as ReplyBody
from openpaisdk.http.connection import Connection, ConnectionPool, TransportError
from openpaisdk.http.urls import split_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from typing import Any, Protocol

    from openpaisdk.http.urls import Url

    Body = io.RawIOBase

    class Reply(Protocol):
        """An answer whose head was read; its body is read once, in one of two ways."""

        status: int
        headers: dict[str, str]

        def read(self) -> bytes:
            """Return the whole body."""

        def read_into(self, view: memoryview) -> int:
            """Read a piece of the body; 0 at its end."""

        def close(self) -> None:
            """Let go of the connection."""

    class Sender(Protocol):
        """Sends one request; redirects are not followed.

        ``body`` is a stream that is sent to its end; where it has a length (``__len__``) it is said.
        Raises ``TransportError`` when no answer comes.
        """

        def send(self, method: str, url: str, body: Body | None = None) -> Reply:
            """Return the answer."""

        def close(self) -> None:
            """Hang up."""


PIECE_BYTES = 1 << 20
_CONTENT_TYPE = "Content-Type: application/octet-stream\r\n"
"""HttpFS takes file data under this type only."""


class PlainSender:
    """Plain http without proxies.

    Args:
        timeout: Longest wait for a connection and for each answer, in seconds.
    """

    def __init__(self, timeout: tuple[float, float]) -> None:
        self._timeout = timeout
        self._pool = ConnectionPool()

    def send(self, method: str, url: str, body: Body | None = None) -> PlainReply:
        place = split_url(url)
        head = _head(method, place, body)
        connection = self._pool.take(place) if body is None else None
        if connection is not None:
            try:
                return self._exchange(connection, method, head, None)
            except TransportError as exc:
                # The server may have closed an idle connection just when we used it: once more, afresh.
                if exc.kind != "reset" or connection.has_answered:
                    raise
        return self._exchange(Connection(place, self._timeout[0]), method, head, body)

    def close(self) -> None:
        self._pool.close()

    def _exchange(self, connection: Connection, method: str, head: bytes, body: Body | None) -> PlainReply:
        try:
            connection.socket.settimeout(self._timeout[1])
            if body is None:
                connection.write(head)
                status, headers = connection.read_head()
            else:
                status, headers = _send_body(connection, head, body)
        except BaseException:
            connection.close()
            raise
        return PlainReply(status, headers, ReplyBody(connection, self._pool, status, headers, method))


class PlainReply:
    """An answer over a plain socket."""

    def __init__(self, status: int, headers: dict[str, str], body: ReplyBody) -> None:
        self.status = status
        self.headers = headers
        self._body = body
        self._rest = b""

    def read(self) -> bytes:
        return b"".join(self._body)

    def read_into(self, view: memoryview) -> int:
        if self._body.has_length:
            return self._body.read_into(view)
        if not self._rest:
            self._rest = next(self._body, b"")
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._body.close()


def _head(method: str, url: Url, body: Body | None) -> bytes:
    lines = f"{method} {url.path} HTTP/1.1\r\nHost: {url.authority}\r\n"
    if body is None:
        lines += "Content-Length: 0\r\n" if method in ("PUT", "POST") else ""
    else:
        size = body_length(body)
        lines += _CONTENT_TYPE
        lines += "Transfer-Encoding: chunked\r\n" if size is None else f"Content-Length: {size}\r\n"
    if " " in url.path or "\n" in url.path or "\r" in url.path:
        raise TransportError("reset", "a blank or line break in an address", sent=False)
    return f"{lines}\r\n".encode("latin-1")


def body_length(body: Any) -> int | None:
    """Return the length of a body that knows it."""
    return len(body) if hasattr(body, "__len__") else None


_of_thread = threading.local()


def thread_buffer() -> memoryview:
    """Return the buffer of this thread: made once, because fresh memory costs more than the copy."""
    view: memoryview | None = getattr(_of_thread, "view", None)
    if view is None:
        view = _of_thread.view = memoryview(bytearray(PIECE_BYTES))
    return view


def _send_body(connection: Connection, head: bytes, body: Any) -> tuple[int, dict[str, str]]:
    """Send a body and return the head of the answer; a server may also refuse in the middle and hang up."""
    view = thread_buffer()
    is_chunked = body_length(body) is None
    first = True
    try:
        while size := body.readinto(view):
            if is_chunked:
                connection.write((head if first else b"") + b"%x\r\n" % size)
                connection.write(view[:size])
                connection.write(b"\r\n")
            elif first and size < PIECE_BYTES // 8:
                connection.write(head + view[:size])  # a small file goes out in one piece
            else:
                if first:
                    connection.write(head)
                connection.write(view[:size])
            first = False
            if not connection.buffer:
                connection.take_early()
        if is_chunked:
            connection.write((head if first else b"") + b"0\r\n\r\n")
        elif first:
            connection.write(head)
    except TransportError as broken:
        try:
            return connection.read_head()
        except TransportError:
            raise broken from None
    return connection.read_head()
