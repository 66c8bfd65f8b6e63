# SPDX-License-Identifier: MIT
"""The guard of the unit tests works: no socket can be connected or bound."""

from __future__ import annotations

import _socket
import socket

import pytest


def make_plain_one() -> _socket.socket:
    return _socket.socket()


@pytest.mark.parametrize("make", [socket.socket, make_plain_one])
@pytest.mark.parametrize("verb", ["connect", "connect_ex", "bind"])
def test_a_socket_leads_nowhere(make, verb: str) -> None:
    one = make()
    with pytest.raises(AssertionError, match="opens a socket"):
        getattr(one, verb)(("127.0.0.1", 0))
    one.close()
