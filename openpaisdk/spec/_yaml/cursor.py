# SPDX-License-Identifier: MIT
"""A place in a YAML text: moving over white space, comments and line breaks, and saying where an error is."""

from __future__ import annotations

import re

from openpaisdk.errors import SpecError

END = "\0"
"""Stands after the text; the same character within a text ends it early, as it does on the server."""
BLANK = "\t "
BREAK = "\n\r"
SPACE = "\t \n\r"
FLOW_INDICATOR = ",[]{}"

_BLANKS = re.compile(r"[\t ]*")
_SPACES = re.compile(r" *")
_COMMENT = re.compile(r"#[^\n\r\0]*")
_NOT_PRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
_NOT_JSON = re.compile(r"[\x00-\x08\x0a-\x1f]")
_SNIPPET_BREAKS = "\0\r\n\x85\u2028\u2029"


class YamlError(SpecError):
    """The text is not YAML as the server reads it.

    ``reason`` is the server's wording without the place, ``server_text`` all of what it says; ``line`` and
    ``column`` count from 1.
    """

    def __init__(
        self, reason: str, *, line: int, column: int, server_text: str, file: str | None = None
    ) -> None:
        problem = {
            "severity": "error",
            "keyword": "yaml",
            "path": "",
            "message": reason,
            "hint": None,
            "file": file,
            "line": line,
            "column": column,
        }
        where = f"line {line}, column {column}" + (f" of {file!r}" if file else "")
        super().__init__(f"{reason} ({where})", problems=[problem])
        self.reason = reason
        self.line = line
        self.column = column
        self.server_text = server_text


class Cursor:
    """A position in a text, with the number, the start and the indentation of its line (all from 0)."""

    def __init__(self, text: str) -> None:
        if text and text[-1] not in BREAK:
            text += "\n"
        if text[:1] == "\ufeff":
            text = text[1:]
        self.length = len(text)
        self.text = text + END * 4  # as far as anything looks ahead
        self.position = 0
        self.line = 0
        self.line_start = 0
        self.line_indent = 0

    def char(self) -> str:
        """Return the character at the position."""
        return self.text[self.position]

    def error(self, reason: str) -> YamlError:
        """Return the error to raise, placed where the cursor is."""
        column = self.position - self.line_start
        before = self.text[: self.position]
        line_start = max(before.rfind("\n"), before.rfind("\r")) + 1
        where = f"at line {self.line + 1}, column {column + 1}"
        return YamlError(
            reason,
            line=self.line + 1,
            column=self.position - line_start + 1,
            server_text=f"{reason} {where}:\n{self._snippet()}",
        )

    def _snippet(self) -> str:
        """Return the part of the line around the position, with a mark below it."""
        start, head = self.position, ""
        while start > 0 and self.text[start - 1] not in _SNIPPET_BREAKS:
            start -= 1
            if self.position - start > 36:
                head, start = " ... ", start + 5
                break
        end, tail = self.position, ""
        while end < self.length and self.text[end] not in _SNIPPET_BREAKS:
            end += 1
            if end - self.position > 36:
                tail, end = " ... ", end - 5
                break
        mark = " " * (4 + self.position - start + len(head)) + "^"
        return f"    {head}{self.text[start:end]}{tail}\n{mark}"

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Move behind what ``pattern``, which may match nothing, matches here."""
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()

    def skip_blanks(self) -> None:
        """Move over blanks and tabs."""
        self.skip(_BLANKS)

    def read_break(self) -> None:
        """Move to the next line."""
        char = self.text[self.position]
        if char not in BREAK:
            raise self.error("a line break is expected")
        self.position += 2 if self.text.startswith("\r\n", self.position) else 1
        self.line += 1
        self.line_start = self.position

    def skip_separation(self, *, comments: bool = True) -> int:
        """Move over blanks, comments and line breaks to the next content; return how many breaks."""
        text = self.text
        breaks = 0
        while True:
            if text[self.position] in BLANK:
                self.skip(_BLANKS)
            if comments and text[self.position] == "#":
                self.skip(_COMMENT)
            if text[self.position] not in BREAK:
                return breaks
            self.read_break()
            breaks += 1
            self.skip(_SPACES)
            self.line_indent = self.position - self.line_start

    def at_document_mark(self) -> bool:
        """Tell whether ``---`` or ``...`` stands here; only asked at the start of a line."""
        mark = self.text[self.position : self.position + 3]
        return mark in ("---", "...") and self.text[self.position + 3] in SPACE + END

    def slice_plain(self, start: int, end: int) -> str:
        """Return a part of the text in which only printable characters may stand."""
        part = self.text[start:end]
        if not part.isprintable() and _NOT_PRINTABLE.search(part):
            raise self.error("the stream contains non-printable characters")
        return part

    def slice_quoted(self, start: int, end: int) -> str:
        """Return a part of a quoted text, in which control characters must be escaped."""
        part = self.text[start:end]
        if not part.isprintable() and _NOT_JSON.search(part):
            raise self.error("expected valid JSON character")
        return part


def folded(breaks: int) -> str:
    """Return what ``breaks`` line breaks within a flowing scalar stand for."""
    return " " if breaks == 1 else "\n" * (breaks - 1)
