# SPDX-License-Identifier: MIT
"""TLS, proxies and Kerberos: sessions of ``requests`` that the clients of the ``hdfs`` package log in."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import TYPE_CHECKING, Any

import hdfs
import requests
from requests.adapters import HTTPAdapter

from openpaisdk.errors import ConfigError, MissingExtraError
from openpaisdk.http.connection import TransportError
from openpaisdk.http.urls import split_url
from openpaisdk.storage.hdfs.sending import PIECE_BYTES, body_length

if TYPE_CHECKING:
    from io import RawIOBase

    from openpaisdk._secret import Secret

# The package logs what a server answers; without a handler of the program's own that would go to stderr.
logging.getLogger("hdfs").addHandler(logging.NullHandler())


def open_session(
    address: str,
    *,
    user: str | None,
    token: Secret | None,
    kerberos: bool,
    proxy_user: str | None,
    verify: bool | str,
) -> requests.Session:
    """Return a session that is let in as the matching client of the ``hdfs`` package would be.

    Raises:
        MissingExtraError: Kerberos is wanted, and its packages are missing.
        ConfigError: There is no such CA bundle.
    """
    if isinstance(verify, str) and not os.path.exists(verify):
        raise ConfigError(f"there is no CA bundle {verify!r}", hint="`verify` in clusters.json names it")
    session = requests.Session()
    session.verify = verify
    session.mount("http://", _LargeBlocks())
    session.mount("https://", _LargeBlocks())
    if isinstance(verify, str) or not verify:
        # Else $REQUESTS_CA_BUNDLE wins over what was asked for.
        session.trust_env = False
        session.proxies.update(requests.utils.get_environ_proxies(address))
    if kerberos:
        try:
            from hdfs.ext.kerberos import KerberosClient
        except ImportError as exc:
            raise MissingExtraError("Kerberos", extra="kerberos") from exc
        KerberosClient(address, session=session)
    elif token is not None:
        hdfs.TokenClient(address, token.reveal(), session=session)
    else:
        hdfs.InsecureClient(address, user=user, session=session)
    if proxy_user is not None:
        session.params["doas"] = proxy_user  # type: ignore[index]
    return session


class _LargeBlocks(HTTPAdapter):
    """Sends a file in pieces of 1 MiB: three times as fast as the 16 KiB that are usual."""

    def init_poolmanager(self, *positions: Any, **options: Any) -> None:
        super().init_poolmanager(*positions, blocksize=PIECE_BYTES, **options)


class SessionSender:
    """Sends by ``requests``.

    Args:
        session: An authenticated session.
        timeout: Longest wait for a connection and for each answer, in seconds.
    """

    def __init__(self, session: requests.Session, timeout: tuple[float, float]) -> None:
        self._session = session
        self._timeout = timeout
        # Kerberos: several threads may share a session only after it has been let in once.
        self._first = threading.Lock()
        self._is_let_in = session.auth is None

    def send(self, method: str, url: str, body: RawIOBase | None = None) -> SessionReply:
        if self._is_let_in:
            return self._send(method, url, body)
        with self._first:
            reply = self._send(method, url, body)
            self._is_let_in = reply.status < 400
            return reply

    def _send(self, method: str, url: str, body: RawIOBase | None) -> SessionReply:
        # requests sends an empty file as no body at all, which a server may take for a missing one.
        data = b"" if body is not None and body_length(body) == 0 else body
        headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
        if body is not None and body_length(body) is None:
            data = iter(lambda: body.read(PIECE_BYTES), b"")  # type: ignore[assignment]
        try:
            reply = self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                auth=_let_in_by_address if "delegation=" in url else None,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as exc:
            # Not "from exc": its text holds the whole address, and so perhaps a token.
            raise _transport_error(exc, url) from None
        return SessionReply(reply, url)

    def close(self) -> None:
        self._session.close()


class SessionReply:
    """An answer of ``requests``."""

    def __init__(self, reply: requests.Response, url: str) -> None:
        self.status = reply.status_code
        self.headers = {name.lower(): value for name, value in reply.headers.items()}
        self._reply = reply
        self._url = url

    def read(self) -> bytes:
        try:
            return self._reply.content
        except requests.RequestException as exc:
            raise _transport_error(exc, self._url) from exc

    def read_into(self, view: memoryview) -> int:
        try:
            return int(self._reply.raw.readinto(view))
        except Exception as exc:
            # urllib3 raises errors of its own here, below those of requests.
            raise TransportError("reset", "broke off in the middle of an answer", sent=True) from exc

    def close(self) -> None:
        self._reply.close()


def _let_in_by_address(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave out the ticket: the token in an address is enough, and a body could not be sent a second time."""
    return request


def _transport_error(exc: requests.RequestException, url: str) -> TransportError:
    peer = split_url(url).authority
    if isinstance(exc, requests.exceptions.SSLError):
        return TransportError("tls", f"{peer}: {_tls_reason(exc)}", sent=False)
    if isinstance(exc, requests.exceptions.ConnectTimeout):
        return TransportError("connect-timeout", f"{peer} did not answer in time", sent=False)
    if isinstance(exc, requests.exceptions.Timeout):
        return TransportError("read-timeout", f"{peer} did not answer in time", sent=True)
    text = str(exc).lower()
    if "resolve" in text or "getaddrinfo" in text:
        return TransportError("dns", f"no address is known for {peer!r}", sent=False)
    if "refused" in text:
        return TransportError("refused", f"{peer}: connection refused", sent=False)
    return TransportError("reset", f"{peer} closed the connection", sent=True)


def _tls_reason(exc: BaseException) -> str:
    """Return what TLS found wrong."""
    found: BaseException | None = exc
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {found.verify_message.rstrip('.')}"
        if isinstance(found, ssl.SSLError):
            return f"no secure connection: {(found.reason or 'unknown').replace('_', ' ').lower()}"
        found = found.__cause__ or found.__context__
    return "no secure connection"
