# SPDX-License-Identifier: MIT
"""Port numbers of a task, computed from its pod's identity as the platform does (runtime-environment §2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

FIRST_PORT = 15000
END_PORT = 40000
"""One past the highest port that is given out."""


def with_default_labels(labels: Mapping[str, int]) -> dict[str, int]:
    """Return ``labels`` (label to number of ports) with ``ssh`` and ``http``, one port each by default."""
    return {**labels, **{label: 1 for label in ("ssh", "http") if label not in labels}}


def task_ports(
    pod_uid: str, labels: Mapping[str, int], start: int = FIRST_PORT, end: int = END_PORT
) -> dict[str, list[int]]:
    """Return the ports of each label for one pod: numbers from ``start``, below ``end``.

    ``ssh`` and ``http`` are added where they are not declared. Nothing is reserved: two labels may get the
    same port, and a port may be in use (the platform then ends the attempt with code 253 and tries again).
    """
    return {
        label: [_port(pod_uid, label, number, start, end) for number in range(count)]
        for label, count in with_default_labels(labels).items()
    }


def _port(pod_uid: str, label: str, number: int, start: int, end: int) -> int:
    digest = hashlib.md5(f"[{pod_uid}][{label}][{number}]".encode(), usedforsecurity=False).hexdigest()
    mixed = int(digest[:12], 16) + int(digest[12:24], 16) + int(digest[24:], 16)
    return mixed % (end - start) + start
