# SPDX-License-Identifier: MIT
"""Submitting, listing, looking at and changing jobs (rest-api-v2 §5.1 to §5.8)."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.errors import JobExistsError
from openpaisdk.local.access.auth import Identity
from openpaisdk.local.api import bodies, replies
from openpaisdk.local.api.routes.job_query import parse_job_query
from openpaisdk.local.api.shapes import read_shape
from openpaisdk.local.api_error import ApiError, forbidden, no_job
from openpaisdk.local.records import AttemptRecord, JobRecord, TaskRecord
from openpaisdk.local.routing import ApiRoute, JsonReply, content_type, number_of, read_body
from openpaisdk.local.services import Services
from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.wire import parse_wire


class JobRoutes:
    """Answers about jobs as a whole; their attempts and logs are elsewhere."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scheduler = services.scheduler
        self._auth = services.auth
        self._limits = services.rate_limits

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        job = "/api/v2/jobs/{framework}"
        return [
            ApiRoute("GET", "/api/v2/jobs", self.list_jobs),
            ApiRoute("POST", "/api/v2/jobs", self.submit),
            ApiRoute("GET", job, self.detail),
            ApiRoute("GET", f"{job}/attempts/{{attempt}}", self.detail),
            ApiRoute("GET", f"{job}/config", self.config),
            ApiRoute("PUT", f"{job}/executionType", self.execute),
            ApiRoute("PUT", f"{job}/tag", self.add_tag),
            ApiRoute("DELETE", f"{job}/tag", self.delete_tag),
            ApiRoute("GET", f"{job}/events", self.events),
            ApiRoute("GET", f"{job}/ssh", self.ssh),
        ]

    # --- submit --------------------------------------------------------------------------------
    async def submit(self, request: Request) -> Response:
        """Take a job; it is kept when the answer is sent."""
        identity = self._auth.any_token(request)
        if self._limits is not None:
            self._limits.submissions.take(request.scope, identity.user)
        body = await read_body(request)
        text = body if content_type(request).startswith("text/") else b""
        document = await read_document(text)
        user, name = identity.user, document["name"]
        if self._scheduler.job(user, name) is not None:
            raise _conflict(user, name)
        spec = job_spec_from_document(document)
        if not self._services.may_use(user, spec.virtual_cluster):
            raise forbidden(f"User {user} is not allowed to do operation in {spec.virtual_cluster}")
        _check_storages(document)
        from openpaisdk.local.jobs.scheduler import TooLargeError

        try:
            job = await self._scheduler.submit(user, spec)
        except JobExistsError:
            raise _conflict(user, name) from None
        except TooLargeError as exc:
            raise ApiError(400, "InvalidProtocolError", exc.message) from exc
        link = self._services.sessions.make_link(user, f"/jobs/{job.framework}")
        message = f"Update job {name} for user {user} successfully."
        return JsonReply({"status": 202, "message": message, "link": link}, 202)

    # --- look ----------------------------------------------------------------------------------
    async def list_jobs(self, request: Request) -> Response:
        """List jobs of all users."""
        identity = self._auth.any_token(request)
        if self._limits is not None:
            self._limits.lists.take(request.scope, identity.user)
        query = parse_job_query(request.scope["query_string"])
        jobs, total = self._scheduler.page(query, identity.user)
        return JsonReply(replies.job_list(jobs, total))

    async def detail(self, request: Request) -> Response:
        """Show a job with its newest attempt, or the one that the address names."""
        self._auth.any_token(request)
        job = find_job(self._services, request)
        attempt = self._shown_attempt(job, request.path_params.get("attempt"))
        tasks = self._tasks(job, attempt) if attempt else []
        return JsonReply(replies.job_detail(job, attempt, tasks, ip=self._services.machine.ip))

    def _shown_attempt(self, job: JobRecord, wanted: str | None) -> AttemptRecord | None:
        if (
            wanted is None or not wanted.isdecimal()
        ):  # like the real server, which takes a non-number as the newest
            return None if job.attempt_id is None else self._scheduler.attempt(job, job.attempt_id)
        number = number_of(wanted)
        if job.attempt_id is None and number == 0:
            return None
        attempt = self._scheduler.attempt(job, number)
        if attempt is None:
            raise no_job(f"JobAttemptId {wanted} is not found in {job.framework}.")
        return attempt

    def _tasks(self, job: JobRecord, attempt: AttemptRecord) -> list[tuple[TaskRecord, TaskRecord]]:
        tasks = self._scheduler.tasks(job, attempt.attempt_id)
        return [(task, self._first_attempt(job, task)) for task in tasks]

    def _first_attempt(self, job: JobRecord, task: TaskRecord) -> TaskRecord:
        if task.attempt_id == 0:
            return task
        return self._scheduler.task_attempts(job, task.job_attempt_id, task.role, task.index)[-1]

    async def config(self, request: Request) -> Response:
        """Show the document of a job."""
        self._auth.any_token(request)
        document = self._scheduler.config(find_job(self._services, request))
        return Response(replies.config_text(document), headers={"content-type": "text/yaml; charset=utf-8"})

    async def events(self, request: Request) -> Response:
        """Show what happened to a job."""
        self._auth.any_token(request)
        job = find_job(self._services, request)
        events = self._scheduler.events(job, request.query_params.get("type") or None)
        return JsonReply(replies.event_list(job, events))

    async def ssh(self, request: Request) -> Response:
        """Say that there is no SSH information, as a real server does."""
        self._auth.any_token(request)
        framework = request.path_params["framework"]
        raise ApiError(404, "NoJobSshInfoError", f"SSH info of job {framework} is not found.")

    # --- change --------------------------------------------------------------------------------
    async def execute(self, request: Request) -> Response:
        """Stop a job; asking to start it changes nothing."""
        identity = self._auth.any_token(request)
        value = (await read_shape(request, bodies.EXECUTION_TYPE))["value"]
        job = find_job(self._services, request)
        if not identity.may_change(job.user):
            raise forbidden(f"User {identity.user} is not allowed to execute job {job.framework}.")
        if value == "STOP":
            self._scheduler.stop(job)
        return JsonReply({"status": 202, "message": f"Execute job {job.framework} successfully."}, 202)

    async def add_tag(self, request: Request) -> Response:
        """Put a tag on a job; putting it on twice is no error."""
        job, tag = await self._job_and_tag(request, "add tag for job")
        if tag not in job.tags:
            self._scheduler.set_tags(job, (*job.tags, tag))
        return JsonReply({"status": 200, "message": f"Add tag {tag} for job {job.framework} successfully."})

    async def delete_tag(self, request: Request) -> Response:
        """Take a tag off a job."""
        job, tag = await self._job_and_tag(request, "delete tag from job")
        if tag not in job.tags:
            raise ApiError(404, "NoTagError", f"Tag {tag} is not found for job {job.framework}.")
        self._scheduler.set_tags(job, tuple(other for other in job.tags if other != tag))
        return JsonReply(
            {"status": 200, "message": f"Delete tag {tag} from job {job.framework} successfully."}
        )

    async def _job_and_tag(self, request: Request, action: str) -> tuple[JobRecord, str]:
        identity = self._auth.any_token(request)
        tag = (await read_shape(request, bodies.TAG))["value"]
        _check_owner(identity, request.path_params["framework"], action)
        return find_job(self._services, request), tag


