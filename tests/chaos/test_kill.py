# SPDX-License-Identifier: MIT
"""``kill -9`` of the server, at any moment: no job is lost, none runs twice, every exit code is right.

``OPENPAI_CHAOS_KILLS`` says how often (20; ``make chaos``: 200), ``OPENPAI_CHAOS_SEED`` repeats a run's jobs
and moments. What happens in between is the machine's, so a seed repeats the load, not each event.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openpaisdk import embedded
from openpaisdk.core import Cluster
from openpaisdk.engine import Engine
from openpaisdk.errors import ClusterConnectionError, ClusterError, LocalClusterError
from openpaisdk.job import Job
from tests.chaos.load import SECRET, Plan, make_plans
from tests.processes import server_pids, task_pids

pytestmark = pytest.mark.integration
KILLS = int(os.environ.get("OPENPAI_CHAOS_KILLS", "20"))
SEED = int(os.environ.get("OPENPAI_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
SUBMITTERS = 6
OPEN_JOBS_MAX = 25
"""Jobs that are not over while the load lasts: so many that there is a queue, so few that the end comes."""
DEADLINE_S = 300 + 6 * KILLS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "openpai"))
    yield tmp_path / "openpai" / "local"
    with contextlib.suppress(LocalClusterError):
        Engine().process(["local", "stop", "--kill"])


@pytest.fixture
def cluster(home: Path) -> Cluster:
    Engine().process(["local", "start", "--cpu", "6"])
    return Cluster.from_alias("local")


def kill_servers(home: Path) -> None:
    for pid in server_pids(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_running_tasks_go_on_and_end_with_their_own_codes(
    home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    command = (
        f"echo run >> {runs}; echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo after; exit 7"
    )
    handle = Job.fast("survivor", [command], image="python:3.11").submit(cluster)
    assert next(event["text"] for event in handle.follow() if event["type"] == "log") == "before\n"
    kill_servers(home)
    gate.touch()
    result = handle.wait(timeout_s=60)
    assert (result["state"], result["exit_code"], result["user_exit_code"]) == ("FAILED", 255, 7)
    assert runs.read_text() == "run\n"
    assert handle.logs() == "before\nafter\n"


class Load:
    """Submits jobs, stops some and follows others while somebody kills the server.

    Args:
        plans: The jobs, of which as many are submitted as there is time for.
    """

    def __init__(self, plans: list[Plan]) -> None:
        self._plans = iter(plans)
        self._next = threading.Lock()
        self._room = threading.Semaphore(OPEN_JOBS_MAX)
        self.over = threading.Event()
        self.accepted: list[Plan] = []
        self.stopped: list[str] = []
        """Jobs whose stop was acknowledged."""
        self.followed: dict[str, str] = {}
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        for _ in range(SUBMITTERS):
            self._run(self._submit_all)

    def _run(self, work: Callable[..., None], *arguments: Any) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as exc:
                self.failures.append(exc)

        thread = threading.Thread(target=guarded)
        self._threads.append(thread)
        thread.start()

    def _submit_all(self) -> None:
        cluster = Cluster.from_alias("local")
        while not self.over.is_set() and (plan := self._take()) is not None:
            self._room.acquire()
            persistently(lambda plan=plan: cluster.submit(plan.document))
            self.accepted.append(plan)
            self._run(self._attend, plan)

    def _take(self) -> Plan | None:
        with self._next:
            return next(self._plans, None)

    def _attend(self, plan: Plan) -> None:
        """Do to a job what its plan says, until it is over."""
        cluster = Cluster.from_alias("local")
        if plan.stop_after_s is not None:
            time.sleep(plan.stop_after_s)  # a random moment of its life is the point
            persistently(lambda: cluster.stop(plan.name))
            self.stopped.append(plan.name)
        elif plan.followed:
            events = cluster.follow(plan.name)
            self.followed[plan.name] = "".join(e["text"] for e in events if e["type"] == "log")
        persistently(lambda: cluster.wait(plan.name, timeout_s=DEADLINE_S))
        self._room.release()

    def finish(self) -> None:
        """Submit no more and return when all jobs are over."""
        self.over.set()
        for thread in self._threads:  # grows while threads end, which the loop sees
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), f"a job or request hangs (seed {SEED})"


def persistently(work: Callable[[], object]) -> None:
    """Do something over a server that may be killed again before it has come back."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            work()
            return
        except (ClusterConnectionError, LocalClusterError):
            if time.monotonic() > deadline:
                raise


