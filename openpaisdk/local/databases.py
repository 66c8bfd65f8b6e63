# SPDX-License-Identifier: MIT
"""Looking whether a database file is sound before it is used, and keeping one that is not.

Nothing here writes to a database: a damaged one is renamed with its log, as it is, and never deleted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from urllib.parse import quote

from openpaisdk._files import sync_folder

SMALL_BYTES = 8 * 1024 * 1024
"""A database up to this size is looked through at every start, which takes some 10 ms."""
_DAMAGE_CODES = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB (https://www.sqlite.org/rescode.html)."""
_DAMAGE_TEXTS = ("malformed", "not a database")
_MARK = ".damaged"


def is_damage(exc: sqlite3.Error) -> bool:
    """Tell whether an error says that the file is damaged, and not that it is locked or the disk full."""
    code = getattr(exc, "sqlite_errorcode", None)  # new in Python 3.11
    if code is not None:
        return code & 0xFF in _DAMAGE_CODES
    return any(text in str(exc) for text in _DAMAGE_TEXTS)


def open_read_only(path: str) -> sqlite3.Connection:
    """Return a connection that changes nothing, neither the file nor its log, also when it is closed."""
    return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)


def is_small(path: str) -> bool:
    """Tell whether a database is looked through at every start."""
    return _size(path) <= SMALL_BYTES


def damage_of(
    path: str, *, thorough: bool = False, queries: Sequence[str] = (), blank: str | None = None
) -> str | None:
    """Return what is wrong with a database, ``None`` when nothing is, or when there is none.

    Args:
        path: The file.
        thorough: Look through all of it, however large.
        queries: What must be readable in any case.
        blank: What to say of one without any table, as a first start leaves it that is killed.
    """
    with contextlib.suppress(FileNotFoundError), open(path + _MARK, encoding="utf-8") as file:
        return file.read()
    if _size(path) == 0:
        return "its log is there without it" if _size(f"{path}-wal") > 0 else blank
    try:
        with contextlib.closing(open_read_only(path)) as connection:
            if connection.execute("SELECT name FROM sqlite_master").fetchone() is None:
                return blank
            for query in queries:
                connection.execute(query).fetchall()
            if thorough or is_small(path):
                return look_through(connection)
    except sqlite3.Error as exc:
        if is_damage(exc):
            return str(exc)
    return None  # what else may be in the way, such as a newer format, is said by who opens it for use


def look_through(connection: sqlite3.Connection) -> str | None:
    """Return the first thing that is wrong anywhere in a database, ``None`` when nothing is.

    Raises:
        sqlite3.DatabaseError: It is so damaged that it cannot be looked through.
    """
    ((result,),) = connection.execute("PRAGMA quick_check(1)")
    return None if result == "ok" else str(result).replace("\n", " ")


def mark_damaged(path: str, reason: str) -> None:
    """Note for the next start that a database is damaged."""
    with open(path + _MARK, "w", encoding="utf-8") as file:
        file.write(reason)


def put_aside(path: str) -> str:
    """Rename a database and its log and return its new name, which says when that was.

    The log goes first: a database without it is damaged still, but a log beside a new database would be taken
    for its own.
    """
    kept = free = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number = 1
    while os.path.lexists(free):
        number += 1
        free = f"{kept}-{number}"
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, free + suffix)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + _MARK)
    sync_folder(os.path.dirname(path))
    return free


def _size(path: str) -> int:
    """Return the size of a file, 0 when there is none."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
