# SPDX-License-Identifier: MIT
"""Which implementation serves which scheme of an address."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from openpaisdk.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from openpaisdk._secret import Secret
    from openpaisdk.storage.base import Storage

WEB_PORT = 9870
_WEB_SCHEMES = {"http": "http", "https": "https", "webhdfs": "http", "swebhdfs": "https", "hdfs": "http"}
_RPC_PORTS = ("8020", "9000")
_BUILT_IN = {
    "hdfs": "openpaisdk.storage.hdfs:HdfsStorage",
    "http": "openpaisdk.storage.hdfs:HdfsStorage",
    "https": "openpaisdk.storage.hdfs:HdfsStorage",
    "swebhdfs": "openpaisdk.storage.hdfs:HdfsStorage",
    "webhdfs": "openpaisdk.storage.hdfs:HdfsStorage",
}


class Registry:
    """A table of schemes; the implementation is loaded when an address of its scheme is opened."""

    def __init__(self) -> None:
        self._targets = dict(_BUILT_IN)

    def register(self, scheme: str, target: str, *, replace: bool = False) -> None:
        """Let ``module:Class`` serve a scheme; it is called with the address, user, token and verify.

        Raises:
            ConfigError: The scheme is served already, and ``replace`` is false.
        """
        if scheme in self._targets and not replace:
            raise ConfigError(
                f"storage scheme {scheme!r} is served already", hint="replace=True takes it over"
            )
        self._targets[scheme] = target

    def open(
        self,
        uri: str,
        *,
        user: str | None = None,
        token: Secret | None = None,
        verify: bool | str = True,
    ) -> Storage:
        """Return the storage at an address; a user in the address is preferred to ``user``.

        Raises:
            UsageError: Nothing serves this scheme.
        """
        scheme = uri.partition("://")[0]
        target = self._targets.get(scheme)
        if target is None or "://" not in uri:
            known = ", ".join(f"{name}://" for name in sorted(self._targets))
            raise UsageError(f"{uri!r} is not the address of a storage (known: {known})")
        address, named_user = web_address(uri) if scheme in _WEB_SCHEMES else (uri, None)
        module, _, name = target.partition(":")
        opened: Any = getattr(importlib.import_module(module), name)
        storage: Storage = opened(address, user=named_user or user, token=token, verify=verify)
        return storage


def open_storage(
    uri: str, *, user: str | None = None, token: Secret | None = None, verify: bool | str = True
) -> Storage:
    """Return the storage at an address, as ``Registry.open`` does."""
    return Registry().open(uri, user=user, token=token, verify=verify)


def split_uri(uri: str) -> tuple[str, str]:
    """Return the address of a storage and the path on it, from a full address of a file."""
    scheme, _, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority}", slash + path or "/"


def web_address(uri: str) -> tuple[str, str | None]:
    """Return the http address behind an address of WebHDFS or HDFS, and the user that it names.

    ``hdfs://`` addresses name the port of Hadoop's own protocol; the usual web port is taken instead.
    """
    scheme, _, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    user, _, host = authority.rpartition("@")
    if scheme == "hdfs":
        name, _, port = host.partition(":")
        host = f"{name}:{WEB_PORT}" if port in ("", *_RPC_PORTS) else host
    kept = slash + path if scheme in ("http", "https") else ""
    return f"{_WEB_SCHEMES[scheme]}://{host}{kept}", user or None
