# SPDX-License-Identifier: MIT
"""Paths of the storage stay inside it, and files appear whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat

import pytest
from starlette.requests import Request

from openpaisdk.local.access.auth import Identity
from openpaisdk.local.access.users import ATTEMPT, USER, Token
from openpaisdk.local.files.call import Call, check_access
from openpaisdk.local.files.edits import FileLocks
from openpaisdk.local.files.hdfs_errors import RemoteError, from_os_error
from openpaisdk.local.files.storage_tree import ASIDE_FOLDER, StorageTree, clean_path
from openpaisdk.local.removal import delete_tree


@pytest.fixture
def tree(tmp_path):
    return StorageTree(str(tmp_path / "storage"), "alice")


def put(tree: StorageTree, path: str, content: bytes = b"content", *, overwrite: bool = False) -> None:
    aside = tree.aside()
    with open(aside, "wb") as file:
        file.write(content)
    tree.put_into_place(aside, path, overwrite=overwrite, mode=None)


def content(tree: StorageTree, path: str) -> bytes:
    with open(tree.open_file(path), "rb") as file:
        return file.read()


def names(tree: StorageTree, path: str) -> list[str]:
    return [entry["pathSuffix"] for entry in tree.list(path)]


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(RemoteError) as caught:
        call(*arguments, **options)
    return caught.value.exception


# --- paths ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "clean"), [("/", "/"), ("//a//b/", "/a/b"), ("/a b/ü", "/a b/ü"), ("/..a/b..", "/..a/b..")]
)
def test_paths_are_cleaned(path, clean):
    assert clean_path(path) == clean


@pytest.mark.parametrize("path", ["", "a", "/..", "/a/../b", "/./a", "/a/.", "/a\0b"])
def test_paths_that_could_lead_elsewhere_are_refused(path):
    assert refusal(clean_path, path) == "IllegalArgumentException"


def test_the_folder_aside_is_nobodys():
    assert refusal(clean_path, f"/{ASIDE_FOLDER}/x") == "AccessControlException"
    assert clean_path(f"/user/{ASIDE_FOLDER}") == f"/user/{ASIDE_FOLDER}"


def test_a_link_that_leads_out_is_refused(tree, tmp_path):
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path, tmp_path / "storage" / "out")
    os.symlink(tmp_path / "secret", tmp_path / "storage" / "file")
    for path in ("/out", "/out/secret", "/file", "/out/new"):
        assert refusal(tree.status, path) == "AccessControlException"
    assert refusal(tree.check_new_file, "/out/new", overwrite=True) == "AccessControlException"
    assert refusal(tree.make_folder, "/out/new") == "AccessControlException"
    assert refusal(tree.rename, "/out/secret", "/here") == "AccessControlException"
    assert refusal(tree.take_away, "/out/secret", recursive=True) == "AccessControlException"


def test_a_link_aside_is_refused(tree, tmp_path):
    os.symlink(tmp_path / "storage" / ASIDE_FOLDER, tmp_path / "storage" / "aside")
    assert refusal(tree.list, "/aside") == "AccessControlException"


def test_a_link_itself_can_be_deleted_and_what_it_names_stays(tree, tmp_path):
    (tmp_path / "kept").mkdir()
    os.symlink(tmp_path / "kept", tmp_path / "storage" / "out")
    assert tree.take_away("/out", recursive=True) == ""
    assert (tmp_path / "kept").is_dir()


def test_links_that_lead_out_are_listed_as_links(tree, tmp_path):
    os.symlink(tmp_path, tmp_path / "storage" / "out")
    os.symlink("nowhere", tmp_path / "storage" / "broken")
    put(tree, "/file")
    os.symlink("file", tmp_path / "storage" / "inside")
    kinds = {entry["pathSuffix"]: entry["type"] for entry in tree.list("/")}
    assert kinds == {"out": "SYMLINK", "broken": "SYMLINK", "file": "FILE", "inside": "FILE"}


def test_a_link_in_a_loop_is_no_crash(tree, tmp_path):
    os.symlink("loop", tmp_path / "storage" / "loop")
    with pytest.raises(RemoteError):
        tree.status("/loop")


@pytest.mark.parametrize("operation", ["open", "create", "make", "rename", "delete", "mode", "times", "list"])
def test_a_folder_swapped_for_a_link_while_it_is_used_leads_nowhere(tree, tmp_path, monkeypatch, operation):
    """The swap comes right after the path was resolved, at the worst moment."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    (outside / "listed").mkdir()
    put(tree, "/folder/file")
    put(tree, "/other")
    resolve = os.path.realpath

    def resolve_and_swap(path, *arguments, **options):
        place = resolve(path, *arguments, **options)
        folder = tmp_path / "storage" / "folder"
        if "storage/folder" in str(path) and not folder.is_symlink():
            os.rename(folder, tmp_path / "moved")
            os.symlink(outside, folder)
        return place

    seen: list[object] = []
    operations = {
        "open": lambda: seen.append(content(tree, "/folder/file")),
        "create": lambda: put(tree, "/folder/new"),
        "make": lambda: tree.make_folder("/folder/new/deeper"),
        "rename": lambda: tree.rename("/other", "/folder/new"),
        "delete": lambda: tree.take_away("/folder/file", recursive=True),
        "mode": lambda: tree.set_mode("/folder/file", 0o777),
        "times": lambda: tree.set_times("/folder/file", 0, 0),
        "list": lambda: seen.extend(names(tree, "/folder")),
    }
    before = (outside / "file").stat()
    monkeypatch.setattr(os.path, "realpath", resolve_and_swap)
    with contextlib.suppress(RemoteError):
        operations[operation]()
    monkeypatch.undo()
    assert (tmp_path / "storage" / "folder").is_symlink()
    assert not {b"secret", "listed"} & set(seen)
    assert sorted(os.listdir(outside)) == ["file", "listed"]
    assert (outside / "file").stat() == before


