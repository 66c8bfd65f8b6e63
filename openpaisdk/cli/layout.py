# SPDX-License-Identifier: MIT
"""Text of fixed width: tables for lists, aligned lines for a dict. Pure functions, no terminal is touched."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Show = Callable[[Any], str]
    Column = tuple[str, str] | tuple[str, str, Show]
    """Heading, key, and how to show the value (left out: ``cell``)."""

GAP = "  "
NARROWEST = 12
"""Columns are not cut below this width."""


def cell(value: Any) -> str:
    """Return any value as one line of plain text, control characters escaped."""
    if value is None or value in ("", [], {}):
        return "-"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def moment(value: Any) -> str:
    """Return an ISO 8601 moment as ``2026-11-21 01:53:02``; the heading says that it is UTC."""
    text = cell(value)
    return text[:19].replace("T", " ") if len(text) >= 19 else text


def minute(value: Any) -> str:
    """Return an ISO 8601 moment as ``2026-11-21 01:53``."""
    return moment(value)[:16]


def duration(value: Any) -> str:
    """Return seconds as the two largest units of days, hours, minutes and seconds."""
    if value is None:
        return "-"
    rest = int(value)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts or unit == "s":
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def size(value: Any) -> str:
    """Return a number of bytes in the unit that a person would choose."""
    if value is None:
        return "-"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def table(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[Column] = (),
    *,
    width: int | None = None,
    paint: Show | None = None,
) -> str:
    """Return ``rows`` under headings; cells are cut to fit ``width``, and never without one.

    Args:
        rows: What to show, a dict a row.
        columns: Which keys and how; left out, every key of the rows.
        width: Columns of the terminal, ``None`` for as wide as it takes; where all do not fit,
            the last ones are left out.
        paint: Colours a state, which is already padded.
    """
    rows = list(rows)
    if not columns:
        columns = [
            (key.upper().replace("_", " "), key) for key in dict.fromkeys(key for row in rows for key in row)
        ]
    grid = [
        [(column[2] if len(column) > 2 else cell)(row.get(column[1])) for column in columns] for row in rows
    ]
    headings = [column[0] for column in columns]
    widths = [max(map(display_width, texts)) for texts in zip(headings, *grid, strict=True)]
    if width is not None:
        free = [len(column) == 2 and column[1] != "state" for column in columns]
        _fit(widths, free, width)
    shown = len(widths)
    painted = [paint if column[1] == "state" else None for column in columns[:shown]]
    lines = [_line(headings[:shown], widths, [None] * shown)]
    lines += [_line(texts[:shown], widths, painted) for texts in grid]
    return "\n".join(lines) + "\n"


def pairs(mapping: Mapping[str, Any], *, paint: Show | None = None) -> str:
    """Return a dict as lines of key and value, the values under each other."""
    names = {key: key.replace("_", " ") for key in mapping}
    longest = max((len(name) for name in names.values()), default=0)
    lines = []
    for key, value in mapping.items():
        text = paint(cell(value)) if paint and key == "state" else cell(value)
        lines.append(f"{names[key] + ':':<{longest + 2}}{text}\n")
    return "".join(lines)


def display_width(text: str) -> int:
    """Return how many columns a terminal gives to ``text``."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns, an ellipsis in place of what is missing."""
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _fit(widths: list[int], free: Sequence[bool], room: int) -> None:
    """Cut ``widths`` to fit into ``room``: columns of free text give, then the last columns go."""
    while len(widths) > 1:
        least = [
            min(width, NARROWEST) if gives else width for width, gives in zip(widths, free, strict=False)
        ]
        if sum(least) + len(GAP) * (len(least) - 1) <= room:
            break
        widths.pop()
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while excess > 0:
        wide = [place for place, width in enumerate(widths) if free[place] and width > NARROWEST]
        if not wide:
            return
        widest = max(wide, key=lambda place: widths[place])
        widths[widest] -= 1
        excess -= 1


def _line(texts: Sequence[str], widths: Sequence[int], paints: Sequence[Show | None]) -> str:
    parts = []
    last = len(texts) - 1
    for place, (text, width, paint) in enumerate(zip(texts, widths, paints, strict=True)):
        shown = cut(text, width)
        padding = "" if place == last else " " * (width - display_width(shown))
        parts.append((paint(shown) if paint else shown) + padding)
    return GAP.join(parts).rstrip()
