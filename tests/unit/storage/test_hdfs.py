# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from openpaisdk._secret import Secret
from openpaisdk.errors import StorageError, StorageExistsError, StorageNotFoundError, StoragePermissionError
from openpaisdk.storage import hdfs

FILE = {"pathSuffix": "", "type": "FILE", "length": 5, "modificationTime": 1795218402123}
FOLDER = {"pathSuffix": "", "type": "DIRECTORY", "length": 0, "modificationTime": 0}


class PaperServer(BaseAdapter):
    """Answers operations from a table instead of a network; several answers are given in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, list[Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []

    def on(self, operation: str, *answers: Any) -> None:
        self.answers[operation] = list(answers)

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        url = str(request.url)
        operation = url.partition("op=")[2].partition("&")[0] if "op=" in url else "DATA"
        self.seen.append((operation, url))
        if operation == "DATA":
            body: Any = request.body
            self.bodies.append(body.read() if hasattr(body, "read") else body or b"")
        answers = self.answers[operation]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, value, headers = answer
        response = requests.Response()
        response.status_code = status
        response.headers.update(headers)
        response.raw = io.BytesIO(value if isinstance(value, bytes) else json.dumps(value).encode())
        response.request = request
        response.url = url
        return response

    def close(self) -> None:
        pass


def fine(value: Any = None) -> tuple[int, Any, dict[str, str]]:
    return 200, value, {}


def refused(
    exception: str, status: int = 404, message: str = "java says no"
) -> tuple[int, Any, dict[str, str]]:
    return status, {"RemoteException": {"exception": exception, "message": message}}, {}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperServer]:
    paper = PaperServer()
    monkeypatch.setattr(hdfs, "_LargeBlocks", lambda: paper)
    yield paper


@pytest.fixture
def storage(server: PaperServer) -> hdfs.HdfsStorage:
    return hdfs.HdfsStorage("http://namenode:9870/webhdfs/v1/", user="alice")


def test_a_file_is_described(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    assert storage.status("/data/a b") == {
        "name": "a b",
        "type": "file",
        "size_bytes": 5,
        "modified_at": "2026-11-20T23:46:42.123Z",
    }
    url = server.seen[0][1]
    assert url.startswith("http://namenode:9870/webhdfs/v1/data/a%20b?")
    assert "user.name=alice" in url


def test_a_token_is_sent_instead_of_a_user(server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    storage = hdfs.HdfsStorage("http://namenode:9870", user="alice", token=Secret("tok"))
    storage.status("/a")
    assert "delegation=tok" in server.seen[0][1]
    assert "user.name" not in server.seen[0][1]
    assert "tok" not in repr(storage)


def test_a_folder_is_listed_by_name(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FOLDER}))
    found = [{**FILE, "pathSuffix": "b"}, {**FOLDER, "pathSuffix": "a"}]
    server.on("LISTSTATUS", fine({"FileStatuses": {"FileStatus": found}}))
    assert [(entry["name"], entry["type"]) for entry in storage.list("/data")] == [
        ("a", "directory"),
        ("b", "file"),
    ]


def test_the_list_of_a_file_is_the_file(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    assert [entry["name"] for entry in storage.list("/data/a")] == ["a"]


def test_a_file_is_read(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    server.on("OPEN", fine(b"hello"))
    with storage.open("/a") as stream:
        assert (stream.read(2), stream.read()) == (b"he", b"llo")


def test_a_folder_is_not_read(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FOLDER}))
    with pytest.raises(StorageError, match="is a folder"):
        storage.open("/a")


@pytest.mark.parametrize("content", [b"hello", b""])
def test_a_file_is_stored_in_two_steps(
    storage: hdfs.HdfsStorage, server: PaperServer, tmp_path: Path, content: bytes
) -> None:
    local = tmp_path / "a.txt"
    local.write_bytes(content)
    missing = refused("FileNotFoundException")
    server.on("GETFILESTATUS", missing, fine({"FileStatus": FILE}))
    server.on("CREATE", (307, b"", {"location": "http://datanode:1/x?token"}))
    server.on("DATA", (201, b"", {}))
    assert storage.upload(str(local), "/data/a.txt")["name"] == "a.txt"
    assert server.bodies == [content]
    created = next(url for operation, url in server.seen if operation == "CREATE")
    assert "overwrite=False" in created or "overwrite=false" in created


def test_what_was_deleted_is_told(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    server.on("DELETE", fine({"boolean": True}))
    assert storage.delete("/data/a")["name"] == "a"


def test_a_file_is_moved_under_its_own_name_into_a_folder(
    storage: hdfs.HdfsStorage, server: PaperServer
) -> None:
    file, folder = fine({"FileStatus": FILE}), fine({"FileStatus": FOLDER})
    server.on("GETFILESTATUS", file, folder, refused("FileNotFoundException"), file)
    server.on("RENAME", fine({"boolean": True}))
    assert storage.move("/data/a", "/archive")["name"] == "a"
    renamed = next(url for operation, url in server.seen if operation == "RENAME")
    assert "destination=%2Farchive%2Fa" in renamed


def test_nothing_is_moved_over_what_is_there(storage: hdfs.HdfsStorage, server: PaperServer) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    with pytest.raises(StorageExistsError):
        storage.move("/data/a", "/data/b")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refused("FileNotFoundException"), StorageNotFoundError, "there is no '/a'"),
        (refused("FileAlreadyExistsException", 403), StorageExistsError, "already"),
        (refused("AccessControlException", 403), StoragePermissionError, "does not let this user"),
        (refused("InvalidToken", 403), StoragePermissionError, "does not let this user"),
        (
            (401, {"RemoteException": {"exception": "x", "message": "y"}}, {}),
            StoragePermissionError,
            "let this user",
        ),
        (refused("PathIsNotEmptyDirectoryException", 403), StorageError, "not empty"),
        (refused("IOException", 500, "disk\nat java.lang"), StorageError, "says: disk"),
        (requests.ConnectionError("x"), StorageError, "cannot reach the storage at http://namenode:9870"),
        (requests.ReadTimeout("x"), StorageError, "does not answer in time"),
    ],
)
def test_what_goes_wrong_becomes_the_right_error(
    storage: hdfs.HdfsStorage, server: PaperServer, answer: Any, kind: type[Exception], said: str
) -> None:
    server.on("MKDIRS", answer)
    with pytest.raises(kind, match=said) as caught:
        storage.mkdir("/a")
    assert type(caught.value) is kind


@pytest.mark.parametrize("path", ["a", "", "/a/../b", "/..", "/a\0"])
def test_a_path_that_could_mean_another_is_refused(storage: hdfs.HdfsStorage, path: str) -> None:
    with pytest.raises(StorageError, match="not a path from the root"):
        storage.status(path)
