# SPDX-License-Identifier: MIT
"""What transfers have left aside that nobody took up again, and removing it.

Only names that transfers make count. All that one transfer leaves goes by one name, the parts of a large file
with a number behind it, and is as old as the youngest of it: what is being sent, or was a short while ago and
may be taken up, stays.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress

from openpaisdk.errors import StorageNotFolderError, StorageNotFoundError, StoragePermissionError, UsageError
from openpaisdk.storage.paths import ASIDE_PREFIX, checked, join, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openpaisdk.storage.base import FileInfo, FileInfos, Storage

    Note = Callable[[str], object]

_NAME = re.compile(rf"({re.escape(ASIDE_PREFIX)}[0-9a-f]{{20}})((?:\.\d+)?\.\d{{5,}})?")
_LEAST_AGE_S = 24 * 3600
"""Of a file that is being written HDFS shows when it was begun, so a short age would not tell it apart."""
_USUAL_AGE_S = 7 * _LEAST_AGE_S


def delete_left_overs(
    storage: Storage,
    folder: str,
    *,
    older_than_s: float | None = None,
    on_note: Note | None = None,
    now_s: float | None = None,
) -> FileInfos:
    """Delete what is older in a folder and all folders below it; see ``Storage.delete_left_overs``.

    Args:
        now_s: The moment to count from, in seconds since 1970; ``None``: now.
    """
    age_s = _USUAL_AGE_S if older_than_s is None else older_than_s
    if age_s < _LEAST_AGE_S:
        raise UsageError(
            "left-overs of the last 24 hours may be taken up again", hint="wait for a day at least"
        )
    if storage.status(folder)["type"] != "directory":
        raise StorageNotFolderError(f"{folder!r} is a file, a folder was expected")
    note = on_note or (lambda _: None)
    transfers: dict[str, FileInfos] = {}
    for name, info in _find(storage, checked(folder), note):
        transfers.setdefault(name, []).append(info)
    limit = moment(((time.time() if now_s is None else now_s) - age_s) * 1000)
    deleted: FileInfos = []
    kept = 0
    for left in transfers.values():
        if all((info["modified_at"] or "9") < limit for info in left):
            deleted += [info for info in left if _delete(storage, info["name"])]
        else:
            kept += len(left)
    note(f"{len(deleted)} left over and deleted, {kept} younger ones stay")
    return sorted(deleted, key=lambda info: info["name"])


def _find(storage: Storage, folder: str, note: Note) -> Iterator[tuple[str, FileInfo]]:
    """Give the name that a transfer goes by, with what it left: path, size of all, and the last change."""
    waiting = [folder]
    while waiting:
        above = waiting.pop()
        try:
            for info in storage._entries(above):
                path = join(above, info["name"])
                match = _NAME.fullmatch(info["name"])
                if match is not None:
                    size, last = _measure(storage, path, info)
                    yield match[1], {**info, "name": path, "size_bytes": size, "modified_at": last}
                elif info["type"] == "directory" and not storage._is_link(path):
                    waiting.append(path)
        except StoragePermissionError as exc:
            note(f"not looked into: {exc.message}")
        except StorageNotFoundError:
            continue  # gone meanwhile


def _measure(storage: Storage, path: str, info: FileInfo) -> tuple[int, str | None]:
    """Return the size of a file or of all in a folder, and the last change, ``None`` where none is known."""
    if info["type"] == "file" or storage._is_link(path):
        return info["size_bytes"], info["modified_at"]
    below = [_measure(storage, join(path, one["name"]), one) for one in storage._entries(path)]
    moments = [last for last in (info["modified_at"], *(last for _, last in below)) if last is not None]
    return sum(size for size, _ in below), max(moments, default=None)


def _delete(storage: Storage, path: str) -> bool:
    with suppress(StorageNotFoundError):
        storage.delete(path, recursive=True)
        return True
    return False
