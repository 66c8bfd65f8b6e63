# SPDX-License-Identifier: MIT
"""The storage as WebHDFS, for Hadoop's clients and our own.

Reading answers directly; writing takes Hadoop's two steps, of which the second is known by ``data=true`` in
its address, as HttpFS has it. A client that knows may send the second step at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openpaisdk.local.access.auth import Identity, identify_token
from openpaisdk.local.departure import Departure
from openpaisdk.local.files.call import Call, Operations, check_access
from openpaisdk.local.files.edits import Edits, FileLocks
from openpaisdk.local.files.hdfs_errors import RemoteError, from_os_error, not_found
from openpaisdk.local.files.refusals import refusal
from openpaisdk.local.files.reports import Reports
from openpaisdk.local.files.room import Room
from openpaisdk.local.files.storage_tree import StorageTree, clean_path
from openpaisdk.local.removal import delete_tree
from openpaisdk.local.routing import JsonReply, declared_length
from openpaisdk.local.services import Services

WEBHDFS_PREFIX = "/webhdfs/v1"
PIECE_BYTES = 1024**2
_WITHOUT_PATH = ("GETDELEGATIONTOKEN", "GETHOMEDIRECTORY", "GETSERVERDEFAULTS", "GETSTATUS", "GETTRASHROOT")
_MAKES_NAMES = ("CREATE", "MKDIRS", "RENAME")
"""They say ``ParentNotDirectoryException`` of a file in a folder's place; the others deny access."""


class WebHdfs:
    """Answers everything below ``/webhdfs/v1``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tree = StorageTree(services.home.storage, services.owner)
        self._deletions: set[asyncio.Task[None]] = set()
        self._locks = FileLocks()
        self._tree.make_folder(f"/user/{services.owner}")
        self._operations: Operations = {
            **Reports(self._tree).operations(),
            **Edits(self._tree, self._locks).operations(),
            ("GET", "OPEN"): self._open,
            ("PUT", "CREATE"): self._create,
            ("POST", "APPEND"): self._append,
            ("DELETE", "DELETE"): self._delete,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RemoteError as refusal:
            response = JsonReply(refusal.body(), refusal.status)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        query: bytes = request.scope["query_string"]
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        values = {name.lower(): value for name, value in reversed(pairs)}
        identity = self._identify(request, values)
        raw_path: str = request.scope["raw_path"].decode("latin-1")
        if not raw_path.startswith(WEBHDFS_PREFIX):  # a part of the prefix is encoded
            raise not_found(raw_path)
        encoded = raw_path.removeprefix(WEBHDFS_PREFIX)
        path = clean_path(unquote(encoded, errors="surrogateescape") or "/")
        name = values.get("op", "").upper()
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._operations.get((method, name))
        if operation is None:
            raise refusal(method, name)
        if name not in _WITHOUT_PATH:
            check_access(identity, path, writes=method != "GET")
        try:
            return await operation(Call(request, path, values, identity))
        except OSError as exc:
            raise from_os_error(exc, path) from exc
        except RemoteError as exc:
            if exc.exception == "ParentNotDirectoryException" and name not in _MAKES_NAMES:
                raise RemoteError("AccessControlException", exc.message) from exc
            raise

    def _identify(self, request: Request, values: Mapping[str, str]) -> Identity:
        text = values.get("delegation")
        header = request.headers.get("authorization", "")
        if text is None and header[:7].lower() == "bearer ":
            text = header[7:].strip()
        identity = identify_token(self._services.accounts, text) if text else None
        if identity is None:
            what = "the token is not valid" if text else "no token: send ?delegation=TOKEN or a Bearer header"
            raise RemoteError("SecurityException", f"Failed to obtain user group information: {what}")
        return identity

    # --- content -------------------------------------------------------------------------------
    async def _open(self, call: Call) -> Response:
        offset = call.number("offset", 0, at_least=0)
        length = call.number("length", -1, at_least=0)
        self._tree.check_file(call.path)
        if call.flag("noredirect"):
            return JsonReply({"Location": call.data_uri()})
        descriptor = self._tree.open_file(call.path)
        size = os.fstat(descriptor).st_size
        if offset >= size > 0 or offset > size:
            os.close(descriptor)
            raise RemoteError(
                "IOException", f"Offset={offset} out of the range [0, {size}); OPEN, path={call.path}"
            )
        end = size if length < 0 else min(size, offset + length)
        return FileReply(self._services, descriptor, offset, end)

    async def _create(self, call: Call) -> Response:
        overwrite = call.flag("overwrite")
        mode = call.mode()
        for name in ("blocksize", "buffersize", "replication"):
            call.number(name, 1, at_least=1)
        if not call.flag("createparent", True):
            self._tree.stat(call.path.rpartition("/")[0] or "/")
        self._tree.check_new_file(call.path, overwrite=overwrite)
        if not call.flag("data"):
            return self._second_step(call)
        aside = await self._receive(call.request)
        try:
            self._tree.put_into_place(aside, call.path, overwrite=overwrite, mode=mode)
        finally:
            _delete_file(aside)
        location = (
            f"webhdfs://{call.request.headers['host']}{call.request.scope['raw_path'].decode('latin-1')}"
        )
        return Response(status_code=201, headers={"location": location.replace(WEBHDFS_PREFIX, "", 1)})

    async def _append(self, call: Call) -> Response:
        self._tree.check_appendable(call.path)
        if not call.flag("data"):
            return self._second_step(call)
        aside = await self._receive(call.request)
        try:
            async with self._locks.held(call.path):
                await asyncio.to_thread(self._tree.append, aside, call.path)
        finally:
            _delete_file(aside)
        return Response(status_code=200)

    def _second_step(self, call: Call) -> Response:
        location = call.data_uri()
        if call.flag("noredirect"):
            return JsonReply({"Location": location})
        return Response(status_code=307, headers={"location": location})

    async def _receive(self, request: Request) -> str:
        """Write a body aside and return its place; nothing is left when it does not come whole."""
        aside = self._tree.aside()
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        room = Room(descriptor)
        try:
            room.take(declared_length(request))
            async for piece in request.stream():
                room.take(len(piece))
                _write_all(descriptor, piece)
        except BaseException as exc:
            _delete_file(aside)
            if isinstance(exc, OSError):
                raise RemoteError("IOException", f"the file cannot be written: {exc.strerror}") from exc
            raise
        finally:
            os.close(descriptor)
        return aside

    async def _delete(self, call: Call) -> Response:
        self._tree.check_way(call.path)
        left = self._tree.take_away(call.path, recursive=call.flag("recursive"))
        if left:
            deletion = asyncio.ensure_future(asyncio.to_thread(delete_tree, left))
            self._deletions.add(deletion)
            deletion.add_done_callback(self._deletions.discard)
        return JsonReply({"boolean": left is not None})


class FileReply(Response):
    """Sends a part of an open file, piece by piece, and closes it.

    Args:
        services: The server.
        descriptor: The open file.
        start: First byte.
        end: Where to stop.
    """

    def __init__(self, services: Services, descriptor: int, start: int, end: int) -> None:
        super().__init__(
            headers={"content-type": "application/octet-stream", "content-length": str(end - start)}
        )
        self._services = services
        self._descriptor = descriptor
        self._start = start
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            async with Departure(self._services, receive, lambda: None) as departure:
                position = self._start
                while position < self._end and not departure.happened:
                    piece = os.pread(self._descriptor, min(PIECE_BYTES, self._end - position), position)
                    if not piece:
                        break
                    position += len(piece)
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(self._descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _delete_file(place: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place)
