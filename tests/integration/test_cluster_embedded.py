# SPDX-License-Identifier: MIT
"""The client against the embedded cluster's real server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import openpaisdk
from openpaisdk import core, embedded
from openpaisdk.core import Cluster
from openpaisdk.errors import (
    ClusterConnectionError,
    ClusterError,
    JobExistsError,
    JobNotFoundError,
    LocalClusterError,
    StorageNotFoundError,
    WaitTimeoutError,
)

pytestmark = pytest.mark.integration


def document(name: str, *commands: str, instances: int = 1) -> dict[str, Any]:
    return {
        "protocolVersion": 2,
        "name": name,
        "type": "job",
        "prerequisites": [{"type": "dockerimage", "name": "image", "uri": "python:3.11"}],
        "taskRoles": {
            "main": {
                "instances": instances,
                "dockerImage": "image",
                "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0},
                "commands": list(commands),
            }
        },
    }


def end_server() -> None:
    try:
        core.stop_local("kill")
    except ClusterError:
        server = embedded.read_server_file() or {}
        if embedded.may_run(server):
            os.kill(server["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENPAI_HOME", str(folder))
        patch.delenv("PAI_SDK_CLUSTER_ALIAS", raising=False)
        patch.chdir(folder)
        yield folder
        end_server()


@pytest.fixture
def cluster(module_home: Path) -> Cluster:
    return Cluster.from_alias("local")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for a test that ends its server."""
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path))
    yield tmp_path
    end_server()


def test_a_job_is_submitted_awaited_and_described(cluster: Cluster) -> None:
    submitted = cluster.submit(document("fails", "echo hello; exit 42"))
    assert submitted["link"].startswith(f"{cluster.pai_uri}/jobs/")
    [result] = cluster.wait("fails")
    assert result == {"name": "fails", "state": "FAILED", "exit_code": 255, "user_exit_code": 42}
    status = cluster.job_status("fails")
    assert (status["state"], status["user"], status["exit_phrase"]) == (
        "FAILED",
        cluster.user,
        "PAIRuntimeUnknownFailed",
    )
    assert status["task_roles"]["main"][0]["exit_code"] == 255
    assert cluster.logs("fails") == "hello\n"


def test_a_failed_task_tells_its_commands_own_exit_code(cluster: Cluster) -> None:
    cluster.submit(document("own-code", "echo 'last words'; exit 42"))
    assert cluster.wait(["own-code"])[0]["user_exit_code"] == 42
    [task] = cluster.job_status("own-code")["task_roles"]["main"]
    assert (task["exit_code"], task["user_exit_code"]) == (255, 42)
    detail = cluster.job_detail("own-code")
    [status] = detail["taskRoles"]["main"]["taskStatuses"]
    assert "last words" in status["containerExitDiagnostics"]
    assert detail["jobStatus"]["appExitMessages"]["runtime"]["originUserExitCode"] == 42


def test_a_job_is_followed_to_its_end(cluster: Cluster) -> None:
    cluster.submit(document("followed", "for i in 1 2 3; do echo line $i; done", "echo ü >&2"))
    events = list(cluster.follow("followed"))
    text = "".join(event["text"] for event in events if event["type"] == "log")
    assert sorted(text.splitlines()) == ["line 1", "line 2", "line 3", "ü"]
    assert (events[-1]["type"], events[-1]["state"], events[-1]["exit_code"]) == ("end", "SUCCEEDED", 0)


def test_the_document_comes_back(cluster: Cluster) -> None:
    sent = document("config", "true")
    cluster.submit(sent)
    assert cluster.job_config("config") == sent
    with pytest.raises(JobExistsError):
        cluster.submit(sent)
    cluster.wait("config")


def test_jobs_are_listed_narrowed_and_tagged(cluster: Cluster) -> None:
    for name in ("list-a", "list-b", "list-c"):
        cluster.submit(document(name, "true"))
    cluster.wait(["list-a", "list-b", "list-c"])
    cluster.add_tag("list-b", "mine")
    assert cluster.jobs(name_only=True, tags=["mine"]) == ["list-b"]
    assert cluster.jobs(name_only=True, keyword="list-") == ["list-c", "list-b", "list-a"]
    page = cluster.jobs(name_only=True, keyword="list-", limit=1, offset=1)
    assert (page, page.more) == (["list-b"], True)
    assert set(cluster.jobs(keyword="list-")[0]) >= {"name", "user", "state", "duration_s", "tasks"}


