# SPDX-License-Identifier: MIT
"""WebHDFS operations: one at a time, tried again where that can help, on whichever name node serves.

Metadata is asked of a name node. Data goes in two steps: the name node says which data node takes or gives
it, and the data node is left out when it fails.
"""

from __future__ import annotations

import json
import threading
import time

from openpaisdk.errors import StorageError, StorageExistsError, StorageUnavailableError
from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import quote, split_url
from openpaisdk.storage.hdfs.errors import BeingWrittenError, StandbyError, storage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from openpaisdk.storage.hdfs.sending import Body, Reply, Sender

    T = TypeVar("T")

PAUSES_S = (0.1, 0.4, 1.0, 2.0, 4.0, 8.0)
"""Between one try and the next: a name node that takes over needs seconds."""
_METHODS = {"CREATE": "PUT", "MKDIRS": "PUT", "RENAME": "PUT", "APPEND": "POST", "CONCAT": "POST"}
_METHODS |= {"DELETE": "DELETE", "TRUNCATE": "POST", "SETTIMES": "PUT", "SETPERMISSION": "PUT"}
_ASK_AGAIN = 6
_ALIKE = 31
_DEAD = ("refused", "connect-timeout", "dns")
_DEAD_S = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_SAFE_IN_PATH = b"/"


class NodesInUse:
    """Which data nodes files are being sent to at the same time; it may be asked by several threads."""

    def __init__(self) -> None:
        self._of_paths: dict[str, str] = {}

    def others(self, path: str) -> set[str]:
        """Return the nodes to which other files go."""
        return {node for other, node in list(self._of_paths.items()) if other != path}

    def use(self, path: str, node: str) -> None:
        """Note where a file goes."""
        self._of_paths[path] = node

    def release(self, path: str) -> None:
        """Note that a file has arrived, or does not go anywhere any more."""
        self._of_paths.pop(path, None)


