# SPDX-License-Identifier: MIT
"""The embedded cluster's storage as WebHDFS clients see it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hdfs import Client, HdfsError, TokenClient

from .conftest import wait_until

pytestmark = pytest.mark.integration

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def server(local_server):
    return local_server


@pytest.fixture
def base(server, request):
    """A folder of this test on the storage."""
    return f"/user/{server.user}/{request.node.name.partition('[')[0]}"


@pytest.fixture
def client(server):
    client = TokenClient(server.uri, server.token, timeout=30)
    client._session.trust_env = False
    yield client
    client._session.close()


def url(server, path: str, op: str, **values: object) -> str:
    words = [f"op={op}", *(f"{name}={value}" for name, value in values.items())]
    return f"{server.uri}/webhdfs/v1{path}?{'&'.join(words)}"


def with_token(server, path: str, op: str, **values: object) -> str:
    return url(server, path, op, delegation=server.token, **values)


def plain(method: str, address: str, **options) -> requests.Response:
    return requests.request(method, address, timeout=30, allow_redirects=False, **options)


def exception(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["RemoteException"]["exception"]


def storage(server) -> Path:
    return Path(server.ready["home"]) / "storage"


# --- the hdfs package -------------------------------------------------------------------------
def test_the_hdfs_package_writes_reads_and_deletes(client, base):
    client.write(f"{base}/a/file", data=b"hello world")
    with client.read(f"{base}/a/file") as reader:
        assert reader.read() == b"hello world"
    with client.read(f"{base}/a/file", offset=6, length=3) as reader:
        assert reader.read() == b"wor"
    client.write(f"{base}/a/file", data=b"!", append=True)
    assert client.status(f"{base}/a/file")["length"] == 12
    assert client.list(base, status=True)[0][1]["type"] == "DIRECTORY"
    assert client.content(base)["fileCount"] == 1
    client.rename(f"{base}/a/file", f"{base}/b")
    assert client.list(base) == ["a", "b"]
    assert client.delete(base, recursive=True)
    assert not client.delete(base)
    assert client.status(base, strict=False) is None


def test_the_hdfs_package_uploads_and_downloads_trees(client, base, tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "ü &%+#?.txt").write_bytes(b"x")
    (source / "large").write_bytes(os.urandom(3 * 1024**2 + 17))
    client.upload(f"{base}/tree", str(source), n_threads=2)
    client.download(f"{base}/tree", str(tmp_path / "copy"), n_threads=2)
    for path in ("sub/ü &%+#?.txt", "large"):
        assert (tmp_path / "copy" / path).read_bytes() == (source / path).read_bytes()


def test_relative_paths_begin_in_the_users_folder(client, server):
    assert client.resolve("x") == f"/user/{server.user}/x"


def test_errors_have_hadoops_words(client, base):
    client.write(f"{base}/file", data=b"x")
    with pytest.raises(HdfsError) as caught:
        client.write(f"{base}/file", data=b"y")
    assert caught.value.exception == "FileAlreadyExistsException"
    with pytest.raises(HdfsError) as caught, client.read(f"{base}/nope"):
        pass
    assert caught.value.exception == "FileNotFoundException"
    with pytest.raises(HdfsError) as caught:
        client.delete(base)
    assert caught.value.exception == "PathIsNotEmptyDirectoryException"
    client.write(f"{base}/file", data=b"y", overwrite=True)
    with client.read(f"{base}/file") as reader:
        assert reader.read() == b"y"


def test_permissions_and_times_are_set(client, base):
    client.write(f"{base}/file", data=b"x", permission="640")
    assert client.status(f"{base}/file")["permission"] == "640"
    client.set_permission(f"{base}/file", "600")
    client.set_times(f"{base}/file", modification_time=1_000_000)
    status = client.status(f"{base}/file")
    assert (status["permission"], status["modificationTime"]) == ("600", 1_000_000)


def test_a_bearer_header_is_as_good(server, base):
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {server.token}"
    client = Client(server.uri, session=session, timeout=30)
    client.write(f"{base}/file", data=b"x")
    assert client.list(base) == ["file"]
    session.close()


def test_hdfscli_works_unchanged(server, base, tmp_path):
    (tmp_path / "config").write_text(
        f"[global]\ndefault.alias = here\n[here.alias]\nurl = {server.uri}\n"
        f"client = TokenClient\ntoken = {server.token}\n"
    )
    (tmp_path / "file").write_text("from the command line")
    environment = {**os.environ, "HDFSCLI_CONFIG": str(tmp_path / "config"), "HOME": str(tmp_path)}

    def hdfscli(*words: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "hdfs", *words]
        subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=60)

    hdfscli("upload", "file", f"{base}/up")
    hdfscli("download", f"{base}/up", "down")
    assert (tmp_path / "down").read_text() == "from the command line"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_uploads_through_the_redirect(server, base, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(2 * 1024**2))
    address = with_token(server, f"{base}/file", "CREATE", overwrite="true")
    for _ in range(2):
        subprocess.run(
            ["curl", "-sf", "-L", "-T", "file", address],
            cwd=tmp_path,
            check=True,
            timeout=60,
            capture_output=True,
        )
    subprocess.run(
        ["curl", "-sf", "-L", "-o", "copy", with_token(server, f"{base}/file", "OPEN")],
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()


# --- the wire ---------------------------------------------------------------------------------
def test_nobody_gets_in_without_a_token(server):
    for address in (url(server, "/", "LISTSTATUS"), url(server, "/", "LISTSTATUS", delegation="wrong")):
        assert exception(plain("GET", address)) == (401, "SecurityException")
    assert plain("GET", url(server, "/", "LISTSTATUS", **{"user.name": server.user})).status_code == 401
    assert plain("PUT", url(server, "/x", "CREATE", data="true"), data=b"x").status_code == 401


def test_the_redirect_keeps_token_and_parameters(server, base):
    answer = plain("PUT", with_token(server, f"{base}/a%20b", "CREATE", overwrite="true"))
    assert answer.status_code == 307
    place = urlsplit(answer.headers["location"])
    values = parse_qs(place.query)
    assert place.path == f"/webhdfs/v1{base}/a%20b"
    assert (values["delegation"], values["overwrite"], values["op"]) == ([server.token], ["true"], ["CREATE"])
    written = plain("PUT", answer.headers["location"], data=b"content", headers=OCTETS)
    assert (written.status_code, written.content) == (201, b"")
    assert plain("GET", with_token(server, f"{base}/a%20b", "OPEN")).content == b"content"


def test_the_second_step_may_be_asked_for_without_a_redirect(server, base):
    answer = plain("PUT", with_token(server, f"{base}/file", "CREATE", noredirect="true"))
    assert answer.status_code == 200
    assert "noredirect" not in answer.json()["Location"]
    assert plain("PUT", answer.json()["Location"], data=b"x").status_code == 201
    appended = plain("POST", with_token(server, f"{base}/file", "APPEND", noredirect="true")).json()[
        "Location"
    ]
    assert plain("POST", appended, data=b"y").status_code == 200
    opened = plain("GET", with_token(server, f"{base}/file", "OPEN", noredirect="true")).json()["Location"]
    assert plain("GET", opened).content == b"xy"


def test_chunked_bodies_are_taken(server, base):
    pieces = (b"x" * 1000 for _ in range(500))
    address = with_token(server, f"{base}/file", "CREATE", data="true")
    assert plain("PUT", address, data=pieces).status_code == 201
    assert len(plain("GET", with_token(server, f"{base}/file", "OPEN")).content) == 500_000


def test_an_empty_file_is_a_file(server, base):
    assert plain("PUT", with_token(server, f"{base}/file", "CREATE", data="true")).status_code == 201
    answer = plain("GET", with_token(server, f"{base}/file", "OPEN"))
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "op", "values", "expected"),
    [
        ("GET", "NOPE", {}, (400, "IllegalArgumentException")),
        ("GET", "DELETE", {}, (400, "IllegalArgumentException")),
        ("GET", "OPEN", {"offset": "-1"}, (400, "IllegalArgumentException")),
        ("GET", "OPEN", {"offset": "x"}, (400, "IllegalArgumentException")),
        ("GET", "OPEN", {"offset": "99"}, (403, "IOException")),
        ("PUT", "CREATE", {"overwrite": "maybe"}, (400, "IllegalArgumentException")),
        ("PUT", "MKDIRS", {"permission": "9"}, (400, "IllegalArgumentException")),
        ("PUT", "MKDIRS", {}, (403, "FileAlreadyExistsException")),
        ("PUT", "RENAME", {"destination": "relative"}, (400, "IllegalArgumentException")),
    ],
)
def test_what_makes_no_sense_is_refused(server, base, method, op, values, expected):
    plain("PUT", with_token(server, f"{base}/file", "CREATE", data="true", overwrite="true"), data=b"x")
    assert exception(plain(method, with_token(server, f"{base}/file", op, **values))) == expected


def test_long_folders_are_listed_in_batches(server, base):
    folder = storage(server) / base[1:]
    folder.mkdir(parents=True)
    names = [f"{number:04}" for number in range(2100)]
    for name in names:
        (folder / name).touch()
    seen, left = [], 1
    while left:
        after = {"startAfter": seen[-1]} if seen else {}
        listing = plain("GET", with_token(server, base, "LISTSTATUS_BATCH", **after)).json()[
            "DirectoryListing"
        ]
        seen += [entry["pathSuffix"] for entry in listing["partialListing"]["FileStatuses"]["FileStatus"]]
        left = listing["remainingEntries"]
        assert left == len(names) - len(seen)
    assert seen == names


def test_links_are_told_apart_from_what_they_name(server, base):
    plain("PUT", with_token(server, f"{base}/file", "CREATE", data="true"), data=b"x")
    (storage(server) / base[1:] / "link").symlink_to("file")
    status = plain("GET", with_token(server, f"{base}/link", "GETFILELINKSTATUS")).json()["FileStatus"]
    assert status["type"] == "SYMLINK"
    assert plain("GET", with_token(server, f"{base}/link", "GETLINKTARGET")).json() == {"Path": "file"}
    status = plain("GET", with_token(server, f"{base}/link", "GETFILESTATUS")).json()["FileStatus"]
    assert status["type"] == "FILE"


def test_a_delegation_token_is_given_to_who_shows_one_in_a_header(server):
    header = {"Authorization": f"Bearer {server.token}"}
    given = plain("GET", url(server, "/", "GETDELEGATIONTOKEN"), headers=header)
    assert given.json() == {"Token": {"urlString": server.token}}
    assert exception(plain("GET", with_token(server, "/", "GETDELEGATIONTOKEN"))) == (403, "IOException")


def test_checksums_follow_every_change(server, base):
    address = with_token(server, f"{base}/file", "GETFILECHECKSUM")
    seen = []
    for content in (b"one", b"two", b"two"):
        write = with_token(server, f"{base}/file", "CREATE", data="true", overwrite="true")
        plain("PUT", write, data=content)
        seen += [plain("GET", address).json()["FileChecksum"] for _ in range(2)]
    assert seen[0] == seen[1] != seen[2]
    assert seen[2] == seen[3] == seen[4] == seen[5]


def test_joining_leaves_all_as_it_was_when_a_part_is_missing(server, base):
    for name in ("a", "b"):
        write = with_token(server, f"{base}/{name}", "CREATE", data="true", permission="640")
        plain("PUT", write, data=name.encode())
    wrong = with_token(server, f"{base}/a", "CONCAT", sources=f"{base}/b,{base}/missing")
    assert exception(plain("POST", wrong)) == (404, "FileNotFoundException")
    assert plain("GET", with_token(server, f"{base}/a", "OPEN")).content == b"a"
    joined = with_token(server, f"{base}/a", "CONCAT", sources=f"{base}/b")
    assert plain("POST", joined).status_code == 200
    assert plain("GET", with_token(server, f"{base}/a", "OPEN")).content == b"ab"
    status = plain("GET", with_token(server, f"{base}/a", "GETFILESTATUS")).json()["FileStatus"]
    assert status["permission"] == "640"


def test_paths_do_not_lead_out(server):
    for path in ("/%2e%2e/server.json", "/a/%2E%2E/%2e%2e/x", "/..%2f..%2fserver.json", "/a%00b", "/x/%2e"):
        assert raw_status(server, path) == 400, path
    assert raw_status(server, "/.uploads") == 403


def raw_status(server, path: str) -> int:
    """Send a path as it is; HTTP libraries would tidy it."""
    with socket.create_connection(("127.0.0.1", server.ready["port"]), timeout=30) as connection:
        host = server.uri.removeprefix("http://")
        query = f"op=LISTSTATUS&delegation={server.token}"
        request = f"GET /webhdfs/v1{path}?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        return int(connection.makefile("rb").readline().split()[1])


# --- whole or not at all ----------------------------------------------------------------------
def test_an_upload_that_breaks_off_leaves_nothing(server, base):
    with socket.create_connection(("127.0.0.1", server.ready["port"]), timeout=30) as connection:
        host = server.uri.removeprefix("http://")
        path = f"/webhdfs/v1{base}/half?op=CREATE&data=true&delegation={server.token}"
        head = f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500_000)
    assert exception(plain("GET", with_token(server, f"{base}/half", "GETFILESTATUS")))[0] == 404
    aside = storage(server) / ".uploads"
    wait_until(lambda: os.listdir(aside) == [])


def test_readers_see_the_old_file_or_the_new_one(server, base):
    size = 1024**2
    create = with_token(server, f"{base}/file", "CREATE", data="true", overwrite="true")
    plain("PUT", create, data=b"0" * size)
    over = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        session = requests.Session()
        while not over.is_set():
            content = session.get(with_token(server, f"{base}/file", "OPEN"), timeout=30).content
            seen.append(content[:1] if content == content[:1] * size else b"torn")
        session.close()

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 10):
        plain("PUT", create, data=b"%d" % number * size)
    over.set()
    reader.join()
    assert seen
    assert b"torn" not in seen


def test_memory_stays_flat_while_large_files_pass(server, base):
    def pieces():
        piece = os.urandom(1024**2)
        for _ in range(200):
            yield piece

    def resident_mb() -> float:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    before = resident_mb()
    address = with_token(server, f"{base}/large", "CREATE", data="true")
    assert plain("PUT", address, data=pieces()).status_code == 201
    with requests.get(with_token(server, f"{base}/large", "OPEN"), stream=True, timeout=60) as answer:
        assert sum(len(piece) for piece in answer.iter_content(1024**2)) == 200 * 1024**2
    assert resident_mb() - before < 30
    plain("DELETE", with_token(server, f"{base}/large", "DELETE"))


# --- tasks ------------------------------------------------------------------------------------
TASK = """
import os, urllib.request, urllib.error
workspace = os.environ["PAI_SDK_JOB_WORKSPACE"].removeprefix("webhdfs")
base = "http" + workspace.replace("/user/", "/webhdfs/v1/user/", 1)
token = open(os.environ["PAI_SDK_TOKEN_FILE"]).read()
assert oct(os.stat(os.environ["PAI_SDK_TOKEN_FILE"]).st_mode & 0o777) == "0o600"
def call(address, method="PUT", data=b"", op="CREATE&data=true"):
    request = urllib.request.Request(f"{address}?op={op}&delegation={token}", data=data, method=method)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
