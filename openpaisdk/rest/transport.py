# SPDX-License-Identifier: MIT
"""The seam between the client and the wire: a request goes in, a response comes out.

``HttpTransport`` is what a client uses: plain sockets where they do (http without a proxy), ``requests``
for the rest (https, proxies). A test hands in a transport of its own.
"""

from __future__ import annotations

import os

from openpaisdk.constants import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import is_loopback, split_url, without_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE"))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_REDIRECT_LIMIT = 5
_DEFAULT_TIMEOUT = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)


class Request:
    """One HTTP request; ``timeout`` is (connect, read) in seconds.

    ``only_looks`` marks a POST that changes nothing, so that it may be sent twice.
    """

    __slots__ = ("body", "headers", "method", "only_looks", "timeout", "url")

    def __init__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: tuple[float, float] = _DEFAULT_TIMEOUT,
        only_looks: bool = False,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = dict(headers or {})
        self.body = body
        self.timeout = timeout
        self.only_looks = only_looks

    @property
    def is_idempotent(self) -> bool:
        """Whether sending it twice does what sending it once does."""
        return self.only_looks or self.method in IDEMPOTENT

    def __repr__(self) -> str:
        return f"<Request {self.method} {without_secrets(self.url)}>"


class Response:
    """A status, headers (lower-case names) and a body that is read when it is asked for."""

    __slots__ = ("_body", "_pieces", "headers", "status")

    def __init__(
        self, status: int, headers: Mapping[str, str], pieces: Iterator[bytes] | bytes = b""
    ) -> None:
        self.status = status
        self.headers = headers
        self._body: bytes | bytearray | None = pieces if isinstance(pieces, bytes) else None
        self._pieces: Iterator[bytes] | None = None if isinstance(pieces, bytes) else pieces

    @property
    def body(self) -> bytes | bytearray:
        """The whole body; the connection is free again once it has been read."""
        if self._body is None:
            pieces = list(self._pieces or ())
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self.headers.get("content-encoding") == "gzip":
                import zlib

                body = zlib.decompress(body, 47)
            self._body = body
        return self._body

    def text(self) -> str:
        """Return the body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as a JSON value.

        Raises:
            ValueError: The body is not JSON.
        """
        import json

        return json.loads(self.body)

    def iter_bytes(self) -> Iterator[bytes]:
        """Give the body in pieces as they arrive."""
        if self._body is not None:
            yield bytes(self._body)
        elif self._pieces is not None:
            yield from self._pieces

    def close(self) -> None:
        """Let go of the connection, whether or not the body was read."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Transport:
    """Sends requests; safe to use from several threads."""

    def send(self, request: Request) -> Response:
        """Send ``request`` and return the response with its head read.

        Raises:
            TransportError: No complete head came back.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close idle connections; the transport can still be used afterwards."""


class HttpTransport(Transport):
    """Chooses the way for each address, and follows redirects of a gateway (rest-api-v2 §1)."""

    def __init__(self, *, verify: bool | str = True) -> None:
        self._verify = verify
        self._plain: Transport | None = None
        self._requests: Transport | None = None

    def send(self, request: Request) -> Response:
        for _ in range(_REDIRECT_LIMIT):
            response = self._way_to(request.url).send(request)
            target = redirect_target(request, response)
            if target is None:
                return response
            response.close()
            request = target
        raise TransportError("reset", "the server redirects in circles", sent=True)

    def close(self) -> None:
        for transport in (self._plain, self._requests):
            if transport is not None:
                transport.close()

    def _way_to(self, url: str) -> Transport:
        if uses_plain_socket(url):
            if self._plain is None:
                from openpaisdk.rest._plain import SocketTransport

                self._plain = SocketTransport()
            return self._plain
        if self._requests is None:
            from openpaisdk.rest._requests import RequestsTransport

            self._requests = RequestsTransport(verify=self._verify)
        return self._requests


def uses_plain_socket(url: str, environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether an address is plain http that no proxy stands before."""
    parts = split_url(url)
    if parts.scheme != "http":
        return False
    if is_loopback(parts.host):
        return True
    variables = os.environ if environ is None else environ
    return not any(variables.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"))


def redirect_target(request: Request, response: Response) -> Request | None:
    """Return the request that follows a redirect, or ``None`` when the response is to be taken as it is.

    Credentials go along only to the same host, and never from https down to http.
    """
    place = response.headers.get("location")
    if response.status not in _REDIRECTS or not place:
        return None
    if response.status < 307 and request.method not in ("GET", "HEAD"):
        return None
    here = split_url(request.url)
    there = split_url(place) if "://" in place else split_url(here.origin + "/" + place.lstrip("/"))
    if here.scheme == "https" and there.scheme == "http":
        return None
    headers = request.headers
    if here.host != there.host:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    url = there.origin + there.path
    return Request(
        request.method,
        url,
        headers=headers,
        body=request.body,
        timeout=request.timeout,
        only_looks=request.only_looks,
    )
