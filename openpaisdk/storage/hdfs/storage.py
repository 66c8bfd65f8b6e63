# SPDX-License-Identifier: MIT
"""HDFS, and everything that speaks its web interface: HttpFS, OpenPAI's gateway, the embedded cluster."""

from __future__ import annotations

import io
import os
from collections.abc import Sized

from openpaisdk.constants import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from openpaisdk.errors import (
    StorageError,
    StorageExistsError,
    StorageIsFolderError,
    StorageNotFolderError,
    StorageNotFoundError,
    StoragePermissionError,
    StorageUnavailableError,
)
from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import is_loopback, split_url, without_secrets
from openpaisdk.storage.base import PIECE_BYTES, Storage
from openpaisdk.storage.hdfs.addresses import web_addresses
from openpaisdk.storage.hdfs.client import WebHdfs
from openpaisdk.storage.paths import base_name, checked, moment, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO, Any

    from openpaisdk._secret import Secret
    from openpaisdk.storage.base import FileInfo, FileInfos
    from openpaisdk.storage.hdfs.checksum import FileChecksum, HadoopDigest
    from openpaisdk.storage.hdfs.sending import Reply, Sender
    from openpaisdk.storage.transfer.content import Piece
    from openpaisdk.storage.transfer.stream import StreamPiece

_CRC32C = 2
_SMALL_BYTES = 1 << 20
"""Up to this size the way to a data node counts for more than which one it is."""
_USUAL_DEFAULTS = {"blockSize": 128 * 1024**2, "bytesPerChecksum": 512, "checksumType": _CRC32C}
_UNSUPPORTED = ("UnsupportedOperationException", "is not supported", "Invalid value for webhdfs parameter")


