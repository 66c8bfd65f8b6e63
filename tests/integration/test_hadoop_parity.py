# SPDX-License-Identifier: MIT
"""The embedded cluster's storage answers each request as real Hadoop does: same status, same shape.

One difference is on purpose and not asked for here: what a first step can see (a file that is there already),
the embedded storage refuses then, before anything is sent; real Hadoop refuses it in the second step.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.hadoop.cluster import Hadoop

pytestmark = pytest.mark.integration

_numbers = itertools.count()
CONTENT = b"0123456789"


@dataclass(frozen=True)
class Request:
    """One request, as both servers get it; ``path`` begins in the test's folder."""

    method: str
    op: str
    path: str
    values: dict[str, object]
    data: bytes | None

    def __str__(self) -> str:
        words = [self.op, self.path, *(f"{key}={value}" for key, value in self.values.items())]
        return "-".join(word for word in words if word).replace("/", ".") or "nothing"


def request(
    method: str, op: str, path: str = "/f", *, data: bytes | None = None, **values: object
) -> Request:
    return Request(method, op, path, values, data)


class Server:
    """A server and how one is let in; all paths are in a folder that is the user's own."""

    def __init__(self, uri: str, user: str, access: dict[str, str]) -> None:
        self.uri = uri
        self.user = user
        self._access = access
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def send(self, folder: str, asked: Request) -> requests.Response:
        """Send one request, and the second step behind a redirect."""
        values = {
            key: value.replace("{folder}", folder) if isinstance(value, str) else value
            for key, value in asked.values.items()
        }
        return self._session.request(
            asked.method,
            f"{self.uri}/webhdfs/v1{folder}{quote(asked.path)}",
            params={**({"op": asked.op} if asked.op else {}), **self._access, **values},
            data=asked.data,
            headers={"Content-Type": "application/octet-stream"} if asked.data is not None else {},
            timeout=60,
            allow_redirects=asked.data is not None or asked.op == "OPEN" or asked.op == "GETFILECHECKSUM",
        )

    def make_folder(self) -> str:
        """Return a new folder with something of everything."""
        folder = f"/user/{self.user}/parity-{next(_numbers)}"
        for made in (
            request("PUT", "CREATE", "/f", data=CONTENT),
            request("PUT", "CREATE", "/empty", data=b""),
            request("PUT", "CREATE", "/d/g", data=CONTENT),
            request("PUT", "MKDIRS", "/d/sub"),
            request("PUT", "MKDIRS", "/e"),
        ):
            assert self.send(folder, made).ok
        return folder


def shape(value: Any) -> Any:
    """Return of a JSON value what must be alike: keys and types."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return value if isinstance(value, bool) or value is None else type(value).__name__


def seen(answer: requests.Response) -> tuple[Any, ...]:
    """Return of an answer what must be alike."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    location = "location" in answer.headers
    if kind != "application/json" or not answer.content:
        return answer.status_code, location, answer.content
    value = answer.json()
    if "RemoteException" in value:
        error = value["RemoteException"]
        assert set(error) == {"exception", "javaClassName", "message"}
        return answer.status_code, error["exception"], error["javaClassName"]
    return answer.status_code, location, shape(value)


@pytest.fixture(scope="module")
def real(hadoop: Hadoop) -> Iterator[Server]:
    hadoop.make_folder("/user/alice", owner="alice")
    server = Server(hadoop.uri, "alice", {"user.name": "alice"})
    yield server
    server.close()


@pytest.fixture(scope="module")
def embedded(local_server) -> Iterator[Server]:  # type: ignore[no-untyped-def]
    server = Server(local_server.uri, local_server.user, {"delegation": local_server.token})
    yield server
    server.close()


@pytest.fixture(scope="module")
def folders(real: Server, embedded: Server) -> tuple[str, str]:
    """Folders that no test changes."""
    return real.make_folder(), embedded.make_folder()


