# SPDX-License-Identifier: MIT
"""A log as events, piece by piece, and where its last lines begin."""

from __future__ import annotations

import base64
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING

from openpaisdk.local.records import TaskRecord

if TYPE_CHECKING:
    from openpaisdk.local.jobs.logs import TaskLog

PIECE_BYTES = 64 * 1024


class LogStream:
    """Reads a log piece by piece, cut where characters and, if possible, lines end.

    Args:
        log: The log.
        name: Which of its streams.
        task: Whose it is.
        position: Where to begin, in bytes.
        tells_end: Whether each event says up to which byte it goes.
    """

    def __init__(
        self, log: TaskLog, name: str, task: TaskRecord, position: int, *, tells_end: bool = False
    ) -> None:
        self._log = log
        self._name = name
        self._position = position
        place = f'"role":{quote(task.role)},"index":{task.index},"attempt":{task.attempt_id}'
        self._prefix = f'{{"type":"log",{place},'.encode()
        self._tells_end = tells_end

    def next_piece(self) -> bytes | None:
        """Return the next event, ``None`` when there is nothing new that can be sent."""
        ended = self._log.ended
        data = self._log.read(self._name, self._position, PIECE_BYTES)
        if len(data) == PIECE_BYTES:
            data = data[: data.rfind(b"\n") + 1] or data
        if not (ended and len(data) < PIECE_BYTES):
            data = data[: len(data) - incomplete_bytes(data)]
        if not data:
            return None
        try:
            text = data.decode()
        except UnicodeDecodeError as exc:
            return self._broken(data, exc.start)
        return self._event(b'"text":' + quote(text).encode(), len(data))

    def _broken(self, data: bytes, start: int) -> bytes:
        """Return what comes before the first byte that is not UTF-8, or from there the rest of the line."""
        if start > 0:
            return self._event(b'"text":' + quote(data[:start].decode()).encode(), start)
        line_end = data.find(b"\n") + 1
        bad = data[:line_end] if line_end else data
        return self._event(b'"base64":"%b"' % base64.b64encode(bad), len(bad))

    def _event(self, content: bytes, length: int) -> bytes:
        self._position += length
        end = b'"end":%d,' % self._position if self._tells_end else b""
        return b"%b%b%b}\n" % (self._prefix, end, content)

    def may_go_on(self) -> bool:
        """Whether it is worth while to ask at once for another piece, or for the end."""
        return self._log.ended or self._position < self._log.size(self._name)

    def is_over(self) -> bool:
        """Whether everything was read and nothing will be added."""
        return self._log.ended and self._position >= self._log.size(self._name)


def incomplete_bytes(data: bytes) -> int:
    """Return how many bytes at the end are the beginning of a UTF-8 character that is not complete."""
    for count in range(1, min(3, len(data)) + 1):
        byte = data[-count]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return count if length > count else 0
    return 0


def tail_position(log: TaskLog, name: str, lines: int) -> int:
    """Return where the last lines of a log begin, in bytes."""
    end = log.size(name)
    if lines == 0:
        return end
    position = end
    wanted = lines
    if end and log.read(name, end - 1, 1) == b"\n":
        wanted += 1  # the line break at the very end begins no line
    while position > 0:
        start = max(0, position - PIECE_BYTES)
        block = log.read(name, start, position - start)
        breaks = block.count(b"\n")
        if breaks >= wanted:
            place = len(block)
            for _ in range(wanted):
                place = block.rfind(b"\n", 0, place)
            return start + place + 1
        wanted -= breaks
        position = start
    return 0
