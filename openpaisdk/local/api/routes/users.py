# SPDX-License-Identifier: MIT
"""Users: shown to everybody, changed by admins and in part by themselves (rest-api-v2 §7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.access.auth import Identity, must_be_admin
from openpaisdk.local.access.groups import ADMIN_GROUP, DEFAULT_GROUP
from openpaisdk.local.access.passwords import hash_password
from openpaisdk.local.access.users import Account
from openpaisdk.local.api import bodies, replies
from openpaisdk.local.api.shapes import Patch, Shape, read_shape
from openpaisdk.local.api_error import ApiError, forbidden
from openpaisdk.local.routing import ApiRoute, JsonReply
from openpaisdk.local.services import Services


class UserRoutes:
    """Answers about users, and changes them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._accounts = services.accounts
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes; ``/user`` is another name of ``/users``."""
        found = [ApiRoute("GET", "/api/v1/user/{name}", self.user)]
        for base in ("/api/v2/users", "/api/v2/user"):
            user = f"{base}/{{name}}"
            found += [
                ApiRoute("GET", base, self.users),
                ApiRoute("POST", base, self.create),
                ApiRoute("PUT", base, self.update),
                ApiRoute("PUT", f"{base}/me", self.update_me),
                ApiRoute("GET", user, self.user),
                ApiRoute("DELETE", user, self.delete),
                ApiRoute("PUT", f"{user}/extension", self.set_extension),
                ApiRoute("PUT", f"{user}/email", self.set_email),
                ApiRoute("PUT", f"{user}/password", self.set_password),
                ApiRoute("PUT", f"{user}/admin", self.set_admin),
                ApiRoute("PUT", f"{user}/virtualcluster", self.set_virtual_clusters),
                ApiRoute("PUT", f"{user}/grouplist", self.set_groups),
                ApiRoute("PUT", f"{user}/group", self.add_group),
                ApiRoute("DELETE", f"{user}/group", self.remove_group),
            ]
        return found

    # --- look ----------------------------------------------------------------------------------
    async def users(self, request: Request) -> Response:
        """List all users."""
        viewer = self._auth.any_token(request).user
        return JsonReply([self._reply(account, viewer) for account in self._accounts.accounts()])

    async def user(self, request: Request) -> Response:
        """Show one user; ``me`` is the sender, when nobody is called so."""
        viewer = self._auth.any_token(request).user
        name = request.path_params["name"]
        account = self._accounts.account(name)
        if account is None and name == "me":
            account = self._accounts.account(viewer)
        if account is None:
            raise ApiError(400, "NoUserError", f"User {name} is not found.")
        return JsonReply(self._reply(account, viewer))

    def _reply(self, account: Account, viewer: str) -> dict[str, Any]:
        groups = self._accounts.groups.of(account.groups)
        return replies.user(
            account,
            admin=self._accounts.is_admin(account),
            virtual_clusters=self._accounts.virtual_clusters(account, self._services.virtual_clusters()),
            storages=list(dict.fromkeys(name for group in groups for name in group.storage_configs)),
            with_private_parts=account.name == viewer,
        )

    # --- create and delete ---------------------------------------------------------------------
    async def create(self, request: Request) -> Response:
        """Add a user."""
        values = await self._admins_values(request, bodies.CREATE_USER)
        wanted = values.get("virtualCluster", [])
        if any(self._accounts.groups.get(name) is None for name in wanted):
            raise ApiError(404, "NoGroupError", f"No groups for vc: {','.join(wanted)}")
        groups = self._groups_of_virtual_clusters(wanted)
        name = values["username"]
        hashed = await _hashed(values["password"])
        if self._accounts.account(name) is not None:
            raise ApiError(409, "ConflictUserError", f"User name {name} already exists.")
        account = Account(
            name=name,
            groups=_with_admin(groups, values.get("admin", False)),
            email=values.get("email", ""),
            extension=values.get("extension", {}),
            password_hash=hashed,
        )
        self._accounts.save_account(account)
        return _created("User is created successfully")

    async def delete(self, request: Request) -> Response:
        """Remove a user; what he has submitted stays."""
        must_be_admin(self._auth.user_token(request))
        account = self._named(request)
        if self._accounts.is_admin(account):
            raise ApiError(403, "RemoveAdminError", f"Admin {account.name} is not allowed to remove.")
        self._accounts.delete_account(account.name)
        self._services.sessions.forget(account.name)
        return JsonReply({"message": "user is removed successfully"})

    # --- change --------------------------------------------------------------------------------
    async def update(self, request: Request) -> Response:
        """Change a user, or with ``patch`` a part of him."""
        data = (await self._admins_values(request, bodies.UPDATE_USER))["data"]
        hashed = await _hashed(data["password"]) if "password" in data else None
        account = self._known(data["username"])
        if "virtualCluster" in data:
            groups = self._checked_virtual_clusters(data["virtualCluster"])
            account = replace(account, groups=groups)
        if "admin" in data:
            account = self._with_admin(account, data["admin"])
        account = _with_profile(account, data)
        self._save(account, password_hash=hashed)
        return _created(f"Update user {account.name} successfully")

    async def update_me(self, request: Request) -> Response:
        """Change e-mail and extension of the sender; like the real server it ignores ``newPassword``."""
        identity = self._auth.user_token(request)
        data = (await read_shape(request, bodies.UPDATE_ME))["data"]
        if data["username"] != identity.user:
            raise forbidden("Can't update other user's data")
        self._save(_with_profile(self._known(identity.user), data))
        return _created(f"Update user {identity.user} successfully")

    async def set_extension(self, request: Request) -> Response:
        """Change a user's extension, key by key."""
        identity, values = await self._values(request, bodies.USER_EXTENSION)
        self._check_self_or_admin(identity, request, "Non-admin is not allow to do this operation.")
        self._save(_with_profile(self._named(request), values))
        return _created("Update user extension data successfully.")

    async def set_email(self, request: Request) -> Response:
        """Change a user's e-mail address."""
        identity, values = await self._values(request, bodies.USER_EMAIL)
        self._check_self_or_admin(identity, request, "Pls input the correct password.")
        self._save(_with_profile(self._named(request), {"email": values.get("email", "")}))
        return _created("Update user email data successfully.")

    async def set_password(self, request: Request) -> Response:
        """Change a user's password, which ends his logins; an admin need not know the old one."""
        identity, values = await self._values(request, bodies.USER_PASSWORD)
        account = self._named(request)
        wrong = "Pls input the correct password."
        self._check_self_or_admin(identity, request, wrong)
        if not identity.admin:
            old = values.get("oldPassword", "")
            async with self._services.guesses.turn(account.name):
                fits = await asyncio.to_thread(self._accounts.password_fits, account, old)
                self._services.guesses.note(account.name, fits=fits)
            if not fits:
                raise forbidden(wrong)
        hashed = await _hashed(values["newPassword"])
        if not identity.admin and not self._accounts.has_password_of(account):
            raise forbidden(wrong)
        self._save(self._named(request), password_hash=hashed)
        return _created("update user password successfully.")

    async def set_admin(self, request: Request) -> Response:
        """Make a user an admin, or make him none."""
        values = await self._admins_values(request, bodies.USER_ADMIN)
        self._save(self._with_admin(self._named(request), values["admin"]))
        return _created("Update user admin permission successfully.")

    async def set_virtual_clusters(self, request: Request) -> Response:
        """Say which virtual clusters a user may use beside ``default``."""
        values = await self._admins_values(request, bodies.USER_VIRTUAL_CLUSTERS)
        groups = self._checked_virtual_clusters(values["virtualCluster"])
        account = self._named(request)
        if self._accounts.is_admin(account):
            raise forbidden("Admin's virtual clusters cannot be updated.")
        self._save(replace(account, groups=groups))
        return _created("Update user virtualCluster data successfully.")

    async def set_groups(self, request: Request) -> Response:
        """Put a user into these groups and no others."""
        values = await self._admins_values(request, bodies.USER_GROUPS)
        account = self._named(request)
        groups = tuple(dict.fromkeys(values["grouplist"]))
        missing = [name for name in groups if self._accounts.groups.get(name) is None]
        if missing:
            raise ApiError(404, "NoGroupError", f"Updated nonexistent grouplist: {','.join(missing)}")
        self._save(replace(account, groups=groups))
        return _created("update user grouplist successfully.")

    async def add_group(self, request: Request) -> Response:
        """Put a user into a group."""
        name = (await self._admins_values(request, bodies.USER_GROUP))["groupname"]
        if self._accounts.groups.get(name) is None:
            raise ApiError(404, "NoGroupError", f"Updated nonexistent group: {name}")
        account = self._named(request)
        self._save(replace(account, groups=tuple(dict.fromkeys([*account.groups, name]))))
        return _created(f"User {account.name} is added into group {name}")

    async def remove_group(self, request: Request) -> Response:
        """Take a user out of a group; it is no error when he is not in it."""
        name = (await self._admins_values(request, bodies.USER_GROUP))["groupname"]
        account = self._named(request)
        groups = tuple(group for group in account.groups if group != name)
        self._save(replace(account, groups=groups))
        return _created(f"User {account.name} is removed from group {name}")

    # --- what several need -----------------------------------------------------------------------
    async def _values(self, request: Request, shape: Shape | Patch) -> tuple[Identity, dict[str, Any]]:
        identity = self._auth.user_token(request)
        return identity, await read_shape(request, shape)

    async def _admins_values(self, request: Request, shape: Shape | Patch) -> dict[str, Any]:
        """Return the body of an admin's request; the real server looks at the body first."""
        identity, values = await self._values(request, shape)
        must_be_admin(identity)
        return values

    def _check_self_or_admin(self, identity: Identity, request: Request, message: str) -> None:
        if not identity.may_change(request.path_params["name"]):
            raise forbidden(message)

    def _named(self, request: Request) -> Account:
        return self._known(request.path_params["name"])

    def _known(self, name: str) -> Account:
        account = self._accounts.account(name)
        if account is None:
            raise ApiError(404, "NoUserError", f"User {name} not found.")
        return account

    def _groups_of_virtual_clusters(self, names: list[str]) -> tuple[str, ...]:
        """Return the groups that let a user use these virtual clusters.

        Raises:
            ApiError: 400, one of them is none.
        """
        groups = self._accounts.groups
        found = [name for name in names if (group := groups.get(name)) and group.is_of_virtual_cluster]
        if len(found) < len(names):
            message = f"Try to update: {','.join(names)}, but found {','.join(found)}"
            raise ApiError(400, "NoVirtualClusterError", message)
        return tuple(dict.fromkeys([*found, DEFAULT_GROUP]))

    def _checked_virtual_clusters(self, names: list[str]) -> tuple[str, ...]:
        if any(self._accounts.groups.get(name) is None for name in names):
            raise ApiError(400, "NoVirtualClusterError", f"Try to update nonexist: {','.join(names)}")
        return self._groups_of_virtual_clusters(names)

    def _with_admin(self, account: Account, admin: bool) -> Account:
        if admin:
            is_admin = self._accounts.is_admin(account)
            return account if is_admin else replace(account, groups=_with_admin(account.groups, True))
        groups = self._accounts.groups.of(account.groups)
        return replace(account, groups=tuple(group.name for group in groups if not group.admin))

    def _save(self, account: Account, *, password_hash: str | None = None) -> None:
        """Keep a changed account; a new password ends the user's logins.

        Nothing is awaited between reading an account and keeping it: a change in between would be lost.
        """
        if account.name == self._services.owner and not self._accounts.is_admin(account):
            raise forbidden(f"User {account.name} runs this cluster and stays an admin of it.")
        if password_hash is not None:
            account = replace(account, generated_password=None, password_hash=password_hash)
            self._accounts.revoke_logins(account.name)
            self._services.sessions.forget(account.name)
        self._accounts.save_account(account)


async def _hashed(password: str) -> str:
    return await asyncio.to_thread(hash_password, password)


def _with_admin(groups: tuple[str, ...], admin: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*groups, ADMIN_GROUP])) if admin else groups


def _with_profile(account: Account, values: dict[str, Any]) -> Account:
    """Return the account with another e-mail address, and an extension changed key by key."""
    return replace(
        account,
        email=values.get("email", account.email),
        extension={**account.extension, **values.get("extension", {})},
    )


def _created(message: str) -> JsonReply:
    return JsonReply({"message": message}, 201)
