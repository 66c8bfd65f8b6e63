# SPDX-License-Identifier: MIT
"""Jobs: describe one, look at what would be sent, submit it, follow it, fetch its outputs.

Files here may import each other, ``core`` and everything below it; on the start-up path only ``spec.names``.
"""

from __future__ import annotations

from openpaisdk.job.document import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.job.handle import JobHandle

__all__ = ["Job", "JobHandle"]


def __getattr__(name: str) -> Any:
    if name == "JobHandle":
        from openpaisdk.job.handle import JobHandle

        return JobHandle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
