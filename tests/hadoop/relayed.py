# SPDX-License-Identifier: MIT
"""A cluster behind relays: what a client moves is counted, and things happen at a byte that is known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from tests.faults import FaultChooser, Relay
from tests.hadoop.cluster import Hadoop
from tests.hadoop.process import Daemon


class Relayed:
    """Relays before every server of a cluster; use it in ``with``.

    Args:
        hadoop: The cluster, running.
        chooser: What goes wrong on the way.
    """

    def __init__(self, hadoop: Hadoop, chooser: FaultChooser | None = None) -> None:
        self._stack = ExitStack()
        self._name_nodes = [Relay(daemon.http_port, chooser=chooser) for daemon in hadoop.name_nodes]
        self._of_nodes = {
            daemon.name: Relay(daemon.http_port, chooser=chooser, on_pass=self._look)
            for daemon in hadoop.data_nodes
        }
        self._nodes = {self._of_nodes[daemon.name].port: daemon for daemon in hadoop.data_nodes}
        self._act: Callable[[Daemon], object] | None = None
        self._at = 0
        self._acting = threading.Lock()

    def __enter__(self) -> Relayed:
        for relay in (*self._name_nodes, *self._of_nodes.values()):
            self._stack.enter_context(relay)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def uri(self) -> str:
        """Address of the name nodes."""
        return "webhdfs://" + ",".join(f"127.0.0.1:{relay.port}" for relay in self._name_nodes)

    @property
    def data_nodes(self) -> dict[str, str]:
        """Where clients are to reach the data nodes, as the option of a storage says it."""
        return {f"127.0.0.1:{daemon.http_port}": f"127.0.0.1:{port}" for port, daemon in self._nodes.items()}

    @property
    def sent(self) -> int:
        """Bytes that clients have sent to data nodes."""
        return sum(relay.sent for relay in self._of_nodes.values())

    @property
    def received(self) -> int:
        """Bytes that data nodes have sent to clients."""
        return sum(relay.received for relay in self._of_nodes.values())

    def when(self, moved: int, act: Callable[[Daemon], object]) -> None:
        """Call ``act`` once so many bytes have passed, with the data node that moved the last of them."""
        self._at, self._act = moved, act

    def kill(self, daemon: Daemon) -> None:
        """End a data node as a crash of its machine would."""
        self._of_nodes[daemon.name].hang_up()
        daemon.kill()

    def _look(self, relay: Relay) -> None:
        if self._act is None or self.sent + self.received < self._at:
            return
        with self._acting:
            act, self._act = self._act, None
        if act is not None:
            act(self._nodes[relay.port])
