# SPDX-License-Identifier: MIT
"""``hdfscli`` and curl work alike against real Hadoop and against the embedded cluster."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.hadoop.cluster import Hadoop

pytestmark = pytest.mark.integration

_numbers = itertools.count()


@dataclass(frozen=True)
class Target:
    """A server, as the configuration of ``hdfscli`` and an address for curl name it."""

    uri: str
    folder: str
    access: str
    alias: str

    def address(self, path: str, op: str, more: str = "") -> str:
        return f"{self.uri}/webhdfs/v1{quote(self.folder + path)}?op={op}&{self.access}{more}"


@pytest.fixture(params=["hadoop", "embedded"])
def target(request: pytest.FixtureRequest) -> Target:
    number = next(_numbers)
    if request.param == "hadoop":
        hadoop: Hadoop = request.getfixturevalue("hadoop")
        folder = f"/user/alice/clients-{number}"
        hadoop.make_folder(folder, owner="alice")
        alias = f"url = {hadoop.uri}\nclient = InsecureClient\nuser = alice\n"
        return Target(hadoop.uri, folder, "user.name=alice", alias)
    server = request.getfixturevalue("local_server")
    alias = f"url = {server.uri}\nclient = TokenClient\ntoken = {server.token}\n"
    folder = f"/user/{server.user}/clients-{number}"
    return Target(server.uri, folder, f"delegation={server.token}", alias)


@pytest.fixture
def hdfscli(target: Target, tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "hdfscli.cfg").write_text(f"[global]\ndefault.alias = it\n[it.alias]\n{target.alias}")
    environment = {**os.environ, "HDFSCLI_CONFIG": str(tmp_path / "hdfscli.cfg"), "HOME": str(tmp_path)}

    def run(*words: str, data: bytes | None = None) -> str:
        command = [sys.executable, "-W", "ignore", "-m", "hdfs", *words]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, check=False, input=data, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    return run


def curl(folder: Path, *words: str) -> bytes:
    done = subprocess.run(
        ["curl", "-s", "-S", "--noproxy", "*", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return done.stdout


def test_hdfscli_uploads_and_downloads(target: Target, hdfscli: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub ü").mkdir(parents=True)
    (tmp_path / "tree" / "sub ü" / "100%.txt").write_bytes(b"hundred")
    (tmp_path / "tree" / "large").write_bytes(os.urandom(3 * 1024**2 + 1))
    hdfscli("upload", "--threads", "2", "tree", f"{target.folder}/tree")
    hdfscli("download", "--threads", "2", f"{target.folder}/tree", "back")
    for name in ("sub ü/100%.txt", "large"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "tree" / name).read_bytes()


def test_hdfscli_streams_and_appends(target: Target, hdfscli: Callable[..., str]) -> None:
    hdfscli("upload", "-", f"{target.folder}/stream", data=b"one")
    hdfscli("upload", "--append", "-", f"{target.folder}/stream", data=b"two")
    assert hdfscli("download", f"{target.folder}/stream", "-") == "onetwo"
    hdfscli("upload", "--force", "-", f"{target.folder}/stream", data=b"three")
    assert hdfscli("download", f"{target.folder}/stream", "-") == "three"


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"], ids=["plain", "expecting"])
@pytest.mark.parametrize("size", [0, 4096, 3 * 1024**2], ids=str)
def test_curl_puts_and_gets(target: Target, tmp_path: Path, size: int, expect: str) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    create = target.address("/a b", "CREATE", "&overwrite=true")
    octets = "Content-Type: application/octet-stream"
    put = ["-L", "-H", octets, "-H", expect, "-T", "file", "-o", "said", "-w", "%{http_code}"]
    assert curl(tmp_path, *put, create) == b"201"
    curl(tmp_path, "-f", "-L", "-o", "copy", target.address("/a b", "OPEN"))
    if size:  # curl makes no file of nothing
        assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
    status = json.loads(curl(tmp_path, target.address("/a b", "GETFILESTATUS")))["FileStatus"]
    assert status["length"] == size


def test_curl_takes_both_steps_by_hand_and_sends_pieces(target: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    place = json.loads(curl(tmp_path, "-X", "PUT", target.address("/f", "CREATE", "&noredirect=true")))
    put = ["-H", "Transfer-Encoding: chunked", "-T", "file", "-w", "%{http_code}"]
    assert curl(tmp_path, *put, place["Location"]) == b"201"
    place = json.loads(curl(tmp_path, "-X", "POST", target.address("/f", "APPEND", "&noredirect=true")))
    curl(tmp_path, "-f", "-X", "POST", "--data-binary", "end", place["Location"])
    assert curl(tmp_path, "-L", target.address("/f", "OPEN", "&offset=99999&length=3")) == b"xen"


def test_curl_joins_parts(target: Target, tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        (tmp_path / name).write_text(name)
        curl(tmp_path, "-f", "-L", "-T", name, target.address(f"/{name}", "CREATE"))
    sources = ",".join(f"{target.folder}/{name}" for name in ("second", "third"))
    curl(tmp_path, "-f", "-X", "POST", target.address("/first", "CONCAT", f"&sources={sources}"))
    assert curl(tmp_path, "-L", target.address("/first", "OPEN")) == b"firstsecondthird"
    listed = json.loads(curl(tmp_path, target.address("", "LISTSTATUS")))["FileStatuses"]["FileStatus"]
    assert [entry["pathSuffix"] for entry in listed] == ["first"]
