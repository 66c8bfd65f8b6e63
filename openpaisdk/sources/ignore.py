# SPDX-License-Identifier: MIT
"""Ignore files as git reads them: ``.gitignore``, and ``.openpaiignore``, whose word counts more.

The rules of gitignore(5): a pattern with a slash inside is anchored at the folder of its file, others match
a name at any depth; ``!`` takes back; a pattern that ends with a slash matches folders only; the last match
of the deepest file decides; what is in an ignored folder cannot be taken back. Left aside are the user's
global excludes and that git never ignores what it tracks already. A wildcard stands for one character here,
for one byte in git.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from openpaisdk.errors import SourceError

GIT_IGNORE = ".gitignore"
OWN_IGNORE = ".openpaiignore"
ALWAYS_SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".openpai",
        "__pycache__",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
    }
)
"""Folders that are never sent, beside virtual environments (known by their ``pyvenv.cfg``)."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class _UnmatchableError(Exception):
    """A pattern that nothing can match."""


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file."""

    text: str
    matches: re.Pattern[str]
    is_negated: bool
    folders_only: bool
    by_name: bool


@dataclass(frozen=True)
class IgnoreFile:
    """The rules of one file; about what is below ``base`` (relative to the top, itself ``""``)."""

    origin: str
    base: str
    rules: tuple[Rule, ...]

    def find(self, path: str, *, is_folder: bool) -> Rule | None:
        """Return the rule that decides about ``path`` (relative to the top), or ``None``."""
        below = path[len(self.base) + 1 :] if self.base else path
        name = path.rpartition("/")[2]
        for rule in reversed(self.rules):
            if rule.folders_only and not is_folder:
                continue
            if rule.matches.fullmatch(name if rule.by_name else below):
                return rule
        return None


class Ignores:
    """All ignore files that have a say at one place of a tree; ``enter`` a folder to add its own."""

    def __init__(self, git: tuple[IgnoreFile, ...] = (), own: tuple[IgnoreFile, ...] = ()) -> None:
        self._git = git
        self._own = own

    def enter(self, folder: str, base: str) -> Ignores:
        """Return the rules below ``folder``, which is ``base`` relative to the top."""
        git = read_ignore_file(os.path.join(folder, GIT_IGNORE), base)
        own = read_ignore_file(os.path.join(folder, OWN_IGNORE), base)
        if git is None and own is None:
            return self
        return Ignores((*self._git, git) if git else self._git, (*self._own, own) if own else self._own)

    def add_excludes(self, path: str) -> Ignores:
        """Return the rules with those of a repository's ``info/exclude`` below them."""
        file = read_ignore_file(path, "")
        return Ignores((file, *self._git), self._own) if file else self

    def reason(self, path: str, *, is_folder: bool) -> str | None:
        """Return which file and rule ignore ``path`` (relative to the top), or ``None``."""
        for files in (self._own, self._git):
            for file in reversed(files):
                rule = file.find(path, is_folder=is_folder)
                if rule is not None:
                    return None if rule.is_negated else f"{file.origin}: {rule.text}"
        return None


def skip_reason(folder: str) -> str | None:
    """Return why a folder is never sent, or ``None``."""
    name = os.path.basename(folder)
    if name in ALWAYS_SKIPPED:
        return f"{name} is never sent"
    if os.path.lexists(os.path.join(folder, "pyvenv.cfg")):
        return "it is a virtual environment"
    return None


def read_ignore_file(path: str, base: str) -> IgnoreFile | None:
    """Return the rules of the file at ``path``, or ``None`` when there is no such file or no rule in it.

    Raises:
        SourceError: The file is there and cannot be read.
    """
    if os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = file.read().split("\n")
    except OSError as exc:
        raise SourceError(f"cannot read {path!r}: {(exc.strerror or str(exc)).lower()}") from exc
    rules = tuple(rule for rule in map(parse_rule, lines) if rule is not None)
    name = os.path.basename(path)
    return IgnoreFile(f"{base}/{name}" if base else name, base, rules) if rules else None


def parse_rule(line: str) -> Rule | None:
    """Return the rule that a line states, or ``None`` when it states none."""
    text = _trim(line.removesuffix("\r"))
    if text.strip("!/") == "" or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    pattern = text[1:] if is_negated else text
    folders_only = pattern.endswith("/")
    if folders_only:
        pattern = pattern[:-1]
    by_name = "/" not in pattern
    pattern = pattern.removeprefix("/")
    try:
        expression = _translate(pattern)
    except _UnmatchableError:
        return None
    return Rule(text, re.compile(expression, re.DOTALL), is_negated, folders_only, by_name)


def _trim(text: str) -> str:
    """Cut spaces at the end, except one that a backslash keeps."""
    end, position = 0, 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
            end = min(position, len(text))
        else:
            position += 1
            if text[position - 1] != " ":
                end = position
    return text[:end]


def _translate(pattern: str) -> str:
    """Return the regular expression of a pattern.

    Raises:
        _UnmatchableError: Nothing can match it, such as an open bracket.
    """
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "*":
            position = _translate_stars(pattern, position, out)
        elif character == "?":
            out.append("[^/]")
            position += 1
        elif character == "[":
            position = _translate_bracket(pattern, position, out)
        else:
            if character == "\\":
                position += 1
                if position == len(pattern):
                    raise _UnmatchableError
            out.append(re.escape(pattern[position]))
            position += 1
    return "".join(out)


def _translate_stars(pattern: str, start: int, out: list[str]) -> int:
    end = start
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    at_start = start == 0 or pattern[start - 1] == "/"
    if end - start < 2 or not at_start or (end < len(pattern) and pattern[end] != "/"):
        out.append("[^/]*")
        return end
    if end == len(pattern):
        out.append(".*")
        return end
    out.append("(?:.*/)?")
    return end + 1


def _translate_bracket(pattern: str, start: int, out: list[str]) -> int:
    """Add the expression of the bracket at ``start`` and return where the pattern goes on."""
    position = start + 1
    is_negated = pattern[position : position + 1] in ("!", "^")
    position += is_negated
    members = ""
    first = position
    while position < len(pattern) and (pattern[position] != "]" or position == first):
        named = _named_class(pattern, position)
        member, position = named or _bracket_range(pattern, position)
        members += member
    if position >= len(pattern):
        raise _UnmatchableError
    out.append(f"[^/{members}]" if is_negated else f"(?!/)[{members}]")
    return position + 1


def _named_class(pattern: str, position: int) -> tuple[str, int] | None:
    """Return what ``[:alpha:]`` and the like stand for, or ``None`` when there is none at ``position``."""
    if not pattern.startswith("[:", position):
        return None
    end = pattern.find("]", position + 2)
    if end < 0:
        raise _UnmatchableError
    if end - 1 < position + 2 or pattern[end - 1] != ":":
        return None
    name = pattern[position + 2 : end - 1]
    if name not in _CLASSES:
        raise _UnmatchableError
    return _CLASSES[name], end + 1


def _bracket_range(pattern: str, position: int) -> tuple[str, int]:
    low, position = _bracket_character(pattern, position)
    member = re.escape(low)
    if pattern[position : position + 1] == "-" and pattern[position + 1 : position + 2] not in ("", "]"):
        high, position = _bracket_character(pattern, position + 1)
        if low <= high:
            member = f"{member}-{re.escape(high)}"
    return member, position


def _bracket_character(pattern: str, position: int) -> tuple[str, int]:
    position += pattern[position] == "\\"
    if position >= len(pattern):
        raise _UnmatchableError
    return pattern[position], position + 1
