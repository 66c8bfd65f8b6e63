# SPDX-License-Identifier: MIT
"""Records of the embedded cluster as the bodies of the REST API (rest-api-v2 §5); pure functions.

Lists are rendered to JSON text row by row: a page is most of what clients ask for, and building it as dicts
first would cost more than finding it in the database.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timezone
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from openpaisdk.local.access.groups import Group
from openpaisdk.local.access.users import Account
from openpaisdk.local.records import (
    AttemptRecord,
    EventRecord,
    JobRecord,
    JobRow,
    Outcome,
    SubState,
    TaskRecord,
)
from openpaisdk.spec.exit_codes import exit_spec

NODE_NAME = os.uname().nodename if hasattr(os, "uname") else "localhost"


@lru_cache(maxsize=2048)
def framework_id(framework: str) -> str:
    """Return the internal name of a job, the md5 of ``user~job`` (rest-api-v2 §3)."""
    return hashlib.md5(framework.encode(), usedforsecurity=False).hexdigest()


def stable_uid(*parts: object) -> str:
    """Return a UUID that is always the same for the same parts, for things that have no uid of their own."""
    text = hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def log_path(framework: str, task: TaskRecord) -> str:
    """Return where a task attempt's logs are listed, ``containerLog`` of the replies."""
    return (
        f"/api/v2/jobs/{framework}/attempts/{task.job_attempt_id}/taskRoles/{task.role}"
        f"/taskIndex/{task.index}/attempts/{task.attempt_id}/logs"
    )


# --- lists -------------------------------------------------------------------------------------
def job_list(jobs: Iterable[JobRow], total_count: int | None = None) -> bytes:
    """Return the body of a list of jobs, wrapped when the total is asked for (rest-api-v2 §5.2)."""
    now_ms = int(time.time() * 1000)
    rows = f"[{','.join([_job_row(job, now_ms) for job in jobs])}]"
    if total_count is None:
        return rows.encode()
    return f'{{"totalCount":{total_count},"data":{rows}}}'.encode()


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


def _job_row(job: JobRow, now_ms: int) -> str:
    user, name, counted, code, priority = (
        job.user,
        job.name,
        job.counted_retries,
        job.exit_code,
        job.priority,
    )
    retries = job.attempt_id or 0
    tags = ",".join(map(quote, job.tags.split(","))) if job.tags else ""
    delay = None if job.retry_at_ms is None else _delay_s(job.sub_state, job.retry_at_ms, now_ms)
    return (
        f'{{"debugId":"{framework_id(f"{user}~{name}")}","name":{quote(name)},"username":{quote(user)},'
        f'"state":"{job.state}","subState":"{job.sub_state}",'
        f'"executionType":"{"STOP" if job.stop_requested else "START"}","tags":[{tags}],"retries":{retries},'
        f'"retryDetails":{{"user":{counted},"platform":{retries - counted},"resource":0}},'
        f'"retryDelayTime":{_number(delay)},"submissionTime":{job.submitted_ms},'
        f'"createdTime":{_number(job.created_ms)},"launchedTime":{_number(job.launched_ms)},'
        f'"completedTime":{_number(job.completed_ms)},"appExitCode":{_number(code)},'
        f'"virtualCluster":{quote(job.virtual_cluster)},"totalGpuNumber":{job.total_gpu},'
        f'"totalTaskNumber":{job.total_tasks},"totalTaskRoleNumber":{job.total_roles},'
        f'"jobPriority":{"null" if priority is None else quote(priority)}}}'
    )


def _retry_delay_s(job: JobRecord, now_ms: int) -> int | None:
    return None if job.retry_at_ms is None else _delay_s(job.sub_state, job.retry_at_ms, now_ms)


def _delay_s(sub_state: str, retry_at_ms: int, now_ms: int) -> int | None:
    if sub_state != SubState.ATTEMPT_COMPLETED:
        return None
    return max(0, math.ceil((retry_at_ms - now_ms) / 1000))


