# SPDX-License-Identifier: MIT
"""The text of a job document on the wire: YAML of one line of JSON per top-level key, quick to read back.

A real cluster masks the block of ``secrets:`` only where it stands at column 0 (protocol-v2 §8).
"""

from __future__ import annotations

import json
import re
from math import isfinite, isnan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOP_LEVEL_KEYS = (
    "protocolVersion",
    "name",
    "type",
    "version",
    "contributor",
    "description",
    "prerequisites",
    "parameters",
    "secrets",
    "jobRetryCount",
    "taskRoles",
    "deployments",
    "defaults",
    "extras",
)
"""In the order in which they are written; ``secrets`` is followed by others, so that its block has an end."""

_KNOWN = frozenset(TOP_LEVEL_KEYS)
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_COLON_AFTER_BREAK = re.compile(r"[\r\n][ \t\r\n]*:")


class _NotThisShape(ValueError):
    """The text needs the YAML loader."""


def dump_wire(document: dict[str, Any]) -> str:
    """Return the text to be submitted for ``document``: one line per top-level key, in protocol order.

    Raises:
        TypeError: A value is not text, number, boolean, null, list or mapping.
    """
    known = [key for key in TOP_LEVEL_KEYS if key in document]
    others = [key for key in document if key not in _KNOWN]
    # the masking of secrets runs up to the next line that begins with a word character: quoted keys go first
    return "".join([f"{_dump(str(key))}: {_dump(document[key])}\n" for key in others]) + "".join(
        [f"{key}: {_dump(document[key])}\n" for key in known]
    )


def _dump(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError):
        text = _dump_beyond_json(value)
    if text.isascii() and "\x7f" not in text:
        return text
    return _TO_ESCAPE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _dump_beyond_json(value: Any) -> str:
    """Write a value that holds what YAML knows and JSON does not: infinities, not-a-number, moments."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(str(key))}:{_dump_beyond_json(item)}" for key, item in value.items()]
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_dump_beyond_json(item) for item in value) + "]"
    if isinstance(value, float) and not isfinite(value):
        return ".nan" if isnan(value) else (".inf" if value > 0 else "-.inf")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return json.dumps(value, ensure_ascii=False)


def parse_wire(text: str) -> dict[str, Any] | None:
    """Return the document in a text of ``dump_wire``, or in a JSON object; ``None`` for any other text.

    What is returned is what the YAML loader would return, only sooner. Text with a key given twice, or with
    anything on which JSON and YAML might disagree, is left to that loader.
    """
    try:
        if text[:1] == "{":
            if _COLON_AFTER_BREAK.search(text):
                return None
            value = _decode(text)
            return value if type(value) is dict else None
        return _parse_lines(text)
    except (ValueError, RecursionError):
        return None


def _parse_lines(text: str) -> dict[str, Any]:
    if "\r" in text:
        raise _NotThisShape
    document: dict[str, Any] = {}
    for line in text.split("\n"):
        if not line:
            continue
        key, separator, value = line.partition(": ")
        if not separator or key not in _KNOWN or key in document:
            raise _NotThisShape
        document[key] = _decode(value)
    if not document:
        raise _NotThisShape
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _NotThisShape
    return mapping


def _refuse_constant(name: str) -> Any:
    raise _NotThisShape(name)


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode
