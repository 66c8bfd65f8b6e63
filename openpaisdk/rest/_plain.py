# SPDX-License-Identifier: MIT
"""HTTP/1.1 over a plain socket, with connections kept alive: what a short command can afford at start."""

from __future__ import annotations

# The C module below ``socket``: the Python layer above it would double the start-up time of this client.
import _socket

from openpaisdk.rest.transport import Response, Transport, TransportError
from openpaisdk.rest.urls import split_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from openpaisdk.rest.transport import Request
    from openpaisdk.rest.urls import Url

_PIECE_BYTES = 1 << 16
_HEAD_LIMIT_BYTES = 1 << 16
_IDLE_PER_HOST = 8


class SocketTransport(Transport):
    """Serves plain http; a connection goes back to the pool once its response has been read."""

    def __init__(self) -> None:
        # Lists are taken from and added to in one step each, so threads need no lock here.
        self._idle: dict[tuple[str, int], list[_Connection]] = {}

    def send(self, request: Request) -> Response:
        url = split_url(request.url)
        message = _encode(request, url)
        idle = self._idle.setdefault((url.host, url.port), [])
        connection = _take_live(idle)
        if connection is not None:
            try:
                return self._exchange(connection, idle, request, message)
            except TransportError as exc:
                # The server may have closed an idle connection just when we used it: once more, afresh.
                if exc.kind != "reset" or connection.has_answered or not request.is_idempotent:
                    raise
        connection = _Connection(url, request.timeout[0])
        return self._exchange(connection, idle, request, message)

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    @staticmethod
    def _exchange(
        connection: _Connection, idle: list[_Connection], request: Request, message: bytes
    ) -> Response:
        try:
            connection.socket.settimeout(request.timeout[1])
            connection.write(message)
            status, headers = connection.read_head()
        except BaseException:
            connection.close()
            raise
        pieces = _Body(connection, idle, status, headers, request.method)
        return Response(status, headers, pieces)


class _Connection:
    """A socket and the bytes that came in but were not wanted yet."""

    __slots__ = ("buffer", "has_answered", "peer", "socket")

    def __init__(self, url: Url, timeout_s: float) -> None:
        self.peer = f"{url.host}:{url.port}"
        self.buffer = bytearray()
        self.has_answered = False
        self.socket = _connect(url, timeout_s, self.peer)

    def write(self, message: bytes) -> None:
        self.has_answered = False
        try:
            self.socket.sendall(message)
        except OSError as exc:
            raise TransportError(
                "reset", f"{self.peer} closed the connection: {_reason(exc)}", sent=True
            ) from exc

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Return status and headers of the next response that is not an interim one."""
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            while end < 0:
                if len(self.buffer) > _HEAD_LIMIT_BYTES:
                    raise TransportError("reset", f"{self.peer} does not speak HTTP", sent=True)
                if not self.fill():
                    raise TransportError(
                        "reset", f"{self.peer} closed the connection without an answer", sent=True
                    )
                end = self.buffer.find(b"\r\n\r\n")
            lines = self.buffer[:end].decode("latin-1").split("\r\n")
            del self.buffer[: end + 4]
            status = _parse_status(lines[0], self.peer)
            if status >= 200:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if lines[0].startswith("HTTP/1.0") and "connection" not in headers:
            headers["connection"] = "close"
        return status, headers

    def fill(self) -> bool:
        """Read what there is, at least one byte, into the buffer; false at the end of the stream."""
        try:
            piece = self.socket.recv(_PIECE_BYTES)
        except TimeoutError as exc:
            raise TransportError("read-timeout", f"{self.peer} did not answer in time", sent=True) from exc
        except OSError as exc:
            raise TransportError(
                "reset", f"{self.peer} closed the connection: {_reason(exc)}", sent=True
            ) from exc
        self.has_answered = self.has_answered or bool(piece)
        self.buffer += piece
        return bool(piece)

    def close(self) -> None:
        self.socket.close()

    def __del__(self) -> None:
        # An idle connection may go with its transport; there is nothing to warn of then.
        if hasattr(self, "socket"):
            self.socket.close()


class _Body:
    """Iterator over a response's body; gives the connection back at the end, closes it when left early."""

    __slots__ = ("_connection", "_idle", "_keep_alive", "_pieces")

    def __init__(
        self,
        connection: _Connection,
        idle: list[_Connection],
        status: int,
        headers: dict[str, str],
        method: str,
    ) -> None:
        self._connection: _Connection | None = connection
        self._idle = idle
        self._keep_alive = headers.get("connection", "").lower() != "close"
        length = _parse_length(headers.get("content-length"), connection.peer)
        if method == "HEAD" or status in (204, 304):
            self._pieces: Iterator[bytes] = iter(())
            self._finish()
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self._pieces = _chunked(connection)
        elif length is not None:
            self._pieces = _counted(connection, length)
            if length == 0:
                self._finish()
        else:
            self._keep_alive = False
            self._pieces = _until_end(connection)

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            self._finish()
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection unless the body has been read to its end."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._keep_alive and not connection.buffer and len(self._idle) < _IDLE_PER_HOST:
            self._idle.append(connection)
        else:
            connection.close()

    def __del__(self) -> None:
        self.close()


