# SPDX-License-Identifier: MIT
"""A client of a server that exists only on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from openpaisdk._secret import Secret
from openpaisdk.rest.client import RestClient
from tests import fakes
from tests.fakes import FakeTransport


@pytest.fixture
def transport() -> Iterator[FakeTransport]:
    fake = FakeTransport()
    yield fake
    assert not fake.answers, "replies that nobody asked for"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def make_client(transport: FakeTransport, pauses: list[float]) -> Callable[..., RestClient]:
    def make(uri: str = "http://pai.example", **options: Any) -> RestClient:
        options.setdefault("user", "alice")
        if "password" not in options:
            options.setdefault("token", Secret("a-token"))
        return RestClient(uri, transport=transport, sleep=pauses.append, **options)

    return make


@pytest.fixture
def client(make_client: Callable[..., RestClient]) -> RestClient:
    return make_client()


@pytest.fixture
def answers() -> Any:
    """The makers of replies, for tests to use by name."""
    return fakes
