# SPDX-License-Identifier: MIT
"""In which order the bytes of stdout and stderr came, for the part of ``all`` that is kept.

Kept are pieces of one stream each. ``all`` has parts of its own, at most two of them like each stream: a new
one begins when the last is full, or when the streams have taken turns so often that the order grows.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_right

from openpaisdk._files import replace_file
from openpaisdk.errors import ConfigError

PART_BYTES = 256 * 1024 * 1024
"""How large a part of a log gets (runtime-environment §5)."""
PART_PIECES = 1 << 16
"""How often the streams may take turns in one part of ``all``: 1 MB of memory, less than that on the disk."""

_KINDS = {b"0": 0, b"1": 1}
_BEGINS = b"2"
"""Marks, in the place of a stream, the line that says where the part before the last begins."""
_SPARE_LINES = 1024


class MergeOrder:
    """The order of the bytes of a task's two streams, by offsets that stay true whatever is dropped.

    Args:
        path: File that keeps the pieces that are complete; read when it is there.
        part_bytes: How large a part of the merged log gets.
        part_pieces: How many pieces a part gets.
    """

    def __init__(self, path: str, *, part_bytes: int = PART_BYTES, part_pieces: int = PART_PIECES) -> None:
        self._path = path
        self._part_bytes = part_bytes
        self._part_pieces = part_pieces
        self._ends = array("q")
        """End of each piece in the merged log."""
        self._places = array("q")
        """End of each piece in its stream, times two, plus the stream's number."""
        self._sizes = [0, 0]
        self._saved = 0
        """How many pieces are in the file as they are."""
        self._lines = 0
        """How many lines the file has."""
        self._is_torn = False
        """Whether the last line of the file may be cut short."""
        self.begins = 0
        """Where the part before the last begins, or the last one if it is the first."""
        self.last_begins = 0
        """Where the last part begins."""
        self._pieces_of_last = 0
        self._load()

    @property
    def size(self) -> int:
        """Bytes of both streams together, as far as they were seen, those that were dropped included."""
        return self._sizes[0] + self._sizes[1]

    # --- growing -------------------------------------------------------------------------------
    def saw(self, sizes: tuple[int, int], first: int = 0) -> bool:
        """Note how far both streams have come, ``first`` having grown first; whether one has grown."""
        before, began = self.size, self.begins
        for stream in (first, 1 - first):
            self._append(stream, sizes[stream])
        if self.begins != began:
            self._drop()
            self._rewrite(len(self._ends) - 1)
        elif len(self._ends) - 1 > self._saved:
            self._save(len(self._ends) - 1)
        return self.size != before

    def _append(self, stream: int, end: int) -> None:
        added = end - self._sizes[stream]
        if added <= 0:
            return
        self._sizes[stream] = end
        size = self._sizes[0] + self._sizes[1]
        place = end << 1 | stream
        if self._places and self._places[-1] & 1 == stream:
            self._places[-1] = place
            self._ends[-1] = size
            self._saved = min(self._saved, len(self._ends) - 1)
        else:
            if self._pieces_of_last >= self._part_pieces:
                self._begin_part(size - added)
                self._pieces_of_last = 0
            self._places.append(place)
            self._ends.append(size)
            self._pieces_of_last += 1
        while size - self.last_begins > self._part_bytes:
            self._begin_part(self.last_begins + self._part_bytes)
            self._pieces_of_last = 1

    def _begin_part(self, offset: int) -> None:
        self.begins, self.last_begins = self.last_begins, offset

    def _drop(self) -> None:
        """Forget the pieces that lie before what is kept."""
        count = bisect_right(self._ends, self.begins)
        del self._ends[:count]
        del self._places[:count]

    # --- reading -------------------------------------------------------------------------------
    def spans(self, start: int, length: int) -> list[tuple[int, int, int]]:
        """Return the pieces that make up a stretch of the merged log: (stream, offset in it, length)."""
        result = []
        position = bisect_right(self._ends, start)
        while length > 0 and position < len(self._ends):
            place = self._places[position]
            left = self._ends[position] - start
            take = min(left, length)
            result.append((place & 1, (place >> 1) - left, take))
            start += take
            length -= take
            position += 1
        return result

    def begin_of(self, stream: int, offset: int) -> int:
        """Return from where on all bytes of a stream in the merged log are at or behind an offset in it."""
        if offset == 0:
            return 0
        for merged, place in zip(self._ends, self._places, strict=True):
            if place & 1 == stream and place >> 1 > offset:
                return merged - ((place >> 1) - offset)
        return 0

    # --- the file ------------------------------------------------------------------------------
    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                content, _, rest = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        words = content.split()
        self._lines = len(words) // 2
        self._is_torn = rest != b""  # it was being written at a crash
        try:
            for kind, number in zip(words[::2], words[1::2], strict=True):
                if kind == _BEGINS:
                    self._restart(int(number))
                else:
                    self._append(_KINDS[kind], int(number))
        except (KeyError, ValueError, OverflowError):
            self._is_torn = True  # what follows is of no use: the order of it is lost, not its bytes
        self._drop()
        self._saved = len(self._ends)

    def _restart(self, offset: int) -> None:
        del self._ends[:], self._places[:]
        self.begins = self.last_begins = offset
        self._pieces_of_last = 0

    def keep(self) -> None:
        """Keep all pieces: what was read once must read the same after a crash.

        Not needed while all of it is stdout, which comes first when the order is lost.
        """
        if self._saved < len(self._ends) and self._sizes[1]:
            self._save(len(self._ends))

    def finish(self) -> None:
        """Keep the last piece too; nothing will be added."""
        if all(self._sizes):
            self._save(len(self._ends))

    def _save(self, upto: int) -> None:
        if self._saved >= upto:
            return
        if self._is_torn or self._lines > 2 * len(self._ends) + _SPARE_LINES:
            self._rewrite(upto)
            return
        lines = self._text(self._saved, upto)
        try:
            with open(self._path, "a", encoding="ascii") as file:
                file.write(lines)
        except OSError:  # a full disk: what is not kept now is kept next time
            self._is_torn = True
            return
        self._lines += upto - self._saved
        self._saved = upto

    def _rewrite(self, upto: int) -> None:
        """Write the file anew, without what was dropped; the bytes before count as if they had come in
        any order.
        """
        if not self._sizes[1]:
            return  # while all of it is stdout, the parts follow from its size
        head = ""
        if self.begins:
            stream, offset, _ = self.spans(self.begins, 1)[0]
            sizes = {stream: offset, 1 - stream: self.begins - offset}
            head = f"0 {sizes[0]}\n1 {sizes[1]}\n{_BEGINS.decode()} {self.begins}\n"
        with contextlib.suppress(ConfigError):  # a full disk: the file that is there stays good
            replace_file(self._path, (head + self._text(0, upto)).encode("ascii"), mode=0o600)
            self._saved, self._lines, self._is_torn = upto, upto + 3, False
            return
        self._saved = 0
        self._is_torn = True

    def _text(self, start: int, end: int) -> str:
        return "".join([f"{place & 1} {place >> 1}\n" for place in self._places[start:end]])
