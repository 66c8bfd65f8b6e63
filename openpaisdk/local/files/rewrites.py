# SPDX-License-Identifier: MIT
"""What HDFS does with whole files: renaming to just one name, cutting, putting together."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat

from openpaisdk.local.files.hdfs_errors import RemoteError
from openpaisdk.local.files.room import Room
from openpaisdk.local.files.storage_tree import StorageTree


def rename_exactly(tree: StorageTree, path: str, destination: str, *, overwrite: bool) -> None:
    """Rename a file or folder to just this name, as ``rename`` with options does in HDFS.

    Raises:
        RemoteError: It cannot be; for ``overwrite`` a file replaces a file, a folder an empty folder.
    """
    if not tree.exists(path):
        raise RemoteError("FileNotFoundException", f"rename source {path} is not found.")
    if path == destination:
        raise RemoteError(
            "FileAlreadyExistsException", f"The source {path} and destination {destination} are the same"
        )
    if path == "/" or destination.startswith(f"{path}/"):
        raise RemoteError(
            "IOException",
            f"Rename destination {destination} is a directory or file under source {path}",
        )
    if not tree.is_folder(destination.rpartition("/")[0] or "/"):
        tree.check_way(destination)
        raise RemoteError("FileNotFoundException", f"rename destination parent {destination} not found.")
    if tree.exists(destination):
        _check_replaceable(tree, path, destination, overwrite=overwrite)
    with (
        tree.root.held(path, follow=False) as (source_folder, source_name),
        tree.root.held(destination, follow=False) as (target_folder, target_name),
    ):
        os.rename(source_name, target_name, src_dir_fd=source_folder, dst_dir_fd=target_folder)


def _check_replaceable(tree: StorageTree, path: str, destination: str, *, overwrite: bool) -> None:
    if not overwrite:
        raise RemoteError("FileAlreadyExistsException", f"rename destination {destination} already exists")
    if tree.is_folder(path) != tree.is_folder(destination):
        raise RemoteError(
            "IOException", f"Source {path} and destination {destination} must both be directories"
        )
    if tree.is_folder(destination) and tree.list(destination):
        raise RemoteError("IOException", f"rename destination directory is not empty: {destination}")


def truncate(tree: StorageTree, path: str, length: int) -> None:
    """Cut a file.

    Raises:
        RemoteError: It is shorter than that, or there is none.
    """
    tree.check_file(path)
    descriptor = tree.root.open_file(path, os.O_WRONLY)
    try:
        size = os.fstat(descriptor).st_size
        if length > size:
            raise RemoteError(
                "HadoopIllegalArgumentException",
                f"Cannot truncate to a larger file size. Current size: {size}, truncate size: {length}.",
            )
        os.ftruncate(descriptor, length)
    finally:
        os.close(descriptor)


def concat(tree: StorageTree, path: str, sources: list[str]) -> None:
    """Put files at the end of a file, in this order; they are gone afterwards. All of it or nothing.

    Raises:
        RemoteError: They are not all full files of one folder.
    """
    tree.check_file(path)
    _check_sources(tree, path, sources)
    aside = tree.aside()
    try:
        with open(aside, "xb") as target:
            room = Room(target.fileno())
            for part in (path, *sources):
                with open(tree.open_file(part), "rb") as source:
                    room.take(os.fstat(source.fileno()).st_size)
                    shutil.copyfileobj(source, target, 1024**2)
        tree.put_into_place(aside, path, overwrite=True, mode=stat.S_IMODE(tree.stat(path).st_mode))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
    for source_path in sources:
        tree.take_away(source_path, recursive=False)


def _check_sources(tree: StorageTree, path: str, sources: list[str]) -> None:
    wrong = None
    folder = path.rpartition("/")[0]
    for source in sources:
        tree.check_file(source)
        if source == path:
            wrong = f"concat: the src file {source} is the same with the target file {path}"
        elif source.rpartition("/")[0] != folder:
            wrong = f"Source file {source} is not in the same directory with the target {path}"
        elif tree.stat(source).st_size == 0:
            wrong = f"concat: source file {source} is invalid or empty or underConstruction"
        if wrong:
            raise RemoteError("HadoopIllegalArgumentException", wrong)
    if len(set(sources)) != len(sources):
        raise RemoteError(
            "HadoopIllegalArgumentException", "concat: at least two of the source files are the same"
        )
