# SPDX-License-Identifier: MIT
"""HDFS on real Hadoop passes the suite of all storages."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from openpaisdk._secret import Secret
from openpaisdk.errors import StoragePermissionError
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


def test_files_outlive_the_active_name_node(hadoop_ha: PairOfNameNodes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    hadoop_ha.make_folder("/user/alice", owner="alice")
    HdfsStorage(hadoop_ha.uri, user="alice").upload(str(tmp_path / "file"), "/user/alice/file")
    hadoop_ha.fail_over()
    with HdfsStorage(hadoop_ha.uri, user="alice").open("/user/alice/file") as stream:
        assert stream.read() == b"content"
