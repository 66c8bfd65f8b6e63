# SPDX-License-Identifier: MIT
"""Real Hadoop as fixtures; ``tests/integration/conftest.py`` takes them up.

Processes are started when the first test asks, and serve all tests of the session. A test that breaks
something makes it whole again, or starts a cluster of its own with ``make_hadoop``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.hadoop.cluster import Hadoop
from tests.hadoop.high_availability import PairOfNameNodes
from tests.hadoop.jars import HadoopMissingError, fetch_jars
from tests.hadoop.kerberos import Kdc, KerberosHadoop
from tests.hadoop.tls import TlsHadoop


@pytest.fixture(scope="session")
def hadoop_jars() -> Path:
    """The jars; a test is skipped where they cannot be had, which fails under CI."""
    try:
        return fetch_jars()
    except HadoopMissingError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def hadoop(hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hadoop]:
    """One name node and two data nodes, which do without what clients of WebHDFS rarely use."""
    without = {"dfs.namenode.acls.enabled": "false", "dfs.namenode.xattrs.enabled": "false"}
    with Hadoop(tmp_path_factory.mktemp("hadoop"), properties=without) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    """A Kerberos realm."""
    try:
        center = Kdc(tmp_path_factory.mktemp("kdc"))
    except HadoopMissingError as exc:
        pytest.skip(str(exc))
    with center:
        yield center


@pytest.fixture(scope="session")
def hadoop_kerberos(
    hadoop_jars: Path, kdc: Kdc, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KerberosHadoop]:
    """A cluster with Kerberos and one data node."""
    with KerberosHadoop(tmp_path_factory.mktemp("hadoop-kerberos"), kdc=kdc, data_nodes=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def hadoop_tls(hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsHadoop]:
    """A cluster that speaks TLS only, with one data node and small blocks."""
    small_blocks = {"dfs.blocksize": 1 << 20}
    with TlsHadoop(tmp_path_factory.mktemp("hadoop-tls"), data_nodes=1, properties=small_blocks) as cluster:
        yield cluster


@pytest.fixture
def hadoop_ha(hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairOfNameNodes]:
    """Two name nodes and one data node, for one test alone."""
    with PairOfNameNodes(tmp_path_factory.mktemp("hadoop-ha"), data_nodes=1) as cluster:
        yield cluster


@pytest.fixture
def make_hadoop(
    hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Hadoop]]:
    """Start clusters of a test's own: ``make_hadoop(data_nodes=3, properties=…)``."""
    with ExitStack() as stack:

        def make(kind: type[Hadoop] = Hadoop, **options: Any) -> Hadoop:
            return stack.enter_context(kind(tmp_path_factory.mktemp("hadoop"), **options))

        yield make
