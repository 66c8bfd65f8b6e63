# SPDX-License-Identifier: MIT
"""Which implementation serves which scheme of an address.

Another package adds one by an entry point of the group ``openpaisdk.storages``, whose name is the scheme.
"""

from __future__ import annotations

import importlib

from openpaisdk.errors import ConfigError, MissingExtraError, UsageError
from openpaisdk.storage.hdfs.addresses import WEB_SCHEMES, split_uri, web_addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk._secret import Secret
    from openpaisdk.storage.base import Storage

ENTRY_POINTS = "openpaisdk.storages"
_HDFS = "openpaisdk.storage.hdfs.storage:HdfsStorage"
_FSSPEC = "openpaisdk.storage.fsspec:FsspecStorage"
_SFTP = "openpaisdk.storage.sftp:SftpStorage"
_OBJECTS = "openpaisdk.storage.objects:ObjectStorage"
_BUILT_IN = {
    **dict.fromkeys(WEB_SCHEMES, _HDFS),
    **dict.fromkeys(("sftp", "ssh"), _SFTP),
    **dict.fromkeys(("abfs", "abfss", "az", "gcs", "gs", "oss", "s3"), _OBJECTS),
    "file": "openpaisdk.storage.local:FileStorage",
    "memory": _FSSPEC,
}
_EXTRAS = {"abfs": "abfs", "abfss": "abfs", "az": "abfs", "gcs": "gs", "gs": "gs", "oss": "oss", "s3": "s3"}
_EXTRAS |= {"sftp": "sftp", "ssh": "sftp"}
"""Scheme -> the extra of this package that has what it needs."""


class Registry:
    """A table of schemes; the implementation is loaded when an address of its scheme is opened."""

    def __init__(self) -> None:
        self._targets = dict(_BUILT_IN)

    def register(self, scheme: str, target: str, *, replace: bool = False) -> None:
        """Let ``module:Class`` serve a scheme; it is called with the address and the options of ``open``.

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
        **options: Any,
    ) -> Storage:
        """Return the storage at an address.

        Args:
            uri: The address; a user in it is preferred to ``user``.
            user: Whom to act as.
            token: What lets this user in.
            verify: Whether certificates are checked, or the path of a CA bundle.
            options: What the implementation takes beyond that, such as ``data_nodes`` and ``kerberos``.

        Raises:
            UsageError: Nothing serves this scheme.
            MissingExtraError: The packages for it are not installed.
        """
        scheme, separator, _ = uri.partition("://")
        target = (self._targets.get(scheme) or _from_entry_points(scheme)) if separator else None
        if target is None:
            known = ", ".join(f"{name}://" for name in sorted(self._targets))
            raise UsageError(f"{uri!r} is not the address of a storage (known: {known})")
        if target in (_FSSPEC, _OBJECTS, _SFTP):
            options.setdefault("extra", _EXTRAS.get(scheme, "fsspec"))
        module, _, name = target.partition(":")
        try:
            opened: Any = getattr(importlib.import_module(module), name)
        except ImportError as exc:
            raise MissingExtraError(f"storage {scheme}://", extra=_EXTRAS.get(scheme, "fsspec")) from exc
        try:
            storage: Storage = opened(uri, user=user, token=token, verify=verify, **options)
        except TypeError as exc:
            raise ConfigError(f"storage {uri!r} has an option that it does not take: {exc}") from exc
        return storage


def check_uri(uri: str) -> None:
    """Raise ``UsageError`` when nothing serves an address, without opening it."""
    scheme, separator, rest = uri.partition("://")
    if not separator or not rest or (scheme not in _BUILT_IN and _from_entry_points(scheme) is None):
        known = ", ".join(f"{name}://" for name in sorted(_BUILT_IN))
        raise UsageError(f"{uri!r} is not the address of a storage (known: {known})")
    if scheme in WEB_SCHEMES:
        web_addresses(uri)


def _from_entry_points(scheme: str) -> str | None:
    from importlib.metadata import entry_points

    for found in entry_points(group=ENTRY_POINTS, name=scheme):
        return str(found.value)
    return None


def open_storage(
    uri: str,
    *,
    user: str | None = None,
    token: Secret | None = None,
    verify: bool | str = True,
    **options: Any,
) -> Storage:
    """Return the storage at an address, as ``Registry.open`` does."""
    return Registry().open(uri, user=user, token=token, verify=verify, **options)


__all__ = ["ENTRY_POINTS", "Registry", "open_storage", "split_uri"]
