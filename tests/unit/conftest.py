# SPDX-License-Identifier: MIT
"""Unit tests open no sockets: one that tries fails."""

from __future__ import annotations

import socket
from typing import Any, NoReturn

import pytest


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("a unit test opens a socket: hand in a fake, or move it to tests/integration")


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep sockets from being connected or bound; the pair that an event loop wakes itself with is fine."""
    import _socket

    class Refusing(_socket.socket):
        connect = connect_ex = bind = _refuse

    monkeypatch.setattr(_socket, "socket", Refusing)
    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, _refuse)
