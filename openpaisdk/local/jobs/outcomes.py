# SPDX-License-Identifier: MIT
"""How a task attempt ended, in the words in which a real cluster's runtime reports it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from openpaisdk.local.jobs.executors.memory import MB, Excess
from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.records import PREEMPTED_CODE, Outcome
from openpaisdk.spec.exit_codes import task_exit_code

LOST_CODE = -1001
MEMORY_CODE = -1200
_KILLED_CODE = 137
KILLED = "Stop to complete current FrameworkAttempt"
PREEMPTED = "Preempted to make room for a job of higher priority"
_LOG_TAIL_BYTES = 10 * 1024 * 1024
_REPORT_LINES = 15
_REPORT_BYTES = 2048
_PLATFORM_LINES = 10
_TERMINATION_BYTES = 4096


def ended_outcome(exit_code: int) -> Outcome:
    """Return the outcome of a task that was ended from outside: with its job's attempt, or to make room."""
    diagnostics = PREEMPTED if exit_code == PREEMPTED_CODE else KILLED
    return Outcome(exit_code=exit_code, diagnostics=diagnostics)


def memory_outcome(excess: Excess) -> Outcome:
    """Return the outcome of a task that was ended because it held more memory than it asked for.

    Its command was ended from outside, so it has no exit code of its own.
    """
    return Outcome(
        exit_code=MEMORY_CODE,
        diagnostics=(
            "Pod failed: PodPattern matched:\n"
            "containers:\n"
            "  - name: app\n"
            "    reason: OOMKilled\n"
            f"    message: {json.dumps(excess_message(excess))}\n"
            f"    code: {_KILLED_CODE}\n"
        ),
    )


def excess_message(excess: Excess) -> str:
    """Return how much memory a task held, and how much it had asked for."""
    used, limit = excess.used_bytes / MB, excess.limit_bytes / MB
    return f"the task held {used:.0f} MB of memory; it asked for {limit:.0f} MB (memoryMB)"


def outcome_of(user_code: int | None, log: TaskLog) -> Outcome:
    """Return the outcome of a task whose command ended with this code (runtime-environment §6).

    ``None`` stands for a task whose processes are gone without a trace of how, as when a machine is lost.
    """
    if user_code is None:
        return Outcome(exit_code=LOST_CODE, diagnostics="The task's processes are gone and left no exit code")
    if user_code == 0:
        return Outcome(exit_code=0, diagnostics="Pod succeeded", user_exit_code=0)
    code = task_exit_code(
        user_code,
        lambda: log.tail("all", _LOG_TAIL_BYTES),
        lambda: log.tail("runtime.log", _LOG_TAIL_BYTES),
    )
    report = _report(code, user_code, log)
    return Outcome(exit_code=code, diagnostics=_diagnostics(report), user_exit_code=user_code, runtime=report)


def termination_message(report: Mapping[str, Any]) -> str:
    """Return the text in which the runtime leaves its report (runtime-environment §4)."""
    logs = report["errorLogs"]
    return (
        "[PAI_RUNTIME_ERROR_START]\n"
        f"exitCode: {report['exitCode']}\n"
        f"originUserExitCode: {report['originUserExitCode']}\n"
        "errorLogs:\n"
        f"  user: {json.dumps(logs['user'])}\n"
        f"  platform: {json.dumps(logs['platform'])}\n"
        "[PAI_RUNTIME_ERROR_END]\n"
    )


def _report(code: int, user_code: int, log: TaskLog) -> dict[str, Any]:
    """Return what the runtime says of a failure, short enough for its message."""
    user, platform = (
        _last_lines(log, "all", _REPORT_LINES),
        _last_lines(log, "runtime.log", _PLATFORM_LINES - 1),
    )
    platform.append(f"[ERROR] user command exits with exit code {user_code}")
    while True:
        report = {
            "exitCode": code,
            "originUserExitCode": user_code,
            "errorLogs": {"user": "\n".join(user), "platform": "\n".join(platform)},
            "name": "app",
        }
        too_much = len(termination_message(report)) - _TERMINATION_BYTES
        if too_much <= 0:
            return report
        _shorten(user if user != [""] else platform, too_much)


def _last_lines(log: TaskLog, name: str, count: int) -> list[str]:
    return log.tail(name, _REPORT_BYTES).decode("utf-8", "replace").splitlines()[-count:] or [""]


def _shorten(lines: list[str], too_much: int) -> None:
    """Leave out the first line, or part of the only one: twelve bytes stand for a character at most."""
    if len(lines) > 1:
        del lines[0]
    else:
        lines[0] = lines[0][too_much // 12 + 1 :]


def _diagnostics(report: Mapping[str, Any]) -> str:
    """Return the text in which the orchestrator has the report (rest-api-v2 §5.3)."""
    return (
        "Pod failed: PodPattern matched:\n"
        "containers:\n"
        "  - name: app\n"
        "    message: |-\n"
        f"{textwrap.indent(termination_message(report), ' ' * 6)}"
        f"    code: {report['exitCode']}\n"
    )
