# SPDX-License-Identifier: MIT
"""HDFS on real Hadoop passes the suite of all storages."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from openpaisdk._secret import Secret
from openpaisdk.errors import (
    StorageFullError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageSafeModeError,
)
from openpaisdk.storage.base import Storage
from openpaisdk.storage.hdfs.storage import HdfsStorage
from tests.contract.storage import StorageContract
from tests.hadoop.cluster import Hadoop
from tests.hadoop.high_availability import PairOfNameNodes
from tests.hadoop.kerberos import KerberosHadoop

pytestmark = pytest.mark.integration

_numbers = itertools.count()


class TestHadoopStorage(StorageContract):
    """Through WebHDFS, as a user who is not the superuser."""

    @pytest.fixture
    def storage(self, hadoop: Hadoop) -> Storage:
        return HdfsStorage(hadoop.uri, user="alice")

    @pytest.fixture
    def root(self, hadoop: Hadoop) -> str:
        folder = f"/user/alice/contract-{next(_numbers)}"
        hadoop.make_folder(folder, owner="alice")
        return folder


@pytest.fixture
def alice(hadoop: Hadoop) -> HdfsStorage:
    return HdfsStorage(hadoop.uri, user="alice")


@pytest.fixture
def mebibyte(tmp_path: Path) -> str:
    (tmp_path / "mebibyte").write_bytes(bytes(1024**2))
    return str(tmp_path / "mebibyte")


def test_what_belongs_to_somebody_else_is_not_touched(
    hadoop: Hadoop, alice: HdfsStorage, mebibyte: str, tmp_path: Path
) -> None:
    hadoop.make_folder("/user/bob", owner="bob")
    hadoop.make_folder("/user/bob/private", owner="bob", permission="700")
    HdfsStorage(hadoop.uri, user="bob").upload(mebibyte, "/user/bob/private/f")
    for call in (alice.list, alice.open, alice.delete):
        with pytest.raises(StoragePermissionError):
            call("/user/bob/private/f")
    for overwrite in (False, True):
        with pytest.raises(StoragePermissionError):
            alice.upload(mebibyte, "/user/bob/g", overwrite=overwrite)
    with pytest.raises(StoragePermissionError):
        alice.mkdir("/user/bob/d")
    with pytest.raises(StoragePermissionError):
        alice.download("/user/bob/private/f", str(tmp_path / "got"))
    with pytest.raises(StoragePermissionError):
        alice.move("/user/bob/private", "/user/alice/mine")
    assert not (tmp_path / "got").exists()
    assert [entry["name"] for entry in alice.list("/user/bob")] == ["private"]


@pytest.mark.parametrize("quota", [{"names": 2}, {"size_bytes": 512 * 1024}], ids=["names", "bytes"])
def test_a_quota_that_is_used_up_is_said_and_leaves_no_half_file(
    hadoop: Hadoop, alice: HdfsStorage, mebibyte: str, quota: dict[str, int]
) -> None:
    folder = f"/user/alice/quota-{next(_numbers)}"
    hadoop.make_folder(folder, owner="alice")
    hadoop.set_quota(folder, **quota)
    if "names" in quota:
        alice.mkdir(f"{folder}/d")
    with pytest.raises(StorageFullError):
        alice.upload(mebibyte, f"{folder}/f")
    with pytest.raises(StorageNotFoundError):
        alice.status(f"{folder}/f")


def test_in_safe_mode_files_are_read_and_nothing_is_changed(
    hadoop: Hadoop, alice: HdfsStorage, mebibyte: str
) -> None:
    folder = f"/user/alice/safe-{next(_numbers)}"
    hadoop.make_folder(folder, owner="alice")
    alice.upload(mebibyte, f"{folder}/f")
    with hadoop.safe_mode():
        with alice.open(f"{folder}/f") as stream:
            assert len(stream.read()) == 1024**2
        for change in (
            lambda: alice.upload(mebibyte, f"{folder}/g"),
            lambda: alice.upload(mebibyte, f"{folder}/f", overwrite=True),
            lambda: alice.mkdir(f"{folder}/d"),
            lambda: alice.delete(f"{folder}/f"),
            lambda: alice.move(f"{folder}/f", f"{folder}/g"),
        ):
            with pytest.raises(StorageSafeModeError):
                change()
    assert [entry["name"] for entry in alice.list(folder)] == ["f"]


@pytest.fixture(scope="module")
def token(hadoop_kerberos: KerberosHadoop) -> str:
    return hadoop_kerberos.delegation_token("alice")


class TestHadoopStorageByDelegationToken(StorageContract):
    """Where Kerberos is asked for, and a client has a delegation token only."""

    @pytest.fixture
    def storage(self, hadoop_kerberos: KerberosHadoop, token: str) -> Storage:
        return HdfsStorage(hadoop_kerberos.uri, token=Secret(token))

    @pytest.fixture
    def root(self, hadoop_kerberos: KerberosHadoop) -> str:
        folder = f"/user/alice/contract-{next(_numbers)}"
        hadoop_kerberos.make_folder(folder, owner="alice")
        return folder


def test_who_has_no_token_is_not_let_in(hadoop_kerberos: KerberosHadoop) -> None:
    with pytest.raises(StoragePermissionError):
        HdfsStorage(hadoop_kerberos.uri, user="hdfs").list("/")


@pytest.fixture
def ticket(hadoop_kerberos: KerberosHadoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process log in as alice by itself."""
    pytest.importorskip("requests_kerberos", reason="the extra 'kerberos' is not installed")
    for name, value in hadoop_kerberos.kdc.login("alice").items():
        monkeypatch.setenv(name, value)
    hadoop_kerberos.make_folder("/user/alice", owner="alice")


