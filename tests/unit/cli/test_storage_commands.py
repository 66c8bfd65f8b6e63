# SPDX-License-Identifier: MIT
"""``opai storage`` on folders of this machine: what each verb returns, shows, and refuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from openpaisdk.engine import Engine
from openpaisdk.errors import (
    ConfigError,
    StorageExistsError,
    StorageNotEmptyError,
    StorageNotFoundError,
    UsageError,
)
from openpaisdk.storage.transfer.progress import Progress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "remote"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("one\ntwo\nthree\n")
    return root


@pytest.fixture
def process():  # type: ignore[no-untyped-def]
    return lambda *words: Engine().process(["storage", *map(str, words)])


@pytest.fixture
def opai(capsys):  # type: ignore[no-untyped-def]
    """Run ``opai`` in this process; returns exit code, stdout, stderr."""
    from openpaisdk.cli import main

    def run(*words):  # type: ignore[no-untyped-def]
        code = main.run([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def uri(path: Path) -> str:
    return f"file://{path}"


def test_a_folder_is_listed(process, folder):  # type: ignore[no-untyped-def]
    listed = process("list", uri(folder))
    assert [(info["name"], info["type"], info["size_bytes"]) for info in listed] == [
        ("a.txt", "file", 14),
        ("sub", "directory", 0),
    ]
    assert set(listed[0]) == {"name", "type", "size_bytes", "modified_at"}


def test_verbs_that_change_something_return_it_as_a_list_does(process, folder, tmp_path):  # type: ignore[no-untyped-def]
    (tmp_path / "b.txt").write_text("b")
    for words in (
        ("upload", tmp_path / "b.txt", uri(folder) + "/"),
        ("move", uri(folder / "b.txt"), uri(folder / "c.txt")),
        ("mkdir", uri(folder / "new")),
        ("delete", uri(folder / "c.txt")),
        ("download", uri(folder / "a.txt"), tmp_path / "back"),
    ):
        (info,) = process(*words)
        assert set(info) == {"name", "type", "size_bytes", "modified_at"}
    assert (tmp_path / "back").read_text() == "one\ntwo\nthree\n"


def test_a_text_is_the_value_where_nobody_looks_on(process, folder):  # type: ignore[no-untyped-def]
    assert process("cat", uri(folder / "a.txt")) == "one\ntwo\nthree\n"
    assert process("tail", "-n", "2", uri(folder / "a.txt")) == "two\nthree\n"
    assert process("tail", "-c", "6", uri(folder / "a.txt")) == "three\n"
    assert process("tail", "-n", "0", uri(folder / "a.txt")) == ""


def test_bytes_that_are_no_text_pass_unchanged(folder):  # type: ignore[no-untyped-def]
    data = bytes(range(256)) * 500
    (folder / "blob").write_bytes(data)
    text = Engine().process(["storage", "cat", uri(folder / "blob")])
    assert text.encode("utf-8", "surrogateescape") == data


def test_usage_is_for_people_in_a_table_and_in_bytes_in_json(opai, folder):  # type: ignore[no-untyped-def]
    (folder / "big").write_bytes(bytes(3 << 20))
    assert "3.0 MiB" in opai("storage", "du", uri(folder))[1]
    value = json.loads(opai("storage", "du", uri(folder), "-o", "json")[1])
    assert value == {"name": "remote", "type": "directory", "size_bytes": 3145742, "files": 2, "folders": 2}


def test_stdin_is_stored_and_stdout_takes_a_file(opai, folder, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    assert opai("storage", "upload", "-", uri(folder / "p"))[0] == 0
    assert opai("storage", "download", uri(folder / "p"), "-")[1] == "piped"
    code, _, err = opai("storage", "download", uri(folder / "p"), "-", "-o", "json")
    assert (code, "stdout cannot take a file" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("list", "{}/missing"), 5),
        (("status", "{}/a.txt/below"), 1),
        (("cat", "{}/sub"), 1),
        (("upload", "/nowhere/at/all", "{}/x"), 5),
        (("upload", "{path}/a.txt", "{}/a.txt"), 6),
        (("download", "{}/a.txt", "{path}/a.txt"), 6),
        (("delete", "{}"), 1),
        (("move", "{}/a.txt", "{}/a.txt"), 6),
        (("list", "gopher://x/y"), 2),
        (("list", "file://host/x"), 2),
        (("list", "file:///a/../b"), 1),
    ],
)
def test_each_mistake_has_its_exit_code_and_changes_nothing(opai, folder, words, code):  # type: ignore[no-untyped-def]
    before = sorted(path.name for path in folder.rglob("*"))
    done, out, err = opai("storage", *[word.format(uri(folder), path=folder) for word in words])
    assert (done, out) == (code, "")
    assert err.startswith("error: ")
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_full_folder_goes_only_with_r(process, folder):  # type: ignore[no-untyped-def]
    with pytest.raises(StorageNotEmptyError):
        process("delete", uri(folder))
    process("delete", "-r", uri(folder))
    assert not folder.exists()


def test_between_storages_it_is_copied_and_a_move_deletes_it(process, folder, tmp_path):  # type: ignore[no-untyped-def]
    process("upload", uri(folder), "memory://x/copied")
    assert [info["name"] for info in process("list", "memory://x/copied")] == ["a.txt", "sub"]
    process("download", "memory://x/copied", uri(tmp_path / "again"))
    assert (tmp_path / "again" / "a.txt").exists()
    process("move", "memory://x/copied", uri(tmp_path / "moved"))
    assert (tmp_path / "moved" / "a.txt").exists()
    with pytest.raises(StorageNotFoundError):
        process("list", "memory://x/copied")


def test_an_archive_is_packed_and_unpacked(process, folder, tmp_path):  # type: ignore[no-untyped-def]
    process("upload", "--archive", folder, uri(tmp_path / "all.tar.gz"))
    process("download", "--archive", uri(tmp_path / "all.tar.gz"), tmp_path / "back")
    assert (tmp_path / "back" / "a.txt").exists()
    with pytest.raises(StorageExistsError):
        process("download", "--archive", uri(tmp_path / "all.tar.gz"), tmp_path / "back")


def test_an_unknown_storage_alias_is_said(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    from openpaisdk.cli.exit_codes import NOT_FOUND, exit_code_of
    from openpaisdk.errors import UnknownStorageError

    add_cluster()
    with pytest.raises(UnknownStorageError, match="no storage 'nope'") as caught:
        Engine().process(["storage", "list", "-a", "prod", "-s", "nope", "/"])
    assert exit_code_of(caught.value) == NOT_FOUND


def add_cluster() -> None:
    words = [
        "cluster",
        "add",
        "-a",
        "prod",
        "--pai-uri",
        "http://pai.example",
        "--user",
        "alice",
        "--no-check",
    ]
    Engine().process(words)


def test_an_attached_storage_is_listed_and_used(folder):  # type: ignore[no-untyped-def]
    add_cluster()
    engine = Engine()
    words = ["cluster", "attach-hdfs", "-a", "prod", "--storage-alias", "share", "--web-hdfs-uri"]
    assert engine.process([*words, "file://localhost"]) == [
        {"alias": "share", "uri": "file://localhost", "default": True}
    ]
    words[5] = "main"
    attached = engine.process([*words, "webhdfs://nn1:9870,nn2:9870", "--default", "--data-node", "dn=gate"])
    assert attached[1] == {"alias": "main", "uri": "webhdfs://nn1:9870,nn2:9870", "default": True}
    assert engine.process(["storage", "list-storage", "-a", "prod"]) == attached
    listed = engine.process(["storage", "list", "-a", "prod", "-s", "share", str(folder)])
    assert [info["name"] for info in listed] == ["a.txt", "sub"]


def test_the_embedded_cluster_keeps_storages_and_one_of_them_may_be_the_default(folder, tmp_path):  # type: ignore[no-untyped-def]
    engine = Engine()
    words = ["cluster", "attach-hdfs", "-a", "local", "--web-hdfs-uri", "file://localhost", "--storage-alias"]
    own = {"alias": "local", "uri": None, "default": True}
    first = {"alias": "share", "uri": "file://localhost", "default": False}
    assert engine.process([*words, "share"]) == [own, first]
    second = {"alias": "main", "uri": "file://localhost", "default": True}
    attached = engine.process([*words, "main", "--default"])
    assert attached == [{**own, "default": False}, first, second]
    assert engine.process(["storage", "list-storage", "-a", "local"]) == attached
    assert len(engine.process(["storage", "list", str(folder)])) == 2
    with pytest.raises(ConfigError, match="has a storage 'local' already"):
        engine.process([*words, "local"])
    with pytest.raises(UsageError, match="needs no login"):
        engine.process(["cluster", "login", "-a", "local"])
    # it defines no cluster, so the only one that is defined stays the one meant
    add_cluster()
    assert Engine().process(["storage", "list-storage"]) == []
    # without its entry the embedded cluster is as it was
    engine.process(["cluster", "remove", "local"])
    assert Engine().process(["storage", "list-storage", "-a", "local"]) == [own]


def test_an_address_that_is_none_is_not_attached():  # type: ignore[no-untyped-def]
    add_cluster()
    for wrong in ("gopher://x", "namenode:9870", "http://"):
        with pytest.raises(UsageError):
            Engine().process(
                ["cluster", "attach-hdfs", "-a", "prod", "--storage-alias", "s", "--web-hdfs-uri", wrong]
            )
    assert Engine().process(["storage", "list-storage", "-a", "prod"]) == []


def test_progress_tells_bytes_files_rate_and_time_left():  # type: ignore[no-untyped-def]
    from openpaisdk.cli.progress import bar, figures

    progress = Progress(100 << 20, 4)
    progress.bytes_done, progress.files_done, progress.seconds = 25 << 20, 1, 5.0
    assert figures(progress) == "25.0 MiB of 100 MiB, 1 of 4 files, 5.0 MiB/s, 15s left"
    assert bar(progress, "storing").startswith("storing [######..................]  25% 25.0 MiB")


def test_a_bar_is_for_terminals_only(folder, tmp_path):  # type: ignore[no-untyped-def]
    class Terminal(io.StringIO):
        def is_terminal(self) -> bool:
            return True

    for stream in (Terminal(), io.StringIO()):
        target = tmp_path / type(stream).__name__
        Engine(stderr=stream).process(["storage", "download", uri(folder), str(target)])
        assert ("[####" in stream.getvalue()) == isinstance(stream, Terminal)
        assert stream.getvalue().endswith("\x1b[K") or not stream.getvalue()


def test_a_line_of_a_tail_ends_at_its_line_break_only(process, folder):  # type: ignore[no-untyped-def]
    (folder / "log").write_bytes(b"first\n10%\r20%\r30%\nlast\n")
    assert process("tail", "-n", "2", f"{uri(folder)}/log") == "10%\r20%\r30%\nlast\n"


def test_a_pattern_shows_every_match(process, folder):  # type: ignore[no-untyped-def]
    (folder / "part-1").write_text("two\n")
    (folder / "part-0").write_text("one\n")
    assert process("cat", f"{uri(folder)}/part-*") == "one\ntwo\n"
    with pytest.raises(StorageNotFoundError, match="nothing on the storage matches"):
        process("cat", f"{uri(folder)}/none-*")


def test_a_dash_is_no_remote_file(process, folder):  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="stdin or stdout"):
        process("upload", folder / "a.txt", "-")


@pytest.mark.parametrize(
    ("remote", "path"), [(".", "/user/me/"), ("./-", "/user/me/-"), ("a/b", "/user/me/a/b"), ("/a", "/a")]
)
def test_a_relative_path_begins_at_the_users_folder(remote, path):  # type: ignore[no-untyped-def]
    from types import SimpleNamespace as Record

    from openpaisdk.cli.commands.storage import locate

    context = Record(cluster=Record(user="me", storage=lambda alias: alias))
    assert locate(remote, Record(storage_alias="s"), context) == ("s", path)


@pytest.mark.parametrize(("words", "said"), [((), "the same command goes on"), (("--archive",), "")])
def test_who_interrupts_a_transfer_is_told_whether_it_goes_on(opai, folder, monkeypatch, words, said):  # type: ignore[no-untyped-def]
    from openpaisdk.storage.transfer.upload import Upload

    def interrupt(*_, **__):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    monkeypatch.setattr(Upload, "run", interrupt)
    code, _, err = opai("storage", "upload", *words, folder, f"{uri(folder)}/copy")
    assert code == 130
    assert said in err
    assert ("goes on" in err) == bool(said)
