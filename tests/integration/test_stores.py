# SPDX-License-Identifier: MIT
"""Storages behind fsspec pass the suite of all storages, on servers that speak as the real ones do."""

from __future__ import annotations

import filecmp
import itertools
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from openpaisdk.errors import (
    StorageExistsError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageUnavailableError,
)
from openpaisdk.storage.base import Storage
from tests.contract.storage import ODD_NAMES, StorageContract
from tests.hadoop.process import free_ports
from tests.stores.servers import Store, StoreMissingError, azure_server, gs_server, s3_server, sftp_server

pytestmark = pytest.mark.integration

_numbers = itertools.count()


@contextmanager
def served(server: Callable[[Path], AbstractContextManager[Store]], folder: Path) -> Iterator[Store]:
    """Run a server; tests are skipped where it cannot be had, which fails under CI."""
    with ExitStack() as stack:
        try:
            store = stack.enter_context(server(folder))
        except StoreMissingError as exc:
            pytest.skip(str(exc))
        yield store


class OnServer(StorageContract):
    """The suite in a folder that belongs to each test; a subclass says on which storage."""

    @pytest.fixture
    def root(self, storage: Storage) -> str:
        folder = f"/contract/{next(_numbers)}"
        storage.mkdir(folder)
        return folder


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with served(s3_server, tmp_path_factory.mktemp("s3")) as store:
        yield store


class TestS3(OnServer):
    """With moto, whose web server has no addresses with a line break in them."""

    refused_names = ("new\nline",)

    @pytest.fixture
    def storage(self, s3: Store) -> Storage:
        return s3.open()


def test_folders_that_other_tools_made_by_names_alone_are_folders(s3: Store, tmp_path: Path) -> None:
    import s3fs

    other = s3fs.S3FileSystem(**s3.options, use_listings_cache=False)
    other.pipe_file("models/by-name/run/a.txt", b"a")
    other.pipe_file("models/by-name/run/logs/b.txt", b"b")
    storage = s3.open()
    assert storage.status("/by-name/run")["type"] == "directory"
    assert [info["name"] for info in storage.list("/by-name/run")] == ["a.txt", "logs"]
    storage.move("/by-name/run", "/by-name/moved")
    storage.download("/by-name/moved", str(tmp_path / "back"))
    assert (tmp_path / "back" / "logs" / "b.txt").read_text() == "b"
    storage.delete("/by-name", recursive=True)
    assert not other.find("models/by-name")


def test_a_large_object_is_sent_in_parts_and_comes_back(s3: Store, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(random.Random(1).randbytes((40 << 20) + 1))
    storage = s3.open()
    stored = storage.upload(str(tmp_path / "large"), "/large")
    assert stored["size_bytes"] == (40 << 20) + 1
    assert stored["modified_at"]
    storage.download("/large", str(tmp_path / "back"))
    assert filecmp.cmp(tmp_path / "large", tmp_path / "back", shallow=False)
    with storage.open("/large", 40 << 20) as stream:
        assert len(stream.read()) == 1


def test_who_is_not_known_or_not_reached_is_said(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    endpoint = {"endpoint_url": s3.options["endpoint_url"]}
    with pytest.raises(StoragePermissionError, match="who asks") as caught:
        Store("s3://models", endpoint).open().status("/a")
    assert "`options`" in str(caught.value.hint)
    (port,) = free_ports(1)
    once = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
    nobody = {**s3.options, **once, "endpoint_url": f"http://127.0.0.1:{port}"}
    with pytest.raises(StorageUnavailableError, match="cannot reach"):
        Store("s3://models", nobody).open().status("/a")
    with pytest.raises(StorageNotFoundError):
        Store("s3://no-such-bucket", s3.options).open().list("/")


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with served(azure_server, tmp_path_factory.mktemp("azure")) as store:
        yield store


def test_files_of_azure_go_there_and_back_and_are_moved_and_deleted(azure: Store, tmp_path: Path) -> None:
    names = ["a.txt", "sub/b.txt", "sub/ümläut b#1?x"]
    for name in names:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    storage = azure.open()
    storage.upload(str(tmp_path / "tree"), "/in/tree")
    storage.move("/in/tree", "/in/moved")
    assert [info["name"] for info in storage.list("/in")] == ["moved"]
    assert [(info["name"], info["type"]) for info in storage.list("/in/moved")] == [
        ("a.txt", "file"),
        ("sub", "directory"),
    ]
    storage.download("/in/moved", str(tmp_path / "back"))
    for name in names:
        assert (tmp_path / "back" / name).read_text() == name
    with pytest.raises(StorageExistsError):
        storage.upload(str(tmp_path / "tree" / "a.txt"), "/in/moved/a.txt")
    storage.delete("/in", recursive=True)
    assert not storage.exists("/in")


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with served(sftp_server, tmp_path_factory.mktemp("sftp")) as store:
        yield store


class TestSftp(StorageContract):
    """With OpenSSH."""

    @pytest.fixture
    def storage(self, sftp: Store) -> Storage:
        return sftp.open()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        (tmp_path / "there").mkdir()
        return str(tmp_path / "there")


def test_one_connection_serves_many_threads(sftp: Store, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(40):
        (tree / str(number)).write_bytes(random.Random(number).randbytes(50_000))
    storage = sftp.open()
    storage.upload(str(tree), str(tmp_path / "there"))
    storage.download(str(tmp_path / "there"), str(tmp_path / "back"))
    for path in tree.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_a_host_that_does_not_let_in_is_an_error_without_the_password(sftp: Store) -> None:
    address = sftp.uri.replace("@", ":s3cret@")
    known = {"known_hosts": sftp.options["known_hosts"]}
    refused = Store(address, {**known, "look_for_keys": False, "allow_agent": False})
    with pytest.raises(StoragePermissionError, match="who asks") as caught:
        refused.open()
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Store(address, sftp.options).open().uri)
    (port,) = free_ports(1)
    with pytest.raises(StorageUnavailableError, match="cannot reach"):
        Store(f"sftp://127.0.0.1:{port}", sftp.options).open()


def test_only_a_known_host_is_logged_in_to(sftp: Store, tmp_path: Path) -> None:
    port = sftp.uri.rpartition(":")[2]
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    unknown, another = tmp_path / "unknown", tmp_path / "another"
    unknown.write_text("")
    another.write_text(f"[127.0.0.1]:{port} {(tmp_path / 'other.pub').read_text()}")
    for known_hosts in (unknown, another):
        with pytest.raises(StoragePermissionError, match="not the one that is known") as caught:
            Store(sftp.uri, {**sftp.options, "known_hosts": str(known_hosts)}).open()
        assert "ssh-keyscan" in str(caught.value.hint)


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with served(gs_server, tmp_path_factory.mktemp("gs")) as store:
        yield store


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # gcsfs by aiohttp
class TestGs(OnServer):
    """With gcp-storage-emulator, which cuts names at a semicolon."""

    refused_names = ("semi;colon",)

    @pytest.mark.parametrize("name", [name for name in ODD_NAMES if name != "semi;colon"])
    def test_names_are_taken_as_they_are(self, storage: Storage, root: str, file: Path, name: str) -> None:
        super().test_names_are_taken_as_they_are(storage, root, file, name)

    @pytest.fixture
    def storage(self, gs: Store) -> Storage:
        return gs.open()
