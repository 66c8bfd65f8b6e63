# SPDX-License-Identifier: MIT
"""Endpoints that OpenPAI does not have: waiting for jobs, following logs, and care of the server itself."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.constants import EXTENSION_PREFIX, VERSION
from openpaisdk.local.access.auth import must_be_admin
from openpaisdk.local.api.follow import STREAMS, Follower, FollowReply, is_wanted
from openpaisdk.local.api.places import Places
from openpaisdk.local.api.replies import user_exit_code
from openpaisdk.local.api.routes.jobs import find_framework
from openpaisdk.local.api_error import forbidden, invalid_parameters, no_job
from openpaisdk.local.departure import Departure
from openpaisdk.local.records import JobRecord
from openpaisdk.local.routing import ApiRoute, JsonReply, field_error, read_values, text_field
from openpaisdk.local.services import Services

_WAIT_MAX_S = 3600.0
_JOBS_MAX = 10_000


class ExtensionRoutes:
    """Answers to this package's own client."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scheduler = services.scheduler
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        return [
            ApiRoute("POST", f"{EXTENSION_PREFIX}/wait", self.wait),
            ApiRoute("GET", f"{EXTENSION_PREFIX}/follow", self.follow),
            ApiRoute("GET", f"{EXTENSION_PREFIX}/status", self.status),
            ApiRoute("POST", f"{EXTENSION_PREFIX}/shutdown", self.shutdown),
            ApiRoute("POST", f"{EXTENSION_PREFIX}/links", self.links),
            ApiRoute("GET", f"{EXTENSION_PREFIX}/credentials", self.credentials),
        ]

    # --- jobs ----------------------------------------------------------------------------------
    async def wait(self, request: Request) -> Response:
        """Answer when all jobs (``mode`` ``any``: one of them) are over, or when the time is."""
        self._auth.any_token(request)
        values = await read_values(request)
        jobs = [find_framework(self._services, name) for name in _names(values)]
        timeout_s = _timeout_s(values)
        mode = values.get("mode", "all")
        if mode not in ("all", "any"):
            raise field_error("mode", "must be one of [all, any]")
        any_of = mode == "any"
        if timeout_s > 0 and not _enough_are_over(jobs, any_of):
            jobs = await self._wait_longer(request, jobs, timeout_s, any_of)
        return JsonReply(
            {"done": _enough_are_over(jobs, any_of), "jobs": {job.framework: _end(job) for job in jobs}}
        )

    async def _wait_longer(
        self, request: Request, jobs: list[JobRecord], timeout_s: float, any_of: bool
    ) -> list[JobRecord]:
        names = [(job.user, job.name) for job in jobs]
        work = asyncio.ensure_future(self._scheduler.wait(names, timeout_s=timeout_s, any_of=any_of))
        async with Departure(self._services, request.receive, work.cancel) as departure:
            try:
                return await work
            except asyncio.CancelledError:
                if not departure.happened:
                    work.cancel()
                    raise
                return jobs

    async def follow(self, request: Request) -> Response:
        """Send a job's logs as they grow, until the job is over."""
        self._auth.any_token(request)
        values = request.query_params
        job = find_framework(self._services, values.get("job", ""))
        stream = values.get("stream") or "all"
        if stream not in STREAMS:
            raise field_error("stream", f"must be one of [{', '.join(STREAMS)}]")
        role = values.get("role") or None
        index = _whole_number(values.get("index"), "index")
        tail = _whole_number(values.get("tail"), "tail")
        after = values.get("after")
        self._check_task(job, role, index)
        follower = Follower(
            self._scheduler,
            job,
            stream=stream,
            role=role,
            index=index,
            tail=tail,
            after=_places(after) if after else None,
            tells_places=after is not None,
        )
        return FollowReply(self._services, follower)

    def _check_task(self, job: JobRecord, role: str | None, index: int | None) -> None:
        if job.attempt_id is None or (role is None and index is None):
            return
        tasks = self._scheduler.tasks(job, job.attempt_id)
        if not any(is_wanted(task, role, index) for task in tasks):
            wanted = f"{'any role' if role is None else role}-{'any' if index is None else index}"
            raise no_job(f"Task {wanted} is not found in job {job.framework}.")

    async def links(self, request: Request) -> Response:
        """Hand out a link to a job's page that works once, and what to know of how this cluster runs
        the job.
        """
        identity = self._auth.user_token(request)
        name = text_field(await read_values(request), "job")
        job = find_framework(self._services, name)
        link = self._services.sessions.make_link(identity.user, f"/jobs/{job.framework}")
        return JsonReply({"link": link, "notes": self._scheduler.notes(job)})

    # --- the server ----------------------------------------------------------------------------
    async def status(self, request: Request) -> Response:
        """Say what the server is and has to do."""
        self._auth.any_token(request)
        machine = self._services.machine
        resources = {"cpu": machine.cpu, "gpu": len(machine.gpus), "memory_mb": machine.memory_mb}
        return JsonReply(
            {
                "running": True,
                "pid": os.getpid(),
                "uri": self._services.uri,
                "home": self._services.home.folder,
                "version": VERSION,
                "resources": resources,
                "virtual_clusters": self._services.virtual_clusters(),
                "running_tasks": self._scheduler.running_tasks,
                "jobs": self._scheduler.counts_by_state(),
            }
        )

    async def shutdown(self, request: Request) -> Response:
        """End the server: ``refuse`` while tasks run, ``kill`` them, or ``leave`` them to the next start."""
        must_be_admin(self._auth.user_token(request))
        mode = (await read_values(request)).get("mode", "refuse")
        if mode not in ("refuse", "kill", "leave"):
            raise field_error("mode", "must be one of [refuse, kill, leave]")
        running = self._scheduler.running_tasks
        if mode == "refuse" and running:
            message = f"{running} task{' is' if running == 1 else 's are'} running"
            return JsonReply({"code": "TasksRunning", "message": message, "running": running}, 409)
        self._services.shut_down("leave" if mode == "refuse" else mode)
        return JsonReply({"stopping": True})

    async def credentials(self, request: Request) -> Response:
        """Give the owner what another client needs."""
        identity = self._auth.user_token(request)
        services = self._services
        account = services.accounts.account(services.owner)
        if identity.user != services.owner or account is None:
            raise forbidden("Only the owner of this cluster may see its credentials.")
        return JsonReply(
            {
                "uri": services.uri,
                "webhdfs_uri": services.webhdfs_uri,
                "user": account.name,
                "password": account.generated_password,
                "token": services.accounts.owner_token(account.name),
            }
        )


