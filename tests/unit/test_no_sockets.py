# SPDX-License-Identifier: MIT
"""The guard of the unit tests works: no socket can be connected or bound."""

from __future__ import annotations

import _socket
import socket

import pytest


def test_no_connection_is_made() -> None:
    with pytest.raises(AssertionError, match="opens a socket"):
        socket.create_connection(("127.0.0.1", 9))
    with pytest.raises(AssertionError, match="opens a socket"):
        _socket.socket().connect(("127.0.0.1", 9))


def test_nothing_listens() -> None:
    with socket.socket() as listener, pytest.raises(AssertionError, match="opens a socket"):
        listener.bind(("127.0.0.1", 0))
