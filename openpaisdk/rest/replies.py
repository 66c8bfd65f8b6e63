# SPDX-License-Identifier: MIT
"""What a rest-server says of jobs and clusters, as the values that this package returns (spec: cli "Values").

Tolerant of missing and of additional keys, since servers differ by version (rest-api-v2 §14).
"""

from __future__ import annotations

import re
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_USER_EXIT_CODE = r"originUserExitCode\W+(-?\d+)"


def moment(milliseconds: Any) -> str | None:
    """Return a moment in ms since 1970 as ISO 8601 text in UTC, or ``None``."""
    if not isinstance(milliseconds, (int, float)) or isinstance(milliseconds, bool):
        return None
    seconds, rest = divmod(int(milliseconds), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


def job_item(item: dict[str, Any], *, now_ms: float) -> dict[str, Any]:
    """Return one entry of ``job list``; a waiting job's ``duration_s`` runs from its submission."""
    submitted = item.get("submissionTime") or item.get("createdTime")
    started = item.get("launchedTime") or submitted
    ended = item.get("completedTime") or now_ms
    duration_s = max(0.0, round((ended - started) / 1000, 3)) if isinstance(started, (int, float)) else None
    return {
        "name": item.get("name"),
        "user": item.get("username"),
        "state": item.get("state", "UNKNOWN"),
        "virtual_cluster": item.get("virtualCluster"),
        "submitted_at": moment(submitted),
        "duration_s": duration_s,
        "gpus": item.get("totalGpuNumber", 0),
        "tasks": item.get("totalTaskNumber", 0),
        "retries": item.get("retries", 0),
        "tags": item.get("tags") or [],
    }


def job_status(detail: dict[str, Any], *, link: str | None, notes: Iterable[str] = ()) -> dict[str, Any]:
    """Return ``job status`` from a job's detail (rest-api-v2 §5.3); ``notes`` is what else to know of it."""
    status = _dict(detail.get("jobStatus"))
    exit_code = status.get("appExitCode")
    return {
        "name": detail.get("name"),
        "user": status.get("username"),
        "state": status.get("state", "UNKNOWN"),
        "virtual_cluster": status.get("virtualCluster"),
        "submitted_at": moment(status.get("submissionTime") or status.get("createdTime")),
        "started_at": moment(status.get("launchedTime") or status.get("appLaunchedTime")),
        "completed_at": moment(status.get("completedTime")),
        "retries": status.get("retries", 0),
        "exit_code": exit_code,
        "user_exit_code": _job_user_exit_code(status),
        "exit_phrase": _dict(status.get("appExitSpec")).get("phrase"),
        "link": link,
        "notes": list(notes),
        "task_roles": {
            role: [_task(task) for task in _list(_dict(value).get("taskStatuses")) if isinstance(task, dict)]
            for role, value in _dict(detail.get("taskRoles")).items()
        },
    }


def job_result(detail: dict[str, Any], name: str) -> dict[str, Any]:
    """Return how a job stands, as ``job wait`` gives it."""
    status = _dict(detail.get("jobStatus"))
    return {
        "name": name,
        "state": status.get("state", "UNKNOWN"),
        "exit_code": status.get("appExitCode"),
        "user_exit_code": _job_user_exit_code(status),
    }


def job_event(item: dict[str, Any]) -> dict[str, Any]:
    """Return one entry of ``job events``."""
    role, index = item.get("taskroleName"), item.get("taskIndex")
    return {
        "at": item.get("lastTimestamp") or item.get("firstTimestamp"),
        "type": item.get("type"),
        "reason": item.get("reason"),
        "message": item.get("message"),
        "task": f"{role}-{index}" if role is not None else None,
    }


def virtual_cluster(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return one entry of ``cluster resources``: used, free and total of everything that jobs ask for."""
    used = _dict(value.get("resourcesUsed"))
    total = _dict(value.get("resourcesTotal"))
    entry: dict[str, Any] = {"name": name, "dedicated": bool(value.get("dedicated", False))}
    for ours, theirs, old in (
        ("gpu", "gpu", "GPUs"),
        ("cpu", "cpu", "vCores"),
        ("memory_mb", "memory", "memory"),
    ):
        has = total.get(theirs, total.get(old, 0)) or 0
        uses = used.get(theirs, used.get(old, 0)) or 0
        entry[ours] = {"used": uses, "free": max(0, has - uses), "total": has}
    return entry


def job_attempt(detail: dict[str, Any]) -> int:
    """Return the number, from 0, of the job attempt that a detail describes."""
    attempt = _dict(detail.get("jobStatus")).get("attemptId")
    return attempt if isinstance(attempt, int) else 0


def containers(detail: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what reading logs needs of each task: who it is, where its log is, whether it has begun."""
    found = []
    for role, value in _dict(detail.get("taskRoles")).items():
        for task in _list(_dict(value).get("taskStatuses")):
            path = task.get("containerLog")
            found.append(
                {
                    "role": role,
                    "index": task.get("taskIndex", 0),
                    "attempt": task.get("attemptId") or 0,
                    "path": path if isinstance(path, str) else "",
                    "has_begun": bool(
                        task.get("launchedTime") or task.get("completedTime") or task.get("containerIp")
                    ),
                }
            )
    return found


def _task(task: dict[str, Any]) -> dict[str, Any]:
    exit_code = task.get("containerExitCode")
    user_exit_code = task.get("userExitCode")
    if user_exit_code is None:
        user_exit_code = 0 if exit_code == 0 else _named_exit_code(task.get("containerExitDiagnostics"))
    return {
        "index": task.get("taskIndex"),
        "state": task.get("taskState", "UNKNOWN"),
        "exit_code": exit_code,
        "user_exit_code": user_exit_code,
        "exit_phrase": _dict(task.get("containerExitSpec")).get("phrase"),
        "ip": task.get("containerIp") or None,
        "ports": {label: _ports(value) for label, value in _dict(task.get("containerPorts")).items()},
        "attempt": task.get("attemptId", 0),
    }


def _job_user_exit_code(status: dict[str, Any]) -> int | None:
    if status.get("appExitCode") == 0:
        return 0
    runtime = _dict(status.get("appExitMessages")).get("runtime")
    if isinstance(runtime, dict):
        code = runtime.get("originUserExitCode")
        return code if isinstance(code, int) else None
    return (
        _named_exit_code(runtime)
        if runtime is not None
        else _named_exit_code(status.get("appExitDiagnostics"))
    )


def _named_exit_code(text: Any) -> int | None:
    """Find the command's own exit code in a termination message (runtime-environment §4)."""
    found = re.search(_USER_EXIT_CODE, text) if isinstance(text, str) else None
    return int(found[1]) if found else None


def _ports(value: Any) -> list[int]:
    return [int(word) for word in str(value).split(",") if word.strip().isdigit()]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
