# SPDX-License-Identifier: MIT
"""From the address that a user gives to those of the name nodes' web interface."""

from __future__ import annotations

from openpaisdk.errors import UsageError

WEB_PORT = 9870
SECURE_WEB_PORT = 9871
WEB_SCHEMES = {"http": "http", "https": "https", "webhdfs": "http", "swebhdfs": "https", "hdfs": "http"}
API_PATH = "/webhdfs/v1"
_API_PATHS = (API_PATH, "/webhdfs/api/v1")
"""Where the interface stands: on a name node, and behind the gateway of OpenPAI."""
_RPC_PORTS = ("8020", "9000", "9820")


def split_uri(uri: str) -> tuple[str, str]:
    """Return the address of a storage and the path on it, from a full address of a file."""
    scheme, _, rest = uri.partition("://")
    if scheme in ("http", "https"):
        for api_path in _API_PATHS:
            head, found, path = uri.partition(api_path)
            if found and path[:1] in ("", "/"):
                return head + found, path or "/"
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority}", slash + path or "/"


def web_addresses(uri: str) -> tuple[list[str], str | None]:
    """Return where the interface of each name node begins, and the user that the address names.

    Several name nodes are a list: ``webhdfs://nn1:9870,nn2:9870`` or ``http://nn1:9870;http://nn2:9870``.
    ``hdfs://`` addresses name the port of Hadoop's own protocol; the usual web port is taken instead.

    Raises:
        UsageError: It is no such address.
    """
    found: list[str] = []
    user = None
    for one in uri.split(";"):
        scheme, separator, rest = one.strip().partition("://")
        if scheme not in WEB_SCHEMES or not separator:
            raise UsageError(f"{one!r} is not the address of a name node", hint="such as webhdfs://host:9870")
        authority, slash, path = rest.partition("/")
        name, at, hosts = authority.rpartition("@")
        user = name or user if at else user
        base = _api_path(slash + path) if scheme in ("http", "https") else API_PATH
        for host in hosts.split(","):
            if not host:
                raise UsageError(f"{one!r} names no host", hint="such as webhdfs://host:9870")
            found.append(f"{WEB_SCHEMES[scheme]}://{_web_host(scheme, host)}{base}")
    return found, user


def task_address(uri: str) -> str:
    """Return the address as tasks of a job read it: ``webhdfs://user@nn1:9870,nn2:9870``.

    Raises:
        UsageError: It is not the address of name nodes.
    """
    bases, user = web_addresses(uri)
    scheme = "swebhdfs" if bases[0].startswith("https:") else "webhdfs"
    hosts = ",".join(base.partition("://")[2].partition("/")[0] for base in bases)
    return f"{scheme}://{f'{user}@' if user else ''}{hosts}"


def _api_path(path: str) -> str:
    path = path.rstrip("/")
    return path if path.endswith(_API_PATHS) else path + API_PATH


def _web_host(scheme: str, host: str) -> str:
    name, _, port = (
        host.rpartition(":") if host.rpartition("]")[2].startswith(":") or "]" not in host else (host, "", "")
    )
    if not name:
        name, port = host, ""
    if scheme == "hdfs" and port in ("", *_RPC_PORTS):
        return f"{name}:{WEB_PORT}"
    if scheme == "webhdfs" and not port:
        return f"{name}:{WEB_PORT}"
    if scheme == "swebhdfs" and not port:
        return f"{name}:{SECURE_WEB_PORT}"
    return host
