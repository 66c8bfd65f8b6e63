# SPDX-License-Identifier: MIT
"""Reading the logs of tasks, whole or from where the last look ended (rest-api-v2 §5.11)."""

from __future__ import annotations

from openpaisdk.errors import ClusterError
from openpaisdk.rest.replies import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from openpaisdk.rest.client import RestClient

_NO_LOG_YET = ("NoTaskLogError",)
_TAIL_SIZES = (1 << 20, 1 << 24)
"""How many bytes at the end of a log are looked through for its last lines, before all of it is read."""
_OVERLAP_BYTES = 256
"""So much of what is known already is read once more, to see that it is still the same part of the log."""


def read_job_logs(
    client: RestClient,
    job: str,
    *,
    role: str | None,
    index: int | None,
    stream: str,
    tail: int | None,
    name: str,
) -> str:
    """Return the logs of a job's tasks; those of several with a line before each that tells whose it is.

    Raises:
        JobNotFoundError: There is no such job.
        ClusterError: It has tasks, but none of this role or index.
    """
    tasks = choose_tasks(client.job_detail(job), role, index, job=name)
    texts = [read_log(client, task["path"], stream, tail) if task["has_begun"] else "" for task in tasks]
    if len(texts) == 1:
        return texts[0]
    return "".join(
        f"==> {task['role']}-{task['index']} <==\n{_whole_lines(text)}"
        for task, text in zip(tasks, texts, strict=True)
    )


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


def read_log(client: RestClient, path: str, stream: str, tail: int | None = None) -> str:
    """Return what one task has written so far, or its last ``tail`` lines; empty before it has begun.

    Bytes that are not UTF-8 become surrogates, from which ``surrogateescape`` makes the bytes again.
    """
    place = LogPlace(client, path, stream)
    if tail is not None:
        end = place.go_to_end()
        if end is not None and end.count("\n") > tail:
            return last_lines(end + place.finish(), tail)
        for size in _TAIL_SIZES:
            text = place.last(size) if place.offset > size else ""
            if text.count("\n") > tail:
                return last_lines(text, tail)
        place = LogPlace(client, path, stream)
    text = place.read() + place.finish()
    return text if tail is None else last_lines(text, tail)


def last_lines(text: str, count: int) -> str:
    """Return the last ``count`` lines of ``text``."""
    if count <= 0:
        return ""
    place = len(text) - text.endswith("\n")
    for _ in range(count):
        place = text.rfind("\n", 0, place)  # only this ends a line: progress bars go back with \r
        if place < 0:
            return text
    return text[place + 1 :]


