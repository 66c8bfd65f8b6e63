# SPDX-License-Identifier: MIT
"""The logs of tasks as a real cluster's log manager serves them (rest-api-v2 §5.11)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from openpaisdk.local.api.replies import framework_id
from openpaisdk.local.api.routes.attempts import find_task_attempts
from openpaisdk.local.api.routes.jobs import find_job
from openpaisdk.local.api_error import ApiError
from openpaisdk.local.jobs.logs import LogPart, TaskLog
from openpaisdk.local.records import JobRecord, TaskRecord
from openpaisdk.local.routing import ApiRoute, JsonReply, number_of
from openpaisdk.local.services import Services

TOKEN_LIFETIME_S = 120
"""How long an address of a log is good; clients list again before each fetch."""
TAIL_BYTES = 16 * 1024
_PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes *= *(\d*)-(\d*)", re.IGNORECASE | re.ASCII)
_USER_LOG = re.compile(r"(stdout|stderr|all)(\.\d+)?")
_PARAMETERS = ("username", "framework-name", "pod-uid", "taskrole")


class LogRoutes:
    """Lists and sends logs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scheduler = services.scheduler
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        task = "/api/v2/jobs/{framework}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}"
        return [
            ApiRoute("GET", f"{task}/attempts/{{task_attempt}}/logs", self.list),
            ApiRoute("GET", "/log-manager/{address}/api/v1/logs/{name}", self.content),
            ApiRoute("HEAD", "/log-manager/{address}/api/v1/logs/{name}", self.content),
        ]

    async def list(self, request: Request) -> Response:
        """List the logs of a task attempt, each with an address that is good for a short time."""
        self._auth.any_token(request)
        job = find_job(self._services, request)
        task, log = self._find(job, request)
        tail_mode = request.query_params.get("tail-mode") == "true"
        locations = [{"name": name, "uri": self._uri(job, task, name, tail_mode)} for name in log.parts()]
        return JsonReply({"locations": locations})

    def _find(self, job: JobRecord, request: Request) -> tuple[TaskRecord, TaskLog]:
        wanted = request.path_params["task_attempt"]
        for task in find_task_attempts(self._services, job, request):
            if str(task.attempt_id) == wanted:
                log = self._scheduler.log(task)
                if log is not None and log.parts():
                    return task, log
        raise ApiError(404, "NoTaskLogError", "Log of task is not found.")

    def _uri(self, job: JobRecord, task: TaskRecord, name: str, tail_mode: bool) -> str:
        place = [job.user, job.name, task.job_attempt_id, task.role, task.index, task.attempt_id]
        values = {
            "username": job.user,
            "framework-name": framework_id(job.framework),
            "pod-uid": task.pod_uid,
            "taskrole": task.role,
            "token": self._services.permits.sign(place, lifetime_s=TOKEN_LIFETIME_S),
        }
        if tail_mode:
            values["tail-mode"] = "true"
        address = f"127.0.0.1:{self._services.port}"
        return f"/log-manager/{address}/api/v1/logs/{_wire_name(name)}?{urlencode(values)}"

    async def content(self, request: Request) -> Response:
        """Send a log, a part of it, or its end; the token in the address is all that is asked for.

        Refusals are as the log manager's: the token first, then what is missing, then what is not there.
        """
        task = self._permitted_task(request)
        if task is None or request.query_params.get("pod-uid", task.pod_uid) != task.pod_uid:
            return PlainTextResponse("", 403)
        if not all(request.query_params.get(name) for name in _PARAMETERS):
            return PlainTextResponse("", 400)
        log = self._scheduler.log(task)
        parts = log.parts() if log is not None else {}
        wanted = request.path_params["name"]
        name = next((name for name in parts if _wire_name(name) == wanted), None)
        if log is None or name is None or request.query_params["taskrole"] != task.role:
            return PlainTextResponse("", 404)
        return log_reply(log, name, parts[name], request)

    def _permitted_task(self, request: Request) -> TaskRecord | None:
        place = self._services.permits.read(request.query_params.get("token", ""))
        if not isinstance(place, list):
            return None
        user, job_name, attempt, role, index, task_attempt = place
        job = self._scheduler.job(user, job_name)
        if job is None:
            return None
        attempts = self._scheduler.task_attempts(job, attempt, role, index)
        return next((task for task in attempts if task.attempt_id == task_attempt), None)


def _wire_name(name: str) -> str:
    return f"user-{name}" if _USER_LOG.fullmatch(name) else name


def log_reply(log: TaskLog, name: str, part: LogPart, request: Request) -> Response:
    """Return a log as the request wants it: whole, a range of bytes, or its end (``tail-mode``)."""
    size = part.end - part.start
    start, end, status = 0, size, 200
    headers = {
        "content-type": "text/plain",
        "content-disposition": f'attachment; filename="{name}"',
        "accept-ranges": "bytes",
    }
    if request.query_params.get("tail-mode") == "true":
        start, status = max(0, size - TAIL_BYTES), 206
    else:
        wanted = _wanted_range(request, size)
        if wanted is not None:
            (start, end), status = wanted, 206
            if start >= end:
                return PlainTextResponse("", 416, {**headers, "content-range": f"bytes */{size}"})
    if status == 206:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}" if size else "bytes */0"
    headers["content-length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    stretch = LogPart(part.name, part.start + start, part.start + end)
    return StreamingResponse(_pieces(log, stretch), status, headers)


def _wanted_range(request: Request, size: int) -> tuple[int, int] | None:
    """Return the range that a request wants; one with a condition gets the whole log, which has no validator
    (RFC 9110 §13.1.5), and so does ``HEAD`` (§14.2).
    """
    if request.method == "HEAD" or "if-range" in request.headers:
        return None
    return parse_range(request.headers.get("range"), size)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and end of the range that a ``Range`` header asks for; empty when it cannot be had.

    ``None`` for one that is to be passed over: it is not valid, of another unit, or of several ranges, which
    a server need not serve (RFC 9110 §14.2).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - number_of(match[2])), size
    start = number_of(match[1])
    if match[2] and number_of(match[2]) < start:
        return None
    end = min(size, number_of(match[2]) + 1) if match[2] else size
    return (start, end) if start < end else (size, size)


async def _pieces(log: TaskLog, part: LogPart) -> AsyncIterator[bytes]:
    """Yield exactly as many bytes as were announced; less only when the log was written twice over in the
    meantime, which breaks the answer off.
    """
    position = part.start
    while position < part.end:
        piece = log.read(part.name, position, min(_PIECE_BYTES, part.end - position))
        if not piece:
            return
        position += len(piece)
        yield piece