def test_pipes_and_other_things_that_are_no_files_are_not_opened(tree, tmp_path):
    os.mkfifo(tmp_path / "storage" / "pipe")
    assert refusal(tree.open_file, "/pipe") == "FileNotFoundException"


# --- look -------------------------------------------------------------------------------------
def test_a_status_is_hadoops(tree):
    put(tree, "/a/file", b"12345")
    status = tree.status("/a/file")
    assert (status["type"], status["length"], status["permission"], status["replication"]) == (
        "FILE",
        5,
        "644",
        1,
    )
    assert (status["owner"], status["pathSuffix"]) == ("alice", "")
    folder = tree.status("/a")
    assert (folder["type"], folder["length"], folder["permission"]) == ("DIRECTORY", 0, "755")


def test_a_list_is_sorted_and_hides_what_is_aside(tree):
    for name in ("b", "a", "c"):
        put(tree, f"/{name}")
    assert names(tree, "/") == ["a", "b", "c"]
    assert names(tree, "/b") == [""]
    assert refusal(tree.list, "/nope") == "FileNotFoundException"


def test_a_name_that_is_not_utf8_does_not_break_a_list(tree, tmp_path):
    (tmp_path / "storage" / os.fsdecode(b"\xff")).write_text("")
    assert names(tree, "/") == ["\ufffd"]


def test_a_summary_counts_folders_files_and_bytes(tree):
    put(tree, "/a/x", b"123")
    put(tree, "/a/b/y", b"45")
    found = tree.summary("/a")
    assert (found["directoryCount"], found["fileCount"], found["length"]) == (2, 2, 5)
    assert tree.summary("/")["directoryCount"] == 3
    assert tree.summary("/a/x")["fileCount"] == 1


# --- files ------------------------------------------------------------------------------------
def test_a_file_appears_whole_and_nothing_is_left_aside(tree, tmp_path):
    put(tree, "/new/folder/file")
    assert content(tree, "/new/folder/file") == b"content"
    assert os.listdir(tmp_path / "storage" / ASIDE_FOLDER) == []


