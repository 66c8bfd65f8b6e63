# SPDX-License-Identifier: MIT
"""``opai storage`` as a command, on real Hadoop."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import openpaisdk
from tests.hadoop.cluster import Hadoop

pytestmark = pytest.mark.integration

Done = subprocess.CompletedProcess[str]
_numbers = itertools.count()


@pytest.fixture
def opai(tmp_path: Path) -> Callable[..., Done]:
    """Run ``opai storage`` in a home of its own."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OPENPAI_HOME": str(tmp_path / "home")}

    def run(*words: object, stdin: str = "") -> Done:
        command = [sys.executable, "-m", "openpaisdk", "storage", *map(str, words)]
        return subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return run


@pytest.fixture
def folder(hadoop: Hadoop) -> str:
    path = f"/user/alice/cli-{next(_numbers)}"
    hadoop.make_folder(path, owner="alice")
    return f"{hadoop.uri.replace('http://', 'webhdfs://alice@')}{path}"


def test_a_folder_goes_there_and_back(opai: Callable[..., Done], folder: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "a b#1.txt").write_text("one\ntwo\n")
    (tree / "sub" / "ü.txt").write_text("three\n")
    done = opai("upload", tree, f"{folder}/", "-o", "json")
    assert (done.returncode, [info["name"] for info in json.loads(done.stdout)]) == (0, ["tree"])
    assert opai("upload", tree, f"{folder}/").returncode == 6
    usage = json.loads(opai("du", f"{folder}/tree", "-o", "json").stdout)
    assert (usage["size_bytes"], usage["files"], usage["folders"]) == (14, 2, 2)
    assert opai("cat", f"{folder}/tree/a b#1.txt").stdout == "one\ntwo\n"
    assert opai("tail", "-n", "1", f"{folder}/tree/a b#1.txt").stdout == "two\n"
    assert opai("download", f"{folder}/tree", "back").returncode == 0
    assert (tmp_path / "back" / "sub" / "ü.txt").read_text() == "three\n"


def test_pipes_are_taken_and_given(opai: Callable[..., Done], folder: str) -> None:
    assert opai("upload", "-", f"{folder}/piped", stdin="from a pipe").returncode == 0
    assert opai("download", f"{folder}/piped", "-").stdout == "from a pipe"


def test_it_goes_on_to_another_storage(opai: Callable[..., Done], folder: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    opai("upload", "f", f"{folder}/f")
    assert opai("move", f"{folder}/f", f"file://{tmp_path}/moved").returncode == 0
    assert (tmp_path / "moved").read_text() == "content"
    assert opai("status", f"{folder}/f").returncode == 5


def test_each_refusal_has_its_exit_code(
    opai: Callable[..., Done], hadoop: Hadoop, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("x")
    other = folder.replace("alice@", "mallory@")
    opai("mkdir", f"{folder}/full/in")
    for code, *words in (
        (5, "list", f"{folder}/missing"),
        (4, "upload", "f", f"{other}/stolen"),
        (1, "delete", f"{folder}/full"),
        (1, "cat", folder),
        (2, "list", "gopher://x"),
    ):
        done = opai(*words)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.startswith("error: ")
    with hadoop.safe_mode():
        done = opai("mkdir", f"{folder}/new", "-o", "json")
    assert done.returncode == 1
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "StorageSafeMode"


def test_requests_are_shown_without_secrets(opai: Callable[..., Done], folder: str) -> None:
    done = opai("list", folder, "-v")
    assert "GET http://127.0.0.1" in done.stderr
    assert "op=LISTSTATUS" in done.stderr


BOOTSTRAP = Path(openpaisdk.__file__).parent / "runtime" / "bootstrap.py"


@pytest.mark.parametrize("name", ["images.tar", "images 1.tar.gz"])
def test_a_job_unpacks_an_archive_of_this_storage(
    opai: Callable[..., Done], hadoop: Hadoop, folder: str, tmp_path: Path, name: str
) -> None:
    images = tmp_path / "tree"
    (images / "sub").mkdir(parents=True)
    (images / "a").write_bytes(os.urandom(3 << 20))
    (images / "sub" / "ü b").write_text("two\n")
    assert opai("upload", "--archive", images, f"{folder}/{name}").returncode == 0
    work = tmp_path / "work"
    work.mkdir()

    def fetch(address: str) -> Done:
        environment = {"PAI_SDK_JOB_WORKSPACE": folder.replace("alice@", ""), "PAI_USER_NAME": "bob"}
        return subprocess.run(
            [sys.executable, "-I", str(BOOTSTRAP), "fetch", address, "images"],
            env=environment,
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )

    path = f"/{folder.split('/', 3)[3]}/{name}"
    done = fetch(f"hdfs://{path}")
    assert done.returncode == 0, done.stderr
    assert (work / "images" / "a").read_bytes() == (images / "a").read_bytes()
    assert (work / "images" / "sub" / "ü b").read_text() == "two\n"
    hadoop.call("PUT", "SETPERMISSION", path, permission="600")
    done = fetch(f"hdfs://{path}")
    assert (done.returncode, "Permission denied: user=bob" in done.stderr) == (81, True), done.stderr
    assert fetch(f"{folder}/{name}").returncode == 0
    done = fetch(folder)
    assert (done.returncode, "it is a folder" in done.stderr) == (81, True), done.stderr
