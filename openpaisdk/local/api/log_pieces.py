# SPDX-License-Identifier: MIT
"""A log as events, piece by piece, and where its last lines begin."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from openpaisdk.local.records import TaskRecord

if TYPE_CHECKING:
    from openpaisdk.local.jobs.logs import TaskLog

PIECE_BYTES = 64 * 1024
_TEXT_BYTES = 2 * PIECE_BYTES
"""Text that gets longer than this by escapes, as NULs do sixfold, is sent as bytes."""
_SHARED_BYTES = 2 * PIECE_BYTES


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
        self._task = f"{task.role}-{task.index}"
        self._place = f'"role":{quote(task.role)},"index":{task.index},"attempt":{task.attempt_id},'.encode()
        self._tells_end = tells_end
        self._is_exhausted = False
        """Whether nothing more can be read, although the log was longer once: the task emptied its file."""
        shared = _SHARED.get(log)
        if shared is None:
            shared = _SHARED[log] = _SharedPieces()
        self._shared = shared

    def next_piece(self) -> bytes | None:
        """Return the next event, ``None`` when there is nothing new that can be sent."""
        key = (self._name, self._position, self._tells_end)
        known = self._shared.get(key)
        if known is not None:
            self._position = known[1]
            return known[0]
        begin = self._log.begin(self._name)
        if self._position < begin:
            return self._gap(begin)
        piece = self._read_piece()
        is_newest = self._position >= self._log.size(self._name)
        if piece is not None and is_newest and self._log.has_several_listeners:
            self._shared.put(key, piece, self._position)
        return piece

    def _read_piece(self) -> bytes | None:
        ended = self._log.ended
        data = self._log.read(self._name, self._position, PIECE_BYTES)
        self._is_exhausted = ended and not data
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
        content = quote(text).encode()
        if len(content) > _TEXT_BYTES:
            return self._base64(data)
        return self._event(b'"text":' + content, len(data))

    def _gap(self, begin: int) -> bytes:
        """Return the note that the log was written faster than it was read, and go on where it is kept."""
        missing, self._position = begin - self._position, begin
        text = (
            f"{missing} bytes of the log of {self._task} are not shown: "
            "of a large log only the last two parts are kept"
        )
        place = b"%b%b" % (self._place, self._end()) if self._tells_end else b""
        return b'{"type":"note",%b"text":%b}\n' % (place, quote(text).encode())

    def _broken(self, data: bytes, start: int) -> bytes:
        """Return what comes before the first byte that is not UTF-8, or from there the rest of the line.

        Where more than one line is broken it is no text, and all of it is sent as bytes: one large piece is
        cheaper than many small ones.
        """
        if start > 0:
            return self._event(b'"text":' + quote(data[:start].decode()).encode(), start)
        line_end = data.find(b"\n") + 1
        if not line_end or not _is_text(data[line_end:]):
            line_end = len(data)
        return self._base64(data[:line_end])

    def _base64(self, data: bytes) -> bytes:
        return self._event(b'"base64":"%b"' % base64.b64encode(data), len(data))

    def _event(self, content: bytes, length: int) -> bytes:
        self._position += length
        return b'{"type":"log",%b%b%b}\n' % (self._place, self._end(), content)

    def _end(self) -> bytes:
        return b'"end":%d,' % self._position if self._tells_end else b""

    def may_go_on(self) -> bool:
        """Whether it is worth while to ask at once for another piece, or for the end."""
        return self._log.ended or self._position < self._log.size(self._name)

    def is_over(self) -> bool:
        """Whether everything was read and nothing will be added."""
        return self._is_exhausted or (self._log.ended and self._position >= self._log.size(self._name))


class _SharedPieces:
    """The newest events of a log, made once for all who follow it."""

    def __init__(self) -> None:
        self._pieces: OrderedDict[tuple[str, int, bool], tuple[bytes, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, int, bool]) -> tuple[bytes, int] | None:
        """Return an event and where it ends, if it is known."""
        return self._pieces.get(key)

    def put(self, key: tuple[str, int, bool], piece: bytes, end: int) -> None:
        """Remember an event; the oldest are forgotten."""
        self._pieces[key] = piece, end
        self._bytes += len(piece)
        while self._bytes > _SHARED_BYTES:
            _, (oldest, _) = self._pieces.popitem(last=False)
            self._bytes -= len(oldest)


_SHARED: WeakKeyDictionary[TaskLog, _SharedPieces] = WeakKeyDictionary()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def incomplete_bytes(data: bytes) -> int:
    """Return how many bytes at the end are the beginning of a UTF-8 character that is not complete."""
    for count in range(1, min(3, len(data)) + 1):
        byte = data[-count]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return count if length > count else 0
    return 0


async def tail_position(log: TaskLog, name: str, lines: int) -> int:
    """Return where the last lines of a log begin, in bytes; others have their turn meanwhile."""
    end = log.size(name)
    if lines == 0:
        return end
    position = end
    wanted = lines
    if end and log.read(name, end - 1, 1) == b"\n":
        wanted += 1  # the line break at the very end begins no line
    while position > log.begin(name):
        start = max(log.begin(name), position - PIECE_BYTES)
        block = log.read(name, start, position - start)
        breaks = block.count(b"\n")
        if breaks >= wanted:
            place = len(block)
            for _ in range(wanted):
                place = block.rfind(b"\n", 0, place)
            return start + place + 1
        wanted -= breaks
        position = start
        await asyncio.sleep(0)
    return log.begin(name)
