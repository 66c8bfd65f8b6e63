# SPDX-License-Identifier: MIT
"""The archive of a job's sources: same content, same bytes.

Names are sorted, owners left out, moments fixed, modes brought down to two. The compressed bytes are those of
the usual zlib at level 1; an interpreter built on another deflate packs the same tar stream into other bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from openpaisdk.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

MOMENT = 315532800
"""Modification time of every member: 1980-01-01, the first that all archivers take without a warning."""
LEVEL = 1
"""Deflate level; higher ones take three times as long for a tenth of the size."""
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One thing to be packed: ``kind`` is ``file``, ``folder`` or ``link``."""

    name: str
    kind: str
    path: str
    size_bytes: int = 0
    target: str = ""


class Archive:
    """A packed archive in a temporary file, which is removed when the ``with`` block is left."""

    def __init__(self, path: str, digest: str, size_bytes: int) -> None:
        self.path = path
        self.digest = digest
        """SHA-256 of the file, in hexadecimal digits."""
        self.size_bytes = size_bytes

    def close(self) -> None:
        """Remove the temporary file and its folder."""
        if os.path.exists(self.path):
            os.unlink(self.path)
            os.rmdir(os.path.dirname(self.path))

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _GzipWriter:
    """Writes a gzip file with a header that is always the same, in constant memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._length = 0
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        # magic, deflate, no flags, no moment, fastest, unknown system
        self._out(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff")

    def write(self, data: bytes | memoryview) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        self._out(self._deflate.compress(data))

    def finish(self) -> str:
        """Write what is left and return the digest of the whole file."""
        self._out(self._deflate.flush())
        self._out(struct.pack("<LL", self._crc, self._length & 0xFFFFFFFF))
        return self._hash.hexdigest()

    def _out(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)


def pack(entries: Iterable[Entry]) -> Archive:
    """Pack ``entries``, in their order, into a temporary file.

    Raises:
        SourceError: A file cannot be read, or changes while it is read.
    """
    folder = tempfile.mkdtemp(prefix="openpaisdk-")
    path = os.path.join(folder, "sources.tar.gz")
    try:
        with open(path, "xb") as file:
            writer = _GzipWriter(file)
            buffer = bytearray(_PIECE)
            for entry in entries:
                _write_entry(writer, entry, buffer)
            writer.write(bytes(2 * tarfile.BLOCKSIZE))
            digest = writer.finish()
    except BaseException:
        if os.path.exists(path):
            os.unlink(path)
        os.rmdir(folder)
        raise
    return Archive(path, digest, writer.size_bytes)


def _write_entry(writer: _GzipWriter, entry: Entry, buffer: bytearray) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mtime = MOMENT
    if entry.kind == "folder":
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        writer.write(_header(info))
    elif entry.kind == "link":
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
        writer.write(_header(info))
    else:
        _write_file(writer, entry, info, buffer)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _write_file(writer: _GzipWriter, entry: Entry, info: tarfile.TarInfo, buffer: bytearray) -> None:
    try:
        # O_NONBLOCK: a fifo that took the file's place must not hold us up
        descriptor = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb", buffering=0) as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise SourceError(f"source {entry.name!r} is not a file any more")
            info.mode = 0o755 if about.st_mode & 0o100 else 0o644
            info.size = left = about.st_size
            writer.write(_header(info))
            view = memoryview(buffer)
            while left:
                count = file.readinto(view[: min(left, _PIECE)])
                if not count:
                    raise SourceError(f"source {entry.name!r} became shorter while it was packed")
                writer.write(view[:count])
                left -= count
    except OSError as exc:
        raise SourceError(f"cannot read source {entry.name!r}: {(exc.strerror or str(exc)).lower()}") from exc
    writer.write(bytes(-info.size % tarfile.BLOCKSIZE))