@pytest.mark.usefixtures("ticket")
class TestHadoopStorageByTicket(StorageContract):
    """With a ticket of Kerberos, through the client of the ``hdfs`` package."""

    @pytest.fixture
    def storage(self, hadoop_kerberos: KerberosHadoop) -> Storage:
        return HdfsStorage(hadoop_kerberos.uri, kerberos=True)

    @pytest.fixture
    def root(self, hadoop_kerberos: KerberosHadoop) -> str:
        folder = f"/user/alice/contract-{next(_numbers)}"
        hadoop_kerberos.make_folder(folder, owner="alice")
        return folder


@pytest.mark.usefixtures("ticket")
def test_a_ticket_lets_in_and_many_threads_share_it(hadoop_kerberos: KerberosHadoop, tmp_path: Path) -> None:
    storage = HdfsStorage(hadoop_kerberos.uri, kerberos=True)
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / str(number)).write_text(str(number))
    storage.upload(str(tmp_path / "tree"), "/user/alice/by-ticket", overwrite=True)
    storage.download("/user/alice/by-ticket", str(tmp_path / "back"))
    assert {path.name: path.read_text() for path in (tmp_path / "back").iterdir()} == {
        str(number): str(number) for number in range(20)
    }
    with pytest.raises(StoragePermissionError):
        storage.mkdir("/not-hers")


def test_a_token_that_was_cancelled_lets_nobody_in(hadoop_kerberos: KerberosHadoop) -> None:
    token = hadoop_kerberos.delegation_token("alice")
    storage = HdfsStorage(hadoop_kerberos.uri, token=Secret(token))
    assert storage.exists("/user")
    hadoop_kerberos.call_as("alice", "PUT", "CANCELDELEGATIONTOKEN", "/", token=token)
    with pytest.raises(StoragePermissionError) as caught:
        storage.exists("/user")
    assert token not in str(caught.value)


def test_files_outlive_the_active_name_node(hadoop_ha: PairOfNameNodes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    hadoop_ha.make_folder("/user/alice", owner="alice")
    HdfsStorage(hadoop_ha.uri, user="alice").upload(str(tmp_path / "file"), "/user/alice/file")
    hadoop_ha.fail_over()
    with HdfsStorage(hadoop_ha.uri, user="alice").open("/user/alice/file") as stream:
        assert stream.read() == b"content"
