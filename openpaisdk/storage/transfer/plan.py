# SPDX-License-Identifier: MIT
"""What is in a folder, of this machine or of a storage, before it is moved."""

from __future__ import annotations

import os

from openpaisdk.errors import OpenPaiError, StorageError
from openpaisdk.storage.paths import ASIDE_PREFIX, base_name, join, safe_name
from openpaisdk.storage.transfer.content import local_content, remote_content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from openpaisdk.storage.base import Storage
    from openpaisdk.storage.transfer.content import Content


class Plan:
    """Files with their names relative to the folder, the folders in it, and what cannot be moved."""

    def __init__(self) -> None:
        self.files: list[tuple[Content, str]] = []
        self.folders: list[str] = []
        self.failures: list[tuple[str, OpenPaiError]] = []

    @property
    def size(self) -> int:
        """Length of all files together."""
        return sum(content.size for content, _ in self.files)

    def bare_folders(self) -> list[str]:
        """Return the folders that no file makes on its way."""
        made = {name.rpartition("/")[0] for _, name in self.files}
        made |= {name.rpartition("/")[0] for name in self.folders}
        return [name for name in self.folders if name not in made]

    def check_names(self, pattern: str) -> None:
        """Raise when files that a pattern matches would replace each other."""
        names = {name for _, name in self.files}
        if len(names) < len(self.files):
            raise StorageError(
                f"files that match {pattern!r} have the same name", hint="transfer their folder"
            )

    def add(self, other: Plan, folder: str) -> None:
        """Take in what is in another folder, under the name ``folder``."""
        self.folders += [folder, *(f"{folder}/{name}" for name in other.folders)]
        self.files += [(content, f"{folder}/{name}") for content, name in other.files]
        self.failures += other.failures


def local_plan(folder: str) -> Plan:
    """Return what is in a folder of this machine.

    Links are followed: what is stored is the file or folder that they lead to. One that leads back to a
    folder above itself, or nowhere, cannot be moved; neither can pipes and the like.
    """
    plan = Plan()
    _scan(plan, folder, "", ())
    return plan


def _scan(plan: Plan, folder: str, below: str, above: tuple[tuple[int, int], ...]) -> None:
    try:
        own = os.stat(folder)
        if (own.st_dev, own.st_ino) in above:
            raise StorageError(f"{folder!r} is a link that leads back to a folder above it")
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as exc:
        if isinstance(exc, OpenPaiError):
            raise
        plan.failures.append((folder, StorageError(f"cannot read {folder!r}: {exc.strerror}")))
        return
    except StorageError as exc:
        plan.failures.append((folder, exc))
        return
    for entry in found:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir():
            plan.folders.append(name)
            _scan(plan, entry.path, name, (*above, (own.st_dev, own.st_ino)))
        elif entry.is_file():
            _add_file(plan, entry.path, name)
        else:
            reason = "a link that leads nowhere" if entry.is_symlink() else "neither a file nor a folder"
            plan.failures.append((entry.path, StorageError(f"{entry.path!r} is {reason}")))


def _add_file(plan: Plan, path: str, name: str) -> None:
    try:
        plan.files.append((local_content(path), name))
    except StorageError as exc:
        plan.failures.append((path, exc))


def remote_plan(storage: Storage, folder: str) -> Plan:
    """Return what is in a folder of a storage; a name that would lead out of a folder cannot be moved.

    Raises:
        StorageNotFoundError: There is no such folder.
    """
    plan = Plan()
    _list(plan, storage, folder, "")
    return plan


def matching_plan(storage: Storage, pattern: str) -> Plan:
    """Return what a pattern matches on a storage, each under its own name.

    Raises:
        StorageNotFoundError: Nothing matches.
        StorageError: Two files would have one name.
    """
    from openpaisdk.storage.glob import find

    folder, found = find(storage, pattern)
    plan = Plan()
    for relative, info in found:
        path, name = join(folder, relative), base_name(relative)
        if info["type"] == "directory":
            plan.add(remote_plan(storage, path), name)
        else:
            plan.files.append((remote_content(storage, path, info), name))
    plan.check_names(pattern)
    return plan


def _list(plan: Plan, storage: Storage, folder: str, below: str) -> None:
    for info in sorted(storage._entries(folder), key=lambda item: item["name"]):
        name = info["name"]
        if name.startswith(ASIDE_PREFIX):
            continue
        try:
            safe_name(name)
        except StorageError as exc:
            plan.failures.append((join(folder, name), exc))
            continue
        path, relative = join(folder, name), f"{below}/{name}" if below else name
        if info["type"] == "directory":
            plan.folders.append(relative)
            _list(plan, storage, path, relative)
        else:
            plan.files.append((remote_content(storage, path, info), relative))
