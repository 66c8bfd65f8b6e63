# SPDX-License-Identifier: MIT
"""The storage as WebHDFS, for Hadoop's clients and our own.

Reading answers directly; writing takes Hadoop's two steps, of which the second is known by ``data=true`` in
its address, as HttpFS has it. A client that knows may send the second step at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openpaisdk.local.access.auth import Identity, identify_token
from openpaisdk.local.access.users import ATTEMPT
from openpaisdk.local.departure import Departure
from openpaisdk.local.files.hdfs_errors import RemoteError, denied, from_os_error, illegal, not_found
from openpaisdk.local.files.storage_tree import StorageTree, clean_path
from openpaisdk.local.removal import delete_tree
from openpaisdk.local.routing import JsonReply
from openpaisdk.local.services import Services

WEBHDFS_PREFIX = "/webhdfs/v1"
PIECE_BYTES = 1024**2

Operation = Callable[["_Call"], Awaitable[Response]]


class _Call:
    """One request: who asks, for which path, with which parameters."""

    def __init__(self, request: Request, path: str, values: Mapping[str, str], identity: Identity) -> None:
        self.request = request
        self.path = path
        self.values = values
        self.identity = identity

    def flag(self, name: str) -> bool:
        """Return a parameter that is ``true`` or ``false``, which is the default."""
        value = self.values.get(name, "false").lower()
        if value not in ("true", "false"):
            raise illegal(f'Invalid value for webhdfs parameter "{name}": {value} is not true or false')
        return value == "true"

    def number(self, name: str, default: int) -> int:
        """Return a parameter that is a whole number."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        if not (value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 20):
            raise illegal(f'Invalid value for webhdfs parameter "{name}": {value} is not a number')
        return int(value)

    def mode(self) -> int | None:
        """Return the ``permission`` parameter."""
        value = self.values.get("permission")
        if value is None:
            return None
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o1777:
            raise illegal(f'Invalid value for webhdfs parameter "permission": {value}')
        return mode & 0o777

    def data_uri(self) -> str:
        """Return the address of the second step, with the same parameters, token included."""
        scope = self.request.scope
        query: bytes = scope["query_string"]
        words = [
            word for word in query.decode("latin-1").split("&") if not word.lower().startswith("noredirect=")
        ]
        host = self.request.headers["host"]
        return f"http://{host}{scope['raw_path'].decode('latin-1')}?{'&'.join([*words, 'data=true'])}"