above = call(base + "/../../x", "GET", None, "LISTSTATUS")
print(call(base + "/output/mine"), call(base + "-other/x"), above)
origin = base.partition("/webhdfs")[0]
request = urllib.request.Request(origin + "/api/v2/jobs", headers={"Authorization": "Bearer " + token})
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_a_task_reads_elsewhere_just_the_files_that_its_job_names(server, tmp_path):
    for name in ("named.tar", "other.tar"):
        address = f"/webhdfs/v1/user/{server.user}/{name}?op=CREATE&data=true&overwrite=true"
        assert server.put(address, data=b"content").status_code == 201
    document = server.document("names", f"cp $PAI_SDK_TOKEN_FILE {tmp_path}/token; sleep 600")
    document["extras"] = {"openpaisdk": {"archives": [f"hdfs:///user/{server.user}/named.tar", 7, "x"]}}
    assert server.submit(document).status_code == 202
    wait_until(lambda: (tmp_path / "token").exists() and (tmp_path / "token").read_text())
    token = (tmp_path / "token").read_text()

    def status(method, path, operation, **options):
        return plain(method, url(server, path, operation, delegation=token, **options)).status_code

    named, other = f"/user/{server.user}/named.tar", f"/user/{server.user}/other.tar"
    assert status("GET", named, "GETFILESTATUS") == 200
    assert status("GET", named, "OPEN") == 200
    for method, path, operation in (
        ("GET", other, "OPEN"),
        ("GET", f"/user/{server.user}", "LISTSTATUS"),
        ("GET", f"{named}x", "GETFILESTATUS"),
        ("PUT", named, "CREATE"),
        ("POST", named, "APPEND"),
        ("POST", named, "TRUNCATE"),
        ("DELETE", named, "DELETE"),
    ):
        assert status(method, path, operation, newlength=0, overwrite="true") == 403, (path, operation)
    server.put(f"/api/v2/jobs/{server.user}~names/executionType", json={"value": "STOP"})
    assert server.wait("names")["done"]
    assert status("GET", named, "OPEN") == 401


def test_a_task_reaches_its_jobs_folder_by_its_token_and_nothing_else(server, client, tmp_path):
    script = tmp_path / "task.py"
    script.write_text(TASK)
    ended = server.run("reaches", f"python3 {script}; cp $PAI_SDK_TOKEN_FILE {tmp_path}/token")
    listed = server.get(
        f"/local/v1/follow?job={server.user}~reaches&stream=all",
    ).text
    assert ended["state"] == "SUCCEEDED", listed
    assert "201 403 400\\n401\\n" in listed
    assert client.list(f"/user/{server.user}/jobs/reaches/output") == ["mine"]
    token = (tmp_path / "token").read_text()
    mine = url(server, f"/user/{server.user}/jobs/reaches", "LISTSTATUS", delegation=token)
    assert plain("GET", mine).status_code == 401