class LogPlace:
    """How far the log of one task attempt has been read.

    A cluster keeps the part of a log that was written last, and one part before it (``all.1``): when the
    log grows too large, the last part becomes the one before, and a new one is begun.

    Args:
        client: Where to ask.
        path: The path of the attempt's logs, as the server gave it.
        stream: ``all``, ``stdout`` or ``stderr``.
    """

    __slots__ = ("_before", "_client", "_decoder", "_has_older", "_offset", "_stream", "has_gap", "path")

    def __init__(self, client: RestClient, path: str, stream: str) -> None:
        import codecs

        self.path = path
        self._client = client
        self._stream = stream
        self._offset = 0
        self._before = b""
        """The last bytes before the offset."""
        self._has_older = False
        """Whether there was a part before the one that was read last."""
        self.has_gap = False
        """Whether bytes are missing before those that the last ``read`` gave: two parts were begun since."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def read(self) -> str:
        """Return what was written since the last call; half a character is kept for the next one."""
        self.has_gap = False
        uris = self._locations()
        if self._stream not in uris:
            return ""
        data: bytes | None = None
        if self._has_older or self._older_name not in uris:
            data = self._news(uris[self._stream])
            if data is None:
                uris = self._locations()  # a part that has become the older one since may be missing in it
        if data is None:
            data = self._read_across(uris)
        else:
            self._go_to(self._offset + len(data), self._before + data)
        self._has_older = self._older_name in uris
        return self._decoder.decode(data)

    def go_to_end(self) -> str | None:
        """Go on reading at the end; return what is before it (16 KiB), ``None`` if that cannot be told."""
        uris = self._locations(tail=True)
        self._has_older = self._older_name in uris
        if self._stream not in uris:
            return ""
        response = self._client.read_log(uris[self._stream])
        data = bytes(response.body)
        total = response.headers.get("content-range", "").rpartition("/")[2]
        if response.status == 404:
            return ""
        if response.status == 206 and total.isdigit():
            self._go_to(int(total), data)
        elif response.status == 200:
            self._go_to(len(data), data)
        else:
            return None
        return self._decoder.decode(data)

    @property
    def offset(self) -> int:
        """How many bytes of the last part have been read or passed over."""
        return self._offset

    def last(self, size: int) -> str:
        """Return the last bytes of the log; empty when they cannot be had alone."""
        uri = self._locations().get(self._stream)
        response = self._client.read_log(uri, start=-size) if uri else None
        if response is None:
            return ""
        if response.status != 206:
            response.close()
            return ""
        return bytes(response.body).decode("utf-8", "surrogateescape")

    def finish(self) -> str:
        """Return what is left when nothing will be added: the half of a character."""
        return self._decoder.decode(b"", True)

    @property
    def _older_name(self) -> str:
        return f"{self._stream}.1"

    def _go_to(self, offset: int, before: bytes) -> None:
        self._offset = offset
        self._before = before[-_OVERLAP_BYTES:]

    def _news(self, uri: str) -> bytes | None:
        """Return what follows in a part of the log, ``None`` when it is not the part that was read last."""
        data = self._slice(uri, self._offset - len(self._before))
        if data is None or not data.startswith(self._before):
            return None
        return data[len(self._before) :]

    def _read_across(self, uris: dict[str, str]) -> bytes:
        """Return what follows in the part before the last one, and the last one, which is new to us."""
        result = self._rest_of_older(uris)
        while True:
            end, known = self._offset, self._before
            last = (self._slice(uris[self._stream], 0) if self._stream in uris else None) or b""
            self._go_to(len(last), last)
            if not known or self._slice(uris[self._older_name], end - len(known)) == known:
                return result + last
            older = self._slice(uris[self._older_name], 0) or b""  # what was the last part a moment ago
            self._go_to(len(older), older)
            result += older

    def _rest_of_older(self, uris: dict[str, str]) -> bytes:
        """Go to the end of the part before the last one, and return what was not read of it; a log that was
        cut short has none.
        """
        data: bytes | None = None
        if self._older_name in uris:
            data = self._news(uris[self._older_name])
            if data is None:  # yet another part, which nobody has read
                self.has_gap = True
                self._go_to(0, b"")
                data = self._slice(uris[self._older_name], 0)
            data = data or b""
            self._go_to(self._offset + len(data), self._before + data)
            return data
        self._go_to(0, b"")
        return b""

    def _locations(self, *, tail: bool = False) -> dict[str, str]:
        if not self.path:
            return {}
        if "://" in self.path:
            raise ClusterError(
                "this cluster is too old to give out logs", hint=f"open {self.path} in a browser instead"
            )
        try:
            return self._client.log_locations(self.path, tail=tail)
        except ClusterError as exc:
            # An attempt without logs is 404; a task that does not exist any more makes the server stumble.
            if exc.server_code in _NO_LOG_YET or "log list" in exc.message:
                return {}
            raise

    def _slice(self, uri: str, start: int) -> bytes | None:
        """Return the bytes from ``start`` on, ``None`` when the log is shorter than that."""
        response = self._client.read_log(uri, start=start)
        if response.status == 404:
            return b"" if start == 0 else None
        data = bytes(response.body)
        if response.status == 416:
            total = response.headers.get("content-range", "").rpartition("/")[2]
            return None if total.isdigit() and int(total) < start else b""
        if response.status == 200 and start:
            return data[start:] if len(data) >= start else None
        return data


def _whole_lines(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
