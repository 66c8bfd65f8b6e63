# SPDX-License-Identifier: MIT
"""SFTP behind ``fsspec``.

Threads take turns, for one client of paramiko mixes up the answers to several. A host must be a known one, as
for ``ssh``; fsspec would take, and log in to, any that answers.
"""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar

from openpaisdk.storage.base import PIECE_BYTES
from openpaisdk.storage.fsspec import FsspecStorage, translated
from openpaisdk.storage.paths import parent

if TYPE_CHECKING:
    from collections.abc import Iterator


class SftpStorage(FsspecStorage):
    """Files of one host; arguments as of ``FsspecStorage``.

    ``options`` may name another file than ``~/.ssh/known_hosts``: ``known_hosts``.
    """

    _options: ClassVar[dict[str, Any]] = {"skip_instance_cache": True}
    """Else fsspec gives one client to several storages."""
    _rename_replaces: ClassVar[bool] = True

    def __init__(self, uri: str, **options: Any) -> None:
        self._turn = threading.RLock()
        super().__init__(uri, **options)

    @staticmethod
    def _kind_of(kind: Any) -> Any:
        import paramiko

        class KnownHosts(kind):  # type: ignore[misc]
            """fsspec's, but for whom it trusts."""

            def _connect(self) -> None:
                known_hosts = self.ssh_kwargs.pop("known_hosts", None)
                self.client = paramiko.SSHClient()  # refuses hosts that are not known
                self.client.load_system_host_keys(known_hosts)
                self.client.connect(self.host, **self.ssh_kwargs)
                self.ftp = self.client.open_sftp()

        return KnownHosts

    @contextmanager
    def _asking(self, remote_path: str) -> Iterator[None]:
        with self._turn, translated(remote_path):
            yield

    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        file = super().open(remote_path, offset)
        return io.BufferedReader(_Reader(self, remote_path, file), PIECE_BYTES)

    def _write(self, remote_path: str, source: Any) -> None:
        view = memoryview(bytearray(PIECE_BYTES))
        with self._asking(remote_path):
            self._files.makedirs(self._path(parent(remote_path)), exist_ok=True)
            file = self._files.open(self._path(remote_path), "wb")
        try:
            while size := source.readinto(view):  # outside of our turn: it may be read from this storage
                with self._asking(remote_path):
                    file.write(bytes(view[:size]))
        finally:
            with self._asking(remote_path):
                file.close()


class _Reader(io.RawIOBase):
    """A file that is read in turns."""

    def __init__(self, storage: SftpStorage, remote_path: str, file: IO[bytes]) -> None:
        self._storage = storage
        self._path = remote_path
        self._file = file

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        with self._storage._asking(self._path):
            piece = self._file.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            with self._storage._asking(self._path):
                self._file.close()
        super().close()
