# SPDX-License-Identifier: MIT
"""Setting one field of a protocol document by its path, as ``opai job submit -u PATH=VALUE`` does."""

from __future__ import annotations

from openpaisdk.errors import UsageError
from openpaisdk.spec.names import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# what a key leads to: TEXT, ANY (free-form from here on), a dict of keys, or a list/mapping of such
TEXT = "text"
ANY = "any"
EACH = "*"

_AUTH: dict[str, Any] = {"username": TEXT, "password": TEXT, "registryuri": TEXT, EACH: TEXT}
_PREREQUISITE: dict[str, Any] = {"name": TEXT, "type": TEXT, "uri": ANY, "auth": _AUTH, EACH: ANY}
_PARTS: dict[str, Any] = {"preCommands": ANY, "postCommands": ANY}
_ROLE: dict[str, Any] = {
    "protocolVersion": ANY,
    "instances": ANY,
    "completion": {"minFailedInstances": ANY, "minSucceededInstances": ANY},
    "taskRetryCount": ANY,
    "prerequisites": ANY,
    "dockerImage": TEXT,
    "data": TEXT,
    "output": TEXT,
    "script": TEXT,
    "extraContainerOptions": {"shmMB": ANY, "infiniband": ANY, EACH: ANY},
    "resourcePerInstance": {"cpu": ANY, "memoryMB": ANY, "gpu": ANY, "ports": {EACH: ANY}},
    "commands": ANY,
}
DOCUMENT: dict[str, Any] = {
    "protocolVersion": ANY,
    "name": TEXT,
    "type": TEXT,
    "version": ANY,
    "contributor": TEXT,
    "description": TEXT,
    "prerequisites": {EACH: _PREREQUISITE},
    "parameters": ANY,
    "secrets": ANY,
    "jobRetryCount": ANY,
    "taskRoles": {EACH: _ROLE},
    "deployments": {EACH: {"name": TEXT, "taskRoles": {EACH: _PARTS}, EACH: ANY}},
    "defaults": {"deployment": TEXT, "virtualCluster": TEXT, EACH: ANY},
    "extras": ANY,
}
"""The fields of protocol-v2 §2; ``EACH`` stands for names that the user chooses."""

_MUST_EXIST = ("taskRoles", "prerequisites", "deployments")
"""Here a name that is not in the document is a misspelling, not something new."""


def split_path(path: str) -> list[str]:
    """Return the keys of a path; ``::`` separates where it occurs, else ``.`` does.

    Raises:
        UsageError: A key is empty.
    """
    keys = path.split("::") if "::" in path else path.split(".")
    if not all(keys):
        raise UsageError(
            f"field path {path!r} has an empty part", hint="write it as taskRoles.worker.instances"
        )
    return keys


def set_field(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at ``path``; missing mappings on the way are made where the protocol knows them.

    Raises:
        UsageError: There is no such field, or the value is not YAML.
    """
    keys = split_path(path)
    known: Any = DOCUMENT
    place: Any = document
    for depth, key in enumerate(keys):
        inside = ".".join(keys[:depth])
        known = _known_below(known, key, inside, place)
        if depth == len(keys) - 1:
            _assign(place, key, _read_value(value, as_text=known == TEXT, path=path), inside)
        else:
            place = _step(place, key, inside, make=keys[0] not in _MUST_EXIST or depth != 1)


def _known_below(known: Any, key: str, inside: str, place: Any) -> Any:
    if known == ANY:
        return ANY
    if known == TEXT:
        raise UsageError(f"field {inside!r} is a text, there is nothing called {key!r} in it")
    if key in known and key != EACH:
        return known[key]
    if EACH in known:
        return known[EACH]
    raise _unknown(key, inside, known)


def _step(place: Any, key: str, inside: str, *, make: bool) -> Any:
    """Return what ``key`` leads to; a member of a list is found by its number or by its ``name``."""
    if isinstance(place, list):
        return place[_position(place, key, inside)]
    if not isinstance(place, dict):
        raise UsageError(f"field {inside!r} is not a mapping, there is nothing called {key!r} in it")
    if place.get(key) is None:
        if not make:
            raise _unknown(key, inside, place)
        place[key] = {}
    return place[key]


def _assign(place: Any, key: str, value: Any, inside: str) -> None:
    if isinstance(place, list):
        place[_position(place, key, inside)] = value
    elif isinstance(place, dict):
        place[key] = value
    else:
        raise UsageError(f"field {inside!r} is not a mapping, there is nothing called {key!r} in it")


def _position(items: list[Any], key: str, inside: str) -> int:
    names = {
        item["name"]: number for number, item in enumerate(items) if isinstance(item, dict) and "name" in item
    }
    if key in names:
        return int(names[key])
    if key.isascii() and key.isdigit() and int(key) < len(items):
        return int(key)
    raise _unknown(key, inside, [str(name) for name in names])


def _unknown(key: str, inside: str, known: Iterable[str]) -> UsageError:
    names = [name for name in known if name != EACH]
    near = nearest(key, names)
    where = f"in {inside!r}" if inside else "in a job document"
    hint = f"did you mean {near!r}?" if near else f"known there: {', '.join(names) or 'nothing'}"
    return UsageError(f"there is no field {key!r} {where}", hint=hint)


def _read_value(value: Any, *, as_text: bool, path: str) -> Any:
    if not isinstance(value, str) or as_text:
        return value
    from openpaisdk.errors import SpecError
    from openpaisdk.spec.yaml12 import load_yaml

    if not value.strip():
        return value
    try:
        loaded, _ = load_yaml(value, file=None)
    except SpecError as exc:
        raise UsageError(
            f"the value of {path!r} is not YAML", hint="put quotes around a text: PATH='\"…\"'"
        ) from exc
    return loaded
