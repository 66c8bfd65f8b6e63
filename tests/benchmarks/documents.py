# SPDX-License-Identifier: MIT
"""Job documents as a client sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.serving import ServerProcess
from tests.benchmarks.wire import Connection, request_bytes


def document(name: str, command: str, *, cpu: int = 1, instances: int = 1) -> dict[str, Any]:
    """Return the document of a job with one task role of one command."""
    return {
        "protocolVersion": 2,
        "name": name,
        "type": "job",
        "prerequisites": [{"type": "dockerimage", "name": "image", "uri": "python:3.11"}],
        "taskRoles": {
            "worker": {
                "instances": instances,
                "dockerImage": "image",
                "resourcePerInstance": {"cpu": cpu, "memoryMB": 64, "gpu": 0},
                "commands": [command],
            }
        },
    }


def submissions(server: ServerProcess, documents: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the requests that submit documents, as they go over the wire."""
    for one in documents:
        body = json.dumps(one).encode()
        yield request_bytes(server.port, "POST", "/api/v2/jobs", server.token, body, "text/yaml")


def submit(server: ServerProcess, connection: Connection, one: dict[str, Any]) -> str:
    """Submit a document and return the name of the job in addresses."""
    connection.socket.sendall(next(submissions(server, iter([one]))))
    status, body = connection.answer()
    if status != 202:
        raise SystemExit(f"submission of {one['name']}: {status} {body[:200]!r}")
    return f"{server.user}~{one['name']}"


def stop(connection: Connection, job: str) -> None:
    """Stop a job and wait for its end."""
    connection.json("PUT", f"/api/v2/jobs/{job}/executionType", {"value": "STOP"})
    wait(connection, [job], "STOPPED")


def wait(connection: Connection, jobs: list[str], state: str = "SUCCEEDED") -> None:
    """Wait for jobs, which must end in this state."""
    ended: dict[str, Any] = {"done": False}
    while not ended["done"]:
        ended = connection.json("POST", "/local/v1/wait", {"jobs": jobs, "timeout_s": 60})
    others = [job for job in ended["jobs"].values() if job["state"] != state]
    if others:
        raise SystemExit(f"{len(others)} of {len(jobs)} jobs did not end as {state}: {others[0]}")
