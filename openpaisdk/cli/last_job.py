# SPDX-License-Identifier: MIT
"""Which job was submitted last from a directory, kept in the ``.openpai`` folder of the project."""

from __future__ import annotations

import os

from openpaisdk._files import read_json, replace_json
from openpaisdk.constants import LAST_JOB_FILE
from openpaisdk.errors import ConfigError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.cli.command import Context

DIRECTORIES_KEPT = 100


def remember(context: Context, submitted: dict[str, Any]) -> None:
    """Keep name, user and cluster of a job that was just submitted; only a warning when that fails."""
    path, directory = _place(context)
    if not _is_ours(os.path.dirname(path)):
        return
    job = {key: submitted[key] for key in ("name", "user", "cluster")}
    try:
        known = _load(path)
        known.pop(directory, None)
        known[directory] = job
        replace_json(path, {"directories": dict(list(known.items())[-DIRECTORIES_KEPT:])})
    except ConfigError as exc:
        context.warn(f"this directory's last job was not noted: {exc.message}")


def recall(context: Context) -> dict[str, Any]:
    """Return name, user and cluster of the job that was submitted last from the working directory.

    Raises:
        UsageError: None was.
    """
    path, directory = _place(context)
    job = _load(path).get(directory) if _is_ours(os.path.dirname(path)) else None
    if not isinstance(job, dict):
        raise UsageError(
            "no job was submitted from this directory", hint="name one with -j; `opai job list` shows them"
        )
    return job


def _is_ours(folder: str) -> bool:
    """Return whether what another user has put there is out of the question."""
    try:
        return not hasattr(os, "geteuid") or os.lstat(folder).st_uid == os.geteuid()
    except OSError:
        return True


def _place(context: Context) -> tuple[str, str]:
    """Return the file, and the working directory as seen from the project."""
    folder = context.settings.project_folder()
    return os.path.join(folder, LAST_JOB_FILE), os.path.relpath(os.getcwd(), os.path.dirname(folder))


def _load(path: str) -> dict[str, Any]:
    content = read_json(path, default={})
    known = content.get("directories") if isinstance(content, dict) else None
    return known if isinstance(known, dict) else {}
