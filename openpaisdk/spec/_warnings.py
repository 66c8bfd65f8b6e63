# SPDX-License-Identifier: MIT
"""What a server accepts and its user would still want to know (protocol-v2 §2.2, §2.5, §5, §6.2, §8)."""

from __future__ import annotations

import re

from openpaisdk.spec._problems import WARNING, Problem, make_problem, suggest
from openpaisdk.spec._structure import Path
from openpaisdk.spec.names import convert_role_name
from openpaisdk.spec.references import (
    as_mapping,
    command_scope,
    escape_html,
    javascript_text,
    join_commands,
    list_references,
    look_up,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

PRIORITY_CLASSES = ("prod", "test", "oppo")
MOST_TASKS = 10_000
_LONGEST_ROLE = 63
_LARGEST = 2**31 - 1
_PORTABLE_ROLE = re.compile(r"[a-z][a-z0-9]*")
_BOOLEAN_WORDS = ("yes", "no", "on", "off", "true", "false")


def find_warnings(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the warnings about a document that is valid."""
    yield from _check_role_names(document["taskRoles"])
    for name, role in document["taskRoles"].items():
        yield from _check_numbers(("taskRoles", name), role)
        yield from _check_commands(document, name)
    yield from _check_deployments(document)
    yield from _check_extras(document)


def _warn(path: Path, message: str, hint: str | None = None, *, at_key: bool = False) -> Problem:
    return make_problem(WARNING, "warning", path, message, hint, at_key=at_key)


def _check_role_names(roles: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in roles:
        path, converted = ("taskRoles", name), convert_role_name(name)
        if not 1 <= len(converted) <= _LONGEST_ROLE:
            message = f"the cluster calls this role {converted!r} and takes 1 to {_LONGEST_ROLE} characters"
            yield _warn(
                path,
                f"{message}: the job would fail",
                "choose a name of lower-case letters and digits",
                at_key=True,
            )
        elif not _PORTABLE_ROLE.fullmatch(name):
            message = (
                f"the cluster calls this role {converted!r}, and its runtime may not find {name!r} any more"
            )
            yield _warn(
                path,
                message,
                f"a name such as {converted.lstrip('0123456789') or 'worker'!r} is safe",
                at_key=True,
            )
        if converted in seen:
            yield _warn(
                path, f"has the same name as {seen[converted]!r} for the cluster: {converted!r}", at_key=True
            )
        seen.setdefault(converted, name)


def _check_numbers(path: Path, role: Mapping[str, Any]) -> Iterator[Problem]:
    if "instances" not in role:
        yield _warn(
            (*path, "instances"),
            "is missing: one task is started, but a real cluster may fail to store the job",
            "write instances: 1",
        )
    elif role["instances"] > MOST_TASKS:
        yield _warn(
            (*path, "instances"), f"a cluster starts {MOST_TASKS} tasks of a role at most: the job would fail"
        )
    for key, value in as_mapping(role.get("completion")).items():
        if value is not None and value < -1:
            yield _warn((*path, "completion", key), "is below -1: the job would fail after it was accepted")
    resources = role["resourcePerInstance"]
    for key, least in (("cpu", 1), ("memoryMB", 1), ("gpu", 0)):
        value = resources[key]
        if not least <= value <= _LARGEST:
            yield _warn(
                (*path, "resourcePerInstance", key),
                f"expected a number from {least} on that machines have; got {javascript_text(value)}",
            )
    if "ports" in resources and not isinstance(resources["ports"], dict):
        yield _warn(
            (*path, "resourcePerInstance", "ports"),
            "is no mapping of labels to numbers of ports and has no effect",
        )
    for label, count in as_mapping(resources.get("ports")).items():
        if count < 1:
            yield _warn(
                (*path, "resourcePerInstance", "ports", label),
                f"asks for {javascript_text(count)} ports, so there is none",
            )


def _check_commands(document: Mapping[str, Any], role_name: str) -> Iterator[Problem]:
    joined = join_commands(document, role_name)
    if "<%" not in joined:
        return
    path = ("taskRoles", role_name, "commands")
    scope = command_scope(document, role_name)
    secrets = {"$secrets": document["secrets"]} if "secrets" in document else {}
    for reference in dict.fromkeys(list_references(joined)):
        if reference.split(".")[0] == "$secrets":
            yield from _check_secret(path, reference, look_up(secrets, reference))
        elif look_up(scope, reference) is None:
            effect = "becomes empty in the container" if secrets else "stays in the command as it is"
            known = [f"$parameters.{key}" for key in as_mapping(document.get("parameters"))]
            yield _warn(
                path, f"<% {reference} %> names nothing and {effect}", suggest(reference, [*known, *scope])
            )


def _check_secret(path: Path, reference: str, value: Any) -> Iterator[Problem]:
    if value is None:
        yield _warn(path, f"<% {reference} %> names no secret")
    elif isinstance(value, str) and escape_html(value) != value:
        yield _warn(
            path,
            f"the secret of <% {reference} %> holds one of & < > \" ' which clusters change in commands",
            "choose a secret without these characters, or hand it over in another way",
        )


def _check_deployments(document: Mapping[str, Any]) -> Iterator[Problem]:
    deployments = document.get("deployments", ())
    if deployments and "deployment" not in as_mapping(document.get("defaults")):
        yield _warn(
            ("deployments",), "none is selected, so none has an effect", "name one in defaults.deployment"
        )
    for index, item in enumerate(deployments):
        path = ("deployments", index, "taskRoles")
        if not isinstance(item["taskRoles"], dict):
            yield _warn(path, "is no mapping of task roles and has no effect")
        for name in as_mapping(item["taskRoles"]):
            if name not in document["taskRoles"]:
                yield _warn(
                    (*path, name),
                    f"the job has no role {name!r}",
                    suggest(name, document["taskRoles"]),
                    at_key=True,
                )


def _check_extras(document: Mapping[str, Any]) -> Iterator[Problem]:
    extras = as_mapping(document.get("extras"))
    gang = extras.get("gangAllocation", True)
    if not isinstance(gang, bool):
        message = "only the boolean false switches gang allocation off; this value does not"
        hint = "write false without quotes" if str(gang).lower() in _BOOLEAN_WORDS else None
        yield _warn(("extras", "gangAllocation"), message, hint)
    elif gang and any(role.get("taskRetryCount") for role in document["taskRoles"].values()):
        yield _warn(("extras", "gangAllocation"), "taskRetryCount has an effect only where this is false")
    hived = as_mapping(extras.get("hivedScheduler"))
    priority = hived.get("jobPriorityClass", "test")
    if priority not in PRIORITY_CLASSES:
        wanted = ", ".join(PRIORITY_CLASSES)
        yield _warn(
            ("extras", "hivedScheduler", "jobPriorityClass"),
            f"clusters take one of {wanted}; {javascript_text(priority)!r} is refused",
        )
    for name in as_mapping(hived.get("taskRoles")):
        if name not in document["taskRoles"]:
            yield _warn(
                ("extras", "hivedScheduler", "taskRoles", name), f"the job has no role {name!r}", at_key=True
            )


def warn_about_masking(text: str, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a warning when the server would keep and show the secrets of this very text."""
    if "secrets" in document and not re.search(r"^secrets:", text, re.MULTILINE):
        yield _warn(
            ("secrets",),
            "a server keeps secrets readable unless a line of the text begins with secrets:",
            "write the document in block style, with secrets: at the beginning of a line",
            at_key=True,
        )
