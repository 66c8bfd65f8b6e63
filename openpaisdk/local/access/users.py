# SPDX-License-Identifier: MIT
"""Who may use the embedded cluster: its accounts and tokens, kept in a file that only its owner can read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from openpaisdk.errors import UsageError
from openpaisdk.local.access.groups import ADMIN_GROUP, DEFAULT_GROUP, GroupStore
from openpaisdk.local.access.passwords import hash_fits, hash_password

USER_TOKEN_LIFETIME_S = 7 * 24 * 3600
"""Tokens that a login hands out end after this time (rest-api-v2 §2)."""
PASSWORD_LENGTH_MIN = 6

OWNER, USER, APPLICATION, ATTEMPT = "owner", "user", "application", "attempt"
"""Kinds of token: the cluster's own permanent one, a login's, an application's, a task attempt's."""

_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, generated_password TEXT, password_hash TEXT, admin INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (
    digest BLOB PRIMARY KEY, user TEXT NOT NULL, kind TEXT NOT NULL, nonce TEXT NOT NULL,
    issued_s INTEGER NOT NULL, expires_s INTEGER) WITHOUT ROWID;
"""
_LATER_COLUMNS = {"email": "TEXT NOT NULL DEFAULT ''", "grouplist": "TEXT", "extension": "TEXT"}
"""Columns of ``accounts`` that files of version 0.1 do not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One user; a generated password is kept to be shown to the owner, a chosen one only as a hash."""

    name: str
    groups: tuple[str, ...] = (DEFAULT_GROUP,)
    email: str = ""
    extension: dict[str, Any] = field(default_factory=dict)
    """Whatever clients keep with a user; parts of it may be secret."""
    generated_password: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of an issued token; its text is not kept."""

    user: str
    kind: str
    nonce: str
    issued_s: int
    expires_s: int | None = None
    path_prefix: str | None = None
    """For an attempt's token: the folder of the storage that it opens."""
    readable: tuple[str, ...] = ()
    """For an attempt's token: the single files elsewhere that it may read, because the job's document names
    them. Whoever wrote that may read them as well; nothing else is opened by it."""

    def payload(self) -> dict[str, Any]:
        """Return the claims as a real server writes them (rest-api-v2 §2)."""
        claims: dict[str, Any] = {
            "username": self.user,
            "application": self.kind == APPLICATION,
            "jobSpecific": False,
            "encodedFrameworkName": "",
            "iat": self.issued_s,
        }
        if self.expires_s is not None:
            claims["exp"] = self.expires_s
        return claims


