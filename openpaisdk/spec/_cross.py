# SPDX-License-Identifier: MIT
"""Checks across the fields of a document, in the server's order and words (protocol-v2 §4 and §5)."""

from __future__ import annotations

from functools import partial

from openpaisdk.spec import references
from openpaisdk.spec._problems import ERROR, PREREQUISITE_TYPES, Problem, make_problem, suggest
from openpaisdk.spec._structure import Fault, Path
from openpaisdk.spec.references import TemplateError, as_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import Any

    Failure = tuple[str, Problem]
    """What the server says, and the problem as we tell it."""

PLUGINS_KEY = "com.microsoft.pai.runtimeplugin"
_FIELDS = ("script", "output", "data", "dockerImage")
_NOUN_OF_TYPE = {
    "script": "script",
    "output": "output",
    "data": "data",
    "dockerimage": "docker image",
}


def find_failures(document: Mapping[str, Any], passed_over: Collection[Any] = ()) -> Iterator[Failure]:
    """Yield all for which a rest-server refuses a document of the right structure, in its order.

    References to the names in ``passed_over`` are taken for good: what they name has faults of its own.
    """
    names: dict[str, list[str]] = {kind: [] for kind in PREREQUISITE_TYPES}
    yield from _check_prerequisites(document, names)
    yield from _check_deployments(document)
    yield from _check_references(document, names, passed_over)
    yield from _check_default_deployment(document)
    yield from _check_templates(document)
    yield from _check_plugins(document)


def find_failures_beside(document: Mapping[str, Any], faults: Iterable[Fault]) -> Iterator[Failure]:
    """Yield what is wrong across the fields of a document that has structural faults too.

    The parts with faults are left out, so that each thing is told once; nothing is said of what they name.
    """
    sound = {key: value for key, value in document.items() if key not in ("taskRoles", *_LISTS)}
    roles = as_mapping(document.get("taskRoles"))
    sound["taskRoles"] = {
        name: dict(role)
        for name, role in roles.items()
        if isinstance(role, dict) and name.isascii() and name.isidentifier()  # others were not looked into
    }
    lists = {key: document.get(key) for key in _LISTS}
    items = {key: list(value) if isinstance(value, list) else [] for key, value in lists.items()}
    passed_over: list[Any] = []
    for fault in faults:
        key, *rest = fault.path or ("",)
        if key in items and rest and rest[0] < len(items[key]):
            item = as_mapping(items[key][rest[0]])
            passed_over.append(item.get("name"))
            # Its place is kept, so that the places of the others stay right.
            items[key][rest[0]] = {"type": "script", "name": f"\0{rest[0]}", "taskRoles": {}}
        elif key == "taskRoles" and len(rest) > 1:
            sound["taskRoles"].get(rest[0], {}).pop(rest[1], None)
        elif key != "taskRoles":
            sound.pop(key, None)
    for role in sound["taskRoles"].values():
        role.setdefault("commands", [])
    if any(not isinstance(value, list) for key, value in lists.items() if key in document):
        return
    yield from find_failures({**sound, **items}, passed_over)


_LISTS = ("prerequisites", "deployments")


def _fail(sentence: str, path: Path, message: str, hint: str | None = None) -> Failure:
    return sentence, make_problem(ERROR, "crossField", path, message, hint)


def _check_prerequisites(document: Mapping[str, Any], names: dict[str, list[str]]) -> Iterator[Failure]:
    for index, item in enumerate(document.get("prerequisites", ())):
        kind, name = item["type"], item["name"]
        if name in names[kind]:
            message = f"another {_NOUN_OF_TYPE[kind]} prerequisite is named {name!r} too"
            yield _fail(f"Duplicate {kind} prerequisites {name}.", ("prerequisites", index, "name"), message)
        names[kind].append(name)


