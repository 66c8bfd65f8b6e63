# SPDX-License-Identifier: MIT
"""What every storage does alike; a subclass supplies ``storage`` and ``root``, an empty folder on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from openpaisdk.errors import StorageError, StorageExistsError, StorageNotFoundError
from openpaisdk.storage.base import Storage

ODD_NAMES = [
    "with space",
    "ümläut-文件",
    "percent%41",
    "hash#1",
    "question?x=1",
    "plus+and&",
    "quote'\"",
    "semi;colon",
]


class StorageContract:
    """The suite."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    @pytest.fixture
    def root(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "file.bin"
        path.write_bytes(bytes(range(256)) * 40)
        return path

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        folder = tmp_path / "tree"
        (folder / "sub" / "empty").mkdir(parents=True)
        (folder / "a.txt").write_text("a")
        (folder / "sub" / "b.txt").write_text("b")
        return folder

    def test_a_file_comes_back_as_it_was_stored(
        self, storage: Storage, root: str, file: Path, tmp_path: Path
    ) -> None:
        entry = storage.upload(str(file), f"{root}/stored.bin")
        assert (entry["name"], entry["type"], entry["size_bytes"]) == ("stored.bin", "file", 10240)
        storage.download(f"{root}/stored.bin", str(tmp_path / "back.bin"))
        assert (tmp_path / "back.bin").read_bytes() == file.read_bytes()

    def test_an_empty_file_is_a_file(self, storage: Storage, root: str, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        storage.upload(str(tmp_path / "empty"), f"{root}/empty")
        assert storage.status(f"{root}/empty")["size_bytes"] == 0
        with storage.open(f"{root}/empty") as stream:
            assert stream.read() == b""

    def test_a_tree_comes_back_as_it_was_stored(
        self, storage: Storage, root: str, tree: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(tree), f"{root}/tree")
        storage.download(f"{root}/tree", str(tmp_path / "back"))
        found = {str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*")}
        assert found == {"a.txt", "sub", "sub/b.txt", "sub/empty"}

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_names_are_taken_as_they_are(self, storage: Storage, root: str, file: Path, name: str) -> None:
        storage.upload(str(file), f"{root}/{name}")
        assert [entry["name"] for entry in storage.list(root)] == [name]
        with storage.open(f"{root}/{name}") as stream:
            assert stream.read() == file.read_bytes()
        storage.move(f"{root}/{name}", f"{root}/{name}.moved")
        storage.delete(f"{root}/{name}.moved")
        assert storage.list(root) == []

    def test_a_folder_lists_its_entries_by_name(self, storage: Storage, root: str, file: Path) -> None:
        storage.mkdir(f"{root}/b")
        for name in ("c", "a"):
            storage.upload(str(file), f"{root}/{name}")
        listed = [(entry["name"], entry["type"]) for entry in storage.list(root)]
        assert listed == [("a", "file"), ("b", "directory"), ("c", "file")]

    def test_what_is_missing_is_also_a_file_not_found_error(
        self, storage: Storage, root: str, tmp_path: Path
    ) -> None:
        missing = f"{root}/missing"
        assert not storage.exists(missing)
        for call in (storage.status, storage.list, storage.delete, storage.open):
            with pytest.raises(StorageNotFoundError) as caught:
                call(missing)
            assert isinstance(caught.value, FileNotFoundError)
        with pytest.raises(StorageNotFoundError):
            storage.download(missing, str(tmp_path / "x"))
        assert not (tmp_path / "x").exists()

    def test_nothing_is_replaced_unasked(
        self, storage: Storage, root: str, file: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(file), f"{root}/f")
        (tmp_path / "other").write_text("other")
        with pytest.raises(StorageExistsError):
            storage.upload(str(tmp_path / "other"), f"{root}/f")
        assert storage.status(f"{root}/f")["size_bytes"] == 10240
        storage.upload(str(tmp_path / "other"), f"{root}/f", overwrite=True)
        assert storage.status(f"{root}/f")["size_bytes"] == 5
        with pytest.raises(StorageExistsError):
            storage.download(f"{root}/f", str(file))
        assert file.stat().st_size == 10240

    def test_a_full_folder_is_deleted_only_with_all_it_holds(
        self, storage: Storage, root: str, tree: Path
    ) -> None:
        storage.upload(str(tree), f"{root}/tree")
        with pytest.raises(StorageError):
            storage.delete(f"{root}/tree")
        assert storage.exists(f"{root}/tree/sub/b.txt")
        storage.delete(f"{root}/tree", recursive=True)
        assert not storage.exists(f"{root}/tree")

    def test_a_folder_that_is_there_can_be_made(self, storage: Storage, root: str) -> None:
        storage.mkdir(f"{root}/a/b/c")
        assert storage.mkdir(f"{root}/a/b")["type"] == "directory"
        assert storage.exists(f"{root}/a/b/c")

    def test_a_file_is_no_folder_and_a_folder_no_file(self, storage: Storage, root: str, file: Path) -> None:
        storage.upload(str(file), f"{root}/f")
        with pytest.raises(StorageError):
            storage.mkdir(f"{root}/f")
        with pytest.raises(StorageError):
            storage.open(root)
