# SPDX-License-Identifier: MIT
"""Ignore files as git reads them: ``.gitignore``, and ``.openpaiignore``, whose word counts more.

What one line matches is known by the ``pathspec`` library; here is which files have a say where, and in which
order: the last match of the deepest file decides, and what is in an ignored folder cannot be taken back. Left
aside are the user's global excludes and that git never ignores what it tracks already.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openpaisdk.constants import RUNTIME_FOLDER
from openpaisdk.errors import SourceError

if TYPE_CHECKING:
    from pathspec.pattern import RegexPattern

GIT_IGNORE = ".gitignore"
OWN_IGNORE = ".openpaiignore"
ALWAYS_SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".openpai",
        RUNTIME_FOLDER,
        "__pycache__",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
    }
)
"""Folders that are never sent, beside virtual environments (known by their ``pyvenv.cfg``)."""


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file."""

    text: str
    pattern: RegexPattern
    is_negated: bool
    folders_only: bool

    def matches(self, path: str) -> bool:
        """Whether the line is about ``path`` itself."""
        found = self.pattern.match_file(path)
        # the library's expressions have a group that is filled where a folder above matched: the walk
        # through the tree has asked about that one before
        return found is not None and found.match.lastindex is None


@dataclass(frozen=True)
class IgnoreFile:
    """The rules of one file; about what is below ``base`` (relative to the top, itself ``""``)."""

    origin: str
    base: str
    rules: tuple[Rule, ...]

    def find(self, path: str, *, is_folder: bool) -> Rule | None:
        """Return the rule that decides about ``path`` (relative to the top), or ``None``."""
        below = path[len(self.base) + 1 :] if self.base else path
        for rule in reversed(self.rules):
            if (is_folder or not rule.folders_only) and rule.matches(below):
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
    from pathspec import GitIgnoreSpec

    text = line.removesuffix("\r")
    if not text.endswith("\\ "):
        text = text.rstrip(" ")
    # matched apart from the library, which knows files only: to it, data/ is about all that is below
    folders_only = text.endswith("/")
    try:
        with warnings.catch_warnings():
            # re has doubts about brackets such as [[a]
            warnings.simplefilter("ignore", FutureWarning)
            (pattern,) = GitIgnoreSpec.from_lines([text.removesuffix("/")]).patterns
    except (ValueError, re.error):
        # nothing can match it, such as an open bracket; git ignores the line as well
        return None
    if pattern.include is None:
        return None
    return Rule(text, pattern, not pattern.include, folders_only)
