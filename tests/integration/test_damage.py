# SPDX-License-Identifier: MIT
"""A damaged database is kept as it is, said, and replaced by one with all jobs that can still be read."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from openpaisdk import embedded
from openpaisdk.cli.main import run
from openpaisdk.engine import Engine
from openpaisdk.local.jobs.salvage import replace_damaged
from openpaisdk.local.jobs.store import JobStore
from openpaisdk.local.records import JobRecord, Outcome, SubState
from tests.processes import until

pytestmark = pytest.mark.integration


@pytest.fixture
def database(start_server, tmp_path: Path) -> Path:
    """The database of a server that has run a job and ended."""
    server = start_server()
    assert server.run("old", "echo hello")["state"] == "SUCCEEDED"
    assert server.stop() == 0
    return tmp_path / "local" / "cluster.db"


def kept_files(database: Path) -> list[Path]:
    return sorted(database.parent.glob(f"{database.name}.corrupt-*"))


def truncate(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def empty(database: Path) -> None:
    os.truncate(database, 0)


def overwrite_header(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(b"garbage " * 64)


def overwrite_pages(database: Path) -> None:
    with database.open("r+b") as file:
        for page in range(1, database.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)


@pytest.mark.parametrize("harm", [truncate, empty, overwrite_header, overwrite_pages])
def test_a_damaged_database_is_kept_and_the_server_starts(
    start_server, database: Path, harm: Callable[[Path], None]
) -> None:
    harm(database)
    before = database.read_bytes()
    server = start_server()
    [kept] = [path for path in kept_files(database) if not path.name.endswith(("-wal", "-shm"))]
    assert kept.read_bytes() == before
    [notice] = server.ready["notices"]
    assert "the database of jobs was damaged" in notice
    assert str(kept) in notice
    assert notice in (database.parent / "server.log").read_text()
    assert server.run("new", "echo hello")["state"] == "SUCCEEDED"
    server.stop()
    assert "notices" not in start_server().ready


def test_the_log_of_a_damaged_database_is_kept_beside_it(start_server, database: Path) -> None:
    server = start_server()
    assert server.run("newer", "echo hello")["state"] == "SUCCEEDED"
    server.kill()
    log = Path(f"{database}-wal").read_bytes()
    assert log
    overwrite_pages(database)
    start_server()
    assert [path.read_bytes() for path in kept_files(database) if path.name.endswith("-wal")] == [log]


def test_a_damaged_log_does_not_make_jobs_vanish_unsaid(start_server, tmp_path: Path) -> None:
    server = start_server()
    assert server.run("old", "echo hello")["state"] == "SUCCEEDED"
    server.kill()
    database = tmp_path / "local" / "cluster.db"
    log = Path(f"{database}-wal")
    log.write_bytes(b"garbage " * (log.stat().st_size // 8))  # all that was ever written is in it
    again = start_server()
    assert "it is empty, though tasks have run here" in again.ready["notices"][0]


def test_a_damaged_database_of_users_is_kept_and_its_owner_gets_in_again(
    start_server, database: Path
) -> None:
    accounts = database.with_name("accounts.db")
    accounts.write_bytes(b"garbage " * 1000)
    server = start_server()
    assert [path.read_bytes() for path in kept_files(accounts)] == [b"garbage " * 1000]
    assert "the database of users was damaged" in server.ready["notices"][0]
    assert server.get("/api/v2/tokens/check").status_code == 200
    assert server.get(f"/api/v2/jobs/{server.user}~old").status_code == 200


def test_a_database_of_a_newer_version_is_left_alone_and_the_server_does_not_start(
    start_server, database: Path
) -> None:
    connection = sqlite3.connect(database)
    connection.execute("ALTER TABLE documents RENAME TO texts")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    server = start_server()
    assert "its format is 99" in server.ready["error"]
    assert "version of openpaisdk" in server.ready["hint"]
    assert kept_files(database) == []


def test_a_running_task_of_a_damaged_database_is_taken_up_when_its_rows_can_be_read(
    start_server, tmp_path: Path
) -> None:
    server = start_server()
    go, runs = tmp_path / "go", tmp_path / "runs"
    command = f"echo run >> {runs}; while [ ! -e {go} ]; do sleep 0.02; done; exit 3"
    server.submit(server.document("survivor", command))
    for number in range(40):
        server.run(f"filler-{number}", "true")
    server.stop("leave")
    database = tmp_path / "local" / "cluster.db"
    damage_an_index(database)
    again = start_server()
    assert "41 jobs of it were saved, 0 are lost" in again.ready["notices"][0]
    go.touch()
    ended = again.wait("survivor")["jobs"][f"{again.user}~survivor"]
    assert ended["user_exit_code"] == 3
    assert runs.read_text() == "run\n"


def test_tasks_of_jobs_that_are_lost_are_ended_and_their_secrets_removed(
    start_server, tmp_path: Path
) -> None:
    server = start_server()
    pid, begun = tmp_path / "pid", tmp_path / "begun"
    command = f"echo $$ > {pid}; touch {begun}; sleep 600"
    assert server.submit(server.document("lost", command, secrets={"word": "hidden"})).status_code == 202
    until(begun.exists)
    server.stop("leave")
    home = tmp_path / "local"
    (home / "cluster.db").write_bytes(b"garbage " * 1000)
    again = start_server()
    assert "0 jobs of it were saved" in again.ready["notices"][0]
    assert embedded.wait_gone(int(pid.read_text()), 30)
    assert os.listdir(home / "secrets") == []


def damage_an_index(database: Path) -> None:
    """Overwrite a page that holds no row of a table."""
    connection = sqlite3.connect(database)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_by_job'").fetchone()
    connection.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def test_damage_that_turns_up_while_the_server_runs_is_healed_by_the_next_start(
    start_server, tmp_path: Path
) -> None:
    server = start_server()
    server.run("old", "true")
    server.stop()
    database = tmp_path / "local" / "cluster.db"
    server = start_server()
    damage_an_index(database)
    assert server.get(f"/api/v2/jobs/{server.user}~old/events").status_code == 500
    assert server.process.wait(30) == 0
    assert json.loads((tmp_path / "local" / "server.json").read_text())["pid"] == server.process.pid
    again = start_server()
    assert "1 jobs of it were saved, 0 are lost" in again.ready["notices"][0]
    assert again.get(f"/api/v2/jobs/{again.user}~old/events").status_code == 200


def test_the_command_that_starts_the_server_says_what_became_of_it_and_so_does_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    folder = tmp_path / "local"
    folder.mkdir()
    (folder / "cluster.db").write_bytes(b"garbage " * 1000)
    try:
        assert run(["job", "list", "-a", "local"]) == 0
        said = capfd.readouterr().err
        assert said.startswith("warning: the database of jobs was damaged")
        assert said.count("damaged") == 1
        [notice] = Engine().process(["local", "status"])["notices"]
        assert notice in said
    finally:
        Engine().process(["local", "stop", "--kill"])


def test_every_readable_job_is_saved_from_a_database_with_holes(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    store = JobStore(str(path))
    for number in range(1, 401):
        job = JobRecord(
            id=0,
            user="alice",
            name=f"job-{number}",
            sub_state=SubState.COMPLETED,
            submitted_ms=number,
            completed_ms=number,
            outcome=Outcome(exit_code=0, diagnostics="d" * 200),
        )
        store.insert_job(job, {"name": job.name, "filler": "f" * 200})
    store.fact("cluster_uid", "known")
    store.close()
    chance = random.Random(7)
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in chance.sample(range(8, pages), 5):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    shutil.copy(path, tmp_path / "copy")
    salvage = replace_damaged(str(path))
    assert salvage.saved > 200
    assert salvage.lost is not None
    assert salvage.saved + salvage.lost == 400
    assert Path(salvage.kept_as).read_bytes() == (tmp_path / "copy").read_bytes()
    store = JobStore(str(path))
    assert store.fact("cluster_uid", "other") == "known"
    assert sum(store.counts_by_state().values()) == salvage.saved
    store.close()
