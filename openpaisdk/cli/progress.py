# SPDX-License-Identifier: MIT
"""How far a transfer is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import time

from openpaisdk.cli import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from openpaisdk.cli.command import TextSink
    from openpaisdk.storage.transfer.progress import Progress

_LINE_INTERVAL_S = 10.0
_BAR_WIDTH = 24
_CLEAR = "\r\x1b[K"


class ShownProgress:
    """Takes ``Progress`` as a callback; ``with`` it, the bar is gone at the end.

    Args:
        stream: Where to; ``None`` for nowhere.
        what: What is done, such as ``storing``.
        goes_on: Whether the same command goes on after an interruption; it is said then.
    """

    def __init__(self, stream: TextSink | None, what: str, *, goes_on: bool = False) -> None:
        self._stream = stream
        self._what = what
        self._goes_on = goes_on
        self._has_bar = stream is not None and _is_terminal(stream)
        self._drawn = False
        self._next_line = time.monotonic() + _LINE_INTERVAL_S

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        if self._stream is None:
            return
        if self._has_bar:
            width = _width()
            self._stream.write(_CLEAR + layout.cut(bar(progress, self._what), width - 1))
            self._drawn = True
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_INTERVAL_S
            self._stream.write(f"{self._what}: {figures(progress)}\n")
        else:
            return
        self._stream.flush()

    def __enter__(self) -> ShownProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._stream is None:
            return
        if self._drawn:
            self._stream.write(_CLEAR)
        if kind is KeyboardInterrupt and self._goes_on:
            from openpaisdk.storage.transfer.transfer import AGAIN_HINT

            self._stream.write(f"{AGAIN_HINT}\n")
        self._stream.flush()


def bar(progress: Progress, what: str) -> str:
    """Return one line with a bar."""
    if not progress.bytes_total:
        return f"{what} {figures(progress)}"
    share = min(1.0, progress.bytes_done / progress.bytes_total)
    full = int(share * _BAR_WIDTH)
    return f"{what} [{'#' * full}{'.' * (_BAR_WIDTH - full)}] {share:4.0%} {figures(progress)}"


def figures(progress: Progress) -> str:
    """Return bytes, files, rate and time left as text."""
    total = f" of {layout.size(progress.bytes_total)}" if progress.bytes_total is not None else ""
    parts = [f"{layout.size(progress.bytes_done)}{total}"]
    if progress.files_total != 1:
        parts.append(f"{progress.files_done} of {progress.files_total} files")
    if progress.bytes_per_s > 0:
        parts.append(f"{layout.size(progress.bytes_per_s)}/s")
    if progress.seconds_left is not None and not progress.is_done:
        parts.append(f"{layout.duration(progress.seconds_left)} left")
    return ", ".join(parts)


def _is_terminal(stream: TextSink) -> bool:
    check = getattr(stream, "is_terminal", None)
    return bool(check()) and os.environ.get("TERM") != "dumb" if check is not None else False


def _width() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80
