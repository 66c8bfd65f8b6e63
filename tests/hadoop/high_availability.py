# SPDX-License-Identifier: MIT
"""HDFS with two name nodes, of which one is active; who that is changes when a test says so."""

from __future__ import annotations

from tests.hadoop.cluster import NAME_NODE, Hadoop
from tests.hadoop.process import Daemon, free_ports, listens

_SERVICE = "pair"


class PairOfNameNodes(Hadoop):
    """The journal is a folder that both name nodes share; nothing fails over by itself."""

    def make_name_nodes(self) -> list[Daemon]:
        """Return both name nodes, the first formatted; the second copies it in ``start``."""
        self._active = 0
        self._rpc_ports, http_ports = free_ports(2), free_ports(2)
        self._pair: dict[str, object] = {
            "dfs.nameservices": _SERVICE,
            f"dfs.ha.namenodes.{_SERVICE}": "nn0,nn1",
            f"dfs.client.failover.proxy.provider.{_SERVICE}": (
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
            ),
            "dfs.namenode.shared.edits.dir": f"file://{self.folder}/edits",
            "dfs.ha.fencing.methods": "shell(/bin/true)",
            "dfs.ha.tail-edits.period": 1,
        }
        for number in range(2):
            self._pair[f"dfs.namenode.rpc-address.{_SERVICE}.nn{number}"] = (
                f"{self.host}:{self._rpc_ports[number]}"
            )
            self._pair[f"dfs.namenode.http-address.{_SERVICE}.nn{number}"] = (
                f"{self.host}:{http_ports[number]}"
            )
        daemons = [
            self.make_name_node(
                f"namenode{number}", http_ports[number], {"dfs.ha.namenode.id": f"nn{number}"}
            )
            for number in range(2)
        ]
        self.java.run(daemons[0].configuration, NAME_NODE, "-format", "-force", "-nonInteractive")
        return daemons

    def core_properties(self) -> dict[str, object]:
        """Return the shared settings, the pair being the file system."""
        return {"fs.defaultFS": f"hdfs://{_SERVICE}"}

    def hdfs_properties(self) -> dict[str, object]:
        """Return the shared settings, the pair among them."""
        return {**super().hdfs_properties(), **self._pair}

    @property
    def name_node(self) -> Daemon:
        """The active name node."""
        return self.name_nodes[self._active]

    @property
    def uris(self) -> list[str]:
        """Addresses of both web interfaces."""
        return [f"http://{self.host}:{daemon.http_port}" for daemon in self.name_nodes]

    def start(self) -> None:
        """Start every process; the first name node becomes active."""
        first, second = self.name_nodes
        first.start()
        self.wait_until(lambda: listens(self._rpc_ports[0]))
        self.java.run(second.configuration, NAME_NODE, "-bootstrapStandby", "-force", "-nonInteractive")
        for daemon in (second, *self.data_nodes):
            daemon.start()
        self.wait_until(lambda: listens(self._rpc_ports[1]))  # the command asks the other one first
        self.activate(0)

    def activate(self, number: int, *, force: bool = False) -> None:
        """Let a name node be the active one; ``force`` when the other cannot be asked any more."""
        self._active = number
        self.wait_until(lambda: listens(self._rpc_ports[number]))
        options = ["-forceactive"] if force else []
        self.java.run(
            self.name_node.configuration, "tools.DFSHAAdmin", "-transitionToActive", *options, f"nn{number}"
        )
        self.wait_until_ready()

    def stand_by(self, number: int) -> None:
        """Let a name node be active no more, while it runs on."""
        self.java.run(self.name_node.configuration, "tools.DFSHAAdmin", "-transitionToStandby", f"nn{number}")

    def fail_over(self) -> None:
        """Kill the active name node and let the other take its place."""
        self.name_node.kill()
        self.activate(1 - self._active, force=True)
