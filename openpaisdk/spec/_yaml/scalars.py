# SPDX-License-Identifier: MIT
"""Scalars: plain, quoted and block ones."""

from __future__ import annotations

import re

from openpaisdk.spec._yaml.cursor import BLANK, BREAK, END, FLOW_INDICATOR, SPACE, Cursor, folded

_NOT_FIRST = frozenset(SPACE + FLOW_INDICATOR + "#&*!|>'\"%@`")
_PLAIN = re.compile(r"[^\0\n\r:#]*(?:(?::(?![\t \n\r])|(?<![\t \n\r])#)[^\0\n\r:#]*)*")
_PLAIN_IN_FLOW = re.compile(
    r"[^\0\n\r:#,\[\]{}]*(?:(?::(?![\t \n\r,\[\]{}])|(?<![\t \n\r])#)[^\0\n\r:#,\[\]{}]*)*"
)
_SINGLE_QUOTED = re.compile(r"[^\0\n\r']+")
_DOUBLE_QUOTED = re.compile(r'[^\0\n\r"\\]+')
_REST_OF_LINE = re.compile(r"[^\0\n\r]*")
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "\\": "\\",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def read_plain(cursor: Cursor, indent: int, *, in_flow: bool) -> str | None:
    """Read a plain scalar, or return ``None`` where none begins."""
    text = cursor.text
    first = text[cursor.position]
    if first in _NOT_FIRST:
        return None
    if first in "?-":
        following = text[cursor.position + 1]
        if following in SPACE or (in_flow and following in FLOW_INDICATOR):
            return None
    run = _PLAIN_IN_FLOW if in_flow else _PLAIN
    pieces: list[str] = []
    start = end = cursor.position
    breaks = 0
    while text[cursor.position] != END:
        if cursor.position == cursor.line_start and cursor.at_document_mark():
            break
        match = run.match(text, cursor.position)
        if match is not None and match.end() > cursor.position:
            if breaks:
                pieces += (cursor.slice_plain(start, end), folded(breaks))
                start = end = cursor.position
                breaks = 0
            cursor.position = match.end()
            length = len(match[0].rstrip(BLANK))
            end = match.start() + length if length else end
        if text[cursor.position] not in BREAK:
            break
        before = (cursor.line, cursor.line_start, cursor.line_indent)
        cursor.skip_separation(comments=False)
        if cursor.line_indent < indent:
            cursor.position = end
            cursor.line, cursor.line_start, cursor.line_indent = before
            break
        breaks = cursor.line - before[0]
    pieces.append(cursor.slice_plain(start, end))
    return "".join(pieces) or None


def read_single_quoted(cursor: Cursor) -> str | None:
    """Read a text in single quotes, or return ``None`` where none begins."""
    if cursor.char() != "'":
        return None
    cursor.position += 1
    start = end = cursor.position
    pieces: list[str] = []
    while (char := cursor.char()) != END:
        if char == "'":
            pieces.append(cursor.slice_quoted(start, cursor.position))
            cursor.position += 1
            if cursor.char() != "'":
                return "".join(pieces)
            start = cursor.position
            cursor.position += 1
            end = cursor.position
        elif char in BREAK:
            pieces.append(cursor.slice_quoted(start, end))
            pieces.append(folded(cursor.skip_separation(comments=False)))
            start = end = cursor.position
        elif cursor.position == cursor.line_start and cursor.at_document_mark():
            raise cursor.error("unexpected end of the document within a single quoted scalar")
        else:
            cursor.skip(_SINGLE_QUOTED)
            end = cursor.position
    raise cursor.error("unexpected end of the stream within a single quoted scalar")


def read_double_quoted(cursor: Cursor) -> str | None:
    """Read a text in double quotes, or return ``None`` where none begins."""
    if cursor.char() != '"':
        return None
    cursor.position += 1
    start = end = cursor.position
    pieces: list[str] = []
    while (char := cursor.char()) != END:
        if char == '"':
            pieces.append(cursor.slice_quoted(start, cursor.position))
            cursor.position += 1
            return _join_surrogates("".join(pieces))
        if char == "\\":
            pieces.append(cursor.slice_quoted(start, cursor.position))
            cursor.position += 1
            pieces.append(_read_escape(cursor))
            start = end = cursor.position
        elif char in BREAK:
            pieces.append(cursor.slice_quoted(start, end))
            pieces.append(folded(cursor.skip_separation(comments=False)))
            start = end = cursor.position
        elif cursor.position == cursor.line_start and cursor.at_document_mark():
            raise cursor.error("unexpected end of the document within a double quoted scalar")
        else:
            cursor.skip(_DOUBLE_QUOTED)
            end = cursor.position
    raise cursor.error("unexpected end of the stream within a double quoted scalar")


