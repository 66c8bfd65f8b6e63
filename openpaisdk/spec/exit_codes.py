# SPDX-License-Identifier: MIT
"""Exit codes of tasks: what a code means, and which code a command's end gets (runtime-environment §6)."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

TABLE_FILE = os.path.join(os.path.dirname(__file__), "schemas", "exit_codes.json")
UNMAPPED = 255
"""Code of a task whose command failed in a way that no pattern of the table knows."""
_UNLISTED = 256
_UNLISTED_NEGATIVE = -8000
_LIST_OPTIONAL = ("repro", "solution")
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]()|]")


@functools.cache
def _table() -> dict[str, Any]:
    with open(TABLE_FILE, encoding="utf-8") as file:
        table: dict[str, Any] = json.load(file)
    return table


@functools.cache
def _rows() -> dict[int, dict[str, Any]]:
    return {row["code"]: row for row in _table()["exits"]}


def exit_spec(code: int) -> dict[str, Any]:
    """Return what a task's code means, as the rest-server's ``*ExitSpec`` says it.

    A code that the table does not list is described by its general entries, with the code itself put in.
    """
    rows = _rows()
    row = rows.get(code) or rows[_UNLISTED if code > 0 else _UNLISTED_NEGATIVE]
    return {**row, "code": code, **{key: list(row[key]) for key in _LIST_OPTIONAL if key in row}}


def behavior(code: int) -> str:
    """Return how a code is retried: ``TRANSIENT``, ``PERMANENT``, ``UNKNOWN`` or ``TRANSIENT_CONFLICT``."""
    return str(exit_spec(code)["behavior"])


def task_exit_code(
    user_exit_code: int,
    read_log_tail: Callable[[], bytes],
    read_runtime_log_tail: Callable[[], bytes] = bytes,
) -> int:
    """Return the code of a task whose command ended with ``user_exit_code``.

    Args:
        user_exit_code: The command's own code; 128 plus the signal's number when a signal ended it.
        read_log_tail: Gives the end (10 MB at most) of what the command wrote; called only if it is needed.
        read_runtime_log_tail: The same for what the platform's own steps wrote.
    """
    if user_exit_code == 0:
        return 0
    log = _Log(read_log_tail)
    runtime_log = _Log(read_runtime_log_tail)
    for entry in _table()["patterns"]:
        if entry.get("exit", user_exit_code) != user_exit_code:
            continue
        if "log" in entry and not log.matches_any(entry["log"]):
            continue
        if "runtime_log" in entry and not runtime_log.matches_any(entry["runtime_log"]):
            continue
        return int(entry["code"])
    return UNMAPPED


class _Log:
    """Text that is read when first asked for; kept in lower case, as every pattern ignores case."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._text: bytes | None = None

    def matches_any(self, patterns: list[str]) -> bool:
        if self._text is None:
            self._text = self._read().lower()
        text = self._text
        return any(
            all(literal in text for literal in literals) and (regex is None or regex.search(text) is not None)
            for literals, regex in map(_compile, patterns)
        )


@functools.cache
def _compile(pattern: str) -> tuple[tuple[bytes, ...], re.Pattern[bytes] | None]:
    """Split a pattern into the texts that must be there and, where that does not say it all, the expression.

    Looking for texts first makes the usual case, a log without any of them, some fifty times quicker.
    """
    lowered = re.sub(r"^\(\?m?i\)", "", pattern).lower()
    literals = tuple(_literal_pieces(lowered))
    if not _SPECIAL.search(lowered):
        return literals, None
    return literals, re.compile(lowered.encode(), re.MULTILINE)


def _literal_pieces(pattern: str) -> Iterator[bytes]:
    for piece in pattern.split(".*"):
        if piece and not _SPECIAL.search(piece):
            yield piece.encode()
