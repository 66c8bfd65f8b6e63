# SPDX-License-Identifier: MIT
"""Tell all that is wrong with a job document, and what a rest-server would say to it (protocol-v2 §1-§5).

A problem is a dict of ``severity`` (``"error"`` or ``"warning"``), ``keyword`` (the kind of rule), ``path``,
``message``, ``hint``, ``file``, ``line`` and ``column`` (from 1, or ``None``). Nothing secret stands in it.
"""

from __future__ import annotations

import json

from openpaisdk.errors import SpecError
from openpaisdk.spec._cross import find_failures, find_failures_beside
from openpaisdk.spec._problems import ERROR, Problem, structural_problems, write_path
from openpaisdk.spec._structure import structural_faults
from openpaisdk.spec._warnings import find_warnings, warn_about_masking
from openpaisdk.spec.wire import parse_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from openpaisdk.spec.yaml12 import Marks

__all__ = ["Problem", "check_document", "has_errors", "server_error", "validate_document", "validate_text"]


def validate_text(
    text: str | bytes, *, file: str | None = None
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the document in a text and all its problems; ``None`` when the text holds no mapping.

    Args:
        text: YAML or JSON, as it would be submitted.
        file: Where it is from, for the problems.
    """
    clear = text if isinstance(text, str) else text.decode("utf-8", "replace")
    quick = parse_wire(clear)
    if quick is not None and not validate_document(quick):
        return quick, _finish(warn_about_masking(clear, quick), None, file)
    # there is something to tell, for which the places in the text are wanted
    from openpaisdk.spec.yaml12 import YamlError, load_yaml

    try:
        value, marks = load_yaml(text, file=file)
    except YamlError as exc:
        return None, exc.problems
    problems = validate_document(value, marks=marks, file=file)
    if not isinstance(value, dict):
        return None, problems
    if not has_errors(problems):
        problems += _finish(warn_about_masking(clear, value), marks, file)
    return value, problems


def validate_document(document: Any, *, marks: Marks | None = None, file: str | None = None) -> list[Problem]:
    """Return all problems of a document; an empty list, or warnings alone, when a server accepts it.

    Args:
        document: What the text of a document says.
        marks: Where its parts stand in the text, as ``load_yaml`` gives it.
        file: Where it is from, for the problems.
    """
    faults = structural_faults(document)
    if faults:
        more = find_failures_beside(document, faults) if isinstance(document, dict) else ()
        others = [problem for _sentence, problem in more]
        return _finish([*structural_problems(document, faults), *others], marks, file)
    problems = [problem for _sentence, problem in find_failures(document)]
    return _finish(problems or find_warnings(document), marks, file)


def has_errors(problems: Iterable[Problem]) -> bool:
    """Tell whether a document with these problems is refused."""
    return any(problem["severity"] == ERROR for problem in problems)


def check_document(document: dict[str, Any] | str | bytes, *, file: str | None = None) -> dict[str, Any]:
    """Return a document, or the one in a text, once it is known to be valid.

    Raises:
        SpecError: It has errors; ``problems`` holds them all.
    """
    if isinstance(document, (str, bytes)):
        found, problems = validate_text(document, file=file)
    else:
        found, problems = document, validate_document(document, file=file)
    errors = [problem for problem in problems if problem["severity"] == ERROR]
    if errors or found is None:
        raise SpecError(_summary(errors, file), problems=problems)
    return found


def _summary(errors: Sequence[Problem], file: str | None) -> str:
    name = f"job document {file!r}" if file else "job document"
    count = f"{len(errors)} problem{'s' if len(errors) != 1 else ''}"
    lines = [
        f"  {problem['path']}: {problem['message']}" if problem["path"] else f"  {problem['message']}"
        for problem in errors
    ]
    return "\n".join([f"{name} has {count}", *lines])


def server_error(problems: Sequence[Problem], document: Any) -> dict[str, Any]:
    """Return the error that a rest-server answers to a document with these problems.

    ``message`` is the server's own: a JSON list of structural errors, one sentence for a fault across fields,
    or what its YAML reader says. Faults at which a real server fails (500) are answered as the others (400).
    """
    return {"status": 400, "code": "InvalidProtocolError", "message": _server_message(problems, document)}


def _server_message(problems: Sequence[Problem], document: Any) -> str:
    for problem in problems:
        if problem["keyword"] == "yaml":
            if problem["message"].startswith("expected a single document"):
                return str(problem["message"])
            return f"{problem['message']} at line {problem['line']}, column {problem['column']}"
    faults = structural_faults(document)
    if faults:
        return json.dumps([fault.to_dict() for fault in faults], ensure_ascii=False, separators=(",", ":"))
    for sentence, _problem in find_failures(document):
        return sentence
    return "; ".join(problem["message"] for problem in problems)


def _finish(problems: Iterable[Problem], marks: Marks | None, file: str | None) -> list[Problem]:
    return [
        _placed(problem, file, marks.find(problem["path"], key=problem["at_key"]) if marks else None)
        for problem in problems
    ]


def _placed(problem: Problem, file: str | None, place: tuple[int | None, int | None] | None) -> Problem:
    line, column = place or (None, None)
    return {
        "severity": problem["severity"],
        "path": write_path(problem["path"]),
        "message": problem["message"],
        "hint": problem["hint"],
        "file": file,
        "line": line,
        "column": column,
        "keyword": problem["keyword"],
    }
