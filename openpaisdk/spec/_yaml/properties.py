# SPDX-License-Identifier: MIT
"""What stands before nodes and documents: directives, tags, anchors; and aliases."""

from __future__ import annotations

import re
from typing import Any

from openpaisdk.spec._yaml.cursor import BREAK, END, FLOW_INDICATOR, SPACE, Cursor
from openpaisdk.spec._yaml.types import CORE

_TAG_HANDLE = re.compile(r"(?:!|!!|![A-Za-z\-]+!)")
_TAG_URI = re.compile(r"(?:!|[^,\[\]{}])(?:%[0-9a-fA-F]{2}|[0-9A-Za-z\-#;/?:@&=+$,_.!~*'()\[\]])*")
_NAME = re.compile(r"[^\0\t \n\r,\[\]{}]*")
_WORD = re.compile(r"[^\0\t \n\r]*")
_REST_OF_LINE = re.compile(r"[^\0\n\r]*")
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)")


class PropertyReader(Cursor):
    """Reads properties into ``tag`` and ``anchor``, aliases into ``result``: they describe the last node."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tag: str | None = None
        self.anchor: str | None = None
        self.result: Any = None
        self.has_aliases = False
        self._anchors: dict[str, Any] = {}
        self._open: set[int] = set()
        self._tag_prefixes: dict[str, str] = {}

    def _take(self, pattern: re.Pattern[str]) -> str:
        start = self.position
        self.skip(pattern)
        return self.text[start : self.position]

    def _read_directives(self) -> None:
        found = version_seen = False
        while self.char() != END:
            self.skip_separation()
            if self.line_indent > 0 or self.char() != "%":
                break
            found = True
            self.position += 1
            name = self._take(_WORD)
            if not name:
                raise self.error("directive name must not be less than one character in length")
            arguments = self._read_directive_arguments()
            if self.char() != END:
                self.read_break()
            if name == "YAML":
                self._use_version(arguments, seen=version_seen)
                version_seen = True
            elif name == "TAG":
                self._use_tag_prefix(arguments)
        self.skip_separation()
        if self.line_indent == 0 and self.text.startswith("---", self.position):
            self.position += 3
            self.skip_separation()
        elif found:
            raise self.error("directives end mark is expected")

    def _read_directive_arguments(self) -> list[str]:
        arguments = []
        while self.char() != END:
            self.skip_blanks()
            if self.char() == "#":
                self.skip(_REST_OF_LINE)
                break
            if self.char() in BREAK:
                break
            arguments.append(self._take(_WORD))
        return arguments

    def _use_version(self, arguments: list[str], *, seen: bool) -> None:
        if seen:
            raise self.error("duplication of %YAML directive")
        if len(arguments) != 1:
            raise self.error("YAML directive accepts exactly one argument")
        match = _VERSION.fullmatch(arguments[0])
        if match is None:
            raise self.error("ill-formed argument of the YAML directive")
        if int(match[1]) != 1:
            raise self.error("unacceptable YAML version of the document")

    def _use_tag_prefix(self, arguments: list[str]) -> None:
        if len(arguments) != 2:
            raise self.error("TAG directive accepts exactly two arguments")
        handle, prefix = arguments
        if not _TAG_HANDLE.fullmatch(handle):
            raise self.error("ill-formed tag handle (first argument) of the TAG directive")
        if handle in self._tag_prefixes:
            raise self.error(f'there is a previously declared suffix for "{handle}" tag handle')
        if not _TAG_URI.fullmatch(prefix):
            raise self.error("ill-formed tag prefix (second argument) of the TAG directive")
        self._tag_prefixes[handle] = prefix

    # --- properties and aliases ----------------------------------------------------------------
    def _read_tag(self) -> bool:
        if self.char() != "!":
            return False
        if self.tag is not None:
            raise self.error("duplication of a tag property")
        self.position += 1
        if self.char() == "<":
            self.tag = self._check_tag_name(self._read_verbatim_tag())
            return True
        handle, name = self._read_short_tag()
        self._check_tag_name(name)
        if handle in self._tag_prefixes:
            self.tag = self._tag_prefixes[handle] + name
        elif handle == "!":
            self.tag = "!" + name
        elif handle == "!!":
            self.tag = CORE + name
        else:
            raise self.error(f'undeclared tag handle "{handle}"')
        return True

    def _check_tag_name(self, name: str) -> str:
        if name and not _TAG_URI.fullmatch(name):
            raise self.error(f"tag name cannot contain such characters: {name}")
        return name

    def _read_verbatim_tag(self) -> str:
        start = self.position + 1
        ends = [at for at in (self.text.find(">", start + 1), self.text.find(END, start + 1)) if at >= 0]
        self.position = min(ends)
        if self.position >= self.length:
            raise self.error("unexpected end of the stream within a verbatim tag")
        self.position += 1
        return self.text[start : self.position - 1]

    def _read_short_tag(self) -> tuple[str, str]:
        handle, named = "!", False
        if self.char() == "!":
            handle, named = "!!", True
            self.position += 1
        start = self.position
        while (char := self.char()) != END and char not in SPACE:
            if char == "!":
                if named:
                    raise self.error("tag suffix cannot contain exclamation marks")
                handle, named = self.text[start - 1 : self.position + 1], True
                if not _TAG_HANDLE.fullmatch(handle):
                    raise self.error("named tag handle cannot contain such characters")
                start = self.position + 1
            self.position += 1
        name = self.text[start : self.position]
        if any(char in FLOW_INDICATOR for char in name):
            raise self.error("tag suffix cannot contain flow indicator characters")
        return handle, name

    def _read_anchor(self) -> bool:
        if self.char() != "&":
            return False
        if self.anchor is not None:
            raise self.error("duplication of an anchor property")
        self.position += 1
        name = self._take(_NAME)
        if not name:
            raise self.error("name of an anchor node must contain at least one character")
        self.anchor = name
        return True

    def _read_alias(self) -> None:
        self.position += 1
        name = self._take(_NAME)
        if not name:
            raise self.error("name of an alias node must contain at least one character")
        if name not in self._anchors:
            raise self.error(f'unidentified alias "{name}"')
        self.result = self._anchors[name]
        self.has_aliases = True
        if id(self.result) in self._open:
            # the server would go on and fail later, or never end
            raise self.error(f'alias "{name}" stands within the node that it names')
        self.skip_separation()
