# SPDX-License-Identifier: MIT
"""YAML in the dialect of the rest-server (protocol-v2 §7): reading with places, and writing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from openpaisdk.spec._yaml.cursor import YamlError
from openpaisdk.spec._yaml.reader import EntryMarks, Reader
from openpaisdk.spec._yaml.writer import dump_yaml

SEVERAL_DOCUMENTS = "expected a single document in the stream, but found more"
_MOST_NODES = 1_000_000
"""Beyond it, aliases of aliases would let a small text fill the memory of whoever writes its value."""

__all__ = ["Marks", "YamlError", "dump_yaml", "load_yaml"]


class Marks:
    """Tells where in a text the parts of its value stand."""

    def __init__(self, text: str = "", root: Any = None, entries: EntryMarks | None = None) -> None:
        self._text = text
        self._root = root
        self._entries = entries or {}
        self._line_starts: list[int] | None = None

    def find(self, path: Sequence[Any], *, key: bool = False) -> tuple[int, int] | None:
        """Return line and column, both from 1, of the value at ``path``, or of the key that leads to it.

        Where a part of the path does not exist, the place of the part before it is returned; ``None`` when
        the value did not come from a text.
        """
        offset: int | None = None
        value = self._root
        for depth, step in enumerate(path, 1):
            _, entries = self._entries.get(id(value), (None, {}))
            if step not in entries:
                break
            key_start, value_start = entries[step]
            offset = key_start if key and depth == len(path) else value_start
            value = value[step]
        if offset is None:
            return (1, 1) if self._entries else None
        return self._place(offset)

    def _place(self, offset: int) -> tuple[int, int]:
        if self._line_starts is None:
            starts = [0]
            for at, char in enumerate(self._text, 1):
                if char == "\n" or (char == "\r" and self._text[at : at + 1] != "\n"):
                    starts.append(at)
            self._line_starts = starts
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1


def load_yaml(text: str | bytes, *, file: str | None = None) -> tuple[Any, Marks]:
    """Return the value of a text's only document, and where its parts stand.

    ``None`` stands for both an empty text and an empty document. Keys are text, as in JavaScript. Moments are
    aware datetimes in UTC, integers of any size stay exact.

    Args:
        text: The document; bytes are UTF-8, with or without a byte order mark.
        file: Where it is from, for the message of an error.

    Raises:
        YamlError: A rest-server would not read this text.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    reader = Reader(text)
    try:
        root = _read_only_document(reader)
    except YamlError as exc:
        raise YamlError(
            exc.reason, line=exc.line, column=exc.column, server_text=exc.server_text, file=file
        ) from None
    return root, Marks(reader.text, root, reader.marks)


def _read_only_document(reader: Reader) -> Any:
    try:
        documents = reader.read_documents()
    except RecursionError:
        raise reader.error("the document is nested too deeply") from None
    if len(documents) > 1:
        raise YamlError(SEVERAL_DOCUMENTS, line=1, column=1, server_text=SEVERAL_DOCUMENTS)
    root = documents[0] if documents else None
    if reader.has_aliases and _written_size(root, {}) > _MOST_NODES:
        raise reader.error("the document is too large once its aliases are written out")
    return root


def _written_size(value: Any, known: dict[int, int]) -> int:
    """Count the nodes of a value as if each alias were a copy; ``known`` holds what is counted already."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_written_size(item, known) for item in items)
    return known[id(value)]
