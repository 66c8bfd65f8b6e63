# SPDX-License-Identifier: MIT
"""Which storage of a cluster is meant."""

from __future__ import annotations

from openpaisdk.constants import HDFS_HINT
from openpaisdk.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def storage_uri(
    storages: Mapping[str, Any], alias: str | None, *, hdfs_web_uri: str | None, cluster: str
) -> str:
    """Return the address of a storage; by default the one marked so, else WebHDFS, else the only one.

    Args:
        storages: The cluster's further storages by alias.
        alias: The storage that is wanted.
        hdfs_web_uri: Address of the cluster's WebHDFS.
        cluster: The cluster's alias, for messages.

    Raises:
        ConfigError: There is no such storage.
    """
    entries = {name: value for name, value in storages.items() if isinstance(value, dict)}
    if alias is not None:
        if alias not in entries:
            known = ", ".join(entries) or "none"
            raise ConfigError(
                f"cluster {cluster!r} has no storage {alias!r} (known: {known})",
                hint="storages are in the cluster's entry of the clusters file, under 'storages'",
            )
        return _uri_of(entries[alias], alias)
    for name, entry in entries.items():
        if entry.get("default"):
            return _uri_of(entry, name)
    if hdfs_web_uri:
        return hdfs_web_uri
    if len(entries) == 1:
        name, entry = next(iter(entries.items()))
        return _uri_of(entry, name)
    raise ConfigError(
        f"no storage is known for cluster {cluster!r}",
        hint=HDFS_HINT,
    )


def _uri_of(entry: dict[str, Any], alias: str) -> str:
    uri = entry.get("web_hdfs_uri") or entry.get("hdfs_web_uri") or entry.get("uri")
    if not isinstance(uri, str):
        raise ConfigError(f"storage {alias!r} has no uri", hint=HDFS_HINT)
    return uri
