# SPDX-License-Identifier: MIT
"""Virtual clusters, instance types and storages (rest-api-v2 §6, §9)."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.access.auth import Identity, must_be_admin
from openpaisdk.local.access.groups import DEFAULT_GROUP
from openpaisdk.local.api import bodies, replies
from openpaisdk.local.api.shapes import read_shape
from openpaisdk.local.api_error import ApiError, forbidden, invalid_parameters
from openpaisdk.local.routing import ApiRoute, JsonReply
from openpaisdk.local.services import Services

_NAME = re.compile(r"[A-Za-z0-9_]+")
_NOTHING = (0, 0, 0)


class ClusterRoutes:
    """Answers about what the machine has to give."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._auth = services.auth

    def routes(self) -> list[ApiRoute]:
        """Return the routes."""
        return [
            ApiRoute("GET", "/api/v2/virtual-clusters", self.virtual_clusters),
            ApiRoute("GET", "/api/v2/virtual-clusters/{name}", self.virtual_cluster),
            ApiRoute("PUT", "/api/v2/virtual-clusters/{name}", self.set_virtual_cluster),
            ApiRoute("DELETE", "/api/v2/virtual-clusters/{name}", self.delete_virtual_cluster),
            ApiRoute("PUT", "/api/v2/virtual-clusters/{name}/status", self.set_status),
            ApiRoute("GET", "/api/v2/cluster/sku-types", self.sku_types),
            ApiRoute("GET", "/api/v2/storages", self.storages),
            ApiRoute("GET", "/api/v2/storages/{name}", self.storage),
            ApiRoute("GET", "/api/v2/storage/config", self.old_storages),
            ApiRoute("GET", "/api/v2/storage/config/{name}", self.storage),
            ApiRoute("GET", "/api/v2/storage/server", self.old_storages),
            ApiRoute("GET", "/api/v2/storage/server/{name}", self.storage),
        ]

    async def virtual_clusters(self, request: Request) -> Response:
        """List the virtual clusters, or with ``?nodes`` the GPUs of the one node there is."""
        self._auth.any_token(request)
        if "nodes" in request.query_params:
            return JsonReply({replies.NODE_NAME: self._node()})
        return JsonReply(self._replies())

    async def virtual_cluster(self, request: Request) -> Response:
        """Show one virtual cluster."""
        self._auth.any_token(request)
        name = self._checked_name(request)
        found = self._replies().get(name)
        if found is None:
            raise ApiError(404, "NoVirtualClusterError", f"Vc {name} not found")
        return JsonReply(found)

    async def set_virtual_cluster(self, request: Request) -> Response:
        """Refuse to make or change one: shares are declared when the server starts."""
        identity = self._changer(request)
        await read_shape(request, bodies.VIRTUAL_CLUSTER)
        raise _not_implemented(identity, "updateVc")

    async def delete_virtual_cluster(self, request: Request) -> Response:
        """Refuse to remove one."""
        raise _not_implemented(self._changer(request), "removeVc")

    async def set_status(self, request: Request) -> Response:
        """Refuse to stop or start one."""
        identity = self._changer(request)
        status = (await read_shape(request, bodies.VIRTUAL_CLUSTER_STATUS))["vcStatus"]
        raise _not_implemented(identity, "stopVc" if status == "stopped" else "activeVc")

    def _changer(self, request: Request) -> Identity:
        """Return who wants to change a virtual cluster; nobody may change ``default``."""
        identity = self._auth.user_token(request)
        if self._checked_name(request) == DEFAULT_GROUP:
            raise forbidden("Update operation to default vc isn't allowed")
        return identity

    async def sku_types(self, request: Request) -> Response:
        """List instance types, which only clusters with hived have."""
        self._auth.any_token(request)
        name = request.query_params.get("vc")
        if name and name not in self._services.virtual_clusters():
            raise ApiError(404, "NoVirtualClusterError", f"Cannot get sku types for virtual clyster {name}.")
        return JsonReply({})

    async def storages(self, request: Request) -> Response:
        """List storages to mount, of which there are none; files go through WebHDFS."""
        self._auth.any_token(request)
        return JsonReply({"storages": []})

    async def old_storages(self, request: Request) -> Response:
        """List storages as releases before 1.3 showed them."""
        self._auth.any_token(request)
        return JsonReply([])

    async def storage(self, request: Request) -> Response:
        """Say that there is no such storage."""
        self._auth.any_token(request)
        raise ApiError(404, "NoStorageError", f"Storage {request.path_params['name']} is not found.")

    def _checked_name(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if not _NAME.fullmatch(name):
            raise invalid_parameters("VC name should only contain alpha-numeric and underscore characters")
        return name

    def _replies(self) -> dict[str, dict[str, object]]:
        usage = self._services.scheduler.usage()
        gpus = len(self._services.machine.gpus)
        return {
            name: replies.virtual_cluster(total, usage.get(name, _NOTHING), gpus)
            for name, total in self._services.virtual_clusters().items()
        }

    def _node(self) -> dict[str, int]:
        total = len(self._services.machine.gpus)
        used = sum(gpu for _, gpu, _ in self._services.scheduler.usage().values())
        return {"gpuUsed": used, "gpuAvailable": total - used, "gpuTotal": total}


def _not_implemented(identity: Identity, what: str) -> ApiError:
    must_be_admin(identity)
    return ApiError(400, "NotImplementedError", f"{what} not implemented in k8s")
