# SPDX-License-Identifier: MIT
"""How much uploads may take of the disk: never its last bytes, which jobs, logs and the database need."""

from __future__ import annotations

import os

from openpaisdk.local.files.hdfs_errors import RemoteError

RESERVE_BYTES = 512 * 1024**2
RESERVE_SHARE = 0.05
"""Of a small disk, this share is left free instead."""
_LOOK_EVERY_BYTES = 16 * 1024**2


class Room:
    """Watches the free space of the disk that one upload is written to.

    Args:
        descriptor: The file that is written.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left = 0
        """So much more may come before the next look."""

    def take(self, size: int) -> None:
        """Take room for bytes that are about to be written.

        Raises:
            RemoteError: Too little would be left on the disk.
        """
        self._left -= size
        if self._left >= 0:
            return
        found = os.fstatvfs(self._descriptor)
        reserve = min(RESERVE_BYTES, int(found.f_blocks * found.f_frsize * RESERVE_SHARE))
        free = found.f_bavail * found.f_frsize - reserve
        if size > free:
            raise RemoteError(
                "IOException", "the disk of the embedded cluster is full: nothing more is taken"
            )
        self._left = min(_LOOK_EVERY_BYTES, free - size)
