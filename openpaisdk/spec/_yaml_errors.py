# SPDX-License-Identifier: MIT
"""Errors of YAML: in the words of the rest-server where a parser's problem has a counterpart there."""

from __future__ import annotations

import re

from openpaisdk.errors import SpecError

MISSING_KEY = (
    "incomplete explicit mapping pair; a key node is missed; or followed by a non-tabulated empty line"
)
MISSING_COLON = "can not read a block mapping entry; a multiline key may not be an implicit key"
NEXT_DOCUMENT = "end of the stream or a document separator is expected"
_ESCAPE_HINT = "in double quotes a backslash is written twice; in single quotes it is an ordinary character"

_WORDING: list[tuple[str, str, str | None]] = [
    (r"flow .*<stream end>", "unexpected end of the stream within a flow collection", "close it"),
    (r"expected ',' or|flow (?:node|sequence|mapping)", "missed comma between flow collection entries", None),
    (
        r"quoted scalar.*end of stream",
        "unexpected end of the stream within a quoted scalar",
        "close the quote",
    ),
    (r"quoted scalar.*document", "unexpected end of the document within a quoted scalar", None),
    (r"unknown escape", "unknown escape sequence", _ESCAPE_HINT),
    (r"quoted scalar.*hex", "expected hexadecimal character", _ESCAPE_HINT),
    (
        r"indentation indicator equal to 0|range 1-9, but found 0",
        "bad explicit indentation width of a block scalar; it cannot be less than one",
        None,
    ),
    (r"\btab\b|'\\t'", "a tab cannot indent", "indent with blanks"),
    (r"simple key.*expected ':'", MISSING_COLON, "is a colon missing, or text after a closing quote?"),
    (r"second colon", MISSING_KEY, "quote a text that contains ': '"),
    (r"mapping values", "bad indentation of a mapping entry", "keys of one mapping begin in one column"),
    (r"sequence entries", NEXT_DOCUMENT, "a list begins on a line of its own"),
    (r"expected (?:a )?comment or (?:a )?line break|chomping", "bad header of a block scalar", None),
    (r"undefined tag handle", "undeclared tag handle", None),
    (r"incompatible YAML", "unacceptable YAML version of the document", None),
    (r"Unicode character escape", "half a pair of surrogates is no character", _ESCAPE_HINT),
    (
        r"(?:anchor|alias)\b.*alphabetic",
        "anchors are named with letters, digits, '-' and '_'",
        None,
    ),
    (r"cannot start any token", "a text cannot begin with this character", "quote the text"),
]


class YamlError(SpecError):
    """The text is not YAML as the server reads it.

    ``reason`` says why without the place; ``line`` and ``column`` count from 1.
    """

    def __init__(
        self, reason: str, *, line: int, column: int, file: str | None = None, hint: str | None = None
    ) -> None:
        problem = {
            "severity": "error",
            "keyword": "yaml",
            "path": "",
            "message": reason,
            "hint": hint,
            "file": file,
            "line": line,
            "column": column,
        }
        where = f"line {line}, column {column}" + (f" of {file!r}" if file else "")
        super().__init__(f"{reason} ({where})", problems=[problem], hint=hint)
        self.reason = reason
        self.line = line
        self.column = column


def reworded(problem: str, before: str, after: str) -> tuple[str, str | None]:
    """Return reason and hint for what the parser says.

    Args:
        problem: What it was doing, and what it met.
        before: The line where it stopped, up to there.
        after: All that follows in the text.
    """
    if after[:1] == "\t":
        problem += " tab"
    elif not after.strip():
        problem += " <stream end>"
    elif ": " in before:
        problem = problem.replace("mapping values", "second colon")
    for pattern, reason, hint in _WORDING:
        if re.search(pattern, problem):
            return reason, hint
    if "block mapping" in problem and before:
        return "bad indentation of a mapping entry", "is there text after a closing quote?"
    if "block" in problem and before:
        return "bad indentation of a sequence entry", None
    return NEXT_DOCUMENT, None
