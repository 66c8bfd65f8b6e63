# SPDX-License-Identifier: MIT
"""Taking addresses apart and putting them together, without the start-up cost of ``urllib``."""

from __future__ import annotations

from openpaisdk.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PORTS = {"http": 80, "https": 443}
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_SECRET_WORDS = ("token", "delegation", "sig", "code", "password")


class Url:
    """An absolute http or https address in its parts; ``path`` holds path and query as they are sent."""

    __slots__ = ("host", "path", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int, path: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path

    @property
    def authority(self) -> str:
        """``host:port`` as a ``Host`` header wants it, without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"


def split_url(text: str) -> Url:
    """Take an address apart; one without a scheme is taken as http.

    Raises:
        ConfigError: The text is not an http or https address, or it holds a user name.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", text.strip()
    scheme = scheme.lower()
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    path = rest[len(authority) :].partition("#")[0]
    if "@" in authority:
        raise ConfigError("an address must not hold user or password", hint="give them as user and passwd")
    host, port = _split_authority(authority, text)
    if scheme not in DEFAULT_PORTS or not host:
        raise ConfigError(
            f"{text!r} is not an http or https address", hint="expected e.g. https://pai.example.com"
        )
    if not path.startswith("/"):
        path = "/" + path
    return Url(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, path)


def _split_authority(authority: str, text: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, _, tail = authority[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{text!r} has a port that is not a number from 1 to 65535")
    return host, int(port)


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encode ``text`` for one part of a path or query; ``safe`` bytes stay."""
    data, kept = text.encode(), _UNRESERVED + safe
    if not data.translate(None, kept):
        return text
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in data)


def encode_query(pairs: Iterable[tuple[str, object]]) -> str:
    """Return ``?name=value&…`` for the pairs whose value is not ``None``, or an empty text."""
    words = [f"{quote(name)}={quote(str(value), b',')}" for name, value in pairs if value is not None]
    return "?" + "&".join(words) if words else ""


def without_secrets(url: str) -> str:
    """Return the address as it may be shown: no values of token-like query parameters, no token in a path."""
    head, _, query = url.partition("?")
    before, marker, token = head.partition("/tokens/")
    if marker and token not in ("application", "check"):
        head = before + marker + "***"
    if not query:
        return head
    shown = [
        f"{name}=***" if any(word in name.lower() for word in _SECRET_WORDS) else f"{name}={value}"
        for name, _, value in (word.partition("=") for word in query.split("&"))
    ]
    return head + "?" + "&".join(shown)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` means this machine."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())
