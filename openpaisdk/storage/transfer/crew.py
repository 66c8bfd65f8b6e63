# SPDX-License-Identifier: MIT
"""Many files at once: a few threads take them from one list; what fails is noted, and the others go on."""

from __future__ import annotations

import threading

from openpaisdk.errors import (
    OpenPaiError,
    StorageError,
    StorageFullError,
    StorageSafeModeError,
    StorageUnavailableError,
    TransferError,
)
from openpaisdk.storage.transfer.progress import CancelledTransferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from openpaisdk.storage.transfer.content import Content
    from openpaisdk.storage.transfer.progress import Meter

    T = TypeVar("T")
    File = tuple[Content, str]
    Failures = list[tuple[str, OpenPaiError]]

THREADS = 32
"""For small files, most of whose time is waiting."""
LARGE_THREADS = 4
LARGE_BYTES = 4 << 20
_FINAL = (StorageUnavailableError, StorageFullError, StorageSafeModeError)
"""After one of these the next file would fare no better."""
_SHOWN = 3


def for_each_file(files: Sequence[File], work: Callable[[File], object], *, meter: Meter) -> Failures:
    """Call ``work`` for each file, for many small ones at once, then for a few large ones at once."""
    large = [file for file in files if file[0].size >= LARGE_BYTES]
    small = [file for file in files if file[0].size < LARGE_BYTES]
    failures = for_each(small, work, meter=meter, name=_name_of, threads=THREADS)
    return failures + for_each(large, work, meter=meter, name=_name_of, threads=LARGE_THREADS)


def _name_of(file: File) -> str:
    return file[0].name


def for_each(
    items: Sequence[T],
    work: Callable[[T], object],
    *,
    meter: Meter,
    name: Callable[[T], str],
    threads: int,
) -> Failures:
    """Call ``work`` for each item, in several threads; return what failed."""
    failures: Failures = []
    bugs: list[BaseException] = []
    left = iter(items)
    taking = threading.Lock()

    def take_turns() -> None:
        while not meter.is_cancelled:
            with taking:
                item = next(left, None)
            if item is None:
                return
            try:
                work(item)
            except CancelledTransferError:
                return
            except OpenPaiError as exc:
                failures.append((name(item), exc))
                if isinstance(exc, _FINAL):
                    meter.cancel()
            except BaseException as exc:
                bugs.append(exc)
                meter.cancel()

    _run_threads(take_turns, min(threads, len(items)), meter)
    if bugs:
        raise bugs[0]
    failures += [(name(item), StorageError("not tried after that")) for item in left]
    return failures


def _run_threads(work: Callable[[], object], count: int, meter: Meter) -> None:
    if count <= 1:
        work()
        return
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        meter.cancel()
        raise


def raise_failures(failures: Failures, count: int, *, hint: str) -> None:
    """Raise one error for all that failed, of ``count`` files."""
    if not failures:
        return
    first = failures[0][1]
    if count == 1:
        raise first
    shown = "; ".join(f"{name}: {error.message}" for name, error in failures[:_SHOWN])
    more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    raise TransferError(
        f"{len(failures)} of {count} files were not transferred: {shown}{more}", failures=failures, hint=hint
    ) from first