LOOKS = [
    *(request("GET", "GETFILESTATUS", path) for path in ("/f", "/d", "", "/missing", "/f/x")),
    *(request("GET", "LISTSTATUS", path) for path in ("/f", "/d", "/e", "/missing", "/f/x")),
    *(request("GET", "LISTSTATUS_BATCH", path) for path in ("/f", "/d", "/e", "/missing")),
    request("GET", "LISTSTATUS_BATCH", "/d", startAfter="g"),
    *(request("GET", "GETCONTENTSUMMARY", path) for path in ("/f", "/d", "/e", "/missing")),
    *(request("GET", "GETQUOTAUSAGE", path) for path in ("/f", "/d", "/missing")),
    *(request("GET", "GETFILECHECKSUM", path) for path in ("/f", "/empty", "/d", "/missing")),
    *(request("GET", "OPEN", path) for path in ("/f", "/empty", "/d", "/missing", "/f/x")),
    *(request("GET", "OPEN", offset=offset) for offset in (0, 3, 9, 10, 99, -1, "x")),
    *(request("GET", "OPEN", offset=3, length=length) for length in (0, 4, 7, 99, -1, "x")),
    request("GET", "OPEN", noredirect="true"),
    request("GET", "OPEN", noredirect="maybe"),
    request("GET", "GETFILECHECKSUM", noredirect="true"),
    request("GET", "GETHOMEDIRECTORY"),
    request("GET", "GETHOMEDIRECTORY", "/missing"),
    request("GET", "GETTRASHROOT"),
    *(request("GET", "CHECKACCESS", fsaction=action) for action in ("r--", "rw-", "-w-", "rwz", "")),
    request("GET", "CHECKACCESS"),
    request("GET", "CHECKACCESS", "/missing", fsaction="r--"),
    request("GET", "GETSERVERDEFAULTS"),
    request("GET", "GETFILELINKSTATUS"),
    request("GET", "GETLINKTARGET"),
    request("GET", "GETACLSTATUS"),
    request("GET", "GETXATTRS", encoding="text"),
    request("GET", "LISTXATTRS"),
    request("GET", "GETSTATUS"),
    request("GET", "GETFILEBLOCKLOCATIONS"),
    request("GET", "GETFILEBLOCKLOCATIONS", "/empty"),
    request("GET", "GETFILEBLOCKLOCATIONS", "/d"),
    request("GET", "getfilestatus"),
    request("GET", "NOPE"),
    request("GET", "DELETE"),
    request("GET", ""),
    request("PUT", "OPEN"),
    request("POST", "MKDIRS"),
    request("DELETE", "RENAME"),
    request("HEAD", "GETFILESTATUS"),
]


@pytest.mark.parametrize("asked", LOOKS, ids=str)
def test_looking_is_answered_alike(
    real: Server, embedded: Server, folders: tuple[str, str], asked: Request
) -> None:
    assert seen(embedded.send(folders[1], asked)) == seen(real.send(folders[0], asked))


