# SPDX-License-Identifier: MIT
"""Sends requests over plain sockets."""

from __future__ import annotations

from openpaisdk.http.connection import Body, Connection, ConnectionPool, TransportError
from openpaisdk.http.urls import split_url
from openpaisdk.rest.transport import Response, Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from openpaisdk.http.urls import Url
    from openpaisdk.rest.transport import Request


class SocketTransport(Transport):
    """Serves plain http; a connection goes back to the pool once its response has been read."""

    def __init__(self) -> None:
        self._pool = ConnectionPool()

    def send(self, request: Request) -> Response:
        url = split_url(request.url)
        message = _encode(request, url)
        connection = self._pool.take(url)
        if connection is not None:
            try:
                return self._exchange(connection, request, message)
            except TransportError as exc:
                # The server may have closed an idle connection just when we used it: once more, afresh.
                if exc.kind != "reset" or connection.has_answered or not request.is_idempotent:
                    raise
        connection = Connection(url, request.timeout[0])
        return self._exchange(connection, request, message)

    def close(self) -> None:
        self._pool.close()

    def _exchange(self, connection: Connection, request: Request, message: bytes) -> Response:
        try:
            connection.socket.settimeout(request.timeout[1])
            connection.write(message)
            status, headers = connection.read_head()
        except BaseException:
            connection.close()
            raise
        return Response(status, headers, Body(connection, self._pool, status, headers, request.method))


def _encode(request: Request, url: Url) -> bytes:
    lines = [f"{request.method} {url.path} HTTP/1.1", f"Host: {url.authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body is not None or request.method in ("POST", "PUT", "DELETE"):
        lines.append(f"Content-Length: {len(request.body or b'')}")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise TransportError("reset", "a line break in an address or header", sent=False)
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (request.body or b"")