class HdfsStorage(Storage):
    """Files on HDFS.

    Args:
        uri: ``webhdfs://``, ``swebhdfs://``, ``hdfs://`` or ``http(s)://`` address of a name node, of several
            (``webhdfs://nn1:9870,nn2:9870``), or of a gateway before them.
        user: Whom to act as where the server takes our word for it; one in the address is preferred.
        token: Delegation token, for servers that want one.
        verify: Whether certificates are checked, or the path of a CA bundle.
        kerberos: Log in with the ticket of this account (extra ``kerberos``).
        proxy_user: Act on behalf of this user, where the server lets the one who logs in do so.
        data_nodes: Where to reach data nodes whose names mean nothing here: ``host`` or ``host:port`` to
            ``host`` or ``host:port``; ``*`` stands for every other.
        timeout: Longest wait for a connection and for each answer, in seconds.
    """

    has_checksums = True
    read_back_bytes = 64 << 10
    reads_in_parallel = True
    closes_slowly = True

    def __init__(
        self,
        uri: str,
        *,
        user: str | None = None,
        token: Secret | None = None,
        verify: bool | str = True,
        kerberos: bool = False,
        proxy_user: str | None = None,
        data_nodes: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
    ) -> None:
        bases, named_user = web_addresses(uri)
        user = named_user or user
        sender: Sender
        credentials: list[tuple[str, str]] = []
        if not kerberos and all(map(_is_plain, bases)):
            from openpaisdk.storage.hdfs.sending import PlainSender

            sender = PlainSender(timeout)
            if token is not None:
                credentials.append(("delegation", token.reveal()))
            elif user is not None:
                credentials.append(("user.name", user))
            if proxy_user is not None:
                credentials.append(("doas", proxy_user))
        else:
            from openpaisdk.storage.hdfs.sessions import SessionSender, open_session

            session = open_session(
                bases[0], user=user, token=token, kerberos=kerberos, proxy_user=proxy_user, verify=verify
            )
            sender = SessionSender(session, timeout)
        rewrite = _make_rewrite(data_nodes) if data_nodes else None
        self._client = WebHdfs(bases, sender, credentials=credentials, rewrite=rewrite, report=self._report)
        self._uri = _uri(bases)
        self._server_defaults: dict[str, Any] | None = None

    def _report(self, method: str, url: str, outcome: object) -> None:
        if self.trace is not None:
            self.trace(f"{method} {without_secrets(url)}: {outcome}")

    def __repr__(self) -> str:
        return f"<HdfsStorage {self._client.address}>"

    @property
    def uri(self) -> str:
        return self._uri

    # --- look ----------------------------------------------------------------------------------

    def status(self, remote_path: str) -> FileInfo:
        path = checked(remote_path)
        return _info(self._client.ask("GETFILESTATUS", path)["FileStatus"], base_name(path))

    def _entries(self, remote_path: str) -> FileInfos:
        path = checked(remote_path)
        found = self._client.ask("LISTSTATUS", path)["FileStatuses"]["FileStatus"]
        return [_info(entry, entry["pathSuffix"]) for entry in found if entry["pathSuffix"]]

    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        path = checked(remote_path)
        info = self.status(path)
        if info["type"] == "directory":
            raise StorageIsFolderError(f"{remote_path!r} is a folder, a file was expected")
        return io.BufferedReader(self._open_sized(path, offset, info["size_bytes"]), PIECE_BYTES // 16)

    def _open_sized(self, remote_path: str, offset: int, size: int) -> io.RawIOBase:
        return _Reader(self._client, remote_path, offset, size)

    def _open_range(self, remote_path: str, start: int, end: int) -> io.RawIOBase:
        return _Reader(self._client, remote_path, start, end, is_part=True)

    def _summary(self, remote_path: str) -> tuple[int, int, int]:
        found = self._client.ask("GETCONTENTSUMMARY", checked(remote_path))["ContentSummary"]
        return int(found["length"]), int(found["fileCount"]), int(found["directoryCount"])

    # --- change --------------------------------------------------------------------------------

    def mkdir(self, remote_path: str) -> FileInfo:
        path = checked(remote_path)
        try:
            answer = self._client.ask("MKDIRS", path)
        except StorageExistsError:
            raise StorageExistsError(f"{remote_path!r} is on the storage already, as a file") from None
        if not answer.get("boolean"):
            raise StorageError(f"the storage did not make folder {remote_path!r}")
        return {"name": base_name(path), "type": "directory", "size_bytes": 0, "modified_at": None}

    def delete(self, remote_path: str, recursive: bool = False) -> FileInfo:
        path = checked(remote_path)
        info = self.status(path)
        if path == "/":
            raise StorageError("the root of a storage is not deleted", hint="name what is in it")

        def is_gone() -> dict[str, Any] | None:
            return None if self.exists(path) else {"boolean": True}

        answer = self._client.ask("DELETE", path, is_done=is_gone, recursive=str(recursive).lower())
        if not answer.get("boolean"):
            raise StorageNotFoundError(f"there is no {remote_path!r} on the storage")
        return info

    def _rename(self, remote_path: str, new_path: str, *, overwrite: bool) -> None:
        if not overwrite and self.exists(new_path):
            raise StorageExistsError(
                f"{new_path!r} is on the storage already", hint="--overwrite replaces a file"
            )

        def is_renamed() -> dict[str, Any] | None:
            return None if self.exists(remote_path) or not self.exists(new_path) else {"boolean": True}

        answer = self._client.ask(
            "RENAME",
            remote_path,
            is_done=is_renamed,
            destination=new_path,
            renameoptions="OVERWRITE" if overwrite else "NONE",
        )
        if answer.get("boolean") is False:
            self._explain_rename(remote_path, new_path)

    def _explain_rename(self, remote_path: str, new_path: str) -> None:
        """Raise what a bare ``false`` means."""
        self.status(remote_path)
        if self.exists(new_path):
            raise StorageExistsError(f"{new_path!r} is on the storage already", hint="delete it first")
        if self.status(parent(new_path))["type"] != "directory":
            raise StorageNotFolderError(f"{new_path!r}: a part of this path is a file, not a folder")
        raise StorageError(f"the storage did not rename {remote_path!r} to {new_path!r}")

    # --- transfers -----------------------------------------------------------------------------

    @property
    def block_bytes(self) -> int:
        """Size of a block."""
        return int(self._defaults()["blockSize"])

    def _defaults(self) -> dict[str, Any]:
        """Return how the server stores files unless told otherwise; it is asked once."""
        if self._server_defaults is None:
            found = dict(_USUAL_DEFAULTS)
            try:
                found.update(self._client.ask("GETSERVERDEFAULTS", "/")["FsServerDefaults"])
            except (StorageUnavailableError, StoragePermissionError):
                raise
            except (StorageError, KeyError, TypeError, ValueError):
                pass  # an older server, or one that is no Hadoop
            self._server_defaults = found
        return self._server_defaults

    def _write(self, remote_path: str, source: Piece | StreamPiece) -> None:
        is_small = isinstance(source, Sized) and len(source) <= _SMALL_BYTES
        self._client.write(remote_path, source.restart, only_once=not source.can_restart, is_small=is_small)

    def _send(self, remote_path: str, source: Piece) -> None:
        if len(source) <= self.block_bytes:
            self._write(remote_path, source)
            return
        from openpaisdk.storage.hdfs.parts import send_parts

        send_parts(self, self._client, remote_path, source)

    def _make_digest(self) -> HadoopDigest | None:
        from openpaisdk.storage.hdfs.checksum import HadoopDigest, find_crc

        crc = find_crc(is_crc32c=self._defaults()["checksumType"] == _CRC32C)
        if crc is None:
            return None
        return HadoopDigest(crc, self.block_bytes, int(self._defaults()["bytesPerChecksum"]))

    def _checksum(self, remote_path: str) -> FileChecksum | None:
        from openpaisdk.storage.hdfs.checksum import FileChecksum

        try:
            answer = self._client.ask_data_node("GETFILECHECKSUM", remote_path)
        except StorageError as exc:
            if any(word in exc.message for word in _UNSUPPORTED):
                return None
            raise
        found = FileChecksum(answer.get("FileChecksum") or {})
        return found if found.is_known else None


class _Reader(io.RawIOBase):
    """A file from an offset on; where the stream breaks off it goes on at that place, from another node."""

    def __init__(self, client: WebHdfs, path: str, offset: int, end: int, *, is_part: bool = False) -> None:
        self._client = client
        self._path = path
        self._position = offset
        self._end = end
        self._is_part = is_part
        self._broken = 0
        self._reply: Reply | None = self._ask() if offset < end else None

    def _ask(self) -> Reply:
        if self._is_part:
            return self._client.read(self._path, self._position, length=self._end - self._position)
        is_small = self._position == 0 and self._end <= _SMALL_BYTES
        return self._client.read(self._path, self._position, is_small=is_small)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while True:
            try:
                if self._reply is None:
                    if self._position >= self._end:
                        return 0  # HDFS refuses to read from a file's end on
                    self._reply = self._ask()
                size = self._reply.read_into(view)
            except TransportError as exc:
                if self._reply is not None:
                    self._reply.close()
                    self._reply = None
                self._broken += 1
                if self._broken > _BREAKS_LIMIT:
                    raise StorageError(
                        f"the storage broke off in the middle of {self._path!r}", hint="try again"
                    ) from exc
                continue
            if size:
                self._broken = 0
            self._position += size
            return size

    def close(self) -> None:
        if self._reply is not None:
            self._reply.close()
            self._reply = None
        super().close()


_BREAKS_LIMIT = 5
"""So often in a row a stream may break off without a byte in between."""


def _uri(bases: list[str]) -> str:
    """Return the address of a storage with these name nodes."""
    urls = [split_url(base) for base in bases]
    scheme = "swebhdfs" if urls[0].scheme == "https" else "webhdfs"
    return f"{scheme}://{','.join(url.authority for url in urls)}"


def _is_plain(base: str) -> bool:
    """Whether a request goes over a plain socket: http that no proxy stands before."""
    url = split_url(base)
    if url.scheme != "http":
        return False
    names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    return is_loopback(url.host) or not any(os.environ.get(name) for name in names)


def _make_rewrite(data_nodes: Mapping[str, str]) -> Callable[[str], str]:
    def rewrite(authority: str) -> str:
        host, _, port = authority.rpartition(":") if ":" in authority else (authority, "", "")
        target = data_nodes.get(authority) or data_nodes.get(host) or data_nodes.get("*")
        if target is None:
            return authority
        return target if ":" in target or not port else f"{target}:{port}"

    return rewrite


def _info(status: dict[str, Any], name: str) -> FileInfo:
    is_folder = status.get("type") == "DIRECTORY"
    return {
        "name": name,
        "type": "directory" if is_folder else "file",
        "size_bytes": 0 if is_folder else int(status.get("length", 0)),
        "modified_at": moment(status.get("modificationTime", 0)),
    }
