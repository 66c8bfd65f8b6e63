# SPDX-License-Identifier: MIT
"""The addresses of the pages, and who may see them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.records import JobQuery, TaskRecord
from openpaisdk.local.routing import ApiRoute
from openpaisdk.local.services import Services
from openpaisdk.local.web import page

_LOG_BYTES = 16 * 1024
_LOGS_MAX = 8
"""A page of a job with many tasks shows the logs of the first ones."""
_LIST_LENGTH = 100


def _style_source() -> str:
    digest = hashlib.sha256(page.STYLE.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


class PageRoutes:
    """Answers to browsers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions = services.sessions
        self._headers = {
            "content-security-policy": (
                f"default-src 'none'; style-src {_style_source()}; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"
            ),
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "content-type": "text/html; charset=utf-8",
        }

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        return [
            ApiRoute("GET", "/", self.home),
            ApiRoute("GET", "/jobs/{framework}", self.job),
            ApiRoute("GET", "/job-detail.html", self.portal_link),
        ]

    async def home(self, request: Request) -> Response:
        """Show the newest jobs."""
        if "code" in request.query_params:
            return self._let_in(request)
        if not self._is_known(request):
            return self._html(page.stranger_page(), 401)
        jobs = self._services.scheduler.jobs(JobQuery(limit=_LIST_LENGTH))
        return self._html(page.job_list_page(jobs, self._services.uri))

    async def job(self, request: Request) -> Response:
        """Show one job, to a browser that has a session; a link's code is exchanged for one first."""
        if "code" in request.query_params:
            return self._let_in(request)
        if not self._is_known(request):
            return self._html(page.stranger_page(), 401)
        framework: str = request.path_params["framework"]
        user, _, name = framework.partition("~")
        job = self._services.scheduler.job(user, name) if name else None
        if job is None:
            return self._html(page.message_page("Not found", f"Job {framework} is not found."), 404)
        tasks = [] if job.attempt_id is None else self._services.scheduler.tasks(job, job.attempt_id)
        return self._html(page.job_page(job, tasks, self._log_ends(tasks)))

    async def portal_link(self, request: Request) -> Response:
        """Lead from the address of a job on a real cluster's portal, which clients make up themselves."""
        values = request.query_params
        framework = quote(f"{values.get('username', '')}~{values.get('jobName', '')}", safe="~")
        return Response(status_code=303, headers={**self._headers, "location": f"/jobs/{framework}"})

    def _let_in(self, request: Request) -> Response:
        """Exchange the code for a cookie; the address without it then stays in the browser's history."""
        headers = {**self._headers, "location": request.scope["raw_path"].decode("ascii", "replace")}
        if self._is_known(request):
            return Response(status_code=303, headers=headers)
        if request.method == "HEAD":  # a look ahead by some program must not use up the link
            return Response(status_code=204, headers=self._headers)
        session = self._sessions.redeem(request.query_params["code"])
        if session is None:
            text = "This link was used before or is too old. Make a new one with: opai job status"
            return self._html(page.message_page("The link is not valid any more", text), 401)
        headers["set-cookie"] = self._sessions.set_cookie(session)
        if request.headers.get("sec-fetch-site") == "cross-site":
            # A strict cookie is not sent along a redirect that another site began: our own page goes on.
            text = page.forward_page(headers.pop("location"))
            return Response(text.encode(), 200, headers)
        return Response(status_code=303, headers=headers)

    def _is_known(self, request: Request) -> bool:
        return self._sessions.user(request.headers.get("cookie")) is not None

    def _html(self, text: str, status: int = 200) -> Response:
        return Response(text.encode("utf-8", "replace"), status, self._headers)

    def _log_ends(self, tasks: list[TaskRecord]) -> Iterator[page.LogEnd]:
        for task in tasks[:_LOGS_MAX]:
            log = self._services.scheduler.log(task)
            if log is None:
                continue
            size = log.size("all")
            start = max(0, size - _LOG_BYTES)
            text = log.tail("all", _LOG_BYTES).decode("utf-8", "replace")
            yield page.LogEnd(title=f"{task.role}-{task.index}", text=text, cut=start > 0)
