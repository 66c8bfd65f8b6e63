# SPDX-License-Identifier: MIT
"""Which plugins a role has, and what a ``cmd`` plugin runs (protocol-v2 §6.1)."""

from __future__ import annotations

from typing import Any

import pytest

from openpaisdk.errors import SpecError
from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.model import JobSpec
from openpaisdk.spec.plugins import PLUGIN_KEY, plugin_commands, role_plugins


def spec_of(*plugins: dict[str, Any], prerequisites: tuple[dict[str, Any], ...] = ()) -> JobSpec:
    return job_spec_from_document(
        {
            "protocolVersion": 2,
            "name": "j",
            "type": "job",
            "prerequisites": [{"type": "dockerimage", "name": "img", "uri": "x"}, *prerequisites],
            "parameters": {"a": 1},
            "secrets": {"k": "p&q"},
            "taskRoles": {
                "Main": {
                    "instances": 1,
                    "dockerImage": "img",
                    "resourcePerInstance": {"cpu": 1, "memoryMB": 1, "gpu": 0},
                    "commands": ["true"],
                    "prerequisites": [item["name"] for item in prerequisites],
                }
            },
            "extras": {PLUGIN_KEY: list(plugins)},
        }
    )


def commands_of(**parameters: Any) -> tuple[list[str], list[str]]:
    spec = spec_of({"plugin": "cmd", "parameters": parameters})
    [plugin] = role_plugins(spec, spec.task_roles[0])
    commands = plugin_commands(spec, spec.task_roles[0], plugin)
    return list(commands.before), list(commands.after)


def test_prerequisites_come_before_extras_and_keep_their_failure_policy() -> None:
    item = {"type": "script", "name": "s", "plugin": f"{PLUGIN_KEY}.cmd", "failurePolicy": "ignore"}
    other = {"type": "script", "name": "o", "plugin": "elsewhere.cmd"}
    spec = spec_of({"plugin": "ssh"}, prerequisites=(item, other))
    first, second = role_plugins(spec, spec.task_roles[0])
    assert (first.name, first.must_succeed, dict(first.parameters)) == ("cmd", False, {"name": "s"})
    assert (second.name, second.must_succeed) == ("ssh", True)


def test_roles_are_named_by_their_converted_names() -> None:
    spec = spec_of({"plugin": "a", "taskroles": ["Main"]}, {"plugin": "b", "taskroles": ["main"]})
    assert [plugin.name for plugin in role_plugins(spec, spec.task_roles[0])] == ["b"]


def test_callbacks_are_commands_of_their_event_and_other_events_are_passed_over() -> None:
    callbacks = [
        {"event": "taskStarts", "commands": ["a", "b"]},
        {"event": "taskSucceeds", "commands": ["c"]},
        {"event": "other", "commands": ["d"]},
    ]
    assert commands_of(callbacks=callbacks) == (["a", "b"], ["c"])


def test_references_are_filled_in_raw() -> None:
    assert commands_of(preCommands=["echo <% $parameters.a %> <% $secrets.k %>"]) == (["echo 1 p&q"], [])


def test_callbacks_and_commands_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="not both"):
        commands_of(preCommands=["a"], callbacks=[{"event": "taskStarts", "commands": ["b"]}])


def test_a_reference_to_nothing_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"\$parameters\.b"):
        commands_of(postCommands=["echo <% $parameters.b %>"])
