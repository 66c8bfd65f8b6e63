# SPDX-License-Identifier: MIT
"""Relays between a client and servers: they count what passes, and break it in the ways networks do."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

RESET, REFUSE, SHORT, STALL = "reset", "5xx", "short read", "stall"
FAULTS = (RESET, REFUSE, SHORT, STALL)
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_PIECE_BYTES = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong on a connection, once so many bytes have passed to the server, or back."""

    kind: str
    is_upward: bool
    after: int


class Relay:
    """Hands connections on to one port of this machine.

    Args:
        target: The port.
        chooser: Decides which connection suffers what; shared by relays that have one number of faults.
        on_pass: Called whenever bytes have passed.
    """

    def __init__(
        self,
        target: int,
        *,
        chooser: FaultChooser | None = None,
        on_pass: Callable[[Relay], object] | None = None,
    ) -> None:
        self._target = target
        self._chooser = chooser
        self._on_pass = on_pass
        self._counting = threading.Lock()
        self.sent = 0
        """Bytes from clients."""
        self.received = 0
        """Bytes to clients."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        for thread in self._threads:
            thread.join(10)

    def hang_up(self) -> None:
        """Take no connections any more, as if the server were dead."""
        self._ended.set()
        with contextlib.suppress(OSError):  # it has been called before
            socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the accepting thread
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._ended.is_set():
                client.close()
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        fault = self._chooser.choose() if self._chooser is not None else None
        with client:
            if fault is not None and fault.kind == REFUSE:
                client.recv(1 << 16)
                client.sendall(_REFUSAL)
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            up, down = (fault, None) if fault is not None and fault.is_upward else (None, fault)
            with server:
                sending = threading.Thread(target=self._send, args=(client, server, up), daemon=True)
                sending.start()
                self._hand_on(server, client, down, self._count_received)
                for end in (client, server):
                    _shut(end)
                sending.join(10)

    def _send(self, client: socket.socket, server: socket.socket, fault: Fault | None) -> None:
        if self._hand_on(client, server, fault, self._count_sent):
            for end in (client, server):
                _shut(end)
        else:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)

    def _hand_on(
        self, source: socket.socket, target: socket.socket, fault: Fault | None, count: Callable[[int], None]
    ) -> bool:
        """Hand on what comes, up to the fault; tell whether there was one."""
        left = fault.after if fault is not None else 0
        try:
            while data := source.recv(_PIECE_BYTES):
                count(len(data))
                if fault is None:
                    target.sendall(data)
                    continue
                target.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    self._break(fault, source if fault.is_upward else target)
                    return True
        except OSError:
            pass
        return False

    def _break(self, fault: Fault, client: socket.socket) -> None:
        if fault.kind == STALL and self._chooser is not None:
            self._ended.wait(self._chooser.stall_s)
        if fault.kind == RESET:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

    def _count_sent(self, size: int) -> None:
        with self._counting:
            self.sent += size
        if self._on_pass is not None:
            self._on_pass(self)

    def _count_received(self, size: int) -> None:
        with self._counting:
            self.received += size
        if self._on_pass is not None:
            self._on_pass(self)


class FaultChooser:
    """Chooses faults at random until there have been ``count``; ``happened`` are those that were chosen."""

    def __init__(self, seed: int, *, count: int, rate: float, stall_s: float) -> None:
        self._random = random.Random(seed)
        self._count = count
        self._rate = rate
        self._lock = threading.Lock()
        self.stall_s = stall_s
        self.happened: list[str] = []

    def choose(self) -> Fault | None:
        """Return what is to go wrong with the next connection, if anything."""
        with self._lock:
            if len(self.happened) >= self._count or self._random.random() >= self._rate:
                return None
            kind = FAULTS[len(self.happened) % len(FAULTS)]
            self.happened.append(kind)
            after = self._random.choice((0, 10, 300, 2000))
            return Fault(kind=kind, is_upward=self._random.random() < 0.5, after=after)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
