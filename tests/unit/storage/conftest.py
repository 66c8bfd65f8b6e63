# SPDX-License-Identifier: MIT
"""A storage that is a dict."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from openpaisdk.errors import StorageExistsError, StorageIsFolderError, StorageNotFoundError
from openpaisdk.storage.base import Storage
from openpaisdk.storage.paths import base_name

if TYPE_CHECKING:
    from openpaisdk.storage.base import FileInfo, FileInfos


class DictStorage(Storage):
    """Files in a dict: a folder is ``None``; ``written`` are the paths in the order of their writing."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {"": None}
        self.written: list[str] = []

    @property
    def uri(self) -> str:
        return f"dict://{id(self)}"

    def status(self, remote_path: str) -> FileInfo:
        path = remote_path.rstrip("/")
        if path not in self.files:
            raise StorageNotFoundError(f"there is no {remote_path!r}")
        content = self.files[path]
        return {
            "name": base_name(path),
            "type": "directory" if content is None else "file",
            "size_bytes": len(content or b""),
            "modified_at": None,
        }

    def _entries(self, remote_path: str) -> FileInfos:
        self.status(remote_path)
        folder = remote_path.rstrip("/") + "/"
        below = [path for path in self.files if path.startswith(folder) and path != folder]
        return [self.status(path) for path in below if "/" not in path[len(folder) :]]

    def open(self, remote_path: str, offset: int = 0) -> IO[bytes]:
        content = self.files[remote_path]
        if content is None:
            raise StorageIsFolderError(f"{remote_path!r} is a folder")
        return io.BytesIO(content[offset:])

    def mkdir(self, remote_path: str) -> FileInfo:
        parts = remote_path.rstrip("/").split("/")
        for end in range(1, len(parts) + 1):
            self.files.setdefault("/".join(parts[:end]), None)
        return self.status(remote_path)

    def delete(self, remote_path: str, recursive: bool = False) -> FileInfo:
        info = self.status(remote_path)
        for path in list(self.files):
            if path == remote_path or path.startswith(f"{remote_path}/"):
                del self.files[path]
        return info

    def _write(self, remote_path: str, source: Any) -> None:
        self.mkdir(remote_path.rpartition("/")[0])
        self.written.append(remote_path)
        self.files[remote_path] = source.read()

    def _rename(self, remote_path: str, new_path: str, *, overwrite: bool) -> None:
        if new_path in self.files and not overwrite:
            raise StorageExistsError(f"{new_path!r} is there")
        for path in list(self.files):
            if path == remote_path or path.startswith(f"{remote_path}/"):
                self.files[new_path + path[len(remote_path) :]] = self.files.pop(path)

    @property
    def names(self) -> list[str]:
        return sorted(path for path, content in self.files.items() if content is not None)


@pytest.fixture
def storage() -> DictStorage:
    return DictStorage()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "sub" / "b.txt").write_text("bb")
    return root