async def read_document(body: bytes) -> dict[str, Any]:
    """Return the job document in a body, which is valid.

    Raises:
        ApiError: 400, with what a real server says of it.
    """
    text = body.decode("utf-8", "replace")
    document: dict[str, Any] | None = parse_wire(text)
    from openpaisdk.spec.validate import has_errors, server_error, validate_document, validate_text

    if document is not None:
        problems = validate_document(document)
    else:  # the loader of YAML is slow: other requests go on meanwhile
        document, problems = await asyncio.to_thread(validate_text, text)
    if document is None or has_errors(problems):
        answer = server_error(problems, document)
        raise ApiError(answer["status"], answer["code"], answer["message"])
    return document


def _check_storages(document: dict[str, Any]) -> None:
    """Refuse a job that wants a storage mounted: there are none."""
    wanted = (document.get("extras") or {}).get("storages")
    for storage in wanted if isinstance(wanted, list) else ():
        if isinstance(storage, dict) and storage.get("name"):
            raise ApiError(404, "NoStorageError", f"Storage {storage['name']} is not found.")


def find_job(services: Services, request: Request) -> JobRecord:
    """Return the job that the address names.

    Raises:
        ApiError: 404, there is none.
    """
    framework: str = request.path_params["framework"]
    return find_framework(services, framework)


def find_framework(services: Services, framework: str) -> JobRecord:
    """Return the job called ``user~job``.

    Raises:
        ApiError: 404, there is none.
    """
    user, _, name = framework.partition("~")
    job = services.scheduler.job(user, name) if name else None
    if job is None:
        raise no_job(f"Job {framework} is not found.")
    return job


def _check_owner(identity: Identity, framework: str, action: str) -> None:
    if not identity.may_change(framework.partition("~")[0]):
        raise forbidden(f"User {identity.user} is not allowed to {action} {framework}.")


def _conflict(user: str, name: str) -> ApiError:
    return ApiError(409, "ConflictJobError", f"Job {user}~{name} already exists.")
