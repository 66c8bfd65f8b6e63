# SPDX-License-Identifier: MIT
"""``bootstrap.py`` alone: unpacking safely, reading requirements, choosing outputs; it is loaded as data."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

import openpaisdk
from openpaisdk.job.prelude import build_prelude
from openpaisdk.storage.local import FileStorage

RUNTIME = Path(openpaisdk.__file__).parent / "runtime"


@pytest.fixture(scope="module")
def bootstrap():
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", RUNTIME / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


def archive(*members: tarfile.TarInfo) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"data") if info.isfile() else None)
    file.seek(0)
    return file


LINK, HARD, PIPE, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE


def test_files_folders_and_links_are_unpacked(bootstrap, tmp_path):
    script = member("a/run.sh")
    script.mode = 0o700
    bootstrap.unpack(
        archive(script, member("empty", FOLDER), member("b", LINK, "a/run.sh"), member("a/up", LINK, "..")),
        tmp_path,
    )
    assert (tmp_path / "a" / "run.sh").read_bytes() == b"data"
    assert (tmp_path / "a" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").is_dir()
    assert os.readlink(tmp_path / "b") == "a/run.sh"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("../evil")], "'../evil' would be written outside"),
        ([member("a/../../evil")], "would be written outside"),
        ([member("/evil")], "would be written outside"),
        ([member("a", LINK, "/etc")], "is a link to '/etc', out of the folder"),
        ([member("a", LINK, "..")], "is a link to '..'"),
        ([member("a/b", LINK, "../../x")], "out of the folder"),
        ([member("x"), member("a", HARD, "x")], "is neither file, folder nor symbolic link"),
        ([member("a", PIPE)], "is neither file, folder nor symbolic link"),
    ],
)
def test_an_archive_that_leaves_the_folder_is_refused_whole(bootstrap, tmp_path, members, message):
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(bootstrap.Failure, match=message) as caught:
        bootstrap.unpack(archive(member("first"), *members), work)
    assert caught.value.code == bootstrap.UNPACK_REFUSED
    assert list(work.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_chain_of_links_does_not_lead_out(bootstrap, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    members = [member("b", FOLDER), member("b/c", LINK, ".."), member("out", LINK, "b/c/../..")]
    with pytest.raises(bootstrap.Failure, match="'out' is a link that leads out"):
        bootstrap.unpack(archive(*members), work)
    assert not os.path.lexists(work / "out")


def test_nothing_is_written_through_a_link_that_was_there(bootstrap, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a").symlink_to(tmp_path)
    with pytest.raises(bootstrap.Failure, match="through a link"):
        bootstrap.unpack(archive(member("a/evil")), work)
    assert not (tmp_path / "evil").exists()


def test_files_that_are_there_are_replaced(bootstrap, tmp_path):
    (tmp_path / "target").write_text("kept")
    work = tmp_path / "work"
    work.mkdir()
    (work / "a").symlink_to("../target")
    (work / "b").write_text("old and longer than the new")
    bootstrap.unpack(archive(member("a"), member("b")), work)
    assert (work / "a").read_bytes() == (work / "b").read_bytes() == b"data"
    assert (tmp_path / "target").read_text() == "kept"


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"no archive"]
)
def test_a_damaged_archive_is_one_clear_failure(bootstrap, tmp_path, damage):
    data = archive(*[member(f"f{number}") for number in range(50)]).getvalue()
    with pytest.raises(bootstrap.Failure, match="cannot unpack the sources"):
        bootstrap.unpack(io.BytesIO(damage(data)), tmp_path)


def test_zstd_is_read_where_there_is_a_package_for_it_and_else_its_lack_is_said(
    bootstrap, tmp_path, monkeypatch
):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("one")
    FileStorage().upload(str(tmp_path / "tree"), f"{tmp_path}/tree.tar.zst", archive=True)
    packed = (tmp_path / "tree.tar.zst").read_bytes()
    bootstrap.unpack_stream(bootstrap.decompressed(io.BytesIO(packed), "tree.tar.zst"), tmp_path / "back")
    assert (tmp_path / "back" / "a").read_text() == "one"
    damaged = bootstrap.decompressed(io.BytesIO(b"no zstd" * 9), "x.tzst")
    with pytest.raises(bootstrap.Failure, match="cannot unpack the archive"):
        bootstrap.unpack_stream(damaged, tmp_path / "none")
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 13))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(
        bootstrap.Failure, match=r"needs zstd, which Python 3\.13 has not.*\.tar or \.tar\.gz"
    ):
        bootstrap.decompressed(io.BytesIO(packed), "tree.tar.zst")


@pytest.mark.parametrize(
    ("requirement", "local"),
    [
        ("numpy", False),
        ("numpy>=1; python_version < '3.9'", False),
        ("--index-url https://x/simple", False),
        ("pkg @ https://x/y.whl", False),
        ("-e .", True),
        ("--editable=src", True),
        ("./pkg", True),
        ("/abs/pkg", True),
        ("pkg @ file:///x/y.whl", True),
        ("here.whl", True),
    ],
)
def test_requirements_of_the_tasks_own_folder_are_told_apart(
    bootstrap, tmp_path, monkeypatch, requirement, local
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.whl").touch()
    (tmp_path / "requirements.txt").write_text(f"# -e comment\n{requirement}  # ./no\n")
    assert bootstrap.read_requirements(["requirements.txt"])[1] is local


def test_included_requirement_files_count_for_the_cache(bootstrap, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "requirements.txt").write_text("-r a/more.txt\n-c a/limits.txt\n-r requirements.txt\n")
    (tmp_path / "a" / "more.txt").write_text("--requirement=limits.txt\nx\n")
    (tmp_path / "a" / "limits.txt").write_text("y<2\n")
    contents, _ = bootstrap.read_requirements(["requirements.txt"])
    assert len(contents) == 3
    assert "y<2\n" in contents
    with pytest.raises(bootstrap.Failure, match=r"cannot read nowhere.txt"):
        bootstrap.read_requirements(["nowhere.txt"])


def test_outputs_are_files_folders_and_patterns(bootstrap, tmp_path, capsys):
    work, folder = tmp_path / "work", tmp_path / "out"
    (work / "m" / "deep").mkdir(parents=True)
    folder.mkdir()
    for name in ("m/deep/a.bin", "x.log", "y.log"):
        (work / name).touch()
    (folder / "own").touch()
    (work / "m" / "out").symlink_to("/etc/hostname")
    found = [name for _, name in bootstrap.outputs(str(work), ["m", "*.log", "gone"], str(folder))]
    assert found == ["m/deep/a.bin", "x.log", "y.log", "own"]
    said = capsys.readouterr().err
    assert "output 'gone' is not there" in said
    assert "output 'm/out' is a link that leads out" in said


def test_files_of_the_sdk_are_neither_unpacked_nor_stored(bootstrap, tmp_path):
    bootstrap.unpack(
        archive(member(".openpaisdk/start.sh"), member("./.openpaisdk/x"), member("a")), tmp_path
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / ".openpaisdk").mkdir()
    (tmp_path / ".openpaisdk" / "x").touch()
    assert [name for _, name in bootstrap.outputs(str(tmp_path), ["*", ".*"], None)] == ["a"]


@pytest.mark.parametrize("quoted", [False, True])
def test_programs_of_a_cached_environment_run_in_the_one_of_their_caller(bootstrap, tmp_path, quoted):
    programs = tmp_path / "bin"
    programs.mkdir()
    path = f'"{programs}/python3"' if quoted else f"{programs}/python3.11"
    head = '#!/bin/sh\nTQexec\' {} "$0" "$@"\n\' TQ\nimport x\n'.replace("TQ", "'" * 3)
    (programs / "short").write_text(f"#!{programs}/python3\nimport {programs}/python3\n")
    (programs / "long").write_text(head.format(path))
    (programs / "other").write_text("#!/bin/bash\necho\n")
    (programs / "binary").write_bytes(b"\x7fELF\n\xff")
    (programs / "python3").symlink_to("/nowhere")
    (programs / "short").chmod(0o755)
    bootstrap.share_programs(str(tmp_path))
    assert (programs / "short").read_text() == f"#!/usr/bin/env python3\nimport {programs}/python3\n"
    assert (programs / "short").stat().st_mode & 0o777 == 0o755
    assert (programs / "long").read_text() == head.format("/usr/bin/env python3")
    assert (programs / "other").read_text() == "#!/bin/bash\necho\n"
    assert (programs / "binary").read_bytes() == b"\x7fELF\n\xff"


@pytest.mark.parametrize("uri", ["", "http://x/y", "webhdfs://host", "file:///x"])
def test_an_address_that_is_no_webhdfs_is_refused(bootstrap, uri):
    with pytest.raises(bootstrap.Failure, match="is not webhdfs://"):
        bootstrap.Storage(uri)


def test_addresses_for_messages_hold_no_token(bootstrap, tmp_path):
    (tmp_path / "token").write_text("hush\n")
    storage = bootstrap.Storage("webhdfs://bob@h:1/user/ü x", str(tmp_path / "token"), "alice")
    assert storage.shown("f") == "http://h:1/webhdfs/v1/user/ü x/f"
    assert storage.url("f", "OPEN") == "http://h:1/webhdfs/v1/user/%C3%BC%20x/f?op=OPEN&delegation=hush"
    plain = bootstrap.Storage("swebhdfs://bob@h:1/w", None, "alice")
    assert plain.url("f", "OPEN") == "https://h:1/webhdfs/v1/w/f?op=OPEN&user.name=bob"


def test_the_reason_in_a_remote_exception_is_found(bootstrap):
    assert bootstrap.remote_message('{"RemoteException": {"message": "no\\nat x"}}') == "no"
    assert bootstrap.remote_message("<html>\nbad gateway") == "<html>"
    assert bootstrap.remote_message("[]") == "[]"


def test_it_is_written_for_old_interpreters_with_the_standard_library_only():
    tree = ast.parse((RUNTIME / "bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    new = (ast.NamedExpr, ast.Match)
    assert not [node for node in ast.walk(tree) if isinstance(node, new)]
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in imported if name.startswith("openpaisdk")]


def test_a_prelude_is_small_and_holds_nothing_that_a_cluster_renders():
    text = build_prelude("webhdfs://h:1/user/a", "output", "a.tar.gz", {}, ["requirements.txt"])
    assert "<%" not in text
    assert len(text) < 4_500
    assert max(map(len, text.splitlines())) < 200
