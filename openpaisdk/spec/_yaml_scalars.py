# SPDX-License-Identifier: MIT
"""What scalars mean in the server's dialect of YAML (protocol-v2 §7)."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Callable
from typing import Any

CORE = "tag:yaml.org,2002:"
UNRESOLVED = object()
"""Given back for what is not of the type asked for."""

_WORDS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}
_BASES = {"0b": 2, "0x": 16}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[\da-fA-F_]+|0[0-7_]*|[1-9][\d_]*)", re.ASCII)
_DECIMAL = re.compile(r"(?:[-+]?(?:0|[1-9][\d_]*)(?:\.[\d_]*)?|\.[\d_]+)(?:[eE][-+]?\d+)?", re.ASCII)
_BASE_60 = re.compile(r"([-+]?)(\d[\d_]*(?::[0-5]?\d)+)(\.[\d_]*)?", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?"
    r"(?:[ \t]*(?:Z|([-+]\d\d?)(?::(\d\d))?))?",
    re.ASCII,
)


def resolve_plain(text: str) -> Any:
    """Return what an unquoted scalar stands for: null, a boolean, a number, a moment, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "-+.0123456789":
        for read in (_read_integer, _read_float, _read_moment):
            value = read(text)
            if value is not UNRESOLVED:
                return value
    return text


def _read_integer(text: str) -> Any:
    """Read an integer in base 2, 8 (after a mere 0), 10, 16 or 60."""
    if text[-1:] == "_":
        return UNRESOLVED
    if not _INTEGER.fullmatch(text):
        match = _BASE_60.fullmatch(text)
        return _from_base_60(match) if match and match[3] is None and match[2][0] != "0" else UNRESOLVED
    digits = text.lstrip("+-").replace("_", "")
    base = _BASES.get(digits[:2], 8 if digits[0] == "0" else 10)
    sign = -1 if text[0] == "-" else 1
    try:
        return sign * int(digits, base)
    except ValueError:
        if base != 10:
            return UNRESOLVED  # nothing but underscores after the base
        return sign * float("inf")  # longer than Python converts: far beyond what JavaScript's numbers hold


def _from_base_60(match: re.Match[str]) -> int | float:
    total = 0
    for part in match[2].replace("_", "").split(":"):
        total = total * 60 + int(part)
    fraction = (match[3] or "").replace("_", "")
    value = total + float(fraction + "0") if fraction else total
    return -value if match[1] == "-" else value


def _read_float(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[-1:] == "_":
        return UNRESOLVED
    if _DECIMAL.fullmatch(text):
        try:
            return float(text.replace("_", ""))
        except ValueError:
            return UNRESOLVED
    match = _BASE_60.fullmatch(text)
    return _from_base_60(match) if match and match[3] else UNRESOLVED


def _read_moment(text: str) -> Any:
    """Read a date or a moment as aware UTC; months, days and hours beyond their range run over."""
    match = _DATE.fullmatch(text) or _MOMENT.fullmatch(text)
    if match is None:
        return UNRESOLVED
    groups = (*match.groups(), *(None,) * 6)[:9]
    year, month, day, hour, minute, second = (int(part or 0) for part in groups[:6])
    fraction, offset_hours, offset_minutes = groups[6:]
    offset = int(offset_minutes or 0) * (-1 if (offset_hours or "").startswith("-") else 1)
    # JavaScript takes the years 0 to 99 for those of the last century
    year += (month - 1) // 12 + (1900 if year < 100 else 0)
    try:
        return datetime.datetime(year, (month - 1) % 12 + 1, 1, tzinfo=datetime.timezone.utc) + (
            datetime.timedelta(
                days=day - 1,
                hours=hour - int(offset_hours or 0),
                minutes=minute - offset,
                seconds=second,
                milliseconds=int((fraction or "")[:3].ljust(3, "0")),
            )
        )
    except (ValueError, OverflowError):  # beyond the year 9999
        return UNRESOLVED


def _read_word(kind: type) -> Callable[[str], Any]:
    return lambda text: (
        _WORDS[text] if text and isinstance(_WORDS.get(text, UNRESOLVED), kind) else UNRESOLVED
    )


def _read_binary(text: str) -> Any:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return UNRESOLVED


_TAGGED: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "str": (str, str),
    "null": (str, _read_word(type(None))),
    "bool": (str, _read_word(bool)),
    "int": (str, _read_integer),
    "float": (str, _read_float),
    "timestamp": (str, _read_moment),
    "merge": (str, lambda text: text if text in ("", "<<") else UNRESOLVED),
    "binary": (str, _read_binary),
    "seq": (list, list),
    "map": (dict, dict),
}


def resolve_tagged(tag: str, content: Any) -> tuple[bool, Any]:
    """Return whether a written tag is known for text, list or mapping, and what it makes of ``content``.

    ``content`` is ``None`` where a tag stands before nothing; the value may be ``UNRESOLVED``.
    """
    kind, construct = _TAGGED.get(tag.removeprefix(CORE) if tag.startswith(CORE) else "", (None, None))
    if kind is None or construct is None or not (content is None or isinstance(content, kind)):
        return False, UNRESOLVED
    if content is None and tag == CORE + "null":
        return True, None
    return True, construct(kind() if content is None else content)
