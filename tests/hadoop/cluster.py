# SPDX-License-Identifier: MIT
"""HDFS with one NameNode and some DataNodes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from tests.hadoop.process import (
    SUPERUSER,
    Daemon,
    JavaSettings,
    free_ports,
    write_configuration,
    write_web_folder,
)

READY_TIMEOUT_S = 120
NAME_NODE = "server.namenode.NameNode"
DATA_NODE = "server.datanode.DataNode"


class Hadoop:
    """A cluster in a folder of its own; use it in ``with``, or call ``start`` and ``stop``.

    Args:
        folder: Where it keeps everything; it may be from an earlier run.
        data_nodes: How many.
        properties: Of ``hdfs-site.xml``, before ours.
        heap_mb: Largest heap of each process.
        quick: Whether processes are to start fast rather than to run fast.
    """

    host = "127.0.0.1"
    scheme = "http"

    def __init__(
        self,
        folder: Path,
        *,
        data_nodes: int = 2,
        properties: Mapping[str, object] | None = None,
        heap_mb: int = 256,
        quick: bool = True,
    ) -> None:
        self.folder = folder
        write_web_folder(folder / "web")
        self._properties = dict(properties or {})
        self.java = JavaSettings(folder / "web", heap_mb=heap_mb, quick=quick, options=self.java_options())
        self.session = requests.Session()
        self.session.trust_env = False
        self.name_nodes = self.make_name_nodes()
        self.data_nodes = [self._make_data_node(number) for number in range(data_nodes)]

    # --- how it is made; other kinds of clusters override these ---------------------------------
    def java_options(self) -> tuple[str, ...]:
        """Return more options for Java."""
        return ()

    def make_name_nodes(self) -> list[Daemon]:
        """Return the name nodes, formatted."""
        self._rpc_port, http_port = free_ports(2)
        daemon = self.make_name_node("namenode", http_port, {})
        self.java.run(daemon.configuration, NAME_NODE, "-format", "-force", "-nonInteractive")
        return [daemon]

    def make_name_node(self, name: str, http_port: int, properties: Mapping[str, object]) -> Daemon:
        """Return a name node with its settings written."""
        return self._make(
            name,
            NAME_NODE,
            http_port,
            {f"dfs.namenode.{self.scheme}-address": f"{self.host}:{http_port}", **properties},
        )

    def core_properties(self) -> dict[str, object]:
        """Return the settings of ``core-site.xml`` that all processes share."""
        return {"fs.defaultFS": f"hdfs://{self.host}:{self._rpc_port}"}

    def hdfs_properties(self) -> dict[str, object]:
        """Return the settings of ``hdfs-site.xml`` that all processes share."""
        return {
            "dfs.replication": 1,
            "dfs.namenode.fs-limits.min-block-size": 1024,
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.safemode.extension": 0,
            "dfs.namenode.safemode.min.datanodes": 1,
            "dfs.namenode.safemode.threshold-pct": 1.0,  # of few blocks the usual 0.999 are none
            "dfs.datanode.hostname": self.host,
            **self._properties,
        }

    def _make_data_node(self, number: int) -> Daemon:
        data, http, ipc = free_ports(3)
        addresses = {
            "dfs.datanode.address": f"{self.host}:{data}",
            f"dfs.datanode.{self.scheme}.address": f"{self.host}:{http}",
            "dfs.datanode.ipc.address": f"{self.host}:{ipc}",
        }
        return self._make(f"datanode{number}", DATA_NODE, http, addresses)

    def _make(self, name: str, main_class: str, http_port: int, properties: Mapping[str, object]) -> Daemon:
        configuration = self.folder / f"{name}.conf"
        core = {**self.core_properties(), "hadoop.tmp.dir": f"{self.folder}/{name}"}
        write_configuration(configuration, core, {**self.hdfs_properties(), **properties})
        return Daemon(name, self.java, configuration, main_class, http_port)

    # --- life -----------------------------------------------------------------------------------
    def __enter__(self) -> Hadoop:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every process and return when files can be written."""
        for daemon in self.daemons:
            daemon.start()
        self.wait_until_ready()

    def stop(self) -> None:
        """End every process at once; the folder is thrown away by its owner."""
        for daemon in self.daemons:
            daemon.kill()
        self.session.close()

    @property
    def daemons(self) -> list[Daemon]:
        """All processes."""
        return [*self.name_nodes, *self.data_nodes]

    @property
    def name_node(self) -> Daemon:
        """The name node that is asked."""
        return self.name_nodes[0]

    @property
    def uri(self) -> str:
        """Address of the web interface."""
        return f"{self.scheme}://{self.host}:{self.name_node.http_port}"

    def wait_until_ready(self) -> None:
        """Wait until all running data nodes are known, and safe mode is over."""
        running = [daemon for daemon in self.data_nodes if daemon.is_running]

        def ready() -> bool:
            state = self.state()
            return (
                state.get("FSState") == "Operational"
                and state.get("NumLiveDataNodes", 0) >= len(running)
                and all(self._is_registered(daemon) for daemon in running)
            )

        self.wait_until(ready)

    def wait_until(self, condition: Any, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for a condition.

        Raises:
            RuntimeError: A process of ours has ended, or time ran out.
        """
        running = [daemon for daemon in self.daemons if daemon.is_running]
        deadline = time.monotonic() + timeout_s
        while not condition():
            for daemon in running:
                if not daemon.is_running:
                    raise RuntimeError(f"{daemon.name} has ended: {daemon.last_words()}")
            if time.monotonic() > deadline:
                words = "\n".join(f"{daemon.name}: {daemon.last_words()}" for daemon in running)
                raise RuntimeError(f"it did not come to that within {timeout_s} s: {words}")
            time.sleep(0.05)

    def state(self) -> dict[str, Any]:
        """Return what the name node publishes of the file system; empty when it does not answer."""
        return self._published(self.name_node, "service=NameNode,name=FSNamesystemState")

    def _is_registered(self, data_node: Daemon) -> bool:
        """Tell whether a data node serves; after a restart the name node takes it for live all along."""
        actors = self._published(data_node, "service=DataNode,name=DataNodeInfo").get("BPServiceActorInfo")
        return bool(actors) and all(actor["ActorState"] == "RUNNING" for actor in json.loads(actors))

    def _published(self, daemon: Daemon, bean: str) -> dict[str, Any]:
        address = f"{self.scheme}://{self.host}:{daemon.http_port}/jmx"
        try:
            beans = self.session.get(address, params={"qry": f"Hadoop:{bean}"}, timeout=10).json()["beans"]
        except requests.RequestException:
            return {}
        return beans[0] if beans else {}

    # --- administration -------------------------------------------------------------------------
    def admin(self, *words: str) -> str:
        """Run ``hdfs dfsadmin``."""
        return self.java.run(self.name_node.configuration, "tools.DFSAdmin", *words)

    @contextlib.contextmanager
    def safe_mode(self) -> Iterator[None]:
        """Let the file system be read only for a while."""
        self.admin("-safemode", "enter")
        try:
            yield
        finally:
            self.admin("-safemode", "leave")

    def call(self, method: str, op: str, path: str, **values: object) -> Any:
        """Send an operation to the name node as the superuser; refusals raise."""
        parameters = {"op": op, "user.name": SUPERUSER, **values}
        address = f"{self.uri}/webhdfs/v1{requests.utils.quote(path)}"
        answer = self.session.request(method, address, params=parameters, timeout=60)  # type: ignore[arg-type]
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def make_folder(self, path: str, *, owner: str, permission: str = "755") -> None:
        """Make a folder that belongs to a user."""
        self.call("PUT", "MKDIRS", path)
        self.call("PUT", "SETOWNER", path, owner=owner, group=owner)
        self.call("PUT", "SETPERMISSION", path, permission=permission)

    def set_quota(self, path: str, *, names: int | None = None, size_bytes: int | None = None) -> None:
        """Limit how many names, and how many bytes times replication, a folder may hold."""
        values = {"namespacequota": names, "storagespacequota": size_bytes}
        self.call(
            "PUT", "SETQUOTA", path, **{key: value for key, value in values.items() if value is not None}
        )