class WebHdfs:
    """Answers everything below ``/webhdfs/v1``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tree = StorageTree(services.home.storage, services.owner)
        self._deletions: set[asyncio.Task[None]] = set()
        self._appends: dict[str, asyncio.Lock] = {}
        self._tree.make_folder(f"/user/{services.owner}")
        self._operations: dict[tuple[str, str], Operation] = {
            ("GET", "GETFILESTATUS"): self._status,
            ("GET", "LISTSTATUS"): self._list,
            ("GET", "OPEN"): self._open,
            ("GET", "GETCONTENTSUMMARY"): self._summary,
            ("GET", "GETHOMEDIRECTORY"): self._home,
            ("PUT", "CREATE"): self._create,
            ("PUT", "MKDIRS"): self._make_folder,
            ("PUT", "RENAME"): self._rename,
            ("PUT", "SETPERMISSION"): self._set_permission,
            ("PUT", "SETTIMES"): self._set_times,
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
        operation = self._operations.get((request.method, name))
        if operation is None:
            raise self._unknown(request.method, name)
        if name != "GETHOMEDIRECTORY":
            check_access(identity, path, writes=request.method != "GET")
        try:
            return await operation(_Call(request, path, values, identity))
        except OSError as exc:
            raise from_os_error(exc, path) from exc

    def _unknown(self, method: str, name: str) -> RemoteError:
        if any(known == name for _, known in self._operations):
            return illegal(f'Invalid value for webhdfs parameter "op": {name} is no operation of {method}')
        return RemoteError("UnsupportedOperationException", f"{name or 'no operation'} is not supported")

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

    # --- look ----------------------------------------------------------------------------------
    async def _status(self, call: _Call) -> Response:
        return JsonReply({"FileStatus": self._tree.status(call.path)})

    async def _list(self, call: _Call) -> Response:
        return JsonReply({"FileStatuses": {"FileStatus": self._tree.list(call.path)}})

    async def _summary(self, call: _Call) -> Response:
        return JsonReply({"ContentSummary": await asyncio.to_thread(self._tree.summary, call.path)})

    async def _home(self, call: _Call) -> Response:
        return JsonReply({"Path": f"/user/{call.identity.user}"})

    async def _open(self, call: _Call) -> Response:
        offset = call.number("offset", 0)
        length = call.number("length", -1)
        if offset < 0 or length < -1:
            raise illegal("offset and length must not be below 0")
        self._tree.check_file(call.path)
        if call.flag("noredirect"):
            return JsonReply({"Location": call.data_uri()})
        descriptor = self._tree.open_file(call.path)
        size = os.fstat(descriptor).st_size
        if offset > size:
            os.close(descriptor)
            raise RemoteError(
                "IOException", f"Offset={offset} out of the range [0, {size}); OPEN, path={call.path}"
            )
        end = size if length < 0 else min(size, offset + length)
        return FileReply(self._services, descriptor, offset, end)

    # --- change --------------------------------------------------------------------------------
    async def _create(self, call: _Call) -> Response:
        overwrite = call.flag("overwrite")
        mode = call.mode()
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

    async def _append(self, call: _Call) -> Response:
        self._tree.check_file(call.path)
        if not call.flag("data"):
            return self._second_step(call)
        aside = await self._receive(call.request)
        lock = self._appends.setdefault(call.path, asyncio.Lock())
        try:
            async with lock:
                await asyncio.to_thread(self._tree.append, aside, call.path)
        finally:
            _delete_file(aside)
            if not lock.locked():
                self._appends.pop(call.path, None)
        return Response(status_code=200)

    def _second_step(self, call: _Call) -> Response:
        location = call.data_uri()
        if call.flag("noredirect"):
            return JsonReply({"Location": location})
        return Response(status_code=307, headers={"location": location})

    async def _receive(self, request: Request) -> str:
        """Write a body aside and return its place; nothing is left when it does not come whole."""
        aside = self._tree.aside()
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            async for piece in request.stream():
                _write_all(descriptor, piece)
        except BaseException as exc:
            _delete_file(aside)
            if isinstance(exc, OSError):
                raise RemoteError("IOException", f"the file cannot be written: {exc.strerror}") from exc
            raise
        finally:
            os.close(descriptor)
        return aside

    async def _make_folder(self, call: _Call) -> Response:
        self._tree.make_folder(call.path, call.mode())
        return JsonReply({"boolean": True})

    async def _rename(self, call: _Call) -> Response:
        destination = clean_path(call.values.get("destination", ""))
        check_access(call.identity, destination, writes=True)
        options = call.values.get("renameoptions", "NONE").upper()
        renamed = self._tree.rename(call.path, destination, overwrite=options == "OVERWRITE")
        return JsonReply({"boolean": renamed})

    async def _delete(self, call: _Call) -> Response:
        left = self._tree.take_away(call.path, recursive=call.flag("recursive"))
        if left:
            deletion = asyncio.ensure_future(asyncio.to_thread(delete_tree, left))
            self._deletions.add(deletion)
            deletion.add_done_callback(self._deletions.discard)
        return JsonReply({"boolean": left is not None})

    async def _set_permission(self, call: _Call) -> Response:
        mode = call.mode()
        self._tree.set_mode(call.path, 0o755 if mode is None else mode)
        return Response(status_code=200)

    async def _set_times(self, call: _Call) -> Response:
        self._tree.set_times(call.path, call.number("modificationtime", -1), call.number("accesstime", -1))
        return Response(status_code=200)


def check_access(identity: Identity, path: str, *, writes: bool) -> None:
    """Raise when a token does not open a path.

    An attempt's token opens its job's folder and nothing else; users who are no admins change only what is
    below their own folder.

    Raises:
        RemoteError: It does not.
    """
    if identity.token.kind == ATTEMPT:
        if not _is_below(path, identity.token.path_prefix or "/.nothing"):
            raise denied(path)
    elif writes and not identity.admin and not _is_below(path, f"/user/{identity.user}"):
        raise denied(path)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


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