def test_a_file_is_replaced_only_when_asked_for(tree):
    put(tree, "/file", b"old")
    assert refusal(put, tree, "/file", b"new") == "FileAlreadyExistsException"
    assert content(tree, "/file") == b"old"
    put(tree, "/file", b"new", overwrite=True)
    assert content(tree, "/file") == b"new"


def test_what_is_left_aside_by_a_crash_goes_at_the_next_start(tree, tmp_path):
    with open(tree.aside(), "wb") as file:
        file.write(b"half")
    StorageTree(str(tmp_path / "storage"), "alice")
    assert os.listdir(tmp_path / "storage" / ASIDE_FOLDER) == []


def test_files_do_not_take_the_place_of_folders_nor_folders_of_files(tree):
    tree.make_folder("/folder")
    put(tree, "/file")
    for path in ("/", "/folder"):
        assert refusal(tree.check_new_file, path, overwrite=True) == "FileAlreadyExistsException"
    assert refusal(tree.check_new_file, "/file/below", overwrite=True) == "ParentNotDirectoryException"
    assert refusal(tree.make_folder, "/file") == "FileAlreadyExistsException"
    assert refusal(tree.make_folder, "/file/below") == "ParentNotDirectoryException"
    assert refusal(tree.open_file, "/folder") == "FileNotFoundException"


def test_an_append_adds_at_the_end(tree):
    put(tree, "/file", b"one")
    aside = tree.aside()
    with open(aside, "wb") as file:
        file.write(b"two")
    tree.append(aside, "/file")
    assert content(tree, "/file") == b"onetwo"


def test_folders_are_made_twice_without_error(tree):
    tree.make_folder("/a/b", 0o750)
    tree.make_folder("/a/b")
    assert tree.status("/a/b")["permission"] == "750"


def test_a_name_that_is_too_long_is_refused(tree):
    assert refusal(tree.make_folder, "/" + "x" * 300) == "PathComponentTooLongException"


# --- rename and delete ------------------------------------------------------------------------
def test_a_rename_moves_into_a_folder_that_is_there(tree):
    put(tree, "/file")
    tree.make_folder("/folder")
    assert tree.rename("/file", "/folder")
    assert names(tree, "/folder") == ["file"]


def test_renames_that_cannot_be_answer_false(tree):
    put(tree, "/file")
    put(tree, "/other", b"other")
    tree.make_folder("/folder/below")
    assert not tree.rename("/nope", "/new")
    assert not tree.rename("/file", "/other")
    assert not tree.rename("/folder", "/folder/below/deeper")
    assert not tree.rename("/file", "/no/such/folder/file")
    assert not tree.rename("/", "/new")
    assert content(tree, "/other") == b"other"
    assert tree.rename("/file", "/other", overwrite=True)
    assert content(tree, "/other") == b"content"


def test_a_full_folder_is_deleted_only_with_all_that_is_in_it(tree):
    put(tree, "/folder/file")
    assert refusal(tree.take_away, "/folder", recursive=False) == "PathIsNotEmptyDirectoryException"
    left = tree.take_away("/folder", recursive=True)
    assert names(tree, "/") == []
    delete_tree(left)
    assert not os.path.exists(left)


def test_deleting_what_is_not_there_and_the_root_does_nothing(tree):
    put(tree, "/file")
    assert tree.take_away("/nope", recursive=True) is None
    assert tree.take_away("/", recursive=True) is None
    assert tree.take_away("/file", recursive=False) == ""
    assert names(tree, "/") == []


def test_the_server_keeps_its_access(tree):
    put(tree, "/folder/file")
    tree.set_mode("/folder", 0)
    tree.set_mode("/folder/file", 0o444)
    assert stat.S_IMODE(tree.stat("/folder").st_mode) == 0o700
    assert tree.status("/folder/file")["permission"] == "644"


