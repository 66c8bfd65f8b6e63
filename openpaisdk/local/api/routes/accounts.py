# SPDX-License-Identifier: MIT
"""Info, logging in and out, tokens and users (rest-api-v2 §2, §7)."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from openpaisdk.local.access.users import APPLICATION, OWNER, PASSWORD_LENGTH_MIN, USER, Account
from openpaisdk.local.api import replies
from openpaisdk.local.api_error import ApiError, forbidden, invalid_parameters
from openpaisdk.local.routing import (
    ApiRoute,
    JsonReply,
    check_fields,
    field_error,
    read_values,
    text_field,
)
from openpaisdk.local.services import Services

API_VERSION = "v1.8.1"
"""The version of the rest-server whose behaviour is copied."""
_USER_NAME = re.compile(r"[\w.-]+", re.ASCII)
_INFO = {"name": "PAI RESTful API", "version": API_VERSION, "launcherType": "k8s", "authnMethod": "basic"}
_AUTHN = {"authn_type": "basic", "loginURI": "/api/v1/authn/basic/login", "loginURIMethod": "post"}


class AccountRoutes:
    """Answers about the server, its users and their tokens."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._accounts = services.accounts
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes of both API versions."""
        result = [
            ApiRoute("GET", "/api/v2/info", self.info),
            ApiRoute("GET", "/api/v2", self.root),
            ApiRoute("GET", "/api/v1", self.info),
            ApiRoute("GET", "/api/v1/user/{name}", self.user),
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
        for base in ("/api/v2/users", "/api/v2/user"):
            result += [
                ApiRoute("GET", base, self.users),
                ApiRoute("GET", f"{base}/{{name}}", self.user),
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
        values = await read_values(request)
        name = text_field(values, "username")
        if not _USER_NAME.fullmatch(name):
            raise field_error("username", f'with value "{name}" fails to match the username pattern')
        password = text_field(values, "password")
        if len(password) < PASSWORD_LENGTH_MIN:
            raise field_error("password", f"length must be at least {PASSWORD_LENGTH_MIN} characters long")
        check_fields(values, ("username", "password", "expiration"))
        account = self._known_account(name)
        wait_s = self._services.guesses.wait_s(name)
        if wait_s:
            return too_many_requests(wait_s)
        if not await asyncio.to_thread(self._accounts.password_fits, account, password):
            raise ApiError(400, "IncorrectPasswordError", "Password is incorrect.")
        self._services.guesses.succeeded(name)
        token = self._accounts.issue(name, USER)
        return JsonReply({"user": name, "token": token, "admin": account.admin})

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
        """End a token of the sender, or of anybody for an admin."""
        identity = self._auth.user_token(request)
        text = request.path_params["token"]
        token = self._accounts.find(text)
        if token is None:
            raise invalid_parameters("the token to revoke is not a valid token of this cluster")
        if not identity.may_change(token.user):
            raise forbidden(f"User {identity.user} is not allowed to do this operation.")
        self._revoke(text)
        return JsonReply({"message": "revoke successfully"})

    def _revoke(self, text: str) -> None:
        token = self._accounts.find(text)
        if token is not None and token.kind == OWNER:
            raise forbidden("This token is the embedded cluster's own and cannot be revoked.")
        self._accounts.revoke(text)

    # --- users ---------------------------------------------------------------------------------
    async def users(self, request: Request) -> Response:
        """List all users."""
        self._auth.any_token(request)
        return JsonReply([self._user_reply(account) for account in self._accounts.accounts()])

    async def user(self, request: Request) -> Response:
        """Show one user; ``me`` is the sender, when nobody is called so."""
        identity = self._auth.any_token(request)
        name = request.path_params["name"]
        if name == "me" and self._accounts.account(name) is None:
            name = identity.user
        return JsonReply(self._user_reply(self._known_account(name)))

    def _known_account(self, name: str) -> Account:
        account = self._accounts.account(name)
        if account is None:
            raise ApiError(400, "NoUserError", f"User {name} is not found.")
        return account

    def _user_reply(self, account: Account) -> dict[str, object]:
        clusters = list(self._services.virtual_clusters())
        return replies.user(account.name, admin=account.admin, virtual_clusters=clusters)


def too_many_requests(wait_s: int) -> Response:
    """Return the answer to who asks too often (rest-api-v2 §1.3)."""
    text = "Too many requests, please try again later."
    return HTMLResponse(text, 429, {"retry-after": str(wait_s)})
