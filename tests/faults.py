# SPDX-License-Identifier: MIT
"""A proxy that breaks connections in the ways networks and servers do."""

from __future__ import annotations

import random
import socket
import struct
import threading
from types import TracebackType

RESET, REFUSE, SHORT, STALL = "reset", "5xx", "short read", "stall"
FAULTS = (RESET, REFUSE, SHORT, STALL)
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyProxy:
    """Hands connections on to one port of this machine; of ``rate`` of them, something goes wrong.

    Args:
        target: The port.
        chooser: Decides which connection suffers what; shared by proxies that have one number of faults.
    """

    def __init__(self, target: int, chooser: FaultChooser) -> None:
        self._target = target
        self._chooser = chooser
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> FaultyProxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes the accepting thread
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            client, _ = self._listener.accept()
            if self._ended.is_set():
                client.close()
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        fault, after = self._chooser.choose()
        with client:
            if fault == REFUSE:
                client.recv(1 << 16)
                client.sendall(_REFUSAL)
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                up = threading.Thread(target=_pump, args=(client, server), daemon=True)
                up.start()
                self._hand_back(server, client, fault, after)
                for end in (client, server):
                    _shut(end)
                up.join(10)

    def _hand_back(self, server: socket.socket, client: socket.socket, fault: str | None, after: int) -> None:
        """Hand on the answer, up to the fault."""
        left = after
        try:
            while data := server.recv(1 << 16):
                if fault is None:
                    client.sendall(data)
                    continue
                client.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    if fault == STALL:
                        self._ended.wait(self._chooser.stall_s)
                    if fault == RESET:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        client.close()
                    return
        except OSError:
            return


class FaultChooser:
    """Chooses faults at random until there have been ``count``; ``happened`` are those that were chosen."""

    def __init__(self, seed: int, *, count: int, rate: float, stall_s: float) -> None:
        self._random = random.Random(seed)
        self._count = count
        self._rate = rate
        self._lock = threading.Lock()
        self.stall_s = stall_s
        self.happened: list[str] = []

    def choose(self) -> tuple[str | None, int]:
        """Return a fault or ``None``, and after how many bytes of the answer it comes."""
        with self._lock:
            if len(self.happened) >= self._count or self._random.random() >= self._rate:
                return None, 0
            fault = FAULTS[len(self.happened) % len(FAULTS)]
            self.happened.append(fault)
            return fault, self._random.choice((0, 10, 300, 2000))


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
