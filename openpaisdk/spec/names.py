# SPDX-License-Identifier: MIT
"""Names and sizes as the protocol spells them: job names, role names, near misses, amounts of memory."""

from __future__ import annotations

import re

from openpaisdk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FINAL_STATES = ("SUCCEEDED", "STOPPED", "FAILED")
"""States that a job never leaves (rest-api-v2 §5.3)."""

JOB_NAME_LIMIT = 255
_JOB_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_NOT_IN_JOB_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_NOT_IN_ROLE = re.compile(r"[^a-z0-9]")
_SHARE_NAME = re.compile(r"\w+", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_MB_OF_UNIT = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024.0}


def check_job_name(name: str) -> str | None:
    """Return what is wrong with ``name`` as the name of a job, or ``None`` (protocol-v2 §2)."""
    if not name:
        return "is empty"
    if not _JOB_NAME.fullmatch(name):
        wrong = "".join(sorted(set(_NOT_IN_JOB_NAME.findall(name)[0])))
        return f"may hold only letters, digits, '_' and '-', not {wrong!r}"
    if len(name) > JOB_NAME_LIMIT:
        return f"has {len(name)} characters, {JOB_NAME_LIMIT} at most are allowed"
    return None


def convert_role_name(name: str) -> str:
    """Return the orchestrator's form of a role name: lower-case letters and digits (protocol-v2 §2.2)."""
    return _NOT_IN_ROLE.sub("", name.lower())


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that ``word`` most likely stands for, or ``None`` when none is near."""
    choices = list(choices)
    wanted = word.lower()
    limit = max(1, len(wanted) // 3)
    best: str | None = None
    for choice in choices:
        candidate = choice.lower()
        if abs(len(candidate) - len(wanted)) > limit:
            continue
        distance = _edit_distance(wanted, candidate)
        if distance <= limit and distance < max(len(wanted), 2):
            best, limit = choice, distance - 1
    return best or _same_beginning(wanted, choices)


def _same_beginning(wanted: str, choices: Iterable[str]) -> str | None:
    """Return the only choice that shares at least half of the word, and four letters, at its beginning."""
    shared = max(4, (len(wanted) + 1) // 2)
    found = [choice for choice in choices if choice.lower()[:shared] == wanted[:shared]]
    return found[0] if len(found) == 1 and len(wanted) >= shared else None


def _edit_distance(left: str, right: str) -> int:
    """Count insertions, deletions, replacements and swaps of neighbours that turn one word into the other."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1]


def parse_memory_mb(text: str) -> int:
    """Return memory in MB: ``"4096"`` is MB, ``"4g"``, ``"512m"`` and ``"1.5g"`` carry their unit.

    Raises:
        UsageError: The text is not an amount, or less than 1 MB.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise UsageError(
            f"memory {str(text)!r} is not a size", hint="write MB as a number, or a number with m, g or t: 4g"
        )
    amount = float(match[1]) * _MB_OF_UNIT[match[2].lower()]
    if not 1 <= amount < 2**53:
        raise UsageError(f"memory {str(text)!r} is out of range, at least 1 MB is wanted")
    return int(amount)


def parse_share(text: str) -> tuple[str, tuple[int, int, int]]:
    """Return name, CPUs, GPUs and MB of memory of a virtual cluster: ``team=4:1:16g``.

    Raises:
        UsageError: The text has another form, or the name is none that the REST API takes (rest-api-v2 §6).
    """
    name, _, amounts = text.partition("=")
    words = amounts.split(":")
    if not _SHARE_NAME.fullmatch(name) or len(words) != 3 or not all(word.isdecimal() for word in words[:2]):
        raise UsageError(
            f"virtual cluster {text!r} is not NAME=CPU:GPU:MEM",
            hint="for example team=4:1:16g; names have letters, digits and '_'",
        )
    return name, (int(words[0]), int(words[1]), parse_memory_mb(words[2]))


def generate_job_name(prefix: str = "job") -> str:
    """Return a job name that is new with near certainty: ``prefix``, the moment, and some random digits."""
    import os
    import time

    stem = _NOT_IN_JOB_NAME.sub("-", prefix).strip("-")[:200] or "job"
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"
