# SPDX-License-Identifier: MIT
"""Every error this package raises on purpose, in one tree.

    OpenPaiError (.hint)
    ├─ UsageError
    ├─ ConfigError
    │  ├─ UnknownClusterError
    │  ├─ UnknownStorageError
    │  └─ UnknownSettingError
    ├─ SpecError (.problems)
    ├─ SourceError
    ├─ ClusterError (.method .url .status .code)
    │  ├─ ClusterConnectionError
    │  ├─ AuthenticationError
    │  ├─ PermissionDeniedError
    │  ├─ JobNotFoundError
    │  ├─ JobExistsError
    │  └─ RateLimitError (.retry_after_s)
    ├─ StorageError
    │  ├─ StorageNotFoundError (also FileNotFoundError)
    │  ├─ StorageExistsError (also FileExistsError)
    │  ├─ StoragePermissionError (also PermissionError)
    │  ├─ StorageIsFolderError (also IsADirectoryError)
    │  ├─ StorageNotFolderError (also NotADirectoryError)
    │  ├─ StorageNotEmptyError
    │  ├─ StorageFullError
    │  ├─ StorageSafeModeError
    │  ├─ StorageMismatchError
    │  ├─ StorageUnavailableError
    │  └─ TransferError (.failures)
    ├─ JobError
    │  └─ WaitTimeoutError (also TimeoutError; .last)
    ├─ LocalClusterError
    └─ MissingExtraError (also ImportError; .extra)

A message says what, where and what was wanted: lower case, no full stop. The next step goes into ``hint``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class OpenPaiError(Exception):
    """Root of the tree; ``hint`` is the next step for the user, or ``None``."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """Name of the kind of error without ``Error``, as ``-o json`` shows it."""
        return type(self).__name__.removesuffix("Error")


class UsageError(OpenPaiError):
    """The words of a command, or the arguments of a call, do not make sense."""


class ConfigError(OpenPaiError):
    """A settings or clusters file is missing something or cannot be read."""


class UnknownClusterError(ConfigError):
    """No cluster is known under this alias."""


class UnknownStorageError(ConfigError):
    """The cluster has no storage of this alias."""


class UnknownSettingError(ConfigError):
    """No setting has this name."""


class SpecError(OpenPaiError):
    """A job document is not valid.

    ``problems`` holds every problem as a dict of ``severity``, ``path``, ``message``, ``hint``, ``file``,
    ``line`` and ``column`` (line and column from 1, or ``None``).
    """

    def __init__(
        self, message: str, *, problems: Sequence[Mapping[str, Any]] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = [dict(problem) for problem in problems]


class SourceError(OpenPaiError):
    """The files of a job cannot be packed, or an archive cannot be unpacked safely."""


class ClusterError(OpenPaiError):
    """A cluster answered with an error; ``server_code`` is its own code, where it sent one."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        method: str | None = None,
        url: str | None = None,
        status: int | None = None,
        server_code: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.method = method
        self.url = url
        self.status = status
        self.server_code = server_code


class ClusterConnectionError(ClusterError):
    """The cluster could not be reached, or the connection broke."""


class AuthenticationError(ClusterError):
    """Not logged in, wrong password, or a token that is not valid any more."""


class PermissionDeniedError(ClusterError):
    """The user is known but may not do this."""


class JobNotFoundError(ClusterError):
    """The cluster has no job of this name for this user."""


class JobExistsError(ClusterError):
    """The user already has a job of this name; names are never free again."""


class RateLimitError(ClusterError):
    """The cluster asks to wait longer than this call is willing to."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class StorageError(OpenPaiError):
    """A storage did not do what was asked."""


class StorageNotFoundError(StorageError, FileNotFoundError):
    """No file or folder of this name on the storage."""


class StorageExistsError(StorageError, FileExistsError):
    """There is a file or folder of this name already."""


class StoragePermissionError(StorageError, PermissionError):
    """The storage does not let this user do that."""


class StorageIsFolderError(StorageError, IsADirectoryError):
    """There is a folder where a file was meant."""


class StorageNotFolderError(StorageError, NotADirectoryError):
    """There is a file where a folder was meant."""


class StorageNotEmptyError(StorageError):
    """The folder holds something, and may only be deleted with it when that is said."""


class StorageFullError(StorageError):
    """A quota or a disk has no room for that."""


class StorageSafeModeError(StorageError):
    """The storage can be read only for now."""


class StorageMismatchError(StorageError):
    """What arrived is not what was sent; it was not put in place."""


class StorageUnavailableError(StorageError):
    """The storage, or a part of it, does not answer; what was asked may be asked again."""


class TransferError(StorageError):
    """Some files of a folder were not transferred; ``failures`` has a pair of path and error for each."""

    def __init__(
        self, message: str, *, failures: Sequence[tuple[str, OpenPaiError]] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.failures = list(failures)


class JobError(OpenPaiError):
    """Something about a job that is not the cluster's fault."""


class WaitTimeoutError(JobError, TimeoutError):
    """Waiting took longer than asked; ``last`` is what was seen last."""

    def __init__(self, message: str, *, last: Any = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.last = last


class LocalClusterError(OpenPaiError):
    """The embedded cluster cannot start, stop or answer."""


class MissingExtraError(OpenPaiError, ImportError):
    """A feature needs packages that are not installed; ``extra`` names the pip extra that has them."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed", hint=f"pip install 'openpaisdk[{extra}]'"
        )
        self.extra = extra