CHANGES = [
    *(
        request("PUT", "MKDIRS", path)
        for path in ("/new", "/deep/er", "/d", "/f", "/f/x", "", f"/{'n' * 256}")
    ),
    *(request("PUT", "MKDIRS", "/new", permission=mode) for mode in ("700", "9", "1777", "x", "")),
    *(
        request("PUT", "RENAME", path, destination=f"{{folder}}{destination}")
        for path, destination in [
            ("/f", "/new"),
            ("/f", "/d"),
            ("/f", "/e"),
            ("/f", "/empty"),
            ("/f", "/f"),
            ("/f", "/missing/x"),
            ("/f", "/f/x"),
            ("/d", "/e"),
            ("/d", "/new"),
            ("/d", "/d"),
            ("/d", "/f"),
            ("/d", "/d/sub/x"),
            ("/missing", "/new"),
            ("", "/d/sub/x"),
        ]
    ),
    *(
        request("PUT", "RENAME", path, destination=f"{{folder}}{destination}", renameoptions=options)
        for path, destination, options in [
            ("/f", "/new", "NONE"),
            ("/f", "/empty", "NONE"),
            ("/f", "/empty", "OVERWRITE"),
            ("/f", "/e", "OVERWRITE"),
            ("/d", "/e", "OVERWRITE"),
            ("/e", "/d", "OVERWRITE"),
            ("/d", "/f", "OVERWRITE"),
            ("/missing", "/new", "OVERWRITE"),
            ("/f", "/missing/x", "OVERWRITE"),
            ("/f", "/f", "OVERWRITE"),
            ("/d", "/d/sub/x", "OVERWRITE"),
            ("/f", "/new", "TO_TRASH"),
            ("/f", "/new", "NOPE"),
        ]
    ),
    request("PUT", "RENAME", destination="relative"),
    request("PUT", "RENAME", destination=""),
    request("PUT", "RENAME"),
    *(request("DELETE", "DELETE", path) for path in ("/f", "/missing", "/d", "/e", "/f/x")),
    request("DELETE", "DELETE", "/d", recursive="true"),
    request("DELETE", "DELETE", "/d", recursive="maybe"),
    *(request("PUT", "SETPERMISSION", permission=mode) for mode in ("600", "9", "")),
    request("PUT", "SETPERMISSION"),
    request("PUT", "SETPERMISSION", "/missing", permission="600"),
    request("PUT", "SETOWNER"),
    request("PUT", "SETOWNER", owner="somebody"),
    request("PUT", "SETOWNER", group="somebodies"),
    request("PUT", "SETOWNER", "/missing", owner="somebody"),
    *(request("PUT", "SETREPLICATION", path, replication=2) for path in ("/f", "/d", "/missing")),
    *(request("PUT", "SETREPLICATION", replication=count) for count in (0, -1, "x", 9999)),
    request("PUT", "SETREPLICATION"),
    *(request("PUT", "SETTIMES", path, modificationtime=1000) for path in ("/f", "/d", "/missing")),
    request("PUT", "SETTIMES", modificationtime="x"),
    request("PUT", "SETTIMES"),
    *(request("POST", "TRUNCATE", newlength=length) for length in (0, 10, 99, -1, "x")),
    *(request("POST", "TRUNCATE", path, newlength=4) for path in ("/d", "/missing")),
    request("POST", "TRUNCATE"),
    *(
        request("POST", "CONCAT", target, sources=",".join(f"{{folder}}{source}" for source in sources))
        for target, sources in [
            ("/f", ["/f"]),
            ("/f", ["/d"]),
            ("/f", ["/d/g"]),
            ("/f", ["/empty"]),
            ("/f", ["/missing"]),
            ("/d", ["/f"]),
            ("/empty", ["/f"]),
            ("/empty", ["/f", "/f"]),
            ("/missing", ["/f"]),
        ]
    ),
    request("POST", "CONCAT"),
    request("POST", "CONCAT", sources=""),
    *(request("PUT", "CREATE", path) for path in ("/new", "/deep/er")),
    *(request("PUT", "CREATE", path, data=b"x") for path in ("/new", "/f", "/d", "/f/x", "/deep/er")),
    *(request("PUT", "CREATE", path, data=b"x", overwrite="true") for path in ("/new", "/f", "/d")),
    request("PUT", "CREATE", overwrite="maybe"),
    request("PUT", "CREATE", "/new", noredirect="true"),
    request("PUT", "CREATE", "/new", data=b"x", permission="600"),
    request("PUT", "CREATE", "/new", data=b"x", permission="9"),
    request("PUT", "CREATE", "/new", data=b"x", replication=2, blocksize=1048576),
    request("PUT", "CREATE", "/new", data=b"x", createparent="false"),
    request("PUT", "CREATE", "/deep/er", data=b"x", createparent="false"),
    request("PUT", "CREATE", "/new", data=b"x", blocksize="x"),
    request("PUT", "CREATE", "/new", data=b"x", replication="x"),
    request("PUT", "CREATE", "/new", data=b"x", buffersize="x"),
    *(request("POST", "APPEND", path) for path in ("/f", "/missing")),
    *(request("POST", "APPEND", path, data=b"x") for path in ("/f", "/empty", "/d", "/missing")),
    request("POST", "APPEND", noredirect="true"),
    request("PUT", "CREATESYMLINK", "/link", destination="{folder}/f"),
    request("PUT", "SETACL", aclspec="user::rwx,group::r--,other::---"),
    request("PUT", "MODIFYACLENTRIES", aclspec="user::rwx"),
    request("PUT", "REMOVEACL"),
    request("PUT", "SETXATTR", **{"xattr.name": "user.a", "xattr.value": "1", "flag": "CREATE"}),
    request("PUT", "REMOVEXATTR", **{"xattr.name": "user.a"}),
    request("PUT", "CREATESNAPSHOT", "/d"),
    request("PUT", "ALLOWSNAPSHOT", "/d"),
    request("PUT", "SETQUOTA", "/d", namespacequota=5),
    request("DELETE", "DELETESNAPSHOT", "/d", snapshotname="s"),
]


