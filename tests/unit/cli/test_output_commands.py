# SPDX-License-Identifier: MIT
from __future__ import annotations

import json

import pytest

from openpaisdk.errors import StorageExistsError, StorageNotFoundError, UsageError

FOLDER = "/user/alice/jobs/good/output"
STORED = {"model.pt": b"weights", "log.txt": b"fine\n"}


class FakeStorage:
    def exists(self, path):
        return path == FOLDER

    def list(self, path):
        return [
            {"name": name, "type": "file", "size_bytes": len(data), "modified_at": "2026-11-21T01:02:03Z"}
            for name, data in STORED.items()
        ]

    def download(self, remote_path, local_path, *, overwrite=False, **_):
        name = remote_path.removeprefix(f"{FOLDER}/")
        if name not in STORED:
            raise StorageNotFoundError(f"no file {remote_path!r}")
        with open(local_path, "wb" if overwrite else "xb") as file:
            file.write(STORED[name])


@pytest.fixture
def outputs(bench):
    bench.cluster.job_storage = FakeStorage
    bench.cluster.job_config = lambda name: {"extras": {"openpaisdk": {"workspace": "/user/alice"}}}
    return bench


def submit(bench, name="good"):
    bench("job", "fast", "-q", "-j", name, "true")


def test_the_files_of_a_job_are_listed(outputs):
    assert [item["name"] for item in outputs("output", "list", "-j", "good")] == ["model.pt", "log.txt"]


def test_without_a_job_the_last_one_from_this_directory_is_meant(outputs, tmp_path):
    submit(outputs)
    assert len(outputs("output", "list")) == 2
    assert "job 'good'" in outputs.err
    kept = json.loads((tmp_path / "work" / ".openpai" / "last-job.json").read_text())
    assert kept == {"directories": {".": {"name": "good", "user": "alice", "cluster": "fake"}}}
    assert outputs.aliases[-1] == "fake"


def test_each_directory_of_a_project_has_its_own_last_job(outputs, tmp_path, monkeypatch):
    submit(outputs, "top")
    folder = tmp_path / "work" / "sub"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="no job was submitted from this directory"):
        outputs("output", "list")
    submit(outputs, "good")
    assert len(outputs("output", "list")) == 2
    assert not (folder / ".openpai").exists()


def test_a_preview_is_no_job(outputs, tmp_path):
    outputs("job", "fast", "--preview", "true")
    assert not (tmp_path / "work" / ".openpai").exists()


def test_a_last_job_on_another_cluster_is_not_guessed(outputs):
    submit(outputs)
    with pytest.raises(UsageError, match="is on cluster 'fake', not on 'prod'"):
        outputs("output", "list", "-a", "prod")


def test_download_fetches_all_or_what_is_named(outputs, tmp_path):
    value = outputs("output", "download", "-j", "good")
    assert [(item["name"], item["type"], item["size_bytes"]) for item in value] == [
        ("./model.pt", "file", 7),
        ("./log.txt", "file", 5),
    ]
    outputs("output", "download", "-j", "good", "model.pt", "--to", "models")
    assert (tmp_path / "work" / "models" / "model.pt").read_bytes() == b"weights"


def test_download_of_what_is_not_there_is_an_error(outputs):
    with pytest.raises(StorageNotFoundError):
        outputs("output", "download", "-j", "good", "nothing")


@pytest.mark.parametrize(
    ("words", "stream"),
    [([], "all"), (["--stdout"], "stdout"), (["--stderr"], "stderr"), (["--stdin"], "stderr")],
)
def test_peek_shows_what_was_printed(outputs, words, stream):
    assert outputs("output", "peek", "-j", "good", *words) == "a line\nno end"
    assert outputs.cluster.calls == [("logs", "alice~good", None, None, stream, None)]


def test_peek_saves_into_a_new_file(outputs, tmp_path):
    (value,) = outputs("output", "peek", "-j", "good", "--save", "log")
    assert (value["name"], value["size_bytes"]) == ("log", 13)
    assert (tmp_path / "work" / "log").read_text() == "a line\nno end"
    with pytest.raises(StorageExistsError):
        outputs("output", "peek", "-j", "good", "--save", "log")
