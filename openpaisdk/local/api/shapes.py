# SPDX-License-Identifier: MIT
"""What bodies of requests have to look like, said once: to check them and to describe them in OpenAPI.

A body that does not fit is refused in the words of the real server's validator, which names the first
problem only: ``child "data" fails because [child "admin" fails because ["admin" must be a boolean]]``.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from openpaisdk.local.api_error import invalid_parameters
from openpaisdk.local.routing import read_values

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_WORD = re.compile(r"\w", re.ASCII)


class ProblemError(Exception):
    """A value does not fit; the text is what the validator says of it."""


class Kind(ABC):
    """What a value may be."""

    @abstractmethod
    def read(self, value: Any, name: str) -> Any:
        """Return the value, converted where forms and clients send texts.

        Raises:
            ProblemError: It does not fit.
        """

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of what fits."""


@dataclass(frozen=True, kw_only=True)
class Text(Kind):
    """A text that is not empty."""

    pattern: str | None = None
    """Regular expression, without classes that Python and JavaScript read differently."""
    pattern_name: str = "value"
    shortest: int = 1
    longest: int | None = None
    one_of: tuple[str, ...] = ()
    email: bool = False
    may_be_empty: bool = False

    def read(self, value: Any, name: str) -> str:
        if self.one_of and value not in self.one_of:
            raise ProblemError(f'"{name}" must be one of [{", ".join(self.one_of)}]')
        if not isinstance(value, str):
            raise ProblemError(f'"{name}" must be a string')
        if not value:
            if self.may_be_empty:
                return value
            raise ProblemError(f'"{name}" is not allowed to be empty')
        if len(value) < self.shortest:
            raise ProblemError(f'"{name}" length must be at least {self.shortest} characters long')
        if self.longest is not None and len(value) > self.longest:
            raise ProblemError(
                f'"{name}" length must be less than or equal to {self.longest} characters long'
            )
        if self.pattern is not None and not re.search(self.pattern, value):
            raise ProblemError(
                f'"{name}" with value "{value}" fails to match the {self.pattern_name} pattern'
            )
        if self.email and not _EMAIL.fullmatch(value):
            raise ProblemError(f'"{name}" must be a valid email')
        return value

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "minLength": 0 if self.may_be_empty else self.shortest}
        if self.one_of:
            schema["enum"] = list(self.one_of)
        if self.longest is not None:
            schema["maxLength"] = self.longest
        if self.pattern is not None:
            schema["pattern"] = self.pattern.replace(r"\Z", "$")
        if self.email:
            schema["format"] = "email"
        return schema


@dataclass(frozen=True)
class Flag(Kind):
    """True or false."""

    def read(self, value: Any, name: str) -> bool:
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise ProblemError(f'"{name}" must be a boolean')
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Number(Kind):
    """A number in a range."""

    smallest: int
    largest: int
    whole: bool = False

    def read(self, value: Any, name: str) -> float:
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ProblemError(f'"{name}" must be a number')
        if self.whole and value != int(value):
            raise ProblemError(f'"{name}" must be an integer')
        if value < self.smallest:
            raise ProblemError(f'"{name}" must be larger than or equal to {self.smallest}')
        if value > self.largest:
            raise ProblemError(f'"{name}" must be less than or equal to {self.largest}')
        return value

    def schema(self) -> dict[str, Any]:
        kind = "integer" if self.whole else "number"
        return {"type": kind, "minimum": self.smallest, "maximum": self.largest}


@dataclass(frozen=True)
class Items(Kind):
    """A list of texts."""

    item: Text = field(default_factory=Text)

    def read(self, value: Any, name: str) -> list[str]:
        if not isinstance(value, list):
            raise ProblemError(f'"{name}" must be an array')
        found = []
        for position, item in enumerate(value):
            try:
                found.append(self.item.read(item, str(position)))
            except ProblemError as exc:
                raise ProblemError(f'"{name}" at position {position} fails because [{exc}]') from None
        return found

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema()}


@dataclass(frozen=True)
class Anything(Kind):
    """Any value of JSON."""

    def read(self, value: Any, name: str) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Shape(Kind):
    """An object with known fields; with ``open`` it may have others, whose names hold a word."""

    fields: dict[str, Kind] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    open: bool = False

    def read(self, value: Any, name: str = "value") -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ProblemError(f'"{name}" must be an object')
        found = {}
        for key, kind in self.fields.items():
            try:
                if key in value:
                    found[key] = kind.read(value[key], key)
                elif key in self.required:
                    raise ProblemError(f'"{key}" is required')
            except ProblemError as exc:
                raise ProblemError(f'child "{key}" fails because [{exc}]') from None
        for key in value:
            if key not in self.fields:
                if not (self.open and _WORD.search(key)):
                    raise ProblemError(f'"{key}" is not allowed')
                found[key] = value[key]
        return found

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {key: kind.schema() for key, kind in self.fields.items()},
            "additionalProperties": self.open,
        }
        if self.open:
            schema["propertyNames"] = {"pattern": "[A-Za-z0-9_]"}
        if self.required:
            schema["required"] = list(self.required)
        return schema


@dataclass(frozen=True, kw_only=True)
class Patch(Kind):
    """``{"patch": …, "data": {…}}``: with ``patch`` some fields are changed, without it all are replaced."""

    fields: dict[str, Kind]
    key: str
    """The field that says what is changed."""
    whole: tuple[str, ...]
    """The fields that must be there without ``patch``."""

    def read(self, value: Any, name: str = "value") -> dict[str, Any]:
        patch = isinstance(value, dict) and value.get("patch") in (True, "true")
        if patch and isinstance(value.get("data"), dict):
            given = {key: item for key, item in value["data"].items() if item is not None}
            value = {**value, "data": given}
        return self._shape(patch).read(value, name)

    def _shape(self, patch: bool) -> Shape:
        required = (self.key,) if patch else (self.key, *self.whole)
        data = Shape(fields=self.fields, required=required)
        return Shape(fields={"patch": Flag(), "data": data}, required=("data",))

    def schema(self) -> dict[str, Any]:
        partly, whole = self._shape(True).schema(), self._shape(False).schema()
        partly["properties"]["patch"] = {"const": True}
        partly["required"] = ["patch", "data"]
        whole["properties"]["patch"] = {"const": False}
        return {"oneOf": [partly, whole]}


async def read_shape(request: Request, shape: Shape | Patch) -> dict[str, Any]:
    """Return the body of a request, which fits.

    Raises:
        ApiError: 400, it does not.
    """
    try:
        return shape.read(await read_values(request))
    except ProblemError as exc:
        raise invalid_parameters(str(exc)) from None