def _counted(connection: _Connection, length: int) -> Iterator[bytes]:
    buffer = connection.buffer
    while length > 0:
        if not buffer and not connection.fill():
            raise TransportError(
                "reset", f"{connection.peer} broke off in the middle of an answer", sent=True
            )
        piece = bytes(buffer[:length]) if len(buffer) > length else bytes(buffer)
        del buffer[: len(piece)]
        length -= len(piece)
        yield piece


def _chunked(connection: _Connection) -> Iterator[bytes]:
    while True:
        size_line = _read_line(connection)
        try:
            size = int(size_line.partition(b";")[0], 16)
        except ValueError as exc:
            raise TransportError("reset", f"{connection.peer} sent a malformed answer", sent=True) from exc
        if size == 0:
            while _read_line(connection):
                pass
            return
        yield from _counted(connection, size)
        _read_line(connection)


def _until_end(connection: _Connection) -> Iterator[bytes]:
    while connection.buffer or connection.fill():
        yield bytes(connection.buffer)
        connection.buffer.clear()


def _read_line(connection: _Connection) -> bytes:
    end = connection.buffer.find(b"\r\n")
    while end < 0:
        if not connection.fill():
            raise TransportError(
                "reset", f"{connection.peer} broke off in the middle of an answer", sent=True
            )
        end = connection.buffer.find(b"\r\n")
    line = bytes(connection.buffer[:end])
    del connection.buffer[: end + 2]
    return line


def _encode(request: Request, url: Url) -> bytes:
    lines = [f"{request.method} {url.path} HTTP/1.1", f"Host: {url.authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body is not None or request.method in ("POST", "PUT", "DELETE"):
        lines.append(f"Content-Length: {len(request.body or b'')}")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise TransportError("reset", "a line break in an address or header", sent=False)
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (request.body or b"")


def _take_live(idle: list[_Connection]) -> _Connection | None:
    """Return an idle connection whose other end has not hung up."""
    while True:
        try:
            connection = idle.pop()
        except IndexError:
            return None
        connection.socket.settimeout(0)
        try:
            connection.socket.recv(1, _socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return connection
        except OSError:
            pass
        connection.close()


def _connect(url: Url, timeout_s: float, peer: str) -> _socket.socket:
    try:
        # As bytes: a text would pull in the tables of international host names.
        host = url.host.encode("ascii") if url.host.isascii() else url.host
        places = _socket.getaddrinfo(host, url.port, 0, _socket.SOCK_STREAM)
    except OSError as exc:
        raise TransportError("dns", f"no address is known for {url.host!r}", sent=False) from exc
    problem: OSError | None = None
    for family, kind, protocol, _, address in places:
        connection = _socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout_s)
            connection.connect(address)
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as exc:
            connection.close()
            problem = exc
        else:
            return connection
    if isinstance(problem, TimeoutError):
        raise TransportError(
            "connect-timeout", f"{peer} did not answer within {timeout_s:g} s", sent=False
        ) from problem
    reason = _reason(problem) if problem is not None else "no address"
    kind_of_error = "refused" if isinstance(problem, ConnectionRefusedError) else "network"
    raise TransportError(kind_of_error, f"{peer}: {reason}", sent=False) from problem


def _parse_status(line: str, peer: str) -> int:
    words = line.split(" ", 2)
    if not line.startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise TransportError("reset", f"{peer} does not speak HTTP", sent=True)
    return int(words[1])


def _parse_length(text: str | None, peer: str) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise TransportError("reset", f"{peer} sent a malformed answer", sent=True)
    return int(text)


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc) or type(exc).__name__).lower()
