# SPDX-License-Identifier: MIT
"""The API's description of itself, which real servers do not serve."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.routing import ApiRoute, JsonReply
from openpaisdk.local.services import Services


class DescriptionRoutes:
    """Answers what there is to ask.

    Args:
        services: The server.
        routes: All other routes of the API.
    """

    def __init__(self, services: Services, routes: Iterable[ApiRoute]) -> None:
        self._auth = services.auth
        self._own = [ApiRoute("GET", "/api/v2/openapi.json", self.document)]
        self._all = [*routes, *self._own]

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        return self._own

    async def document(self, request: Request) -> Response:
        """Describe the API as OpenAPI 3.1."""
        self._auth.any_token(request)
        from openpaisdk.local.api.openapi import build_document

        return JsonReply(build_document(self._all))
