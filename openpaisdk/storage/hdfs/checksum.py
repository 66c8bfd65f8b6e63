# SPDX-License-Identifier: MIT
"""HDFS's file checksum, computed here: MD5 over the MD5 of each block over the CRC of each 512 bytes.

https://hadoop.apache.org/docs/r3.4.1/hadoop-project-dist/hadoop-hdfs/WebHDFS.html#Get_File_Checksum
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from itertools import starmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Crc = Callable[[bytes], int]


def find_crc(*, is_crc32c: bool) -> Crc | None:
    """Return what computes CRC32C, or CRC32; ``None`` when no package that does is there (extra ``fast``)."""
    if not is_crc32c:
        return zlib.crc32
    try:
        from google_crc32c import implementation, value
    except ImportError:
        pass
    else:
        if implementation == "c":
            found: Crc = value
            return found
    try:
        from crc32c import crc32c
    except ImportError:
        return None
    other: Crc = crc32c
    return other


class FileChecksum:
    """What ``GETFILECHECKSUM`` answers: ``MD5-of-<chunks in a block>MD5-of-<bytes of a chunk>CRC32C``."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.algorithm = str(answer.get("algorithm", ""))
        data = bytes.fromhex(str(answer.get("bytes", "")))
        self.is_known = self.algorithm.startswith("MD5-of-") and len(data) >= 28
        self.chunk_bytes, self.chunks_in_block = struct.unpack(">iq", data[:12]) if self.is_known else (0, 0)
        self.md5 = data[12:28]

    def make_digest(self) -> HadoopDigest | None:
        """Return what computes such a checksum, or ``None`` where no package here can."""
        crc = find_crc(is_crc32c=self.algorithm.endswith("CRC32C"))
        if crc is None or self.chunk_bytes <= 0:
            return None
        # a file of one block does not say how large a block is
        chunks_in_block = self.chunks_in_block or 1 << 50
        return HadoopDigest(crc, self.chunk_bytes * chunks_in_block, self.chunk_bytes)

    def __repr__(self) -> str:
        return f"<FileChecksum {self.algorithm} {self.md5.hex()}>"


class HadoopDigest:
    """Computes the checksum of a file as its bytes pass by.

    Args:
        crc: CRC32C of some bytes.
        block_bytes: Size of the blocks that the file is stored in; a multiple of ``chunk_bytes``.
        chunk_bytes: How many bytes share a CRC.
    """

    def __init__(self, crc: Crc, block_bytes: int, chunk_bytes: int = 512) -> None:
        self._crc = crc
        self.chunk_bytes = chunk_bytes
        self._block_bytes = block_bytes
        self._chunks = struct.Struct(f"{chunk_bytes}s").iter_unpack
        self._of_block = hashlib.md5(usedforsecurity=False)
        self._in_block = 0
        self._of_file = hashlib.md5(usedforsecurity=False)
        self._blocks = 0
        self._rest = b""
        self.size = 0

    def update(self, data: memoryview) -> None:
        """Take the next bytes of the file."""
        self.size += len(data)
        if self._rest:
            wanted = self.chunk_bytes - len(self._rest)
            self._rest += bytes(data[:wanted])
            data = data[wanted:]
            if len(self._rest) < self.chunk_bytes:
                return
            self.add(self.crcs(memoryview(self._rest)))
            self._rest = b""
        whole = len(data) - len(data) % self.chunk_bytes
        self.add(self.crcs(data[:whole]))
        self._rest = bytes(data[whole:])

    def crcs(self, data: memoryview) -> array[int]:
        """Return what ``add`` takes of some bytes, which begin with a chunk and end with one, or the file.

        Several threads may compute them, of different places.
        """
        whole = len(data) - len(data) % self.chunk_bytes
        found = array("I", starmap(self._crc, self._chunks(data[:whole])))
        if whole < len(data):
            found.append(self._crc(bytes(data[whole:])))
        found.byteswap()  # Hadoop writes the high byte first
        return found

    def add(self, crcs: array[int]) -> None:
        """Take the next bytes of the file, of which the CRCs are known."""
        view, start = memoryview(crcs), 0
        while start < len(view):
            left = (self._block_bytes - self._in_block) // self.chunk_bytes
            self._of_block.update(view[start : start + left])
            taken = min(left, len(view) - start)
            self._in_block += taken * self.chunk_bytes
            if self._in_block == self._block_bytes:
                self._end_block()
            start += taken

    def matches(self, found: FileChecksum) -> bool | None:
        """Tell whether the file has this checksum; ``None`` when it was computed in another way."""
        md5 = self._finish()
        is_crc32c = found.algorithm.endswith("CRC32C")
        if is_crc32c == (self._crc is zlib.crc32) or found.chunk_bytes != self.chunk_bytes:
            return None
        in_block = self._block_bytes // self.chunk_bytes
        if self._blocks > 1 and found.chunks_in_block != in_block:
            return None
        return md5 == found.md5

    def copy(self) -> HadoopDigest:
        """Return another digest that has seen the same."""
        other = HadoopDigest(self._crc, self._block_bytes, self.chunk_bytes)
        other.take(self)
        return other

    def take(self, other: HadoopDigest) -> None:
        """Have seen what ``other`` has seen, and nothing else."""
        self._of_block, self._of_file = other._of_block.copy(), other._of_file.copy()
        self._in_block, self._blocks = other._in_block, other._blocks
        self._rest, self.size = other._rest, other.size

    def _end_block(self) -> None:
        self._of_file.update(self._of_block.digest())
        self._of_block = hashlib.md5(usedforsecurity=False)
        self._in_block = 0
        self._blocks += 1

    def _finish(self) -> bytes:
        if self._rest:
            self.add(self.crcs(memoryview(self._rest)))
            self._rest = b""
        if self._in_block:
            self._end_block()
        # Hadoop digests the buffer that holds the MD5s: 32 bytes, doubled until they fit, zeros behind.
        capacity = 32
        while capacity < 16 * self._blocks:
            capacity *= 2
        self._of_file.update(bytes(capacity - 16 * self._blocks))
        return self._of_file.digest()