# --- one job -----------------------------------------------------------------------------------
def job_detail(
    job: JobRecord,
    attempt: AttemptRecord | None,
    tasks: Sequence[tuple[TaskRecord, TaskRecord]],
    *,
    ip: str,
) -> dict[str, Any]:
    """Return the detail of a job as it is now, with one of its attempts (rest-api-v2 §5.3).

    Args:
        attempt: The attempt to show, ``None`` when the job has none yet.
        tasks: The newest and the first attempt of each task, in the order of the document.
        ip: Address under which tasks are reached.
    """
    status: dict[str, Any] = {
        "username": job.user,
        "state": job.state.value,
        "subState": job.sub_state.value,
        "executionType": "STOP" if job.stop_requested else "START",
        "retries": job.retries,
        "retryDetails": {
            "user": job.counted_retries,
            "platform": job.retries - job.counted_retries,
            "resource": 0,
        },
        "retryDelayTime": _retry_delay_s(job, int(time.time() * 1000)),
        "createdTime": job.created_ms,
        "launchedTime": job.launched_ms,
        "completedTime": job.completed_ms,
    }
    status.update(_attempt_status(job, attempt))
    status["virtualCluster"] = job.virtual_cluster
    status["submissionTime"] = job.submitted_ms
    roles: dict[str, Any] = {}
    for newest, first in tasks:
        role = roles.setdefault(newest.role, {"taskRoleStatus": {"name": newest.role}, "taskStatuses": []})
        role["taskStatuses"].append(_task_status(job.framework, newest, first, ip))
    return {
        "debugId": framework_id(job.framework),
        "name": job.name,
        "tags": list(job.tags),
        "jobStatus": status,
        "taskRoles": roles,
    }


def _attempt_status(job: JobRecord, attempt: AttemptRecord | None) -> dict[str, Any]:
    status: dict[str, Any] = {}
    outcome = attempt.outcome if attempt else job.outcome
    if attempt:
        status["attemptId"] = attempt.attempt_id
    status["attemptState"] = (attempt or job).state.value
    if attempt:
        status["appId"] = f"{attempt.attempt_id}_{attempt.uid}"
    status["appProgress"] = 0 if outcome is None else 1
    status["appTrackingUrl"] = ""
    status["appCreatedTime"] = attempt.created_ms if attempt else None
    status["appLaunchedTime"] = attempt.launched_ms if attempt else None
    status["appCompletedTime"] = attempt.completed_ms if attempt else None
    status["appExitCode"] = outcome.exit_code if outcome else None
    status.update(_exit_details(outcome))
    status.update(_trigger(outcome))
    status["appExitType"] = _exit_type(outcome)
    return status


def _exit_details(outcome: Outcome | None) -> dict[str, Any]:
    return {
        "appExitSpec": exit_spec(outcome.exit_code) if outcome else None,
        "appExitDiagnostics": outcome.diagnostics if outcome else None,
        "appExitMessages": exit_messages(outcome),
    }


def _trigger(outcome: Outcome | None) -> dict[str, Any]:
    return {
        "appExitTriggerMessage": outcome.trigger_message if outcome else None,
        "appExitTriggerTaskRoleName": outcome.trigger_role if outcome else None,
        "appExitTriggerTaskIndex": outcome.trigger_index if outcome else None,
    }


def _exit_type(outcome: Outcome | None) -> str | None:
    if outcome is None:
        return None
    return "Succeeded" if outcome.exit_code == 0 else "Failed"


def exit_messages(outcome: Outcome | None) -> dict[str, Any] | None:
    """Return what the runtime and the launcher say of an ending, ``None`` when neither does."""
    if outcome is None or not outcome.diagnostics:
        return None
    launcher = None if outcome.runtime else outcome.diagnostics
    return {"container": None, "runtime": outcome.runtime, "launcher": launcher}


def user_exit_code(outcome: Outcome | None) -> int | None:
    """Return the exit code of the user's own command, ``None`` when there is none."""
    return outcome.user_exit_code if outcome else None


# --- tasks -------------------------------------------------------------------------------------
def _container(framework: str, task: TaskRecord, ip: str) -> dict[str, Any]:
    launched = task.launched_ms is not None
    return {
        "containerId": task.pod_uid,
        "containerIp": ip if launched else "",
        "containerNodeName": NODE_NAME if launched else "",
        "containerPorts": {label: ",".join(map(str, ports)) for label, ports in task.ports.items()},
        "containerGpus": None,
        "containerLog": log_path(framework, task),
        "containerExitCode": task.outcome.exit_code if task.outcome else None,
        "containerExitSpec": exit_spec(task.outcome.exit_code) if task.outcome else None,
        "containerExitDiagnostics": task.outcome.diagnostics if task.outcome else None,
    }


