# SPDX-License-Identifier: MIT
"""One request to the storage: its parameters, read and refused as Hadoop does, and what its token opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from openpaisdk.local.access.auth import Identity
from openpaisdk.local.access.users import ATTEMPT
from openpaisdk.local.files.hdfs_errors import RemoteError, denied, illegal
from openpaisdk.local.files.storage_tree import clean_path


class Call:
    """One request: who asks, for which path, with which parameters.

    Args:
        request: The request.
        path: A clean path, which the token opens.
        values: The parameters; names in lower case.
        identity: Who asks.
    """

    def __init__(self, request: Request, path: str, values: Mapping[str, str], identity: Identity) -> None:
        self.request = request
        self.path = path
        self.values = values
        self.identity = identity

    @property
    def host(self) -> str:
        """Host and port that the client reached us by."""
        return self.request.headers["host"]

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a parameter that is ``true`` or ``false``."""
        value = self.values.get(name, "").lower()
        if value not in ("true", "false", ""):
            raise _invalid(name, f'Failed to parse "{value}" to Boolean.')
        return value == "true" if value else default

    def number(self, name: str, default: int, *, at_least: int | None = None) -> int:
        """Return a parameter that is a whole number."""
        value = self.values.get(name, "")
        if not value:
            return default
        if not (value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 20):
            raise _invalid(name, f'Failed to parse "{value}" as a radix-10 long integer.')
        number = int(value)
        if at_least is not None and number < at_least:
            raise _invalid(name, f"Invalid parameter range: {name} = {number} < {at_least}")
        return number

    def mode(self) -> int | None:
        """Return the ``permission`` parameter, the sticky bit among it."""
        value = self.values.get("permission", "")
        if not value:
            return None
        try:
            mode = int(value, 8)
        except ValueError as exc:
            raise _invalid("permission", f'Failed to parse "{value}" as a radix-8 short integer.') from exc
        if not 0 <= mode <= 0o1777:
            raise _invalid("permission", f"Invalid parameter range: permission = {value} > 1777")
        return mode

    def text(self, name: str) -> str:
        """Return a parameter that must be there."""
        value = self.values.get(name, "")
        if not value:
            operation = self.values["op"].upper()
            raise illegal(f"Required param {name} for op: {operation} is null or empty")
        return value

    def other_path(self, name: str, value: str) -> str:
        """Return a path that a parameter names, which is changed as well."""
        if not value.startswith("/"):
            raise _invalid(name, f'Invalid parameter value: {name} = "{value}" is not an absolute path.')
        path = clean_path(value)
        check_access(self.identity, path, writes=True)
        return path

    def data_uri(self) -> str:
        """Return the address of the second step, with the same parameters, token included."""
        scope = self.request.scope
        query: bytes = scope["query_string"]
        words = [
            word for word in query.decode("latin-1").split("&") if not word.lower().startswith("noredirect=")
        ]
        return f"http://{self.host}{scope['raw_path'].decode('latin-1')}?{'&'.join([*words, 'data=true'])}"


Operation = Callable[[Call], Awaitable[Response]]
Operations = dict[tuple[str, str], Operation]
"""By method and name."""


def check_access(identity: Identity, path: str, *, writes: bool) -> None:
    """Raise when a token does not open a path.

    An attempt's token opens its job's folder, and reads the files that the job's document names; users who
    are no admins change only what is below their own folder.

    Raises:
        RemoteError: It does not.
    """
    if identity.token.kind == ATTEMPT:
        is_named = not writes and path in identity.token.readable
        if not is_named and not _is_below(path, identity.token.path_prefix or "/.nothing"):
            raise denied(path)
    elif writes and not identity.admin and not _is_below(path, f"/user/{identity.user}"):
        raise denied(path)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _invalid(name: str, reason: str) -> RemoteError:
    return illegal(f'Invalid value for webhdfs parameter "{name}": {reason}')
