# SPDX-License-Identifier: MIT
"""Reading and following logs where the server offers no stream: by asking for what is new (rest-api-v2
§5.11)."""

from __future__ import annotations

from openpaisdk.errors import ClusterError
from openpaisdk.rest.replies import containers, job_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from openpaisdk.rest.client import RestClient

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 8.0
_NO_LOG_YET = ("NoTaskLogError",)


def choose_tasks(
    detail: dict[str, Any], role: str | None, index: int | None, *, job: str
) -> list[dict[str, Any]]:
    """Return the tasks of a detail that are meant; ``role`` in either spelling.

    Raises:
        ClusterError: The job has tasks, but none of this role or index.
    """
    from openpaisdk.spec.names import convert_role_name, nearest

    tasks = containers(detail)
    roles = list(dict.fromkeys(task["role"] for task in tasks))
    wanted = None if role is None else role if role in roles else convert_role_name(role)
    if tasks and wanted is not None and wanted not in roles:
        hint = nearest(wanted, roles)
        raise ClusterError(
            f"job {job!r} has no task role {role!r} (it has {', '.join(roles)})",
            hint=f"did you mean {hint}?" if hint else None,
        )
    chosen = [task for task in tasks if wanted in (None, task["role"]) and index in (None, task["index"])]
    if tasks and not chosen:
        raise ClusterError(f"job {job!r} has no task with index {index}")
    return chosen


def read_log(client: RestClient, task: dict[str, Any], stream: str, tail: int | None) -> str:
    """Return what one task has written so far, or its last ``tail`` lines; empty before it has begun."""
    data, _ = _last_part(client, task, stream) if tail is not None else (None, 0)
    if data is None or data.count(b"\n") <= (tail or 0):
        data = b"".join(_read_from(client, task, stream, 0, with_rotated=True)[0])
    text = data.decode("utf-8", "replace")
    return text if tail is None else last_lines(text, tail)


def last_lines(text: str, count: int) -> str:
    """Return the last ``count`` lines of ``text``."""
    if count <= 0:
        return ""
    return "".join(text.splitlines(keepends=True)[-count:])


