# SPDX-License-Identifier: MIT
"""The least client there can be, so that what is measured is the server: HTTP/1.1 over kept sockets."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

_BUFFER_BYTES = 256 * 1024


def request_bytes(
    port: int, method: str, path: str, token: str = "", body: bytes = b"", kind: str = "application/json"
) -> bytes:
    """Return a request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection:
    """One connection; ``request`` sends a request and returns status and body."""

    def __init__(self, port: int, token: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = port
        self._token = token

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, method: str, path: str, value: Any = None) -> None:
        """Send a request without waiting for its answer."""
        body = b"" if value is None else json.dumps(value).encode()
        self.socket.sendall(request_bytes(self._port, method, path, self._token, body))

    def request(self, method: str, path: str, value: Any = None) -> tuple[int, bytes]:
        """Send a request, with a value as JSON, and return the status and the body."""
        self.send(method, path, value)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """Wait for an answer and return its status and body."""
        answer = _Answer()
        while not answer.is_whole:
            answer.add(self.socket.recv(_BUFFER_BYTES))
        return answer.status, answer.body

    def json(self, method: str, path: str, value: Any = None) -> Any:
        """Send a request and return the value in its answer, which must be a success."""
        status, body = self.request(method, path, value)
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {body[:200]!r}")
        return json.loads(body)


class _Answer:
    """An answer as it comes in; one with a Content-Length."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing: int | None = None

    @property
    def is_whole(self) -> bool:
        return self._missing == 0

    def add(self, piece: bytes) -> None:
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._pieces.append(piece)
        if self._missing is not None:
            self._missing -= len(piece)
            return
        data = b"".join(self._pieces)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = data[:end].lower()
        start = head.index(b"content-length:") + len(b"content-length:")
        length = int(head[start:].split(b"\r", 1)[0])
        self._missing = end + 4 + length - len(data)

    @property
    def status(self) -> int:
        return int(self._pieces[0][9:12])

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces).partition(b"\r\n\r\n")[2]


def closed_loop(
    port: int, requests: Iterator[bytes], *, clients: int, seconds: float = 60.0, status: int = 200
) -> tuple[list[float], float]:
    """Let clients send one request after the other until time or requests run out.

    Returns:
        The seconds that each answer took, in the order in which they came, and the seconds of the whole.
    """
    selector = selectors.DefaultSelector()
    taken: list[float] = []
    connections = [Connection(port) for _ in range(clients)]
    begin = time.perf_counter()
    deadline = begin + seconds
    waiting = 0
    for connection in connections:
        first = next(requests, None)
        if first is not None:
            selector.register(connection.socket, selectors.EVENT_READ, (_Answer(), time.perf_counter()))
            connection.socket.sendall(first)
            waiting += 1
    while waiting:
        for key, _ in selector.select(10):
            answer, sent_at = key.data
            answer.add(key.fileobj.recv(_BUFFER_BYTES))  # type: ignore[union-attr]
            if not answer.is_whole:
                continue
            now = time.perf_counter()
            taken.append(now - sent_at)
            if answer.status != status:
                raise SystemExit(f"{answer.status} instead of {status}: {answer.body[:200]!r}")
            following = next(requests, None) if now < deadline else None
            if following is None:
                selector.unregister(key.fileobj)
                waiting -= 1
                continue
            selector.modify(key.fileobj, selectors.EVENT_READ, (_Answer(), time.perf_counter()))
            key.fileobj.sendall(following)  # type: ignore[union-attr]
    whole = time.perf_counter() - begin
    for connection in connections:
        connection.socket.close()
    selector.close()
    return taken, whole