def test_a_running_job_is_stopped(cluster: Cluster) -> None:
    cluster.submit(document("stopped", "sleep 600"))
    with pytest.raises(WaitTimeoutError):
        cluster.wait("stopped", timeout_s=0)
    assert cluster.stop("stopped")["state"] in ("STOPPING", "STOPPED")
    assert cluster.wait("stopped")[0]["state"] == "STOPPED"
    assert cluster.stop("stopped")["state"] == "STOPPED"


def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    for call in (
        cluster.job_status,
        cluster.job_config,
        cluster.stop,
        cluster.logs,
        cluster.wait,
        cluster.link,
    ):
        with pytest.raises(JobNotFoundError):
            call("no-such-job")
    with pytest.raises(JobNotFoundError):
        list(cluster.follow("no-such-job"))


def test_files_are_stored_and_fetched(cluster: Cluster, tmp_path: Path) -> None:
    storage = cluster.storage()
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a b.txt").write_text("a")
    (tmp_path / "tree" / "sub" / "empty").write_text("")
    target = f"{cluster.workspace}/tree"
    storage.upload(str(tmp_path / "tree"), target)
    assert [(entry["name"], entry["size_bytes"]) for entry in storage.list(target)] == [
        ("a b.txt", 1),
        ("sub", 0),
    ]
    storage.download(target, str(tmp_path / "back"))
    assert (tmp_path / "back" / "a b.txt").read_text() == "a"
    assert (tmp_path / "back" / "sub" / "empty").read_bytes() == b""
    assert storage.move(f"{target}/a b.txt", f"{target}/c")["name"] == "c"
    with storage.open(f"{target}/c") as stream:
        assert stream.read() == b"a"
    storage.delete(target, recursive=True)
    with pytest.raises(StorageNotFoundError):
        storage.status(target)


def test_inside_a_job_the_cluster_is_found_from_the_environment(cluster: Cluster) -> None:
    program = (
        "from openpaisdk.core import Client, in_job_container; "
        "client = Client.from_env(); print(in_job_container(), client.pai_uri, client.user, client.workspace)"
    )
    root = str(Path(openpaisdk.__file__).parents[1])
    cluster.submit(document("inside", f"PYTHONPATH={root} {sys.executable} -c '{program}'"))
    cluster.wait("inside")
    expected = f"True {cluster.pai_uri} {cluster.user} {cluster.workspace}\n"
    assert cluster.logs("inside") == expected


def test_many_threads_share_one_client(cluster: Cluster) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            cluster.submit(document(f"thread-{number}", "true"))
            assert cluster.wait(f"thread-{number}")[0]["state"] == "SUCCEEDED"
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_server_that_was_killed_is_started_again(own_home: Path) -> None:
    cluster = Cluster.from_alias("local")
    cluster.submit(document("before", "true"))
    cluster.wait("before")
    before = embedded.read_server_file()
    assert before is not None
    os.kill(before["pid"], signal.SIGKILL)
    assert embedded.wait_gone(before["pid"], 30)
    assert cluster.jobs(name_only=True) == ["before"]
    assert Cluster.from_alias("local").jobs(name_only=True) == ["before"]
    after = embedded.read_server_file()
    assert after is not None
    assert (after["port"], after["token"]) == (before["port"], before["token"])


def kill_server() -> None:
    server = embedded.read_server_file()
    assert server is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(server["pid"], signal.SIGKILL)


