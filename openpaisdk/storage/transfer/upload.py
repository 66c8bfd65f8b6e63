# SPDX-License-Identifier: MIT
"""Files onto a storage, from this machine or from another storage.

A file is written under a name that nobody reads, compared, and then renamed. A folder that is not there yet
is built aside as a whole in the same way. The names aside are made of what is sent, so the same command goes
on where it was broken off, and another one starts afresh.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets

from openpaisdk.errors import (
    OpenPaiError,
    StorageError,
    StorageExistsError,
    StorageIsFolderError,
    StorageMismatchError,
    StorageNotFolderError,
    StorageNotFoundError,
)
from openpaisdk.storage.paths import ASIDE_PREFIX, base_name, has_wildcards, join, parent
from openpaisdk.storage.transfer.content import Piece, fingerprint, local_content
from openpaisdk.storage.transfer.crew import for_each_file, raise_failures
from openpaisdk.storage.transfer.plan import Plan, local_plan, matching_plan, remote_plan
from openpaisdk.storage.transfer.transfer import AGAIN_HINT, Transfer, speak_of
from openpaisdk.storage.transfer.verify import check_stored, mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from openpaisdk.storage.base import FileInfo, Local, Storage
    from openpaisdk.storage.transfer.archive import Packed
    from openpaisdk.storage.transfer.content import Content

_MANY_FILES = 500
_SMALL_BYTES = 1 << 20
_LARGE_BYTES = 8 << 20
"""From this size on it is worth a question whether a file is there already, whole, from an earlier try."""


class Upload(Transfer):
    """One call of ``upload``; see there for what the options mean."""

    def run(self, local_path: Local, remote_path: str, *, archive: bool = False) -> FileInfo:
        """Store a file, folder or stream of this machine."""
        if not isinstance(local_path, (str, os.PathLike)):
            return self._put_stream(local_path, remote_path)
        path = os.fspath(local_path)
        if not os.path.exists(path):
            found = sorted(glob.glob(path)) if has_wildcards(path) else []
            if not found or archive:
                raise StorageNotFoundError(f"there is no local file {path!r}")
            return self._put_several(path, found, remote_path)
        name = os.path.basename(os.path.abspath(path))
        if archive:
            from openpaisdk.storage.transfer.archive import opened_archive

            target = self._storage._inside(remote_path, f"{name}.tar")
            with opened_archive(path, target) as stream:
                return self._put_stream(stream, target)
        target = self._storage._inside(remote_path, name)
        if os.path.isdir(path):
            plan = local_plan(path)
            self._advise(plan)
            return self._put_folder(plan, target)
        if not os.path.isfile(path):
            raise StorageError(f"{path!r} is neither a file nor a folder")
        return self._put_file(local_content(path), target)

    def _advise(self, plan: Plan) -> None:
        """Say when a folder would better be sent as one file."""
        count = len(plan.files)
        if self._storage.closes_slowly and count >= _MANY_FILES and plan.size < count * _SMALL_BYTES:
            self._note(
                f"{count} small files go to HDFS one by one; where they need not be single files there, "
                "--archive sends them as one, in a fraction of the time"
            )

    def copy(self, source: Storage, source_path: str, remote_path: str) -> FileInfo:
        """Store a file or folder of another storage, or of this one, or what a pattern matches there."""
        if has_wildcards(source_path) and not source.exists(source_path):
            return self._put_plan(matching_plan(source, source_path), remote_path)
        info = source.status(source_path)
        target = self._storage._inside(remote_path, base_name(source_path))
        if info["type"] == "directory":
            return self._put_folder(remote_plan(source, source_path), target)
        from openpaisdk.storage.transfer.content import remote_content

        return self._put_file(remote_content(source, source_path, info), target)

    def move(self, source: Storage, source_path: str, remote_path: str) -> FileInfo:
        """Store a file or folder of another storage, and delete it there when it has arrived.

        Raises:
            StorageError: It changed meanwhile and is still there, or both addresses are of one place.
        """
        info = source.status(source_path)
        target = self._storage._inside(remote_path, base_name(source_path))
        if f"{target}/".startswith(f"{source_path.rstrip('/')}/") and self._has(source_path, info):
            raise StorageError(
                f"{source.uri}{source_path} and {self._storage.uri}{target} look like one place under two "
                "names",
                hint="write both addresses alike",
            )
        before = _identities(source, source_path, info)
        moved = self.copy(source, source_path, remote_path)
        if _identities(source, source_path, source.status(source_path)) != before:
            raise StorageError(
                f"{source_path!r} changed while it was moved: it was copied, and nothing was deleted",
                hint="upload --overwrite copies what is new",
            )
        source.delete(source_path, recursive=True)
        return moved

    def _has(self, path: str, info: FileInfo) -> bool:
        """Tell whether what is at this path cannot be told from ``info``."""
        try:
            return self._storage.status(path) == info
        except OpenPaiError:
            return False

    # --- one file ------------------------------------------------------------------------------

    def _put_file(self, content: Content, target: str) -> FileInfo:
        self._check_free(target)
        self._begin(content.size, 1)
        self._place(content, target)
        self._meter.end_file()
        return self._storage.status(target)

    def _check_free(self, target: str) -> None:
        """Raise when the file's name is taken."""
        try:
            info = self._storage.status(target)
        except StorageNotFoundError:
            return
        if info["type"] == "directory":
            raise StorageIsFolderError(f"{target!r} is a folder, a file was to be stored there")
        if not self._overwrite:
            raise StorageExistsError(
                f"{target!r} is on the storage already", hint="--overwrite replaces a file"
            )

    def _place(self, content: Content, target: str) -> None:
        """Store a file aside and give it its name."""
        aside = self._aside(target, content.identity)
        try:
            self._store(content, aside)
            if not self._verify and self._size_of(aside) != content.size:
                raise mismatch(content.name)
            self._storage._rename(aside, target, overwrite=self._overwrite)
        except OpenPaiError as exc:
            self._drop(aside)
            speak_of(exc, aside, target)
            raise

    def _store(self, content: Content, path: str, kept: int | None = None) -> None:
        """Store a file at exactly this path and compare; ``kept`` is the length of what is there."""
        digest = self._storage._make_digest() if self._verify else None
        piece = Piece(content, self._meter, digest)
        try:
            if kept is None and content.size >= _LARGE_BYTES:
                kept = self._size_of(path)
            if kept == content.size:
                piece.skip()
            else:
                if kept is not None:
                    self._drop(path)
                self._storage._send(path, piece)
            if self._verify:
                check_stored(self._storage, path, content, digest, self._note)
        except StorageMismatchError:
            self._drop(path)  # else the next try would take it for what it has sent
            raise
        finally:
            piece.close()

    def _size_of(self, path: str) -> int | None:
        try:
            return self._storage.status(path)["size_bytes"]
        except StorageNotFoundError:
            return None

    def _aside(self, target: str, *identity: str) -> str:
        return join(parent(target), ASIDE_PREFIX + fingerprint(target, *identity))

    def _drop(self, path: str) -> None:
        """Remove what was stored aside; the error that led here is the one to show."""
        with contextlib.suppress(OpenPaiError):
            self._storage.delete(path, recursive=True)

    # --- several -------------------------------------------------------------------------------

    def _put_several(self, pattern: str, paths: list[str], remote_path: str) -> FileInfo:
        """Store the matches of a pattern, each under its own name, in a folder."""
        plan = Plan()
        for path in paths:
            name = os.path.basename(path)
            if os.path.isdir(path):
                plan.add(local_plan(path), name)
            else:
                plan.files.append((local_content(path), name))
        plan.check_names(pattern)
        return self._put_plan(plan, remote_path)

    def _put_plan(self, plan: Plan, remote_path: str) -> FileInfo:
        folder = self._storage.mkdir(remote_path)
        self._merge(plan, remote_path.rstrip("/"))
        return folder

    def _put_folder(self, plan: Plan, target: str) -> FileInfo:
        try:
            info = self._storage.status(target)
        except StorageNotFoundError:
            self._build_aside(plan, target)
        else:
            if info["type"] == "file":
                raise StorageNotFolderError(f"{target!r} is a file, a folder was to be stored there")
            self._merge(plan, target)
        return self._storage.status(target)

    def _build_aside(self, plan: Plan, target: str) -> None:
        """Store a folder under another name, and then under its own: it is there as a whole or not at all."""
        aside = self._aside(target, *(content.identity for content, _ in plan.files), *plan.folders)
        try:
            self._build(plan, aside)
            self._storage._rename(aside, target, overwrite=False)
        except OpenPaiError as exc:
            speak_of(exc, aside, target)
            raise

    def _build(self, plan: Plan, aside: str) -> None:
        kept = self._kept(aside)
        self._make_folders(plan, aside)
        self._begin(plan.size, len(plan.files))

        def store(item: tuple[Content, str]) -> None:
            self._store(item[0], join(aside, item[1]), kept.get(item[1]))
            self._meter.end_file()

        self._run(plan, store)
        self._check_lengths(plan, aside)

    def _kept(self, folder: str) -> dict[str, int]:
        """Return the lengths of the files that an earlier try has stored aside."""
        try:
            found = remote_plan(self._storage, folder)
        except StorageNotFoundError:
            return {}
        return {name: content.size for content, name in found.files}

    def _check_lengths(self, plan: Plan, folder: str) -> None:
        """Compare the lengths of all files, by what the storage lists."""
        sizes = self._kept(folder)
        for content, name in plan.files:
            if sizes.get(name) != content.size:
                self._drop(join(folder, name))
                raise mismatch(content.name)

    def _merge(self, plan: Plan, folder: str) -> None:
        """Store files one by one in a folder that is there; nothing is sent when a name is taken."""
        there = remote_plan(self._storage, folder)
        files, folders = {name for _, name in there.files}, set(there.folders)
        taken = [name for _, name in plan.files if name in files]
        if taken and not self._overwrite:
            others = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
            raise StorageExistsError(
                f"{join(folder, taken[0])!r}{others} is on the storage already",
                hint="--overwrite replaces files",
            )
        for name in [name for _, name in plan.files if name in folders]:
            raise StorageIsFolderError(f"{join(folder, name)!r} is a folder, a file was to be stored there")
        self._make_folders(plan, folder)
        self._begin(plan.size, len(plan.files))

        def place(item: tuple[Content, str]) -> None:
            self._place(item[0], join(folder, item[1]))
            self._meter.end_file()

        self._run(plan, place)

    def _make_folders(self, plan: Plan, folder: str) -> None:
        self._storage.mkdir(folder)
        for name in plan.bare_folders():
            self._storage.mkdir(join(folder, name))

    def _run(self, plan: Plan, work: Callable[[tuple[Content, str]], None]) -> None:
        failures = [*plan.failures]
        failures += for_each_file(plan.files, work, meter=self._meter)
        raise_failures(failures, len(plan.files) + len(plan.failures), hint=AGAIN_HINT)

    # --- streams -------------------------------------------------------------------------------

    def _put_stream(self, stream: IO[bytes] | Packed, remote_path: str) -> FileInfo:
        """Store what comes from a stream; it cannot be sent twice, so a break is an error."""
        from openpaisdk.storage.transfer.stream import StreamPiece

        if remote_path.endswith("/"):
            raise StorageIsFolderError(f"{remote_path!r} is a folder, a stream needs the name of a file")
        target = self._storage._inside(remote_path, "")
        self._check_free(target.rstrip("/"))
        self._begin(None, 1)
        digest = self._storage._make_digest() if self._verify else None
        piece = StreamPiece(stream, self._meter, digest)
        aside = self._aside(target, secrets.token_hex(8))
        try:
            self._storage._write(aside, piece)
            if self._size_of(aside) != piece.size:
                raise mismatch("the stream")
            if self._verify:
                piece.check(self._storage, aside, self._note)
            self._storage._rename(aside, target, overwrite=self._overwrite)
        except BaseException as exc:
            self._drop(aside)
            if isinstance(exc, OpenPaiError):
                speak_of(exc, aside, target)
            raise
        self._meter.end_file()
        return self._storage.status(target)


def _identities(storage: Storage, path: str, info: FileInfo) -> set[tuple[str, str]]:
    """Return the files at a path, by name and what tells that one has changed."""
    from openpaisdk.storage.transfer.content import remote_content

    if info["type"] == "file":
        return {("", remote_content(storage, path, info).identity)}
    return {(name, content.identity) for content, name in remote_plan(storage, path).files}