class Follower:
    """Follows the logs of a job by byte offsets and tells of what is new as events.

    Args:
        client: Where to ask.
        job: The job as ``user~name``.
        role: Only this task role.
        index: Only tasks of this index.
        stream: ``all``, ``stdout`` or ``stderr``.
        tail: Begin with so many of the lines that are there already; ``None`` begins at the start.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        client: RestClient,
        job: str,
        *,
        role: str | None,
        index: int | None,
        stream: str,
        tail: int | None,
        sleep: Callable[[float], object],
    ) -> None:
        self._client = client
        self._job = job
        self._role = role
        self._index = index
        self._stream = stream
        self._tail = tail
        self._sleep = sleep
        self._places: dict[tuple[str, int], _Place] = {}

    def events(self) -> Iterator[dict[str, Any]]:
        """Give events until the job has ended: ``log``, ``note``, ``state`` and a last ``end``."""
        from openpaisdk.spec.names import FINAL_STATES

        state = None
        pause_s = FIRST_PAUSE_S
        while True:
            detail = self._client.job_detail(self._job)
            result = job_result(detail, self._job.partition("~")[2])
            is_new = False
            for event in self._news(detail):
                is_new = True
                yield event
            if result["state"] != state:
                state = result["state"]
                yield {"type": "state", "state": state}
            if state in FINAL_STATES:
                yield from self._remainders()
                yield {
                    "type": "end",
                    **{key: result[key] for key in ("state", "exit_code", "user_exit_code")},
                }
                return
            pause_s = FIRST_PAUSE_S if is_new else min(LONGEST_PAUSE_S, pause_s * 1.5)
            self._sleep(pause_s)

    def _news(self, detail: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for task in choose_tasks(detail, self._role, self._index, job=self._job):
            if not task["has_begun"] or not task["path"]:
                continue
            key = (task["role"], task["index"])
            place = self._places.get(key)
            if place is not None and place.pod != task["pod"]:
                yield {"type": "note", "text": f"{key[0]}-{key[1]} begins attempt {task['attempt']}"}
                place = None
            is_first = place is None
            if place is None:
                place = self._places[key] = _Place(task["pod"])
            text = self._read(task, place, only_tail=is_first and self._tail is not None)
            if text:
                yield _log_event(task, text)

    def _read(self, task: dict[str, Any], place: _Place, *, only_tail: bool) -> str:
        if only_tail:
            text = ""
            data, end = _last_part(self._client, task, self._stream)
            if data is not None:
                text = last_lines(place.decode(data), self._tail or 0)
                place.offset = end
            return text
        pieces, place.offset = _read_from(self._client, task, self._stream, place.offset)
        place.task = task
        return "".join(place.decode(piece) for piece in pieces)

    def _remainders(self) -> Iterator[dict[str, Any]]:
        for place in self._places.values():
            text = place.decode(b"", final=True)
            if text and place.task is not None:
                yield _log_event(place.task, text)


class _Place:
    """How far the log of one task attempt has been read, and a character cut in two by the last read."""

    __slots__ = ("_decoder", "offset", "pod", "task")

    def __init__(self, pod: str | None) -> None:
        import codecs

        self.pod = pod
        self.offset = 0
        self.task: dict[str, Any] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, data: bytes, *, final: bool = False) -> str:
        return self._decoder.decode(data, final)


def _log_event(task: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "type": "log",
        "role": task["role"],
        "index": task["index"],
        "attempt": task["attempt"],
        "text": text,
    }


def _locations(client: RestClient, task: dict[str, Any], *, tail: bool = False) -> dict[str, str]:
    if not task["path"]:
        return {}
    if "://" in task["path"]:
        raise ClusterError(
            "this cluster is too old to give out logs", hint=f"open {task['path']} in a browser instead"
        )
    try:
        return client.log_locations(task["path"], tail=tail)
    except ClusterError as exc:
        # An attempt without logs is 404; a task that does not exist any more makes the server stumble (500).
        if exc.server_code in _NO_LOG_YET or "log list" in exc.message:
            return {}
        raise


def _last_part(client: RestClient, task: dict[str, Any], stream: str) -> tuple[bytes | None, int]:
    """Return the end of a log (16 KiB) and its whole length; ``None`` when that is not told."""
    uri = _locations(client, task, tail=True).get(stream)
    if uri is None:
        return b"", 0
    with_content = client.read_log(uri)
    data, total = bytes(with_content.body), with_content.headers.get("content-range", "").rpartition("/")[2]
    if with_content.status == 404:
        return b"", 0
    if with_content.status == 206 and total.isdigit():
        return data, int(total)
    return (data, len(data)) if with_content.status == 200 else (None, 0)


def _read_from(
    client: RestClient, task: dict[str, Any], stream: str, start: int, *, with_rotated: bool = False
) -> tuple[list[bytes], int]:
    """Return what a log holds from byte ``start`` on, and where it ends now.

    A log that has become shorter was rotated: the rest of its older part comes first.
    """
    uris = _locations(client, task)
    if stream not in uris:
        return [], start
    pieces: list[bytes] = []
    if with_rotated and f"{stream}.1" in uris:
        pieces.append(_slice(client, uris[f"{stream}.1"], 0) or b"")
    data = _slice(client, uris[stream], start)
    if data is None:
        older = _slice(client, uris[f"{stream}.1"], start) if f"{stream}.1" in uris else None
        pieces.append(older or b"")
        data, start = _slice(client, uris[stream], 0) or b"", 0
    pieces.append(data)
    return [piece for piece in pieces if piece], start + len(data)


def _slice(client: RestClient, uri: str, start: int) -> bytes | None:
    """Return the bytes from ``start`` on, ``None`` when the log is shorter than that."""
    response = client.read_log(uri, start=start)
    if response.status == 404:
        return b"" if start == 0 else None
    data = bytes(response.body)
    if response.status == 416:
        total = response.headers.get("content-range", "").rpartition("/")[2]
        return None if total.isdigit() and int(total) < start else b""
    if response.status == 200 and start:
        return data[start:] if len(data) >= start else None
    return data
