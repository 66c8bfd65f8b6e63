# SPDX-License-Identifier: MIT
"""Noticing that nobody waits for an answer any more: the client has gone, or the server is about to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from starlette.types import Receive

from openpaisdk.local.services import Services


class Departure:
    """While the context is open, calls ``on_gone`` once when the client or the server goes.

    Args:
        services: The server.
        receive: The request's channel; its body must have been read.
        on_gone: What stops the work for this client.
    """

    def __init__(self, services: Services, receive: Receive, on_gone: Callable[[], object]) -> None:
        self._services = services
        self._receive = receive
        self._on_gone = on_gone
        self.happened = False

    async def __aenter__(self) -> Departure:
        self._services.waiting.add(self._leave)
        self._listener = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._services.waiting.discard(self._leave)
        self._listener.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if not self.happened:
            self.happened = True
            self._on_gone()
