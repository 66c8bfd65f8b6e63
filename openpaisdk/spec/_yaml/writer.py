# SPDX-License-Identifier: MIT
"""Writing YAML in block style that every reader of YAML understands alike."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from openpaisdk.spec._yaml.types import resolve_plain

_PLAIN = re.compile(r"[A-Za-z_./$<(~0-9][^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*")
_UNSAFE_INSIDE = re.compile(r": |:$| #|\s$|^(?:---|\.\.\.)(?:\s|$)")
_WORDS_OF_OTHER_READERS = frozenset(
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf", "~"]
)
_NUMBER_LIKE = re.compile(r"[-+.0-9][-+.0-9_:a-fA-FxXoOtTzZ ]*")
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_LITERAL = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*")


def dump_yaml(value: Any) -> str:
    """Return ``value`` as YAML in block style, keys in their own order.

    Text that some reader of YAML would take for something else (``no``, ``1e3``, ``2020-01-02``) is quoted;
    text of several lines is a literal block. Top-level keys stand at column 0: a cluster finds ``secrets:``.
    """
    return "".join(_node(value, 0)).lstrip("\n")


def _node(value: Any, indent: int) -> Iterator[str]:
    """Write a value as what follows a colon or a dash: with the space or the line break before it."""
    margin = " " * indent
    if isinstance(value, dict) and value:
        yield "\n"
        for key, item in value.items():
            yield f"{margin}{_scalar_text(str(key))}:"
            # lists stand under their key without more indentation, as people write them
            yield from _spaced(item, indent if isinstance(item, (list, tuple)) else indent + 2)
    elif isinstance(value, (list, tuple)) and value:
        yield "\n"
        for item in value:
            written = "".join(_spaced(item, indent + 2))
            # the first entry of a mapping or list stands beside the dash
            yield f"{margin}-" + (f" {written[indent + 3 :]}" if written[0] == "\n" else written)
    else:
        yield from _leaf(value, indent)
        yield "\n"


def _spaced(value: Any, indent: int) -> Iterator[str]:
    if isinstance(value, (dict, list, tuple)) and value:
        yield from _node(value, indent)
    else:
        yield " "
        yield from _leaf(value, indent)
        yield "\n"


def _leaf(value: Any, indent: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{}"
    elif isinstance(value, (list, tuple)):
        yield "[]"
    elif isinstance(value, str):
        yield _block_text(value, indent) if _suits_block(value) else _scalar_text(value)
    else:
        yield _other_text(value)


def _suits_block(text: str) -> bool:
    """Tell whether a literal block says a text exactly: several printable lines, the first with content."""
    lines = text.split("\n")
    return (
        len(lines) > 1
        and lines[0].strip() != ""
        and lines[0][0] != " "
        and _LITERAL.fullmatch(text) is not None
    )


def _block_text(text: str, indent: int) -> str:
    body = text.rstrip("\n")
    ending = len(text) - len(body)
    chomping = "-" if ending == 0 else "" if ending == 1 else "+"
    margin = " " * max(indent, 2)
    lines = [margin + line if line else "" for line in text[: len(text) - bool(ending)].split("\n")]
    return f"|{chomping}\n" + "\n".join(lines)


def _scalar_text(text: str) -> str:
    if _is_plain(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _is_plain(text: str) -> bool:
    return (
        _PLAIN.fullmatch(text) is not None
        and _UNSAFE_INSIDE.search(text) is None
        and text.lower() not in _WORDS_OF_OTHER_READERS
        and _NUMBER_LIKE.fullmatch(text) is None
        and resolve_plain(text)[0] is None
    )


def _other_text(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, float) and "e" in repr(value):
        mantissa, _, exponent = repr(value).partition("e")
        # readers of YAML 1.1 want a point and a sign
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"
    return json.dumps(value)
