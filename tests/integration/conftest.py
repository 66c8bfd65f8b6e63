# SPDX-License-Identifier: MIT
"""A server process of the embedded cluster for tests that speak to it over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from openpaisdk.local.home import LocalHome
from tests.hadoop.fixtures import (
    hadoop,
    hadoop_ha,
    hadoop_jars,
    hadoop_kerberos,
    hadoop_tls,
    kdc,
    make_hadoop,
)

__all__ = ["hadoop", "hadoop_ha", "hadoop_jars", "hadoop_kerberos", "hadoop_tls", "kdc", "make_hadoop"]

JOB_TIMEOUT_S = 60


def wait_until(condition: Callable[[], object]) -> None:
    """Return when it has come to that."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to that")


class LocalServer:
    """One running server; ``get``, ``put``… take paths and send its owner's token."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.uri: str = ready.get("uri", "")
        self.token: str = ready.get("token", "")
        self.user: str = ready.get("user", "")
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", JOB_TIMEOUT_S)
        options.setdefault("allow_redirects", False)
        return self.session.request(method, self.uri + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> requests.Response:
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.request("DELETE", path, **options)

    def document(self, name: str, *commands: str, instances: int = 1, **more: Any) -> dict[str, Any]:
        return {
            "protocolVersion": 2,
            "name": name,
            "type": "job",
            "prerequisites": [{"type": "dockerimage", "name": "image", "uri": "python:3.11"}],
            "taskRoles": {
                "worker": {
                    "instances": instances,
                    "dockerImage": "image",
                    "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0},
                    "commands": list(commands),
                }
            },
            **more,
        }

    def submit(self, document: dict[str, Any] | str) -> requests.Response:
        text = document if isinstance(document, str) else json.dumps(document)
        return self.post("/api/v2/jobs", data=text.encode(), headers={"Content-Type": "text/yaml"})

    def wait(self, *names: str, timeout_s: float = JOB_TIMEOUT_S) -> dict[str, Any]:
        jobs = [f"{self.user}~{name}" for name in names]
        return self.post("/local/v1/wait", json={"jobs": jobs, "timeout_s": timeout_s}).json()

    def run(self, name: str, *commands: str, **more: Any) -> dict[str, Any]:
        """Submit a job and wait for its end; returns how it ended."""
        answer = self.submit(self.document(name, *commands, **more))
        assert answer.status_code == 202, answer.text
        return self.wait(name)["jobs"][f"{self.user}~{name}"]

    def stop(self, mode: str = "kill") -> int:
        """End the server and return its exit code."""
        if self.process.poll() is None:
            self.post("/local/v1/shutdown", json={"mode": mode})
        self.session.close()
        return self.process.wait(JOB_TIMEOUT_S)

    def kill(self) -> None:
        """End the server as a crash would; its tasks go on."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(JOB_TIMEOUT_S)


def start_local_server(home: Path, *options: str, inside: Sequence[str] = ()) -> LocalServer:
    """Start a server process and return it when it answers, or has said why it does not.

    Args:
        home: The folder of the cluster.
        options: Words for the server.
        inside: A command that runs the command behind it, elsewhere.
    """
    reader, writer = os.pipe()
    command = [
        *inside,
        sys.executable,
        "-m",
        "openpaisdk.local",
        "serve",
        "--home",
        str(home),
        "--ready-fd",
        str(writer),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [*command, *options], pass_fds=[writer], env=environment, stderr=subprocess.DEVNULL
    )
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        line = pipe.readline()
    return LocalServer(process, json.loads(line))


@pytest.fixture
def home(tmp_path: Path) -> LocalHome:
    home = LocalHome(str(tmp_path / "local"))
    home.make()
    return home


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., LocalServer]]:
    """Start servers, by default in a home of this test; those that still run are ended with it."""
    servers: list[LocalServer] = []

    def start(*options: str, home: Path | None = None, inside: Sequence[str] = ()) -> LocalServer:
        server = start_local_server(home or tmp_path / "local", *options, inside=inside)
        servers.append(server)
        return server

    yield start
    for server in servers:
        _end(server)


@pytest.fixture(scope="module")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One server for all tests of a module."""
    home = tmp_path_factory.mktemp("home") / "local"
    server = start_local_server(home, "--cpu", "8", "--gpu", "0", "--mem", "4g")
    yield server
    _end(server)


def _end(server: LocalServer) -> None:
    if server.process.poll() is None:
        try:
            server.stop()
        except (requests.RequestException, subprocess.TimeoutExpired):
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(JOB_TIMEOUT_S)
    server.session.close()
