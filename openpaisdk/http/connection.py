# SPDX-License-Identifier: MIT
"""HTTP/1.1 over a plain socket, with connections kept alive: what a short command can afford at start."""

from __future__ import annotations

# The C module below ``socket``: the Python layer above it would double the start-up time of this client.
import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from openpaisdk.http.urls import Url

_PIECE_BYTES = 1 << 16
_HEAD_LIMIT_BYTES = 1 << 16
_IDLE_PER_HOST = 8


class TransportError(Exception):
    """No complete response came; the client turns it into an error for the user.

    ``kind`` is ``refused`` (nothing listens), ``dns`` (no such host), ``connect-timeout``,
    ``read-timeout``, ``reset`` (broken off) or ``tls``. ``sent`` is false where it cannot have been seen.
    """

    def __init__(self, kind: str, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class ConnectionPool:
    """Connections that have answered and may be used again, by host and port; threads may share it."""

    def __init__(self) -> None:
        # Lists are taken from and added to in one step each, so threads need no lock here.
        self._idle: dict[tuple[str, int], list[Connection]] = {}

    def take(self, url: Url) -> Connection | None:
        """Return an idle connection whose other end has not hung up."""
        return _take_live(self._idle.setdefault((url.host, url.port), []))

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it when there are enough."""
        idle = self._idle.setdefault(connection.place, [])
        if connection.buffer or len(idle) >= _IDLE_PER_HOST:
            connection.close()
        else:
            idle.append(connection)

    def close(self) -> None:
        """Close every idle connection."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class Connection:
    """A socket and the bytes that came in but were not wanted yet."""

    __slots__ = ("buffer", "has_answered", "peer", "place", "socket")

    def __init__(self, url: Url, timeout_s: float) -> None:
        self.place = (url.host, url.port)
        self.peer = f"{url.host}:{url.port}"
        self.buffer = bytearray()
        self.has_answered = False
        self.socket = _connect(url, timeout_s, self.peer)

    def write(self, message: bytes | memoryview) -> None:
        """Send all of ``message``."""
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
        except OSError as exc:
            raise self._failure(exc) from exc
        self.has_answered = self.has_answered or bool(piece)
        self.buffer += piece
        return bool(piece)

    def read_into(self, view: memoryview) -> int:
        """Read what there is, at least one byte, straight into ``view``; 0 at the end of the stream."""
        if self.buffer:
            size = min(len(view), len(self.buffer))
            view[:size] = self.buffer[:size]
            del self.buffer[:size]
            return size
        try:
            size = self.socket.recv_into(view)
        except OSError as exc:
            raise self._failure(exc) from exc
        self.has_answered = self.has_answered or size > 0
        return size

    def take_early(self) -> None:
        """Take what the server has said already, without waiting.

        Bytes that lie there unread would make the system reset the connection should this process end, and
        what was sent before could be lost.
        """
        timeout = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            self.buffer += self.socket.recv(_PIECE_BYTES)
        except OSError:
            return  # nothing there, or an end that the next write or read will tell
        finally:
            self.socket.settimeout(timeout)

    def _failure(self, exc: OSError) -> TransportError:
        """Return the error for an answer that does not come."""
        if isinstance(exc, TimeoutError):
            return TransportError("read-timeout", f"{self.peer} did not answer in time", sent=True)
        return TransportError("reset", f"{self.peer} closed the connection: {_reason(exc)}", sent=True)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __del__(self) -> None:
        # An idle connection may go with its transport; there is nothing to warn of then.
        if hasattr(self, "socket"):
            self.socket.close()


class Body:
    """Iterator over a response's body; gives the connection back at the end, closes it when left early."""

    __slots__ = ("_connection", "_keep_alive", "_left", "_pieces", "_pool")

    def __init__(
        self,
        connection: Connection,
        pool: ConnectionPool,
        status: int,
        headers: dict[str, str],
        method: str,
    ) -> None:
        self._connection: Connection | None = connection
        self._pool = pool
        self._left: int | None = None
        self._keep_alive = headers.get("connection", "").lower() != "close"
        length = _parse_length(headers.get("content-length"), connection.peer)
        if method == "HEAD" or status in (204, 304):
            self._pieces: Iterator[bytes] = iter(())
            self._finish()
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self._pieces = _chunked(connection)
        elif length is not None:
            self._left = length
            self._pieces = _counted(connection, length)
            if length == 0:
                self._finish()
        else:
            self._keep_alive = False
            self._pieces = _until_end(connection)

    def __iter__(self) -> Body:
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

    def read_into(self, view: memoryview) -> int:
        """Read what there is into ``view`` without a copy on the way; 0 at the end of the body.

        A body is read in this way or by iterating, not both. Only bodies of known length can be.
        """
        if self._left is None:
            raise ValueError("the length of the body is not known")
        if self._left == 0 or self._connection is None:
            self._finish()
            return 0
        try:
            size = self._connection.read_into(view[: self._left])
            if size == 0:
                raise TransportError(
                    "reset", f"{self._connection.peer} broke off in the middle of an answer", sent=True
                )
        except BaseException:
            self.close()
            raise
        self._left -= size
        if self._left == 0:
            self._finish()
        return size

    @property
    def has_length(self) -> bool:
        """Whether the length of the body is known."""
        return self._left is not None

    def close(self) -> None:
        """Drop the connection unless the body has been read to its end."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._keep_alive:
            self._pool.give_back(connection)
        else:
            connection.close()

    def __del__(self) -> None:
        self.close()


def _counted(connection: Connection, length: int) -> Iterator[bytes]:
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


def _chunked(connection: Connection) -> Iterator[bytes]:
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


def _until_end(connection: Connection) -> Iterator[bytes]:
    while connection.buffer or connection.fill():
        yield bytes(connection.buffer)
        connection.buffer.clear()


def _read_line(connection: Connection) -> bytes:
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


def _take_live(idle: list[Connection]) -> Connection | None:
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
