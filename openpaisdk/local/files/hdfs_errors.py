# SPDX-License-Identifier: MIT
"""Refusals of the storage, worded as Hadoop words them, because its clients read them."""

from __future__ import annotations

import errno

from openpaisdk.errors import LocalClusterError

_JAVA_PACKAGES = {
    "FileNotFoundException": "java.io",
    "IOException": "java.io",
    "IllegalArgumentException": "java.lang",
    "SecurityException": "java.lang",
    "UnsupportedOperationException": "java.lang",
    "RuntimeException": "java.lang",
    "AccessControlException": "org.apache.hadoop.security",
    "AclException": "org.apache.hadoop.hdfs.protocol",
    "FileAlreadyExistsException": "org.apache.hadoop.fs",
    "HadoopIllegalArgumentException": "org.apache.hadoop",
    "ParentNotDirectoryException": "org.apache.hadoop.fs",
    "PathComponentTooLongException": "org.apache.hadoop.hdfs.protocol.FSLimitException$",
    "PathIsNotEmptyDirectoryException": "org.apache.hadoop.fs",
    "SnapshotException": "org.apache.hadoop.hdfs.protocol",
}
_STATUSES = {
    "FileNotFoundException": 404,
    "SecurityException": 401,
    "IllegalArgumentException": 400,
    "HadoopIllegalArgumentException": 400,
    "UnsupportedOperationException": 400,
    "RuntimeException": 500,
}
"""Every other exception is an ``IOException`` and answered by 403, as Hadoop does."""


class RemoteError(LocalClusterError):
    """An operation on the storage was refused.

    Args:
        exception: Name of Hadoop's exception.
        message: What it says.
    """

    def __init__(self, exception: str, message: str) -> None:
        super().__init__(message)
        self.exception = exception

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return _STATUSES.get(self.exception, 403)

    def body(self) -> dict[str, dict[str, str]]:
        """Return the JSON body."""
        package = _JAVA_PACKAGES[self.exception]
        between = "" if package.endswith("$") else "."  # a class within a class
        return {
            "RemoteException": {
                "exception": self.exception,
                "javaClassName": f"{package}{between}{self.exception}",
                "message": self.message,
            }
        }


def not_found(path: str) -> RemoteError:
    """Return the refusal for a path that is not there."""
    return RemoteError("FileNotFoundException", f"File does not exist: {path}")


def denied(path: str) -> RemoteError:
    """Return the refusal for a path that this token does not open."""
    return RemoteError("AccessControlException", f"Permission denied: {path}")


def illegal(message: str) -> RemoteError:
    """Return the refusal of a parameter or path that makes no sense."""
    return RemoteError("IllegalArgumentException", message)


def from_os_error(error: OSError, path: str) -> RemoteError:
    """Return what Hadoop would say of a failed system call."""
    if error.errno == errno.ENOENT:
        return not_found(path)
    if error.errno == errno.ENOTDIR:
        return RemoteError("ParentNotDirectoryException", f"Parent path is not a directory: {path}")
    if error.errno == errno.EEXIST:
        return RemoteError("FileAlreadyExistsException", f"{path} already exists")
    if error.errno in (errno.EACCES, errno.EPERM):
        return denied(path)
    if error.errno == errno.ENAMETOOLONG:
        return RemoteError("PathComponentTooLongException", f"The name is too long: {path}")
    return RemoteError("IOException", f"{error.strerror}: {path}")
