# SPDX-License-Identifier: MIT
"""Operations of WebHDFS that change files without a body."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

from starlette.responses import Response

from openpaisdk.local.files.call import Call, Operations
from openpaisdk.local.files.hdfs_errors import RemoteError, illegal
from openpaisdk.local.files.rewrites import concat, rename_exactly, truncate
from openpaisdk.local.files.storage_tree import StorageTree
from openpaisdk.local.routing import JsonReply

_REPLICATION_MAX = 512
_RENAME_OPTIONS = ("NONE", "OVERWRITE", "TO_TRASH")


class FileLocks:
    """Lets one request after the other change a file."""

    def __init__(self) -> None:
        # A lock is there as long as a request holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def held(self, *paths: str) -> AsyncIterator[None]:
        """Hold the locks of paths, taken in one order by everybody."""
        async with contextlib.AsyncExitStack() as stack:
            for path in sorted(set(paths)):
                await stack.enter_async_context(self._locks.setdefault(path, asyncio.Lock()))
            yield


class Edits:
    """Changes files and folders.

    Args:
        tree: The storage.
        locks: Of files whose content is changed.
    """

    def __init__(self, tree: StorageTree, locks: FileLocks) -> None:
        self._tree = tree
        self._locks = locks

    def operations(self) -> Operations:
        """Return what it answers."""
        return {
            ("PUT", "MKDIRS"): self._make_folder,
            ("PUT", "RENAME"): self._rename,
            ("PUT", "SETPERMISSION"): self._set_permission,
            ("PUT", "SETTIMES"): self._set_times,
            ("PUT", "SETOWNER"): self._set_owner,
            ("PUT", "SETREPLICATION"): self._set_replication,
            ("POST", "TRUNCATE"): self._truncate,
            ("POST", "CONCAT"): self._concat,
        }

    async def _make_folder(self, call: Call) -> Response:
        self._tree.make_folder(call.path, call.mode())
        return JsonReply({"boolean": True})

    async def _rename(self, call: Call) -> Response:
        destination = call.other_path("destination", call.text("destination"))
        options = call.values.get("renameoptions", "")
        if not options:
            self._tree.check_way(destination)
            return JsonReply({"boolean": self._tree.rename(call.path, destination)})
        words = options.upper().split(",")
        for word in words:
            if word not in _RENAME_OPTIONS:
                raise illegal(f'Invalid value for webhdfs parameter "renameoptions": no option {word}')
        rename_exactly(self._tree, call.path, destination, overwrite="OVERWRITE" in words)
        return Response(status_code=200)

    async def _set_permission(self, call: Call) -> Response:
        mode = call.mode()
        self._tree.set_mode(call.path, 0o755 if mode is None else mode)
        return Response(status_code=200)

    async def _set_times(self, call: Call) -> Response:
        self._tree.set_times(call.path, call.number("modificationtime", -1), call.number("accesstime", -1))
        return Response(status_code=200)

    async def _set_owner(self, call: Call) -> Response:
        """Take the owner that a file has anyway; everything here belongs to one account."""
        owner, group = call.values.get("owner", ""), call.values.get("group", "")
        if not owner and not group:
            raise illegal("Both owner and group are empty.")
        user = call.identity.user
        status = self._tree.status(call.path)
        if owner not in ("", status["owner"]):
            raise RemoteError(
                "AccessControlException",
                f"User {user} is not a super user (non-super user cannot change owner).",
            )
        if group not in ("", status["group"]):
            raise RemoteError("AccessControlException", f"User {user} does not belong to {group}")
        return Response(status_code=200)

    async def _set_replication(self, call: Call) -> Response:
        """Say yes for files: each has one copy, as on an HDFS of one data node."""
        count = call.number("replication", 1, at_least=1)
        if count > _REPLICATION_MAX:
            raise RemoteError(
                "IOException",
                f"Requested replication factor of {count} exceeds maximum of {_REPLICATION_MAX}"
                f" for {call.path}",
            )
        return JsonReply({"boolean": self._tree.is_file(call.path)})

    async def _truncate(self, call: Call) -> Response:
        call.text("newlength")
        length = call.number("newlength", 0, at_least=0)
        async with self._locks.held(call.path):
            truncate(self._tree, call.path, length)
        return JsonReply({"boolean": True})

    async def _concat(self, call: Call) -> Response:
        sources = [call.other_path("sources", source) for source in call.text("sources").split(",")]
        async with self._locks.held(call.path, *sources):
            await asyncio.to_thread(concat, self._tree, call.path, sources)
        return Response(status_code=200)
