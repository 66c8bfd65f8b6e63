# SPDX-License-Identifier: MIT
"""Trees are deleted whatever they look like, and nothing beside them."""

from __future__ import annotations

import os

import pytest

from openpaisdk.local.jobs.outputs import store_outputs
from openpaisdk.local.removal import delete_tree

DEEPER_THAN_PYTHON_RECURSES = 2500


def make_deep_folder(top) -> None:
    """Make folders in folders, each from inside the last: the whole path is longer than one may be."""
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(DEEPER_THAN_PYTHON_RECURSES):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "file").write_text("x")
    return folder


def test_a_tree_is_deleted(tree):
    delete_tree(str(tree))
    assert not tree.exists()


def test_a_file_is_deleted_and_nothing_is_no_error(tmp_path):
    (tmp_path / "file").write_text("x")
    for _ in range(2):
        delete_tree(str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


def test_what_links_lead_to_stays(tree, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tree / "a" / "out").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    delete_tree(str(tree))
    delete_tree(str(tmp_path / "link"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_text() == "x"


def test_a_tree_deeper_than_python_recurses_is_deleted(tree):
    make_deep_folder(tree)
    delete_tree(str(tree))
    assert not tree.exists()


def test_outputs_deeper_than_a_path_can_be_are_said_and_the_others_stored(tree, tmp_path):
    make_deep_folder(tree)
    (tree / "zero").write_text("kept")
    complaints = store_outputs(str(tree), str(tree), (), str(tmp_path / "target"))
    assert (tmp_path / "target" / "zero").read_text() == "kept"
    assert [complaint.endswith("is no file") for complaint in complaints] == [True]
    delete_tree(str(tree))
