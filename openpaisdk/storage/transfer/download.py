# SPDX-License-Identifier: MIT
"""Files from a storage to this machine: written aside, compared, put in place; a broken-off one goes on."""

from __future__ import annotations

import contextlib
import errno
import os

from openpaisdk.errors import (
    OpenPaiError,
    StorageError,
    StorageExistsError,
    StorageFullError,
    StorageIsFolderError,
    StorageMismatchError,
    StorageNotFolderError,
    StorageNotFoundError,
    StoragePermissionError,
)
from openpaisdk.storage.paths import ASIDE_PREFIX, base_name, has_wildcards, safe_name
from openpaisdk.storage.transfer.content import fingerprint, remote_content
from openpaisdk.storage.transfer.crew import for_each_file, raise_failures
from openpaisdk.storage.transfer.plan import Plan, matching_plan, remote_plan
from openpaisdk.storage.transfer.transfer import AGAIN_HINT, Transfer, speak_of
from openpaisdk.storage.transfer.verify import Comparison, mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.storage.base import Digest, FileInfo, Local
    from openpaisdk.storage.transfer.content import Content

_PIECE_BYTES = 1 << 20
_PARALLEL_BYTES = 256 << 20
"""From this size on several streams are worth their requests."""


class Download(Transfer):
    """One call of ``download``; see there for what the options mean."""

    def run(self, remote_path: str, local_path: Local, *, archive: bool = False) -> FileInfo:
        """Fetch a file or folder, or the matches of a pattern."""
        if has_wildcards(remote_path) and not self._storage.exists(remote_path):
            return self._fetch_matches(remote_path, local_path)
        info = self._storage.status(remote_path)
        if not isinstance(local_path, (str, os.PathLike)):
            self._require_file(remote_path, info)
            content = remote_content(self._storage, remote_path, info)
            self._begin(content.size, 1)
            self._receive(content, remote_path, local_path)
            self._meter.end_file()
            return info
        target = os.fspath(local_path)
        if archive:
            self._require_file(remote_path, info)
            return self._unpack(remote_path, info, target)
        name = base_name(remote_path)
        if name and (os.path.isdir(target) or target.endswith(os.sep)):
            target = os.path.join(target, safe_name(name))
            if info["type"] == "directory":
                _check_folder(target)  # a name from the storage must not lead out of the folder
        if info["type"] == "directory":
            self._fetch_folder(remote_plan(self._storage, remote_path), remote_path, target)
        else:
            content = remote_content(self._storage, remote_path, info)
            self._check_free(target)
            self._begin(content.size, 1)
            _make_folder(os.path.dirname(os.path.abspath(target)))
            self._place(content, remote_path, target)
            self._meter.end_file()
        return {**info, "name": target}

    @staticmethod
    def _require_file(remote_path: str, info: FileInfo) -> None:
        if info["type"] == "directory":
            raise StorageIsFolderError(f"{remote_path!r} is a folder, a file was expected")

    # --- one file ------------------------------------------------------------------------------

    def _check_free(self, path: str) -> None:
        if os.path.isdir(path):
            raise StorageIsFolderError(f"{path!r} is a folder, a file was expected")
        if os.path.lexists(path) and not self._overwrite:
            raise StorageExistsError(f"{path!r} is there already", hint="--overwrite replaces it")

    def _place(self, content: Content, remote_path: str, path: str, *, is_private: bool = False) -> None:
        """Fetch a file aside and give it its name; in a private folder nobody else can have taken that."""
        aside = os.path.join(
            os.path.dirname(path), ASIDE_PREFIX + fingerprint(os.path.basename(path), content.identity)
        )
        try:
            with open(aside, "wb", buffering=0, opener=_open_kept) as file:
                self._receive(content, remote_path, file, aside)
            _rename(aside, path, overwrite=self._overwrite or is_private)
        except OpenPaiError as exc:
            if isinstance(exc, StorageExistsError):
                _remove(aside)
            raise
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                _remove(aside)  # a full disk helps nobody
            raise local_error(exc, path) from exc

    def _receive(self, content: Content, remote_path: str, target: Any, aside: str | None = None) -> None:
        """Write a content to a stream, or to what an earlier try has left of it aside, and compare it."""
        comparison = Comparison(self._storage, content, aside, self._note) if self._verify else None
        digest = comparison.digest if comparison is not None else None
        try:
            if aside is not None and self._fits_segments(content, digest):
                self._fetch_segments(content, target, aside, digest)
            else:
                self._fetch_stream(content, target, aside, digest)
            if comparison is not None and not comparison.is_same():
                raise mismatch(remote_path)
        except StorageMismatchError:
            if hasattr(target, "truncate") and target.seekable():
                target.truncate(0)  # the next try starts afresh
            raise

    def _fits_segments(self, content: Content, digest: Digest | None) -> bool:
        is_whole = digest is None or _PIECE_BYTES % digest.chunk_bytes == 0
        return self._storage.reads_in_parallel and content.size >= _PARALLEL_BYTES and is_whole

    def _fetch_segments(self, content: Content, file: Any, aside: str, digest: Any) -> None:
        from openpaisdk.storage.transfer.segments import fetch_segments, whole_bytes

        kept = whole_bytes(_kept(file, content.size))
        file.truncate(kept)
        self._take_up(aside, kept, digest, memoryview(bytearray(_PIECE_BYTES)))
        fetch_segments(self._storage, content, file, start=kept, meter=self._meter, digest=digest)

    def _fetch_stream(self, content: Content, target: Any, aside: str | None, digest: Any) -> None:
        view = memoryview(bytearray(min(_PIECE_BYTES, content.size + 1)))
        size = 0
        if aside is not None:
            size = _kept(target, content.size)
            self._take_up(aside, size, digest, view)
            target.seek(size)
        with content.open_at(size) as source:
            while count := source.readinto(view):  # type: ignore[union-attr]
                _write_all(target, view[:count])
                if digest is not None:
                    digest.update(view[:count])
                size += count
                self._meter.add(count)
        if size != content.size:
            raise mismatch(content.name)

    def _take_up(self, aside: str, kept: int, digest: Any, view: memoryview) -> None:
        """Count what an earlier try has fetched, and let the digest see it."""
        if not kept:
            return
        self._meter.add(kept, is_kept=True)
        if digest is None:
            return
        with open(aside, "rb", buffering=0) as file:
            while count := file.readinto(view):
                digest.update(view[:count])

    # --- several -------------------------------------------------------------------------------

    def _fetch_matches(self, pattern: str, local_path: Local) -> FileInfo:
        if not isinstance(local_path, (str, os.PathLike)):
            raise StorageError("a pattern may match several files, which do not fit into one stream")
        target = os.fspath(local_path)
        plan = matching_plan(self._storage, pattern)
        self._merge(plan, target)
        return {"name": target, "type": "directory", "size_bytes": 0, "modified_at": None}

    def _fetch_folder(self, plan: Plan, remote_path: str, target: str) -> None:
        if os.path.lexists(target):
            self._merge(plan, target)
            return
        identity = fingerprint(
            os.path.basename(target),
            self._storage.uri,
            remote_path,
            *(content.identity for content, _ in plan.files),
        )
        above = os.path.dirname(os.path.abspath(target))
        aside = os.path.join(above, ASIDE_PREFIX + identity)
        try:
            self._fill(plan, aside, goes_on=True)
        except OpenPaiError as exc:
            speak_of(exc, aside, target)
            raise
        try:
            os.rename(aside, target)
        except OSError as exc:
            raise local_error(exc, target) from exc

    def _merge(self, plan: Plan, folder: str) -> None:
        """Fetch files one by one into a folder that may be there; nothing is fetched when a name is taken."""
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise StorageNotFolderError(f"{folder!r} is a file, a folder was expected")
        for name in plan.folders:
            _check_folder(os.path.join(folder, name))
        for _, name in plan.files:
            self._check_free(os.path.join(folder, name))
        self._fill(plan, folder, goes_on=False)

    def _fill(self, plan: Plan, folder: str, *, goes_on: bool) -> None:
        _make_folder(folder)
        for name in plan.folders:
            _make_folder(os.path.join(folder, name))
        self._begin(plan.size, len(plan.files))

        def fetch(item: tuple[Content, str]) -> None:
            content, name = item
            path = os.path.join(folder, name)
            if goes_on and os.path.isfile(path):  # it was compared before it got this name
                self._meter.add(content.size, is_kept=True)
            else:
                self._place(content, content.name, path, is_private=goes_on)
            self._meter.end_file()

        failures = [*plan.failures]
        failures += for_each_file(plan.files, fetch, meter=self._meter)
        raise_failures(failures, len(plan.files) + len(plan.failures), hint=AGAIN_HINT)

    # --- archives ------------------------------------------------------------------------------

    def _unpack(self, remote_path: str, info: FileInfo, target: str) -> FileInfo:
        from openpaisdk.storage.transfer.archive import unpack

        self._begin(info["size_bytes"], 1)
        with self._storage.open(remote_path) as source:
            unpack(source, target, overwrite=self._overwrite, meter=self._meter, name=remote_path)
        self._meter.end_file()
        return {**info, "name": target, "type": "directory", "size_bytes": 0}


