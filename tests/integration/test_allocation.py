# SPDX-License-Identifier: MIT
"""Shares, priorities and making room with real processes, and what the events tell of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openpaisdk.local.records import PREEMPTED_CODE, JobState
from tests.integration.scheduling import USER, cluster, end_of, job, role, run, until

pytestmark = pytest.mark.integration


def prioritized(name: str, priority: str, *commands: str, cpu: int = 1, **fields: Any):  # type: ignore[no-untyped-def]
    extras = {"hivedScheduler": {"jobPriorityClass": priority}, **fields.pop("extras", {})}
    roles = {"main": role(list(commands), resources={"cpu": cpu}, **fields)}
    return job(name, roles=roles, extras=extras)


def waiting_command(path: Path) -> str:
    return f"echo started >>{path}.starts; while [ ! -e {path} ]; do sleep 0.02; done"


def test_an_opportunistic_job_makes_room_and_is_tried_again_afterwards(home, tmp_path):
    async def scenario() -> None:
        async with cluster(home, cpu=2) as scheduler:
            guest_gate, host_gate = tmp_path / "guest", tmp_path / "host"
            await scheduler.submit(USER, prioritized("guest", "oppo", waiting_command(guest_gate), cpu=2))
            await until((tmp_path / "guest.starts").exists)
            await scheduler.submit(USER, job("host", waiting_command(host_gate)))
            await until((tmp_path / "host.starts").exists)
            guest = scheduler.job(USER, "guest")
            assert guest is not None
            assert guest.state in (JobState.RUNNING, JobState.WAITING)
            reasons = [event.reason for event in scheduler.events(guest)]
            assert reasons[0] == "FailedScheduling"
            assert "Preempted" in reasons
            preempted = scheduler.attempt(guest, 0)
            assert preempted is not None and preempted.outcome is not None
            assert preempted.outcome.exit_code == PREEMPTED_CODE
            host_gate.touch()
            await end_of(scheduler, "host")
            guest_gate.touch()
            ended = await end_of(scheduler, "guest")
            assert (ended.state, ended.retries, ended.counted_retries) == (JobState.SUCCEEDED, 1, 0)
            assert (tmp_path / "guest.starts").read_text() == "started\n" * 2

    run(scenario)


def test_without_a_gang_only_as_many_tasks_make_room_as_it_takes(home, tmp_path):
    async def scenario() -> None:
        async with cluster(home, cpu=3) as scheduler:
            gate, host_gate = tmp_path / "gate", tmp_path / "host"
            guest = prioritized(
                "guest", "oppo", waiting_command(gate), instances=3, extras={"gangAllocation": False}
            )
            await scheduler.submit(USER, guest)
            starts = tmp_path / "gate.starts"
            await until(lambda: starts.exists() and starts.read_text() == "started\n" * 3)
            await scheduler.submit(USER, job("host", waiting_command(host_gate)))
            await until((tmp_path / "host.starts").exists)
            record = scheduler.job(USER, "guest")
            assert record is not None and record.state is JobState.RUNNING
            states = [task.state for task in scheduler.tasks(record, 0)]
            assert sorted(state.value for state in states) == ["RUNNING", "RUNNING", "WAITING"]
            host_gate.touch()
            gate.touch()
            ended = await end_of(scheduler, "guest")
            assert (ended.state, ended.retries) == (JobState.SUCCEEDED, 0)
            assert starts.read_text() == "started\n" * 4

    run(scenario)


def test_a_task_that_never_mind_failures_is_still_tried_again_after_making_room(home, tmp_path):
    async def scenario() -> None:
        async with cluster(home, cpu=1) as scheduler:
            gate, host_gate = tmp_path / "gate", tmp_path / "host"
            completion = {"minFailedInstances": -1}
            guest = prioritized("guest", "oppo", waiting_command(gate), completion=completion)
            await scheduler.submit(USER, guest)
            await until((tmp_path / "gate.starts").exists)
            await scheduler.submit(USER, job("host", waiting_command(host_gate)))
            await until((tmp_path / "host.starts").exists)
            host_gate.touch()
            gate.touch()
            ended = await end_of(scheduler, "guest")
            assert (ended.state, ended.retries) == (JobState.SUCCEEDED, 1)

    run(scenario)


def test_a_virtual_cluster_runs_no_more_than_its_share(home, tmp_path):
    async def scenario() -> None:
        async with cluster(home, cpu=4, virtual_clusters={"team": (1, 0, 100)}) as scheduler:
            gate = tmp_path / "gate"
            for name in ("team-1", "team-2"):
                spec = job(name, waiting_command(gate), defaults={"virtualCluster": "team"})
                await scheduler.submit(USER, spec)
            await scheduler.submit(USER, job("mine", waiting_command(gate)))
            starts = tmp_path / "gate.starts"
            await until(lambda: starts.exists() and starts.read_text() == "started\n" * 2)
            assert scheduler.usage() == {"team": (1, 0, 10), "default": (1, 0, 10)}
            second = scheduler.job(USER, "team-2")
            assert second is not None and second.state is JobState.WAITING
            [waits] = [event for event in scheduler.events(second) if event.reason == "FailedScheduling"]
            assert "more than is free in virtual cluster 'team': 1 CPU (there are 0)" in waits.message
            gate.touch()
            await end_of(scheduler, "team-2")

    run(scenario)


def test_the_events_of_a_job_tell_its_course(home, tmp_path):
    async def scenario() -> None:
        async with cluster(home) as scheduler:
            await scheduler.submit(USER, job("j", "exit 3", jobRetryCount=1))
            record = await end_of(scheduler, "j")
            told = [(event.reason, event.type) for event in reversed(scheduler.events(record))]
            assert told[0] == ("Queued", "Normal")
            assert sorted(told[1:-1]) == [
                ("Exited", "Warning"),
                ("Exited", "Warning"),
                ("JobRetried", "Warning"),
                ("Started", "Normal"),
                ("Started", "Normal"),
            ]
            assert told[-1] == ("Completed", "Warning")
            assert {event.type for event in scheduler.events(record, "Normal")} == {"Normal"}

    run(scenario)
