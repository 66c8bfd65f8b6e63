# SPDX-License-Identifier: MIT
"""Operations of WebHDFS that tell of files and of the storage, without their content."""

from __future__ import annotations

import asyncio
import os
import stat

from starlette.responses import Response

from openpaisdk.local.access.users import ATTEMPT
from openpaisdk.local.files.call import Call, Operations
from openpaisdk.local.files.checksum import CHUNK_BYTES, Checksums
from openpaisdk.local.files.hdfs_errors import RemoteError, denied, illegal
from openpaisdk.local.files.storage_tree import BLOCK_SIZE, StorageTree
from openpaisdk.local.routing import JsonReply

BATCH = 1000
"""Entries in one answer to LISTSTATUS_BATCH, as many as HDFS gives."""
_CRC32 = 1  # in Hadoop's table of checksum types


class Reports:
    """Tells of files.

    Args:
        tree: The storage.
    """

    def __init__(self, tree: StorageTree) -> None:
        self._tree = tree
        self._checksums = Checksums()

    def operations(self) -> Operations:
        """Return what it answers."""
        return {
            ("GET", "GETFILESTATUS"): self._status,
            ("GET", "GETFILELINKSTATUS"): self._link_status,
            ("GET", "GETLINKTARGET"): self._link_target,
            ("GET", "LISTSTATUS"): self._list,
            ("GET", "LISTSTATUS_BATCH"): self._list_batch,
            ("GET", "GETCONTENTSUMMARY"): self._summary,
            ("GET", "GETQUOTAUSAGE"): self._quota_usage,
            ("GET", "GETFILECHECKSUM"): self._checksum,
            ("GET", "GETFILEBLOCKLOCATIONS"): self._block_locations,
            ("GET", "CHECKACCESS"): self._check_access,
            ("GET", "GETHOMEDIRECTORY"): self._home,
            ("GET", "GETTRASHROOT"): self._trash,
            ("GET", "GETSERVERDEFAULTS"): self._defaults,
            ("GET", "GETSTATUS"): self._storage_status,
            ("GET", "GETDELEGATIONTOKEN"): self._delegation_token,
        }

    # --- of one path ---------------------------------------------------------------------------
    async def _status(self, call: Call) -> Response:
        return JsonReply({"FileStatus": self._tree.status(call.path)})

    async def _link_status(self, call: Call) -> Response:
        return JsonReply({"FileStatus": self._tree.link_status(call.path)})

    async def _link_target(self, call: Call) -> Response:
        return JsonReply({"Path": self._tree.link_target(call.path)})

    async def _list(self, call: Call) -> Response:
        return JsonReply({"FileStatuses": {"FileStatus": self._tree.list(call.path)}})

    async def _list_batch(self, call: Call) -> Response:
        after = call.values.get("startafter", "")
        entries = [entry for entry in self._tree.list(call.path) if not after or entry["pathSuffix"] > after]
        listing = {"FileStatuses": {"FileStatus": entries[:BATCH]}}
        left = max(0, len(entries) - BATCH)
        return JsonReply({"DirectoryListing": {"partialListing": listing, "remainingEntries": left}})

    async def _summary(self, call: Call) -> Response:
        counted = await asyncio.to_thread(self._tree.summary, call.path)
        snapshots = dict.fromkeys(
            ("snapshotDirectoryCount", "snapshotFileCount", "snapshotLength", "snapshotSpaceConsumed"), 0
        )
        is_file = counted["directoryCount"] == 0
        more: dict[str, object] = {"ecPolicy": "Replicated" if is_file else "", **snapshots, "typeQuota": {}}
        return JsonReply({"ContentSummary": {**counted, **more}})

    async def _quota_usage(self, call: Call) -> Response:
        counted = await asyncio.to_thread(self._tree.summary, call.path)
        usage = {name: counted[name] for name in ("quota", "spaceConsumed", "spaceQuota")}
        usage["fileAndDirectoryCount"] = counted["fileCount"] + counted["directoryCount"]
        return JsonReply({"QuotaUsage": {**usage, "typeQuota": {}}})

    async def _checksum(self, call: Call) -> Response:
        if call.flag("noredirect"):
            self._tree.check_file(call.path)
            return JsonReply({"Location": call.data_uri()})
        checksum = await self._checksums.of(self._tree.open_file(call.path))
        return JsonReply({"FileChecksum": checksum})

    async def _block_locations(self, call: Call) -> Response:
        self._tree.check_file(call.path)
        size = self._tree.stat(call.path).st_size
        first = call.number("offset", 0, at_least=0)
        end = first + call.number("length", size, at_least=0)
        host = call.host.rpartition(":")[0]
        locations = [
            {
                "cachedHosts": [],
                "corrupt": False,
                "hosts": [host],
                "length": min(BLOCK_SIZE, size - offset),
                "names": [call.host],
                "offset": offset,
                "storageTypes": ["DISK"],
                "topologyPaths": [f"/default-rack/{call.host}"],
            }
            for offset in range(0, size, BLOCK_SIZE)
            if offset < end and offset + BLOCK_SIZE > first
        ]
        return JsonReply({"BlockLocations": {"BlockLocation": locations}})

    async def _check_access(self, call: Call) -> Response:
        action = call.text("fsaction")
        if len(action) != 3 or any(
            letter not in (name, "-") for letter, name in zip(action, "rwx", strict=True)
        ):
            raise illegal(
                'Invalid value for webhdfs parameter "fsaction": '
                f'Invalid value: "{action}" does not belong to the domain [r-][w-][x-]'
            )
        bits = stat.S_IMODE(self._tree.stat(call.path).st_mode) >> 6
        wanted = sum(bit for letter, bit in zip(action, (4, 2, 1), strict=True) if letter != "-")
        if wanted & ~bits:
            raise denied(call.path)
        return Response(status_code=200)

    # --- of the storage ------------------------------------------------------------------------
    async def _home(self, call: Call) -> Response:
        return JsonReply({"Path": f"/user/{call.identity.user}"})

    async def _trash(self, call: Call) -> Response:
        return JsonReply({"Path": f"/user/{call.identity.user}/.Trash"})

    async def _defaults(self, call: Call) -> Response:
        return JsonReply(
            {
                "FsServerDefaults": {
                    "blockSize": BLOCK_SIZE,
                    "bytesPerChecksum": CHUNK_BYTES,
                    "checksumType": _CRC32,
                    "defaultStoragePolicyId": 0,
                    "encryptDataTransfer": False,
                    "fileBufferSize": 4096,
                    "keyProviderUri": "",
                    "replication": 1,
                    "trashInterval": 0,
                    "writePacketSize": 65536,
                }
            }
        )

    async def _storage_status(self, call: Call) -> Response:
        room = os.statvfs(self._tree.root.folder)
        capacity, remaining = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
        status = {"capacity": capacity, "remaining": remaining, "used": capacity - remaining}
        return JsonReply({"FsStatus": status})

    async def _delegation_token(self, call: Call) -> Response:
        if "delegation" in call.values or call.identity.token.kind == ATTEMPT:
            raise RemoteError(
                "IOException", "Delegation Token can be issued only to who shows a token in a Bearer header"
            )
        return JsonReply({"Token": {"urlString": call.identity.text}})
