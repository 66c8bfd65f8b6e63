# SPDX-License-Identifier: MIT
"""What is swept of broken-off transfers, and what never is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from openpaisdk.engine import Engine
from openpaisdk.errors import StorageNotFolderError, StorageNotFoundError, UsageError
from openpaisdk.storage.local import FileStorage

DAY_S = 86400
MARK = ".openpaisdk-0123456789abcdef0123"


def make(path: Path, *, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left")
    moment = time.time() - days * DAY_S
    for one in (path, path.parent):
        os.utime(one, (moment, moment))
    return path


def sweep(folder: Path, **options: float) -> list[str]:
    deleted = FileStorage().delete_left_overs(str(folder), **options)
    return [os.path.relpath(info["name"], folder) for info in deleted]


def test_what_is_old_goes_wherever_it_is_below_the_folder(tmp_path):
    make(tmp_path / "a" / "b" / MARK, days=8)
    make(tmp_path / "a" / "kept.txt", days=8)
    assert sweep(tmp_path) == [f"a/b/{MARK}"]
    assert sorted(os.listdir(tmp_path / "a")) == ["b", "kept.txt"]


def test_a_transfer_is_as_old_as_the_youngest_of_what_it_left(tmp_path):
    make(tmp_path / f"{MARK}.00000", days=30)
    make(tmp_path / f"{MARK}.4194304.00001", days=2)
    make(tmp_path / "sub" / f"{MARK}.00002", days=30)
    make(tmp_path / MARK.replace("0", "f") / "x", days=2)
    assert sweep(tmp_path) == []
    assert len(sweep(tmp_path, older_than_s=1.5 * DAY_S)) == 4


def test_a_transfer_of_a_moment_ago_cannot_be_swept_at_all(tmp_path):
    make(tmp_path / MARK, days=0)
    with pytest.raises(UsageError, match="last 24 hours"):
        sweep(tmp_path, older_than_s=3600)
    assert sweep(tmp_path, older_than_s=DAY_S) == []
    assert (tmp_path / MARK).exists()


@pytest.mark.parametrize(
    "name",
    [".openpaisdk-notes", ".openpaisdk", f"{MARK}0", f"{MARK}.txt", f"x{MARK}", MARK.upper(), f"{MARK}.1"],
)
def test_files_of_others_that_look_alike_stay(tmp_path, name):
    make(tmp_path / name, days=100)
    assert sweep(tmp_path) == []


def test_links_are_not_followed(tmp_path):
    outside = make(tmp_path / "outside" / MARK, days=9)
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "link").symlink_to(outside.parent)
    (tmp_path / "swept" / "loop").symlink_to(tmp_path / "swept")
    assert sweep(tmp_path / "swept") == []
    assert outside.exists()


def test_the_sweeping_starts_at_a_folder_that_is_there(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageNotFolderError):
        sweep(tmp_path / "file")
    with pytest.raises(StorageNotFoundError):
        sweep(tmp_path / "nowhere")


def test_the_command_tells_what_it_deleted_and_how_much_stays(tmp_path, capsys):
    from openpaisdk.cli import main

    make(tmp_path / "old" / MARK, days=3)
    make(tmp_path / "young" / MARK.replace("0", "1"), days=0)
    words = ["storage", "delete", "--left-overs", f"file://{tmp_path}"]
    assert main.run(words) == 0
    assert "0 left over and deleted, 2 younger ones stay" in capsys.readouterr().err
    assert main.run([*words, "--older-than", "48h"]) == 0
    shown = capsys.readouterr()
    assert f"{tmp_path}/old/{MARK}" in shown.out
    assert "1 left over and deleted, 1 younger one" in shown.err
    assert not (tmp_path / "old" / MARK).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--older-than", "7d"],
        ["--left-overs", "-r"],
        ["--left-overs", "--older-than", "7"],
        ["--left-overs", "--older-than", "1h"],
    ],
)
def test_options_that_make_no_sense_delete_nothing(tmp_path, words):
    make(tmp_path / MARK, days=100)
    with pytest.raises(UsageError):
        Engine().process(["storage", "delete", f"file://{tmp_path}", *words])
    assert (tmp_path / MARK).exists()