def _open_kept(path: str, flags: int) -> int:
    """Open a file for writing with what an earlier try has left in it."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _kept(file: Any, size: int) -> int:
    """Return how much of a file is there from an earlier try."""
    kept = os.fstat(file.fileno()).st_size
    if kept > size:
        file.truncate(0)
        return 0
    return kept


def _write_all(target: Any, view: memoryview) -> None:
    while view:
        written = target.write(view)
        view = view[len(view) if written is None else written :]


def _rename(aside: str, path: str, *, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(aside, path)  # unlike a rename this never replaces what came meanwhile
        except FileExistsError:
            raise StorageExistsError(f"{path!r} is there already", hint="--overwrite replaces it") from None
        except OSError:
            if os.path.lexists(path):
                raise StorageExistsError(f"{path!r} is there already") from None
        else:
            os.unlink(aside)
            return
    os.replace(aside, path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _check_folder(path: str) -> None:
    if os.path.islink(path):
        raise StorageExistsError(f"{path!r} is a link", hint="download to another folder")
    if os.path.lexists(path) and not os.path.isdir(path):
        raise StorageNotFolderError(f"{path!r} is a file, a folder was expected")


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as exc:
        raise local_error(exc, path) from exc


def local_error(exc: OSError, path: str) -> StorageError:
    """Return the error for a failed system call on a file of this machine."""
    if isinstance(exc, StorageError):
        return exc
    reason = exc.strerror or str(exc)
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(f"no room for {path!r}: {reason.lower()}")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoragePermissionError(f"cannot write {path!r}: {reason.lower()}")
    if exc.errno in (errno.ENOTDIR, errno.EEXIST):
        return StorageNotFolderError(f"cannot write {path!r}: a part of this path is a file")
    if exc.errno == errno.ENOENT:
        return StorageNotFoundError(f"cannot write {path!r}: its folder is gone")
    return StorageError(f"cannot write {path!r}: {reason.lower()}")
