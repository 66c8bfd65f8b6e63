# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from openpaisdk.errors import (
    OpenPaiError,
    StorageError,
    StorageExistsError,
    StorageFullError,
    StorageIsFolderError,
    StorageMismatchError,
    StorageNotFolderError,
    StorageNotFoundError,
    StorageUnavailableError,
    TransferError,
)
from openpaisdk.storage.local import FileStorage
from openpaisdk.storage.paths import ASIDE_PREFIX, checked, join, moment, safe_name
from openpaisdk.storage.transfer.progress import Progress
from openpaisdk.storage.transfer.upload import Upload

DictStorage = Any


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
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "a.txt"}


def test_a_local_file_is_not_replaced_unless_told(storage: DictStorage, tree: Path, tmp_path: Path) -> None:
    storage.upload(str(tree / "a.txt"), "/a")
    target = tmp_path / "mine"
    target.write_text("mine")
    with pytest.raises(StorageExistsError):
        storage.download("/a", str(target))
    assert target.read_text() == "mine"
    storage.download("/a", str(target), overwrite=True)
    assert target.read_text() == "a"


def test_a_file_that_arrives_short_is_not_put_in_place(
    storage: DictStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files["/a"] = b"12345"
    monkeypatch.setattr(storage, "open", lambda path, offset=0: io.BytesIO(b"12"))
    with pytest.raises(StorageMismatchError):
        storage.download("/a", str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_a_download_that_broke_off_goes_on_where_it_was(
    storage: DictStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files["/a"] = b"0123456789"
    offsets: list[int] = []

    class Breaking(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell() >= 4:
                raise StorageUnavailableError("gone")
            return super().readinto(memoryview(buffer)[:4])

    def open_breaking(path: str, offset: int = 0) -> io.BytesIO:
        offsets.append(offset)
        whole = storage.files[path][offset:]
        return Breaking(whole) if len(offsets) == 1 else io.BytesIO(whole)

    monkeypatch.setattr(storage, "open", open_breaking)
    with pytest.raises(StorageUnavailableError):
        storage.download("/a", str(tmp_path / "a"))
    storage.download("/a", str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert offsets == [0, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_was_fetched_of_a_file_that_has_changed_is_not_used(
    storage: DictStorage, tmp_path: Path
) -> None:
    storage.files["/a"] = b"new"
    (tmp_path / f"{ASIDE_PREFIX}of-another-time").write_bytes(b"ol")
    storage.download("/a", str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"new"


def test_nobody_sees_a_file_before_it_is_whole(
    storage: DictStorage, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    write = storage._write

    def watched(path: str, source: Any) -> None:
        write(path, source)
        seen.append(storage.names)

    monkeypatch.setattr(storage, "_write", watched)
    storage.upload(str(tree / "a.txt"), "/a.txt")
    assert seen == [[name for name in seen[0] if name.startswith(f"/{ASIDE_PREFIX}")]]
    assert storage.names == ["/a.txt"]


def test_what_arrives_as_another_is_an_error_and_what_was_there_stays(
    storage: DictStorage, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files["/a"] = b"old"
    write = storage._write

    def corrupted(path: str, source: Any) -> None:
        write(path, source)
        storage.files[path] = b"x" * len(storage.files[path])

    monkeypatch.setattr(storage, "_write", corrupted)
    with pytest.raises(StorageMismatchError, match="not put in place"):
        storage.upload(str(tree / "a.txt"), "/a", overwrite=True)
    assert (storage.names, storage.files["/a"]) == (["/a"], b"old")


@pytest.mark.parametrize("verify", [True, False])
def test_a_file_of_a_folder_that_arrived_wrong_is_sent_anew(
    storage: DictStorage, tree: Path, monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    write = storage._write

    def shortened(path: str, source: Any) -> None:
        write(path, source)
        storage.files[path] = storage.files[path][:-1]

    monkeypatch.setattr(storage, "_write", shortened)
    with pytest.raises((TransferError, StorageMismatchError)):
        storage.upload(str(tree), "/copy", verify=verify)
    with pytest.raises(StorageMismatchError):
        storage.upload(str(tree / "a.txt"), "/a.txt", verify=verify)
    assert not storage.exists("/copy") and not storage.exists("/a.txt")
    monkeypatch.setattr(storage, "_write", write)
    storage.upload(str(tree), "/copy", verify=True)
    assert storage.files["/copy/sub/b.txt"] == b"bb"


def test_a_folder_upload_that_broke_off_sends_only_what_is_missing(
    storage: DictStorage, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = storage._write

    def refusing(path: str, source: Any) -> None:
        if path.endswith("b.txt"):
            raise StorageError("no room for it")
        write(path, source)

    monkeypatch.setattr(storage, "_write", refusing)
    with pytest.raises(TransferError) as caught:
        storage.upload(str(tree), "/copy")
    assert [name for name, _ in caught.value.failures] == [str(tree / "sub" / "b.txt")]
    assert not storage.exists("/copy")
    monkeypatch.setattr(storage, "_write", write)
    storage.written.clear()
    storage.upload(str(tree), "/copy")
    assert [path.rpartition("/")[2] for path in storage.written] == ["b.txt"]
    assert storage.names == ["/copy/a.txt", "/copy/sub/b.txt"]


def test_a_folder_that_has_changed_since_is_sent_anew(
    storage: DictStorage, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        storage, "_rename", lambda *_, **__: (_ for _ in ()).throw(StorageError("broken off"))
    )
    with pytest.raises(StorageError, match="broken off"):
        storage.upload(str(tree), "/copy")
    monkeypatch.undo()
    (tree / "a.txt").write_text("b")
    os.utime(tree / "a.txt", ns=(1, 1))
    storage.upload(str(tree), "/copy")
    assert storage.files["/copy/a.txt"] == b"b"


def test_into_a_folder_that_is_there_nothing_is_sent_when_a_name_is_taken(
    storage: DictStorage, tree: Path
) -> None:
    storage.mkdir("/data/tree")
    storage.files["/data/tree/a.txt"] = b"mine"
    with pytest.raises(StorageExistsError, match=r"a\.txt"):
        storage.upload(str(tree), "/data")
    assert storage.names == ["/data/tree/a.txt"]
    storage.upload(str(tree), "/data", overwrite=True)
    assert storage.files["/data/tree/a.txt"] == b"a"


def test_a_folder_is_not_stored_over_a_file_nor_a_file_over_a_folder(
    storage: DictStorage, tree: Path
) -> None:
    storage.files["/f"] = b""
    with pytest.raises(StorageNotFolderError):
        storage.upload(str(tree), "/f", overwrite=True)
    storage.mkdir("/data/a.txt")
    with pytest.raises(StorageIsFolderError):
        storage.upload(str(tree / "a.txt"), "/data", overwrite=True)


def test_links_are_followed_but_not_in_circles(storage: DictStorage, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("o")
    (tree / "link").symlink_to(tmp_path / "outside")
    storage.upload(str(tree), "/copy")
    assert storage.files["/copy/link"] == b"o"
    (tree / "sub" / "circle").symlink_to(tree)
    (tree / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TransferError) as caught:
        storage.upload(str(tree), "/other")
    assert {os.path.basename(name) for name, _ in caught.value.failures} == {"circle", "lost"}
    assert not storage.exists("/other")


def test_progress_ends_with_everything_done(storage: DictStorage, tree: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        seen.append((progress.bytes_done, progress.files_done))

    storage.upload(str(tree), "/copy", on_progress=note)
    assert seen[-1] == (3, 2)


def test_a_stream_is_stored_and_fetched(storage: DictStorage) -> None:
    storage.upload(io.BytesIO(b"from a pipe"), "/piped")
    target = io.BytesIO()
    storage.download("/piped", target)
    assert target.getvalue() == b"from a pipe"


def test_a_pattern_lists_and_fetches_what_matches(storage: DictStorage, tree: Path, tmp_path: Path) -> None:
    storage.upload(str(tree), "/copy")
    assert [info["name"] for info in storage.list("/copy/**/*.txt")] == ["a.txt", "sub/b.txt"]
    with pytest.raises(StorageNotFoundError, match="matches"):
        storage.list("/copy/*.csv")
    storage.download("/copy/*.txt", str(tmp_path / "back"))
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["a.txt"]


def test_a_pattern_of_local_files_is_stored_in_a_folder(storage: DictStorage, tree: Path) -> None:
    storage.upload(str(tree / "*.txt"), "/in")
    assert storage.names == ["/in/a.txt"]


def test_a_name_that_looks_like_a_pattern_is_taken_as_it_is(storage: DictStorage, tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("one")
    storage.upload(str(tmp_path / "a[1].txt"), "/a[1].txt")
    storage.download("/a[1].txt", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "one"


@pytest.mark.parametrize(
    ("files", "large_bytes", "closes_slowly", "is_told"),
    [(500, 4999, True, True), (499, 0, True, False), (500, 5000, True, False), (500, 0, False, False)],
)
def test_many_small_files_are_said_to_be_better_sent_as_one_where_they_are(
    storage: DictStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    large_bytes: int,
    closes_slowly: bool,
    is_told: bool,
) -> None:
    monkeypatch.setattr("openpaisdk.storage.transfer.upload._SMALL_BYTES", 10)
    storage.closes_slowly = closes_slowly
    for number in range(files):
        (tmp_path / str(number)).touch()
    os.truncate(tmp_path / "0", large_bytes)
    notes: list[str] = []
    storage.upload(str(tmp_path), "/copy", on_note=notes.append)
    assert ["--archive sends them as one" in note for note in notes] == [True] * is_told


@pytest.mark.parametrize("name", ["packed.tar", "packed.tar.gz"])
def test_an_archive_is_one_file_there_and_a_folder_here(
    storage: DictStorage, tree: Path, tmp_path: Path, name: str
) -> None:
    storage.upload(str(tree), f"/{name}", archive=True)
    assert storage.names == [f"/{name}"]
    storage.download(f"/{name}", str(tmp_path / "back"), archive=True)
    found = {str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*")}
    assert found == {"a.txt", "sub", "sub/b.txt", "sub/empty"}
    with pytest.raises(StorageExistsError):
        storage.download(f"/{name}", str(tmp_path / "back"), archive=True)


def test_an_archive_cannot_write_outside_of_its_folder(storage: DictStorage, tmp_path: Path) -> None:
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    storage.files["/evil.tar"] = packed.getvalue()
    with pytest.raises(OpenPaiError):
        storage.download("/evil.tar", str(tmp_path / "in"), archive=True)
    assert not (tmp_path / "outside").exists()


def test_a_copy_goes_from_one_storage_to_another(storage: DictStorage, tree: Path) -> None:
    other = type(storage)()
    storage.upload(str(tree), "/copy")
    Upload(other).copy(storage, "/copy", "/there")
    assert other.names == ["/there/a.txt", "/there/sub/b.txt"]


def test_a_folder_does_not_move_into_itself(storage: DictStorage) -> None:
    storage.mkdir("/a")
    with pytest.raises(StorageError, match="into itself"):
        storage.move("/a", "/a")


@pytest.mark.parametrize("path", ["a", "", "/a/../b", "/..", "/a\0", "/a/./b"])
def test_a_path_that_could_mean_another_is_refused(path: str) -> None:
    with pytest.raises(StorageError, match="not a path from the root"):
        checked(path)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b"])
def test_a_name_from_the_storage_cannot_lead_out_of_the_target(
    storage: DictStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(StorageError):
        safe_name(name)
    storage.mkdir("/evil")
    entry = {"name": name, "type": "file", "size_bytes": 1, "modified_at": None}
    monkeypatch.setattr(storage, "_entries", lambda path: [entry])
    with pytest.raises(StorageError, match="cannot be stored here"):
        storage.download("/evil", str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


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


class _Renamed(FileStorage):
    """The folders of this machine, under another address."""

    uri = "file://here"


def test_a_move_between_two_names_of_one_storage_does_not_delete_the_only_copy(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("precious")
    with pytest.raises(StorageError, match="one place under two names"):
        Upload(_Renamed(), overwrite=True).move(FileStorage(), f"{tmp_path}/f", f"{tmp_path}/f")
    with pytest.raises(StorageError, match="one place under two names"):
        Upload(_Renamed()).move(FileStorage(), str(tmp_path), f"{tmp_path}/in/side")
    assert (tmp_path / "f").read_text() == "precious"


def test_what_came_to_a_folder_while_it_was_moved_is_not_deleted(
    storage: DictStorage, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").write_text("old")
    upload = Upload(storage, on_progress=lambda _: (source / "new").write_text("new"))
    with pytest.raises(StorageError, match="changed while it was moved"):
        upload.move(FileStorage(), str(source), "/moved")
    assert {path.name for path in source.iterdir()} == {"old", "new"}
    assert storage.files["/moved/old"] == b"old"


def test_a_folder_is_not_fetched_into_a_link_of_its_name(storage: DictStorage, tmp_path: Path) -> None:
    storage.files["/x/etc/passwd"] = b"mine"
    storage.mkdir("/x/etc")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "etc").symlink_to(outside)
    with pytest.raises(StorageExistsError, match="is a link"):
        storage.download("/x/etc", str(tmp_path / "target"))
    assert not list(outside.iterdir())


def test_matches_of_one_name_do_not_replace_each_other(storage: DictStorage, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_text(name)
    with pytest.raises(StorageError, match="the same name"):
        storage.upload(f"{tmp_path}/*/same", "/all", overwrite=True)
    assert not storage.exists("/all")


def test_a_link_that_leads_nowhere_is_not_dropped_in_silence(storage: DictStorage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("nowhere")
    with pytest.raises(StorageError, match="link"):
        Upload(storage).copy(FileStorage(), str(source), "/copy")
    assert not storage.exists("/copy")


def test_a_move_says_which_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(StorageNotFoundError, match=r"no folder '.*/missing' to move"):
        FileStorage().move(f"{tmp_path}/f", f"{tmp_path}/missing/f")


def test_an_archive_for_which_there_is_no_room_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(b"x" * 100_000)
    FileStorage().upload(source, f"{tmp_path}/a.tar", archive=True)

    def copy_half(source: Any, target: Any, *_: Any) -> None:
        target.write(b"x" * 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile, "copyfileobj", copy_half)
    with pytest.raises(StorageFullError, match="no room"):
        FileStorage().download(f"{tmp_path}/a.tar", tmp_path / "target", archive=True)
    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize("name", ["a.txt", "."])
def test_an_error_names_what_the_user_knows(
    storage: DictStorage, tree: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(path: str, *_: Any, **__: Any) -> None:
        raise StorageFullError(f"{path!r}: no room")

    monkeypatch.setattr(storage, "_write", refuse)
    with pytest.raises(StorageError, match=r"'/new.*no room") as caught:
        storage.upload(str(tree / name), "/new")
    assert ASIDE_PREFIX not in str(caught.value)


def test_what_a_pattern_matches_on_another_storage_is_copied(storage: DictStorage, tree: Path) -> None:
    Upload(storage).copy(FileStorage(), f"{tree}/*", "/all")
    assert storage.files["/all/a.txt"] == b"a"
    assert storage.files["/all/sub/b.txt"] == b"bb"
    assert "/all/tree" not in storage.files


@pytest.mark.parametrize("taken", ["f", "in/d"])
def test_only_a_file_is_replaced_by_a_move_and_by_a_file(tmp_path: Path, taken: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "in" / "d").mkdir(parents=True)
    (tmp_path / "f").write_text("x")
    target = tmp_path / taken
    with pytest.raises(StorageExistsError, match="already") as caught:
        FileStorage().move(f"{tmp_path}/d", str(target.parent if taken == "in/d" else target), overwrite=True)
    assert caught.value.hint == "only a file is replaced, and by a file"
    assert (tmp_path / "d").is_dir()
