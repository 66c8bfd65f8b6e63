# SPDX-License-Identifier: MIT
"""Who starts next: shares, priorities, reservations and making room, with no process and no clock."""

from __future__ import annotations

import random
from typing import Any

import pytest

from openpaisdk.local.jobs.admission import Pool, Request, refusal
from openpaisdk.local.jobs.allocation import Allocator, Victim, choose_victims
from openpaisdk.local.jobs.live import LiveJob, RunningTask, policy_of
from openpaisdk.local.jobs.machine import Admitted, JobStatus, TaskEnded, TaskKey, step
from openpaisdk.local.jobs.waiting import WaitingJobs
from openpaisdk.local.records import COMPLETION_CODE, PREEMPTED_CODE, JobRecord, Machine, Outcome, SubState
from openpaisdk.spec.codec import job_spec_from_document


def spec_of(name: str, *, cpu: int, gpu: int = 0, tasks: int = 1, **options: Any):  # type: ignore[no-untyped-def]
    extras: dict[str, Any] = {}
    if "priority" in options:
        extras["hivedScheduler"] = {"jobPriorityClass": options["priority"]}
    if options.get("gang") is False:
        extras["gangAllocation"] = False
    return job_spec_from_document(
        {
            "protocolVersion": 2,
            "name": name,
            "type": "job",
            "prerequisites": [{"type": "dockerimage", "name": "img", "uri": "python:3.11"}],
            "defaults": {"virtualCluster": options.get("vc", "default")},
            "taskRoles": {
                "main": {
                    "instances": tasks,
                    "dockerImage": "img",
                    "resourcePerInstance": {"cpu": cpu, "memoryMB": 1, "gpu": gpu},
                    "commands": ["true"],
                }
            },
            "extras": extras,
        }
    )


class Cluster:
    """The allocator with jobs that start and end when the test says so."""

    def __init__(self, cpu: int = 8, gpu: int = 0, **shares: tuple[int, int, int]) -> None:
        machine = Machine(cpu=cpu, gpus=tuple(range(gpu)), memory_mb=1000, virtual_clusters=shares)
        self.pool = Pool(machine)
        self.waiting = WaitingJobs()
        self.running: dict[tuple[str, TaskKey], RunningTask] = {}
        self.jobs: dict[str, LiveJob] = {}
        self.preempted: list[str] = []
        self.allocator = Allocator(
            self.pool, self.waiting, self.running.values, admit=self._admit, preempt=self._preempt
        )

    def submit(self, name: str, **options: Any) -> None:
        spec = spec_of(name, **options)
        number = len(self.jobs) + 1
        record = JobRecord(
            id=number, user="alice", name=name, sub_state=SubState.CREATION_PENDING, submitted_ms=0
        )
        self.jobs[name] = LiveJob(record, spec, {}, JobStatus(policy=policy_of(spec)))
        self.waiting.add(self.jobs[name])
        self.allocator.allocate()

    def end(self, name: str, index: int = 0, code: int = 0) -> None:
        live = self.jobs[name]
        task = self.running.pop((name, ("main", index)))
        self.pool.give_back(live.share, task.request, ())
        live.status, _ = step(live.status, TaskEnded(("main", index), code))
        if live.status.waiting_tasks():
            self.waiting.add(live, keep_place=code == PREEMPTED_CODE)
        self.allocator.allocate()

    def _admit(self, live: LiveJob, keys: Any) -> None:
        live.status, _ = step(live.status, Admitted(tuple(keys)))
        for key in keys:
            request = Request.of(live.role(key).resources)
            self.pool.take(live.share, request)
            task: Any = RunningTask(live, None, request, None, None, "")  # type: ignore[arg-type]
            self.running[live.record.name, key] = task
        if not live.status.waiting_tasks():
            self.waiting.discard(live)

    def _preempt(self, victim: Victim, winner: LiveJob) -> None:
        for (name, (_, index)), task in self.running.items():
            if task in victim.tasks:
                task.ended_by = Outcome(exit_code=PREEMPTED_CODE)
                self.preempted.append(f"{name}-{index}")

    def started(self) -> list[str]:
        return sorted(f"{name}-{index}" for name, (_, index) in self.running)


