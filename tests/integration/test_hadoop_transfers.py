# SPDX-License-Identifier: MIT
"""Transfers to and from real Hadoop when nodes die, connections break, and there is no room."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openpaisdk.errors import (
    OpenPaiError,
    StorageError,
    StorageFullError,
    StorageMismatchError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageSafeModeError,
)
from openpaisdk.storage.hdfs.storage import HdfsStorage
from openpaisdk.storage.transfer.content import Piece
from openpaisdk.storage.transfer.progress import Progress
from tests.faults import FaultChooser
from tests.hadoop.cluster import Hadoop
from tests.hadoop.high_availability import PairOfNameNodes
from tests.hadoop.relayed import Relayed

pytestmark = pytest.mark.integration

BLOCK = 4 << 20
"""Some pieces long, so that what is under way is a small part of it."""
SMALL_BLOCKS = {"dfs.blocksize": BLOCK, "dfs.replication": 2}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all that is read in order to be sent."""
    sizes: list[int] = []
    readinto = Piece.readinto

    def counted(self: Piece, buffer: Any) -> int:
        size = readinto(self, buffer)
        sizes.append(size)
        return size

    monkeypatch.setattr(Piece, "readinto", counted)
    return sizes


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(random.Random(5).randbytes(12 * BLOCK + 12345))
    return path


def when(share: float, act: Callable[[], object]) -> Callable[[Progress], None]:
    """Return a callback that does something once, when this share of the bytes has been sent."""
    done: list[bool] = []

    def look(progress: Progress) -> None:
        if not done and progress.bytes_total and progress.bytes_done >= share * progress.bytes_total:
            done.append(True)
            act()

    return look


def has_same_bytes(storage: HdfsStorage, remote_path: str, path: Path) -> bool:
    with storage.open(remote_path) as stream:
        return stream.read() == path.read_bytes()


def every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openpaisdk.storage.transfer.progress._INTERVAL_S", 0)


def test_a_data_node_that_dies_in_the_middle_costs_at_most_one_block(
    make_hadoop: Callable[..., Hadoop], large: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    every_piece(monkeypatch)
    hadoop = make_hadoop(data_nodes=3, properties=SMALL_BLOCKS)
    hadoop.make_folder("/user/alice", owner="alice")
    storage = HdfsStorage(hadoop.uri, user="alice")
    killer = when(0.5, hadoop.data_nodes[0].kill)
    storage.upload(str(large), "/user/alice/large", on_progress=killer)
    assert not hadoop.data_nodes[0].is_running
    assert sum(sent) <= large.stat().st_size + BLOCK
    assert has_same_bytes(storage, "/user/alice/large", large)
    assert [info["name"] for info in storage.list("/user/alice")] == ["large"]


def test_a_name_node_that_dies_in_the_middle_is_followed_by_the_other(
    hadoop_ha: PairOfNameNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_piece(monkeypatch)
    hadoop_ha.make_folder("/user/alice", owner="alice")
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}").write_bytes(random.Random(number).randbytes(10_000))
    storage = HdfsStorage(";".join(hadoop_ha.uris), user="alice")
    storage.upload(str(tree), "/user/alice/tree", on_progress=when(0.5, hadoop_ha.fail_over))
    storage.download("/user/alice/tree", str(tmp_path / "back"))
    for number in range(40):
        assert (tmp_path / "back" / str(number)).read_bytes() == (tree / str(number)).read_bytes()


UPLOAD_AND_DIE = """
import os, sys
from openpaisdk.storage.hdfs.storage import HdfsStorage
from openpaisdk.storage.transfer import progress
progress._INTERVAL_S = 0
def die(now):
    if now.bytes_done >= 0.9 * now.bytes_total:
        os._exit(9)
uri, verb, source, target = sys.argv[1:]
getattr(HdfsStorage(uri, user="alice"), verb)(source, target, on_progress=die)
"""


def die_at_the_end(hadoop: Hadoop, *words: str) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD_AND_DIE, hadoop.uri, *words],
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )
    assert done.returncode == 9


