# SPDX-License-Identifier: MIT
"""What plain scalars and tagged nodes mean in the server's dialect (protocol-v2 §7)."""

from __future__ import annotations

import binascii
import datetime
import re
from collections.abc import Callable
from typing import Any

CORE = "tag:yaml.org,2002:"
MERGE = CORE + "merge"
UNRESOLVED = object()
"""Given back for text that is not of the type asked for."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_NULLS = frozenset(["~", "null", "Null", "NULL"])
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(
    r"""(?P<sign>[-+]?)(?:
        (?P<zero>0)
      | 0b(?P<binary>[01_]*[01])
      | 0x(?P<hexadecimal>[0-9a-fA-F_]*[0-9a-fA-F])
      | 0(?P<octal>[0-7_]*[0-7])
      | (?P<decimal>[1-9](?:[0-9_]*[0-9])?)
      | (?P<sexagesimal>[1-9][0-9_]*(?::[0-5]?[0-9])+)
    )""",
    re.VERBOSE,
)
_FLOAT = re.compile(
    r"""(?:
        [-+]?(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?
      | \.[0-9_]+(?:[eE][-+]?[0-9]+)?
      | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
      | [-+]?\.(?:inf|Inf|INF)
      | \.(?:nan|NaN|NAN)
    )(?<!_)""",
    re.VERBOSE,
)
_LEADING_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
    r"(?:[ \t]*(?:Z|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?"
)
_BASE_64 = re.compile(r"[A-Za-z0-9+/=\r\n]*")


def resolve_plain(text: str) -> tuple[str | None, Any]:
    """Return tag and value of a plain scalar; the tag is ``None`` for text that stays text."""
    first = text[0]
    if first in "~nN" and text in _NULLS:
        return CORE + "null", None
    if first in "tTfF" and text in _BOOLEANS:
        return CORE + "bool", _BOOLEANS[text]
    if first in "-+.0123456789":
        for name, resolve in (("int", to_integer), ("float", to_float), ("timestamp", to_moment)):
            value = resolve(text)
            if value is not UNRESOLVED:
                return CORE + name, value
    if text == "<<":
        return MERGE, text
    return None, text


def to_null(value: Any) -> Any:
    """Return ``None`` for the spellings of null."""
    return None if value is None or value in _NULLS else UNRESOLVED


def to_boolean(value: Any) -> Any:
    """Return the boolean that a text spells."""
    return _BOOLEANS.get(value, UNRESOLVED) if isinstance(value, str) else UNRESOLVED


def to_integer(value: Any) -> Any:
    """Return the integer that a text spells, in base 2, 8, 10, 16 or 60."""
    match = _INTEGER.fullmatch(value) if isinstance(value, str) else None
    kind = match.lastgroup if match else None
    if match is None or kind is None:
        return UNRESOLVED
    sign = -1 if match["sign"] == "-" else 1
    digits = match[kind].replace("_", "")
    if kind == "zero":
        return 0
    if kind == "sexagesimal":
        return sign * _base_60([int(part) for part in digits.split(":")])
    try:
        return sign * int(digits, {"binary": 2, "octal": 8, "hexadecimal": 16}.get(kind, 10))
    except ValueError:  # longer than Python converts: far beyond what JavaScript's numbers hold
        return sign * float("inf")


def _base_60(parts: list[Any]) -> Any:
    total = 0
    for part in parts:
        total = total * 60 + part
    return total


def to_float(value: Any) -> Any:
    """Return the floating point number that a text spells."""
    if not isinstance(value, str) or not _FLOAT.fullmatch(value):
        return UNRESOLVED
    text = value.replace("_", "").lower()
    sign = -1.0 if text[0] == "-" else 1.0
    text = text.lstrip("+-")
    if text in (".inf", ".nan"):
        return sign * float(text[1:])
    if ":" in text:
        return sign * _base_60([_leading_number(part) for part in text.split(":")])
    return sign * _leading_number(text)


def _leading_number(text: str) -> float:
    match = _LEADING_NUMBER.match(text)
    return float(match[0]) if match else float("nan")


def to_moment(value: Any) -> Any:
    """Return the aware UTC moment that a text spells; days and hours beyond their range run over."""
    match = (_DATE.fullmatch(value) or _MOMENT.fullmatch(value)) if isinstance(value, str) else None
    if match is None:
        return UNRESOLVED
    groups = (*match.groups(), *(None,) * 7)[:10]
    year, month, day, hour, minute, second = (int(part or 0) for part in groups[:6])
    year = year + 1900 if year < 100 else year
    milliseconds = int((groups[6] or "")[:3].ljust(3, "0"))
    offset = int(groups[8] or 0) * 60 + int(groups[9] or 0)
    try:
        start = datetime.datetime(
            year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=datetime.timezone.utc
        )
        return start + datetime.timedelta(
            days=day - 1,
            hours=hour,
            minutes=minute + (offset if groups[7] == "-" else -offset),
            seconds=second,
            milliseconds=milliseconds,
        )
    except (ValueError, OverflowError):  # beyond the year 9999
        return UNRESOLVED


def to_binary(value: Any) -> Any:
    """Return the bytes that a base 64 text spells."""
    if not isinstance(value, str) or not _BASE_64.fullmatch(value):
        return UNRESOLVED
    compact = re.sub(r"[\r\n]", "", value)
    if len(compact) * 6 % 8:
        return UNRESOLVED
    digits = compact.replace("=", "")
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    if not digits and not compact:
        return b"\0\0\0"  # what the server's decoder makes of no digits at all
    return binascii.a2b_base64(digits + "=" * (-len(digits) % 4))


def _to_text(value: Any) -> Any:
    return "" if value is None else value


def _to_list(value: Any) -> Any:
    return [] if value is None else value


def _to_mapping(value: Any) -> Any:
    return {} if value is None else value


def _to_ordered_pairs(value: Any) -> Any:
    if value is None:
        return []
    names = [next(iter(pair)) for pair in value if isinstance(pair, dict) and len(pair) == 1]
    return value if len(names) == len(value) == len(set(names)) else UNRESOLVED


def _to_pairs(value: Any) -> Any:
    if value is None:
        return []
    if not all(isinstance(pair, dict) and len(pair) == 1 for pair in value):
        return UNRESOLVED
    return [list(next(iter(pair.items()))) for pair in value]


def _to_set(value: Any) -> Any:
    if value is None:
        return {}
    return value if all(item is None for item in value.values()) else UNRESOLVED


def _to_merge(value: Any) -> Any:
    return value if value is None or value == "<<" else UNRESOLVED


TYPES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    CORE + "str": ("scalar", _to_text),
    CORE + "seq": ("sequence", _to_list),
    CORE + "map": ("mapping", _to_mapping),
    CORE + "null": ("scalar", to_null),
    CORE + "bool": ("scalar", to_boolean),
    CORE + "int": ("scalar", to_integer),
    CORE + "float": ("scalar", to_float),
    CORE + "timestamp": ("scalar", to_moment),
    MERGE: ("scalar", _to_merge),
    CORE + "binary": ("scalar", to_binary),
    CORE + "omap": ("sequence", _to_ordered_pairs),
    CORE + "pairs": ("sequence", _to_pairs),
    CORE + "set": ("mapping", _to_set),
}
"""Kind of node and constructor of each tag that may be written out."""
