# SPDX-License-Identifier: MIT
"""What the machine has is found out, limits included."""

from __future__ import annotations

import os

import pytest

from openpaisdk.local import hardware


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "_CGROUP", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "cpus"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("", 8)]
)
def test_a_quota_limits_the_cpus(cgroup, content, cpus):
    (cgroup / "cpu.max").write_text(content)
    assert hardware.usable_cpus() == cpus


def test_a_quota_of_the_first_cgroups_limits_the_cpus_too(cgroup):
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("300000")
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert hardware.usable_cpus() == 3
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert hardware.usable_cpus() == 8


def test_a_limit_of_the_cgroup_limits_the_memory(cgroup):
    whole = hardware.usable_memory_mb()
    assert whole > 0
    (cgroup / "memory.max").write_text(f"{64 * 1024**2}\n")
    assert hardware.usable_memory_mb() == 64
    (cgroup / "memory.max").write_text("max\n")
    assert hardware.usable_memory_mb() == whole


def give_nvidia_smi(tmp_path, monkeypatch, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_those_of_nvidia_smi(tmp_path, monkeypatch):
    give_nvidia_smi(tmp_path, monkeypatch, "echo 0; echo 1; echo 2")
    assert hardware.visible_gpus() == (0, 1, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 0,7")
    assert hardware.visible_gpus() == (2, 0)


def test_a_machine_whose_driver_does_not_answer_has_no_gpus(tmp_path, monkeypatch):
    give_nvidia_smi(tmp_path, monkeypatch, "echo no driver; exit 9")
    assert hardware.visible_gpus() == ()


def test_a_machine_without_nvidia_smi_has_no_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.visible_gpus() == ()
