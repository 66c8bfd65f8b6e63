# SPDX-License-Identifier: MIT
"""Groups of users: shown to everybody, changed by admins (rest-api-v2 §8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.access.auth import must_be_admin
from openpaisdk.local.access.groups import ADMIN_GROUP, Group
from openpaisdk.local.api import bodies, replies
from openpaisdk.local.api.shapes import Patch, ProblemError, Shape, read_shape
from openpaisdk.local.api_error import ApiError, forbidden, invalid_parameters
from openpaisdk.local.routing import ApiRoute, JsonReply
from openpaisdk.local.services import Services


class GroupRoutes:
    """Answers about groups, and changes them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._accounts = services.accounts
        self._groups = services.accounts.groups
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes; ``/group`` is another name of ``/groups``."""
        found = []
        for base in ("/api/v2/groups", "/api/v2/group"):
            group = f"{base}/{{name}}"
            found += [
                ApiRoute("GET", base, self.groups),
                ApiRoute("POST", base, self.create),
                ApiRoute("PUT", base, self.update),
                ApiRoute("GET", group, self.group),
                ApiRoute("DELETE", group, self.delete),
                ApiRoute("GET", f"{group}/userlist", self.users),
                ApiRoute("PUT", f"{group}/extension", self.set_extension),
                ApiRoute("PUT", f"{group}/extension/{{keys:path}}", self.set_extension_value),
                ApiRoute("PUT", f"{group}/description", self.set_description),
                ApiRoute("PUT", f"{group}/externalname", self.set_external_name),
            ]
        return found

    # --- look ----------------------------------------------------------------------------------
    async def groups(self, request: Request) -> Response:
        """List all groups."""
        self._auth.any_token(request)
        return JsonReply([replies.group(group) for group in self._groups.all()])

    async def group(self, request: Request) -> Response:
        """Show one group."""
        self._auth.any_token(request)
        return JsonReply(replies.group(self._named(request)))

    async def users(self, request: Request) -> Response:
        """List who is in a group; a group that is not there has nobody."""
        self._auth.admin(request)
        name = request.path_params["name"]
        members = [account for account in self._accounts.accounts() if name in account.groups]
        return JsonReply(
            [
                {"username": account.name, "clusterAdmin": self._accounts.is_admin(account)}
                for account in members
            ]
        )

    # --- change --------------------------------------------------------------------------------
    async def create(self, request: Request) -> Response:
        """Make a group."""
        values = await self._admins_values(request, bodies.CREATE_GROUP)
        name = values["groupname"]
        if self._groups.get(name) is not None:
            raise invalid_parameters(f"Group {name} already exists.")
        self._save(Group(name=name), values)
        return JsonReply({"message": "group is created successfully"}, 201)

    async def update(self, request: Request) -> Response:
        """Change a group; with ``patch`` only what is given, its extension key by key."""
        values = await self._admins_values(request, bodies.UPDATE_GROUP)
        data = values["data"]
        group = self._known(data["groupname"])
        if values.get("patch") and "extension" in data:
            data = {**data, "extension": {**group.extension, **data["extension"]}}
        self._save(group, data)
        return JsonReply({"message": f"update group {group.name} successfully."}, 201)

    async def delete(self, request: Request) -> Response:
        """Remove a group."""
        must_be_admin(self._auth.user_token(request))
        group = self._named(request)
        if group.name == ADMIN_GROUP or group.name in self._services.virtual_clusters():
            raise forbidden(f"Group {group.name} is needed by this cluster and cannot be removed.")
        self._accounts.delete_group(group.name)
        return JsonReply({"message": "group is removed successfully"})

    async def set_extension(self, request: Request) -> Response:
        """Change a group's extension, key by key."""
        values = await self._admins_values(request, bodies.GROUP_EXTENSION)
        group = self._named(request)
        self._save(group, {"extension": {**group.extension, **values["extension"]}})
        return JsonReply({"message": "update group extension data successfully."}, 201)

    async def set_extension_value(self, request: Request) -> Response:
        """Change one value somewhere in a group's extension."""
        values = await self._admins_values(request, bodies.EXTENSION_VALUE)
        group = self._named(request)
        keys = request.path_params["keys"].split("/")
        self._save(group, {"extension": _with_value(group.extension, keys, values["data"])})
        return JsonReply({"message": "Update group extension data successfully."}, 201)

    async def set_description(self, request: Request) -> Response:
        """Change a group's description."""
        values = await self._admins_values(request, bodies.GROUP_DESCRIPTION)
        self._save(self._named(request), {"description": values.get("description", "")})
        return JsonReply({"message": "update group description data successfully."}, 201)

    async def set_external_name(self, request: Request) -> Response:
        """Change what a group is called elsewhere."""
        values = await self._admins_values(request, bodies.GROUP_EXTERNAL_NAME)
        self._save(self._named(request), {"externalName": values.get("externalName", "")})
        return JsonReply({"message": "update group externalNameData data successfully."}, 201)

    # --- what several need -----------------------------------------------------------------------
    async def _admins_values(self, request: Request, shape: Shape | Patch) -> dict[str, Any]:
        identity = self._auth.user_token(request)
        values = await read_shape(request, shape)
        must_be_admin(identity)
        return values

    def _named(self, request: Request) -> Group:
        return self._known(request.path_params["name"])

    def _known(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            raise ApiError(400, "NoGroupError", f"Group {name} is not found.")
        return group

    def _save(self, group: Group, values: dict[str, Any]) -> None:
        """Keep a group with some values changed; rights that are not told are none."""
        extension = {**values.get("extension", group.extension)}
        try:
            bodies.GROUP_EXTENSION.read({"extension": extension})
        except ProblemError as exc:
            raise invalid_parameters(str(exc)) from None
        extension["acls"] = {"virtualClusters": [], "admin": False, **extension.get("acls", {})}
        if group.name == ADMIN_GROUP and not extension["acls"]["admin"]:
            raise forbidden(f"Members of {ADMIN_GROUP} are admins of this cluster.")
        changed = replace(
            group,
            description=values.get("description", group.description),
            external_name=values.get("externalName", group.external_name),
            extension=extension,
        )
        self._groups.save(changed)


def _with_value(value: Any, keys: list[str], wanted: Any) -> dict[str, Any]:
    """Return an object with one value in it, or in objects below it, replaced."""
    key, *below = keys
    inner = value if isinstance(value, dict) else {}
    return {**inner, key: _with_value(inner.get(key), below, wanted) if below else wanted}
