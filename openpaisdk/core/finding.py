# SPDX-License-Identifier: MIT
"""Finding a cluster: among those of the user, in a file, or in the environment of a job."""

from __future__ import annotations

from openpaisdk.constants import (
    CLUSTER_TOKEN_VARIABLE,
    CLUSTER_URI_VARIABLE,
    LOCAL_ALIAS,
    TOKEN_FILE_VARIABLE,
    WORKSPACE_VARIABLE,
)
from openpaisdk.errors import ConfigError
from openpaisdk.http.urls import is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def find_cluster(alias: str | None, path: str | None = None) -> dict[str, Any]:
    """Return what a ``Cluster`` is made from for an alias, in the file ``path`` or among the user's own.

    Left out, the alias is the one of the settings (not for a file), else that of the only cluster defined,
    else the embedded one's.

    Raises:
        UnknownClusterError: No cluster has this alias.
        ConfigError: None was named and several are defined, or a file is damaged.
    """
    from openpaisdk.config.clusters import ClusterBook

    book = ClusterBook.load(path)
    if alias is None and path is None:
        from openpaisdk.config.settings import Settings

        alias = Settings.load().get("cluster-alias")
    alias = book.choose(alias)
    entry = book.get(alias)
    uri = entry.get("pai_uri")
    if not uri and (alias != LOCAL_ALIAS or set(entry) - {"storages"}):
        raise ConfigError(f"cluster {alias!r} has no pai_uri", hint=f"add one to its entry in {book.path!r}")
    user = entry.get("user")
    if user is None and entry.get("passwd"):
        from openpaisdk.config.settings import Settings

        user = Settings.load().get("user")
    return {
        "pai_uri": uri,
        "alias": alias,
        "user": user,
        "password": entry.get("passwd"),
        "token": entry.get("token"),
        "hdfs_web_uri": entry.get("hdfs_web_uri"),
        "verify": entry.get("verify", True),
        "storages": entry.get("storages"),
        "workspace": entry.get("workspace"),
    }


def find_own_cluster(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what a ``Cluster`` is made from for the cluster that a job with these variables runs on.

    Raises:
        ConfigError: The environment does not name a cluster.
    """
    uri = variables.get(CLUSTER_URI_VARIABLE)
    alias = "" if uri else LOCAL_ALIAS
    workspace = None
    scheme, _, place = variables.get(WORKSPACE_VARIABLE, "").partition("://")
    host, slash, path = place.partition("/")
    if slash:
        workspace = "/" + path.rpartition("/jobs/")[0]
    address = host.rpartition("@")[2]
    if not uri and scheme == "webhdfs" and is_loopback(address.partition(":")[0]):
        # The embedded cluster serves storage and API at one address.
        uri = f"http://{address}"
    if not uri:
        raise ConfigError(
            f"no cluster is named in the environment ({CLUSTER_URI_VARIABLE} is not set)",
            hint="outside of jobs use from_alias; a job must have been submitted by this package",
        )
    token = variables.get(CLUSTER_TOKEN_VARIABLE)
    if not token and variables.get(TOKEN_FILE_VARIABLE):
        token = _read_token(variables[TOKEN_FILE_VARIABLE])
    return {
        "pai_uri": uri,
        "alias": alias,
        "user": variables.get("PAI_USER_NAME") or variables.get("PAI_USERNAME"),
        "token": token,
        "workspace": workspace,
    }


def _read_token(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, ValueError):
        return None
