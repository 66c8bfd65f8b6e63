# SPDX-License-Identifier: MIT
"""Choosing and packing the files of a job."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import openpaisdk
from openpaisdk.errors import SourceError
from openpaisdk.sources import choose_named, select
from openpaisdk.sources.ignore import parse_rule


def write(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(folder: Path, *paths: str) -> list[str]:
    return [name for name, _ in select(paths or ["."], folder=str(folder)).files]


# --- what is chosen ----------------------------------------------------------------------------------


def test_sources_keep_their_path_relative_to_the_submitters_folder(tmp_path):
    write(tmp_path, "a/b/c.py", "a/d.py", "e.py", "f.py")
    assert names(tmp_path, "a/b", "e.py") == ["a/b/c.py", "e.py"]
    assert names(tmp_path, "a/b/../d.py", "./e.py") == ["a/d.py", "e.py"]
    assert names(tmp_path, str(tmp_path / "a")) == ["a/b/c.py", "a/d.py"]


def test_what_is_named_twice_is_sent_once(tmp_path):
    write(tmp_path, "a/b.py")
    assert names(tmp_path, "a", "a/b.py", ".", "a") == ["a/b.py"]


def test_a_source_outside_of_the_folder_stands_under_its_last_name(tmp_path):
    write(tmp_path, "common/lib.py", "project/main.py", "set.csv")
    assert names(tmp_path / "project", "../common", str(tmp_path / "set.csv"), ".") == [
        "common/lib.py",
        "main.py",
        "set.csv",
    ]


def test_two_sources_of_one_name_are_refused(tmp_path):
    write(tmp_path, "common/lib.py", "project/common/lib.py")
    with pytest.raises(SourceError, match=r"two sources would be 'common' in the job"):
        select(["common", "../common"], folder=str(tmp_path / "project"))


def test_a_file_cannot_be_a_folder_as_well(tmp_path):
    write(tmp_path, "common", "project/common/lib.py")
    with pytest.raises(SourceError):
        select(["common/lib.py", "../common"], folder=str(tmp_path / "project"))


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"source 'nowhere' does not exist"):
        select(["nowhere"], folder=str(tmp_path))


def test_the_root_folder_is_refused():
    with pytest.raises(SourceError, match="is the root folder"):
        select(["/"])


def test_special_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=r"'pipe' is a pipe"):
        select(["."], folder=str(tmp_path))
    with pytest.raises(SourceError, match=r"'pipe' is a pipe"):
        select(["pipe"], folder=str(tmp_path))


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    write(tmp_path, "a.py")
    chosen = select(["."], folder=str(tmp_path))
    real = os.open

    def refuse(path, *rest, **options):
        if str(path).endswith("a.py"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **options)

    monkeypatch.setattr("openpaisdk.sources.archive.os.open", refuse)
    with pytest.raises(SourceError, match=r"cannot read source 'a.py': permission denied"):
        chosen.pack()


def test_a_file_that_becomes_a_pipe_does_not_hold_up_packing(tmp_path):
    write(tmp_path, "a.py")
    chosen = select(["."], folder=str(tmp_path))
    (tmp_path / "a.py").unlink()
    os.mkfifo(tmp_path / "a.py")
    with pytest.raises(SourceError, match="is not a file any more"):
        chosen.pack()


def test_requirement_files_at_the_top_of_given_folders_are_found(tmp_path):
    write(
        tmp_path,
        "requirements.txt",
        "part/requirements.txt",
        "part/deep/requirements.txt",
        "other/requirements.txt",
    )
    assert select(["requirements.txt", "part"], folder=str(tmp_path)).requirements == [
        "requirements.txt",
        "part/requirements.txt",
    ]
    assert select(["."], folder=str(tmp_path)).requirements == ["requirements.txt"]
    assert select(["part/deep/requirements.txt"], folder=str(tmp_path)).requirements == []


def test_the_preview_tells_number_size_and_the_ten_largest(tmp_path):
    for number in range(12):
        write(tmp_path, f"f{number:02}", text="x" * number)
    preview = select(["."], folder=str(tmp_path)).preview()
    assert (preview["files"], preview["size_bytes"]) == (12, 66)
    assert preview["largest"][0] == {"name": "f11", "size_bytes": 11}
    assert len(preview["largest"]) == 10


# --- links -------------------------------------------------------------------------------------------


def packed(folder: Path, *paths: str) -> dict[str, tarfile.TarInfo]:
    with select(paths or ["."], folder=str(folder)).pack() as archive, tarfile.open(archive.path) as tar:
        return {member.name: member for member in tar.getmembers()}


def test_links_inside_stay_links(tmp_path):
    write(tmp_path, "a/real.py", "b/x")
    (tmp_path / "a" / "near").symlink_to("real.py")
    (tmp_path / "a" / "far").symlink_to("../b")
    (tmp_path / "chain").symlink_to("a/near")
    (tmp_path / "absolute").symlink_to(tmp_path / "a" / "real.py")
    (tmp_path / "b" / "dangling").symlink_to("gone")
    members = packed(tmp_path)
    links = {name: member.linkname for name, member in members.items() if member.issym()}
    assert links == {
        "a/near": "real.py",
        "a/far": "../b",
        "chain": "a/near",
        "absolute": "a/real.py",
        "b/dangling": "gone",
    }


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "b/../../outside"])
def test_links_that_leave_the_sources_are_refused_with_their_target(tmp_path, target):
    write(tmp_path, "outside", "project/b/x")
    (tmp_path / "project" / "link").symlink_to(target)
    with pytest.raises(SourceError) as caught:
        select(["."], folder=str(tmp_path / "project"))
    assert "'link'" in str(caught.value)
    assert repr(target) in str(caught.value)


def test_a_link_to_what_is_not_sent_is_refused(tmp_path):
    write(tmp_path, "sent/x", "kept/y")
    (tmp_path / "sent" / "link").symlink_to("../kept/y")
    with pytest.raises(SourceError, match="not among the sources"):
        select(["sent"], folder=str(tmp_path))
    assert names(tmp_path, "sent", "kept") == ["kept/y", "sent/link", "sent/x"]


def test_a_source_that_is_itself_a_link_is_followed(tmp_path):
    write(tmp_path, "storage/set/x", "project/main.py")
    (tmp_path / "project" / "data").symlink_to("../storage/set")
    assert names(tmp_path / "project", "data") == ["data/x"]


def test_loops_of_links_end(tmp_path):
    write(tmp_path, "a")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "self").symlink_to(".")
    assert names(tmp_path) == ["a", "round", "self"]


# --- ignore files ------------------------------------------------------------------------------------


def test_own_caches_repositories_and_virtual_environments_are_never_sent(tmp_path):
    write(
        tmp_path,
        ".git/config",
        ".openpai/defaults.json",
        "a/__pycache__/a.pyc",
        "env/pyvenv.cfg",
        "env/bin/x",
        "a/b.py",
    )
    assert names(tmp_path) == ["a/b.py"]


def test_what_is_named_is_sent_though_ignored(tmp_path):
    write(tmp_path, ".gitignore", text="data/\n*.csv\n")
    write(tmp_path, "data/x.bin", "data/y.csv", "z.csv")
    assert names(tmp_path) == [".gitignore"]
    assert names(tmp_path, "data", "z.csv") == ["data/x.bin", "z.csv"]


def test_a_folder_of_which_all_is_ignored_is_said(tmp_path):
    write(tmp_path, ".gitignore", text="data/*\n")
    write(tmp_path, "data/x.bin")
    with pytest.raises(SourceError, match=r"holds nothing that is not ignored \(.gitignore: data/\*\)"):
        select(["data"], folder=str(tmp_path))


def test_the_own_ignore_file_wins(tmp_path):
    write(tmp_path, ".gitignore", text="*.bin\n/models\n")
    write(tmp_path, ".openpaiignore", text="!keep.bin\n!/models\nsecret*\n")
    write(tmp_path, "keep.bin", "drop.bin", "models/m", "secret.txt")
    assert names(tmp_path) == [".gitignore", ".openpaiignore", "keep.bin", "models/m"]


def test_ignore_files_above_the_folder_count_up_to_the_root_of_the_repository(tmp_path):
    write(tmp_path, ".gitignore", text="*\n")
    write(tmp_path, "repo/.git/HEAD")
    write(tmp_path, "repo/.git/info/exclude", text="*.local\n")
    write(tmp_path, "repo/.gitignore", text="*.log\n/part/top\n")
    write(tmp_path, "repo/part/a.py", "repo/part/b.log", "repo/part/top", "repo/part/c.local")
    assert names(tmp_path / "repo" / "part") == ["a.py"]


@pytest.mark.parametrize("line", ["", "   ", "# note", "/", "!", "!/", "a\\"], ids=repr)
def test_lines_without_a_rule(line):
    assert parse_rule(line) is None


def test_a_line_may_end_as_on_windows_and_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbf*.log\r\nkeep \\ \r\n")
    write(tmp_path, "a.log", "b.py")
    assert names(tmp_path) == [".gitignore", "b.py"]


def test_brackets_that_python_has_doubts_about_are_read_without_a_word(tmp_path):
    write(tmp_path, ".gitignore", text="[[ab]x\n")
    write(tmp_path, "ax", "[x", "cx")
    assert names(tmp_path) == [".gitignore", "cx"]


def test_the_library_is_loaded_for_ignore_files_only(tmp_path):
    write(tmp_path, "a.py")
    root = os.path.dirname(os.path.dirname(openpaisdk.__file__))
    code = (
        f"import sys; sys.path.insert(0, {root!r})\n"
        "from openpaisdk.sources import select\n"
        "select(['.'])\n"
        "print('pathspec' in sys.modules)"
    )
    for expected in ("False", "True"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == expected, done.stderr
        write(tmp_path, ".gitignore", text="*.log\n")


PIECES = [
    "a",
    "b",
    "foo",
    "*",
    "**",
    "?",
    "[ab]",
    "*.py",
    "a*",
    "**/",
    "/",
    "\\*",
    "[a-c]",
    "b.py",
    "x y",
    "#",
]
PIECES += ["!", "]", "[]a]", "[z-a]"]
# Left out, for pathspec reads them otherwise than git: "[!a]" matches "/" too, "[[:alpha:]]" and "\\]" inside
# of brackets are not known, a space before a "/" at the end and a backslash before one are dropped.
NOT_A_SEGMENT = re.compile(r"[^/]\*\*|\*\*[^/]")
"""Two stars beside something else: two single ones to git, not always to pathspec."""
NAMES = ["a", "b", "foo", "b.py", "a.py", "x y", "ab", "#c", "!n", "*", "c]"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("seed", range(60))
def test_ignore_files_mean_what_git_says(tmp_path, seed):
    chance = random.Random(seed)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    def make(folder: Path, depth: int) -> None:
        for name in chance.sample(NAMES, chance.randint(2, 5)):
            path = folder / name
            if depth < 3 and chance.random() < 0.5:
                path.mkdir()
                make(path, depth + 1)
            else:
                path.touch()
        if depth == 0 or chance.random() < 0.3:
            (folder / ".gitignore").write_text("".join(line() for _ in range(chance.randint(1, 5))))

    def line() -> str:
        pattern = "".join(chance.choice(PIECES + ["/"] * 4) for _ in range(chance.randint(1, 4)))
        while "//" in pattern:
            pattern = pattern.replace("//", "/")
        if NOT_A_SEGMENT.search(pattern):
            return line()
        return chance.choice(["", "", "", "!"]) + pattern + "\n"

    make(tmp_path, 0)
    told = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    )
    expected = sorted(name for name in told.stdout.split("\0") if name)
    if not expected:
        with pytest.raises(SourceError):
            names(tmp_path)
    else:
        assert sorted(names(tmp_path)) == expected


# --- files that a command names ----------------------------------------------------------------------


def test_named_files_are_chosen_unless_ignored_or_given(tmp_path):
    write(tmp_path, ".gitignore", text="*.tmp\nbuild/\n")
    write(tmp_path, "train.py", "src/a.py", "x.tmp", "build/b.py", "env/pyvenv.cfg", "env/run.py")
    chosen, left_out = choose_named(
        str(tmp_path), ["train.py", "src/a.py", "x.tmp", "build/b.py", "env/run.py"], given=["src"]
    )
    assert chosen == ["train.py"]
    assert left_out == [
        ("x.tmp", ".gitignore: *.tmp"),
        ("build/b.py", ".gitignore: build/"),
        ("env/run.py", "it is a virtual environment"),
    ]


def test_a_named_link_out_of_the_folder_is_left_out(tmp_path):
    write(tmp_path, "outside", "project/in.py")
    (tmp_path / "project" / "out.py").symlink_to("../outside")
    (tmp_path / "project" / "near.py").symlink_to("in.py")
    chosen, left_out = choose_named(str(tmp_path / "project"), ["out.py", "near.py"])
    assert chosen == ["near.py"]
    assert left_out == [("out.py", f"it is a link to {str(tmp_path / 'outside')!r}")]


# --- the archive -------------------------------------------------------------------------------------


def test_the_same_content_gives_the_same_bytes(tmp_path):
    results = []
    for number, order in enumerate((["b", "a/c", "a/d"], ["a/d", "a/c", "b"])):
        folder = tmp_path / str(number)
        for name in order:
            write(folder, name, text=f"content of {name}")
        os.utime(folder / "b", (number * 1000, number * 1000))
        (folder / "a" / "c").chmod(0o700 if number else 0o755)
        (folder / "b").chmod(0o600 if number else 0o664)
        with select(["."], folder=str(folder)).pack() as archive:
            data = Path(archive.path).read_bytes()
            assert archive.size_bytes == len(data)
            results.append((archive.digest, data))
    assert results[0] == results[1]
    assert results[0][1][:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"


def test_members_have_no_owner_a_fixed_moment_and_plain_modes(tmp_path):
    write(tmp_path, "run.sh", "deep/ü x.txt", "long/" + "n" * 120 + "/file")
    (tmp_path / "run.sh").chmod(0o4750)
    members = packed(tmp_path)
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {
        (0, 0, "", "", 315532800)
    }
    modes = {name: oct(member.mode) for name, member in members.items() if "long" not in name}
    assert modes == {"run.sh": "0o755", "deep": "0o755", "deep/ü x.txt": "0o644"}
    assert "long/" + "n" * 120 + "/file" in members


def test_empty_folders_are_kept(tmp_path):
    (tmp_path / "logs").mkdir()
    write(tmp_path, "a")
    assert packed(tmp_path)["logs"].isdir()


def test_the_content_arrives(tmp_path):
    data = random.Random(1).randbytes(3 * 1024 * 1024 + 11)
    (tmp_path / "big.bin").write_bytes(data)
    with select(["."], folder=str(tmp_path)).pack() as archive:
        with tarfile.open(archive.path) as tar:
            assert tar.extractfile("big.bin").read() == data
        with gzip.open(archive.path) as unpacked:
            assert len(unpacked.read()) % 512 == 0
        folder = Path(archive.path).parent
    assert not folder.exists()
