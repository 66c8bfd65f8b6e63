# SPDX-License-Identifier: MIT
"""HDFS on real Hadoop passes the suite of all storages."""

from __future__ import annotations

import itertools

import pytest

from openpaisdk.storage.base import Storage
from openpaisdk.storage.hdfs import HdfsStorage
from tests.contract.storage import StorageContract
from tests.hadoop.cluster import Hadoop

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
