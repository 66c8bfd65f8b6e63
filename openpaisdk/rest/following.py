# SPDX-License-Identifier: MIT
"""Following a job on the embedded cluster, which sends events as they happen, also over its own crashes."""

from __future__ import annotations

import time

from openpaisdk.constants import EXTENSION_PREFIX
from openpaisdk.errors import ClusterConnectionError
from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import encode_query
from openpaisdk.rest.retry import DELAYS_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from openpaisdk.rest.client import RestClient
    from openpaisdk.rest.transport import Response

_LONGEST_SILENCE_S = 86400.0
"""A task may be silent for as long as it likes."""
_BREAKS = 8
"""How often the stream may break off without a single event in between."""


def follow_stream(
    client: RestClient,
    job: str,
    *,
    role: str | None,
    index: int | None,
    stream: str,
    tail: int | None,
    name: str,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Give the events of a job until its ``end``, each byte of its logs once.

    When the server dies it is started again, and the events go on where they broke off; one that is stopped
    on purpose stays so.

    Raises:
        JobNotFoundError: There is no such job.
        ClusterConnectionError: The server was stopped before the job ended.
    """
    bookmark = _Bookmark()
    wanted = [("job", job), ("role", role), ("index", index), ("stream", stream), ("tail", tail)]
    breaks = 0
    while True:
        path = EXTENSION_PREFIX + "/follow" + encode_query([*wanted, ("after", bookmark.text())])
        is_first = bookmark.state is None
        response = client.call(
            "GET", path, job=name, stream=True, may_start=is_first, read_timeout_s=_LONGEST_SILENCE_S
        )
        for event in _events(response):
            breaks = 0
            shown = bookmark.take(event)
            if shown is not None:
                yield shown
                if shown["type"] == "end":
                    return
        if breaks >= _BREAKS:
            raise ClusterConnectionError(
                f"the connection breaks off again and again while job {name!r} is followed",
                hint=f"opai job logs {name} -f goes on",
            )
        sleep(DELAYS_S[min(breaks, len(DELAYS_S) - 1)])
        breaks += 1


class _Bookmark:
    """How far a job has been followed: which attempt of it, and for each task its attempt and the byte."""

    __slots__ = ("_job_attempt", "_of_tasks", "state")

    def __init__(self) -> None:
        self.state: str | None = None
        """The state that was shown last."""
        self._job_attempt: int | None = None
        self._of_tasks: dict[tuple[str, int], tuple[int, int]] = {}

    def take(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Remember how far an event goes; return it as it is shown, ``None`` if it is not."""
        if event["type"] == "begin":
            self._job_attempt = event["job_attempt"]
            self._of_tasks = {(role, index): (attempt, end) for role, index, attempt, end in event["tasks"]}
            return None
        if event["type"] == "state":
            if event["state"] == self.state:
                return None  # said once more after a break
            self.state = event["state"]
        if event["type"] == "note":
            shown = {"type": "note", "text": event["text"]}
        else:
            shown = {key: value for key, value in event.items() if key not in ("end", "base64")}
            if "base64" in event:
                shown["text"] = _text_of(event["base64"])
        if "job_attempt" in event:
            self._job_attempt = event["job_attempt"]
            self._of_tasks = {}
        if "end" in event:
            self._of_tasks[event["role"], event["index"]] = event["attempt"], event["end"]
        return shown

    def text(self) -> str:
        """Return the place as the server understands it; empty before it has said where it begins."""
        if self._job_attempt is None:
            return ""
        places = (
            f",{role}.{index}.{attempt}.{end}" for (role, index), (attempt, end) in self._of_tasks.items()
        )
        return str(self._job_attempt) + "".join(places)


def _text_of(base64: str) -> str:
    """Return bytes that are not all UTF-8 as text; the others become surrogates, and leave as they came."""
    from binascii import a2b_base64

    return a2b_base64(base64).decode("utf-8", "surrogateescape")


def _events(response: Response) -> Iterator[dict[str, Any]]:
    """Give the events of a streamed answer until it ends or breaks off; half a line at its end is dropped."""
    import json

    rest = b""
    try:
        for piece in response.iter_bytes():
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except TransportError:
        return
    finally:
        response.close()