def _attempt_times(task: TaskRecord) -> dict[str, Any]:
    return {
        "attemptId": task.attempt_id,
        "attemptState": task.attempt_state.value,
        "currentAttemptCreatedTime": task.created_ms,
        "currentAttemptLaunchedTime": task.launched_ms,
        "currentAttemptCompletedTime": task.completed_ms,
    }


def _task_times(newest: TaskRecord, first: TaskRecord) -> dict[str, Any]:
    return {
        "retries": newest.attempt_id,
        "accountableRetries": newest.counted_retries,
        "createdTime": first.created_ms,
        "launchedTime": first.launched_ms or newest.launched_ms,
        "completedTime": newest.completed_ms if newest.sub_state is SubState.COMPLETED else None,
    }


def _task_uid(task: TaskRecord) -> str:
    return stable_uid("task", task.job_id, task.job_attempt_id, task.role, task.index)


def _task_status(framework: str, newest: TaskRecord, first: TaskRecord, ip: str) -> dict[str, Any]:
    return {
        "taskIndex": newest.index,
        "taskUid": _task_uid(newest),
        "taskState": newest.state.value,
        **_container(framework, newest, ip),
        **_task_times(newest, first),
        **_attempt_times(newest),
    }


def task_attempts(job: JobRecord, attempts: Sequence[TaskRecord], *, ip: str) -> dict[str, Any]:
    """Return all attempts of a task, which come newest first (rest-api-v2 §5.10)."""
    newest, first = attempts[0], attempts[-1]
    return {
        "username": job.user,
        "jobName": job.name,
        "jobAttemptId": newest.job_attempt_id,
        "taskRoleName": newest.role,
        "taskIndex": newest.index,
        "taskUid": _task_uid(newest),
        "taskState": newest.state.value,
        **_task_times(newest, first),
        "attempts": [{**_attempt_times(task), **_container(job.framework, task, ip)} for task in attempts],
    }


# --- job attempts ------------------------------------------------------------------------------
def job_attempt(
    job: JobRecord, attempt: AttemptRecord | None, tasks: Iterable[TaskRecord], *, ip: str, latest: bool
) -> dict[str, Any]:
    """Return one attempt as the older endpoints show it (rest-api-v2 §5.9)."""
    outcome = attempt.outcome if attempt else job.outcome
    messages = exit_messages(outcome)
    reply: dict[str, Any] = {"jobName": job.name, "frameworkName": framework_id(job.framework)}
    if attempt:
        reply["uid"] = stable_uid("framework", job.framework, job.submitted_ms)
    reply["userName"] = job.user
    reply["state"] = (attempt or job).state.value
    reply["originState"] = (attempt or job).sub_state.value
    if attempt:
        reply["attemptIndex"] = attempt.attempt_id
    reply["jobStartedTime"] = job.created_ms
    reply["attemptStartedTime"] = attempt.created_ms if attempt else None
    reply["attemptCompletedTime"] = attempt.completed_ms if attempt else None
    reply["exitCode"] = outcome.exit_code if outcome else None
    reply["exitPhrase"] = exit_spec(outcome.exit_code)["phrase"] if outcome else None
    reply["exitType"] = _exit_type(outcome)
    reply["exitDiagnostics"] = None
    if outcome and messages:
        reply["exitDiagnostics"] = {
            "diagnosticsSummary": outcome.diagnostics,
            "runtime": messages["runtime"],
            "launcher": messages["launcher"],
        }
    reply.update(_trigger(outcome))
    reply.update(_exit_details(outcome))
    reply["totalGpuNumber"] = job.total_gpu
    reply["totalTaskNumber"] = job.total_tasks
    reply["totalTaskRoleNumber"] = job.total_roles
    reply["taskRoles"] = _attempt_roles(job.framework, tasks, ip)
    reply["isLatest"] = latest
    return reply


def _attempt_roles(framework: str, tasks: Iterable[TaskRecord], ip: str) -> dict[str, Any]:
    roles: dict[str, Any] = {}
    for task in tasks:
        role = roles.setdefault(task.role, {"taskRoleStatus": {"name": task.role}, "taskStatuses": []})
        role["taskStatuses"].append(
            {
                "taskIndex": task.index,
                "taskState": task.state.value,
                "containerId": task.pod_uid,
                "containerIp": ip if task.launched_ms is not None else "",
                "containerGpus": sum(1 << gpu for gpu in task.gpus) if task.gpus else None,
                "containerLog": log_path(framework, task),
                "containerExitCode": task.outcome.exit_code if task.outcome else None,
            }
        )
    return roles


