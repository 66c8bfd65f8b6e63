# SPDX-License-Identifier: MIT
"""Connections to the embedded storage: kept open, pipelined, told to go on, and left whole by refusals."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from typing import IO

import pytest

pytestmark = pytest.mark.integration

FILES = 50


@pytest.fixture
def folder(local_server, request) -> str:  # type: ignore[no-untyped-def]
    return f"/user/{local_server.user}/{request.node.name}"


class Connection:
    """One connection, on which requests are written and answers read apart from each other."""

    def __init__(self, server) -> None:  # type: ignore[no-untyped-def]
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.ready["port"]), timeout=60)
        self._answers: IO[bytes] = self._socket.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def request(self, method: str, path: str, op: str, body: bytes = b"", *, headers: str = "") -> bytes:
        host = self._server.uri.removeprefix("http://")
        target = f"/webhdfs/v1{path}?op={op}&delegation={self._server.token}"
        length = f"Content-Length: {len(body)}\r\n" if method != "GET" else ""
        return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}\r\n".encode() + body

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self, method: str = "GET") -> tuple[int, bytes]:
        """Return status and body of the next answer, of which an interim one is one as well."""
        status = int(self._answers.readline().split()[1])
        headers = http.client.parse_headers(self._answers)
        length = 0 if method == "HEAD" or status == 100 else int(headers.get("content-length", 0))
        return status, self._answers.read(length)


@pytest.fixture
def connection(local_server) -> Iterator[Connection]:  # type: ignore[no-untyped-def]
    connection = Connection(local_server)
    yield connection
    connection.close()


def test_small_files_are_written_and_read_in_one_go(connection: Connection, folder: str) -> None:
    create = "CREATE&data=true"
    writes = [
        connection.request("PUT", f"{folder}/{number}", create, b"%d" % number) for number in range(FILES)
    ]
    connection.send(b"".join(writes))
    assert [connection.answer()[0] for _ in writes] == [201] * FILES
    reads = [connection.request("GET", f"{folder}/{number}", "OPEN") for number in range(FILES)]
    connection.send(b"".join(reads))
    assert [connection.answer() for _ in reads] == [(200, b"%d" % number) for number in range(FILES)]


def test_refusals_leave_the_connection_open(connection: Connection, folder: str) -> None:
    create = "CREATE&data=true"
    connection.send(connection.request("PUT", f"{folder}/f", create, b"x"))
    assert connection.answer()[0] == 201
    for method, path, op, body, status in [
        ("GET", f"{folder}/missing", "OPEN", b"", 404),
        ("PUT", f"{folder}/f", create, b"y" * 100_000, 403),
        ("PUT", f"{folder}/g", "NOPE", b"y" * 100_000, 400),
        ("POST", f"{folder}/missing", "APPEND&data=true", b"y" * 100_000, 404),
        ("DELETE", folder, "DELETE", b"", 403),
    ]:
        connection.send(connection.request(method, path, op, body))
        assert connection.answer()[0] == status, op
    connection.send(connection.request("GET", f"{folder}/f", "OPEN"))
    assert connection.answer() == (200, b"x")


def test_who_asks_before_sending_is_told_to_go_on(connection: Connection, folder: str) -> None:
    head = connection.request(
        "PUT", f"{folder}/f", "CREATE&data=true", b"content", headers="Expect: 100-continue\r\n"
    )
    connection.send(head.removesuffix(b"content"))
    assert connection.answer() == (100, b"")
    connection.send(b"content")
    assert connection.answer()[0] == 201


def test_who_asks_before_sending_what_is_refused_need_not_send_it(
    connection: Connection, folder: str
) -> None:
    connection.send(connection.request("PUT", f"{folder}/f", "CREATE&data=true", b"x"))
    assert connection.answer()[0] == 201
    head = connection.request(
        "PUT", f"{folder}/f", "CREATE&data=true", b"content", headers="Expect: 100-continue\r\n"
    )
    connection.send(head.removesuffix(b"content"))
    status, body = connection.answer()
    assert (status, b"FileAlreadyExistsException" in body) == (403, True)


def test_a_look_at_the_head_only_keeps_the_connection_in_step(connection: Connection, folder: str) -> None:
    connection.send(connection.request("PUT", f"{folder}/f", "CREATE&data=true", b"content"))
    assert connection.answer()[0] == 201
    for op in ("OPEN", "GETFILESTATUS"):
        connection.send(connection.request("HEAD", f"{folder}/f", op))
        assert connection.answer("HEAD") == (200, b"")
    connection.send(connection.request("GET", f"{folder}/f", "OPEN"))
    assert connection.answer() == (200, b"content")