@pytest.fixture(scope="module")
def small_blocks(hadoop_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hadoop]:
    with Hadoop(
        tmp_path_factory.mktemp("hadoop"), data_nodes=1, properties={"dfs.blocksize": BLOCK}
    ) as cluster:
        cluster.make_folder("/user/alice", owner="alice")
        yield cluster


def test_a_client_that_was_killed_sends_at_most_one_block_twice(
    small_blocks: Hadoop, large: Path, sent: list[int]
) -> None:
    die_at_the_end(small_blocks, "upload", str(large), "/user/alice/resumed")
    storage = HdfsStorage(small_blocks.uri, user="alice")
    assert not storage.exists("/user/alice/resumed")
    storage.upload(str(large), "/user/alice/resumed")
    assert sum(sent) <= large.stat().st_size // 10 + BLOCK
    assert has_same_bytes(storage, "/user/alice/resumed", large)


def test_a_download_that_was_killed_goes_on_where_it_was(
    small_blocks: Hadoop, large: Path, tmp_path: Path
) -> None:
    storage = HdfsStorage(small_blocks.uri, user="alice")
    storage.upload(str(large), "/user/alice/source")
    target = tmp_path / "down" / "large"
    die_at_the_end(small_blocks, "download", "/user/alice/source", str(target))
    assert not target.exists()
    seen: list[int] = []
    storage.download("/user/alice/source", str(target), on_progress=lambda now: seen.append(now.bytes_kept))
    assert max(seen) >= 0.8 * large.stat().st_size
    assert target.read_bytes() == large.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["large"]


