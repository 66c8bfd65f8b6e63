# SPDX-License-Identifier: MIT
"""Stores what a task leaves behind: the files that its job names, and all that is in its output folder."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator, Sequence

from openpaisdk.constants import RUNTIME_FOLDER


def has_outputs(folder: str, names: Sequence[str]) -> bool:
    """Whether there can be anything to store."""
    return bool(names) or has_entries(folder)


def has_entries(folder: str) -> bool:
    """Whether there is anything in a folder, which a task may also have removed."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False


def store_outputs(work: str, output: str, names: Sequence[str], target: str) -> list[str]:
    """Copy a task's outputs to its job's folder on storage, each put into place in one step.

    Args:
        work: Folder where the command ran; ``names`` are relative to it and may hold wildcards.
        output: Folder whose whole contents are outputs.
        names: Files and folders that the job declared.
        target: Folder to store into, made when there is anything to store.

    Returns:
        A line for each declared name that could not be stored.
    """
    complaints = []
    for name in names:
        found = _find(work, name)
        if not found:
            complaints.append(f"output {name!r} is not there")
        for relative in found:
            complaints += _store(work, relative, target)
    for entry in sorted(os.listdir(output)) if os.path.isdir(output) else ():
        complaints += _store(output, entry, target)
    return complaints


def _find(work: str, name: str) -> list[str]:
    if _leaves(name):
        return []
    if any(character in name for character in "*?["):
        found = glob.glob(name, root_dir=work, recursive=True)
        return sorted(path for path in found if path.split(os.sep)[0] != RUNTIME_FOLDER)
    return [name] if os.path.lexists(os.path.join(work, name)) else []


def _leaves(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return os.path.isabs(name) or ".." in parts


def _store(root: str, relative: str, target: str) -> list[str]:
    complaints = []
    for path, name in _files(root, os.path.normpath(relative)):
        if not os.path.realpath(path).startswith(os.path.realpath(root) + os.sep):
            complaints.append(f"output {name!r} is a link that leads out of the task's folder")
            continue
        if not os.path.isfile(path):
            complaints.append(f"output {name!r} is no file")
            continue
        place = os.path.join(target, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        aside = f"{place}.part-{os.getpid()}"
        shutil.copyfile(path, aside)
        os.replace(aside, place)
    return complaints


def _files(root: str, relative: str) -> Iterator[tuple[str, str]]:
    """Yield the files below a path; not by recursion, which Python bounds and tasks do not."""
    waiting = [relative]
    while waiting:
        name = waiting.pop()
        path = os.path.join(root, name)
        if os.path.islink(path) or not os.path.isdir(path):
            yield path, name
        else:
            waiting += [os.path.join(name, below) for below in sorted(os.listdir(path), reverse=True)]
