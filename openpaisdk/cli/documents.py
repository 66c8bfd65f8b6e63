# SPDX-License-Identifier: MIT
"""Files that a command names, ``-`` being stdin."""

from __future__ import annotations

from openpaisdk.errors import UsageError


def read_text(path: str) -> tuple[str, str | None]:
    """Return the text of a file and its name for messages, ``None`` for stdin.

    Raises:
        UsageError: The file cannot be read, or is not UTF-8.
    """
    try:
        if path == "-":
            import sys

            return sys.stdin.buffer.read().decode("utf-8-sig"), None
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig"), path
    except OSError as exc:
        raise UsageError(f"cannot read {path!r}: {(exc.strerror or str(exc)).lower()}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path!r} is not UTF-8 text (byte {exc.start})") from exc
