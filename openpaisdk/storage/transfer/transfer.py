# SPDX-License-Identifier: MIT
"""What an upload and a download have in common."""

from __future__ import annotations

from openpaisdk.storage.transfer.progress import Meter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from openpaisdk.errors import OpenPaiError
    from openpaisdk.storage.base import Storage
    from openpaisdk.storage.transfer.progress import Progress

AGAIN_HINT = "what arrived is kept: the same command goes on from there"


class Transfer:
    """One call of ``upload`` or ``download``; see there for what the options mean."""

    def __init__(
        self,
        storage: Storage,
        *,
        overwrite: bool = False,
        verify: bool = True,
        on_progress: Callable[[Progress], object] | None = None,
        on_note: Callable[[str], object] | None = None,
    ) -> None:
        self._storage = storage
        self._overwrite = overwrite
        self._verify = verify
        self._on_progress = on_progress
        self._on_note = on_note
        self._notes: set[str] = set()
        self._meter = Meter(0, 0, None)

    def _begin(self, size: int | None, files: int) -> None:
        """Begin to count: so many bytes and files there are to move."""
        self._meter = Meter(size, files, self._on_progress)

    def _note(self, text: str) -> None:
        """Tell the user something, once."""
        if self._on_note is not None and text not in self._notes:
            self._notes.add(text)
            self._on_note(text)


def speak_of(error: OpenPaiError, aside: str, target: str) -> None:
    """Let an error name what the user knows, not the place where it is built."""
    error.message = error.message.replace(aside, target)
    error.args = (error.message,)
