# SPDX-License-Identifier: MIT
"""Files that a command names, ``-`` being stdin."""

from __future__ import annotations

from openpaisdk.errors import SpecError, UsageError

_BYTE_ORDER_MARK = "\ufeff"


def read_document(path: str) -> tuple[str, str | None]:
    """Return the text of a job document and its name for messages, ``None`` for stdin.

    Raises:
        UsageError: The file cannot be read.
        SpecError: It is not UTF-8; its one problem names the place.
    """
    content, file = _read(path)
    try:
        return content.decode().removeprefix(_BYTE_ORDER_MARK), file
    except UnicodeDecodeError as exc:
        problem = {
            "severity": "error",
            "path": "",
            "message": "expected UTF-8 text",
            "hint": None,
            "file": file,
            "line": content.count(b"\n", 0, exc.start) + 1,
            "column": exc.start - content.rfind(b"\n", 0, exc.start),
        }
        raise SpecError(f"job document {file or 'on stdin'!r} is not UTF-8 text", problems=[problem]) from exc


def read_text(path: str) -> tuple[str, str | None]:
    """Return the text of a file and its name for messages, ``None`` for stdin.

    Raises:
        UsageError: The file cannot be read, or is not UTF-8.
    """
    content, file = _read(path)
    try:
        return content.decode().removeprefix(_BYTE_ORDER_MARK), file
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path!r} is not UTF-8 text (byte {exc.start})") from exc


def _read(path: str) -> tuple[bytes, str | None]:
    try:
        if path == "-":
            import sys

            return sys.stdin.buffer.read(), None
        with open(path, "rb") as file:
            return file.read(), path
    except OSError as exc:
        raise UsageError(f"cannot read {path!r}: {(exc.strerror or str(exc)).lower()}") from exc
