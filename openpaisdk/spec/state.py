# SPDX-License-Identifier: MIT
"""The states of a job as the rest-server names them, and which of them are final."""

from __future__ import annotations

from enum import Enum

from openpaisdk.spec.names import FINAL_STATES

__all__ = ["FINAL_STATES", "JobState"]


class JobState(str, Enum):
    """State of a job, equal to its name as text."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    SUCCEEDED = "SUCCEEDED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """Whether a job never leaves this state."""
        return self.value in FINAL_STATES

    def __str__(self) -> str:
        return self.value