@pytest.mark.parametrize("asked", CHANGES, ids=str)
def test_changing_is_answered_alike_and_leaves_the_same(
    real: Server, embedded: Server, asked: Request
) -> None:
    answers, left = [], []
    for server in (embedded, real):
        folder = server.make_folder()
        answers.append(seen(server.send(folder, asked)))
        left.append(sorted(tree(server, folder)))
    assert answers[0] == answers[1]
    assert left[0] == left[1]


def test_cutting_a_block_is_done_at_once_here_and_later_there(
    hadoop: Hadoop, real: Server, embedded: Server
) -> None:
    cut, look = request("POST", "TRUNCATE", newlength=4), request("GET", "GETFILESTATUS")

    def is_cut(server: Server, folder: str) -> bool:
        return server.send(folder, look).json()["FileStatus"]["length"] == 4

    folder = embedded.make_folder()
    assert embedded.send(folder, cut).json() == {"boolean": True}
    assert is_cut(embedded, folder)
    folder = real.make_folder()
    assert real.send(folder, cut).json() == {"boolean": False}
    hadoop.wait_until(lambda: is_cut(real, folder))


def test_checksums_are_those_of_an_hdfs_with_the_same_crc(
    make_hadoop: Callable[..., Hadoop], embedded: Server
) -> None:
    cluster = make_hadoop(data_nodes=1, properties={"dfs.checksum.type": "CRC32"})
    cluster.make_folder("/user/alice", owner="alice")
    real = Server(cluster.uri, "alice", {"user.name": "alice"})
    pattern = random.Random(0).randbytes(1024**2 + 1)
    for size in (1, 512, 513, len(pattern), 2 * 128 * 1024**2 + 1):  # the last has three blocks
        content = (pattern * (size // len(pattern) + 1))[:size]
        sums = []
        for server in (real, embedded):
            assert server.send(f"/user/{server.user}", request("PUT", "CREATE", data=content)).ok
            found = server.send(f"/user/{server.user}", request("GET", "GETFILECHECKSUM"))
            sums.append(found.json()["FileChecksum"])
            server.send(f"/user/{server.user}", request("DELETE", "DELETE"))
        assert sums[0] == sums[1], size
    real.close()


def tree(server: Server, folder: str, below: str = "") -> Iterator[tuple[str, str, int, str]]:
    """Give all that is in a folder."""
    listed = server.send(folder, request("GET", "LISTSTATUS", below)).json()["FileStatuses"]["FileStatus"]
    for entry in listed:
        path = f"{below}/{entry['pathSuffix']}"
        yield path, entry["type"], entry["length"], entry["permission"]
        if entry["type"] == "DIRECTORY":
            yield from tree(server, folder, path)
