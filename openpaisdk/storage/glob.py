# SPDX-License-Identifier: MIT
"""Files of a storage by pattern: ``*``, ``?``, ``[…]`` match within a name, ``**`` any number of folders."""

from __future__ import annotations

from fnmatch import translate
from re import compile as compile_pattern

from openpaisdk.errors import StorageNotFoundError
from openpaisdk.storage.paths import checked, has_wildcards, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from openpaisdk.storage.base import FileInfo, Storage

    Found = list[tuple[str, FileInfo]]


def find(storage: Storage, pattern: str) -> tuple[str, Found]:
    """Return the folder above the first wildcard, and the matches as names relative to it, in order.

    Raises:
        StorageNotFoundError: Nothing matches.
    """
    parts = checked(pattern).split("/")[1:]
    first = next(place for place, part in enumerate(parts) if has_wildcards(part))
    folder = "/" + "/".join(parts[:first])
    try:
        found = sorted(_match(storage, folder, "", parts[first:]), key=lambda pair: pair[0])
    except StorageNotFoundError:
        found = []
    if not found:
        raise StorageNotFoundError(f"nothing on the storage matches {pattern!r}")
    return folder, found


def _match(storage: Storage, folder: str, below: str, parts: list[str]) -> Iterator[tuple[str, FileInfo]]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        if rest:
            yield from _match(storage, folder, below, rest)
        for info in storage._entries(join(folder, below) if below else folder):
            name = f"{below}/{info['name']}" if below else info["name"]
            if not rest:
                yield name, info
            if info["type"] == "directory":
                yield from _match(storage, folder, name, parts)
        return
    matches = compile_pattern(translate(part)).match
    for info in storage._entries(join(folder, below) if below else folder):
        if not matches(info["name"]) or (info["name"].startswith(".") and not part.startswith(".")):
            continue
        name = f"{below}/{info['name']}" if below else info["name"]
        if not rest:
            yield name, info
        elif info["type"] == "directory":
            yield from _match(storage, folder, name, rest)
