# SPDX-License-Identifier: MIT
"""What every storage does alike; a subclass supplies ``storage`` and ``root``, an empty folder on it."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from openpaisdk.errors import (
    StorageError,
    StorageExistsError,
    StorageIsFolderError,
    StorageNotEmptyError,
    StorageNotFolderError,
    StorageNotFoundError,
)
from openpaisdk.storage.base import Storage
from openpaisdk.storage.transfer.left_overs import delete_left_overs

ODD_NAMES = [
    "with space",
    "ümläut-文件",
    "percent%41",
    "hash#1",
    "question?x=1",
    "plus+and&",
    "quote'\"",
    "semi;colon",
    "comma,comma",
    "star*[x]",
    "back\\slash",
    "new\nline",
    "tab\tand\x01control",
    " spaces around ",
    "...",
    "-dash",
    "😀",
]
DEPTH = 30


class StorageContract:
    """The suite."""

    refused_names: tuple[str, ...] = ()
    """Odd names that this server does not take; that is to be an error."""

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

    def test_a_file_is_read_from_the_middle(self, storage: Storage, root: str, file: Path) -> None:
        storage.upload(str(file), f"{root}/f")
        with storage.open(f"{root}/f", 10000) as stream:
            assert stream.read(3) == file.read_bytes()[10000:10003]
            assert stream.read() == file.read_bytes()[10003:]
        with storage.open(f"{root}/f", 10240) as stream:
            assert stream.read() == b""

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

    def test_empty_files_and_folders_of_a_tree_come_back(
        self, storage: Storage, root: str, tmp_path: Path
    ) -> None:
        (tmp_path / "tree" / "empty").mkdir(parents=True)
        (tmp_path / "tree" / "nothing").touch()
        storage.upload(str(tmp_path / "tree"), f"{root}/tree")
        storage.download(f"{root}/tree", str(tmp_path / "back"))
        assert (tmp_path / "back" / "empty").is_dir()
        assert (tmp_path / "back" / "nothing").read_bytes() == b""

    def test_deep_trees_come_back(self, storage: Storage, root: str, tmp_path: Path) -> None:
        below = Path(*[f"level-{number}" for number in range(DEPTH)])
        (tmp_path / "tree" / below).mkdir(parents=True)
        (tmp_path / "tree" / below / "leaf").write_text("leaf")
        storage.upload(str(tmp_path / "tree"), f"{root}/tree")
        storage.download(f"{root}/tree", str(tmp_path / "back"))
        assert (tmp_path / "back" / below / "leaf").read_text() == "leaf"
        storage.delete(f"{root}/tree", recursive=True)
        assert storage.list(root) == []

    def test_odd_names_come_back_in_a_tree(self, storage: Storage, root: str, tmp_path: Path) -> None:
        names = [name for name in ODD_NAMES if name not in self.refused_names]
        for name in names:
            (tmp_path / "tree" / name).mkdir(parents=True)
            (tmp_path / "tree" / name / name).write_text(name)
        storage.upload(str(tmp_path / "tree"), f"{root}/tree")
        assert [entry["name"] for entry in storage.list(f"{root}/tree")] == sorted(names)
        storage.download(f"{root}/tree", str(tmp_path / "back"))
        for name in names:
            assert (tmp_path / "back" / name / name).read_text() == name

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_names_are_taken_as_they_are(self, storage: Storage, root: str, file: Path, name: str) -> None:
        if name in self.refused_names:
            with pytest.raises(StorageError):
                storage.upload(str(file), f"{root}/{name}")
            return
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

    def test_a_folder_is_merged_and_its_files_are_not_replaced_unasked(
        self, storage: Storage, root: str, tree: Path
    ) -> None:
        storage.mkdir(f"{root}/tree/sub")
        storage.upload(str(tree / "a.txt"), f"{root}/tree/sub/b.txt")
        storage.upload(str(tree / "a.txt"), f"{root}/tree/other")
        with pytest.raises(StorageError):
            storage.upload(str(tree), root)
        with storage.open(f"{root}/tree/sub/b.txt") as stream:
            assert stream.read() == b"a"
        storage.upload(str(tree), root, overwrite=True)
        with storage.open(f"{root}/tree/sub/b.txt") as stream:
            assert stream.read() == b"b"
        assert storage.exists(f"{root}/tree/other")

    def test_into_a_folder_it_goes_under_its_own_name(
        self, storage: Storage, root: str, file: Path, tmp_path: Path
    ) -> None:
        storage.mkdir(f"{root}/d")
        storage.upload(str(file), f"{root}/d")
        storage.upload(str(file), f"{root}/new/")
        assert [entry["name"] for entry in storage.list(f"{root}/d")] == ["file.bin"]
        assert [entry["name"] for entry in storage.list(f"{root}/new")] == ["file.bin"]
        storage.move(f"{root}/d/file.bin", f"{root}/e")
        storage.move(f"{root}/e", f"{root}/d")
        assert [entry["name"] for entry in storage.list(f"{root}/d")] == ["e"]
        (tmp_path / "here").mkdir()
        storage.download(f"{root}/d/e", str(tmp_path / "here"))
        assert (tmp_path / "here" / "e").read_bytes() == file.read_bytes()

    def test_moving_replaces_nothing_unasked(self, storage: Storage, root: str, tree: Path) -> None:
        storage.upload(str(tree / "a.txt"), f"{root}/a")
        storage.upload(str(tree / "sub" / "b.txt"), f"{root}/b")
        with pytest.raises(StorageExistsError):
            storage.move(f"{root}/a", f"{root}/b")
        with pytest.raises(StorageNotFoundError):
            storage.move(f"{root}/missing", f"{root}/c")
        assert [entry["name"] for entry in storage.list(root)] == ["a", "b"]
        storage.move(f"{root}/a", f"{root}/b", overwrite=True)
        with storage.open(f"{root}/b") as stream:
            assert stream.read() == b"a"
        assert [entry["name"] for entry in storage.list(root)] == ["b"]

    def test_a_folder_is_not_moved_into_itself(self, storage: Storage, root: str, tree: Path) -> None:
        storage.upload(str(tree), f"{root}/tree")
        with pytest.raises(StorageError):
            storage.move(f"{root}/tree", f"{root}/tree/sub/x")
        assert storage.exists(f"{root}/tree/sub/b.txt")

    def test_what_a_folder_holds_is_summed_up(self, storage: Storage, root: str, tree: Path) -> None:
        storage.upload(str(tree), f"{root}/tree")
        found = storage.du(f"{root}/tree")
        assert (found["size_bytes"], found["files"], found["folders"]) == (2, 2, 3)

    def test_wildcards_match_names(self, storage: Storage, root: str, tree: Path) -> None:
        storage.upload(str(tree), f"{root}/tree")
        assert [entry["name"] for entry in storage.list(f"{root}/tree/*")] == ["a.txt", "sub"]
        assert [entry["name"] for entry in storage.list(f"{root}/tree/*/b.*")] == ["sub/b.txt"]
        with pytest.raises(StorageNotFoundError):
            storage.list(f"{root}/tree/*.none")

    def test_a_full_folder_is_deleted_only_with_all_it_holds(
        self, storage: Storage, root: str, tree: Path
    ) -> None:
        storage.upload(str(tree), f"{root}/tree")
        with pytest.raises(StorageNotEmptyError):
            storage.delete(f"{root}/tree")
        assert storage.exists(f"{root}/tree/sub/b.txt")
        storage.delete(f"{root}/tree", recursive=True)
        assert not storage.exists(f"{root}/tree")

    def test_a_folder_that_is_there_can_be_made(self, storage: Storage, root: str) -> None:
        storage.mkdir(f"{root}/a/b/c")
        assert storage.mkdir(f"{root}/a/b")["type"] == "directory"
        assert storage.exists(f"{root}/a/b/c")

    def test_a_file_is_no_folder_and_a_folder_no_file(
        self, storage: Storage, root: str, file: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(file), f"{root}/f")
        storage.mkdir(f"{root}/d/file.bin")
        with pytest.raises(StorageExistsError):
            storage.mkdir(f"{root}/f")
        with pytest.raises(StorageIsFolderError):
            storage.open(root)
        with pytest.raises(StorageError):
            storage.upload(str(file), f"{root}/d", overwrite=True)
        assert storage.status(f"{root}/d/file.bin")["type"] == "directory"
        for overwrite in (False, True):
            with pytest.raises(StorageError):
                storage.upload(str(file), f"{root}/f/below", overwrite=overwrite)
            with pytest.raises(StorageError):
                storage.upload(str(tmp_path), f"{root}/f", overwrite=overwrite)
        assert storage.status(f"{root}/f")["size_bytes"] == 10240
        assert not storage.exists(f"{root}/f/below")
        for call in (storage.status, storage.list, storage.open, storage.delete):
            with pytest.raises((StorageNotFolderError, StorageNotFoundError)):
                call(f"{root}/f/below")

    @pytest.mark.parametrize("path", ["relative", "", "/a/../b", "/a/./b", "/a\0b"])
    def test_paths_that_mean_something_else_elsewhere_are_refused(self, storage: Storage, path: str) -> None:
        for call in (storage.status, storage.list, storage.open, storage.mkdir, storage.delete):
            with pytest.raises(StorageError):
                call(path)

    def test_no_local_file_is_no_upload(self, storage: Storage, root: str, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            storage.upload(str(tmp_path / "missing"), f"{root}/f")
        assert storage.list(root) == []

    def test_a_file_is_read_from_a_place_within(self, storage: Storage, root: str, file: Path) -> None:
        storage.upload(str(file), f"{root}/f")
        with storage.open(f"{root}/f", 10_000) as stream:
            assert stream.read() == file.read_bytes()[10_000:]

    def test_a_file_is_moved_under_another_name_and_into_a_folder(
        self, storage: Storage, root: str, file: Path
    ) -> None:
        storage.upload(str(file), f"{root}/f")
        assert storage.move(f"{root}/f", f"{root}/g")["name"] == "g"
        storage.mkdir(f"{root}/in")
        storage.move(f"{root}/g", f"{root}/in")
        assert [info["name"] for info in storage.list(f"{root}/in")] == ["g"]
        assert [info["name"] for info in storage.list(root)] == ["in"]

    def test_moving_replaces_a_file_only_when_told(self, storage: Storage, root: str, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).write_text(name)
            storage.upload(str(tmp_path / name), f"{root}/{name}")
        with pytest.raises(StorageExistsError):
            storage.move(f"{root}/a", f"{root}/b")
        with storage.open(f"{root}/b") as stream:
            assert stream.read() == b"b"
        storage.move(f"{root}/a", f"{root}/b", overwrite=True)
        with storage.open(f"{root}/b") as stream:
            assert stream.read() == b"a"

    def test_a_folder_is_moved_with_all_it_holds(self, storage: Storage, root: str, tree: Path) -> None:
        storage.upload(str(tree), f"{root}/tree")
        storage.move(f"{root}/tree", f"{root}/other")
        assert storage.exists(f"{root}/other/sub/b.txt")
        assert not storage.exists(f"{root}/tree")

    def test_files_are_found_by_pattern(
        self, storage: Storage, root: str, tree: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(tree), f"{root}/tree")
        assert [info["name"] for info in storage.list(f"{root}/tree/**/*.txt")] == ["a.txt", "sub/b.txt"]
        assert [info["name"] for info in storage.list(f"{root}/tr*/sub/?.txt")] == ["tree/sub/b.txt"]
        storage.download(f"{root}/tree/*.txt", str(tmp_path / "back"))
        assert [path.name for path in (tmp_path / "back").iterdir()] == ["a.txt"]

    def test_usage_counts_all_that_is_below(self, storage: Storage, root: str, tree: Path) -> None:
        storage.upload(str(tree), f"{root}/tree")
        usage = storage.du(f"{root}/tree")
        assert (usage["size_bytes"], usage["files"], usage["folders"]) == (2, 2, 3)

    def test_an_archive_is_one_file_there_and_a_folder_here(
        self, storage: Storage, root: str, tree: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(tree), f"{root}/tree.tar.zst", archive=True)
        assert storage.status(f"{root}/tree.tar.zst")["type"] == "file"
        storage.download(f"{root}/tree.tar.zst", str(tmp_path / "back"), archive=True)
        assert (tmp_path / "back" / "sub" / "b.txt").read_text() == "b"
        assert (tmp_path / "back" / "sub" / "empty").is_dir()

    def test_a_stream_becomes_a_file(self, storage: Storage, root: str) -> None:
        content = bytes(range(256)) * 10_000
        storage.upload(io.BytesIO(content), f"{root}/piped")
        target = io.BytesIO()
        storage.download(f"{root}/piped", target)
        assert target.getvalue() == content

    def test_what_is_done_leaves_nothing_aside(
        self, storage: Storage, root: str, tree: Path, file: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(tree), f"{root}/tree")
        storage.upload(str(file), f"{root}/tree/a.txt", overwrite=True)
        storage.upload(str(tree), f"{root}/", overwrite=True)
        storage.download(f"{root}/tree", str(tmp_path / "back"))
        assert {info["name"] for info in storage.list(root)} == {"tree"}
        assert {info["name"] for info in storage.list(f"{root}/tree")} == {"a.txt", "sub"}
        assert {path.name for path in (tmp_path / "back").iterdir()} == {"a.txt", "sub"}

    def test_what_broken_off_transfers_left_goes_when_it_is_old(
        self, storage: Storage, root: str, file: Path, tree: Path
    ) -> None:
        marks = [f".openpaisdk-{number:020x}" for number in range(3)]
        for name in (f"{marks[0]}.00000", f"{marks[0]}.00001", f"sub/{marks[1]}", ".openpaisdk-notes", "f"):
            storage.upload(str(file), f"{root}/{name}")
        storage.upload(str(tree), f"{root}/{marks[2]}")
        assert storage.delete_left_overs(root) == []
        deleted = delete_left_overs(storage, root, older_than_s=86400, now_s=time.time() + 2 * 86400)
        assert [(info["name"].removeprefix(f"{root}/"), info["size_bytes"]) for info in deleted] == [
            (f"{marks[0]}.00000", 10240),
            (f"{marks[0]}.00001", 10240),
            (marks[2], 2),
            (f"sub/{marks[1]}", 10240),
        ]
        assert [info["name"] for info in storage.list(root) if info["type"] == "file"] == [
            ".openpaisdk-notes",
            "f",
        ]
        assert not storage.exists(f"{root}/{marks[2]}")

    def test_the_kind_of_what_is_there_is_respected(
        self, storage: Storage, root: str, tree: Path, file: Path, tmp_path: Path
    ) -> None:
        storage.upload(str(file), f"{root}/f")
        with pytest.raises(StorageNotFolderError):
            storage.upload(str(tree), f"{root}/f", overwrite=True)
        with pytest.raises((StorageNotFolderError, StorageNotFoundError)):
            storage.status(f"{root}/f/below")
        with pytest.raises(StorageIsFolderError):
            storage.open(root)
        storage.mkdir(f"{root}/full/in")
        with pytest.raises(StorageNotEmptyError):
            storage.delete(f"{root}/full")
        assert storage.status(f"{root}/f")["size_bytes"] == 10240