def _names(values: dict[str, Any]) -> list[str]:
    names = values.get("jobs")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise field_error("jobs", "must be an array of strings")
    if not 0 < len(names) <= _JOBS_MAX:
        raise field_error("jobs", f"must contain 1 to {_JOBS_MAX} items")
    return list(dict.fromkeys(names))


def _timeout_s(values: dict[str, Any]) -> float:
    timeout_s = values.get("timeout_s", 30)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s >= 0:
        raise field_error("timeout_s", "must be a number of seconds, at least 0")
    return min(float(timeout_s), _WAIT_MAX_S)


def _whole_number(value: str | None, name: str) -> int | None:
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) < 16):
        raise invalid_parameters(f'"{name}" must be a whole number, at least 0')
    return int(value)


def _places(text: str) -> Places:
    try:
        return Places.parse(text)
    except ValueError:
        raise invalid_parameters('"after" must be <job attempt>,<role>.<index>.<attempt>.<end>,…') from None


def _enough_are_over(jobs: list[JobRecord], any_of: bool) -> bool:
    over = (job.state.is_final for job in jobs)
    return any(over) if any_of else all(over)


def _end(job: JobRecord) -> dict[str, Any]:
    final = job.state.is_final
    return {
        "state": job.state.value,
        "exit_code": job.outcome.exit_code if final and job.outcome else None,
        "user_exit_code": user_exit_code(job.outcome) if final else None,
    }
