# SPDX-License-Identifier: MIT
"""Which storage of a cluster is meant."""

from __future__ import annotations

from contextlib import suppress

from openpaisdk.constants import HDFS_HINT
from openpaisdk.errors import ConfigError, UnknownStorageError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_URI_KEYS = ("web_hdfs_uri", "hdfs_web_uri", "uri")
_OPTION_KEYS = ("user", "token", "verify", "kerberos", "proxy_user", "data_nodes", "options")
"""What an entry may say beside its address; handed on to the storage."""
HDFS_ALIAS = "hdfs"
"""How the cluster's own ``hdfs_web_uri`` is listed."""


def find_storage(
    storages: Mapping[str, Any], alias: str | None, *, hdfs_web_uri: str | None, cluster: str
) -> tuple[str, dict[str, Any]]:
    """Return address and options of a storage; by default the one marked so, else WebHDFS, else the only one.

    Args:
        storages: The cluster's further storages by alias.
        alias: The storage that is wanted.
        hdfs_web_uri: Address of the cluster's WebHDFS.
        cluster: The cluster's alias, for messages.

    Raises:
        UnknownStorageError: There is no such storage.
        ConfigError: None is known, or its entry is damaged.
    """
    entries = _entries(storages)
    if alias is not None:
        if alias not in entries and alias == HDFS_ALIAS and hdfs_web_uri:
            return hdfs_web_uri, {}
        if alias not in entries:
            known = ", ".join(entries) or "none"
            raise UnknownStorageError(
                f"cluster {cluster!r} has no storage {alias!r} (known: {known})",
                hint="opai cluster attach-hdfs adds one; opai storage list-storage shows those there are",
            )
        return _address_and_options(entries[alias], alias)
    default = default_alias(storages, hdfs_web_uri=hdfs_web_uri)
    if default is None:
        raise ConfigError(f"no storage is known for cluster {cluster!r}", hint=HDFS_HINT)
    return find_storage(storages, default, hdfs_web_uri=hdfs_web_uri, cluster=cluster)


def default_alias(storages: Mapping[str, Any], *, hdfs_web_uri: str | None) -> str | None:
    """Return the alias of the storage that is meant when none is named, ``None`` when there is none."""
    marked = marked_alias(storages)
    if marked is not None:
        return marked
    if hdfs_web_uri:
        return HDFS_ALIAS
    entries = _entries(storages)
    return next(iter(entries)) if len(entries) == 1 else None


def marked_alias(storages: Mapping[str, Any]) -> str | None:
    """Return the alias of the storage that was made the default by ``attach-hdfs --default``."""
    return next((name for name, entry in _entries(storages).items() if entry.get("default")), None)


def place_of(uri: str) -> str:
    """Return what tells one storage from others, however its address is written, and whoever it names.

    Empty where an address names no host or bucket.
    """
    from openpaisdk.storage.hdfs.addresses import WEB_SCHEMES, task_address

    if uri.partition("://")[0] in WEB_SCHEMES:
        with suppress(UsageError):
            uri = task_address(uri)
    scheme, _, rest = uri.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    return f"{scheme}://{host}" if host else ""


def list_storages(storages: Mapping[str, Any], *, hdfs_web_uri: str | None) -> Iterator[dict[str, Any]]:
    """Give ``{"alias", "uri", "default"}`` of each storage."""
    default = default_alias(storages, hdfs_web_uri=hdfs_web_uri)
    entries = _entries(storages)
    if hdfs_web_uri and HDFS_ALIAS not in entries:
        yield {"alias": HDFS_ALIAS, "uri": hdfs_web_uri, "default": default == HDFS_ALIAS}
    for name, entry in entries.items():
        uri = next((entry[key] for key in _URI_KEYS if entry.get(key)), None)
        yield {"alias": name, "uri": uri, "default": name == default}


def _entries(storages: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: value for name, value in storages.items() if isinstance(value, dict)}


def _address_and_options(entry: dict[str, Any], alias: str) -> tuple[str, dict[str, Any]]:
    uri = next((entry[key] for key in _URI_KEYS if entry.get(key)), None)
    if not isinstance(uri, str):
        raise ConfigError(f"storage {alias!r} has no uri", hint=HDFS_HINT)
    return uri, {key: entry[key] for key in _OPTION_KEYS if entry.get(key) is not None}
