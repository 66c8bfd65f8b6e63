# SPDX-License-Identifier: MIT
"""JSON without the ``json`` package, by its own C parts: to load its regular expressions takes longer than a
short command takes for all the rest."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SPACE = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Options:
    """What ``json.JSONDecoder`` is to the scanner, with its defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__


def parse_json(data: str | bytes | bytearray) -> Any:
    """Return what ``json.loads`` returns.

    Raises:
        ValueError: The text is not JSON.
    """
    try:
        from _json import make_scanner

        text = data if isinstance(data, str) else data.decode()
        start = len(text) - len(text.lstrip(_SPACE))
        value, end = make_scanner(_Options)(text, start)  # type: ignore[arg-type]
        if not text[end:].strip(_SPACE):
            return value
    except (ImportError, AttributeError, ValueError, StopIteration):
        pass
    import json

    return json.loads(data)  # another Python, another encoding, or an error to be told of in its words


def dump_json(value: Any) -> str:
    """Return what ``json.dumps`` returns."""
    try:
        from _json import encode_basestring_ascii

        return _dump(value, encode_basestring_ascii)
    except (ImportError, TypeError):
        import json

        return json.dumps(value)


def _dump(value: Any, quote: Callable[[str], str]) -> str:
    """Return a value as JSON.

    Raises:
        TypeError: It holds something else than dicts, lists, texts, numbers and the three constants.
    """
    kind = type(value)
    if kind is str:
        return quote(value)
    if kind is int or (kind is float and value - value == 0):
        return repr(value)
    if kind is list:
        return "[" + ", ".join([_dump(item, quote) for item in value]) + "]"
    if kind is dict:
        return "{" + ", ".join([f"{quote(key)}: {_dump(item, quote)}" for key, item in value.items()]) + "}"
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    raise TypeError(kind.__name__)
