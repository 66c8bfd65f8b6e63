# SPDX-License-Identifier: MIT
"""Who sends a request, told from its ``Authorization`` header, and signed permits for single things."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from openpaisdk.local.access.users import APPLICATION, ATTEMPT, AccountStore, Token
from openpaisdk.local.api_error import ApiError, forbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user who sent a request, and by which token."""

    user: str
    admin: bool
    token: Token
    text: str

    def __repr__(self) -> str:
        return f"Identity(user={self.user!r}, kind={self.token.kind!r})"

    def may_change(self, owner: str) -> bool:
        """Return whether this user may change a job of ``owner``."""
        return self.admin or self.user == owner


def identify(accounts: AccountStore, header: str | None) -> Identity:
    """Return who is behind an ``Authorization`` header (rest-api-v2 §2).

    Raises:
        ApiError: 401, nobody is, or the token is not valid (any more).
    """
    if not header:
        raise ApiError(401, "UnauthorizedUserError", "Guest is not allowed to do this operation.")
    identity = _identify(accounts, header)
    if identity is None:
        raise ApiError(401, "UnauthorizedUserError", "Your token is invalid.")
    return identity


def _identify(accounts: AccountStore, header: str) -> Identity | None:
    scheme, _, credentials = header.partition(" ")
    scheme = scheme.lower()
    credentials = credentials.strip()
    wanted_user = None
    if scheme == "basic":
        wanted_user, credentials = _split_basic(credentials)
    elif scheme != "bearer":
        return None
    identity = identify_token(accounts, credentials)
    if identity is None or identity.token.kind == ATTEMPT:
        return None
    if wanted_user is not None and (identity.token.kind != APPLICATION or wanted_user != identity.user):
        return None
    return identity


def identify_token(accounts: AccountStore, text: str) -> Identity | None:
    """Return who a token of any kind stands for, ``None`` when it is not valid."""
    token = accounts.find(text)
    if token is None:
        return None
    account = accounts.account(token.user)
    if account is None:
        return None
    return Identity(user=account.name, admin=accounts.is_admin(account), token=token, text=text)


def _split_basic(credentials: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


class Authenticator:
    """Answers for routes who sends a request."""

    def __init__(self, accounts: AccountStore) -> None:
        self._accounts = accounts

    def any_token(self, request: Request) -> Identity:
        """Return the sender; tokens of users and applications are good."""
        return identify(self._accounts, request.headers.get("authorization"))

    def user_token(self, request: Request) -> Identity:
        """Return the sender, who must not be an application."""
        identity = self.any_token(request)
        if identity.token.kind == APPLICATION:
            raise forbidden("Applications are not allowed to do this operation.")
        return identity

    def admin(self, request: Request) -> Identity:
        """Return the sender, who must be an admin and may be an application."""
        return must_be_admin(self.any_token(request))


def must_be_admin(identity: Identity) -> Identity:
    """Return the sender if he is an admin.

    Raises:
        ApiError: 403, he is none.
    """
    if not identity.admin:
        raise forbidden("Non-admin is not allow to do this operation.")
    return identity


class Permits:
    """Signs small values that are good for a while; the key lives as long as the process, so a clock
    that nobody sets tells how long."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def sign(self, value: Any, *, lifetime_s: float) -> str:
        """Return ``value`` (anything of JSON) as a text that nobody else can make."""
        content = json.dumps([value, time.monotonic() + lifetime_s], separators=(",", ":")).encode()
        mark = hmac.digest(self._key, content, "sha256")[:16]
        return base64.urlsafe_b64encode(mark + content).rstrip(b"=").decode()

    def read(self, text: str) -> Any:
        """Return the value, ``None`` when the text was not signed here or its time is over."""
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        mark, content = data[:16], data[16:]
        if not hmac.compare_digest(mark, hmac.digest(self._key, content, "sha256")[:16]):
            return None
        value, expires_s = json.loads(content)
        return value if time.monotonic() < expires_s else None
