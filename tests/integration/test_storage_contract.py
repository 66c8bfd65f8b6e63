# SPDX-License-Identifier: MIT
"""The embedded cluster's storage passes the suite of all storages."""

from __future__ import annotations

from pathlib import Path

import pytest

from openpaisdk._secret import Secret
from openpaisdk.storage.base import Storage
from openpaisdk.storage.hdfs.storage import HdfsStorage
from openpaisdk.storage.local import FileStorage
from openpaisdk.storage.registry import open_storage
from tests.contract.storage import StorageContract

pytestmark = pytest.mark.integration


class TestEmbeddedStorage(StorageContract):
    """Through WebHDFS, as every client gets there."""

    @pytest.fixture
    def storage(self, local_server) -> Storage:  # type: ignore[no-untyped-def]
        server = local_server
        return HdfsStorage(server.uri, token=Secret(server.token))

    @pytest.fixture
    def root(self, storage: Storage, request: pytest.FixtureRequest) -> str:
        folder = f"/contract/{abs(hash(request.node.name))}"
        storage.mkdir(folder)
        return folder


class TestFileStorage(StorageContract):
    """Folders of this machine."""

    @pytest.fixture
    def storage(self) -> Storage:
        return FileStorage()

    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        (tmp_path / "storage").mkdir()
        return str(tmp_path / "storage")


class TestFsspecStorage(StorageContract):
    """Behind fsspec, which keeps it in memory."""

    @pytest.fixture
    def storage(self) -> Storage:
        return open_storage("memory://")

    @pytest.fixture
    def root(self, storage: Storage, request: pytest.FixtureRequest) -> str:
        folder = f"/contract/{abs(hash(request.node.name))}"
        storage.mkdir(folder)
        return folder
