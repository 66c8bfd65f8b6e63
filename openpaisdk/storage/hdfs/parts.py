# SPDX-License-Identifier: MIT
"""A large file goes to HDFS in parts of one block each, which are then joined (CONCAT).

A part that is whole need not be sent again, whatever ended the try before: each is stored under a name made
of the file's own name, size and time, and of the size of a block. So at most one block is sent twice, and the
file has the blocks, hence the checksum, that it would have if it had been sent in one piece.

HDFS takes its time to say that a part has arrived (a name node is asked again after 400 ms), so the next one
is on its way meanwhile; never are two sent at a time. It goes to another data node if it can be: one that
dies then takes one block with it, not all that wait for an answer.
"""

from __future__ import annotations

import threading

from openpaisdk.errors import StorageError, StorageNotFoundError
from openpaisdk.storage.hdfs.client import NodesInUse
from openpaisdk.storage.paths import ASIDE_PREFIX, base_name, join, parent
from openpaisdk.storage.transfer.content import fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from openpaisdk.storage.hdfs.client import WebHdfs
    from openpaisdk.storage.hdfs.storage import HdfsStorage
    from openpaisdk.storage.transfer.content import Piece

_SETTLING_S = (0.5, 1.0, 2.0, 4.0)
_UNANSWERED = 3
"""So many parts may be under way, one of them being sent, the others waiting for an answer."""


def send_parts(storage: HdfsStorage, client: WebHdfs, remote_path: str, source: Piece) -> None:
    """Store a local file at exactly this path, going on from the parts that are there."""
    try:
        _send_parts(storage, client, remote_path, source)
    except StorageNotFoundError as exc:
        raise StorageError(
            f"parts of {remote_path!r} are gone: they were deleted, or the same file is being sent twice",
            hint="the same command again sends what is missing",
        ) from exc


def _send_parts(storage: HdfsStorage, client: WebHdfs, remote_path: str, source: Piece) -> None:
    block = storage.block_bytes
    folder, name = parent(remote_path), base_name(remote_path)
    while "," in folder:  # CONCAT takes a list with commas, and files of one folder only
        folder = parent(folder)
    if folder != parent(remote_path) or not name.startswith(ASIDE_PREFIX):
        name = ASIDE_PREFIX + fingerprint(remote_path)  # a name that no file of the user has
    storage.mkdir(parent(remote_path))
    names = [f"{name}.{block}.{number:05d}" for number in range(-(-len(source) // block))]
    there = _find_parts(storage, client, folder, dict.fromkeys(names[:-1], block))
    is_joined = there.get(names[0]) == len(source)
    sending = _Sending(client, block)
    for number, name in enumerate(names):
        start = number * block
        part = source.part(start, min(block, len(source) - start))
        if is_joined or there.get(name) == len(part):
            part.skip()
        else:
            if name in there:
                client.ask("DELETE", join(folder, name))
            sending.send(join(folder, name), part)
    sending.wait()
    paths = [join(folder, name) for name in names]
    if not is_joined:
        _join(storage, client, paths, len(source))
    storage._rename(paths[0], remote_path, overwrite=True)


def _find_parts(storage: HdfsStorage, client: WebHdfs, folder: str, sizes: dict[str, int]) -> dict[str, int]:
    """Return the lengths of the files in a folder.

    A client that was ended a moment ago leaves one part that is short. More than one: those before it have
    arrived, and HDFS is about to say so.
    """
    pauses = list(_SETTLING_S)
    while True:
        there = {info["name"]: info["size_bytes"] for info in storage._entries(folder)}
        short = [name for name, size in sizes.items() if there.get(name, size) < size]
        if len(short) <= 1 or not pauses:
            return there
        client.sleep(pauses.pop(0))


class _Sending:
    """Sends parts one after the other, without waiting for the answer to the one before."""

    def __init__(self, client: WebHdfs, block: int) -> None:
        self._client = client
        self._block = block
        self._nodes = NodesInUse()
        self._places = threading.Semaphore(_UNANSWERED)
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def send(self, path: str, part: Piece) -> None:
        """Send a part and return when it is on its way."""
        self._places.acquire()
        self._raise_failure()
        is_through = threading.Event()
        part.on_end = is_through.set

        def work() -> None:
            try:
                self._client.write(path, part.restart, nodes=self._nodes, blocksize=self._block)
            except BaseException as exc:
                self._failures.append(exc)
            finally:
                self._nodes.release(path)
                part.close()
                is_through.set()
                self._places.release()

        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
        is_through.wait()
        self._raise_failure()

    def wait(self) -> None:
        """Wait until every part has arrived."""
        for thread in self._threads:
            thread.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failures:
            for thread in self._threads:
                thread.join()
            raise self._failures[0]


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
