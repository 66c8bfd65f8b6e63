# SPDX-License-Identifier: MIT
"""What a name node or data node refuses, turned into our errors."""

from __future__ import annotations

import json

from openpaisdk.errors import (
    StorageError,
    StorageExistsError,
    StorageFullError,
    StorageIsFolderError,
    StorageNotEmptyError,
    StorageNotFolderError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageSafeModeError,
    StorageUnavailableError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FULL = ("NSQuotaExceededException", "DSQuotaExceededException", "QuotaByStorageTypeExceededException")
_NOT_ALLOWED = ("AccessControlException", "SecurityException", "InvalidToken", "AuthorizationException")
_BUSY = ("RetriableException", "LeaseExpired")
_BEING_WRITTEN = ("AlreadyBeingCreatedException", "RecoveryInProgressException")
_GATEWAY_STATUSES = (429, 502, 503, 504)
_MESSAGE_LIMIT = 500


class BeingWrittenError(StorageUnavailableError):
    """A writer holds the file, or one that died held it: HDFS lets go of it after a minute, or when it is
    deleted.
    """


class StandbyError(StorageUnavailableError):
    """This name node is not the one that serves; another is."""


def storage_error(status: int, body: bytes, path: str) -> StorageError:
    """Return the error for an answer that is a refusal.

    Args:
        status: HTTP status.
        body: What the server said; a ``RemoteException`` in most cases.
        path: The path that was asked for.
    """
    name, message = _read(body)
    if name == "StandbyException" or ("Operation category" in message and "state standby" in message):
        return StandbyError(f"{path!r}: the name node is on standby")
    if "SafeMode" in name or "safe mode" in message:
        return StorageSafeModeError(
            f"{path!r}: the storage is in safe mode and can only be read",
            hint="it leaves that when enough data nodes are up, or when its administrator says so",
        )
    if name in _FULL or "QuotaExceeded" in name or ("quota" in message and "exceeded" in message):
        return StorageFullError(f"{path!r}: a quota of the storage is used up: {message}")
    if "No space left" in message or "not enough space" in message.lower():
        return StorageFullError(f"{path!r}: the storage has no room: {message}")
    for make in (_of_kind, _of_access):
        error = make(name, message, path)
        if error is not None:
            return error
    if status == 401:
        return StoragePermissionError(f"the storage wants to know who asks for {path!r}", hint=_LOGIN_HINT)
    if any(word in name for word in _BEING_WRITTEN):
        return BeingWrittenError(f"{path!r}: the storage is busy: {message or status}")
    if status in _GATEWAY_STATUSES or any(word in name for word in _BUSY):
        return StorageUnavailableError(f"{path!r}: the storage is busy: {message or status}")
    if "could only be written to 0 of" in message or "BlockMissing" in name or "ConnectException" in name:
        return StorageUnavailableError(f"{path!r}: no data node takes part: {message}")
    if "java.io.EOFException" in message or "java.net.ConnectException" in message:
        return StorageUnavailableError(f"{path!r}: a data node does not reach the name node: {message}")
    if status >= 500 and not name:
        return StorageUnavailableError(f"{path!r}: the storage failed with status {status}")
    return StorageError(f"{path!r}: the storage says: {message or status}")


_LOGIN_HINT = "a token, `kinit`, or the user in the address (webhdfs://alice@host:9870/…)"


def _of_kind(name: str, message: str, path: str) -> StorageError | None:
    if name == "FileNotFoundException":
        if "not a file" in message or "is a directory" in message:
            return StorageIsFolderError(f"{path!r} is a folder, a file was expected")
        return StorageNotFoundError(f"there is no {path!r} on the storage")
    if name == "FileAlreadyExistsException":
        if "as a directory" in message:
            return StorageIsFolderError(f"{path!r} is a folder, a file was expected")
        return StorageExistsError(f"{path!r} is on the storage already", hint="--overwrite replaces a file")
    if name == "ParentNotDirectoryException" or "is not a directory" in message:
        return StorageNotFolderError(f"{path!r}: a part of this path is a file, not a folder")
    if "NotEmpty" in name or "is non empty" in message:
        return StorageNotEmptyError(f"folder {path!r} is not empty", hint="-r deletes all that it holds")
    return None


def _of_access(name: str, message: str, path: str) -> StorageError | None:
    if name not in _NOT_ALLOWED and "Authentication" not in name:
        return None
    if "expired" in message or "InvalidToken" in name:
        return StoragePermissionError(f"the token for {path!r} is not valid", hint=_LOGIN_HINT)
    return StoragePermissionError(f"the storage does not let this user touch {path!r}")


def _read(body: bytes) -> tuple[str, str]:
    """Return name and first line of a ``RemoteException``; of anything else, nothing."""
    try:
        remote: Any = json.loads(body)["RemoteException"]
        name, message = str(remote["exception"]), str(remote.get("message") or "")
    except (ValueError, KeyError, TypeError):
        return "", ""
    lines = message.strip().splitlines()
    return name, lines[0][:_MESSAGE_LIMIT] if lines else ""
