# SPDX-License-Identifier: MIT
"""What the exit code of ``opai`` means; the only place where errors are turned into numbers."""

from __future__ import annotations

from openpaisdk import errors

DONE = 0
FAILED = 1
USAGE = 2
JOB_DID_NOT_SUCCEED = 3
NOT_ALLOWED = 4
NOT_FOUND = 5
EXISTS = 6
BUG = 70
INTERRUPTED = 130

_OF_ERROR: dict[type[BaseException], int] = {
    errors.UsageError: USAGE,
    errors.UnknownSettingError: USAGE,
    errors.AuthenticationError: NOT_ALLOWED,
    errors.PermissionDeniedError: NOT_ALLOWED,
    errors.StoragePermissionError: NOT_ALLOWED,
    errors.UnknownClusterError: NOT_FOUND,
    errors.UnknownStorageError: NOT_FOUND,
    errors.JobNotFoundError: NOT_FOUND,
    errors.StorageNotFoundError: NOT_FOUND,
    errors.JobExistsError: EXISTS,
    errors.StorageExistsError: EXISTS,
    errors.OpenPaiError: FAILED,
    KeyboardInterrupt: INTERRUPTED,
}


def exit_code_of(error: BaseException) -> int:
    """Return the exit code for an error; one that is none of ours is a bug."""
    for kind in type(error).__mro__:
        if kind in _OF_ERROR:
            return _OF_ERROR[kind]
    return BUG


def of_state(state: str | None) -> int:
    """Return the exit code for a job that was waited for; ``None`` when nobody waited."""
    return DONE if state in (None, "SUCCEEDED") else JOB_DID_NOT_SUCCEED
