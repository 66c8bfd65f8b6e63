# SPDX-License-Identifier: MIT
"""A folder as one tar file on a storage: packed while it is sent, unpacked while it is fetched."""

from __future__ import annotations

import gzip
import os
import tarfile
import threading
from contextlib import contextmanager

from openpaisdk.errors import MissingExtraError, StorageError, StorageExistsError, StorageNotFolderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from openpaisdk.storage.transfer.progress import Meter

_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1
"""Measured: a higher level costs several times as long for a few percent."""


@contextmanager
def opened_archive(folder: str, name: str) -> Iterator[Packed]:
    """Give a stream with the tar of a folder, compressed as ``name`` says (``.gz``, ``.tgz``, ``.zst``).

    Raises:
        StorageError: A file cannot be read.
        MissingExtraError: The package for zstd is missing.
    """
    if not os.path.isdir(folder):
        raise StorageNotFolderError(f"{folder!r} is no folder, an archive is made of one")
    reader, writer = os.pipe()
    failures: list[BaseException] = []
    pack = _packer(name)

    def work() -> None:
        try:
            with open(writer, "wb", buffering=1 << 16) as target:
                pack(folder, target)
        except BrokenPipeError:
            pass  # whoever read has given up
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with open(reader, "rb", buffering=0) as stream:
        yield Packed(stream, thread, failures)
    thread.join()


class Packed:
    """The reading end; raises at the end of the stream what went wrong while packing."""

    def __init__(self, stream: Any, thread: threading.Thread, failures: list[BaseException]) -> None:
        self._stream = stream
        self._thread = thread
        self._failures = failures

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        if not data:
            self._thread.join()
            if self._failures:
                failure = self._failures[0]
                if isinstance(failure, OSError):
                    raise StorageError(f"cannot pack: {failure.strerror}: {failure.filename!r}") from failure
                raise failure
        return data


def _packer(name: str) -> Any:
    """Return what packs a folder into a stream, compressed as the archive's name says."""
    if name.endswith((".zst", ".tzst")):
        zstandard = _zstandard()
        return lambda folder, target: _pack_through(
            zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(target, closefd=False), folder
        )
    if name.endswith((".gz", ".tgz")):
        return lambda folder, target: _pack_through(
            gzip.GzipFile("", "wb", _GZIP_LEVEL, fileobj=target), folder
        )
    return _pack


def _pack_through(compressor: Any, folder: str) -> None:
    with compressor:
        _pack(folder, compressor)


def _pack(folder: str, target: Any) -> None:
    with tarfile.open(fileobj=target, mode="w|") as archive:
        for name in sorted(os.listdir(folder)):
            archive.add(os.path.join(folder, name), arcname=name)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as exc:
        raise MissingExtraError("zstd", extra="fast") from exc
    return zstandard


def unpack(source: IO[bytes], folder: str, *, overwrite: bool, meter: Meter, name: str) -> None:
    """Unpack a tar file into a folder; nothing in it can lead out of the folder.

    Raises:
        StorageExistsError: A file is there already and ``overwrite`` is false.
        StorageError: It is no tar file, or one with names that lead elsewhere.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise StorageNotFolderError(f"{folder!r} is a file, a folder was expected")
    os.makedirs(folder, exist_ok=True)
    stream: Any = _Metered(source, meter)
    if name.endswith((".zst", ".tzst")):
        stream = _zstandard().ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                _extract(archive, member, folder, overwrite=overwrite)
    except (tarfile.TarError, EOFError) as exc:
        raise StorageError(f"{name!r} cannot be unpacked: {exc}", hint="is it a whole tar file?") from exc


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: str, *, overwrite: bool) -> None:
    safe = tarfile.data_filter(member, folder)
    path = os.path.join(folder, safe.name)
    if not safe.isdir() and os.path.lexists(path):
        if not overwrite:
            raise StorageExistsError(f"{path!r} is there already", hint="--overwrite replaces it")
        os.unlink(path)
    archive.extract(safe, folder, filter="data")


class _Metered:
    """Counts what is read."""

    def __init__(self, source: IO[bytes], meter: Meter) -> None:
        self._source = source
        self._meter = meter

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._meter.add(len(data))
        return data
