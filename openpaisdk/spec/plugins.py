# SPDX-License-Identifier: MIT
"""The runtime plugins of a job: what runs before and after a task's own commands (protocol-v2 §6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openpaisdk.errors import SpecError
from openpaisdk.spec.model import JobSpec, TaskRole
from openpaisdk.spec.references import command_scope, list_references, look_up, render

PLUGIN_KEY = "com.microsoft.pai.runtimeplugin"
_PREFIX = f"{PLUGIN_KEY}."
_EVENTS = {"taskStarts": 0, "taskSucceeds": 1}


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One plugin of a task role; ``must_succeed`` is its failure policy."""

    name: str
    parameters: Mapping[str, Any] = field(repr=False)
    must_succeed: bool = True


@dataclass(frozen=True, kw_only=True)
class PluginCommands:
    """What a ``cmd`` plugin runs before the task's commands, and after them when they succeeded."""

    before: Sequence[str] = field(repr=False)
    after: Sequence[str] = field(repr=False)
    must_succeed: bool = True


def role_plugins(spec: JobSpec, role: TaskRole) -> list[Plugin]:
    """Return the plugins of a role in the order in which they run: its prerequisites', then the extras'."""
    named = {item["name"]: item for item in spec.document.get("prerequisites", ())}
    plugins = []
    for name in role.prerequisites:
        item = named[name]
        kind = item.get("plugin")
        if isinstance(kind, str) and kind.startswith(_PREFIX):
            parameters = {
                key: value for key, value in item.items() if key not in ("plugin", "type", "failurePolicy")
            }
            plugins.append(_plugin(kind.removeprefix(_PREFIX), parameters, item))
    for item in spec.extras.get(PLUGIN_KEY) or ():
        if not isinstance(item, dict) or not isinstance(item.get("plugin"), str):
            continue
        roles = item.get("taskroles")
        if roles is None or role.converted_name in roles:
            plugins.append(_plugin(item["plugin"], item.get("parameters") or {}, item))
    return plugins


def _plugin(name: str, parameters: Mapping[str, Any], item: Mapping[str, Any]) -> Plugin:
    return Plugin(name=name, parameters=parameters, must_succeed=item.get("failurePolicy") != "ignore")


def plugin_commands(spec: JobSpec, role: TaskRole, plugin: Plugin) -> PluginCommands:
    """Return what a ``cmd`` plugin runs, its references filled in without any escaping.

    Raises:
        SpecError: It has both ``callbacks`` and ``preCommands`` or ``postCommands``, or refers to something
            that is not there; a real cluster fails at the task's start then.
    """
    parameters = plugin.parameters
    direct = [list(parameters.get(name) or ()) for name in ("preCommands", "postCommands")]
    callbacks = parameters.get("callbacks")
    if callbacks and any(direct):
        raise SpecError("plugin 'cmd' takes either callbacks or preCommands and postCommands, not both")
    for callback in callbacks or ():
        place = _EVENTS.get(callback.get("event"))
        if place is not None:
            direct[place] += callback.get("commands") or []
    scope = {**command_scope(spec.document, role.name), "$secrets": spec.secrets}
    before, after = ([_fill_in(str(text), scope) for text in commands] for commands in direct)
    return PluginCommands(before=before, after=after, must_succeed=plugin.must_succeed)


def _fill_in(text: str, scope: Mapping[str, Any]) -> str:
    for reference in list_references(text):
        if look_up(scope, reference) is None:
            raise SpecError(f"plugin 'cmd' refers to {reference!r}, which is not there")
    return render(text, scope)
