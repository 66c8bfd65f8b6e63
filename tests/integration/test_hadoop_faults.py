# SPDX-License-Identifier: MIT
"""Servers of HDFS that die, hang and come back, as tests make them; and what a client sees of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openpaisdk.errors import StorageError
from openpaisdk.storage.hdfs.storage import HdfsStorage
from tests.hadoop.cluster import Hadoop

pytestmark = pytest.mark.integration


def test_files_outlive_a_data_node_and_a_restart_of_everything(
    make_hadoop: Callable[..., Hadoop], tmp_path: Path
) -> None:
    cluster = make_hadoop(data_nodes=2, properties={"dfs.replication": 2})
    cluster.make_folder("/user/alice", owner="alice")
    storage = HdfsStorage(cluster.uri, user="alice")
    (tmp_path / "file").write_bytes(b"content" * 10_000)

    def content() -> bytes:
        with storage.open("/user/alice/file") as stream:
            return stream.read()

    storage.upload(str(tmp_path / "file"), "/user/alice/file")
    for node in cluster.data_nodes:
        node.kill()
        assert content() == b"content" * 10_000
        node.start()
        cluster.wait_until_ready()
    cluster.name_node.kill()
    with pytest.raises(StorageError):
        content()
    cluster.name_node.start()
    cluster.wait_until_ready()
    assert content() == b"content" * 10_000


def test_a_name_node_that_hangs_goes_on_afterwards(hadoop: Hadoop) -> None:
    storage = HdfsStorage(hadoop.uri, user="alice")
    hadoop.name_node.suspend()
    try:
        assert hadoop.state() == {}
    finally:
        hadoop.name_node.resume()
    assert storage.exists("/")