def _check_deployments(document: Mapping[str, Any]) -> Iterator[Failure]:
    seen = set()
    for index, item in enumerate(document.get("deployments", ())):
        name = item["name"]
        if name in seen:
            message = f"another deployment is named {name!r} too"
            yield _fail(f"Duplicate deployments {name}.", ("deployments", index, "name"), message)
        seen.add(name)


def _check_references(
    document: Mapping[str, Any], names: dict[str, list[str]], passed_over: Collection[Any]
) -> Iterator[Failure]:
    every = [name for kind in PREREQUISITE_TYPES for name in names[kind] if name not in passed_over]
    for role_name, role in document["taskRoles"].items():
        for index, name in enumerate(role.get("prerequisites", ())):
            if name not in every and name not in passed_over:
                path = ("taskRoles", role_name, "prerequisites", index)
                message = f"no prerequisite is named {name!r}"
                yield _fail(f"Prerequisite {name} does not exist.", path, message, suggest(name, every))
    for role_name, role in document["taskRoles"].items():
        for field in _FIELDS:
            kind = field.lower()
            if field in role and role[field] not in names[kind] and role[field] not in passed_over:
                name = role[field]
                message = f"no {_NOUN_OF_TYPE[kind]} prerequisite is named {name!r}"
                hint = suggest(name, names[kind]) or f"add a prerequisite of type {kind} with this name"
                yield _fail(
                    f"Prerequisite {name} does not exist.", ("taskRoles", role_name, field), message, hint
                )


def _check_default_deployment(document: Mapping[str, Any]) -> Iterator[Failure]:
    defaults = as_mapping(document.get("defaults"))
    if "deployment" not in defaults:
        return
    wanted, path = defaults["deployment"], ("defaults", "deployment")
    deployments = {item["name"]: item for item in document.get("deployments", ())}
    if wanted not in deployments:
        sentence = f"Default deployment {wanted} does not exist."
        yield _fail(sentence, path, f"no deployment is named {wanted!r}", suggest(wanted, deployments))
        return
    roles = deployments[wanted]["taskRoles"]
    if roles is None or isinstance(roles, (str, int, float)):
        role_name = next(iter(document["taskRoles"]), "")
        sentence = (
            f"Cannot use 'in' operator to search for '{role_name}' in {references.javascript_text(roles)}"
        )
        yield _fail(sentence, path, "the deployment's taskRoles are no mapping")


def _check_templates(document: Mapping[str, Any]) -> Iterator[Failure]:
    for index, item in enumerate(document.get("prerequisites", ())):
        if item["type"] == "dockerimage" and "auth" in item:
            path: Path = ("prerequisites", index, "auth")
            for key in as_mapping(item["auth"]):
                part = {**item, "auth": {key: item["auth"][key]}}
                whole = {"prerequisites": [part]}
                yield from _try(partial(references.render_auth, whole, item["name"]), (*path, key))
    for role_name in document["taskRoles"]:
        joined = references.join_commands(document, role_name)
        if "<%" in joined:
            path = ("taskRoles", role_name, "commands")
            yield from _try(partial(references.parse_template, joined), path)


def _try(action: Callable[[], object], path: Path) -> Iterator[Failure]:
    try:
        action()
    except TemplateError as exc:
        message = exc.message
        hint = "<% begins a reference and %> ends it; write '<' and '%' apart where none is meant"
        if "search is not a function" in message:
            message, hint = "expected text; got a value of another kind", "put it in quotes"
        yield exc.message, make_problem(ERROR, "template", path, message, hint)


def _check_plugins(document: Mapping[str, Any]) -> Iterator[Failure]:
    extras = as_mapping(document.get("extras"))
    if PLUGINS_KEY in extras and not isinstance(extras[PLUGINS_KEY], list) and "storages" not in extras:
        sentence = f"extras.{PLUGINS_KEY} is not iterable"
        yield _fail(sentence, ("extras", PLUGINS_KEY), "expected a list of plugins")