class WebHdfs:
    """One HDFS.

    Args:
        bases: Where the interface of each name node begins.
        sender: What sends requests.
        credentials: Parameters of every request that say who asks.
        report: Called after each request with its method, its address, which may hold secrets, and what came
            of it: a status, or an error.
        rewrite: Returns the ``host:port`` to reach a data node at, for the one that the name node names.
        sleep: Waits for so many seconds, for tests.
    """

    def __init__(
        self,
        bases: Sequence[str],
        sender: Sender,
        *,
        credentials: Iterable[tuple[str, str]] = (),
        rewrite: Callable[[str], str] | None = None,
        report: Callable[[str, str, object], object] = lambda *_: None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.bases = list(bases)
        self.sender = sender
        self._credentials = "".join(f"&{name}={quote(value)}" for name, value in credentials)
        self._rewrite = rewrite
        self._report = report
        self.sleep = sleep
        self._current = 0
        self._changing = threading.Lock()
        self._alike: dict[str, list[tuple[str, str, int]]] = {}
        """Operation -> beginnings and ends of addresses of data nodes, and how often they may be used."""
        self._dead: dict[str, float] = {}
        """Data nodes that did not answer, and until when they are left out."""

    @property
    def address(self) -> str:
        """The name node that served last."""
        return self.bases[self._current].partition("/webhdfs")[0]

    def _hosts(self) -> list[str]:
        return [split_url(base).authority for base in self.bases]

    def _send(self, method: str, url: str, body: Body | None = None) -> Reply:
        try:
            reply = self.sender.send(method, url, body)
        except TransportError as exc:
            self._report(method, url, exc)
            raise
        self._report(method, url, reply.status)
        return reply

    # --- metadata ------------------------------------------------------------------------------

    def ask(
        self, op: str, path: str, *, is_done: Callable[[], T | None] | None = None, **options: object
    ) -> Any:
        """Carry out an operation that a name node answers itself, and return its JSON.

        Args:
            op: The operation.
            path: A path of the storage.
            is_done: Asked before another try of what must not happen twice: a value when it has happened
                and only the answer was lost.
            options: Parameters.
        """

        def attempt(base: str, left_out: list[str]) -> Any:
            return self._answer(op, path, self._url(base, op, path, options))

        return self._persist(attempt, is_done)

    def _answer(self, op: str, path: str, url: str) -> Any:
        method = _METHODS.get(op, "GET")
        reply = self._send(method, url)
        if reply.status in _REDIRECTS and "location" in reply.headers:
            # GETFILECHECKSUM, and gateways that send on.
            url = self._data_url(reply, url)
            reply.read()
            reply = self._send(method, url)
        body = reply.read()
        if reply.status >= 300:
            raise storage_error(reply.status, body, path)
        return _read_json(body, self.address)

    # --- data ----------------------------------------------------------------------------------

    def ask_data_node(self, op: str, path: str) -> Any:
        """Carry out an operation that a data node answers, and return its JSON."""

        def attempt(base: str, left_out: list[str]) -> Any:
            place = self._locate(op, path, base, {}, left_out, is_small=True)
            reply = self._data("GET", path, place, None, left_out) if isinstance(place, str) else place
            return _read_json(reply.read(), self.address)

        return self._persist(attempt, None)

    def read(self, path: str, offset: int, *, length: int | None = None, is_small: bool = False) -> Reply:
        """Return an answer whose body is the file from ``offset`` on, to its end or ``length`` bytes of it.

        ``is_small`` says that any data node will do; then all of the file is wanted.
        """
        options: dict[str, object] = {"offset": offset} if offset else {}
        if length is not None:
            options["length"] = length

        def attempt(base: str, left_out: list[str]) -> Reply:
            place = self._locate("OPEN", path, base, options, left_out, is_small=is_small)
            return self._data("GET", path, place, None, left_out) if isinstance(place, str) else place

        return self._persist(attempt, None)

    def write(
        self,
        path: str,
        make_body: Callable[[], Body],
        *,
        only_once: bool = False,
        is_small: bool = False,
        nodes: NodesInUse | None = None,
        **options: object,
    ) -> None:
        """Store a file in place of what may be there.

        A file is never created over another: a try that was given up may still reach a data node, and would
        then replace what a later one has stored.

        Args:
            path: Where to.
            make_body: Called for each try.
            only_once: Whether there can be but one.
            is_small: Whether any data node will do.
            nodes: Data nodes that are better not used while others are to be had; the one that is used is
                added.
            options: Parameters.
        """
        all_options = {"overwrite": "false", **options}
        was_sent = False

        def delete(base: str) -> None:
            self._answer("DELETE", path, self._url(base, "DELETE", path, {}))

        def create(base: str, left_out: list[str]) -> None:
            nonlocal was_sent
            if was_sent:  # a data node takes the whole body before it says that a dead one holds the file
                delete(base)
            avoided = [*left_out, *nodes.others(path)] if nodes else left_out
            place = self._locate("CREATE", path, base, all_options, avoided, is_small=is_small)
            if isinstance(place, str):
                if nodes:
                    nodes.use(path, split_url(place).authority)
                was_sent = not only_once
                place = self._data("PUT", path, place, make_body(), left_out)
            place.read()

        def attempt(base: str, left_out: list[str]) -> None:
            try:
                create(base, left_out)
            except (StorageExistsError, BeingWrittenError):
                if only_once:
                    raise
                delete(base)
                raise StorageUnavailableError(f"{path!r} was there already, and is written anew") from None

        self._persist(attempt, None, tries=1 if only_once else None)

    def _locate(
        self,
        op: str,
        path: str,
        base: str,
        options: dict[str, object],
        left_out: list[str],
        *,
        is_small: bool = False,
    ) -> str | Reply:
        """Return where the data goes to or comes from: not a node that has failed, if it can be.

        Some servers give data themselves at once; then their answer is returned.

        A name node goes on for minutes to send clients to a node that is dead. It leaves out whole hosts, or
        one node by a port that is not told here; so it is first asked again, for it chooses at random.
        """
        if is_small and not left_out:
            return self._locate_alike(op, path, base, options)
        for _ in range(_ASK_AGAIN if left_out else 0):
            place = self._locate_once(op, path, base, options)
            if not isinstance(place, str) or split_url(place).authority not in left_out:
                return place
        if left_out:
            hosts = ",".join(dict.fromkeys(split_url(f"http://{node}").host for node in left_out))
            try:
                return self._locate_once(op, path, base, {**options, "excludedatanodes": hosts})
            except StorageError:
                pass  # there is no other host
        return self._locate_once(op, path, base, options)

    def _locate_alike(self, op: str, path: str, base: str, options: dict[str, object]) -> str | Reply:
        """Return where another file of this kind went, its path in place of the other's.

        A data node serves any path, so the name node is asked once for many small files; now and then again,
        that they do not all go to one node.
        """
        known = self._alike.setdefault(op, [])
        quoted = _quoted(path)
        try:
            before, after, left = known.pop()
        except IndexError:
            place = self._locate_once(op, path, base, options)
            if not isinstance(place, str):
                return place
            before, found, after = place.partition(f"{quoted}?")
            if not found or quoted in after:
                return place  # from a server that has another way of sending on
            left = _ALIKE
        if left:
            known.append((before, after, left - 1))
        return f"{before}{quoted}?{after}"

    def _locate_once(self, op: str, path: str, base: str, options: dict[str, object]) -> str | Reply:
        url = self._url(base, op, path, options)
        reply = self._send(_METHODS.get(op, "GET"), url)
        if reply.status == 200 and op in ("OPEN", "GETFILECHECKSUM"):
            return reply  # the embedded cluster and HttpFS
        body = reply.read()
        if reply.status not in _REDIRECTS or "location" not in reply.headers:
            raise storage_error(reply.status, body, path)
        return self._data_url(reply, url)

    def _data(self, method: str, path: str, url: str, body: Body | None, left_out: list[str]) -> Reply:
        try:
            reply = self._send(method, url, body)
        except TransportError as exc:
            node = split_url(url)
            if node.authority not in left_out and node.authority not in self._hosts():
                left_out.append(node.authority)
                if exc.kind in _DEAD:
                    self._dead[node.authority] = time.monotonic() + _DEAD_S
            raise
        if reply.status >= 300:
            raise storage_error(reply.status, reply.read(), path)
        return reply

    # --- addresses -----------------------------------------------------------------------------

    def _url(self, base: str, op: str, path: str, options: dict[str, object]) -> str:
        words = [f"&{name}={_quoted(str(value))}" for name, value in options.items()]
        return f"{base}{_quoted(path)}?op={op}{''.join(words)}{self._credentials}"

    def _data_url(self, reply: Reply, asked: str) -> str:
        """Return where a redirect points, the data node's name being one that can be reached."""
        location = reply.headers["location"]
        if "://" not in location:
            location = split_url(asked).origin + "/" + location.lstrip("/")
        if self._rewrite is None:
            return location
        url = split_url(location)
        return f"{url.scheme}://{self._rewrite(url.authority)}{url.path}"

    # --- trying again --------------------------------------------------------------------------

    def _persist(
        self,
        attempt: Callable[[str, list[str]], T],
        is_done: Callable[[], T | None] | None,
        tries: int | None = None,
    ) -> T:
        left_out = [node for node, until in list(self._dead.items()) if until > time.monotonic()]
        pauses = list(PAUSES_S)
        if tries is not None:
            del pauses[tries - 1 :]
        standbys = 0
        while True:
            current, known = self._current, len(left_out)
            try:
                return attempt(self.bases[current], left_out)
            except (TransportError, StorageUnavailableError) as exc:
                self._alike.clear()
                problem = exc if isinstance(exc, StorageError) else self._unavailable(exc)
                if len(left_out) > known and tries is None:
                    continue  # another data node may do at once
                self._leave(current)
                if isinstance(exc, StandbyError) and standbys < len(self.bases) - 1:
                    standbys += 1
                    continue
                standbys = 0
                if not pauses or (not left_out and _is_hopeless(exc, len(self.bases))):
                    raise problem from exc
                self.sleep(pauses.pop(0))
                done = is_done() if is_done is not None else None
                if done is not None:
                    return done

    def _leave(self, current: int) -> None:
        """Turn to the next name node, unless another thread has."""
        with self._changing:
            if self._current == current:
                self._current = (current + 1) % len(self.bases)

    def _unavailable(self, exc: TransportError) -> StorageUnavailableError:
        if exc.kind == "tls":
            hint = "`verify` in clusters.json names the CA bundle; the host is named as in its certificate"
        elif exc.kind == "dns":
            hint = "`data_nodes` of the storage maps names of data nodes to hosts that are known here"
        else:
            hint = "check the storage's address and your network"
        return StorageUnavailableError(f"cannot reach the storage at {self.address}: {exc}", hint=hint)


def _read_json(body: bytes, address: str) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError as exc:
        raise StorageError(
            f"{address} does not speak WebHDFS: {body[:80]!r}", hint="check the storage's address"
        ) from exc


def _is_hopeless(exc: Exception, count: int) -> bool:
    """Whether another try would only fail again: no such host, nobody listens, not trusted."""
    return count == 1 and isinstance(exc, TransportError) and exc.kind in ("dns", "refused", "tls")


def _quoted(text: str) -> str:
    try:
        return quote(text, _SAFE_IN_PATH)
    except UnicodeEncodeError:
        raise StorageError(f"{text!r} is not UTF-8, as names on HDFS are", hint="rename it") from None
