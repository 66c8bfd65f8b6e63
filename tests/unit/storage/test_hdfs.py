# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openpaisdk._secret import Secret
from openpaisdk.errors import (
    StorageError,
    StorageExistsError,
    StorageFullError,
    StorageIsFolderError,
    StorageNotEmptyError,
    StorageNotFolderError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageSafeModeError,
    StorageUnavailableError,
)
from openpaisdk.http.connection import TransportError
from openpaisdk.storage.hdfs import client
from openpaisdk.storage.hdfs.storage import HdfsStorage

FILE = {"pathSuffix": "", "type": "FILE", "length": 5, "modificationTime": 1795218402123}
FOLDER = {"pathSuffix": "", "type": "DIRECTORY", "length": 0, "modificationTime": 0}
MISSING = "FileNotFoundException"


class PaperReply:
    def __init__(self, status: int, value: Any, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._left = value if isinstance(value, bytes) else json.dumps(value).encode()

    def read(self) -> bytes:
        data, self._left = self._left, b""
        return data

    def read_into(self, view: memoryview) -> int:
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        pass


class PaperSender:
    """Answers operations from a table instead of a network; several answers are given in turn."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []

    def on(self, operation: str, *answers: Any) -> None:
        self.answers[operation] = list(answers)

    def send(self, method: str, url: str, body: Any = None) -> PaperReply:
        operation = url.partition("op=")[2].partition("&")[0] if "op=" in url else "DATA"
        self.seen.append((operation, url))
        if body is not None:
            self.bodies.append(body.read())
        answers = self.answers[operation]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return PaperReply(*answer)

    def close(self) -> None:
        pass


def fine(value: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    return 200, value, headers


def sent_on(place: str) -> tuple[int, Any, dict[str, str]]:
    return 307, b"", {"location": place}


def refused(
    exception: str, status: int = 404, message: str = "java says no"
) -> tuple[int, Any, dict[str, str]]:
    return status, {"RemoteException": {"exception": exception, "message": message}}, {}


def broken(kind: str = "reset") -> TransportError:
    return TransportError(kind, f"connection {kind}", sent=True)


def made(server: PaperSender, uri: str = "http://namenode:9870/webhdfs/v1/", **options: Any) -> HdfsStorage:
    storage = HdfsStorage(uri, **options)
    storage._client.sender = server
    storage._client.sleep = lambda _: None
    return storage


@pytest.fixture
def server() -> PaperSender:
    return PaperSender()


@pytest.fixture
def storage(server: PaperSender) -> HdfsStorage:
    return made(server, user="alice")


def test_a_file_is_described(storage: HdfsStorage, server: PaperSender) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    assert storage.status("/data/a b") == {
        "name": "a b",
        "type": "file",
        "size_bytes": 5,
        "modified_at": "2026-11-20T23:46:42.123Z",
    }
    url = server.seen[0][1]
    assert url == "http://namenode:9870/webhdfs/v1/data/a%20b?op=GETFILESTATUS&user.name=alice"


def test_a_token_is_sent_instead_of_a_user(server: PaperSender) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    storage = made(server, user="alice", token=Secret("tok"))
    storage.status("/a")
    assert "delegation=tok" in server.seen[0][1]
    assert "user.name" not in server.seen[0][1]
    assert "tok" not in repr(storage) + storage.uri


def test_plain_http_loads_neither_requests_nor_hdfs(server: PaperSender) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from openpaisdk.storage.registry import open_storage; "
        "open_storage('webhdfs://h:1', user='a'); "
        "print(sorted({'requests', 'hdfs', 'urllib3', 'http.client', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_proxy_user_is_named(server: PaperSender) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    made(server, user="hue", proxy_user="alice").status("/a")
    assert server.seen[0][1].endswith("&user.name=hue&doas=alice")


def test_data_goes_where_the_name_node_says(storage: HdfsStorage, server: PaperSender) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    server.on("OPEN", sent_on("http://datanode:9864/data"))
    server.on("DATA", fine(b"abcde"))
    with storage.open("/a") as stream:
        assert stream.read() == b"abcde"
    assert server.seen[-1] == ("DATA", "http://datanode:9864/data")


@pytest.mark.parametrize(
    ("data_nodes", "place"),
    [
        ({"datanode": "gateway"}, "gateway:9864"),
        ({"datanode:9864": "gateway:1"}, "gateway:1"),
        ({"*": "localhost"}, "localhost:9864"),
        ({"other": "gateway"}, "datanode:9864"),
    ],
)
def test_a_data_node_is_reached_under_another_name(
    server: PaperSender, data_nodes: dict[str, str], place: str
) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    server.on("OPEN", sent_on("http://datanode:9864/data"))
    server.on("DATA", fine(b"abcde"))
    made(server, data_nodes=data_nodes).open("/a").close()
    assert server.seen[-1] == ("DATA", f"http://{place}/data")


def test_a_data_node_that_fails_is_left_out(
    storage: HdfsStorage, server: PaperSender, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"abcde")
    server.on("GETFILESTATUS", refused(MISSING), fine({"FileStatus": FILE}))
    server.on("GETSERVERDEFAULTS", fine({"FsServerDefaults": {"blockSize": 1024}}))
    first, second = sent_on("http://dead:1/data"), sent_on("http://alive:1/data")
    server.on("CREATE", first, first, second)
    server.on("DATA", broken(), (201, b"", {}))
    server.on("DELETE", fine({"boolean": True}))  # what the first may have begun
    server.on("RENAME", fine({"boolean": True}))
    storage.upload(str(tmp_path / "f"), "/f", verify=False, overwrite=True)
    assert [url for operation, url in server.seen if operation == "DATA"] == [
        "http://dead:1/data",
        "http://alive:1/data",
    ]
    assert server.bodies == [b"abcde", b"abcde"]


def test_a_name_node_on_standby_sends_to_the_other(server: PaperSender) -> None:
    server.on("GETFILESTATUS", refused("StandbyException", 403), fine({"FileStatus": FILE}))
    storage = made(server, "webhdfs://n1:1,n2:2")
    assert storage.status("/a")["size_bytes"] == 5
    assert [url.partition("/webhdfs")[0] for _, url in server.seen] == ["http://n1:1", "http://n2:2"]


def test_a_stream_that_breaks_off_goes_on_where_it_was(storage: HdfsStorage, server: PaperSender) -> None:
    class Breaking(PaperReply):
        def read_into(self, view: memoryview) -> int:
            return super().read_into(view) or self._break()

        def _break(self) -> int:
            raise broken()

    server.on("GETFILESTATUS", fine({"FileStatus": FILE}))
    server.on("OPEN", sent_on("http://d:1/data"))
    replies = [Breaking(200, b"abc", {}), PaperReply(200, b"de", {})]
    send = server.send
    server.send = lambda method, url, body=None: (  # type: ignore[method-assign]
        replies.pop(0) if "op=" not in url else send(method, url, body)
    )
    with storage.open("/a") as stream:
        assert stream.read() == b"abcde"
    assert "&offset=3&" in server.seen[-1][1]


def test_what_happened_although_the_answer_was_lost_is_not_done_twice(
    storage: HdfsStorage, server: PaperSender
) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FILE}), refused(MISSING))
    server.on("DELETE", broken(), AssertionError("asked again"))
    assert storage.delete("/a")["size_bytes"] == 5


def test_it_is_tried_only_so_often(storage: HdfsStorage, server: PaperSender) -> None:
    server.on("GETFILESTATUS", broken())
    with pytest.raises(StorageUnavailableError, match="cannot reach the storage at http://namenode:9870"):
        storage.status("/a")
    assert len(server.seen) == len(client.PAUSES_S) + 1


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refused(MISSING), StorageNotFoundError, "there is no '/a'"),
        (refused("FileAlreadyExistsException", 403), StorageExistsError, "already"),
        (refused("ParentNotDirectoryException", 403), StorageNotFolderError, "is a file"),
        (
            refused("AccessControlException", 403, "/f (is not a directory)"),
            StorageNotFolderError,
            "is a file",
        ),
        (refused("AccessControlException", 403), StoragePermissionError, "does not let this user"),
        (refused("InvalidToken", 403), StoragePermissionError, "token for '/a' is not valid"),
        (refused("x", 401, "y"), StoragePermissionError, "who asks"),
        (refused("PathIsNotEmptyDirectoryException", 403), StorageNotEmptyError, "not empty"),
        (refused("NSQuotaExceededException", 403, "quota=1"), StorageFullError, "quota"),
        (refused("SafeModeException", 403), StorageSafeModeError, "safe mode"),
        (refused("IOException", 500, "disk\nat java.lang"), StorageError, "says: disk"),
        (refused("IOException", 500, "No space left on device"), StorageFullError, "no room"),
        ((503, b"busy", {}), StorageUnavailableError, "busy"),
        (fine(b"<html>"), StorageError, "does not speak WebHDFS"),
        (broken("refused"), StorageUnavailableError, "cannot reach the storage at http://namenode:9870"),
    ],
)
def test_what_goes_wrong_becomes_the_right_error(
    storage: HdfsStorage, server: PaperSender, answer: Any, kind: type[Exception], said: str
) -> None:
    server.on("MKDIRS", answer)
    with pytest.raises(kind, match=said) as caught:
        storage.mkdir("/a")
    assert type(caught.value) is kind


def test_opening_a_folder_says_that_it_is_one(storage: HdfsStorage, server: PaperSender) -> None:
    server.on("GETFILESTATUS", fine({"FileStatus": FOLDER}))
    with pytest.raises(StorageIsFolderError):
        storage.open("/a")


def test_a_name_that_is_not_utf_8_is_an_error_of_that_file(storage: HdfsStorage) -> None:
    with pytest.raises(StorageError, match="is not UTF-8"):
        storage.status("/a\udcff")


def test_a_folder_over_a_file_is_not_told_to_overwrite(storage: HdfsStorage, server: PaperSender) -> None:
    server.on("MKDIRS", refused("FileAlreadyExistsException", 403))
    with pytest.raises(StorageExistsError, match="as a file") as caught:
        storage.mkdir("/a")
    assert caught.value.hint is None
