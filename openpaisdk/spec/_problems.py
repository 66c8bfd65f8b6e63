# SPDX-License-Identifier: MIT
"""Problems of a job document as people read them: where, what was wanted, what was got, and the next step."""

from __future__ import annotations

from openpaisdk.spec._structure import Fault, Path, load_schema
from openpaisdk.spec.names import check_job_name, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Problem = dict[str, Any]
else:
    Problem = dict

ERROR, WARNING = "error", "warning"
PREREQUISITE_TYPES = ("script", "output", "data", "dockerimage")
_BRANCH_OF_TYPE = {"script": 0, "output": 0, "data": 1, "dockerimage": 2}
_NOUNS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "an integer",
    "null": "null",
}


def make_problem(
    severity: str, keyword: str, path: Path, message: str, hint: str | None = None, *, at_key: bool = False
) -> Problem:
    """Return a problem whose place in the text is not known yet; ``path`` is still a tuple."""
    return {
        "severity": severity,
        "keyword": keyword,
        "path": path,
        "message": message,
        "hint": hint,
        "at_key": at_key,
    }


def write_path(path: Path) -> str:
    """Return a path as text: ``taskRoles.worker.commands[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else str(step)
    return text


def suggest(word: str, choices: Any) -> str | None:
    """Return a hint that names the nearest choice, else all of them if they are few, else ``None``."""
    names = [choice for choice in choices if isinstance(choice, str) and choice != word]
    found = nearest(word, names)
    if found is not None:
        return f"did you mean {found!r}?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 8 else None


def structural_problems(document: Any, faults: list[Fault]) -> Iterator[Problem]:
    """Turn the server's errors into problems; of a prerequisite's shapes only the one meant counts."""
    for fault in faults:
        if fault.keyword == "oneOf":
            yield from _prerequisite_type_problem(document, fault)
        elif "/oneOf/" not in fault.schema_path or (
            fault.keyword != "$merge" and _is_of_the_shape_meant(document, fault)
        ):
            yield _describe(document, fault)


def _is_of_the_shape_meant(document: Any, fault: Fault) -> bool:
    item = document["prerequisites"][fault.path[1]]
    kind = item.get("type") if isinstance(item, dict) else None
    branch = _BRANCH_OF_TYPE.get(kind) if isinstance(kind, str) else None
    return f"/oneOf/{branch}/" in fault.schema_path


def _prerequisite_type_problem(document: Any, fault: Fault) -> Iterator[Problem]:
    item = document["prerequisites"][fault.path[1]]
    if not isinstance(item, dict):
        return
    kind = item.get("type")
    if isinstance(kind, str) and kind in _BRANCH_OF_TYPE:
        return
    path = (*fault.path, "type")
    wanted = ", ".join(PREREQUISITE_TYPES)
    if "type" not in item:
        yield make_problem(ERROR, "oneOf", path, f"is missing; expected one of {wanted}")
    else:
        hint = suggest(kind, PREREQUISITE_TYPES) if isinstance(kind, str) else None
        yield make_problem(ERROR, "oneOf", path, f"expected one of {wanted}; got {show(kind, path)}", hint)


def _describe(document: Any, fault: Fault) -> Problem:
    value = _value_at(document, fault.path)
    got = show(value, fault.path)
    params, path, hint, at_key = fault.params, fault.path, None, False
    if fault.keyword == "required":
        path = (*path, params["missingProperty"])
        message = "is missing"
        hint = _hint_for_missing(value, fault)
    elif fault.keyword == "additionalProperties":
        path, at_key = (*path, params["additionalProperty"]), True
        message, hint = _describe_unknown_key(fault)
    elif fault.keyword == "type":
        nouns = " or ".join(_NOUNS[name] for name in params["type"].split(","))
        message = f"expected {nouns}; got {got}"
        if path == ("secrets",):
            hint = "a document read back from a server holds no secrets any more: fill them in again"
    elif fault.keyword == "enum":
        message = f"expected {' or '.join(map(repr, params['allowedValues']))}; got {got}"
    elif fault.keyword == "pattern":
        message = check_job_name(value) or "is not a valid name"
    elif fault.keyword == "maxLength":
        message = f"has {len(value)} characters, {params['limit']} at most are allowed"
    elif fault.keyword == "minimum":
        message = f"expected at least {params['limit']}; got {got}"
    elif fault.keyword == "false schema":
        message, at_key = "this key is refused by the server", True
    else:
        message = "expected at least one entry; got none"
    return make_problem(ERROR, fault.keyword, path, message, hint, at_key=at_key)


def _hint_for_missing(value: Any, fault: Fault) -> str | None:
    name, known = fault.params["missingProperty"], _known_keys(fault)
    unknown = [key for key in value if key not in known] if isinstance(value, dict) else []
    similar = nearest(name, unknown)
    return f"is {similar!r} meant to be {name!r}?" if similar else None


def _describe_unknown_key(fault: Fault) -> tuple[str, str | None]:
    name = fault.params["additionalProperty"]
    if fault.path and fault.path[-1] in ("taskRoles", "ports"):
        what = "port label" if fault.path[-1] == "ports" else "task role"
        message = f"{name!r} cannot name a {what}: only letters, digits and '_', and no digit first"
        return message, None
    return f"unknown key {name!r}", suggest(name, _known_keys(fault))


def _known_keys(fault: Fault) -> list[str]:
    """Return the keys that the schema knows where an unknown one was found."""
    node: Any = load_schema()
    for step in fault.path:
        for part in ("items", "patternProperties", "properties"):
            inside = node.get(part)
            if part == "items" and inside and isinstance(step, int):
                branches = inside.get("oneOf")
                node = branches[-1] if branches else inside  # only docker images refuse unknown keys
                break
            if part == "patternProperties" and inside:
                node = next(iter(inside.values()))
                break
            if part == "properties" and inside and step in inside:
                node = inside[step]
                break
    return list(node.get("properties", ()))


def _value_at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def show(value: Any, path: Path) -> str:
    """Return a value as a message may show it; nothing of secrets and credentials is shown."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if path[:1] == ("secrets",) or "auth" in path:
        return "text" if isinstance(value, str) else "a value of another kind"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:46]}…{text[-1]}"
