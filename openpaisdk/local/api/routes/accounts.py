# SPDX-License-Identifier: MIT
"""Info, logging in and out, and tokens (rest-api-v2 §2)."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from openpaisdk.local.access.users import APPLICATION, OWNER, USER, read_claims
from openpaisdk.local.api import bodies
from openpaisdk.local.api.shapes import read_shape
from openpaisdk.local.api_error import ApiError, forbidden, invalid_parameters
from openpaisdk.local.routing import ANY, ApiRoute, JsonReply
from openpaisdk.local.services import Services

API_VERSION = "v1.8.1"
"""The version of the rest-server whose behaviour is copied."""
_INFO = {"name": "PAI RESTful API", "version": API_VERSION, "launcherType": "k8s", "authnMethod": "basic"}
_AUTHN = {"authn_type": "basic", "loginURI": "/api/v1/authn/basic/login", "loginURIMethod": "post"}


class AccountRoutes:
    """Answers about the server and the tokens of its users."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._accounts = services.accounts
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes of both API versions."""
        result = [
            ApiRoute(ANY, "/api/v2/info", self.info),
            ApiRoute(ANY, "/api/v2", self.root),
            ApiRoute(ANY, "/api/v1", self.info),
        ]
        for base in ("/api/v2", "/api/v1"):
            result += [
                ApiRoute("GET", f"{base}/authn/info", self.authn_info),
                ApiRoute("POST", f"{base}/authn/basic/login", self.login),
                ApiRoute("DELETE", f"{base}/authn/basic/logout", self.logout),
            ]
        for base in ("/api/v2/tokens", "/api/v1/token"):
            result += [
                ApiRoute("POST", base, self.login),
                ApiRoute("GET", base, self.tokens),
                ApiRoute("POST", f"{base}/application", self.make_application_token),
                ApiRoute("GET", f"{base}/check", self.check_token),
                ApiRoute("DELETE", f"{base}/{{token}}", self.revoke_token),
            ]
        return result

    # --- the server ----------------------------------------------------------------------------
    async def info(self, request: Request) -> Response:
        """Say what this is."""
        return JsonReply({**_INFO, "embedded": True})

    async def root(self, request: Request) -> Response:
        """Say which API this is."""
        return PlainTextResponse("PAI RESTful API v2 (beta version)")

    async def authn_info(self, request: Request) -> Response:
        """Say how to log in."""
        return JsonReply(_AUTHN)

    # --- tokens --------------------------------------------------------------------------------
    async def login(self, request: Request) -> Response:
        """Hand out a token for a name and password."""
        values = await read_shape(request, bodies.LOGIN)
        name = values["username"]
        account = self._accounts.account(name)
        if account is None:
            raise ApiError(400, "NoUserError", f"User {name} is not found.")
        async with self._services.guesses.turn(name):
            fits = await asyncio.to_thread(self._accounts.password_fits, account, values["password"])
            self._services.guesses.note(name, fits=fits)
        if not fits or not self._accounts.has_password_of(account):  # it may have changed meanwhile
            raise ApiError(400, "IncorrectPasswordError", "Password is incorrect.")
        token = self._accounts.issue(name, USER)
        reply: dict[str, Any] = {"user": name, "token": token, "admin": self._accounts.is_admin(account)}
        if account.extension.get("githubPAT"):
            reply["hasGitHubPAT"] = True  # the real server sends the secret itself here
        return JsonReply(reply)

    async def logout(self, request: Request) -> Response:
        """Revoke the presented token."""
        identity = self._auth.user_token(request)
        self._revoke(identity.text)
        return JsonReply({"message": "Logout successfully"})

    async def tokens(self, request: Request) -> Response:
        """List the sender's tokens."""
        identity = self._auth.user_token(request)
        return JsonReply({"tokens": self._accounts.texts(identity.user)})

    async def make_application_token(self, request: Request) -> Response:
        """Hand out a token for an application, which does not expire."""
        identity = self._auth.user_token(request)
        return JsonReply({"token": self._accounts.issue(identity.user, APPLICATION), "application": True})

    async def check_token(self, request: Request) -> Response:
        """Show what the presented token says."""
        identity = self._auth.any_token(request)
        return JsonReply({**identity.token.payload(), "admin": identity.admin})

    async def revoke_token(self, request: Request) -> Response:
        """End a token of the sender; one that has ended already is no error."""
        identity = self._auth.user_token(request)
        text = request.path_params["token"]
        owner = read_claims(text).get("username")
        if not isinstance(owner, str):
            raise invalid_parameters("what is to be revoked is not a token")
        if owner != identity.user:
            raise forbidden(f"User {identity.user} is not allowed to do this operation.")
        self._revoke(text)
        return JsonReply({"message": "revoke successfully"})

    def _revoke(self, text: str) -> None:
        token = self._accounts.find(text)
        if token is not None and token.kind == OWNER:
            raise forbidden("This token is the embedded cluster's own and cannot be revoked.")
        self._accounts.revoke(text)