# --- the rest ----------------------------------------------------------------------------------
def event_list(job: JobRecord, events: Sequence[EventRecord]) -> dict[str, Any]:
    """Return a job's events (rest-api-v2 §5.8)."""
    name = framework_id(job.framework)
    return {"totalCount": len(events), "data": [_event(name, event) for event in events]}


def _event(framework: str, event: EventRecord) -> dict[str, Any]:
    moment = iso_moment(event.at_ms)
    last_moment = iso_moment(int(time.time() * 1000)) if event.until_now else moment
    of_task = event.role is not None
    return {
        "uid": stable_uid(
            "event", framework, event.at_ms, event.role, event.index, event.reason, event.message
        ),
        "frameworkName": framework,
        "podUid": event.pod_uid,
        "taskroleName": event.role,
        "taskName": f"{framework}-{event.role}-{event.index}" if of_task else None,
        "taskIndex": event.index,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "firstTimestamp": moment,
        "lastTimestamp": last_moment,
        "count": 1,
        "sourceComponent": None,
        "sourceHost": None,
    }


def iso_moment(moment_ms: int) -> str:
    """Return a moment as JavaScript writes it: UTC, with milliseconds."""
    moment = datetime.fromtimestamp(moment_ms / 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment_ms % 1000:03d}Z"


def config_text(document: Any) -> bytes:
    """Return a job's document as a real server shows it: as JSON of JavaScript (rest-api-v2 §5.4)."""
    return json.dumps(_as_javascript(document), separators=(",", ":"), ensure_ascii=True).encode()


def _as_javascript(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _as_javascript(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_javascript(item) for item in value]
    if isinstance(value, float):
        return _javascript_number(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return iso_moment(round(aware.timestamp() * 1000))
    return f"{value.isoformat()}T00:00:00.000Z" if isinstance(value, date) else value


def _javascript_number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)


def virtual_cluster(
    total: tuple[int, int, int], used: tuple[int, int, int], machine_gpus: int
) -> dict[str, Any]:
    """Return a virtual cluster; capacities are shares of the machine's GPUs (rest-api-v2 §6)."""
    gpus = total[1]
    reply: dict[str, Any] = {
        "capacity": gpus / machine_gpus * 100 if machine_gpus else 0,
        "usedCapacity": used[1] / machine_gpus * 100 if machine_gpus else 0,
        "dedicated": False,
        "resourcesUsed": _resources(used),
        "resourcesGuaranteed": _resources(total),
        "resourcesTotal": _resources(total),
    }
    if machine_gpus:
        reply["maxCapacity"] = reply["capacity"]
    return _as_javascript(reply)  # type: ignore[no-any-return]


def _resources(amounts: tuple[int, int, int]) -> dict[str, int]:
    cpu, gpu, memory_mb = amounts
    return {"cpu": cpu, "memory": memory_mb, "gpu": gpu, "vCores": cpu, "GPUs": gpu}


def user(
    account: Account,
    *,
    admin: bool,
    virtual_clusters: list[str],
    storages: list[str],
    with_private_parts: bool,
) -> dict[str, Any]:
    """Return a user; only he himself sees what may be secret in his extension (rest-api-v2 §7, §16)."""
    return {
        "username": account.name,
        "grouplist": list(account.groups),
        "email": account.email,
        "extension": account.extension if with_private_parts else _public_parts(account.extension),
        "admin": admin,
        "virtualCluster": virtual_clusters,
        "storageConfig": storages,
    }


def _public_parts(extension: dict[str, Any]) -> dict[str, Any]:
    """Return what others may see: public SSH keys; access tokens and private keys stand beside them."""
    public = {"sshKeys": extension["sshKeys"]} if "sshKeys" in extension else {}
    key_pair = extension.get("jobSSH")
    if isinstance(key_pair, dict) and "pubKey" in key_pair:
        public["jobSSH"] = {"pubKey": key_pair["pubKey"]}
    return public


def group(one: Group) -> dict[str, Any]:
    """Return a group (rest-api-v2 §8)."""
    return {
        "groupname": one.name,
        "description": one.description,
        "externalName": one.external_name,
        "extension": one.extension,
    }