def test_times_are_set_one_by_one(tree):
    put(tree, "/file")
    tree.set_times("/file", 1_000_500, -1)
    assert tree.status("/file")["modificationTime"] == 1_000_500
    tree.set_times("/file", -1, 2_000)
    status = tree.status("/file")
    assert (status["modificationTime"], status["accessTime"]) == (1_000_500, 2_000)


# --- who may ----------------------------------------------------------------------------------
def identity(kind: str, *, admin: bool = False, prefix: str | None = None) -> Identity:
    token = Token(user="bob", kind=kind, nonce="", issued_s=0, path_prefix=prefix)
    return Identity(user="bob", admin=admin, token=token, text="")


def test_an_attempts_token_opens_its_folder_only():
    attempt = identity(ATTEMPT, admin=True, prefix="/user/bob/jobs/j")
    for path in ("/user/bob/jobs/j", "/user/bob/jobs/j/code/x"):
        check_access(attempt, path, writes=True)
    for path in ("/", "/user/bob", "/user/bob/jobs/j2", "/user/bob/jobs/j2/x", "/user/bob/jobs"):
        assert refusal(check_access, attempt, path, writes=False) == "AccessControlException"


def test_an_attempts_token_without_a_folder_opens_nothing():
    for path in ("/", "/user"):
        assert (
            refusal(check_access, identity(ATTEMPT, prefix=""), path, writes=False)
            == "AccessControlException"
        )


def test_users_change_only_what_is_theirs():
    check_access(identity(USER), "/user/alice/x", writes=False)
    check_access(identity(USER), "/user/bob/x", writes=True)
    check_access(identity(USER, admin=True), "/user/alice/x", writes=True)
    for path in ("/user/alice/x", "/", "/user/bobby"):
        assert refusal(check_access, identity(USER), path, writes=True) == "AccessControlException"


def test_paths_that_parameters_name_are_checked_as_well():
    call = Call(Request({"type": "http"}), "/user/bob/x", {"op": "RENAME"}, identity(USER))
    assert call.other_path("destination", "/user/bob//y/") == "/user/bob/y"
    assert refusal(call.other_path, "destination", "/user/alice/y") == "AccessControlException"
    assert refusal(call.other_path, "destination", "/user/bob/../alice/y") == "IllegalArgumentException"
    assert refusal(call.other_path, "destination", "y") == "IllegalArgumentException"


def test_one_request_after_the_other_changes_a_file():
    async def change(locks: FileLocks, course: list[str], *paths: str) -> None:
        async with locks.held(*paths):
            course.append("in")
            await asyncio.sleep(0)
            course.append("out")

    async def all_at_once() -> list[str]:
        locks, course = FileLocks(), []
        with contextlib.suppress(ZeroDivisionError):
            async with locks.held("/a"):
                raise ZeroDivisionError
        await asyncio.gather(*(change(locks, course, *paths) for paths in ("ab", "ba", "a", "a", "ba")))
        return course

    assert asyncio.run(all_at_once()) == ["in", "out"] * 5


# --- errors -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("number", "exception", "status"),
    [
        ("ENOENT", "FileNotFoundException", 404),
        ("ENOTDIR", "ParentNotDirectoryException", 403),
        ("EEXIST", "FileAlreadyExistsException", 403),
        ("EACCES", "AccessControlException", 403),
        ("ENAMETOOLONG", "PathComponentTooLongException", 403),
        ("ENOSPC", "IOException", 403),
    ],
)
def test_errors_of_the_system_become_hadoops(number, exception, status):
    import errno

    code = getattr(errno, number)
    error = from_os_error(OSError(code, os.strerror(code)), "/x")
    assert (error.exception, error.status) == (exception, status)
    body = error.body()["RemoteException"]
    assert body["javaClassName"].replace("$", ".").endswith(f".{exception}")
    assert "/x" in body["message"]