def test_a_large_file_is_fetched_over_several_streams_and_compared(
    small_blocks: Hadoop, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openpaisdk.storage.transfer.segments.SEGMENT_BYTES", BLOCK // 2)
    monkeypatch.setattr("openpaisdk.storage.transfer.download._PARALLEL_BYTES", BLOCK)
    storage = HdfsStorage(small_blocks.uri, user="alice")
    storage.upload(str(large), "/user/alice/streams")
    requests: list[str] = []
    storage.trace = requests.append
    storage.download("/user/alice/streams", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert sum(f"&length={BLOCK // 2}" in request for request in requests) > 2
    assert any("GETFILECHECKSUM" in request for request in requests)


def test_a_large_file_has_the_checksum_that_it_would_have_in_one_piece(
    small_blocks: Hadoop, large: Path
) -> None:
    storage = HdfsStorage(small_blocks.uri, user="alice")
    storage.upload(str(large), "/user/alice/in parts, with a comma")
    with large.open("rb") as stream:
        storage.upload(stream, "/user/alice/in one piece")
    checksums = [
        small_blocks.call("GET", "GETFILECHECKSUM", f"/user/alice/{name}")["FileChecksum"]["bytes"]
        for name in ("in parts, with a comma", "in one piece")
    ]
    assert checksums[0] == checksums[1]


def test_a_folder_with_a_comma_takes_large_files_too(small_blocks: Hadoop, large: Path) -> None:
    storage = HdfsStorage(small_blocks.uri, user="alice")
    storage.upload(str(large), "/user/alice/a,b/c,d/large")
    assert has_same_bytes(storage, "/user/alice/a,b/c,d/large", large)


@pytest.mark.parametrize("folder", ["/user/alice/parts", "/user/alice/parts,2"])
def test_parts_do_not_take_the_place_of_files_whose_names_are_like_theirs(
    small_blocks: Hadoop, large: Path, tmp_path: Path, folder: str
) -> None:
    storage = HdfsStorage(small_blocks.uri, user="alice")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").hardlink_to(large)
    (tree / "big.00000").write_text("mine")
    if not storage.exists("/user/alice/big.00001"):
        storage.upload(str(tree / "big.00000"), "/user/alice/big.00001")
    storage.upload(str(tree), folder)
    assert has_same_bytes(storage, f"{folder}/big", large)
    for path in (f"{folder}/big.00000", "/user/alice/big.00001"):
        assert storage.open(path).read() == b"mine"
    assert {info["name"] for info in storage.list(folder)} == {"big", "big.00000"}


def test_parts_of_another_block_size_are_not_taken_for_those_of_this_one(
    small_blocks: Hadoop, tmp_path: Path
) -> None:
    path = tmp_path / "three blocks"
    path.write_bytes(random.Random(8).randbytes(3 * BLOCK))
    small_blocks.make_folder("/user/alice/sizes", owner="alice")
    die_at_the_end(small_blocks, "upload", str(path), "/user/alice/sizes/blocks")
    storage = HdfsStorage(small_blocks.uri, user="alice")
    small_blocks.wait_until(
        lambda: sum(info["size_bytes"] == BLOCK for info in storage.list("/user/alice/sizes")) == 2
    )
    storage._defaults()["blockSize"] = 2 * BLOCK
    storage.upload(str(path), "/user/alice/sizes/blocks", verify=False)
    assert has_same_bytes(storage, "/user/alice/sizes/blocks", path)


def test_a_file_that_is_rewritten_while_it_is_sent_is_not_put_in_place(
    small_blocks: Hadoop, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_piece(monkeypatch)
    storage = HdfsStorage(small_blocks.uri, user="alice")
    size = large.stat().st_size
    rewrite = when(0.5, lambda: large.write_bytes(random.Random(9).randbytes(size)))
    with pytest.raises(StorageMismatchError, match="changed while it was sent"):
        storage.upload(str(large), "/user/alice/changing", on_progress=rewrite)
    assert not storage.exists("/user/alice/changing")
    storage.upload(str(large), "/user/alice/changing")
    assert has_same_bytes(storage, "/user/alice/changing", large)


def test_of_a_file_that_grows_while_it_is_sent_what_was_there_is_stored(
    small_blocks: Hadoop, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_piece(monkeypatch)
    before = large.read_bytes()

    def grow() -> None:
        with large.open("ab") as file:
            file.write(b"more")

    storage = HdfsStorage(small_blocks.uri, user="alice")
    storage.upload(str(large), "/user/alice/growing", on_progress=when(0.5, grow))
    with storage.open("/user/alice/growing") as stream:
        assert stream.read() == before


def test_a_folder_that_is_deleted_while_a_file_is_sent_into_it_is_said(
    small_blocks: Hadoop, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_piece(monkeypatch)
    storage = HdfsStorage(small_blocks.uri, user="alice")
    delete = when(0.5, lambda: storage.delete("/user/alice/deleted", recursive=True))
    with pytest.raises(StorageError, match="are gone: they were deleted"):
        storage.upload(str(large), "/user/alice/deleted/large", on_progress=delete)
    storage.upload(str(large), "/user/alice/deleted/large")
    assert has_same_bytes(storage, "/user/alice/deleted/large", large)


def test_two_clients_that_send_one_file_at_once_make_one_right_file(
    small_blocks: Hadoop, large: Path
) -> None:
    errors: list[OpenPaiError] = []

    def send() -> None:
        try:
            HdfsStorage(small_blocks.uri, user="alice").upload(str(large), "/user/alice/twice")
        except OpenPaiError as exc:
            errors.append(exc)

    clients = [threading.Thread(target=send) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(errors) <= 1
    storage = HdfsStorage(small_blocks.uri, user="alice")
    assert has_same_bytes(storage, "/user/alice/twice", large)


def test_safe_mode_in_the_middle_is_said_and_the_same_command_goes_on(
    small_blocks: Hadoop, large: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    every_piece(monkeypatch)
    storage = HdfsStorage(small_blocks.uri, user="alice")
    enter = when(0.5, lambda: small_blocks.admin("-safemode", "enter"))
    try:
        with pytest.raises(StorageSafeModeError):
            storage.upload(str(large), "/user/alice/safely", on_progress=enter)
    finally:
        small_blocks.admin("-safemode", "leave")
    storage.upload(str(large), "/user/alice/safely")
    assert sum(sent) <= large.stat().st_size + 3 * BLOCK
    assert has_same_bytes(storage, "/user/alice/safely", large)


def test_what_a_node_has_spoilt_is_not_taken_for_the_file(
    small_blocks: Hadoop, large: Path, tmp_path: Path
) -> None:
    storage = HdfsStorage(small_blocks.uri, user="alice")
    storage.upload(str(large), "/user/alice/spoilt")
    (tmp_path / "back").mkdir()
    aside = tmp_path / "back" / "spoilt"
    # what an earlier try has fetched is compared as well
    real = storage._client.read

    def flipped(path: str, offset: int, **options: Any) -> Any:
        reply = real(path, offset, **options)
        read_into = reply.read_into

        def spoil(view: memoryview) -> int:
            size = read_into(view)
            if size:
                view[0] ^= 1
            return size

        reply.read_into = spoil  # type: ignore[method-assign]
        return reply

    storage._client.read = flipped  # type: ignore[method-assign]
    with pytest.raises(Exception, match="differs from what was sent"):
        storage.download("/user/alice/spoilt", str(aside))
    assert not aside.exists()


def test_a_hundred_faults_make_no_file_wrong(hadoop: Hadoop, tmp_path: Path) -> None:
    hadoop.make_folder("/user/alice/faults", owner="alice")
    tree = tmp_path / "tree"
    for number in range(200):
        path = tree / str(number % 7) / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(500 + 37 * number))
    chooser = FaultChooser(7, count=100, rate=0.15, stall_s=4)
    with Relayed(hadoop, chooser) as relayed:
        storage = HdfsStorage(relayed.uri, user="alice", timeout=(2, 2), data_nodes=relayed.data_nodes)
        storage.upload(str(tree), "/user/alice/faults/tree")
        storage.download("/user/alice/faults/tree", str(tmp_path / "back"))
    assert len(chooser.happened) == 100
    for path in tree.rglob("*.bin"):
        assert (tmp_path / "back" / path.relative_to(tree)).read_bytes() == path.read_bytes()


# --- refusals ------------------------------------------------------------------------------------


def test_a_full_quota_is_said_and_leaves_nothing(hadoop: Hadoop, tmp_path: Path) -> None:
    hadoop.make_folder("/user/alice/quota", owner="alice")
    hadoop.set_quota("/user/alice/quota", names=1)
    (tmp_path / "f").write_text("x")
    with pytest.raises(StorageFullError, match="quota"):
        HdfsStorage(hadoop.uri, user="alice").upload(str(tmp_path / "f"), "/user/alice/quota/f")


def test_safe_mode_is_said(hadoop: Hadoop, tmp_path: Path) -> None:
    hadoop.make_folder("/user/alice/safe", owner="alice")
    (tmp_path / "f").write_text("x")
    storage = HdfsStorage(hadoop.uri, user="alice")
    with hadoop.safe_mode():
        with pytest.raises(StorageSafeModeError):
            storage.upload(str(tmp_path / "f"), "/user/alice/safe/f")
        with pytest.raises(StorageSafeModeError):
            storage.delete("/user/alice/safe")
    assert storage.list("/user/alice/safe") == []


def test_who_may_not_write_is_told_so(hadoop: Hadoop, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    storage = HdfsStorage(hadoop.uri, user="mallory")
    hadoop.make_folder("/user/alice", owner="alice")
    for call in (
        lambda: storage.upload(str(tmp_path / "f"), "/user/alice/stolen"),
        lambda: storage.mkdir("/user/alice/m"),
        lambda: storage.move("/user/alice", "/user/mallory"),
    ):
        with pytest.raises(StoragePermissionError):
            call()
    with pytest.raises(StorageNotFoundError):
        storage.status("/user/alice/stolen")