def _read_escape(cursor: Cursor) -> str:
    char = cursor.char()
    if char in BREAK:
        cursor.skip_separation(comments=False)
        return ""
    if char in _ESCAPES:
        cursor.position += 1
        return _ESCAPES[char]
    if char not in _HEX_DIGITS:
        raise cursor.error("unknown escape sequence")
    code = 0
    for _ in range(_HEX_DIGITS[char]):
        cursor.position += 1
        if cursor.char() not in "0123456789abcdefABCDEF":
            raise cursor.error("expected hexadecimal character")
        code = code * 16 + int(cursor.char(), 16)
    cursor.position += 1
    return _from_code(code)


def _from_code(code: int) -> str:
    """Return the character of a code; one beyond Unicode becomes what JavaScript's arithmetic makes of it."""
    if code <= 0x10FFFF:
        return chr(code)
    if code >= 0x80000000:  # negative as a 32-bit number, of which the low 16 bits are taken
        return chr(code & 0xFFFF)
    offset = code - 0x10000
    return chr(((offset >> 10) + 0xD800) & 0xFFFF) + chr((offset & 0x3FF) + 0xDC00)


def _join_surrogates(text: str) -> str:
    if text.isascii() or not _SURROGATE_PAIR.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def read_block(cursor: Cursor, indent: int) -> str | None:
    """Read a literal (``|``) or folded (``>``) scalar, or return ``None`` where none begins."""
    style = cursor.char()
    if style not in "|>":
        return None
    keep, text_indent, detected = _read_block_header(cursor, indent)
    pieces: list[str] = []
    has_content = more_indented = False
    empty_lines = 0
    while cursor.char() != END:
        cursor.read_break()
        while (not detected or cursor.position - cursor.line_start < text_indent) and cursor.char() == " ":
            cursor.position += 1
        cursor.line_indent = cursor.position - cursor.line_start
        if not detected:
            text_indent = max(text_indent, cursor.line_indent)
        char = cursor.char()
        if char in BREAK:
            empty_lines += 1
            continue
        if cursor.line_indent < text_indent:
            if keep == "+":
                pieces.append("\n" * (empty_lines + has_content))
            elif keep == "" and has_content:
                pieces.append("\n")
            break
        if style == ">" and char not in BLANK and not more_indented and empty_lines == 0:
            pieces.append(" " if has_content else "")
        elif style == ">" and char not in BLANK and not more_indented:
            pieces.append("\n" * empty_lines)
        elif style == ">" and char not in BLANK:
            more_indented = False
            pieces.append("\n" * (empty_lines + 1))
        else:
            more_indented = char in BLANK
            pieces.append("\n" * (empty_lines + has_content))
        has_content = detected = True
        empty_lines = 0
        start = cursor.position
        cursor.skip(_REST_OF_LINE)
        pieces.append(cursor.slice_plain(start, cursor.position))
    return "".join(pieces)


def _read_block_header(cursor: Cursor, indent: int) -> tuple[str, int, bool]:
    """Read what follows ``|`` or ``>``; return the chomping, the indentation and whether it was given."""
    keep, detected = "", False
    while cursor.char() != END:
        cursor.position += 1
        char = cursor.char()
        if char in "+-":
            if keep:
                raise cursor.error("repeat of a chomping mode identifier")
            keep = char
        elif char in "0123456789":
            if char == "0":
                raise cursor.error(
                    "bad explicit indentation width of a block scalar; it cannot be less than one"
                )
            if detected:
                raise cursor.error("repeat of an indentation width identifier")
            indent, detected = indent + int(char) - 1, True
        else:
            break
    if cursor.char() in BLANK:
        cursor.skip_blanks()
        if cursor.char() == "#":
            cursor.skip(_REST_OF_LINE)
    return keep, indent, detected
