# SPDX-License-Identifier: MIT
"""Small files of settings: where they are, how they are read, and replaced without being half-written."""

from __future__ import annotations

import contextlib
import json
import os

from openpaisdk.constants import HOME_FOLDER, HOME_VARIABLE, LOCAL_FOLDER
from openpaisdk.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def home_folder() -> str:
    """Return the folder of the user's settings: ``$OPENPAI_HOME``, else ``~/.openpai``."""
    return os.environ.get(HOME_VARIABLE) or os.path.join(os.path.expanduser("~"), HOME_FOLDER)


def local_folder() -> str:
    """Return the folder of the embedded cluster, below the home folder."""
    return os.path.join(home_folder(), LOCAL_FOLDER)


def read_json(path: str, *, default: Any = None) -> Any:
    """Return the value in a JSON file, or ``default`` when there is no such file.

    Raises:
        ConfigError: The file is not JSON, or cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return default
    except ValueError as exc:
        raise ConfigError(f"{path!r} is not valid JSON: {exc}", hint="mend the file or move it away") from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {path!r}: {exc.strerror}") from exc


def replace_file(path: str, content: bytes, *, mode: int = 0o644) -> None:
    """Put ``content`` into place at ``path`` in one step; readers see the old file or the new one, whole.

    Raises:
        ConfigError: The folder cannot be made, or the file cannot be written.
    """
    folder = os.path.dirname(path) or "."
    aside = f"{path}.{os.getpid()}.part"
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(aside, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise ConfigError(f"cannot write {path!r}: {exc.strerror}") from exc


def replace_json(path: str, value: Any, *, mode: int = 0o644) -> None:
    """Put ``value`` as indented JSON into place at ``path``, as ``replace_file`` does."""
    replace_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(), mode=mode)


def sync_folder(folder: str) -> None:
    """Bring the entries of a folder to the disk, so that files made in it outlive the machine's end."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_entries(path: str) -> None:
    """Bring the entry of a file to the disk, and those of the folders above it that are ours."""
    folder = os.path.dirname(os.path.abspath(path))
    above = ""
    while folder != above and os.stat(folder).st_uid == os.getuid():
        sync_folder(folder)
        folder, above = os.path.dirname(folder), folder
