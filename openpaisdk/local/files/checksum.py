# SPDX-License-Identifier: MIT
"""The checksum of a file as HDFS defines it, so that clients verify here as they do there.

It is the MD5 of the MD5s of all blocks, each over the CRCs of its 512-byte chunks. Of the two CRCs that HDFS
knows ours is CRC32, because the standard library computes it at the speed of the machine; CRC32C would need
another package. A client reads from the answer which one it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from array import array
from zlib import crc32

from openpaisdk.local.files.storage_tree import BLOCK_SIZE

CHUNK_BYTES = 512
_PIECE_BYTES = 1024**2
_BUFFER_BYTES = 32
_KEPT = 1000
_SETTLED_NS = 2 * 10**9


def file_checksum(descriptor: int) -> dict[str, object]:
    """Return the ``FileChecksum`` of an open file."""
    blocks: list[bytes] = []
    while digest := _block(descriptor, len(blocks) * BLOCK_SIZE):
        blocks.append(digest)
    chunk_bytes = CHUNK_BYTES if blocks else 0
    whole = hashlib.md5(_padded(b"".join(blocks)), usedforsecurity=False)
    per_block = BLOCK_SIZE // CHUNK_BYTES if len(blocks) > 1 else 0
    value = chunk_bytes.to_bytes(4, "big") + per_block.to_bytes(8, "big") + whole.digest()
    return {
        "algorithm": f"MD5-of-{per_block}MD5-of-{chunk_bytes}CRC32",
        "bytes": (value + bytes(4)).hex(),  # Hadoop sends its whole buffer, of which 28 bytes count
        "length": len(value),
    }


def _padded(digests: bytes) -> bytes:
    """Return what HDFS takes the last MD5 of: its buffer to the end, which begins at 32 bytes and doubles."""
    size = _BUFFER_BYTES
    while size < len(digests):
        size *= 2
    return digests.ljust(size, b"\0")


def _block(descriptor: int, start: int) -> bytes:
    """Return the MD5 of a block; nothing when the file ends before it."""
    digest = hashlib.md5(usedforsecurity=False)
    position = start
    while position < start + BLOCK_SIZE:
        piece = os.pread(descriptor, _PIECE_BYTES, position)
        if not piece:
            break
        view = memoryview(piece)
        checks = array("I", [crc32(view[at : at + CHUNK_BYTES]) for at in range(0, len(piece), CHUNK_BYTES)])
        if sys.byteorder == "little":
            checks.byteswap()
        digest.update(checks)
        position += len(piece)
    return digest.digest() if position > start else b""


class Checksums:
    """Remembers checksums of files that have not changed since."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], dict[str, object]] = {}

    async def of(self, descriptor: int) -> dict[str, object]:
        """Return the ``FileChecksum`` of an open file, and close it."""
        try:
            found = os.fstat(descriptor)
            key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            checksum = self._known.get(key)
            if checksum is None:
                checksum = await asyncio.to_thread(file_checksum, descriptor)
                # A change within the clock's tick would not be seen; what is older is kept.
                if time.time_ns() - found.st_ctime_ns > _SETTLED_NS and os.fstat(descriptor) == found:
                    self._keep(key, checksum)
            return checksum
        finally:
            os.close(descriptor)

    def _keep(self, key: tuple[int, ...], checksum: dict[str, object]) -> None:
        while len(self._known) >= _KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = checksum
