# SPDX-License-Identifier: MIT
"""Files are read once more where their checksum cannot be computed here (no extra `fast`) or costs more."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import pytest

from openpaisdk.errors import StorageMismatchError
from tests.unit.storage.conftest import DictStorage


class UnknownChecksum:
    def make_digest(self) -> None:
        return None


class SpoilingStorage(DictStorage):
    """Gives a file wrong the first ``spoilt`` times that it is read."""

    has_checksums = True
    spoilt = 0
    reads = 0

    def _checksum(self, remote_path: str) -> UnknownChecksum:
        return UnknownChecksum()

    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        self.reads += 1
        content = super().open(remote_path, offset).read()
        return io.BytesIO(content[::-1] if self.reads <= self.spoilt else content)


@pytest.fixture
def storage() -> SpoilingStorage:
    storage = SpoilingStorage()
    storage.mkdir("/a")
    storage.files["/a/f"] = b"content"
    return storage


def test_a_download_is_read_once_more_and_compared(storage: SpoilingStorage, tmp_path: Path) -> None:
    notes: list[str] = []
    storage.download("/a/f", tmp_path / "f", on_note=notes.append)
    assert (tmp_path / "f").read_bytes() == b"content"
    assert storage.reads == 2
    (note,) = notes
    assert "openpaisdk[fast]" in note


def test_a_download_that_arrived_wrong_is_not_put_in_place(storage: SpoilingStorage, tmp_path: Path) -> None:
    storage.spoilt = 1
    with pytest.raises(StorageMismatchError, match="'/a/f'"):
        storage.download("/a/f", tmp_path / "f")
    assert not (tmp_path / "f").exists()
    storage.download("/a/f", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"content"


def test_each_file_of_a_folder_is_compared(storage: SpoilingStorage, tmp_path: Path) -> None:
    storage.spoilt = 1
    with pytest.raises(StorageMismatchError):
        storage.download("/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_stream_is_compared_by_length_and_that_is_said(storage: SpoilingStorage) -> None:
    notes: list[str] = []
    stream = io.BytesIO()
    storage.download("/a/f", stream, on_note=notes.append)
    assert (stream.getvalue(), storage.reads) == (b"content", 1)
    (note,) = notes
    assert "length" in note


def test_nothing_is_read_twice_unverified(storage: SpoilingStorage, tmp_path: Path) -> None:
    storage.download("/a/f", tmp_path / "f", verify=False)
    assert storage.reads == 1


class CheaplyReadStorage(SpoilingStorage):
    read_back_bytes = 7

    def _checksum(self, remote_path: str) -> UnknownChecksum:
        raise AssertionError("the checksum of a small file was asked for")


def test_a_small_file_is_read_again_rather_than_asked_for_its_checksum(tmp_path: Path) -> None:
    storage = CheaplyReadStorage()
    storage.mkdir("/a")
    storage.files["/a/f"] = b"content"
    storage.spoilt = 1
    with pytest.raises(StorageMismatchError):
        storage.download("/a/f", tmp_path / "f")
    notes: list[str] = []
    storage.download("/a/f", tmp_path / "f", on_note=notes.append)
    assert (tmp_path / "f").read_bytes() == b"content"
    assert (storage.reads, notes) == (4, [])