def test_nothing_is_lost_doubled_or_wrong_when_the_server_is_killed_under_load(
    home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    print(f"OPENPAI_CHAOS_SEED={SEED} OPENPAI_CHAOS_KILLS={KILLS}")
    chance = random.Random(SEED)
    marks = tmp_path / "marks"
    marks.mkdir()
    load = Load(make_plans(chance, 40 * KILLS, marks))
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.0, 0.7))  # a random moment is the point
        kill_servers(home)
        with contextlib.suppress(LocalClusterError):
            embedded.ensure_running()
    load.finish()
    assert load.failures == [], f"seed {SEED}"
    print(f"{len(load.accepted)} jobs:", Counter(plan.stop_after_s is None for plan in load.accepted))

    wrong = [problem for plan in load.accepted for problem in problems_of(home, cluster, plan, marks, load)]
    assert not wrong, f"seed {SEED}: " + "\n".join(wrong)
    assert task_pids(home) == []
    Engine().process(["local", "stop"])
    assert os.listdir(home / "secrets") == []
    assert holders_of(home, SECRET) == []


def problems_of(home: Path, cluster: Cluster, plan: Plan, marks: Path, load: Load) -> Iterator[str]:
    """Yield what is not as it must be with a job that is over."""
    [result] = cluster.wait(plan.name, timeout_s=0)
    if plan.stop_after_s is not None:
        if result["state"] != "STOPPED":
            yield f"{plan.name}: {result}, its stop was acknowledged"
    elif result["user_exit_code"] != plan.user_code:
        yield f"{plan.name}: {result}, exit code {plan.user_code} was due"
    events = [event for event in cluster.job_events(plan.name) if event["type"] == "Warning"]
    # Two tasks may get the same port by the formula of a real cluster; then one of them is tried again.
    conflicts = sum(event["reason"] == "FailedStart" and "port" in event["message"] for event in events)
    ran, reported = marks_of(plan, marks), attempts_of(cluster, plan)
    may_be_killed = plan.stop_after_s is not None or conflicts > 0
    if max(ran.values(), default=0) > 1 or ran - reported or (ran != reported and not may_be_killed):
        yield f"{plan.name}: ran {dict(ran)}, reported {dict(reported)}"
    attempts = cluster.rest.job_detail(cluster.job_id(plan.name))["jobStatus"]["retries"] + 1
    if plan.stop_after_s is None and not plan.attempts <= attempts <= plan.attempts + conflicts:
        yield f"{plan.name}: {attempts} attempts, {plan.attempts} and {conflicts} conflicts were due"
    text = "".join(f"{line}\n" for line in plan.lines)
    if plan.followed and load.followed.get(plan.name) != text:
        yield f"{plan.name}: its follower saw {load.followed.get(plan.name)!r}"
    if plan.followed and cluster.logs(plan.name) != text:
        yield f"{plan.name}: its log is {cluster.logs(plan.name)!r}"
    if plan.output is not None:
        stored = home / "storage" / "user" / cluster.user / "jobs" / plan.name / "output" / "result.txt"
        if not stored.exists() or stored.read_text() != plan.output:
            yield f"{plan.name}: its output is not stored"
    problems = [event for event in events if event["reason"] in ("FailedStart", "OutputNotStored")]
    if len(problems) > conflicts:
        yield f"{plan.name}: {problems}"


def marks_of(plan: Plan, marks: Path) -> Counter[tuple[int, int, int]]:
    """Return how often each attempt ran: task index, job attempt, task attempt."""
    ran: Counter[tuple[int, int, int]] = Counter()
    for index in range(plan.document["taskRoles"]["worker"]["instances"]):
        path = marks / f"{plan.name}-{index}"
        for line in path.read_text().split() if path.exists() else ():
            attempt, _, of_task = line.partition(".")
            ran[index, int(attempt), int(of_task)] += 1
    return ran


def attempts_of(cluster: Cluster, plan: Plan) -> Counter[tuple[int, int, int]]:
    """Return the attempts that the server says it started, by the same key."""
    job = cluster.job_id(plan.name)
    reported: Counter[tuple[int, int, int]] = Counter()
    for attempt in range(cluster.rest.job_detail(job)["jobStatus"]["retries"] + 1):
        for index in range(plan.document["taskRoles"]["worker"]["instances"]):
            try:
                attempts = cluster.rest.task_attempts(job, attempt, "worker", index)["attempts"]
            except ClusterError as exc:
                assert exc.status == 404  # stopped before it had an attempt
                continue
            for one in attempts:
                if one["currentAttemptLaunchedTime"] is not None:
                    reported[index, attempt, one["attemptId"]] += 1
    return reported


def holders_of(home: Path, text: str) -> list[str]:
    """Return the files of the home that hold a text."""
    return [str(path) for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
