# SPDX-License-Identifier: MIT
"""What all routes share: how they are matched, and how bodies are read and written."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from openpaisdk.constants import BODY_LIMIT_BYTES
from openpaisdk.local.api_error import ApiError, invalid_parameters

Endpoint = Callable[[Request], Awaitable[Response]]


def to_json(value: Any) -> bytes:
    """Return a body as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


ANY = "ANY"
"""Stands for every method, for the few addresses that do not tell them apart."""


class ApiRoute(Route):
    """A route of one method; another method is another address (rest-api-v2 §16: 404, not 405)."""

    def __init__(self, method: str, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.method = method
        if method == ANY:
            self.methods = set()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the method first, which is cheaper."""
        if self.methods and scope["method"] not in self.methods:
            return Match.NONE, {}
        return super().matches(scope)


class JsonReply(Response):
    """A JSON answer as the API sends it; ``content`` is the value, or its text as bytes."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        body = content if isinstance(content, bytes) else to_json(content)
        super().__init__(body, status_code, {"content-type": "application/json; charset=utf-8"})


def number_of(digits: str) -> int:
    """Return the number of decimal digits; what no file or database could hold is as much as they can."""
    return int(digits) if len(digits) < 19 else 10**18


def declared_length(request: Request) -> int:
    """Return the length of a body as its sender says it, 0 when that is not known."""
    declared = request.headers.get("content-length", "")
    return number_of(declared) if declared.isdecimal() else 0


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        ApiError: 413, it is larger than a rest-server takes (rest-api-v2 §1).
    """
    too_large = ApiError(413, None, "request entity too large")
    if declared_length(request) > BODY_LIMIT_BYTES:
        raise too_large
    pieces = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > BODY_LIMIT_BYTES:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces)


def content_type(request: Request) -> str:
    """Return the media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_values(request: Request) -> dict[str, Any]:
    """Return the object in a JSON or form body; an empty one when there is no body.

    Raises:
        ApiError: 400, the body is neither.
    """
    body = await read_body(request)
    if not body:
        return {}
    kind = content_type(request)
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if kind != "application/json":
        raise invalid_parameters('"value" must be an object')
    value = _parse_json(body)
    if not isinstance(value, dict):
        raise invalid_parameters('"value" must be an object')
    return value


def _parse_json(body: bytes) -> Any:
    """Return the value in a body, all of whose texts and numbers can be stored and sent again.

    Raises:
        ApiError: 400, it has none; as a real server's, the refusal has no code.
    """
    try:
        value = json.loads(body)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ApiError(400, None, "the body is not JSON: it is nested too deeply") from None
    except ValueError as exc:
        raise ApiError(400, None, f"the body is not JSON: {exc}") from exc
    return value


def field_error(name: str, problem: str) -> ApiError:
    """Return the refusal of one field, worded as the API's validator words it."""
    return invalid_parameters(f'child "{name}" fails because ["{name}" {problem}]')


def text_field(values: dict[str, Any], name: str) -> str:
    """Return a field that has to be a text with something in it.

    Raises:
        ApiError: 400.
    """
    if name not in values:
        raise field_error(name, "is required")
    value = values[name]
    if not isinstance(value, str):
        raise field_error(name, "must be a string")
    if not value:
        raise field_error(name, "is not allowed to be empty")
    return value