class Writer:
    """A task that writes what a test tells it to, and ends when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.pipe = folder / "pipe"
        os.mkfifo(self.pipe)
        self.command = f"while read -r where text <&3; do echo $text >&$where; done 3< {self.pipe}"
        self.words: TextIO | None = None

    def write(self, text: str, where: int = 1) -> None:
        if self.words is None:
            self.words = self.pipe.open("w", buffering=1)
        self.words.write(f"{where} {text}\n")

    def end(self) -> None:
        if self.words is not None:
            self.words.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path)
    yield made
    made.end()


def next_text(events: Iterator[dict[str, Any]]) -> str:
    return str(next(event["text"] for event in events if event["type"] == "log"))


@pytest.mark.parametrize("stream", ["all", "stdout"])
def test_following_goes_on_over_crashes_and_repeats_nothing(
    own_home: Path, writer: Writer, stream: str
) -> None:
    cluster = Cluster.from_alias("local")
    cluster.submit(document("followed", writer.command))
    events = cluster.follow("followed", stream=stream)
    seen = []
    for number in range(4):
        writer.write(f"before {number}")
        seen.append(next_text(events))
        kill_server()
        writer.write(f"while away {number}")
        seen.append(next_text(events))
    writer.end()
    rest = list(events)
    seen += [event["text"] for event in rest if event["type"] == "log"]
    assert "".join(seen) == "".join(f"before {number}\nwhile away {number}\n" for number in range(4))
    assert (rest[-1]["type"], rest[-1]["state"]) == ("end", "SUCCEEDED")
    assert not {"end", "job_attempt"} & set(rest[-2])


def test_the_order_of_both_streams_outlives_a_crash(own_home: Path, writer: Writer) -> None:
    cluster = Cluster.from_alias("local")
    cluster.submit(document("both", writer.command))
    events = cluster.follow("both")
    writer.write("err", 2)
    assert next_text(events) == "err\n"
    writer.write("out")
    assert next_text(events) == "out\n"
    kill_server()
    writer.write("out again")
    writer.write("err again", 2)
    writer.end()
    assert "".join(event["text"] for event in events if event["type"] == "log") == "out again\nerr again\n"


def test_a_tail_goes_on_where_it_was_over_a_crash(own_home: Path, writer: Writer) -> None:
    cluster = Cluster.from_alias("local")
    cluster.submit(document("tail", writer.command))
    followed = cluster.follow("tail")
    for text in ("old", "old too"):
        writer.write(text)
        next_text(followed)
    followed.close()  # type: ignore[attr-defined]
    events = cluster.follow("tail", tail=0)
    assert any(event["type"] == "state" for event in events)
    kill_server()
    writer.write("new")
    writer.end()
    assert [event["text"] for event in events if event["type"] == "log"] == ["new\n"]


def test_retries_are_told_of_once_over_a_crash(own_home: Path) -> None:
    cluster = Cluster.from_alias("local")
    tries, go = own_home / "tries", own_home / "go"
    command = (
        f"echo try >> {tries}; n=$(wc -l < {tries}); echo try $n; "
        f"[ $n -lt 3 ] && exit 1; while [ ! -e {go} ]; do sleep 0.02; done; echo done"
    )
    sent = document("retried", command)
    sent["jobRetryCount"] = 2
    cluster.submit(sent)
    events = cluster.follow("retried")
    seen = [next(events)]
    while seen[-1].get("text") != "try 3\n":
        seen.append(next(events))
    kill_server()
    go.touch()
    seen += events
    assert "".join(event["text"] for event in seen if event["type"] == "log") == "try 1\ntry 2\ntry 3\ndone\n"
    notes = [event["text"] for event in seen if event["type"] == "note"]
    assert [note.partition(" follows")[0] for note in notes if note.startswith("attempt")] == [
        "attempt 1 of the job",
        "attempt 2 of the job",
    ]


def test_a_submission_outlives_its_server(own_home: Path) -> None:
    cluster = Cluster.from_alias("local")
    cluster.submit(document("first", "true"))
    stop = threading.Event()

    def kill_often() -> None:
        while not stop.wait(0.4):
            kill_server()

    killer = threading.Thread(target=kill_often)
    killer.start()
    try:
        for number in range(60):
            cluster.submit(document(f"job-{number}", "true"))
    finally:
        stop.set()
        killer.join()
    results = cluster.wait([f"job-{number}" for number in range(60)])
    assert {result["state"] for result in results} == {"SUCCEEDED"}


def test_commands_that_come_at_once_start_one_server(own_home: Path) -> None:
    program = "from openpaisdk import embedded; print(embedded.ensure_running()['pid'])"
    root = str(Path(openpaisdk.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    pids = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(pids) == 1


def test_a_server_that_is_stopped_while_one_waits_stays_stopped(own_home: Path) -> None:
    cluster = Cluster.from_alias("local")
    cluster.submit(document("long", "sleep 600"))
    seen: list[BaseException] = []

    def wait() -> None:
        try:
            cluster.wait("long")
        except ClusterConnectionError as exc:
            seen.append(exc)

    events = cluster.follow("long")
    assert any(event["type"] == "state" for event in events)
    thread = threading.Thread(target=wait)
    thread.start()
    with pytest.raises(LocalClusterError, match="running"):
        core.stop_local()
    assert core.stop_local("kill")["running"] is False
    thread.join(30)
    assert not thread.is_alive()
    assert embedded.status()["running"] is False
    events.close()  # type: ignore[attr-defined]
