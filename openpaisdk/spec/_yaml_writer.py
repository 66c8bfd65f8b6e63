# SPDX-License-Identifier: MIT
"""Writing YAML in block style that every reader of YAML understands alike."""

from __future__ import annotations

import datetime
import re
from typing import Any

import yaml

from openpaisdk.spec._yaml_scalars import resolve_plain

_BLOCK = re.compile(r"(?![ \n])[^\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*")
_BREAK = re.compile("[\n\r\x85\u2028\u2029\ufeff]")
_WORDS_OF_OTHER_READERS = frozenset(
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"]
)
_NUMBER_LIKE = re.compile(r"[-+.0-9][-+.0-9_:a-fA-FxXoOtTzZ ]*")


def dump_yaml(value: Any) -> str:
    """Return ``value`` as YAML in block style, keys in their own order.

    Text that some reader of YAML would take for something else (``no``, ``1e3``, ``2020-01-02``) is quoted;
    text of several lines is a literal block. Top-level keys stand at column 0: a cluster finds ``secrets:``.
    """
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n") if text.endswith("\n...\n") else text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: a cluster masks secrets without looking for aliases."""
        return True

    def analyze_scalar(self, scalar: str) -> Any:
        """Allow literal blocks for lines that end in blanks too."""
        analysis = super().analyze_scalar(scalar)
        analysis.allow_block = analysis.allow_block or _suits_block(scalar)
        return analysis


def _suits_block(text: str) -> bool:
    """Tell whether a literal block says a text exactly: several printable lines, the first with content."""
    return "\n" in text and _BLOCK.fullmatch(text) is not None and text.partition("\n")[0].strip() != ""


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if _BREAK.search(text):
        style = "|" if _suits_block(text) else '"'
    elif (
        text.lower() in _WORDS_OF_OTHER_READERS
        or _NUMBER_LIKE.fullmatch(text)
        or not isinstance(resolve_plain(text), str)
    ):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _write_moment(dumper: _Dumper, moment: datetime.datetime) -> yaml.ScalarNode:
    text = moment.isoformat().replace("+00:00", "Z")
    return dumper.represent_scalar("tag:yaml.org,2002:timestamp", text)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(datetime.datetime, _write_moment)
_Dumper.add_multi_representer(str, lambda dumper, text: _write_text(dumper, str.__str__(text)))
_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)
_Dumper.add_multi_representer(list, yaml.SafeDumper.represent_list)
_Dumper.add_multi_representer(tuple, yaml.SafeDumper.represent_list)
