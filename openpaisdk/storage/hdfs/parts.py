# SPDX-License-Identifier: MIT
"""A large file goes to HDFS in parts of one block each, which are then joined (CONCAT).

A part that is whole need not be sent again, whatever ended the try before: each is stored under a name made
of the file's own name, size and time. So at most one block is sent twice, and the file has the blocks, hence
the checksum, that it would have if it had been sent in one piece.
"""

from __future__ import annotations

from openpaisdk.errors import StorageError, StorageNotFoundError
from openpaisdk.storage.paths import base_name, join, parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from openpaisdk.storage.hdfs.client import WebHdfs
    from openpaisdk.storage.hdfs.storage import HdfsStorage
    from openpaisdk.storage.transfer.content import Piece


def send_parts(storage: HdfsStorage, client: WebHdfs, remote_path: str, source: Piece) -> None:
    """Store a local file at exactly this path, going on from the parts that are there."""
    block = storage.block_bytes
    folder = parent(remote_path)
    while "," in folder:  # CONCAT takes a list with commas, and files of one folder only
        folder = parent(folder)
    storage.mkdir(parent(remote_path))
    there = {info["name"]: info["size_bytes"] for info in storage._entries(folder)}
    paths: list[str] = []
    first_name = f"{base_name(remote_path)}.00000"
    for number, start in enumerate(range(0, len(source), block)):
        part = source.part(start, min(block, len(source) - start))
        name = f"{base_name(remote_path)}.{number:05d}"
        paths.append(join(folder, name))
        if there.get(name) == len(part) or (paths and there.get(first_name) == len(source)):
            part.skip()
        else:
            client.write(paths[-1], part.restart, blocksize=block)
    if there.get(first_name) != len(source):
        _join(storage, client, paths, len(source))
    storage._rename(paths[0], remote_path, overwrite=True)


def _join(storage: HdfsStorage, client: WebHdfs, paths: list[str], size: int) -> None:
    """Make of the parts one file, under the name of the first."""

    def is_joined() -> dict[str, bool] | None:
        try:
            return {"boolean": True} if storage.status(paths[0])["size_bytes"] == size else None
        except StorageNotFoundError:
            return None

    try:
        client.ask("CONCAT", paths[0], is_done=is_joined, sources=",".join(paths[1:]))
    except StorageError as exc:
        exc.hint = exc.hint or "the parts are kept, the same command goes on from them"
        raise
