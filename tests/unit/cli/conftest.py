# SPDX-License-Identifier: MIT
"""A cluster that is none, and a home folder of its own for each test."""

from __future__ import annotations

import io
import os

import pytest

from openpaisdk.engine import Engine
from openpaisdk.errors import JobNotFoundError

ENDED = {
    "good": {"state": "SUCCEEDED", "exit_code": 0, "user_exit_code": 0},
    "bad": {"state": "FAILED", "exit_code": 255, "user_exit_code": 42},
}


class FakeJobs(list):
    more = False


class FakeCluster:
    """Knows the jobs ``good`` and ``bad``; ``calls`` are the methods called with their arguments."""

    alias = "fake"
    user = "alice"
    pai_uri = "http://127.0.0.1:1"
    workspace = "/user/alice"
    is_embedded = True
    trace = None

    def __init__(self, events=(), more=False):
        self.calls = []
        self.events = list(events)
        self.more = more
        self.notes = []
        self.submitted = []

    def jobs(self, name_only=False, **filters):
        self.calls.append(("jobs", name_only, filters))
        rows = [
            {
                "name": name,
                "user": "alice",
                "state": ended["state"],
                "virtual_cluster": "default",
                "submitted_at": "2026-11-21T01:02:03Z",
                "duration_s": 61.5,
                "gpus": 0,
                "tasks": 1,
                "retries": 0,
                "tags": [],
            }
            for name, ended in ENDED.items()
        ]
        jobs = FakeJobs(row["name"] for row in rows) if name_only else FakeJobs(rows)
        jobs.more = self.more
        return jobs

    def job_status(self, name):
        if name not in ENDED:
            raise JobNotFoundError(f"job {name!r} is not on cluster 'fake'", hint="opai job list")
        task = {"index": 0, **ENDED[name], "exit_phrase": None, "ip": "10.0.0.1", "ports": {"ssh": [2222]}}
        task["attempt"] = 0
        return {
            "name": name,
            "user": "alice",
            **ENDED[name],
            "virtual_cluster": "default",
            "submitted_at": "2026-11-21T01:02:03Z",
            "started_at": "2026-11-21T01:02:04Z",
            "completed_at": None,
            "retries": 0,
            "exit_phrase": None,
            "link": "http://127.0.0.1:1/jobs/alice~good",
            "notes": list(self.notes),
            "task_roles": {"main": [task]},
        }

    def job_config(self, name):
        return {"protocolVersion": 2, "name": name, "type": "job", "taskRoles": {}}

    def submit(self, document):
        self.submitted.append(document)
        return {"name": document["name"], "user": "alice", "cluster": "fake", "link": "http://127.0.0.1:1/x"}

    def link(self, name):
        return "http://127.0.0.1:1/again"

    def stop(self, name):
        self.job_status(name)
        return {"name": name, "state": "STOPPING"}

    def wait(self, names, timeout_s=None):
        self.calls.append(("wait", list(names), timeout_s))
        return [{"name": name, **ENDED.get(name.split("~")[-1], ENDED["good"])} for name in names]

    def logs(self, name, role=None, index=None, stream="all", tail=None):
        self.calls.append(("logs", name, role, index, stream, tail))
        return "a line\nno end"

    def follow(self, name, role=None, index=None, stream="all", tail=None):
        self.calls.append(("follow", name, role, index, stream, tail))
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            yield event


@pytest.fixture
def log():
    """Make a log event."""

    def make(text, role="main", index=0):
        return {"type": "log", "role": role, "index": index, "attempt": 0, "text": text}

    return make


@pytest.fixture
def end():
    """Make the last event, of a job that ended as ``good`` or ``bad``."""
    return lambda name: {"type": "end", **ENDED[name]}


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("PAI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


class Bench:
    """An engine with a fake cluster behind it, and what it wrote."""

    def __init__(self, cluster, ask=None):
        self.cluster = cluster
        self.aliases = []
        self.stdout = io.StringIO()
        self.stderr = io.StringIO()
        self.engine = Engine(self.stdout, self.stderr, ask=ask, open_cluster=self._open)

    def _open(self, alias):
        self.aliases.append(alias)
        return self.cluster

    def __call__(self, *words):
        return self.engine.process(words)

    @property
    def out(self):
        return self.stdout.getvalue()

    @property
    def err(self):
        return self.stderr.getvalue()


@pytest.fixture
def bench():
    return Bench(FakeCluster())


@pytest.fixture
def opai(monkeypatch, capsys):
    """Run ``opai`` in this process with a fake cluster; returns exit code, stdout, stderr."""
    from openpaisdk.cli import main
    from openpaisdk.core import Cluster

    cluster = FakeCluster()
    monkeypatch.setattr(Cluster, "from_alias", classmethod(lambda cls, alias=None, **options: cluster))

    def run(*words):
        code = main.run(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.cluster = cluster
    return run