class AccountStore:
    """Accounts and tokens in one SQLite file; reads are answered from memory.

    Args:
        path: The file, made with mode 0600 when it is not there.
    """

    def __init__(self, path: str) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_TABLES)
        self._add_later_columns()
        self.groups = GroupStore(self._connection)
        self._key = self._load_key()
        self._accounts = self._load_accounts()
        self._tokens = self._load_tokens()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- accounts ------------------------------------------------------------------------------
    def account(self, name: str) -> Account | None:
        """Return the account of this name."""
        return self._accounts.get(name)

    def accounts(self) -> list[Account]:
        """Return all accounts, by name."""
        return [self._accounts[name] for name in sorted(self._accounts)]

    def is_admin(self, account: Account) -> bool:
        """Return whether one of the account's groups makes it an admin."""
        return any(group.admin for group in self.groups.of(account.groups))

    def virtual_clusters(self, account: Account, known: Iterable[str]) -> list[str]:
        """Return those of the ``known`` virtual clusters that this user may use; an admin may use all."""
        if self.is_admin(account):
            return list(known)
        allowed = {name for group in self.groups.of(account.groups) for name in group.virtual_clusters}
        return [name for name in known if name in allowed]

    def ensure_owner(self, name: str) -> Account:
        """Return the admin account of this name, made with a generated password when it is new."""
        account = self._accounts.get(name)
        if account is None:
            account = Account(
                name=name, groups=(DEFAULT_GROUP, ADMIN_GROUP), generated_password=secrets.token_urlsafe(18)
            )
            self.save_account(account)
        return account

    def add_account(self, name: str, password: str, *, admin: bool = False) -> Account:
        """Add a user, or give a known one a new password.

        Raises:
            UsageError: The password is too short.
        """
        if len(password) < PASSWORD_LENGTH_MIN:
            raise UsageError(
                f"the password is too short, at least {PASSWORD_LENGTH_MIN} characters are wanted"
            )
        groups = (DEFAULT_GROUP, ADMIN_GROUP) if admin else (DEFAULT_GROUP,)
        account = Account(name=name, groups=groups, password_hash=hash_password(password))
        self.save_account(account)
        return account

    def save_account(self, account: Account) -> None:
        """Keep an account, new or changed."""
        self._connection.execute(
            "INSERT OR REPLACE INTO accounts"
            " (name, generated_password, password_hash, admin, email, grouplist, extension)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                account.name,
                account.generated_password,
                account.password_hash,
                self.is_admin(account),
                account.email,
                json.dumps(account.groups),
                json.dumps(account.extension),
            ),
        )
        self._accounts[account.name] = account

    def delete_account(self, name: str) -> None:
        """Forget a user and end all the tokens."""
        self._revoke_where(lambda token: token.user == name)
        self._connection.execute("DELETE FROM accounts WHERE name = ?", (name,))
        del self._accounts[name]

    def delete_group(self, name: str) -> None:
        """Forget a group and take everybody out of it."""
        for account in self.accounts():
            if name in account.groups:
                groups = tuple(group for group in account.groups if group != name)
                self.save_account(replace(account, groups=groups))
        self.groups.delete(name)

    def password_fits(self, account: Account, password: str) -> bool:
        """Return whether this is the account's password; slow on purpose for chosen ones."""
        if account.generated_password is not None:
            return hmac.compare_digest(account.generated_password.encode(), password.encode())
        return account.password_hash is not None and hash_fits(account.password_hash, password)

    def has_password_of(self, account: Account) -> bool:
        """Return whether the account is still there with the same password."""
        now = self._accounts.get(account.name)
        return now is not None and (now.generated_password, now.password_hash) == (
            account.generated_password,
            account.password_hash,
        )

    # --- tokens --------------------------------------------------------------------------------
    def issue(self, user: str, kind: str) -> str:
        """Return the text of a new token of this user: ``owner``, ``user`` or ``application``."""
        now = int(time.time())
        expires = now + USER_TOKEN_LIFETIME_S if kind == USER else None
        token = Token(user=user, kind=kind, nonce=secrets.token_urlsafe(9), issued_s=now, expires_s=expires)
        text = self.text_of(token)
        self._save_token(text, token)
        return text

    def owner_token(self, user: str) -> str:
        """Return the text of the cluster's own token of this user, the same at every start."""
        for token in self._tokens.values():
            if token.kind == OWNER and token.user == user:
                return self.text_of(token)
        return self.issue(user, OWNER)

    def issue_for_attempt(self, user: str, path_prefix: str, readable: Iterable[str] = ()) -> str:
        """Return the text of a new token that opens only the storage below ``path_prefix``.

        Of what is elsewhere it reads the files ``readable``.

        It is signed and not stored: a server that takes up the attempt hands it to ``restore_for_attempt``.
        """
        claims: dict[str, Any] = {"user": user, "path": path_prefix, "nonce": secrets.token_urlsafe(12)}
        if readable:
            claims["readable"] = list(readable)
        signed = _encode(claims)
        text = f"{signed}.{self._sign(signed)}"
        self._tokens[_digest(text)] = _attempt_token(claims)
        return text

    def restore_for_attempt(self, text: str) -> None:
        """Let the token of an attempt that an earlier server started be good again, if it is one of ours."""
        signed, _, signature = text.partition(".")
        if signature and hmac.compare_digest(signature, self._sign(signed)):
            claims = json.loads(_decode(signed))
            self._tokens[_digest(text)] = _attempt_token(claims)

    def find(self, text: str) -> Token | None:
        """Return what is known of a token, ``None`` when it was never issued, is revoked or has expired."""
        token = self._tokens.get(_digest(text))
        if token is not None and token.expires_s is not None and token.expires_s <= time.time():
            return None
        return token

    def revoke(self, text: str) -> None:
        """End a token; it is no error when there is none."""
        digest = _digest(text)
        token = self._tokens.pop(digest, None)
        if token is not None and token.kind != ATTEMPT:
            self._connection.execute("DELETE FROM tokens WHERE digest = ?", (digest,))

    def revoke_logins(self, user: str) -> None:
        """End the tokens that logins gave a user; those of applications stay good."""
        self._revoke_where(lambda token: token.user == user and token.kind == USER)

    def _revoke_where(self, condition: Callable[[Token], bool]) -> None:
        ended = [digest for digest, token in self._tokens.items() if condition(token)]
        self._connection.executemany("DELETE FROM tokens WHERE digest = ?", [(digest,) for digest in ended])
        for digest in ended:
            del self._tokens[digest]

    def texts(self, user: str) -> list[str]:
        """Return the valid tokens of a user: those of logins and applications, oldest first."""
        now = time.time()
        mine = [
            token
            for token in self._tokens.values()
            if token.user == user
            and token.kind in (USER, APPLICATION)
            and (token.expires_s is None or token.expires_s > now)
        ]
        return [self.text_of(token) for token in sorted(mine, key=lambda token: token.issued_s)]

    def text_of(self, token: Token) -> str:
        """Return a token's text: a signed JWT whose key id makes each one different."""
        header = {"alg": "HS256", "typ": "JWT", "kid": token.nonce}
        signed = f"{_encode(header)}.{_encode(token.payload())}"
        return f"{signed}.{self._sign(signed)}"

    def _sign(self, text: str) -> str:
        return _base64(hmac.digest(self._key, text.encode(), "sha256"))

    # --- the file ------------------------------------------------------------------------------
    def _load_key(self) -> bytes:
        self._connection.execute(
            "INSERT OR IGNORE INTO settings VALUES ('signing_key', ?)", (secrets.token_hex(32),)
        )
        row = self._connection.execute("SELECT value FROM settings WHERE name = 'signing_key'").fetchone()
        return bytes.fromhex(row[0])

    def _add_later_columns(self) -> None:
        known = {row[1] for row in self._connection.execute("PRAGMA table_info(accounts)")}
        for name, kind in _LATER_COLUMNS.items():
            if name not in known:
                self._connection.execute(f"ALTER TABLE accounts ADD COLUMN {name} {kind}")

    def _load_accounts(self) -> dict[str, Account]:
        rows = self._connection.execute(
            "SELECT name, generated_password, password_hash, admin, email, grouplist, extension FROM accounts"
        )
        return {
            name: Account(
                name=name,
                groups=_groups(groups, admin=bool(admin)),
                email=email,
                extension=json.loads(extension or "{}"),
                generated_password=generated,
                password_hash=hashed,
            )
            for name, generated, hashed, admin, email, groups, extension in rows
        }

    def _load_tokens(self) -> dict[bytes, Token]:
        self._connection.execute("DELETE FROM tokens WHERE expires_s <= ?", (int(time.time()),))
        rows = self._connection.execute("SELECT digest, user, kind, nonce, issued_s, expires_s FROM tokens")
        return {
            digest: Token(user=user, kind=kind, nonce=nonce, issued_s=issued, expires_s=expires)
            for digest, user, kind, nonce, issued, expires in rows
        }

    def _save_token(self, text: str, token: Token) -> None:
        digest = _digest(text)
        self._connection.execute(
            "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?)",
            (digest, token.user, token.kind, token.nonce, token.issued_s, token.expires_s),
        )
        self._tokens[digest] = token


def _groups(stored: str | None, *, admin: bool) -> tuple[str, ...]:
    """Return the groups of an account; version 0.1 knew only whether it is an admin's."""
    if stored is not None:
        return tuple(json.loads(stored))
    return (DEFAULT_GROUP, ADMIN_GROUP) if admin else (DEFAULT_GROUP,)


def _attempt_token(claims: dict[str, Any]) -> Token:
    return Token(
        user=claims["user"],
        kind=ATTEMPT,
        nonce=claims["nonce"],
        issued_s=int(time.time()),
        path_prefix=claims["path"],
        readable=tuple(claims.get("readable", ())),
    )


def read_claims(text: str) -> dict[str, Any]:
    """Return what a token says of itself, believed or not; nothing when it is no token."""
    try:
        _, signed, _ = text.split(".")
        claims = json.loads(_decode(signed))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())