def test_a_gang_starts_with_all_of_its_tasks_or_none() -> None:
    cluster = Cluster(cpu=4)
    cluster.submit("one", cpu=2)
    cluster.submit("gang", cpu=1, tasks=3)
    assert cluster.started() == ["one-0"]
    cluster.end("one")
    assert cluster.started() == ["gang-0", "gang-1", "gang-2"]


def test_without_a_gang_tasks_start_as_there_is_room() -> None:
    cluster = Cluster(cpu=2)
    cluster.submit("many", cpu=1, tasks=5, gang=False)
    assert cluster.started() == ["many-0", "many-1"]
    cluster.end("many", 1)
    assert cluster.started() == ["many-0", "many-2"]


def test_small_jobs_pass_a_big_one_only_within_what_its_reservation_leaves() -> None:
    cluster = Cluster(cpu=8)
    cluster.submit("old", cpu=6)
    cluster.submit("big", cpu=4)
    cluster.submit("small-1", cpu=2)
    cluster.submit("small-2", cpu=1)
    assert cluster.started() == ["old-0", "small-1-0"]  # 8 - 4 leaves 4, of which 2 are free
    cluster.end("old")
    assert cluster.started() == ["big-0", "small-1-0", "small-2-0"]


def test_a_big_job_is_not_starved_by_small_ones_that_keep_coming() -> None:
    cluster = Cluster(cpu=4)
    for number in range(4):
        cluster.submit(f"small-{number}", cpu=1)
    cluster.submit("big", cpu=4)
    for number in range(4, 30):
        cluster.submit(f"small-{number}", cpu=1)
    for number in range(4):
        assert "big-0" not in cluster.started()
        cluster.end(f"small-{number}")
    assert cluster.started() == ["big-0"]


def test_the_reservation_counts_all_kinds_of_resources() -> None:
    cluster = Cluster(cpu=8, gpu=2)
    cluster.submit("old", cpu=1, gpu=2)
    cluster.submit("wants-gpus", cpu=1, gpu=2)
    cluster.submit("wants-a-gpu", cpu=1, gpu=1)
    for number in range(7):
        cluster.submit(f"cpu-{number}", cpu=1)
    # All but one of the CPUs may go to those behind it, no GPU may.
    assert cluster.started() == [*(f"cpu-{number}-0" for number in range(7)), "old-0"]
    cluster.end("old")
    assert cluster.started() == [*(f"cpu-{number}-0" for number in range(7)), "wants-gpus-0"]


def test_prod_comes_before_test_and_what_names_no_priority_is_test() -> None:
    cluster = Cluster(cpu=1)
    cluster.submit("running", cpu=1)
    cluster.submit("plain", cpu=1)
    cluster.submit("test", cpu=1, priority="test")
    cluster.submit("prod", cpu=1, priority="prod")
    order = []
    for _ in range(4):
        [name] = cluster.started()
        order.append(name)
        cluster.end(name.rpartition("-")[0])
    assert order == ["running-0", "prod-0", "plain-0", "test-0"]


def test_each_virtual_cluster_has_its_share_and_no_more() -> None:
    cluster = Cluster(cpu=8, team=(2, 0, 500))
    for number in range(4):
        cluster.submit(f"team-{number}", cpu=1, vc="team")
    for number in range(8):
        cluster.submit(f"default-{number}", cpu=1)
    assert [name for name in cluster.started() if name.startswith("team")] == ["team-0-0", "team-1-0"]
    assert len([name for name in cluster.started() if name.startswith("default")]) == 6


def test_an_opportunistic_job_uses_what_is_free_anywhere_and_makes_room_for_who_has_a_right_to_it() -> None:
    cluster = Cluster(cpu=8, team=(4, 0, 500))
    cluster.submit("guest-1", cpu=4, priority="oppo")
    cluster.submit("guest-2", cpu=2, priority="oppo")
    cluster.submit("guest-3", cpu=2, priority="oppo", vc="team")
    assert cluster.started() == ["guest-1-0", "guest-2-0", "guest-3-0"]
    cluster.submit("host", cpu=2, vc="team")
    assert cluster.preempted == ["guest-3-0"]  # the newest, and no more than it takes
    assert "host-0" not in cluster.started()
    cluster.submit("guest-4", cpu=1, priority="oppo")
    cluster.end("guest-3", code=PREEMPTED_CODE)
    assert cluster.started() == ["guest-1-0", "guest-2-0", "host-0"]


