# SPDX-License-Identifier: MIT
"""PyYAML's parser, and what to do where it stumbles over text that is good for the server."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.scanner import ScannerError

_BLANKS = re.compile(r"[ \t]*")
_NOTHING_MORE = re.compile(r"[\r\n#]|\Z")
_REST = re.compile(r".*", re.DOTALL)
_QUOTED = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_ESCAPED_PAIR = re.compile(r"\\(?:u([dD][89abAB]..)\\u([dD][c-fC-F]..)|.)", re.DOTALL)


class PythonParser(yaml.SafeLoader):
    """Turns a text into events as the parser in C does, but for tabs within plain and below block text."""

    def scan_to_next_token(self) -> None:
        """Move to the next token, also over tabs that do not indent."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()

    def scan_flow_scalar(self, style: str) -> Any:
        """Read a quoted text, in which half a pair of surrogates is refused."""
        start = self.get_mark()
        token = super().scan_flow_scalar(style)
        try:
            token.value = token.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise ScannerError(
                "while parsing a quoted scalar", start, "found invalid Unicode character escape code", start
            ) from None
        return token


Parser: Any = getattr(yaml, "CSafeLoader", PythonParser)
"""The parser in C where PyYAML has it."""


def repaired_text(text: str, start: int, index: int, problem: str) -> str | None:
    """Write in other characters what stopped the parser, if a server would read on.

    Args:
        text: All of the text.
        start: Where what the parser was reading begins.
        index: Where it stopped.
        problem: What it said.
    """
    blanks = _BLANKS.match(text, index)
    if blanks and blanks[0][:1] == "\t":
        is_last = _NOTHING_MORE.match(text, blanks.end()) is not None
        if "block scalar" in problem:
            # once the scalar has a line, and so an indentation, the tab ends it as a comment would
            has_line = re.search(r"[\r\n]\s*\S", text[start:index])
            return f"{text[:index]}#{text[index + 1 :]}" if is_last and has_line else None
        if is_last or re.split(r"[\r\n]", text[:index])[-1].strip(" "):
            return text[:index] + " " * len(blanks[0]) + text[blanks.end() :]
    if "Unicode character escape" in problem:
        is_json = text.lstrip()[:1] in "{["  # all quotes are double there
        quoted = (_REST if is_json else _QUOTED).match(text, index - 2)
        whole = _ESCAPED_PAIR.sub(_join_pair, quoted[0]) if quoted else ""
        if quoted and whole != quoted[0]:
            return text[: index - 2] + whole + text[quoted.end() :]
    return None


def _join_pair(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[0]
    return f"\\U{0x10000 + (int(match[1], 16) - 0xD800) * 0x400 + int(match[2], 16) - 0xDC00:08x}"
