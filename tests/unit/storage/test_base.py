# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import pytest

from openpaisdk.errors import StorageError, StorageExistsError, StorageNotFoundError
from openpaisdk.storage.base import Entry, Storage, base_name, join, moment, safe_name


class DictStorage(Storage):
    """Files in a dict: a folder is ``None``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {"": None}

    def status(self, remote_path: str) -> Entry:
        path = remote_path.rstrip("/")
        if path not in self.files:
            raise StorageNotFoundError(f"there is no {remote_path!r}")
        content = self.files[path]
        return {
            "name": base_name(path),
            "type": "directory" if content is None else "file",
            "size_bytes": len(content or b""),
            "modified_at": None,
        }

    def list(self, remote_path: str) -> list[Entry]:
        folder = remote_path.rstrip("/") + "/"
        below = [path for path in self.files if path.startswith(folder) and path != folder]
        return [
            {**self.status(path), "name": path[len(folder) :]}
            for path in below
            if "/" not in path[len(folder) :]
        ]

    def open(self, remote_path: str) -> IO[bytes]:
        return io.BytesIO(self.files[remote_path] or b"")

    def mkdir(self, remote_path: str) -> Entry:
        parts = remote_path.rstrip("/").split("/")
        for end in range(1, len(parts) + 1):
            self.files.setdefault("/".join(parts[:end]), None)
        return self.status(remote_path)

    def delete(self, remote_path: str, recursive: bool = False) -> Entry:
        raise NotImplementedError

    def move(self, remote_path: str, new_path: str) -> Entry:
        raise NotImplementedError

    def _put_file(self, local_path: str, remote_path: str, *, overwrite: bool) -> None:
        if remote_path in self.files and not overwrite:
            raise StorageExistsError(f"{remote_path!r} is there")
        self.mkdir(remote_path.rpartition("/")[0])
        self.files[remote_path] = Path(local_path).read_bytes()


@pytest.fixture
def storage() -> DictStorage:
    return DictStorage()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "sub" / "b.txt").write_text("bb")
    return root


def test_what_is_missing_does_not_exist(storage: DictStorage) -> None:
    assert storage.exists("/")
    assert not storage.exists("/x")


def test_a_file_is_stored_under_the_name_that_is_given(storage: DictStorage, tree: Path) -> None:
    entry = storage.upload(str(tree / "a.txt"), "/data/new.txt")
    assert entry == {"name": "new.txt", "type": "file", "size_bytes": 1, "modified_at": None}
    assert storage.files["/data/new.txt"] == b"a"


@pytest.mark.parametrize("target", ["/data", "/data/", "/other/"])
def test_into_a_folder_a_file_goes_under_its_own_name(storage: DictStorage, tree: Path, target: str) -> None:
    storage.mkdir("/data")
    storage.upload(str(tree / "a.txt"), target)
    assert storage.files[join(target, "a.txt")] == b"a"


def test_a_folder_is_stored_with_all_it_holds(storage: DictStorage, tree: Path) -> None:
    storage.upload(str(tree), "/copy")
    assert storage.files["/copy/sub/b.txt"] == b"bb"
    assert storage.files["/copy/sub/empty"] is None


def test_nothing_is_replaced_unless_told(storage: DictStorage, tree: Path) -> None:
    storage.upload(str(tree / "a.txt"), "/a")
    with pytest.raises(StorageExistsError):
        storage.upload(str(tree / "sub" / "b.txt"), "/a")
    storage.upload(str(tree / "sub" / "b.txt"), "/a", overwrite=True)
    assert storage.files["/a"] == b"bb"


def test_a_missing_local_file_is_also_a_file_not_found_error(storage: DictStorage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no local file"):
        storage.upload(str(tmp_path / "nope"), "/a")


def test_a_folder_is_fetched_with_all_it_holds(storage: DictStorage, tree: Path, tmp_path: Path) -> None:
    storage.upload(str(tree), "/copy")
    entry = storage.download("/copy", str(tmp_path / "back"))
    assert entry["name"] == str(tmp_path / "back")
    assert (tmp_path / "back" / "sub" / "b.txt").read_text() == "bb"
    assert (tmp_path / "back" / "sub" / "empty").is_dir()


def test_into_a_local_folder_a_file_goes_under_its_own_name(
    storage: DictStorage, tree: Path, tmp_path: Path
) -> None:
    storage.upload(str(tree / "a.txt"), "/x/a.txt")
    storage.download("/x/a.txt", str(tmp_path))
    assert (tmp_path / "a.txt").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_local_file_is_not_replaced_unless_told(storage: DictStorage, tree: Path, tmp_path: Path) -> None:
    storage.upload(str(tree / "a.txt"), "/a")
    target = tmp_path / "mine"
    target.write_text("mine")
    with pytest.raises(StorageExistsError):
        storage.download("/a", str(target))
    assert target.read_text() == "mine"
    storage.download("/a", str(target), overwrite=True)
    assert target.read_text() == "a"


def test_a_file_that_breaks_off_leaves_nothing_behind(
    storage: DictStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files["/a"] = b"12345"
    monkeypatch.setattr(storage, "open", lambda path: io.BytesIO(b"12"))
    with pytest.raises(StorageError, match="ended after 2 of 5 bytes"):
        storage.download("/a", str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b"])
def test_a_name_from_the_storage_cannot_lead_out_of_the_target(
    storage: DictStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(StorageError):
        safe_name(name)
    storage.mkdir("/evil")
    entry = {"name": name, "type": "file", "size_bytes": 1, "modified_at": None}
    monkeypatch.setattr(storage, "list", lambda path: [entry])
    with pytest.raises(StorageError, match="cannot be stored here"):
        storage.download("/evil", str(tmp_path / "target"))


def test_a_link_in_the_target_is_not_followed(storage: DictStorage, tree: Path, tmp_path: Path) -> None:
    storage.upload(str(tree), "/copy")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "copy").mkdir()
    (tmp_path / "back" / "copy" / "sub").symlink_to(outside)
    with pytest.raises(StorageExistsError, match="is a link"):
        storage.download("/copy", str(tmp_path / "back"))
    assert list(outside.iterdir()) == []


def test_moments_are_iso_texts_in_utc() -> None:
    assert moment(1795218402123) == "2026-11-20T23:46:42.123Z"
