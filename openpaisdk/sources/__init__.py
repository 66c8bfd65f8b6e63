# SPDX-License-Identifier: MIT
"""A job's sources: which files are chosen, what is ignored, and the archive that is the same on any machine.

Files here import each other and L0 only.
"""

from __future__ import annotations

from openpaisdk.sources.archive import Archive, Entry
from openpaisdk.sources.selection import Selection, choose_named, select

__all__ = ["Archive", "Entry", "Selection", "choose_named", "select"]
