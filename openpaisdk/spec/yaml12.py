# SPDX-License-Identifier: MIT
"""YAML in the dialect of the rest-server (protocol-v2 §7): reading with places, and writing.

PyYAML parses; what its events mean is decided here. Where its parser and the server's part:

- Refused here, taken there: a bare comma or colon in brackets (``[a,,b]``, ``[a:]``), ``k: ? x``, one more
  key on the line on which a quoted text or a bracket ended, tabs that indent (also the first line of a block
  text), keys of more than 1024 characters, anchors with names beyond ``[A-Za-z0-9_-]``, control characters in
  comments and in quotes, half a pair of surrogates, a document that is one ``|`` text at column 0, the tags
  of sets and pairs.
- Taken here, refused there: plain text in brackets, or alone in a document, that goes on further left than it
  may; a block text whose ``|`` stands at column 0.
- Read differently: inside quotes the server keeps blanks before a line break and drops an empty line after an
  escaped one; aliases of an anchor on the line before a bracket are empty there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from yaml.events import AliasEvent, MappingEndEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from openpaisdk.spec._yaml_errors import MISSING_KEY, YamlError, reworded
from openpaisdk.spec._yaml_parser import Parser, repaired_text
from openpaisdk.spec._yaml_scalars import CORE, UNRESOLVED, resolve_plain, resolve_tagged
from openpaisdk.spec._yaml_writer import dump_yaml
from openpaisdk.spec.references import javascript_text

__all__ = ["Marks", "YamlError", "dump_yaml", "load_yaml"]

SEVERAL_DOCUMENTS = "expected a single document in the stream, but found more"
_MOST_NODES = 1_000_000
"""Beyond it, aliases of aliases would let a small text fill the memory of whoever writes its value."""
_MOST_LEVELS = 200
_MOST_REPAIRS = 50
"""How often the parser is started again, each time behind what made it stumble."""

_NOT_PRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
_TEXT_TO_SERVER = "\x85\u2028\u2029\ufeff"
"""Line breaks, or nothing, to a parser of YAML 1.1, but ordinary characters to the server."""
_STAND_INS = range(0xFDD0, 0xFDF0)
"""Code points that Unicode keeps for such internal use."""
_Places = dict[int, tuple[Any, dict[Any, tuple[Any, Any]]]]
"""By a collection's identity: the collection, and where key and value of each entry stand."""


class Marks:
    """Tells where in a text the parts of its value stand."""

    def __init__(self, root: Any = None, entries: _Places | None = None) -> None:
        self._root = root
        self._entries = entries or {}

    def find(self, path: Sequence[Any], *, key: bool = False) -> tuple[int, int] | None:
        """Return line and column, both from 1, of the value at ``path``, or of the key that leads to it.

        Where a part of the path does not exist, the place of the part before it is returned; ``None`` when
        the value did not come from a text.
        """
        mark = None
        value = self._root
        for depth, step in enumerate(path, 1):
            _, entries = self._entries.get(id(value), (None, {}))
            if step not in entries:
                break
            mark = entries[step][0 if key and depth == len(path) else 1]
            value = value[step]
        if mark is None:
            return (1, 1) if self._entries else None
        return mark.line + 1, mark.column + 1


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
    text = text.removeprefix("\ufeff")
    if text[-1:] not in ("\n", "\r"):
        text += "\n"  # for the server the last line always has an end
    bad = None if text.isprintable() else _NOT_PRINTABLE.search(text)
    try:
        if bad:
            raise _error_at(text, bad.start(), "the stream contains non-printable characters")
        reader = _read(text)
    except YamlError as exc:
        raise YamlError(exc.reason, line=exc.line, column=exc.column, file=file, hint=exc.hint) from None
    return reader.root, Marks(reader.root, reader.marks)


def _read(text: str) -> _Reader:
    for _ in range(_MOST_REPAIRS):
        try:
            return _Reader(text)
        except yaml.MarkedYAMLError as exc:
            index = exc.problem_mark.index if exc.problem_mark else len(text)
            start = exc.context_mark.index if exc.context_mark else index
            problem = f"{exc.context}: {exc.problem}"
            better = repaired_text(text, start, index, problem)
            if better is None:
                before = re.split(r"[\r\n]", text[:index])[-1]
                raise _error_at(text, index, *reworded(problem, before, text[index:])) from None
            text = better
    raise _error_at(text, index, "too many lines hold tabs alone, or too many texts pairs of surrogates")


def _error_at(text: str, index: int, reason: str, hint: str | None = None) -> YamlError:
    lines = re.split(r"\r\n|\r|\n", text[:index])
    return YamlError(reason, line=len(lines), column=len(lines[-1]) + 1, hint=hint)


def _error(event: Any, reason: str, hint: str | None = None) -> YamlError:
    mark = event.start_mark
    return YamlError(reason, line=mark.line + 1, column=mark.column + 1, hint=hint)


