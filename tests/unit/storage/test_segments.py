# SPDX-License-Identifier: MIT
"""Large files are fetched in several stretches at once, and go on from what is whole."""

from __future__ import annotations

import io
import random
import struct
import threading
import zlib
from pathlib import Path

import pytest

from openpaisdk.errors import StorageMismatchError, StorageUnavailableError
from openpaisdk.storage.hdfs.checksum import FileChecksum, HadoopDigest
from openpaisdk.storage.transfer import download, segments
from tests.unit.storage.conftest import DictStorage

SEGMENT = 1000
CONTENT = random.Random(1).randbytes(20 * SEGMENT + 17)


class RangeStorage(DictStorage):
    reads_in_parallel = True

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[int] = []
        self.broken: set[int] = set()
        self.both_are_open: threading.Barrier | None = None

    def _open_range(self, remote_path: str, start: int, end: int) -> io.BytesIO:
        self.starts.append(start)
        if self.both_are_open is not None:
            self.both_are_open.wait(timeout=30)
        if start in self.broken:
            raise StorageUnavailableError("gone")
        content = self.files[remote_path] or b""
        return io.BytesIO(content[start : end + 5])  # a storage may give more than was asked for


class ChecksummedStorage(RangeStorage):
    """Has HDFS's checksum of its files, in blocks that do not end where stretches do."""

    has_checksums = True

    def _checksum(self, remote_path: str) -> FileChecksum:
        digest = HadoopDigest(zlib.crc32, 3 * 512, 512)
        digest.update(memoryview(CONTENT))
        answer = struct.pack(">iq", 512, 3) + digest._finish()
        return FileChecksum({"algorithm": "MD5-of-3MD5-of-512CRC32", "bytes": answer.hex()})


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> RangeStorage:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", SEGMENT)
    monkeypatch.setattr(download, "_PARALLEL_BYTES", 2 * SEGMENT)
    storage = RangeStorage()
    storage.mkdir("/a")
    storage.files["/a/f"] = CONTENT
    return storage


def test_a_large_file_comes_back_over_several_streams(storage: RangeStorage, tmp_path: Path) -> None:
    storage.files["/a/f"] = CONTENT[: 2 * SEGMENT]
    storage.both_are_open = threading.Barrier(2)
    storage.download("/a/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT[: 2 * SEGMENT]


@pytest.mark.parametrize("piece_bytes", [512, 1024, 8192])
def test_the_checksum_is_computed_as_the_stretches_come(
    storage: RangeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2048)
    monkeypatch.setattr(segments, "_PIECE_BYTES", piece_bytes)
    checked = ChecksummedStorage()
    checked.files |= storage.files
    checked.broken = {6 * 2048}
    with pytest.raises(StorageUnavailableError):
        checked.download("/a/f", tmp_path / "f")
    checked.broken = set()
    checked.download("/a/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    spoilt = bytearray(CONTENT)
    spoilt[5000] ^= 1
    checked.files["/a/f"] = bytes(spoilt)
    with pytest.raises(StorageMismatchError):
        checked.download("/a/f", tmp_path / "g")
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize("broken", range(0, 21, 3))
def test_what_is_whole_is_kept_and_the_rest_is_fetched_again(
    storage: RangeStorage, tmp_path: Path, broken: int
) -> None:
    storage.broken = {broken * SEGMENT}
    with pytest.raises(StorageUnavailableError):
        storage.download("/a/f", tmp_path / "f", verify=False)
    assert not (tmp_path / "f").exists()
    begun = max(storage.starts)
    storage.broken, storage.starts = set(), []
    storage.download("/a/f", tmp_path / "f", verify=False)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert min(storage.starts) >= begun - segments.STREAMS * SEGMENT


def test_no_stretch_is_begun_far_beyond_one_that_is_not_whole(storage: RangeStorage, tmp_path: Path) -> None:
    storage.broken = {0}
    with pytest.raises(StorageUnavailableError):
        storage.download("/a/f", tmp_path / "f")
    assert max(storage.starts) < segments.STREAMS * SEGMENT


@pytest.mark.parametrize("length", [0, 1, 4 * SEGMENT, 4 * SEGMENT + 1, 9 * SEGMENT, 9 * SEGMENT + 1])
def test_a_hole_may_be_anywhere_in_the_last_stretches(storage: RangeStorage, length: int) -> None:
    assert segments.whole_bytes(length) % SEGMENT == 0
    last_begun = max(0, length - 1) // SEGMENT
    assert segments.whole_bytes(length) <= max(0, last_begun - segments.STREAMS + 1) * SEGMENT


def test_a_file_that_became_shorter_is_not_put_in_place(storage: RangeStorage, tmp_path: Path) -> None:
    info = storage.status("/a/f")
    storage.status = lambda remote_path: info  # type: ignore[method-assign]
    storage.files["/a/f"] = CONTENT[:-1]
    with pytest.raises(StorageMismatchError):
        storage.download("/a/f", tmp_path / "f")
    assert not (tmp_path / "f").exists()