def test_room_is_made_once_and_not_again_while_it_is_being_made() -> None:
    cluster = Cluster(cpu=4)
    for number in range(4):
        cluster.submit(f"guest-{number}", cpu=1, priority="oppo")
    cluster.submit("host", cpu=2)
    cluster.allocator.allocate()
    cluster.submit("other", cpu=1)
    cluster.allocator.allocate()
    assert sorted(cluster.preempted) == ["guest-1-0", "guest-2-0", "guest-3-0"]


def test_a_gang_makes_room_as_a_whole_and_other_jobs_task_by_task() -> None:
    cluster = Cluster(cpu=4)
    cluster.submit("loose", cpu=1, tasks=2, gang=False, priority="oppo")
    cluster.submit("gang", cpu=1, tasks=2, priority="oppo")
    cluster.submit("host", cpu=3)
    assert {"gang-0", "gang-1"} < set(cluster.preempted)
    assert len(cluster.preempted) == 3


def test_nobody_makes_room_in_vain() -> None:
    assert choose_victims(Request(3, 0, 0), []) == []


def test_a_job_that_had_to_make_room_keeps_its_place() -> None:
    cluster = Cluster(cpu=1)
    cluster.submit("guest-1", cpu=1, priority="oppo")
    cluster.submit("guest-2", cpu=1, priority="oppo")
    cluster.submit("host", cpu=1)
    live = cluster.jobs["guest-1"]
    ticket = live.ticket
    cluster.waiting.add(live, keep_place=True)
    assert live.ticket == ticket
    assert cluster.waiting.line(None, 1) == [live]


def test_the_reason_tells_what_is_missing_and_who_is_before() -> None:
    cluster = Cluster(cpu=4, team=(1, 0, 10))
    cluster.submit("running", cpu=2)
    cluster.submit("big", cpu=3)
    cluster.submit("later", cpu=2)
    reason = cluster.allocator.reason
    assert reason(cluster.jobs["running"]) is None
    assert (
        reason(cluster.jobs["big"])
        == "it needs at once more than is free in virtual cluster 'default': 3 CPU (there are 1)"
    )
    assert reason(cluster.jobs["later"]) == (
        "1 job waits before it; the first is alice~big, and it needs at once more than is free in virtual "
        "cluster 'default': 3 CPU (there are 1)"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cpu": 6}, None),
        ({"cpu": 7}, "virtual cluster 'default' has: 7 CPU (there are 6)"),
        ({"cpu": 7, "priority": "oppo"}, None),
        ({"cpu": 9, "priority": "oppo"}, "this machine has: 9 CPU (there are 8)"),
        ({"cpu": 3, "tasks": 9, "gang": False}, None),
        ({"cpu": 3, "vc": "team"}, "virtual cluster 'team' has: 3 CPU (there are 2)"),
    ],
)
def test_what_can_never_run_is_refused(options: dict[str, Any], expected: str | None) -> None:
    machine = Machine(cpu=8, memory_mb=1000, virtual_clusters={"team": (2, 0, 500)})
    whole = f"job 'j' asks at once for more than {expected}" if expected else None
    assert refusal(spec_of("j", **options), machine) == whole


def test_whatever_comes_and_goes_nothing_is_given_twice_and_everybody_gets_a_turn() -> None:
    chance = random.Random(4)
    cluster = Cluster(cpu=8, gpu=2, team=(3, 1, 400))
    for number in range(400):
        cluster.submit(
            f"job-{number}",
            cpu=chance.randint(0, 3),
            gpu=chance.choice([0, 0, 0, 1]),
            tasks=1,
            vc=chance.choice(["default", "team"]),
            priority=chance.choice(["prod", "test", "oppo"]),
        )
        assert cluster.pool.free.cpu >= 0
        assert cluster.pool.free.gpu >= 0
        for share in ("default", "team"):
            room = cluster.pool.room(share)
            assert min(room.cpu, room.gpu, room.memory_mb) >= 0
        for name, (_, index) in list(cluster.running):
            task = cluster.running[name, ("main", index)]
            if task.ended_by is not None:
                cluster.end(name, index, COMPLETION_CODE)
            elif chance.random() < 0.5:
                cluster.end(name, index)
    while cluster.running:
        name, (_, index) = next(iter(cluster.running))
        cluster.end(name, index)
    assert len(cluster.waiting) == 0
    assert cluster.pool.free == cluster.pool.whole