class _Reader:
    """Reads a text: ``root`` is its value; ``marks`` has, by identity, each collection and its places."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._originals: dict[int, str] = {}
        if not text.isascii():
            text = self._with_stand_ins(text)
        self._next: Callable[[], Any] = Parser(text).get_event
        self.marks: _Places = {}
        self._anchors: dict[str, list[Any]] = {}
        self._size = 0
        self.root = self._read_document()

    def _with_stand_ins(self, text: str) -> str:
        used = [char for char in _TEXT_TO_SERVER if char in text]
        free = [code for code in _STAND_INS if chr(code) not in text]
        self._originals = dict(zip(free, used, strict=False))
        return text.translate({ord(char): code for code, char in self._originals.items()})

    def _read_document(self) -> Any:
        self._next()
        if type(self._next()) is yaml.StreamEndEvent:
            return None
        root = self._read_node(self._next(), 0)
        self._next()
        event = self._next()
        if type(event) is not yaml.StreamEndEvent:
            raise _error(event, SEVERAL_DOCUMENTS)
        return root

    def _read_node(self, event: Any, level: int) -> Any:
        """Read the node that begins with ``event``."""
        kind = type(event)
        if kind is AliasEvent:
            return self._find_anchored(event)
        before = self._size
        self._size += 1
        if level > _MOST_LEVELS:
            raise _error(event, f"the document is nested too deeply: more than {_MOST_LEVELS} levels")
        anchored: list[Any] | None = None
        if event.anchor is not None:
            # value, and how many nodes it has: as long as that is unknown, the node is being read
            self._anchors[event.anchor] = anchored = [None, None]
        if kind is ScalarEvent:
            value = self._read_scalar(event)
        else:
            value = self._read_list(level) if kind is SequenceStartEvent else self._read_mapping(event, level)
            if event.tag is not None and event.tag != "!":
                value = self._with_tag(event, value)
        if anchored:
            anchored[:] = value, self._size - before
        return value

    def _find_anchored(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise _error(event, f'unidentified alias "{event.anchor}"')
        value, size = self._anchors[event.anchor]
        if size is None:
            # the server would go on and fail later, or never end
            raise _error(event, f'alias "{event.anchor}" stands within the node that it names')
        self._size += size
        if self._size > _MOST_NODES:
            raise _error(event, "the document is too large once its aliases are written out")
        return value

    def _read_scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None and event.implicit[0]:
            if text == "-" and self._text[event.start_mark.index + 1] in ",]}":
                raise _error(event, "missed comma between flow collection entries", "quote the '-'")
            value = resolve_plain(text)
            if value is not text:
                return value
        if self._originals:
            text = text.translate(self._originals)
        if event.tag is None or event.tag == "!":
            return text
        return self._with_tag(event, text if text or event.style else None)

    def _with_tag(self, event: Any, content: Any) -> Any:
        known, value = resolve_tagged(event.tag, content)
        if not known:
            raise _error(event, f"unknown tag !<{event.tag}>")
        if value is UNRESOLVED:
            raise _error(event, f"cannot resolve a node with !<{event.tag}> explicit tag")
        return value

    def _read_list(self, level: int) -> list[Any]:
        values: list[Any] = []
        places: dict[int, Any] = {}
        while type(event := self._next()) is not SequenceEndEvent:
            index = event.start_mark.index
            if self._text[index] == "?" and self._text[index + 1] in ",]" and type(event) is not ScalarEvent:
                raise _error(event, "missed comma between flow collection entries", "quote the '?'")
            places[len(values)] = (event.start_mark, event.start_mark)
            values.append(self._read_node(event, level + 1))
        self.marks[id(values)] = (values, places)
        return values

    def _read_mapping(self, start: Any, level: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        places: dict[str, Any] = {}
        merged: set[str] = set()
        while type(event := self._next()) is not MappingEndEvent:
            if not start.flow_style:
                self._check_block_key(event, start, is_first=not places)
            key = self._read_node(event, level + 1)
            following = self._next()
            value = self._read_node(following, level + 1)
            if key == "<<" and _is_merge(event):
                for source in value if isinstance(value, list) else [value]:
                    if not isinstance(source, dict):
                        raise _error(
                            event, "cannot merge mappings; the provided source object is unacceptable"
                        )
                    for name in source.keys() - values.keys():
                        merged.add(name)
                        places[name] = (event.start_mark, event.start_mark)
                    values.update({**source, **values})
                continue
            name = key if isinstance(key, str) else _key_text(event, key)
            if name in values and name not in merged:
                raise _error(event, "duplicated mapping key", f"{name!r} is already there")
            merged.discard(name)
            values[name] = value
            # nothing stands nowhere: it is pointed at by its key
            places[name] = (event.start_mark, (event if value is None else following).start_mark)
        self.marks[id(values)] = (values, places)
        return values

    def _check_block_key(self, event: Any, start: Any, *, is_first: bool) -> None:
        """Refuse keys in block style that the server does not take for such."""
        place = event.start_mark
        if type(event) is ScalarEvent and not event.value and self._text[place.index] == ":":
            raise _error(event, MISSING_KEY)
        is_at_start = is_first and place.index == start.start_mark.index
        if is_at_start and type(event) is not AliasEvent and (event.anchor or event.tag):
            raise _error(event, "properties of a mapping's first key stand for the mapping")


def _is_merge(event: Any) -> bool:
    return type(event) is ScalarEvent and (
        event.implicit[0] if event.tag is None else event.tag == CORE + "merge"
    )


def _key_text(event: Any, key: Any) -> str:
    if isinstance(key, list) and any(isinstance(item, list) for item in key):
        raise _error(event, "nested arrays are not supported inside keys")
    return javascript_text(key)
