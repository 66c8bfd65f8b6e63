# SPDX-License-Identifier: MIT
"""The server as one ASGI application: the gate, then storage by its prefix, then the routes of the API."""

from __future__ import annotations

from typing import NoReturn

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from openpaisdk.local.api.extension_routes import ExtensionRoutes
from openpaisdk.local.api.gate import Gate
from openpaisdk.local.api.log_routes import LogRoutes
from openpaisdk.local.api.routes.accounts import AccountRoutes
from openpaisdk.local.api.routes.attempts import AttemptRoutes
from openpaisdk.local.api.routes.clusters import ClusterRoutes
from openpaisdk.local.api.routes.description import DescriptionRoutes
from openpaisdk.local.api.routes.groups import GroupRoutes
from openpaisdk.local.api.routes.jobs import JobRoutes
from openpaisdk.local.api.routes.kubernetes import KubernetesRoutes
from openpaisdk.local.api.routes.users import UserRoutes
from openpaisdk.local.api_error import no_api
from openpaisdk.local.files.webhdfs import WEBHDFS_PREFIX, WebHdfs
from openpaisdk.local.routing import ApiRoute
from openpaisdk.local.services import Services
from openpaisdk.local.web.pages import PageRoutes


def build_app(services: Services) -> ASGIApp:
    """Return the application that serves the cluster."""
    return Gate(Dispatcher(services), services.port, services.rate_limits)


def api_routes(services: Services) -> list[ApiRoute]:
    """Return the routes of the API, the busiest ones first."""
    routes = [
        *JobRoutes(services).routes(),
        *ExtensionRoutes(services).routes(),
        *LogRoutes(services).routes(),
        *AttemptRoutes(services).routes(),
        *AccountRoutes(services).routes(),
        *UserRoutes(services).routes(),
        *GroupRoutes(services).routes(),
        *ClusterRoutes(services).routes(),
        *KubernetesRoutes(services).routes(),
    ]
    return [*routes, *DescriptionRoutes(services, routes).routes()]


class Dispatcher:
    """Hands a request to the storage or to the routes."""

    def __init__(self, services: Services) -> None:
        self._storage = WebHdfs(services)
        routes = [*api_routes(services), *PageRoutes(services).routes()]
        self._router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        if path.startswith(WEBHDFS_PREFIX):
            await self._storage(scope, receive, send)
            return
        if path.endswith("/") and path != "/":
            scope["path"] = path[:-1]
        await self._router(scope, receive, send)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> NoReturn:
    query: bytes = scope["query_string"]
    url = scope["path"] + (f"?{query.decode('latin-1')}" if query else "")
    raise no_api(url)
