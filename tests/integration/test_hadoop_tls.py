# SPDX-License-Identifier: MIT
"""HDFS on real Hadoop over TLS: the suite of all storages, large files in parts, and who is not trusted."""

from __future__ import annotations

import itertools
import random
import traceback
from pathlib import Path

import pytest

from openpaisdk._secret import Secret
from openpaisdk.errors import ConfigError, StorageUnavailableError
from openpaisdk.storage.base import Storage
from openpaisdk.storage.registry import open_storage
from tests.contract.storage import StorageContract
from tests.hadoop.tls import KeyStore, TlsHadoop

pytestmark = pytest.mark.integration

_numbers = itertools.count()


class TestHadoopStorageOverTls(StorageContract):
    """By a CA that the user names."""

    @pytest.fixture
    def storage(self, hadoop_tls: TlsHadoop) -> Storage:
        address = hadoop_tls.uri.replace("https://", "swebhdfs://")
        return open_storage(address, user="alice", verify=str(hadoop_tls.ca))

    @pytest.fixture
    def root(self, hadoop_tls: TlsHadoop) -> str:
        folder = f"/user/alice/contract-{next(_numbers)}"
        hadoop_tls.make_folder(folder, owner="alice")
        return folder

    def test_a_folder_with_a_file_of_many_blocks_goes_there_and_back(
        self, storage: Storage, root: str, tmp_path: Path
    ) -> None:
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "large").write_bytes(random.Random(1).randbytes((5 << 20) + 321))
        for number in range(20):
            (tree / str(number)).write_text(str(number))
        requests: list[str] = []
        storage.trace = requests.append
        storage.upload(str(tree), f"{root}/tree")
        assert any("op=CONCAT" in line for line in requests)
        assert all(" https://" in line for line in requests)
        storage.download(f"{root}/tree", str(tmp_path / "back"))
        for path in tree.iterdir():
            assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(KeyStore(tmp_path_factory.mktemp("other")).ca)


def test_a_server_that_no_known_ca_vouches_for_is_not_spoken_to(hadoop_tls: TlsHadoop, other_ca: str) -> None:
    token = Secret("s3cret")
    for verify in (True, other_ca):
        with pytest.raises(StorageUnavailableError, match="certificate is not trusted") as caught:
            open_storage(hadoop_tls.uri, token=token, verify=verify).list("/")
        assert hadoop_tls.uri in str(caught.value)
        assert "`verify` in clusters.json names the CA bundle" in str(caught.value.hint)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_server_is_not_spoken_to_by_another_name_than_its_certificate_has(hadoop_tls: TlsHadoop) -> None:
    address = f"swebhdfs://127.0.0.1:{hadoop_tls.name_node.http_port}"
    with pytest.raises(StorageUnavailableError, match=r"not valid for .127\.0\.0\.1") as caught:
        open_storage(address, user="alice", verify=str(hadoop_tls.ca)).list("/")
    assert "named as in its certificate" in str(caught.value.hint)


def test_a_ca_bundle_that_is_none_is_said(hadoop_tls: TlsHadoop, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match="there is no CA bundle"):
        open_storage(hadoop_tls.uri, user="alice", verify=str(bundle))
    bundle.write_text("no certificate")
    with pytest.raises(StorageUnavailableError, match="no certificate or crl found"):
        open_storage(hadoop_tls.uri, user="alice", verify=str(bundle)).list("/")
