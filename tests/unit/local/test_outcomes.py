# SPDX-License-Identifier: MIT
"""How a failed task is reported: in the runtime's words, and no longer than its message may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from openpaisdk.local.home import TaskFiles
from openpaisdk.local.jobs.executors.memory import Excess
from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.jobs.outcomes import memory_outcome, outcome_of, termination_message


def log_with(folder: Path, **streams: bytes) -> TaskLog:
    for name in ("stdout", "stderr"):
        (folder / name).write_bytes(streams.get(name, b""))
    (folder / "runtime.log").write_bytes(streams.get("runtime", b""))
    return TaskLog(TaskFiles(str(folder)))


@pytest.mark.parametrize(
    "written",
    [
        b"x" * 5000,
        b"\x01" * 5000,
        "ä\n".encode() * 3000,
        "\U0001f600".encode() * 2000,
        b'"' * 4000,
        b"\n" * 5000,
    ],
)
def test_a_report_is_never_longer_than_its_message_may_be(tmp_path: Path, written: bytes) -> None:
    outcome = outcome_of(3, log_with(tmp_path, stdout=written, runtime=written))
    assert outcome.runtime is not None
    assert len(termination_message(outcome.runtime).encode()) <= 4096
    assert outcome.runtime["errorLogs"]["platform"].endswith("user command exits with exit code 3")


def test_a_report_holds_the_last_lines_of_both_logs(tmp_path: Path) -> None:
    numbered = "".join(f"line {number}\n" for number in range(100)).encode()
    outcome = outcome_of(3, log_with(tmp_path, stderr=numbered, runtime=numbered))
    assert outcome.runtime is not None
    logs = outcome.runtime["errorLogs"]
    assert logs["user"].split("\n") == [f"line {number}" for number in range(85, 100)]
    assert logs["platform"].split("\n")[:-1] == [f"line {number}" for number in range(91, 100)]


def test_the_log_of_the_platforms_steps_decides_about_its_own_failures(tmp_path: Path) -> None:
    log = log_with(tmp_path, runtime=b"SSH barrier reaches max retry count\n")
    assert outcome_of(10, log).exit_code == 249


def test_only_the_end_of_a_large_log_is_searched(tmp_path: Path) -> None:
    filler = b"." * (10 << 20)
    assert outcome_of(1, log_with(tmp_path, stdout=b"ImportError: x\n" + filler)).exit_code == 255
    assert outcome_of(1, log_with(tmp_path, stdout=filler + b"ImportError: x\n")).exit_code == 232


def test_a_kill_for_memory_tells_what_was_held_and_what_was_asked_for() -> None:
    outcome = memory_outcome(Excess(used_bytes=80 << 20, limit_bytes=64 << 20))
    assert (outcome.exit_code, outcome.user_exit_code) == (-1200, None)
    assert "the task held 80 MB of memory; it asked for 64 MB" in outcome.diagnostics


@pytest.mark.parametrize("text", ["", "1", "1 2", "a b\n", "1 2 3\n"])
def test_a_note_of_an_excess_that_is_not_whole_is_none(text: str) -> None:
    assert Excess.from_text(text) is None


def test_a_note_of_an_excess_is_read_back() -> None:
    excess = Excess(used_bytes=5, limit_bytes=4)
    assert Excess.from_text(excess.to_text()) == excess
