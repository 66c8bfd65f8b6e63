# SPDX-License-Identifier: MIT
"""How a task attempt ended, in the words in which a real cluster's runtime reports it."""

from __future__ import annotations

import json
from typing import Any

from openpaisdk.local.jobs.logs import TaskLog
from openpaisdk.local.records import PREEMPTED_CODE, Outcome
from openpaisdk.spec.exit_codes import task_exit_code

LOST_CODE = -1001
KILLED = "Stop to complete current FrameworkAttempt"
PREEMPTED = "Preempted to make room for a job of higher priority"
_LOG_TAIL_BYTES = 10 * 1024 * 1024
_REPORT_LINES = 15
_REPORT_BYTES = 2048


def ended_outcome(exit_code: int) -> Outcome:
    """Return the outcome of a task that was ended from outside: with its job's attempt, or to make room."""
    diagnostics = PREEMPTED if exit_code == PREEMPTED_CODE else KILLED
    return Outcome(exit_code=exit_code, diagnostics=diagnostics)


def outcome_of(user_code: int | None, log: TaskLog) -> Outcome:
    """Return the outcome of a task whose command ended with this code (runtime-environment §6).

    ``None`` stands for a task whose processes are gone without a trace of how, as when a machine is lost.
    """
    if user_code is None:
        return Outcome(exit_code=LOST_CODE, diagnostics="The task's processes are gone and left no exit code")
    if user_code == 0:
        return Outcome(exit_code=0, diagnostics="Pod succeeded", user_exit_code=0)
    code = task_exit_code(user_code, lambda: log.tail("all", _LOG_TAIL_BYTES))
    report = _report(code, user_code, log)
    return Outcome(exit_code=code, diagnostics=_diagnostics(report), user_exit_code=user_code, runtime=report)


def _report(code: int, user_code: int, log: TaskLog) -> dict[str, Any]:
    """Return what the runtime says of a failure (runtime-environment §4)."""
    lines = log.tail("all", _REPORT_BYTES).decode("utf-8", "replace").splitlines()
    return {
        "exitCode": code,
        "originUserExitCode": user_code,
        "errorLogs": {
            "user": "\n".join(lines[-_REPORT_LINES:]),
            "platform": f"[ERROR] user command exits with exit code {user_code}",
        },
        "name": "app",
    }


def _diagnostics(report: dict[str, Any]) -> str:
    """Return the text in which the orchestrator has the report (rest-api-v2 §5.3)."""
    logs = report["errorLogs"]
    return (
        "Pod failed: PodPattern matched:\n"
        "containers:\n"
        "  - name: app\n"
        "    message: |-\n"
        "      [PAI_RUNTIME_ERROR_START]\n"
        f"      exitCode: {report['exitCode']}\n"
        f"      originUserExitCode: {report['originUserExitCode']}\n"
        "      errorLogs:\n"
        f"        user: {json.dumps(logs['user'])}\n"
        f"        platform: {json.dumps(logs['platform'])}\n"
        "      [PAI_RUNTIME_ERROR_END]\n"
        f"    code: {report['exitCode']}\n"
    )
