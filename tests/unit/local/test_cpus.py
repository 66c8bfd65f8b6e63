# SPDX-License-Identifier: MIT
"""How CPUs are handed out to tasks."""

from __future__ import annotations

import pytest

from openpaisdk.local.jobs.executors import cpus
from openpaisdk.local.jobs.executors.cpus import CpuShares


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> CpuShares:
    monkeypatch.setattr(cpus, "_affinity", lambda _pid: [0, 1, 2, 3])
    return CpuShares()


def test_tasks_do_not_share_while_there_are_enough(four_cpus: CpuShares) -> None:
    taken = [four_cpus.take(1), four_cpus.take(2), four_cpus.take(1)]
    assert sorted(cpu for one in taken for cpu in one) == [0, 1, 2, 3]


def test_more_tasks_than_cpus_are_spread_evenly(four_cpus: CpuShares) -> None:
    taken = [cpu for _ in range(8) for cpu in four_cpus.take(1)]
    assert {cpu: taken.count(cpu) for cpu in range(4)} == {0: 2, 1: 2, 2: 2, 3: 2}


def test_what_is_given_back_is_taken_first(four_cpus: CpuShares) -> None:
    first, _ = four_cpus.take(1), four_cpus.take(3)
    four_cpus.give_back(first)
    assert four_cpus.take(1) == first


@pytest.mark.parametrize("count", [-1, 0, 4, 100])
def test_all_cpus_or_no_number_of_them_is_no_restriction(four_cpus: CpuShares, count: int) -> None:
    assert four_cpus.take(count) == frozenset()


def test_a_task_of_an_earlier_server_keeps_its_cpus(
    four_cpus: CpuShares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "_affinity", lambda _pid: [0, 1])
    assert four_cpus.take_again(1) == {0, 1}
    assert four_cpus.take(2) == {2, 3}
