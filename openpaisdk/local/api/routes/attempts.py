# SPDX-License-Identifier: MIT
"""Attempts of jobs and of tasks (rest-api-v2 §5.9, §5.10)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from openpaisdk.local.api import replies
from openpaisdk.local.api.routes.jobs import find_job
from openpaisdk.local.api_error import ApiError, no_job
from openpaisdk.local.records import AttemptRecord, JobRecord, TaskRecord
from openpaisdk.local.routing import ApiRoute, JsonReply, number_of
from openpaisdk.local.services import Services


class AttemptRoutes:
    """Answers about single attempts."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scheduler = services.scheduler
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        job = "/api/v2/jobs/{framework}"
        return [
            ApiRoute("GET", f"{job}/job-attempts/healthz", self.health),
            ApiRoute("GET", f"{job}/job-attempts", self.job_attempts),
            ApiRoute("GET", f"{job}/job-attempts/{{attempt}}", self.job_attempt),
            ApiRoute(
                "GET",
                f"{job}/attempts/{{attempt}}/taskRoles/{{role}}/taskIndex/{{index}}/attempts",
                self.task_attempts,
            ),
        ]

    async def health(self, request: Request) -> Response:
        """Say that attempts are kept."""
        self._auth.any_token(request)
        return PlainTextResponse("ok")

    async def job_attempts(self, request: Request) -> Response:
        """List a job's attempts: the newest, then the earlier ones in order."""
        self._auth.any_token(request)
        try:
            job = find_job(self._services, request)
        except ApiError:
            return JsonReply(None, 404)
        attempts = self._scheduler.attempts(job)
        if not attempts:
            return JsonReply([self._reply(job, None, latest=True)])
        shown = [self._reply(job, attempts[-1], latest=True)]
        shown += [self._reply(job, attempt, latest=False) for attempt in attempts[:-1]]
        return JsonReply(shown)

    async def job_attempt(self, request: Request) -> Response:
        """Show one attempt of a job."""
        self._auth.any_token(request)
        job = find_job(self._services, request)
        wanted = request.path_params["attempt"]
        attempt = self._scheduler.attempt(job, number_of(wanted)) if wanted.isdecimal() else None
        if attempt is None:
            raise no_job(f"Job attempt not found in job {job.framework} with jobAttemptIndex {wanted}")
        return JsonReply(self._reply(job, attempt, latest=True))  # the real server says "latest" of each, too

    def _reply(self, job: JobRecord, attempt: AttemptRecord | None, *, latest: bool) -> dict[str, object]:
        tasks = self._scheduler.tasks(job, attempt.attempt_id) if attempt else []
        return replies.job_attempt(job, attempt, tasks, ip=self._services.machine.ip, latest=latest)

    async def task_attempts(self, request: Request) -> Response:
        """List the attempts of a task."""
        self._auth.any_token(request)
        job = find_job(self._services, request)
        attempts = find_task_attempts(self._services, job, request)
        return JsonReply(replies.task_attempts(job, attempts, ip=self._services.machine.ip))


def find_task_attempts(services: Services, job: JobRecord, request: Request) -> list[TaskRecord]:
    """Return the attempts of the task that the address names, newest first.

    Raises:
        ApiError: 404, there is no such task.
    """
    attempt, role, index = (request.path_params[name] for name in ("attempt", "role", "index"))
    found: list[TaskRecord] = []
    if attempt.isdecimal() and index.isdecimal():
        found = services.scheduler.task_attempts(job, number_of(attempt), role, number_of(index))
    if not found:
        raise no_job(
            f"Task not found in Job {job.framework} with jobAttemptIndex {attempt}, "
            f"taskRoleName {role} and taskIndex {index}."
        )
    return found
