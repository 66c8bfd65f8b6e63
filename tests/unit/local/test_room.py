# SPDX-License-Identifier: MIT
"""An upload leaves something of the disk to the others."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from openpaisdk.local.files.hdfs_errors import RemoteError
from openpaisdk.local.files.room import RESERVE_BYTES, Room

BLOCK = 4096


@pytest.fixture
def disk(monkeypatch):
    """A disk of 100 GB; ``free`` is what is left of it."""
    disk = SimpleNamespace(total=100 * 1024**3, free=0)
    monkeypatch.setattr(
        os,
        "fstatvfs",
        lambda _: SimpleNamespace(f_frsize=BLOCK, f_blocks=disk.total // BLOCK, f_bavail=disk.free // BLOCK),
    )
    return disk


def refused(room: Room, size: int) -> bool:
    try:
        room.take(size)
    except RemoteError as exc:
        assert exc.exception == "IOException"
        return True
    return False


def test_a_length_that_does_not_fit_is_refused_before_anything_is_written(disk):
    disk.free = RESERVE_BYTES + 1024**2
    assert not refused(Room(0), 1024**2)
    assert refused(Room(0), 1024**2 + 1)


def test_an_upload_of_unknown_length_ends_where_the_reserve_begins(disk):
    disk.free = RESERVE_BYTES + 40 * 1024**2
    room = Room(0)
    written = 0
    while not refused(room, 64 * 1024):
        written += 64 * 1024
        disk.free -= 64 * 1024
    assert written == 40 * 1024**2


def test_a_small_disk_keeps_a_share_free(disk):
    disk.total, disk.free = 100 * 1024**2, 6 * 1024**2
    assert not refused(Room(0), 1024**2)
    assert refused(Room(0), 2 * 1024**2)
