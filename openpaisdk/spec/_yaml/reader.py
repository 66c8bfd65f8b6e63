# SPDX-License-Identifier: MIT
"""Nodes and documents: properties, aliases, flow and block collections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openpaisdk.spec._yaml import scalars
from openpaisdk.spec._yaml.cursor import END, SPACE
from openpaisdk.spec._yaml.properties import PropertyReader
from openpaisdk.spec._yaml.types import MERGE, TYPES, UNRESOLVED, resolve_plain
from openpaisdk.spec.references import javascript_text

FLOW_IN, FLOW_OUT, BLOCK_IN, BLOCK_OUT = range(4)
"""Where a node stands: in a flow collection, in a flowing key, in a block sequence, in a block mapping."""

EntryMarks = dict[int, tuple[Any, dict[Any, tuple[int, int]]]]
"""By a collection's identity: the collection, and where in the text key and value of each entry stand."""


class Reader(PropertyReader):
    """Reads the documents of a text; ``marks`` tells where each entry was found.

    ``tag``, ``anchor``, ``kind`` and ``result`` describe the node read last.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.marks: EntryMarks = {}
        self.kind: str | None = None
        self.start = 0

    # --- documents -----------------------------------------------------------------------------
    def read_documents(self) -> list[Any]:
        """Return the values of all documents in the text."""
        documents = []
        while self.char() == " ":
            self.line_indent += 1
            self.position += 1
        while self.position < self.length - 1:
            documents.append(self._read_document())
        return documents

    def _read_document(self) -> Any:
        self._anchors = {}
        self._tag_prefixes = {}
        self._read_directives()
        self.compose(self.line_indent - 1, BLOCK_OUT, seek=False, compact=True)
        self.skip_separation()
        result = self.result
        if self.position == self.line_start and self.at_document_mark():
            if self.char() == ".":
                self.position += 3
                self.skip_separation()
        elif self.position < self.length - 1:
            raise self.error("end of the stream or a document separator is expected")
        return result

    # --- nodes ---------------------------------------------------------------------------------
    def compose(self, parent_indent: int, context: int, *, seek: bool, compact: bool) -> bool:
        """Read the node that stands here, into the fields of the reader; return whether there is one."""
        self._forget()
        block = context >= BLOCK_IN
        indent = 1  # how this line is indented against the parent: more (1), alike (0), less (-1)
        on_new_line = False
        if seek and self.skip_separation():
            on_new_line = True
            indent = _compare(self.line_indent, parent_indent)
        collections = block
        if indent == 1:
            while self.char() in "!&" and (self._read_tag() or self._read_anchor()):
                collections = False
                if self.skip_separation():
                    on_new_line = True
                    collections = block
                    indent = _compare(self.line_indent, parent_indent)
        collections = collections and (on_new_line or compact)
        start = self.position
        has_content = False
        if indent == 1:
            has_content = self._read_content(parent_indent, context, collections)
        elif indent == 0 and context == BLOCK_OUT:
            has_content = collections and self._read_block_sequence(self.position - self.line_start)
        if self.tag is not None and self.tag != "!":
            self._resolve()
        self.start = start
        return self.tag is not None or self.anchor is not None or has_content

    def _forget(self) -> None:
        self.tag = self.anchor = self.kind = self.result = None

    def _read_content(self, parent_indent: int, context: int, collections: bool) -> bool:
        block = context >= BLOCK_IN
        flow_indent = parent_indent + block
        if collections:
            block_indent = self.position - self.line_start
            if self._read_block_sequence(block_indent) or self._read_block_mapping(block_indent, flow_indent):
                return True
        if self._read_flow_collection(flow_indent):
            return True
        has_content = self._read_scalar(flow_indent, block=block, in_flow=context == FLOW_IN)
        if self.anchor is not None:
            self._anchors[self.anchor] = self.result
        return has_content

    def _read_scalar(self, indent: int, *, block: bool, in_flow: bool) -> bool:
        char = self.char()
        value = None
        if char == "'":
            value = scalars.read_single_quoted(self)
        elif char == '"':
            value = scalars.read_double_quoted(self)
        elif char in "|>":
            value = scalars.read_block(self, indent) if block else None
        elif char == "*":
            self._read_alias()
            if self.tag is not None or self.anchor is not None:
                raise self.error("alias node should not have any properties")
            return True
        else:
            value = scalars.read_plain(self, indent, in_flow=in_flow)
            if value is not None and self.tag is None:
                self.tag = "?"
        if value is None:
            return False
        self.kind, self.result = "scalar", value
        return True

    def _resolve(self) -> None:
        """Turn the text, list or mapping that was read into what its tag makes of it."""
        if self.tag == "?":
            tag, self.result = resolve_plain(self.result)
            self.tag = tag or "?"
            if tag and self.anchor is not None:
                self._anchors[self.anchor] = self.result
            return
        tag = self.tag or ""
        kind, construct = TYPES.get(tag, (None, None))
        if construct is None or self.kind not in (None, kind):
            raise self.error(f"unknown tag !<{tag}>")
        if self.result is not None and self.kind != kind:
            raise self.error(
                f'unacceptable node kind for !<{tag}> tag; it should be "{kind}", not "{self.kind or "null"}"'
            )
        value = construct(self.result)
        if value is UNRESOLVED:
            raise self.error(f"cannot resolve a node with !<{tag}> explicit tag")
        self.result = value
        if self.anchor is not None:
            self._anchors[self.anchor] = value

    # --- collections ---------------------------------------------------------------------------
    def _begin(self, collection: Any) -> tuple[str | None, str | None]:
        """Make a collection known under its anchor before its entries are read; return its properties."""
        if self.anchor is not None:
            self._anchors[self.anchor] = collection
            self._open.add(id(collection))
        return self.tag, self.anchor

    def _finish(self, kind: str, result: Any, properties: tuple[str | None, str | None]) -> bool:
        self._open.discard(id(result))
        self.tag, self.anchor = properties
        self.kind, self.result = kind, result
        return True

    def _mark(self, collection: Any, entry: Any, key_start: int, value_start: int) -> None:
        self.marks.setdefault(id(collection), (collection, {}))[1][entry] = (key_start, value_start)

    def _read_flow_collection(self, indent: int) -> bool:
        char = self.char()
        if char not in "[{":
            return False
        if char == "[":
            return self._read_flow_sequence(indent)
        return self._read_flow_mapping(indent)

    def _read_flow_sequence(self, indent: int) -> bool:
        result: list[Any] = []
        properties = self._begin(result)
        for is_pair, entry, value, value_start in self._flow_entries("]", indent):
            self._mark(result, len(result), entry.start, entry.start)
            if is_pair:
                pair = _Mapping()
                self._store(pair, entry, value, value_start)
                result.append(pair.values)
            else:
                result.append(entry.key)
        return self._finish("sequence", result, properties)

    def _read_flow_mapping(self, indent: int) -> bool:
        mapping = _Mapping()
        properties = self._begin(mapping.values)
        for _is_pair, entry, value, value_start in self._flow_entries("}", indent):
            self._store(mapping, entry, value, value_start)
        return self._finish("mapping", mapping.values, properties)

    def _flow_entries(self, terminator: str, indent: int) -> Iterator[tuple[bool, _Entry, Any, int]]:
        """Read the entries up to ``terminator``: is it a pair, key (or only node), value, value's place."""
        self.position += 1
        read_next = True
        while self.char() != END:
            self.skip_separation()
            char = self.char()
            if char == terminator:
                self.position += 1
                return
            if not read_next:
                raise self.error("missed comma between flow collection entries")
            explicit = char == "?" and self.text[self.position + 1] in SPACE
            if explicit:
                self.position += 1
                self.skip_separation()
            is_pair, line = explicit, self.line
            self.compose(indent, FLOW_IN, seek=False, compact=True)
            entry, value = _Entry(tag=self.tag, key=self.result, start=self.start), None
            value_start = self.start
            self.skip_separation()
            if self.char() == ":" and (explicit or self.line == line):
                is_pair = True
                self.position += 1
                self.skip_separation()
                self.compose(indent, FLOW_IN, seek=False, compact=True)
                value, value_start = self.result, self.start
            yield is_pair, entry, value, value_start
            self.skip_separation()
            read_next = self.char() == ","
            if read_next:
                self.position += 1
        raise self.error("unexpected end of the stream within a flow collection")

    def _read_block_sequence(self, indent: int) -> bool:
        result: list[Any] = []
        properties = self._begin(result)
        detected = False
        while self.char() == "-" and self.text[self.position + 1] in SPACE:
            detected = True
            dash = self.position
            self.position += 1
            if self.skip_separation() and self.line_indent <= indent:
                self._mark(result, len(result), dash, dash)
                result.append(None)
                continue
            line = self.line
            self.compose(indent, BLOCK_IN, seek=False, compact=True)
            self._mark(result, len(result), self.start, self.start)
            result.append(self.result)
            self.skip_separation()
            if (self.line == line or self.line_indent > indent) and self.char() != END:
                raise self.error("bad indentation of a sequence entry")
            if self.line_indent < indent:
                break
        self._open.discard(id(result))
        return detected and self._finish("sequence", result, properties)

    def _read_block_mapping(self, indent: int, flow_indent: int) -> bool:
        mapping = _Mapping()
        properties = self._begin(mapping.values)
        entry = _Entry()
        detected = False
        while (char := self.char()) != END:
            place = (self.line, self.position)
            compact = char in "?:" and self.text[self.position + 1] in SPACE
            if compact:
                entry = self._read_indicator(char, entry, mapping)
            elif self.compose(flow_indent, FLOW_OUT, seek=False, compact=True):
                following = _Entry(tag=self.tag, key=self.result, start=self.start)
                if not self._read_colon(place[0], detected=detected):
                    self.tag, self.anchor = properties
                    self._open.discard(id(mapping.values))
                    return True  # not a mapping: what was read is the node itself
                self._store_lone_key(entry, mapping)
                entry = following
            else:
                break
            detected = True
            found = self.compose(indent, BLOCK_OUT, seek=True, compact=compact)
            if not entry.is_explicit:
                self._store(mapping, entry, self.result if found else None, self.start, place)
                entry = _Entry()
            elif found:
                entry.key, entry.start = self.result, self.start
            self.skip_separation()
            if self.line_indent > indent and self.char() != END:
                raise self.error("bad indentation of a mapping entry")
            if self.line_indent < indent:
                break
        self._store_lone_key(entry, mapping)
        self._open.discard(id(mapping.values))
        return detected and self._finish("mapping", mapping.values, properties)

    def _read_indicator(self, char: str, entry: _Entry, mapping: _Mapping) -> _Entry:
        """Read the ``?`` before a key, or the ``:`` before the value of such a key."""
        if char == "?":
            self._store_lone_key(entry, mapping)
            entry = _Entry(is_explicit=True)
        elif entry.is_explicit:
            entry.is_explicit = False
        else:
            raise self.error(
                "incomplete explicit mapping pair; a key node is missed; "
                "or followed by a non-tabulated empty line"
            )
        self.position += 1
        return entry

    def _read_colon(self, line: int, *, detected: bool) -> bool:
        """Read the colon after a key that began on ``line``; return whether there is one."""
        if self.line != line:
            if detected:
                raise self.error(
                    "can not read a block mapping entry; a multiline key may not be an implicit key"
                )
            return False
        self.skip_blanks()
        if self.char() != ":":
            if detected:
                raise self.error("can not read an implicit mapping pair; a colon is missed")
            return False
        self.position += 1
        if self.char() not in SPACE:
            raise self.error(
                "a whitespace character is expected after the key-value separator within a block mapping"
            )
        return True

    def _store_lone_key(self, entry: _Entry, mapping: _Mapping) -> None:
        """Store a key after ``?`` for which no value came."""
        if entry.is_explicit:
            self._store(mapping, entry, None, entry.start)

    def _store(
        self,
        mapping: _Mapping,
        entry: _Entry,
        value: Any,
        value_start: int,
        place: tuple[int, int] | None = None,
    ) -> None:
        name = entry.key if isinstance(entry.key, str) else self._key_text(entry.key)
        if entry.tag == MERGE:
            for source in value if isinstance(value, list) else [value]:
                self._merge(mapping, source, entry.start)
            return
        if name in mapping.values and name not in mapping.overridable:
            if place:
                self.line, self.position = place[0] or self.line, place[1] or self.position
            raise self.error("duplicated mapping key")
        mapping.values[name] = value
        mapping.overridable.discard(name)
        # nothing stands nowhere: it is pointed at by its key
        self._mark(mapping.values, name, entry.start, entry.start if value is None else value_start)

    def _key_text(self, key: Any) -> str:
        if isinstance(key, list) and any(isinstance(item, list) for item in key):
            raise self.error("nested arrays are not supported inside keys")
        return javascript_text(key)

    def _merge(self, mapping: _Mapping, source: Any, start: int) -> None:
        """Add the entries of ``source`` that are not there yet; they may be given again later."""
        if isinstance(source, (list, bytes)):
            source = {str(index): item for index, item in enumerate(source)}
        if source is None or isinstance(source, (str, int, float)):
            raise self.error("cannot merge mappings; the provided source object is unacceptable")
        for name, item in source.items() if isinstance(source, dict) else ():
            if name not in mapping.values:
                mapping.values[name] = item
                mapping.overridable.add(name)
                self._mark(mapping.values, name, start, start)


class _Mapping:
    """A mapping that is being read; ``overridable`` are the keys that a merge brought."""

    __slots__ = ("overridable", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.overridable: set[str] = set()


class _Entry:
    """The key of a block mapping's entry while its value is not read yet."""

    __slots__ = ("is_explicit", "key", "start", "tag")

    def __init__(
        self, *, tag: str | None = None, key: Any = None, start: int = 0, is_explicit: bool = False
    ) -> None:
        self.tag = tag
        self.key = key
        self.start = start
        self.is_explicit = is_explicit


def _compare(left: int, right: int) -> int:
    return (left > right) - (left < right)
