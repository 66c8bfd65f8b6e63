# SPDX-License-Identifier: MIT
"""https, proxies and everything else that plain sockets do not do, by the ``requests`` package."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import requests

from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import split_url
from openpaisdk.rest.transport import Response, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openpaisdk.rest.transport import Request

_PIECE_BYTES = 1 << 16


class RequestsTransport(Transport):
    """One session a thread: ``requests`` promises no more.

    Args:
        verify: Whether certificates are checked, or the path of a CA bundle.
    """

    def __init__(self, *, verify: bool | str = True) -> None:
        self._verify = verify
        self._of_thread = threading.local()

    def send(self, request: Request) -> Response:
        try:
            reply = self._session().request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                timeout=request.timeout,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as exc:
            raise _transport_error(exc, request) from exc
        headers = {name.lower(): value for name, value in reply.headers.items()}
        headers.pop("content-encoding", None)  # already undone by the time the body is seen
        return Response(reply.status_code, headers, _pieces(reply, request))

    def close(self) -> None:
        session = getattr(self._of_thread, "session", None)
        if session is not None:
            session.close()
            del self._of_thread.session

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = requests.Session()
            # Without an auth of its own a session lets ~/.netrc replace the Authorization header.
            session.auth = _leave_as_it_is
            self._of_thread.session = session
        return session


def _leave_as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _pieces(reply: requests.Response, request: Request) -> Iterator[bytes]:
    try:
        # read1 semantics: a follower must see a line when it comes, not when a buffer is full.
        if reply.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from reply.iter_content(None)
        else:
            yield from reply.iter_content(_PIECE_BYTES)
    except requests.RequestException as exc:
        raise _transport_error(exc, request) from exc
    finally:
        reply.close()


def _transport_error(exc: requests.RequestException, request: Request) -> TransportError:
    url = split_url(request.url)
    peer = f"{url.host}:{url.port}"
    text = str(exc).lower()
    kind, message, sent = "reset", f"{peer} closed the connection", True
    if isinstance(exc, requests.exceptions.SSLError):
        reason = "the certificate is not trusted" if "certificate" in text else "no secure connection"
        kind, message, sent = "tls", f"{peer}: {reason}", False
    elif isinstance(exc, requests.exceptions.ProxyError):
        kind, message, sent = "network", f"{peer}: the proxy does not connect", False
    elif isinstance(exc, requests.exceptions.ConnectTimeout):
        kind, message = "connect-timeout", f"{peer} did not answer within {request.timeout[0]:g} s"
        sent = False
    elif isinstance(exc, requests.exceptions.Timeout) or "timed out" in text:
        kind, message = "read-timeout", f"{peer} did not answer in time"
    elif "refused" in text:
        kind, message, sent = "refused", f"{peer}: connection refused", False
    elif "resolve" in text or "getaddrinfo" in text:
        kind, message, sent = "dns", f"no address is known for {url.host!r}", False
    return TransportError(kind, message, sent=sent)
